"""Lesson 01: what a patch knows, the cone of a chain of layers, what gradients see, the ruler."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from contextlab.data import bounds
from contextlab.probes import central_share, effective_width, growth
from contextlab.probes.receptive_field import Layer

from .accuracy import _several
from .figures import new_figure, picture, styled
from .palette import HEAT, INK, MARKERS, PAPER, QUIET, WRONG, pixels, series
from .widgets import Explorer


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


@styled
def cone_figure(layers: Sequence[Layer], *, title: str = "") -> tuple[Figure, dict]:
    """Which inputs one output reads through a chain of layers, in one dimension.

    Args:
        layers: (kernel, stride, dilation) from the input to the output.
        title: a line above; by default the size and how much of it is read.

    Returns:
        the figure, and "size" (receptive field in pixels), "read" (how many pixels of it are
        really read: fewer if dilations leave holes), "sizes" after each layer.
    """
    layers = [tuple(layer) for layer in layers]
    sizes = [size for size, _ in growth(layers)]
    levels, edges = [{0}], []  # from the output down
    for depth, (kernel, stride, dilation) in enumerate(reversed(layers)):
        taps = [(i - (kernel - 1) / 2) * dilation for i in range(kernel)]
        below = {p: [stride * p + t for t in taps] for p in levels[-1]}
        edges += [((p, depth), (q, depth + 1)) for p, qs in below.items() for q in qs]
        levels.append({q for qs in below.values() for q in qs})
    strides = [1, *(s for _, s in growth(layers))][::-1]  # positions of a level, in pixels
    n = len(layers)
    numbers = {"size": sizes[-1] if sizes else 1, "read": len(levels[-1]), "sizes": sizes}

    figure = new_figure(1.1 + 0.52 * n)
    axes = figure.subplots()
    lines = [[(p * strides[d], n - d), (q * strides[e], n - e)] for (p, d), (q, e) in edges]
    axes.add_collection(LineCollection(lines, colors=QUIET, linewidths=0.6, alpha=0.55, zorder=1))
    reach = (numbers["size"] - 1) / 2
    spot = float(np.clip(420 / max(numbers["size"], 1), 5, 60))
    for depth, level in enumerate(levels):
        x = np.array(sorted(level)) * strides[depth]
        colour = series(1) if depth == 0 else series(0)
        axes.scatter(x, [n - depth] * len(x), s=spot, color=colour, zorder=3, linewidths=0)
    every = np.arange(-np.floor(reach), np.floor(reach) + 1) + (reach % 1)
    holes = [x for x in every if not any(abs(x - q) < 1e-9 for q in levels[-1])]
    empty = {"s": spot, "facecolors": "white", "edgecolors": QUIET, "linewidths": 0.8}
    axes.scatter(holes, [0] * len(holes), zorder=2, **empty)
    names = ["input"] + [_layer_name(layer) for layer in layers]
    axes.set_yticks(range(n + 1), names)
    axes.set_ylim(-0.45, n + 0.45)
    axes.set_xlabel("pixel, counted from the one in question")
    axes.set_xlim(-max(reach, 3) - 1, max(reach, 3) + 1)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    part = "all of them read" if not holes else f"{numbers['read']} of them read"
    axes.set_title(title or f"{numbers['size']} pixels in reach, {part}")
    return figure, numbers


@styled
def receptive_field_figure(
    field: Tensor | np.ndarray,
    size: tuple[int, int],
    *,
    title: str = "effective receptive field",
) -> tuple[Figure, dict]:
    """The gradients as heat, with the square that theory allows and the width that matters.

    Args:
        field: ``h w``, from :func:`~contextlab.probes.effective`.
        size: height and width, from :func:`~contextlab.probes.theoretical`.
        title: above the heat map.

    Returns:
        the figure, and "theoretical" (height, width), "effective" (width of the square of pixels
        that matter), "central" (share of the gradient within that square).
    """
    f = np.asarray(field, float)
    wide = effective_width(f)
    side = 2 * int(wide // 2) + 1
    numbers = {
        "theoretical": tuple(size),
        "effective": round(wide, 1),
        "central": central_share(f, side),
    }
    rows, columns = np.indices(f.shape)
    y, x = (float((f * axis).sum() / f.sum()) for axis in (rows, columns))
    figure = new_figure(3.7)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    # the root shows the tails, which a linear scale would leave black
    picture(left, np.sqrt(f / f.max()), title, cmap=HEAT, vmin=0, vmax=1)
    half = 0.72 * max(*size, wide)
    left.set_xlim(max(x - half, -0.5), min(x + half, f.shape[1] - 0.5))
    left.set_ylim(min(y + half, f.shape[0] - 0.5), max(y - half, -0.5))
    frames = (
        (size[0], size[1], (0, (4, 2)), f"can see: {size[0]} x {size[1]}"),
        (wide, wide, "-", f"does see: about {wide:.0f} x {wide:.0f}"),
    )
    for height, width, style, _ in frames:
        corner = (x - width / 2, y - height / 2)
        options = {"fill": False, "linewidth": 1.8, "linestyle": style}
        left.add_patch(Rectangle(corner, width, height, edgecolor="white", **options))
    profile = f.sum(0) / f.sum(0).max()
    offsets = np.arange(len(profile)) - x
    right.fill_between(offsets, profile, step="mid", color=series(0), alpha=0.25, linewidth=0)
    right.step(offsets, profile, where="mid", color=series(0), linewidth=1.5)
    for _, width, style, name in frames:
        for sign in (-1, 1):
            label = name if sign > 0 else None
            at = sign * width / 2
            right.axvline(at, color=INK, linestyle=style, linewidth=1.5, label=label)
    right.set_xlim(-half, half)
    right.set_ylim(0, 1.08)
    right.set_yticks([0, 0.5, 1])
    right.set_xlabel("columns from the middle")
    right.set_title("influence of each column, largest = 1")
    figure.legend(loc="outside lower center", ncols=2, handlelength=2.6)
    return figure, numbers


def _layer_name(layer: Layer) -> str:
    kernel, stride, dilation = layer
    name = f"{kernel} wide"
    name += f", stride {stride}" if stride > 1 else ""
    return name + (f", dilation {dilation}" if dilation > 1 else "")


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


def receptive_field_explorer(
    *, kernel: int = 3, depth: int = 3, dilation: int = 1, grow: bool = False
) -> Explorer:
    """Kernel, depth and dilation of a chain of layers. The static twin is :func:`cone_figure`.

    Args:
        kernel, depth, dilation: where the sliders begin.
        grow: begin with the dilation doubling from layer to layer.
    """

    def draw(kernel: int, depth: int, dilation: int, grow: bool) -> tuple[Figure, str]:
        layers = [(kernel, 1, dilation * 2**i if grow else dilation) for i in range(depth)]
        figure, numbers = cone_figure(layers)
        size, read = numbers["size"], numbers["read"]
        words = f"receptive field <b>{size} pixels</b>, {read} of them read"
        return figure, words

    slider = ipywidgets.IntSlider
    controls = {
        "kernel": slider(value=kernel, min=1, max=7, step=2, description="kernel"),
        "depth": slider(value=depth, min=1, max=5, description="depth"),
        "dilation": slider(value=dilation, min=1, max=4, description="dilation"),
        "grow": ipywidgets.Checkbox(value=grow, description="double it at each layer"),
    }
    return Explorer(draw, controls, "Which inputs one output reads, in one dimension.")
