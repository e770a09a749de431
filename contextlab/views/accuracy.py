"""What a network has understood: accuracy by demand, and its mIoU on the ruler of the bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .figures import new_figure, styled
from .palette import INK, MARKERS, PAPER, QUIET, series


@styled
def demand_bars(
    runs: Mapping[str, object],
    *,
    bounds: Mapping[str, Mapping[str, float]] | None = None,
    titles: Mapping[str, str] | None = None,
    title: str = "",
    foot: bool = False,
) -> tuple[Figure, dict]:
    """Accuracy on the pixels of each demand, several runs beside the bounds of what can be known.

    Args:
        runs: name to a run's accuracies: a mapping of demand to a share, a
            :class:`~contextlab.training.Metrics`, or a list of either (one a seed; the bar is
            their mean, the dots are the seeds).
        bounds: name to shares by demand, drawn as marks across the bars: an ideal patch, say.
        titles: demands in the order to draw, with their titles; those of the streets by default.
        title: a line above.
        foot: write the means into the feet of the bars, where no seed's dot can be mistaken for
            theirs.

    Returns:
        the figure, and name to demand to the mean share.

    Raises:
        ValueError: no run, or no demand that a run knows.
    """
    table = {name: [_shares(r) for r in _several(run)] for name, run in runs.items()}
    titles = dict(titles or _street_titles())
    posed = [d for d in titles if any(d in s for seeds in table.values() for s in seeds)]
    if not posed:
        raise ValueError(f"expected runs with accuracies for some of {list(titles)}, got {runs}")
    means = {
        name: {d: float(np.mean([s[d] for s in seeds if d in s])) for d in posed if d in seeds[0]}
        for name, seeds in table.items()
    }
    figure = new_figure(3.7)
    axes = figure.subplots()
    width = 0.8 / len(table)
    for i, (name, seeds) in enumerate(table.items()):
        for j, demand in enumerate(posed):
            if demand not in means[name]:
                continue
            x, mean = j - 0.4 + (i + 0.5) * width, 100 * means[name][demand]
            axes.bar(x, mean, 0.92 * width, color=series(i), linewidth=0)
            values = [100 * s[demand] for s in seeds if demand in s]
            if len(values) > 1:
                spots = x + width * np.linspace(-0.2, 0.2, len(values))
                axes.plot(spots, values, ".", color=INK, markersize=4)
            if len(table) <= 4:
                top = 1.5 if foot else max(values) + 1.3
                box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}  # over the bounds
                style = {"ha": "center", "va": "bottom", "fontsize": 9, "zorder": 5, "bbox": box}
                axes.text(x, top, f"{mean:.0f}", **style)
    handles = [Patch(facecolor=series(i), label=name) for i, name in enumerate(table)]
    for i, (name, shares) in enumerate((bounds or {}).items()):
        style = {
            "color": INK,
            "linewidth": 1.6,
            "linestyle": ("-", (0, (2, 1.2)), (0, (5, 1.5)))[i % 3],
        }
        for j, demand in enumerate(posed):
            if demand in shares:
                axes.plot([j - 0.44, j + 0.44], [100 * shares[demand]] * 2, **style)
        handles.append(Line2D([], [], label=name, **style))
    axes.set_ylim(0, 109)
    axes.set_xlim(-0.55, len(posed) - 0.45)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("right pixels (%)")
    axes.grid(axis="y")
    axes.set_xticks(range(len(posed)), [_tick(d, titles[d]) for d in posed])
    axes.tick_params(axis="x", length=0)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
    if title:
        axes.set_title(title)
    return figure, means


@styled
def miou_ruler(
    runs: Mapping[str, float | Sequence[float]],
    *,
    ladder: Mapping[str, float] | None = None,
    ceiling: float | None = None,
    title: str = "",
) -> tuple[Figure, dict]:
    """The mIoU of runs on the ruler of ideal predictors: which demands must have been solved?

    Args:
        runs: name to mIoU, a share; or one a seed.
        ladder: letters of the demands that an ideal predictor has solved to its mIoU; by default
            that of the streets with every knob at 1.
        ceiling: the best that the network's stride allows.
        title: a line above.

    Returns:
        the figure, and name to the mean mIoU.
    """
    if ladder is None:
        from contextlab.data import bounds

        ladder, ceiling = bounds.IDEAL_MIOU, bounds.STRIDE_4_CEILING if ceiling is None else ceiling
    figure = new_figure(1.45 + 0.34 * len(runs))
    axes = figure.subplots()
    numbers = {}
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
    for i, (name, values) in enumerate(runs.items()):
        values = [100 * v for v in _several(values)]
        numbers[name] = float(np.mean(values) / 100)
        axes.plot([min(values), max(values)], [i, i], color=series(i), linewidth=2)
        style = {"color": series(i), "marker": MARKERS[i % len(MARKERS)], "linestyle": "none"}
        axes.plot(values, [i] * len(values), markersize=7, markeredgecolor="white", **style)
        text = f"{np.mean(values):.1f}"
        beside = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "bbox": box}
        axes.annotate(text, (max(values), i), **beside)
    ends = [100 * v for v in ladder.values()]
    for (letters, value), level in zip(ladder.items(), _levels(ends)):
        axes.axvline(100 * value, color=QUIET, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=0)
        axes.annotate(
            " ".join(letters) or "nothing",
            (100 * value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4 + 12 * level),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    if ceiling is not None:
        axes.axvline(100 * ceiling, color=INK, linewidth=1.2)
        below = {
            "xycoords": ("data", "axes fraction"),
            "xytext": (5, 6),
            "textcoords": "offset points",
        }
        axes.annotate("limit of stride 4", (100 * ceiling, 0), fontsize=9, bbox=box, **below)
    axes.set_yticks(range(len(runs)), list(runs))
    axes.set_ylim(len(runs) - 0.4, -0.6)
    every = ends + [100 * v for values in runs.values() for v in _several(values)]
    axes.set_xlim(min(every) - 3, max(every) + 3)
    axes.set_xlabel("mIoU (%); dotted: an ideal predictor that has solved these demands")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if title:
        axes.set_title(title, pad=34)
    return figure, numbers


def _levels(values: Sequence[float], near: float = 5.5) -> list[int]:
    """Heights for labels, so that neighbours do not overlap."""
    levels, last = [], {}
    for value in values:
        level = next(n for n in range(99) if value - last.get(n, -math.inf) >= near)
        last[level] = value
        levels.append(level)
    return levels


def _several(run: object) -> list:
    return list(run) if isinstance(run, (list, tuple)) else [run]


def _shares(run: object) -> dict[str, float]:
    shares = run if isinstance(run, Mapping) else run.demands
    return {d: float(v) for d, v in shares.items() if v is not None and not math.isnan(v)}


def _tick(letter: str, title: str) -> str:
    return title if letter == title else f"{letter}\n{title}"


def _street_titles() -> dict[str, str]:
    from contextlab.data.streets import DEMAND_TITLES

    return DEMAND_TITLES
