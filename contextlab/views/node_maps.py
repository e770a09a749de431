"""Where concepts or states gather their pixels, with which sign."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from .figures import new_figure, picture, styled
from .palette import DIVERGING, Map, floats, grey, pixels, stretch


@styled
def node_maps_figure(
    image: Map, maps: Mapping[str, Map], *, columns: int = 4, title: str = ""
) -> tuple[Figure, dict[str, float]]:
    """Where some concepts gather their pixels, with which sign, over the image.

    Args:
        image: ``3 H W`` in [0, 1].
        maps: name to the weights ``h w`` of a concept, of either sign.
        columns: panels in a row; the image is the first.
        title: a line above.

    Returns:
        the figure, and name to the share of the weight that is positive.
    """
    rgb, pale = pixels(image), 0.50 + 0.45 * grey(image)
    lines = -(-(len(maps) + 1) // columns)
    height = lines * (9.0 / columns * rgb.shape[0] / rgb.shape[1] + 0.28)
    figure = new_figure(height + 0.3 * bool(title))
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    picture(panels[0], rgb, "the image")
    numbers = {}
    for axes, (name, weights) in zip(panels[1:], maps.items()):
        array = floats(weights)
        big = stretch(array, rgb.shape[:2])
        picture(axes, _signed(pale, big), name)
        numbers[name] = float(array.clip(0).sum() / max(np.abs(array).sum(), 1e-12))
    for axes in panels[len(maps) + 1 :]:
        axes.axis("off")
    if title:
        figure.suptitle(title, x=0.008, ha="left")
    return figure, numbers


def _signed(pale: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of either sign as two colours on a pale image; a power lifts what is faint."""
    v = np.clip(values / max(np.abs(values).max(), 1e-12), -1, 1)
    strength = (np.abs(v) ** 0.7)[..., None]
    colour = colormaps[DIVERGING](0.5 + 0.46 * np.sign(v))[..., :3]
    return (1 - 0.92 * strength) * pale[..., None] + 0.92 * strength * colour
