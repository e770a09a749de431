"""Lesson 11: an object and its two shadows, what they draw, and what strips make of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from contextlab.probes.objects import components
from contextlab.probes.rectangular import Drawing, best_iou, draw

from .affinity import _mark, _outline
from .figures import new_figure, picture, png, styled
from .palette import HEAT, QUIET, Map, floats, grey, pixels, series, stretch
from .widgets import AffinityPicker, _majority

#: strips of `strip_explorer`, and the steps of each of its fits
STRIPS, STEPS = (None, 3, 5, 7, 9, 11, 15), 120
ROOM = 0.25  # for shadows beside an image, in parts of its height


@styled
def shadows_figure(
    image: Map,
    mask: Map,
    maps: Mapping[str, Map],
    *,
    query: tuple[int, int] | None = None,
    reach: int | None = None,
    title: str = "an object and its two shadows",
) -> tuple[Figure, dict[str, float]]:
    """An object with the share of it in every row and column, beside maps that are to draw it.

    Args:
        image: ``3 H W`` in [0, 1].
        mask: ``h w`` of booleans, the object on a map that may be coarser.
        maps: title to a map ``h w``; the object's outline is drawn over it.
        query: row and column of a marked pixel of the map.
        reach: with a query, rows and columns up to so many steps away are framed.
        title: above the object.

    Returns:
        the figure, and title to the IoU of the map cut where it suits best.
    """
    rgb = pixels(image)
    size, shape = rgb.shape[:2], floats(mask).shape
    wide = 2 if len(maps) in (1, 3) else 3
    lines = -(-(len(maps) + 1) // wide)
    ratio, room = size[0] / size[1], 1 + ROOM * size[0] / size[1]  # the object's panel is larger
    unit = 8.8 / (wide - 1 + room)
    heights = [ratio * (1 + ROOM * (line == 0)) for line in range(lines)]
    figure = new_figure(sum(unit * height + 0.32 for height in heights))
    panels = figure.subplots(
        lines, wide, squeeze=False,
        gridspec_kw={"width_ratios": [room] + [1] * (wide - 1), "height_ratios": heights},
    ).ravel()  # fmt: skip
    whole, scale = stretch(floats(mask), size), size[0] / shape[0]
    truth = torch.as_tensor(floats(mask) > 0)
    dim = 0.55 * rgb + 0.45 * grey(image)[..., None] * (0.5 + 0.5 * whole[..., None])
    picture(panels[0], dim, title)
    _outline(panels[0], whole)
    _shadows(panels[0], floats(mask), size, scale)
    numbers = {}
    for axes, (name, values) in zip(panels[1:], maps.items()):
        values = floats(values)
        numbers[name] = best_iou(torch.as_tensor(values)[None].float(), truth)
        picture(axes, stretch(values, size), f"{name}: IoU {numbers[name]:.2f}", cmap=HEAT)
        _outline(axes, whole)
        axes.set_anchor("NW")
    for axes in panels[: len(maps) + 1]:
        if query is not None:
            _mark(axes, query, scale)
    if query is not None and reach is not None:
        _heard(panels[0], query, reach, shape, scale)
    for axes in panels[len(maps) + 1 :]:
        axes.axis("off")
    return figure, numbers


def _shadows(axes: Axes, mask: np.ndarray, size: tuple[int, int], scale: float) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set(xlim=(-0.5, size[1] + ROOM * size[0]), ylim=((1 + ROOM) * size[0], -0.5))
    axes.set_anchor("NW")
    gap, long = 0.04 * size[0], (ROOM - 0.05) * size[0]
    for i, (share, n) in enumerate(((mask.mean(1), size[0]), (mask.mean(0), size[1]))):
        bars = np.repeat(share / max(share.max(), 1e-9), round(scale)) * long
        start = size[1 - i] + gap
        edges = np.arange(len(bars) + 1) - 0.5
        way = "horizontal" if i == 0 else "vertical"
        axes.stairs(start + bars, edges, baseline=start, fill=True, orientation=way,
                    color=series(1 - i), linewidth=0)  # fmt: skip
        line = ([start, start], [-0.5, n - 0.5])
        axes.plot(*(line if i == 0 else line[::-1]), color=QUIET, linewidth=0.7)


def _heard(
    axes: Axes, query: tuple[int, int], reach: int, shape: tuple[int, int], scale: float
) -> None:
    """Frames around the rows and the columns that a pixel's gate hears."""
    for i, n in enumerate(query):
        low, high = max(n - reach, 0) * scale, min(n + reach + 1, shape[i]) * scale
        draw = (axes.axhline, axes.axvline)[i]
        end = shape[1 - i] * scale / (axes.get_xlim()[1] if i == 0 else axes.get_ylim()[0])
        span = {"xmin": 0, "xmax": end} if i == 0 else {"ymin": 1 - end, "ymax": 1}
        for place in (low, high):
            for colour, width in (("black", 2.4), ("white", 1.2)):
                draw(place - 0.5, color=colour, linewidth=width, linestyle=(0, (3, 2)), **span)


@styled
def drawings_figure(
    wanted: Mapping[str, Map], drawn: Mapping[str, Mapping[str, Drawing]]
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """Shapes in the first row, and below them the gates that were fitted to each.

    Args:
        wanted: name of a shape to the shape, ``h w`` of booleans.
        drawn: name of a form (a row) to, by shape, what :mod:`~contextlab.probes.rectangular` drew.

    Returns:
        the figure, and form to IoU by shape.
    """
    rows, columns = 1 + len(drawn), len(wanted)
    figure = new_figure(rows * (8.4 / columns + 0.3))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (name, shape) in zip(grid[0], wanted.items()):
        picture(axes, floats(shape), name, cmap="Greys", vmin=0, vmax=1.4)
    for line, (form, gates) in zip(grid[1:], drawn.items()):
        line[0].set_ylabel(form)
        for axes, name in zip(line, wanted):
            picture(axes, floats(gates[name].gate), f"{gates[name].iou:.2f}", cmap=HEAT,
                    vmin=0, vmax=1)  # fmt: skip
            _outline(axes, wanted[name])
    grid[0][0].set_ylabel("the shape")
    return figure, {form: {n: g[n].iou for n in wanted} for form, g in drawn.items()}


@styled
def strips_figure(
    region: Map, strips: Mapping[str, tuple[Sequence[float], Sequence[float], Map]]
) -> tuple[Figure, dict[str, float]]:
    """One region, and what pairs of strips with different weights make of it.

    Args:
        region: ``h w``, the sum of a row's and a column's vector.
        strips: title to the weights of the strip along rows, those along columns, and the map that
            both leave.

    Returns:
        the figure, and title to the share of the map that lies above its middle value.
    """
    columns = 1 + len(strips)
    figure = new_figure(9.0 / columns + 1.35)
    grid = figure.subplots(2, columns, gridspec_kw={"height_ratios": (1, 1.9)})
    grid[0, 0].axis("off")
    picture(grid[1, 0], floats(region), "before", cmap=HEAT)
    numbers = {}
    for top, axes, (name, (row, column, gate)) in zip(grid[0, 1:], grid[1, 1:], strips.items()):
        gate = floats(gate)
        numbers[name] = float((gate > (gate.min() + gate.max()) / 2).mean())
        picture(axes, gate, cmap=HEAT)
        top.set_title(name)
        both = [np.asarray(weights, float) for weights in (row, column)]
        for i, weights in enumerate(both):
            x = np.arange(len(weights)) - len(weights) // 2
            top.bar(x + (0.4 * i - 0.2), weights, width=0.4, color=series(1 - i),
                    label=("along rows", "along columns")[i])  # fmt: skip
        top.axhline(0, color=QUIET, linewidth=0.7)
        most = 1.15 * max(np.abs(weights).max() for weights in both)
        top.set(xticks=[-5, 0, 5], yticks=[], ylim=(-most, most))
    handles, names = grid[0, 1].get_legend_handles_labels()
    grid[0, 0].legend(handles, names, loc="center left", title="weights of the strips",
                      alignment="left", borderaxespad=0)  # fmt: skip
    return figure, numbers


@styled
def footprints_figure(
    heard: Mapping[str, Map], query: tuple[int, int]
) -> tuple[Figure, dict[str, int]]:
    """Which positions a marked pixel's answer depends on, for some modules.

    Args:
        heard: name of a module to the influence of every position, ``h w``, not negative.
        query: row and column of the marked pixel.

    Returns:
        the figure, and name to the number of positions that are heard at all.
    """
    wide = 3 if len(heard) > 2 else len(heard)
    lines = -(-len(heard) // wide)
    shape = floats(next(iter(heard.values()))).shape
    figure = new_figure(lines * (9.0 / wide * shape[0] / shape[1] + 0.32))
    panels = figure.subplots(lines, wide, squeeze=False).ravel()
    numbers = {}
    for axes, (name, values) in zip(panels, heard.items()):
        values = floats(values)
        numbers[name] = int((values > 0).sum())
        others = values.copy()
        others[query] = 0  # its own weight would outshine all others
        strength = (np.minimum(values / max(others.max(), 1e-12), 1)) ** 0.25
        picture(axes, strength, f"{name}: {numbers[name]} of {values.size}", cmap=HEAT, vmin=0)
        _mark(axes, query, 1)
    for axes in panels[len(heard) :]:
        axes.axis("off")
    return figure, numbers


@styled
def calibrated_figure(
    image: Map, channels: Mapping[str, tuple[Map, Map]], *, query: tuple[int, int] | None = None
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """Channels of an attention before their calibration and, below, after it, beside the image.

    Args:
        image: ``3 H W`` in [0, 1].
        channels: title to the region a, and to the gate, both ``h w``.
        query: row and column of a marked pixel of the map.

    Returns:
        the figure, and title to "least" and "most", the ends of the gate.
    """
    rgb, columns = pixels(image), 1 + len(channels)
    figure = new_figure(2 * (9.0 / columns * rgb.shape[0] / rgb.shape[1] + 0.32))
    grid = figure.subplots(2, columns, squeeze=False)
    numbers, scale = {}, 1.0
    extent = (-0.5, rgb.shape[1] - 0.5, rgb.shape[0] - 0.5, -0.5)
    picture(grid[0, 0], rgb, "the image")
    for (before, after), (name, (region, gate)) in zip(grid.T[1:], channels.items()):
        region, gate = floats(region), floats(gate)
        scale = rgb.shape[0] / gate.shape[0]
        numbers[name] = {"least": float(gate.min()), "most": float(gate.max())}
        picture(before, region, name, cmap=HEAT, extent=extent)
        title = f"its gate, {gate.min():.2f} to {gate.max():.2f}"
        shown = picture(after, gate, title, cmap=HEAT, vmin=0, vmax=1, extent=extent)
    grid[1, 0].axis("off")
    bar = grid[1, 0].inset_axes((0.05, 0.5, 0.9, 0.16))
    figure.colorbar(shown, cax=bar, orientation="horizontal", label="the gate, below")
    if query is not None:
        for axes in (grid[0, 0], *grid[:, 1:].ravel()):
            _mark(axes, query, scale)
    return figure, numbers


def piece(labels: Map, query: tuple[int, int], shape: tuple[int, int] | None = None) -> Tensor:
    """The connected piece of equal label that holds a pixel.

    Args:
        labels: ``H W``, whole numbers.
        query: row and column of the pixel, on a map of the given shape.
        shape: of a coarser map, on which each cell has its commonest label.

    Returns:
        booleans ``h w``.

    Example:
        >>> piece(torch.tensor([[7, 7, 2], [2, 7, 2]]), (0, 2)).int().tolist()
        [[0, 0, 1], [0, 0, 1]]
    """
    small = torch.as_tensor(_majority(labels, shape or tuple(labels.shape)))
    numbers = components(small[None])[0]
    return numbers == numbers[tuple(query)]


@functools.lru_cache(256)
def _fitted(cells: tuple[tuple[bool, ...], ...], gather: str, strip: int | None) -> Drawing:
    shape = torch.tensor(cells)
    return draw(shape, gather=gather, strip=strip, vectors="means", steps=STEPS)


def object_gate(
    image: Map,
    labels: Map,
    query: tuple[int, int],
    *,
    gather: str = "add",
    strip: int | None = 11,
    shape: tuple[int, int] = (16, 32),
) -> tuple[Figure, dict[str, float]]:
    """What the shadows of a pixel's object draw, before and after a pair of strips of this length.

    The strips are fitted to this one object, so it is the best that they could do for it.

    Args:
        image: ``3 H W`` in [0, 1].
        labels: ``H W``.
        query: row and column of a pixel of the map; its object is the piece of equal label.
        gather: "add" or "multiply" the shadows.
        strip: length of both strips; None: none.
        shape: of the map.

    Returns:
        the figure, and "before", "after" (IoU of region and gate with the object, each cut where it
        suits best), "rank" (of the region), "pixels" (of the object) and "heard" (positions whose
        values reach the marked pixel's gate).
    """
    mask = piece(labels, query, shape)
    reach = 0 if strip is None else strip // 2
    if mask.all():
        raise ValueError("expected an object that leaves some of the image, got one label in all")
    found = _fitted(tuple(map(tuple, mask.tolist())), gather, strip)
    sign = "sum" if gather == "add" else "product"
    after = "its gate" if strip is None else f"after strips of {strip}"
    maps = {f"{sign}, rank {found.rank}": found.region, after: found.gate}
    figure, ious = shadows_figure(image, mask, maps, query=query, reach=reach, title="its object")
    before, gate = ious.values()
    numbers = {"before": before, "after": gate, "rank": found.rank, "pixels": int(mask.sum())}
    sides = [min(q + reach + 1, n) - max(q - reach, 0) for q, n in zip(query, shape)]
    numbers["heard"] = sides[0] * shape[1] + sides[1] * shape[0] - sides[0] * sides[1]
    return figure, numbers


class StripExplorer(AffinityPicker):
    """A mosaic of buttons coloured as the image, the strips' length, and how shadows are gathered.

    Made by :func:`strip_explorer`; ``update(row, column)`` is what a click on the mosaic does, and
    ``strip.value = 7`` or ``gather.value = "multiply"`` the controls.
    """

    alt = "The image as a mosaic of buttons, a slider of the strips, and add or multiply: a gate."

    def __init__(self, image, labels, names, shape, query) -> None:
        self.gather = ipywidgets.ToggleButtons(
            options=["add", "multiply"], description="shadows", tooltips=["sum", "product"]
        )
        self.gather.style.button_width = "auto"
        self.strip = ipywidgets.SelectionSlider(
            options=[("none" if k is None else str(k), k) for k in STRIPS],
            value=11,
            description="strips",
        )
        self.strip.continuous_update = False
        small = _majority(labels, shape)
        self._whole = labels
        super().__init__(image, lambda r, c: None, shape, names, small, query)
        self.children = [self.gather, self.strip, *self.children]
        for control in (self.gather, self.strip):
            control.observe(lambda change: self._redraw(), names="value")

    def _redraw(self) -> None:
        options = {"gather": self.gather.value, "strip": self.strip.value}
        figure, n = object_gate(self._image, self._whole, self.query, shape=self.shape, **options)
        self.picture.value = png(figure)
        name = self._names[self._labels[self.query]] if self._names is not None else "the object"
        self.words.value = (
            f"{name}, {n['pixels']} positions: IoU <b>{n['before']:.2f}</b> from its shadows "
            f"alone, <b>{n['after']:.2f}</b> with the strips. The marked pixel's gate hears "
            f"{n['heard']} of {self.shape[0] * self.shape[1]} positions."
        )


def strip_explorer(
    image: Tensor,
    labels: Tensor,
    *,
    classes: Sequence[str] | None = None,
    shape: tuple[int, int] = (16, 32),
    query: tuple[int, int] | None = None,
) -> StripExplorer:
    """Click an object; see what its two shadows draw, and what strips of some length add.

    The static twin is :func:`object_gate`.

    Args:
        image: ``3 H W`` in [0, 1].
        labels: ``H W``.
        classes: names of the classes.
        shape: of the map on which the gate is drawn.
        query: row and column of the map to begin with; its middle by default.
    """
    return StripExplorer(image, labels, classes, shape, query or (shape[0] // 2, shape[1] // 2))
