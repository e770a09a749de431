"""Lesson 05: bins of a pyramid, taps of dilated kernels, and what the parts are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import ipywidgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from contextlab.probes import coverage, padding_free, taps_of

from .figures import new_figure, picture, styled
from .palette import HEAT, INK, MARKERS, PAPER, QUIET, pixels, series
from .widgets import Explorer


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


@styled
def bins_figure(length: int, sizes: Sequence[int]) -> tuple[Figure, dict]:
    """The bins of adaptive pooling on a line of pixels, a row of bars for each number of bins.

    In a row whose bins share pixels every other bin stands a step lower, so that all can be seen.

    Args:
        length: number of pixels.
        sizes: numbers of bins, one row each.

    Returns:
        the figure, and "bins" (number of bins to their (start, end)) and "shared" (number of bins
        to how many pixels lie in two of them).

    Example:
        >>> bins_figure(6, [4])[1]["bins"]
        {4: [(0, 2), (1, 3), (3, 5), (4, 6)]}
    """
    bins = {s: [(i * length // s, -(-(i + 1) * length // s)) for i in range(s)] for s in sizes}
    shared = {}
    figure = new_figure(0.62 + 0.42 * len(sizes))
    axes = figure.subplots()
    for row, (size, edges) in enumerate(bins.items()):
        count = np.zeros(length, int)
        for i, (start, end) in enumerate(edges):
            low = i % 2
            count[start:end] += 1
            top, high = (row - 0.30 + 0.30 * low, 0.28) if _overlap(edges) else (row - 0.22, 0.44)
            style = {"boxstyle": "round,pad=0,rounding_size=0.1", "mutation_aspect": 0.6}
            box = (start - 0.42, top), end - start - 0.16, high
            axes.add_patch(FancyBboxPatch(*box, **style, facecolor=series(i), linewidth=0))
        shared[size] = int((count > 1).sum())
    axes.set(xlim=(-0.8, length - 0.2), ylim=(len(sizes) - 0.45, -0.55))
    axes.set_yticks(range(len(sizes)), [f"{s} bin{'s' * (s > 1)}" for s in sizes])
    axes.set_xticks(range(length) if length <= 32 else range(0, length, 8))
    axes.tick_params(length=0)
    axes.set_xlabel("pixel")
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure, {"bins": bins, "shared": shared}


def _overlap(edges: Sequence[tuple[int, int]]) -> bool:
    """Whether neighbours among these (start, end) share a pixel."""
    return any(a[1] > b[0] for a, b in pairwise(edges))


@styled
def pooled_figure(
    image: Tensor | np.ndarray, sizes: Sequence[int], *, pixel: tuple[int, int] | None = None
) -> tuple[Figure, dict]:
    """An image as the mean colours of its bins, and as a pyramid hands them back: upsampled.

    Args:
        image: ``3 h w`` in [0, 1].
        sizes: numbers of bins a side, one column each.
        pixel: row and column to mark in every panel.

    Returns:
        the figure, and for each size "step": the largest difference between neighbouring pixels of
        the bins as blocks, and of the bins upsampled.
    """
    x = torch.from_numpy(np.ascontiguousarray(pixels(image))).permute(2, 0, 1)[None]
    h, w = x.shape[2:]
    wide = 9.0 / len(sizes)
    figure = new_figure(2 * (wide * h / w + 0.30))
    grid = figure.subplots(2, len(sizes), squeeze=False)
    steps = {}
    for column, size in enumerate(sizes):
        pooled = F.adaptive_avg_pool2d(x, size)
        maps = {
            f"{size} x {size} bin{'s' * (size > 1)}": F.interpolate(pooled, (h, w), mode="nearest"),
            "upsampled": F.interpolate(pooled, (h, w), mode="bilinear"),
        }
        steps[size] = tuple(_largest_step(m) for m in maps.values())
        for axes, (title, shown) in zip(grid[:, column], maps.items()):
            picture(axes, shown[0].permute(1, 2, 0).numpy(), title)
            if pixel is not None:
                axes.plot(*pixel[::-1], "o", ms=7, mfc=series(1), mec="white", mew=1.4)
    return figure, {"step": steps}


def _largest_step(x: Tensor) -> float:
    down, right = (x.diff(dim=d).abs() for d in (2, 3))
    return round(max(float(down.max()), float(right.max())), 4)


@styled
def structures_figure(
    image: Tensor | np.ndarray,
    query: tuple[int, int],
    *,
    sizes: Sequence[int] = (2, 3, 6),
    rates: Sequence[int] = (3, 6, 9),
    shape: tuple[int, int] = (16, 32),
) -> tuple[Figure, dict]:
    """Two fixed structures around one position: the bins that hold it, and its dilated taps.

    Args:
        image: ``3 h w`` in [0, 1].
        query: row and column on the map.
        sizes: numbers of bins a side.
        rates: dilations of the taps.
        shape: rows and columns of the map.

    Returns:
        the figure, and "bins" (size to (top, left, bottom, right) in pixels of the bin that holds
        the query) and "inside" (rate to how many of its nine taps lie on the map).
    """
    rgb = pixels(image)
    h, w = rgb.shape[:2]
    figure = new_figure(4.5 * h / w + 0.55)
    left, right = figure.subplots(1, 2)
    picture(left, 0.55 * rgb + 0.45, "bins: places in the image")
    y, x = ((q + 0.5) * side / n - 0.5 for q, side, n in zip(query, (h, w), shape))
    bins = {}
    for i, size in enumerate(sizes):
        row, column = (int((p + 0.5) * size // side) for p, side in ((y, h), (x, w)))
        top, bottom = row * h // size, -(-(row + 1) * h // size)
        start, end = column * w // size, -(-(column + 1) * w // size)
        bins[size] = (top, start, bottom, end)
        style = {"color": series(i), "linewidth": 2.2, "label": f"{size} x {size}"}
        box = ([start, end, end, start, start], [top, top, bottom, bottom, top])
        inset = 0.7 * i + 0.6
        xs = np.clip(box[0], start + inset, end - inset) - 0.5
        ys = np.clip(box[1], top + inset, bottom - inset) - 0.5
        left.plot(xs, ys, **style)
        for k in range(1, size):
            grid = {"color": series(i), "linewidth": 0.7, "alpha": 0.55, "zorder": 1}
            left.axhline(k * h / size - 0.5, **grid)
            left.axvline(k * w / size - 0.5, **grid)
    left.plot(x, y, "o", ms=8, mfc=INK, mec="white", mew=1.5)
    picture(right, 0.55 * rgb + 0.45, "taps: distances from the pixel")
    inside = draw_taps(right, query, rates, shape, h / shape[0])
    for axes in (left, right):
        axes.set(xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5))
    legend = {
        "ncols": 3,
        "loc": "upper center",
        "bbox_to_anchor": (0.5, -0.02),
        "handlelength": 1.2,
    }
    for axes in (left, right):
        axes.legend(**legend, labelcolor=INK, columnspacing=1.2)
    for spine in left.spines.values():
        spine.set_color(QUIET)
    return figure, {"bins": bins, "inside": inside}


@styled
def worth_figure(
    lost: Mapping[str, Mapping[str, Mapping[str, float]]], *, title: str = ""
) -> tuple[Figure, dict[str, dict[str, str]]]:
    """Tables side by side, one a block: rows are its parts, columns the demands, darker is more.

    Args:
        lost: block to part to demand to points of accuracy lost without the part; every part of a
            block has the same demands.
        title: a line above all tables.

    Returns:
        the figure, and for each block the part that each demand misses most.
    """
    tables = {
        block: (list(parts), list(next(iter(parts.values()))), parts)
        for block, parts in lost.items()
    }
    rows = max(len(names) for names, _, _ in tables.values())
    figure = new_figure(0.40 * rows + 0.75 + 0.3 * bool(title))
    if title:
        figure.suptitle(title)
    panels = np.atleast_1d(figure.subplots(1, len(tables)))
    most = {}
    for axes, (block, (names, demands, parts)) in zip(panels, tables.items()):
        values = np.array([[parts[name][d] for d in demands] for name in names])
        best = values.argmax(0)
        most[block] = {d: names[i] for d, i in zip(demands, best)}
        axes.imshow(np.clip(values, 0, 60), cmap="Blues", vmin=0, vmax=75, aspect="auto")
        for (r, c), value in np.ndenumerate(values):
            style = {"ha": "center", "va": "center", "color": PAPER if value > 45 else INK}
            axes.text(c, r, f"{value:.0f}".replace("-0", "0").replace("-", "−"), **style)
        axes.set_xticks(range(len(demands)), demands)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.spines[:].set_visible(False)
        axes.set_title(block, pad=8)
    return figure, most
