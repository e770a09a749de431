"""Paired differences: every seed as a dot, their mean, and the interval that it lies in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .figures import new_figure, styled
from .palette import FAINT, INK, QUIET, SERIES


@styled
def paired_figure(
    rows: Mapping[str, object],
    *,
    xlabel: str = "difference of the mIoU (points)",
    band: float | None = None,
    published: Mapping[str, float] | None = None,
    headings: Mapping[str, str] | None = None,
) -> tuple[Figure, dict[str, tuple[float, float, float]]]:
    """A row for each comparison: the difference of every pair, the mean and its 95 % interval.

    An interval that leaves out 0 is drawn dark, one that holds it pale: undecided by these pairs.

    Args:
        rows: name to something with ``differences``, ``mean``, ``low`` and ``high``, such as
            ``claims.Paired``, or to a sequence of differences, drawn without an interval.
        xlabel: what is compared, with its unit.
        band: shade differences of at most so many points, too small to matter; all of it is seen.
        published: name to the difference that a paper prints, drawn as a hollow diamond.
        headings: name to a bold line above that row, where a new group begins.

    Returns:
        the figure, and name to (mean, low, high); an interval that is not known is infinite.

    Raises:
        ValueError: a row without a difference.
    """
    published, headings, numbers, ticks = published or {}, headings or {}, {}, []
    lines = len(rows) + len(headings)
    figure = new_figure(0.31 * lines + 0.95, width=8.4)
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
    if band is not None:
        axes.axvspan(-band, band, color=FAINT, alpha=0.55, linewidth=0, zorder=0)
    y, reach = 0, [0.0] if band is None else [-1.25 * band, 1.25 * band]
    for name, row in rows.items():
        if name in headings:
            axes.annotate(
                headings[name], (0, y), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", fontweight="bold", fontsize=9.5,
            )  # fmt: skip
            y += 1
        dots, mean, low, high = _parts(name, row)
        numbers[name] = (mean, low, high)
        decided = math.isfinite(low) and not low <= 0 <= high
        colour = SERIES[0] if decided else QUIET
        if math.isfinite(low):
            style = {"color": colour, "linewidth": 3.2, "solid_capstyle": "butt", "zorder": 2}
            axes.plot([low, high], [y, y], alpha=1.0 if decided else 0.5, **style)
            reach += [low, high]
        if len(dots) > 1:  # one alone is its own mean
            axes.plot(dots, y + 0.3 * np.ones(len(dots)), ".", color=INK, markersize=4, zorder=5)
        marker = {"color": colour, "markeredgecolor": "white", "markersize": 8, "zorder": 4}
        axes.plot(mean, y, "o", **marker)
        if name in published:
            hollow = {"markerfacecolor": "none", "markeredgecolor": SERIES[1], "zorder": 5}
            axes.plot(published[name], y, "D", markersize=6.5, markeredgewidth=1.6, **hollow)
            reach.append(published[name])
        reach += list(dots)
        ticks.append((y, name))
        y += 1
    axes.set_yticks([t for t, _ in ticks], [name for _, name in ticks])
    axes.set_ylim(y - 0.4, -0.6)
    span = max(max(reach) - min(reach), 1e-6)
    axes.set_xlim(min(reach) - 0.05 * span, max(reach) + 0.05 * span)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    words = "small dots: seeds; large: mean; bar: 95 % interval, blue without 0"
    words += "; diamond: published" if published else ""
    axes.set_xlabel(f"{xlabel}\n{words}")
    return figure, numbers


def _parts(name: str, row: object) -> tuple[Sequence[float], float, float, float]:
    dots = tuple(getattr(row, "differences", row))  # type: ignore[arg-type]
    if not dots:
        raise ValueError(f"expected at least one difference for {name!r}")
    mean = float(np.mean(dots))
    return dots, mean, float(getattr(row, "low", -math.inf)), float(getattr(row, "high", math.inf))
