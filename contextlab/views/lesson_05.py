"""Taps of dilated convolutions: where they read, what they skip, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from .figures import new_figure, picture, styled
from .palette import HEAT, INK, MARKERS, QUIET, pixels, series
from .widgets import Explorer


def taps_of(rate: int) -> list[tuple[int, int]]:
    """Offsets (rows, columns) of a 3 x 3 kernel at this rate, row by row.

    Example:
        >>> taps_of(6)[:3]
        [(-6, -6), (-6, 0), (-6, 6)]
    """
    return [(y * rate, x * rate) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def draw_taps(
    axes: Axes,
    query: tuple[int, int],
    rates: Sequence[int],
    shape: tuple[int, int],
    stride: float,
) -> dict[int, int]:
    """Draw the taps of some rates around a position of a map; hollow ones read padding.

    Returns:
        rate to the number of taps on the map.
    """
    inside = {}
    at = (np.array(query) + 0.5) * stride - 0.5
    for i, rate in enumerate(rates):
        spots = np.array(query) + np.array(taps_of(rate))
        on = ((spots >= 0) & (spots < np.array(shape))).all(1)
        inside[rate] = int(on.sum())
        places = (spots + 0.5) * stride - 0.5
        for (y, x), real in zip(places, on):
            line = {"linewidth": 1.1, "alpha": 0.65 if real else 0.3, "zorder": 2}
            axes.plot([at[1], x], [at[0], y], color=series(i), **line)
        style = {"ls": "none", "marker": MARKERS[i % len(MARKERS)], "ms": 7, "zorder": 3}
        full = {"mfc": series(i), "mec": "white", "mew": 1.1, "label": f"rate {rate}"}
        axes.plot(*places[on].T[::-1], **style, **full)
        axes.plot(*places[~on].T[::-1], **style, mfc="white", mec=series(i), mew=1.3)
    axes.plot(*at[::-1], "o", ms=8, mfc=INK, mec="white", mew=1.5, zorder=4)
    return inside


@styled
def taps_figure(
    image: Tensor | np.ndarray,
    query: tuple[int, int],
    rates: Sequence[int],
    *,
    shape: tuple[int, int] = (16, 32),
    view: tuple[tuple[int, int], int] | None = None,
    title: str = "",
) -> tuple[Figure, dict]:
    """One position of the map and the taps of its dilated kernels, inside the image and outside.

    Args:
        image: ``3 h w`` in [0, 1].
        query: row and column on the map.
        rates: dilations, in steps of the map.
        shape: rows and columns of the map.
        view: the offset of a tap and how many pixels it sees: a frame around them.
        title: a line above; by default how many taps read padding.

    Returns:
        the figure, and "inside" (rate to the number of its nine taps on the map), "padding" (share
        of all taps that read padding).

    Raises:
        ValueError: the query lies outside the map, or a rate below 1.
    """
    rows, columns = shape
    if not (0 <= query[0] < rows and 0 <= query[1] < columns):
        raise ValueError(f"expected a query inside {rows} x {columns}, got {tuple(query)}")
    if not rates or min(rates) < 1:
        raise ValueError(f"expected rates of at least 1, got {list(rates)}")
    rgb = pixels(image)
    h, w = rgb.shape[:2]
    stride, far = h / rows, max(rates)
    spots = [(query[0] + y, query[1] + x) for y, x in taps_of(far)]
    ys, xs = (np.array([s[d] for s in spots]) for d in (0, 1))
    top, left = (max(0.0, -(v.min() + 0.5) * stride) + 5 for v in (ys, xs))
    bottom = max(0.0, (ys.max() + 0.5) * stride - h) + 5
    right = max(0.0, (xs.max() + 0.5) * stride - w) + 5
    limits = {"xlim": (-left, w + right), "ylim": (h + bottom, -top)}
    wide, high = w + left + right, h + top + bottom
    width = min(9.0, 4.6 * wide / high, wide / 18)
    figure = new_figure(width * high / wide + 0.62, width=max(width, 4.6))
    axes = figure.subplots()
    axes.set_facecolor("#f1f1f1")
    picture(axes, 0.6 * rgb + 0.4, zorder=1)
    axes.add_patch(Rectangle((-0.5, -0.5), w, h, fill=False, edgecolor=QUIET, linewidth=1.0))
    axes.set(**limits)
    if view is not None:
        (dy, dx), side = view
        middle = [(q + d + 0.5) * stride - 0.5 for q, d in zip(query, (dy, dx))]
        corner = (middle[1] - side / 2, middle[0] - side / 2)
        for colour, wide in (("white", 4.0), (INK, 1.8)):
            frame = {"fill": False, "edgecolor": colour, "linewidth": wide, "zorder": 2.5}
            axes.add_patch(Rectangle(corner, side, side, **frame))
    inside = draw_taps(axes, query, rates, shape, stride)
    padding = 1 - sum(inside.values()) / (9 * len(inside))
    out = 9 * len(inside) - sum(inside.values())
    axes.set_title(title or f"{out} of {9 * len(inside)} taps read padding (hollow)")
    figure.legend(loc="outside lower center", ncols=len(rates), handlelength=1.0)
    return figure, {"inside": inside, "padding": padding}


def taps_explorer(
    image: Tensor | np.ndarray,
    *,
    rate: int = 6,
    query: tuple[int, int] = (8, 16),
    shape: tuple[int, int] = (16, 32),
    most: int = 18,
) -> Explorer:
    """A rate and a position: which taps read the map? The static twin is :func:`taps_figure`.

    Args:
        image: ``3 h w`` in [0, 1].
        rate: where its slider begins.
        query: row and column to begin with.
        shape: rows and columns of the map.
        most: the largest rate.
    """

    def draw(rate: int, row: int, column: int) -> tuple[Figure, str]:
        figure, numbers = taps_figure(image, (row, column), [rate], shape=shape)
        here = numbers["inside"][rate]
        mean = 9 * padding_free(shape, rate)
        words = f"<b>{here} of 9 taps</b> read the map here; {mean:.1f} on the whole map's mean"
        return figure, words

    slider = ipywidgets.IntSlider
    controls = {
        "rate": slider(value=rate, min=1, max=most, description="rate"),
        "row": slider(value=query[0], min=0, max=shape[0] - 1, description="row"),
        "column": slider(value=query[1], min=0, max=shape[1] - 1, description="column"),
    }
    for control in controls.values():
        control.continuous_update = False
    return Explorer(draw, controls, "The nine taps of a dilated kernel; hollow ones read padding.")


def padding_free(shape: tuple[int, int], rate: int) -> float:
    """Share of the nine taps that read the map and not its padding, over all positions.

    Example:
        >>> padding_free((33, 33), 36) == 1 / 9
        True
    """
    row, column = ((1 + 2 * max(0, n - rate) / n) / 3 for n in shape)
    return row * column


@styled
def padding_figure(
    sides: Sequence[int], *, rates: Sequence[int] = range(1, 49), marks: Sequence[int] = ()
) -> tuple[Figure, dict]:
    """How many of nine taps read the map, by rate, on square maps of some sides.

    Args:
        sides: of the maps.
        rates: on the horizontal axis.
        marks: rates to mark.

    Returns:
        the figure, and side to rate to the mean number of taps on the map.
    """
    numbers = {side: {r: 9 * padding_free((side, side), r) for r in rates} for side in sides}
    figure = new_figure(3.1)
    axes = figure.subplots()
    for i, (side, values) in enumerate(numbers.items()):
        axes.plot(list(values), list(values.values()), color=series(i), linewidth=1.8)
        dots = [r for r in marks if r in values]
        style = {"marker": MARKERS[i], "color": series(i), "ls": "none", "mec": "white", "ms": 8}
        axes.plot(dots, [values[r] for r in dots], **style, label=f"map {side} x {side}")
    axes.axhline(1, color=QUIET, linewidth=1.0, linestyle=(0, (2, 2)))
    axes.annotate("the centre alone", (max(rates), 1), (0, -12), textcoords="offset points",
                  ha="right", va="center", color=QUIET)  # fmt: skip
    axes.set(xlim=(0, max(rates) + 1), ylim=(0, 9.3), yticks=range(0, 10, 3))
    axes.set_xlabel("rate")
    axes.set_ylabel("taps on the map, of 9")
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return figure, numbers


def coverage(rates: Sequence[int], *, stacked: bool) -> Tensor:
    """How many paths lead from each input position to the middle output.

    Args:
        rates: of 3 x 3 kernels.
        stacked: one kernel after the other; otherwise side by side, summed.

    Returns:
        ``side side`` whole numbers; 0 is a hole.

    Example:
        >>> coverage([1, 3], stacked=True).tolist() == torch.ones(9, 9).tolist()
        True
    """
    paths = {(0, 0): 1} if stacked else {}
    for rate in rates:
        before = paths if stacked else {(0, 0): 1}
        after = {} if stacked else dict(paths)
        for (y, x), count in before.items():
            for dy, dx in taps_of(rate):
                spot = (y + dy, x + dx)
                after[spot] = after.get(spot, 0) + count
        paths = after
    reach = max(max(map(abs, spot)) for spot in paths)
    grid = torch.zeros(2 * reach + 1, 2 * reach + 1, dtype=torch.long)
    for (y, x), count in paths.items():
        grid[y + reach, x + reach] = count
    return grid


@styled
def coverage_figure(
    designs: Mapping[str, tuple[Sequence[int], bool]], *, view: int | None = None
) -> tuple[Figure, dict[str, dict]]:
    """Which positions of the map one output reads, design by design; white ones are holes.

    The colour is the number of paths from the position to the output, on one scale for all.

    Args:
        designs: name to (rates, stacked), as for :func:`coverage`.
        view: odd side of the square around the output to draw, the same for all designs; by default
            each shows its whole reach.

    Returns:
        the figure, and for each name "size" (side of the square in reach), "read" (positions of it
        that are read) and "share".

    Raises:
        ValueError: an even side to draw.
    """
    if view is not None and (view < 1 or view % 2 == 0):
        raise ValueError(f"expected an odd side to draw, got {view}")
    figure = new_figure(8.3 / len(designs) + 0.55)
    panels = np.atleast_1d(figure.subplots(1, len(designs)))
    numbers = {}
    grids = [coverage(rates, stacked=stacked).double() for rates, stacked in designs.values()]
    norm = LogNorm(1, max(3, *(float(grid.max()) for grid in grids)))
    for axes, name, paths in zip(panels, designs, grids):
        read, side = int((paths > 0).sum()), len(paths)
        numbers[name] = {"size": side, "read": read, "share": read / side**2}
        shown = np.where(paths > 0, paths, np.nan)
        margin = 0 if view is None else (view - side) // 2
        shown = np.pad(shown, max(0, margin), constant_values=np.nan)
        if margin < 0:
            shown = shown[-margin:margin, -margin:margin]
        part = f", {view} x {view} shown" if margin < 0 else ""
        title = f"{name}\n{read / side**2:.0%} of {side} x {side}{part}"
        picture(axes, shown, title, norm=norm, cmap=HEAT)
    bar = figure.colorbar(panels[0].images[0], ax=list(panels), shrink=0.85, aspect=30, pad=0.01)
    bar.set_label("paths")
    bar.outline.set_visible(False)
    return figure, numbers
