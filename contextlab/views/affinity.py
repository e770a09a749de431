"""Whom does a pixel ask? The weights of one query over the image."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor, nn

from .figures import new_figure, picture, styled
from .palette import floats, grey, pixels, stretch

_GLOW = LinearSegmentedColormap.from_list("glow", ["#8c2d04", "#fd8d3c", "#fff3b0"])


class Asker:
    """Asks the context module of a network on whom a pixel of one image relies.

    The features are computed once, so that every further question costs little.

    Args:
        network: has ``features(x)`` and a ``slot`` with ``affinity(x, query=(row, column))``.
        image: ``3 h w`` in [0, 1].

    Raises:
        ValueError: the network's slot knows no affinities.

    Example:
        >>> from contextlab.networks.segmentation import network
        >>> model = network(13, context="non_local", width=64, kernel=1)
        >>> ask = Asker(model, torch.rand(3, 64, 128))
        >>> ask.shape, tuple(ask(9, 20).shape)
        ((16, 32), (1, 16, 32))
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        self.slot = getattr(network, "slot", None)
        if not hasattr(self.slot, "affinity") or not hasattr(network, "features"):
            kind = type(self.slot).__name__
            raise ValueError(f"expected a network whose slot has an affinity method, got {kind}")
        modes = [(m, m.training) for m in network.modules()]
        network.eval()
        try:
            with torch.no_grad():
                self._features = network.features(image[None])
        finally:
            for module, training in modes:
                module.training = training
        self.shape: tuple[int, int] = tuple(self._features.shape[2:])

    def __call__(self, row: int, column: int) -> Tensor:
        """The weights ``heads h w`` of the query at a row and column of the map."""
        with torch.no_grad():
            return self.slot.affinity(self._features, query=(row, column))[0]


def asked(weights: Tensor | np.ndarray, cue: np.ndarray | Tensor | None = None) -> dict:
    """What a map of weights says, in numbers.

    Args:
        weights: ``h w``, of any sum above 0.
        cue: bool, ``H W``, a multiple of the map's size: where the answer stands.

    Returns:
        "peak" (row, column), "top" (the largest share of the weight), "pixels" (how many pixels
        are asked in effect: the exponential of the entropy), and with a cue "on_cue" (share of the
        weight on it) and "cue_area" (its share of the image, which chance would give it).

    Example:
        >>> asked(torch.full((4, 5), 0.05))["pixels"]
        20.0
    """
    w = floats(weights)
    w = w / w.sum()
    peak = np.unravel_index(w.argmax(), w.shape)
    entropy = -(w[w > 0] * np.log(w[w > 0])).sum()
    numbers = {
        "peak": (int(peak[0]), int(peak[1])),
        "top": float(w.max()),
        "pixels": round(float(np.exp(entropy)), 6),
    }
    if cue is not None:
        small = _shrink(floats(cue), w.shape)
        numbers |= {"on_cue": float((w * small).sum()), "cue_area": float(small.mean())}
    return numbers


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


def _shrink(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Area average of a mask on a coarser map."""
    rows, columns = shape
    if mask.shape[0] % rows or mask.shape[1] % columns:
        raise ValueError(f"expected a cue whose size is a multiple of {shape}, got {mask.shape}")
    return mask.reshape(rows, mask.shape[0] // rows, columns, -1).mean((1, 3))
