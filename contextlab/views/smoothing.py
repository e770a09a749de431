"""Smoothing on graphs: what stays and what goes, how fast all nodes agree, how far one reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .figures import new_figure, picture, styled
from .lesson_02 import propagate
from .palette import DIVERGING, HEAT, INK, MARKERS, QUIET, grey, pixels, series


@styled
def two_answers_figure(
    image: Tensor | np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int] = (13, 15),
    *,
    steps: int = 1,
) -> tuple[Figure, dict]:
    """A cut-out of an image as a graph, what its neighbourhoods share (A) and what not (I - A).

    Args:
        image: ``3 h w`` in [0, 1].
        corner: row and column of the cut-out's first pixel.
        size: rows and columns of the cut-out.
        steps: of smoothing before the second picture.

    Returns:
        the figure, and the standard deviation of the brightness in the cut-out: "X", "A", "I - A".

    Raises:
        ValueError: a cut-out that leaves the image.
    """
    rgb = pixels(image)
    (top, left), (rows, columns) = corner, size
    if min(top, left) < 0 or top + rows > rgb.shape[0] or left + columns > rgb.shape[1]:
        raise ValueError(f"expected a cut-out inside {rgb.shape[:2]}, got {corner} and {size}")
    signal = torch.from_numpy(grey(image).copy())
    smooth = propagate(signal, steps)
    cut = (slice(top, top + rows), slice(left, left + columns))
    x, a, rest = (t[cut].numpy() for t in (signal, smooth, signal - smooth))
    reach = np.abs(rest).max() or 1
    colours = (
        rgb[cut].reshape(-1, 3),
        np.repeat(a.reshape(-1, 1), 3, axis=1),
        colormaps[DIVERGING]((rest.ravel() / reach + 1) / 2),
    )
    titles = ("pixels as nodes", "A X: what neighbours share", "(I − A) X: what they do not")
    figure = new_figure(2.85 * rows / columns + 0.36)
    spot = (130.0 / columns) ** 2  # two thirds of the way to the next node
    for axes, colour, title in zip(figure.subplots(1, 3), colours, titles):
        r, c = np.indices((rows, columns))
        axes.hlines(-np.arange(rows), 0, columns - 1, color=QUIET, linewidth=1.0, zorder=1)
        axes.vlines(np.arange(columns), 1 - rows, 0, color=QUIET, linewidth=1.0, zorder=1)
        axes.scatter(c, -r, s=spot, c=colour, edgecolors=INK, linewidths=0.7, zorder=2)
        axes.set_aspect("equal")
        axes.margins(0.06)
        axes.axis("off")
        axes.set_title(title)
    return figure, {"X": float(x.std()), "A": float(a.std()), "I - A": float(rest.std())}


@styled
def decay_figure(
    distances: Mapping[str, Sequence[float]],
    rates: Mapping[str, float],
    *,
    ylabel: str = "what is left of the differences",
    title: str = "",
) -> tuple[Figure, dict[str, float]]:
    """How fast smoothing makes all nodes equal, beside the rate that the eigenvalues tell.

    Args:
        distances: name to the distance from the resting state after 0, 1, 2, ... steps.
        rates: name to the factor of one step, the second eigenvalue; drawn as a dashed line
            through the last distance.
        ylabel: what is on the vertical axis.
        title: a line above.

    Returns:
        the figure, and name to the measured factor of the last step.

    Raises:
        ValueError: a name without a rate, or fewer than two distances.
    """
    figure = new_figure(3.5, width=7.5)
    axes = figure.subplots()
    numbers, lowest = {}, 1.0
    for i, (name, values) in enumerate(distances.items()):
        values = np.asarray(values, float)
        if name not in rates or len(values) < 2:
            raise ValueError(f"expected a rate and two or more distances for {name!r}")
        steps = np.arange(len(values))
        numbers[name] = float(values[-1] / values[-2]) if values[-2] > 0 else 0.0
        lowest = min(lowest, values[values > 0].min())
        colour, rate = series(i), rates[name]
        label = f"{name}: λ₂ = {rate:.3f}"
        mark = {"marker": MARKERS[i % len(MARKERS)], "markersize": 5, "markevery": 2}
        axes.plot(steps, values, color=colour, linewidth=1.7, label=label, **mark)
        if rate > 1e-3 and values[-1] > 0:  # else it is over after one step
            line = values[-1] * rate ** (steps - steps[-1])
            axes.plot(steps, line, color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_yscale("log")
    axes.set_ylim(lowest / 2, 2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("steps of smoothing; dashed: one factor λ₂ a step")
    axes.set_ylabel(ylabel)
    axes.grid(True)
    axes.legend()
    if title:
        axes.set_title(title)
    return figure, numbers


@styled
def reach_figure(
    fields: Mapping[str, Tensor | np.ndarray], sizes: Mapping[str, tuple[int, int]]
) -> tuple[Figure, dict[str, float]]:
    """Effective receptive fields of several networks, each in the square that theory allows.

    Args:
        fields: name to ``h w``, from :func:`~contextlab.views.effective`.
        sizes: name to height and width, from :func:`~contextlab.views.theoretical`.

    Returns:
        the figure, and name to the mean distance of the influence from the middle, in pixels.

    Raises:
        ValueError: other names in ``sizes`` than in ``fields``.
    """
    if set(fields) != set(sizes):
        raise ValueError(f"expected sizes for {list(fields)}, got {list(sizes)}")
    numbers = {}
    figure = new_figure(9.0 / len(fields) + 0.5)
    half = 0.58 * max(max(size) for size in sizes.values())
    for axes, (name, field) in zip(np.atleast_1d(figure.subplots(1, len(fields))), fields.items()):
        f = np.asarray(field, float)
        f = f / f.sum()
        rows, columns = np.indices(f.shape)
        y, x = (float((f * axis).sum()) for axis in (rows, columns))
        numbers[name] = float((f * np.hypot(rows - y, columns - x)).sum())
        height, width = sizes[name]
        title = f"{name}\ncan see {width}; mean distance {numbers[name]:.1f}"
        # the root shows the tails, which a linear scale would leave black
        picture(axes, np.sqrt(f / f.max()), title, cmap=HEAT, vmin=0, vmax=1)
        axes.set_xlim(x - half, x + half)
        axes.set_ylim(y + half, y - half)
        left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
        square = ([left, right, right, left, left], [top, top, bottom, bottom, top])
        axes.plot(*square, color="white", linewidth=1.6, linestyle=(0, (4, 2)))
    return figure, numbers
