"""Figures of what a patch knows: windows around a pixel, their bounds, how weights spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from .figures import new_figure, picture, styled
from .palette import INK, MARKERS, QUIET, WRONG, pixels, series


@styled
def patch_figure(
    image: Tensor | np.ndarray,
    pixel: tuple[int, int],
    windows: Sequence[int],
    *,
    cue: Tensor | np.ndarray | None = None,
    title: str = "",
) -> tuple[Figure, dict]:
    """A pixel, the square windows around it, and what each of them holds.

    Args:
        image: ``3 h w`` in [0, 1].
        pixel: row and column.
        windows: sides in pixels, odd, at most four.
        cue: bool ``h w``, the pixels that tell the answer; they get a frame.
        title: above the image.

    Returns:
        the figure, and "holds": window to whether it holds a pixel of the cue (without a cue:
        empty).

    Raises:
        ValueError: an even window, or more than four.
    """
    windows = sorted(windows)
    if not 1 <= len(windows) <= 4 or any(r < 1 or r % 2 == 0 for r in windows):
        raise ValueError(f"expected one to four odd windows, got {windows}")
    array, (row, column) = pixels(image), pixel
    marked = np.zeros(array.shape[:2], bool) if cue is None else np.asarray(cue, bool)
    crops = {r: _crop(array, pixel, r) for r in windows}
    holds = {r: bool(_crop(marked[..., None], pixel, r, False).any()) for r in windows}

    height = array.shape[0] / array.shape[1]
    figure = new_figure(6.2 * height + 2.7)
    top, bottom = figure.subfigures(2, 1, height_ratios=(6.2 * height + 0.3, 2.4))
    axes = top.subplots()
    picture(axes, array, title)
    for i, r in enumerate(windows):
        corner = (column - r / 2, row - r / 2)
        axes.add_patch(Rectangle(corner, r, r, fill=False, edgecolor=series(i), linewidth=2.2))
    axes.plot(column, row, "+", color=WRONG, markersize=9, markeredgewidth=2)
    _frame(axes, marked)
    axes.set_xlim(-0.5, array.shape[1] - 0.5)
    axes.set_ylim(array.shape[0] - 0.5, -0.5)
    small = np.atleast_1d(bottom.subplots(1, len(windows)))
    for i, (panel, r) in enumerate(zip(small, windows)):
        said = "" if cue is None else (": holds a cue" if holds[r] else ": no cue")
        picture(panel, crops[r], f"{r} x {r}{said}")
        panel.plot(r // 2, r // 2, "+", color=WRONG, markersize=7, markeredgewidth=1.6)
        if cue is not None and holds[r]:
            _frame(panel, _crop(marked[..., None], pixel, r, False)[..., 0])
            panel.set_xlim(-0.5, r - 0.5)
            panel.set_ylim(r - 0.5, -0.5)
        for spine in panel.spines.values():
            spine.set(color=series(i), linewidth=2.2)
    return figure, {"holds": {} if cue is None else holds}


@styled
def window_figure(
    windows: Sequence[int],
    shares: Mapping[str, Sequence[float]],
    *,
    marks: Mapping[str, int] | None = None,
    ylabel: str = "pixels whose window holds the cue (%)",
) -> tuple[Figure, dict]:
    """What windows of growing size know, one line a demand.

    Args:
        windows: sides in pixels.
        shares: name to a share, from 0 to 1, for each window.
        marks: name to a window size that gets a dotted line.
        ylabel: what is on the vertical axis.

    Returns:
        the figure, and for each name the first window at which its share is above 0.99 (None if
        there is none).

    Raises:
        ValueError: a line whose length is not that of the windows.
    """
    figure = new_figure(3.6)
    axes = figure.subplots()
    numbers: dict[str, int | None] = {}
    ends: dict[int, list[str]] = {}  # lines that lie on each other share a label
    lines = [[100 * v for v in values] for values in shares.values()]
    for i, (name, line) in enumerate(zip(shares, lines)):
        if len(line) != len(windows):
            raise ValueError(f"expected {len(windows)} shares for {name}, got {len(line)}")
        first = next(k for k in range(i + 1) if np.allclose(lines[k], line, rtol=0, atol=1))
        ends.setdefault(first, []).append(name)
        style = {"color": series(i), "marker": MARKERS[i % len(MARKERS)], "markersize": 5.5}
        style["linestyle"] = "-" if first == i else (0, (3, 3))
        axes.plot(windows, line, linewidth=1.9, **style)
        numbers[name] = next((w for w, v in zip(windows, line) if v > 99), None)
    order = sorted(ends, key=lambda k: lines[k][-1])
    for k, y in zip(order, _apart([lines[k][-1] for k in order])):
        place = {"xytext": (10, 0), "textcoords": "offset points", "va": "center"}
        names = " and ".join(ends[k])
        axes.annotate(names, (windows[-1], y), color=INK, fontweight="bold", **place)
    for name, at in (marks or {}).items():
        axes.axvline(at, color=QUIET, linewidth=1, linestyle=(0, (1, 1.5)), zorder=0)
        axes.annotate(name, (at, 103), color=INK, ha="center", fontsize=9, annotation_clip=False)
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xticks(windows)
    axes.set_xlabel("side of the window (pixels)")
    axes.set_ylabel(ylabel)
    axes.grid(axis="y")
    return figure, numbers


@styled
def chain_figure(chains: Mapping[int, Sequence[float]]) -> tuple[Figure, dict]:
    """How the weights of a chain of layers spread over its receptive field.

    Args:
        chains: number of layers to the weight of each input, an odd number of them.

    Returns:
        the figure, and number of layers to ("size", "deviation": standard deviation in pixels).
    """
    figure = new_figure(2.7)
    panels = np.atleast_1d(figure.subplots(1, len(chains)))
    numbers = {}
    for panel, (layers, weights) in zip(panels, chains.items()):
        weights = np.asarray(weights, float)
        offsets = np.arange(len(weights)) - len(weights) // 2
        share = weights / weights.sum()
        deviation = float(np.sqrt((share * offsets**2).sum()))
        numbers[layers] = {"size": len(weights), "deviation": deviation}
        tall = weights / weights.max()
        panel.axvspan(-2 * deviation, 2 * deviation, color=series(4), alpha=0.3, linewidth=0)
        panel.bar(offsets, tall, width=1, color=series(0), linewidth=0)
        panel.set_title(f"{layers} layer{'s' * (layers > 1)}")
        panel.set_xlabel(f"{len(weights)} pixels")
        panel.set_xlim(offsets[0] - 0.6, offsets[-1] + 0.6)
        panel.set_xticks([offsets[0], 0, offsets[-1]])
        panel.set_yticks([0, 1] if panel is panels[0] else [])
    panels[0].set_ylabel("weight, largest = 1")
    return figure, numbers


def _crop(array: np.ndarray, pixel: tuple[int, int], r: int, fill: float = 1.0) -> np.ndarray:
    """The r x r window of ``h w c`` around a pixel; what lies outside the image is filled."""
    half = r // 2
    padded = np.pad(array, ((half, half), (half, half), (0, 0)), constant_values=fill)
    return padded[pixel[0] : pixel[0] + r, pixel[1] : pixel[1] + r]


def _frame(axes, marked: np.ndarray) -> None:
    """A frame in ink around every run of marked pixels, one pixel outside of them."""
    if marked.any():
        axes.contour(marked.astype(float), levels=[0.5], colors="white", linewidths=3)
        axes.contour(marked.astype(float), levels=[0.5], colors=INK, linewidths=1.3)


def _apart(values: Sequence[float], least: float = 5.5) -> list[float]:
    """Growing heights for labels, each at least so far above the one before."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + least) if placed else value)
    return placed
