"""What a network has understood: accuracy by demand, beside the bounds of what can be known."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from contextlab.data.streets import DEMAND_TITLES

from .figures import new_figure, styled
from .palette import INK, PAPER, series


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
    titles = dict(titles or DEMAND_TITLES)
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


def _several(run: object) -> list:
    return list(run) if isinstance(run, (list, tuple)) else [run]


def _shares(run: object) -> dict[str, float]:
    shares = run if isinstance(run, Mapping) else run.demands
    return {d: float(v) for d, v in shares.items() if v is not None and not math.isnan(v)}


def _tick(letter: str, title: str) -> str:
    return title if letter == title else f"{letter}\n{title}"
