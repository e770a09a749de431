"""Whom does a pixel ask? The weights of one query over the image."""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from contextlab.probes import asked

from .figures import new_figure, picture, styled
from .palette import floats, grey, pixels, stretch

_GLOW = LinearSegmentedColormap.from_list("glow", ["#8c2d04", "#fd8d3c", "#fff3b0"])


@styled
def affinity_figure(
    image: Tensor | np.ndarray,
    weights: Tensor | np.ndarray,
    query: tuple[int, int],
    *,
    cue: Tensor | np.ndarray | None = None,
    title: str = "",
) -> tuple[Figure, dict]:
    """The image with the pixel that asks, beside the weights with which it asks the others.

    Args:
        image: ``3 H W`` in [0, 1].
        weights: ``h w`` or ``heads h w``, not negative.
        query: row and column of the asking pixel, on the map of the weights.
        cue: bool ``H W``, drawn as an outline: where the answer stands.
        title: a line above the weights.

    Returns:
        the figure, and "heads": for each head the numbers of :func:`asked`.

    Raises:
        ValueError: the query lies outside the map.
    """
    maps = floats(weights)
    maps = maps[None] if maps.ndim == 2 else maps
    rows, columns = maps.shape[1:]
    if not (0 <= query[0] < rows and 0 <= query[1] < columns):
        raise ValueError(f"expected a query inside {rows} x {columns}, got {tuple(query)}")
    rgb, dim = pixels(image), 0.30 * grey(image)
    scale = rgb.shape[0] / rows
    numbers = {"query": tuple(query), "heads": [asked(m, cue) for m in maps]}
    wide = 2 if len(maps) in (1, 3) else 3
    lines = -(-(len(maps) + 1) // wide)
    width = 9.0 / wide
    figure = new_figure(lines * (width * rgb.shape[0] / rgb.shape[1] + 0.30), width=9.0)
    panels = figure.subplots(lines, wide, squeeze=False).ravel()
    picture(panels[0], rgb, "the pixel that asks" + ("; outlined: its cue" * (cue is not None)))
    _mark(panels[0], query, scale)
    _outline(panels[0], cue)
    for i, (axes, m) in enumerate(zip(panels[1:], maps)):
        name = (title or "whom it asks") if len(maps) == 1 else f"head {i + 1}"
        n = numbers["heads"][i]
        detail = f"{n['pixels']:.0f} of {m.size} positions in effect"
        if cue is not None:
            detail = f"{n['on_cue']:.0%} of the weight on the cue"
        picture(axes, glow(dim, m), f"{name}: {detail}" if wide == 2 else name)
        _mark(axes, query, scale)
        _outline(axes, cue)
    for axes in panels[len(maps) + 1 :]:
        axes.axis("off")
    return figure, numbers


def glow(dim: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights as light on a dimmed image ``h w`` in [0, 1]; the root lifts what is faint."""
    # without preference all pixels are half lit: full light is at least four times the mean
    strength = np.sqrt(weights / max(weights.max(), 4 * weights.mean(), 1e-12))
    strength = stretch(strength, dim.shape)[..., None]
    return (1 - strength) * dim[..., None] + strength * _GLOW(strength[..., 0])[..., :3]


def _mark(axes: Axes, query: tuple[int, int], scale: float) -> None:
    y, x = ((q + 0.5) * scale - 0.5 for q in query)
    halo = [patheffects.withStroke(linewidth=4, foreground="black")]
    axes.plot(x, y, "o", ms=11, mfc="none", mec="#56B4E9", mew=2.2, path_effects=halo)


def _outline(axes: Axes, cue: Tensor | np.ndarray | None, *lines: tuple[str, float]) -> None:
    """The border of a mask, in lines of (colour, width) one over the other."""
    if cue is not None and floats(cue).any():
        padded = np.pad(floats(cue), 1)
        x, y = np.arange(padded.shape[1]) - 1, np.arange(padded.shape[0]) - 1
        for colour, width in lines or (("black", 3.0), ("white", 1.4)):
            axes.contour(x, y, padded, levels=[0.5], colors=colour, linewidths=width)
