"""Lesson 07: cells that hear each other with a sign, two graphs side by side, hard pixels."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from contextlab.probes import cell_askers

from .affinity import _outline
from .figures import new_figure, picture, png, styled
from .node_maps import _signed
from .palette import DIVERGING, INK, WRONG, Map, floats, grey, pixels, stretch
from .widgets import AffinityPicker, _majority

_HERE = "#56B4E9"  # the frame of the cell that asks


@styled
def cells_figure(
    image: Map,
    rows: Mapping[int, Map],
    place: tuple[int, int],
    *,
    shape: tuple[int, int],
    cue: Map | None = None,
    own: Map | None = None,
) -> tuple[Figure, dict[int, dict]]:
    """Whom a cell hears, and with which sign, for several sizes of a cell.

    Args:
        image: ``3 H W`` in [0, 1].
        rows: side d of the cells to the edges ``h' w'`` of the cell that holds the place.
        place: row and column of the map.
        shape: of the map.
        cue: bool ``H W``, drawn as an outline.
        own: the part of the cue that the place belongs to, outlined in the colour of the cell.

    Returns:
        the figure, and d to "cells" (how many), "positive" (share of the edges' weight that is
        positive) and, with a cue, "on_cue" (share of the weight |a| on it) and "cue_area".
    """
    rgb, pale = pixels(image), 0.50 + 0.45 * grey(image)
    per_line = 2 if len(rows) in (1, 2, 4) else 3
    lines = -(-len(rows) // per_line)
    figure = new_figure(lines * (9.0 / per_line * rgb.shape[0] / rgb.shape[1] + 0.32) + 0.3)
    panels = figure.subplots(lines, per_line, squeeze=False).ravel()
    words = "orange: heard with a positive weight; purple: with a negative one; blue: the cell"
    figure.supxlabel(words + " and its cue" * (own is not None), fontsize=9.5)
    numbers, frame = {}, ((INK, 4.0), (_HERE, 2.2))
    for axes, (d, row) in zip(panels, rows.items()):
        edges, side = floats(row), d * rgb.shape[0] // shape[0]
        big = _spread(edges, rgb.shape[:2], side)
        title = f"d = {d}: {edges.shape[0]} x {edges.shape[1]} cells"
        picture(axes, _signed(pale, big), title)
        top, left = (p * rgb.shape[0] // shape[0] // side * side for p in place)
        _grid(axes, rgb.shape[:2], side)
        for colour, width in frame:
            box = Rectangle((left - 0.5, top - 0.5), side, side, fill=False, ec=colour, lw=width)
            axes.add_patch(box)
        _outline(axes, cue)
        _outline(axes, own, *frame)
        weight = np.abs(edges)
        numbers[d] = {
            "cells": edges.size,
            "positive": float(edges.clip(0).sum() / max(weight.sum(), 1e-12)),
        }
        if cue is not None:
            on = np.abs(big) * floats(cue)
            numbers[d]["on_cue"] = float(on.sum() / max(np.abs(big).sum(), 1e-12))
            numbers[d]["cue_area"] = float(floats(cue).mean())
    for axes in panels[len(rows) :]:
        axes.axis("off")
    return figure, numbers


class CellExplorer(AffinityPicker):
    """A mosaic of buttons coloured as the image, and a slider for the side of a cell.

    Made by :func:`cell_explorer`; ``update(row, column)`` is what a click on the mosaic does, and
    ``cell.value = 4`` what the slider does.
    """

    alt = "The image as a mosaic of buttons, and a slider for the cell: whom does it hear?"

    def __init__(self, image, asks, shape, names, labels, query) -> None:
        self._asks = asks
        self._full = labels
        slider = ipywidgets.SelectionSlider(options=list(asks), description="cell d")
        self.cell = slider
        super().__init__(image, lambda r, c: asks[slider.value](r, c), shape, names, labels, query)
        self.children = [slider, *self.children]
        slider.observe(lambda change: self._redraw(), names="value")

    def _redraw(self) -> None:
        d, edges = self.cell.value, self._ask(*self.query)
        figure, _ = cells_figure(self._image, {d: edges}, self.query, shape=self.shape)
        self.picture.value = png(figure)
        self.words.value = heard(edges, self.query, labels=self._full, classes=self._names)


def heard(
    edges: Tensor,
    place: tuple[int, int],
    *,
    labels: Tensor | None = None,
    classes: Sequence[str] | None = None,
) -> str:
    """In words (HTML): how many cells there are, and of which classes a cell hears most.

    Args:
        edges: ``h' w'``, of either sign.
        place: row and column on the map.
        labels: ``H W``.
        classes: names.
    """
    text = f"The cell of row {place[0]}, column {place[1]} has <b>{edges.numel()}</b> edges"
    if labels is None or classes is None:
        return text + "."
    # cut cells are rare on the course's maps, and a word about classes may be rough there
    small, edges = _majority(labels, tuple(edges.shape)), floats(edges)
    total = np.abs(edges).sum()
    sums = {n: (float(edges[small == i].sum()) / total) for i, n in enumerate(classes)}
    ranked = sorted(sums.items(), key=lambda item: -abs(item[1]))[:3]
    parts = [f"{html.escape(n)} {100 * s:+.0f} %".replace("-", "−") for n, s in ranked]
    return f"{text}; by class of the other cell: {', '.join(parts)}."


def cell_explorer(
    network: nn.Module,
    image: Tensor,
    *,
    cells: Sequence[int] = (1, 2, 4, 8),
    labels: Tensor | None = None,
    classes: Sequence[str] | None = None,
    place: tuple[int, int] | None = None,
) -> CellExplorer:
    """Choose the side of a cell and a place, and see whom that cell hears.

    The static twin is :func:`cells_figure`.

    Args:
        network: as for :func:`cell_askers`.
        image: ``3 h w`` in [0, 1].
        cells: sides to choose from.
        labels: ``h w``, to say in words which classes are heard.
        classes: names of the classes.
        place: row and column of the map to begin with; its middle by default.
    """
    asks, shape = cell_askers(network, image, cells)
    start = place or (shape[0] // 2, shape[1] // 2)
    return CellExplorer(image, asks, shape, classes, labels, start)


@styled
def two_graphs_figure(
    image: Map,
    edges: Map,
    place: tuple[int, int],
    maps: Sequence[Map],
    adjacency: Map,
) -> tuple[Figure, dict[str, int]]:
    """The two graphs side by side: one cell's edges on the image, and concepts with theirs.

    Args:
        image: ``3 H W`` in [0, 1].
        edges: ``h' w'``, the row of A_S of one cell.
        place: row and column of that cell.
        maps: some concepts' weights ``h w``.
        adjacency: ``k k``, the learned edges between these concepts.

    Returns:
        the figure, and how many lines each graph has.
    """
    rgb, pale = pixels(image), 0.50 + 0.45 * grey(image)
    edges, adjacency = floats(edges), floats(adjacency)
    height, width = rgb.shape[:2]
    side = height // edges.shape[0]
    figure = new_figure(2.75)
    figure.set_layout_engine("none")
    left = figure.add_axes((0.005, 0.02, 0.475, 0.9), anchor="W")
    picture(left, 0.6 * rgb + 0.25 * grey(image)[..., None] + 0.15)
    _grid(left, (height, width), side, "#ffffff")
    spots = (np.stack(np.mgrid[: edges.shape[0], : edges.shape[1]], -1) + 0.5) * side - 0.5
    own, strength = spots[place], np.abs(edges) / np.abs(edges).max()
    order = np.argsort(strength, axis=None)
    ends, s = spots.reshape(-1, 2)[order], strength.ravel()[order]
    colours = np.array([_tone(v) for v in np.sign(edges).ravel()[order]])
    colours[:, 3] = 0.12 + 0.85 * s
    lines = [(own[::-1], end[::-1]) for end in ends]
    left.add_collection(LineCollection(lines, colors=colours, linewidths=0.3 + 3.2 * s))
    left.scatter(ends[:, 1], ends[:, 0], s=4 + 34 * s, c=colours, zorder=3, linewidths=0)
    left.plot(*own[::-1], "s", ms=11, mfc=_HERE, mec=INK, mew=1.6, zorder=4)

    right = figure.add_axes((0.495, 0.02, 0.5, 0.9))
    right.set(xlim=(0, 5), ylim=(0, 2.58))
    right.axis("off")
    for x, words in ((0.005, "coordinate space: a node is a cell"),
                     (0.515, "feature space: a node is a concept")):  # fmt: skip
        figure.text(x, 0.93, words, fontsize=11.5, weight="bold")
    angle = np.pi / 2 + 2 * np.pi * np.arange(len(maps)) / len(maps)
    spots = np.stack([2.5 + 1.72 * np.cos(angle), 1.29 + 0.93 * np.sin(angle)], 1)
    top = np.abs(adjacency - np.diag(np.diag(adjacency))).max()
    for i in range(len(maps)):
        for j in range(i):
            weight = max((adjacency[i, j], adjacency[j, i]), key=abs) / top
            colour = _tone(-np.sign(weight))  # I - A: what is positive in A is taken away
            line = {"color": colour[:3], "linewidth": 0.6 + 3.6 * abs(weight), "zorder": 1}
            right.plot(*spots[[i, j]].T, alpha=0.25 + 0.7 * abs(weight), **line)
    for (x, y), weights in zip(spots, maps):
        shown = _signed(pale, stretch(floats(weights), (height, width)))
        w, h = 1.18, 0.59
        extent = (x - w / 2, x + w / 2, y - h / 2, y + h / 2)
        right.imshow(shown, extent=extent, aspect="auto", zorder=2)
        right.add_patch(
            Rectangle((extent[0], extent[2]), w, h, fill=False, ec=INK, lw=1.2, zorder=3)
        )
    handles = [
        Line2D([], [], color=_tone(v)[:3], lw=3, label=t) for v, t in ((1, "add"), (-1, "subtract"))
    ]
    right.legend(handles=handles, loc="lower right", ncols=1, frameon=False)
    return figure, {"cells": edges.size, "concepts": len(maps) * (len(maps) - 1) // 2}


@styled
def hard_pixels_figure(
    image: Map, probability: Map, kept: Mapping[str, Map]
) -> tuple[Figure, dict[str, float]]:
    """How sure a network is of the truth, and which pixels a hard-example loss keeps.

    Args:
        image: ``3 H W`` in [0, 1].
        probability: ``H W``, of the true class.
        kept: name to bool ``H W``.

    Returns:
        the figure, and name to the share that is kept.
    """
    rgb, pale = pixels(image), 0.55 + 0.4 * grey(image)
    panels = 2 + len(kept)
    columns = 2 if panels in (2, 4) else 3
    lines = -(-panels // columns)
    figure = new_figure(lines * (9.0 / columns * rgb.shape[0] / rgb.shape[1] + 0.32))
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    picture(axes[0], rgb, "the image")
    shown = picture(
        axes[1], floats(probability), "probability of the true class", cmap="cividis", vmin=0,
        vmax=1,
    )  # fmt: skip
    figure.colorbar(shown, ax=axes[1], fraction=0.03, pad=0.02)
    numbers = {}
    colour = np.array(to_rgb(WRONG))
    for one, (name, mask) in zip(axes[2:], kept.items()):
        mask = floats(mask) > 0.5
        numbers[name] = float(mask.mean())
        ground = np.where(mask[..., None], colour, pale[..., None])
        picture(one, ground, f"{name}: {numbers[name]:.1%} kept")
    for one in axes[panels:]:
        one.axis("off")
    return figure, numbers


def _tone(sign: float) -> np.ndarray:
    return np.array(colormaps[DIVERGING](0.5 + 0.40 * sign))


def _grid(axes: Axes, size: tuple[int, int], side: int, colour: str = "#8a8a8a") -> None:
    for x in range(side, size[1], side):
        axes.axvline(x - 0.5, color=colour, linewidth=0.5, alpha=0.7)
    for y in range(side, size[0], side):
        axes.axhline(y - 0.5, color=colour, linewidth=0.5, alpha=0.7)


def _spread(edges: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Every cell's value over its ``side`` x ``side`` pixels; the last cells may be cut."""
    rows, columns = (np.minimum(np.arange(s) // side, n - 1) for s, n in zip(size, edges.shape))
    return edges[rows][:, columns]
