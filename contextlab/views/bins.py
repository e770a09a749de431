"""Bins of a pyramid: which pixels fall into them, and what is left of an image in them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from .figures import new_figure, picture, styled
from .palette import INK, QUIET, pixels, series


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
    from .lesson_05 import draw_taps

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
