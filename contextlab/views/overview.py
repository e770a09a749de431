"""Many methods at once: what each has solved, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from contextlab.data.streets import DEMAND_TITLES

from .accuracy import _several, _shares
from .figures import log_ticks, new_figure, styled
from .palette import INK, MARKERS, QUIET, series

_SOLVED = LinearSegmentedColormap.from_list("solved", ["#ffffff", "#f1e3b4", "#5aa9d6", "#0072B2"])


@styled
def demand_grid(
    groups: Mapping[str, Mapping[str, object]], *, title: str = ""
) -> tuple[Figure, dict[str, dict[str, tuple[float, float]]]]:
    """A row for every method, a column for every demand: the mean of the seeds, and their range.

    Args:
        groups: title of a group of rows to (name to a run's accuracies, as for ``demand_bars``).
        title: a line above.

    Returns:
        the figure, and name to demand to (mean, worst, best), shares.

    Raises:
        ValueError: no run.
    """
    table = {
        name: [_shares(r) for r in _several(run)]
        for rows in groups.values()
        for name, run in rows.items()
    }
    titles = DEMAND_TITLES
    posed = [
        d for d in titles if d != "local" and any(d in s for seeds in table.values() for s in seeds)
    ]
    if not posed:
        raise ValueError(f"expected runs with accuracies for some of {list(titles)}, got {groups}")
    lines = len(table) + len(groups)
    figure = new_figure(0.245 * lines + 0.75, width=8.2)
    axes = figure.subplots()
    numbers, ticks, y = {}, [], 0
    for group, rows in groups.items():
        axes.text(-0.5, y, group, va="center", fontweight="bold", fontsize=9.5)
        y += 1
        for name in rows:
            ticks.append((y, name))
            numbers[name] = {}
            for x, demand in enumerate(posed):
                values = [s[demand] for s in table[name]]
                mean, low, high = float(np.mean(values)), min(values), max(values)
                numbers[name][demand] = (mean, low, high)
                # from one half, which a guess gives, to 1
                colour = _SOLVED(min(max(2 * mean - 1, 0), 1))
                axes.fill(
                    [x - 0.49, x + 0.49, x + 0.49, x - 0.49],
                    [y - 0.46] * 2 + [y + 0.46] * 2,
                    color=colour,
                    lw=0,
                )
                text = f"{100 * mean:.0f}"
                if high - low > 0.05:
                    text += f"  ({100 * low:.0f}–{100 * high:.0f})"
                dark = "white" if mean > 0.93 else INK
                axes.text(x, y, text, ha="center", va="center", fontsize=9, color=dark)
            y += 1
    axes.set(xlim=(-0.52, len(posed) - 0.48), ylim=(y - 0.4, -0.6))
    axes.set_yticks([t for t, _ in ticks], [name for _, name in ticks])
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(posed)), [f"{d}  {titles[d]}" for d in posed])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)
    return figure, numbers


@styled
def cost_scatter(
    groups: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str = "mIoU (%)",
    log: bool = True,
    baseline: tuple[str, float] | None = None,
) -> tuple[Figure, dict[str, tuple[float, float]]]:
    """Named points, one colour and marker a group, with names that keep clear of each other.

    Args:
        groups: title to (name to (x, y)).
        xlabel, ylabel: of the axes.
        log: a logarithmic horizontal axis.
        baseline: name and height of a dashed line, of what costs nothing.

    Returns:
        the figure, and name to (x, y).
    """
    figure = new_figure(5.6)
    axes = figure.subplots()
    points = {name: xy for rows in groups.values() for name, xy in rows.items()}
    handles = []
    for i, (group, rows) in enumerate(groups.items()):
        style = {"color": series(i), "marker": MARKERS[i % len(MARKERS)], "linestyle": "none"}
        for x, y in rows.values():
            axes.plot(x, y, markersize=7, markeredgecolor="white", zorder=3, **style)
        handles.append(Line2D([], [], markersize=7, label=group, **style))
    if log:
        axes.set_xscale("log")
        log_ticks(axes.xaxis)
        if max(p[0] for p in points.values()) > 1e3 * min(p[0] for p in points.values()):
            axes.xaxis.set_major_locator(LogLocator(numticks=12))
    xs, ys = np.array(list(points.values()), float).T
    span = np.log(xs.max() / xs.min()) if log else np.ptp(xs)
    if log:
        axes.set_xlim(xs.min() * math.exp(-0.06 * span), xs.max() * math.exp(0.14 * span))
    if baseline:
        name, height = baseline
        axes.axhline(height, color=QUIET, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        corner = {"xytext": (4, 4), "textcoords": "offset points", "color": QUIET, "fontsize": 8.5}
        axes.annotate(name, (0, height), xycoords=axes.get_yaxis_transform(), **corner)
        ys = np.append(ys, height)
    axes.set_ylim(ys.min() - 0.06 * np.ptp(ys), ys.max() + 0.08 * np.ptp(ys))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(True)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    figure.draw_without_rendering()
    _names(axes, points)
    return figure, points


def _names(axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name beside its point, at the first of some places that is still free."""
    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    spots = axes.transData.transform(list(points.values()))
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    inside = axes.get_window_extent(renderer)
    for name, xy in points.items():
        best = None
        for dx, dy, ha in _PLACES:
            text = axes.annotate(
                name,
                xy,
                xytext=(dx, dy),
                textcoords="offset points",
                ha=ha,
                va="center",
                fontsize=8.5,
            )
            box = text.get_window_extent(renderer)
            edges = (box.x0, box.y0, box.x1, box.y1)
            clash = sum(_overlap(edges, other) for other in taken)
            clash += 1e3 * (not (inside.x0 <= box.x0 and box.x1 <= inside.x1))
            if best is None or clash < best[0]:
                if best:
                    best[1].remove()
                best = (clash, text, edges, (dx, dy))
            else:
                text.remove()
            if best[0] == 0:
                break
        taken.append(best[2])
        if math.hypot(*best[3]) > 16:  # far from its point: a thin line leads there
            axes.annotate(
                "", xy, xytext=best[3], textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": QUIET, "lw": 0.6}, zorder=1,
            )  # fmt: skip


_PLACES = [
    (7, 0, "left"), (-7, 0, "right"), (0, 10, "center"), (0, -10, "center"),
    (6, 9, "left"), (6, -9, "left"), (-6, 9, "right"), (-6, -9, "right"),
    *[(dx, dy, "left") for dx in (12, 22, 34) for dy in (18, -18, 28, -28, 40, -40)],
    *[(-dx, dy, "right") for dx in (12, 22, 34) for dy in (18, -18, 28, -28, 40, -40)],
]  # fmt: skip


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
