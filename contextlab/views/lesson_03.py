"""Lesson 03: one pixel's lines to all others, and a mosaic that answers whom a pixel asks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import patheffects
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor, nn

from contextlab.probes import Asker

from .figures import new_figure, picture, styled
from .palette import INK, grey, pixels, series
from .widgets import AffinityPicker, _majority


@styled
def everyone_figure(
    image: Tensor | np.ndarray,
    weights: Tensor | np.ndarray,
    query: tuple[int, int],
    *,
    title: str = "",
) -> tuple[Figure, dict]:
    """Lines from one pixel to every other one, the thicker the more it listens there.

    Args:
        image: ``3 H W`` in [0, 1].
        weights: ``h w``, not negative: how the pixel shares out its attention.
        query: row and column of the asking pixel, on the map of the weights.
        title: a line above.

    Returns:
        the figure, and "lines" (how many), "peak" (row, column of the thickest).

    Raises:
        ValueError: the query lies outside the map.
    """
    weights = torch.as_tensor(weights).detach().double().cpu().numpy()
    rows, columns = weights.shape
    if not (0 <= query[0] < rows and 0 <= query[1] < columns):
        raise ValueError(f"expected a query inside {rows} x {columns}, got {tuple(query)}")
    rgb, dim = pixels(image), grey(image)[..., None]
    scale = rgb.shape[0] / rows
    figure = new_figure(9.0 * rgb.shape[0] / rgb.shape[1] + 0.3 * bool(title))
    axes = figure.subplots()
    picture(axes, 0.5 * rgb + 0.25 * dim + 0.25, title)

    grid = np.stack(np.mgrid[:rows, :columns], -1).reshape(-1, 2)
    strength = (weights / weights.max()).ravel()
    order = np.argsort(strength)  # the thickest last, on top
    ends = (grid[order] + 0.5) * scale - 0.5
    start = (np.array(query) + 0.5) * scale - 0.5
    lines = [(start[::-1], end[::-1]) for end in ends]
    root = np.sqrt(strength[order])
    colours = np.tile([*to_rgb(series(0)), 0.0], (len(lines), 1))
    colours[:, 3] = 0.10 + 0.75 * root**1.5
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.35 + 2.6 * root**2))
    axes.scatter(
        ends[:, 1], ends[:, 0], s=2 + 30 * root**2, color=series(0), linewidths=0, zorder=3
    )
    halo = [patheffects.withStroke(linewidth=5, foreground="white")]
    axes.plot(
        *start[::-1], "o", ms=12, mfc=series(1), mec=INK, mew=1.5, path_effects=halo, zorder=4
    )
    peak = np.unravel_index(weights.argmax(), weights.shape)
    return figure, {"lines": len(lines), "peak": tuple(map(int, peak))}


def affinity_picker(
    network: nn.Module,
    image: Tensor,
    *,
    labels: Tensor | None = None,
    classes: Sequence[str] | None = None,
    query: tuple[int, int] | None = None,
) -> AffinityPicker:
    """Click a pixel and see whom it asks. The static twin is :func:`affinity_figure`.

    Args:
        network: a network whose slot has an ``affinity`` method.
        image: ``3 h w`` in [0, 1]; the map of its features has at most 1024 positions.
        labels: ``h w``, to say in words which classes are asked.
        classes: names of the classes.
        query: row and column of the map to begin with; its middle by default.

    Returns:
        the widget.

    Raises:
        ValueError: the slot knows no affinities, or the map is too large for a mosaic of buttons.
    """
    ask = Asker(network, image)
    if ask.shape[0] * ask.shape[1] > 1024:
        raise ValueError(f"expected a map of at most 1024 positions, got {ask.shape}")
    start = query or (ask.shape[0] // 2, ask.shape[1] // 2)
    small = None if labels is None else _majority(labels, ask.shape)
    return AffinityPicker(image, ask, ask.shape, classes, small, start)
