"""Colours that survive colour blindness, and the few lines that turn maps into pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

Map = Tensor | np.ndarray

INK = "#222222"
QUIET = "#6e6e6e"
FAINT = "#dcdcdc"
PAPER = "#ffffff"

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4d4d4d")
"""Line and bar colours in order (Okabe and Ito), told apart by all common kinds of vision."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
"""A second cue beside the colour."""

DEMAND_COLOURS = {
    "local": "#e4e4e4",
    "G": "#E69F00",
    "L": "#56B4E9",
    "P": "#009E73",
    "C": "#F0E442",
    "A": "#CC79A7",
}
"""One colour a demand; what can be read locally is pale."""

STEP_COLOURS = {"squeeze": "#0072B2", "reason": "#B34700", "reconstruct": "#00755A"}
"""The three steps of every method, wherever they are drawn."""

WRONG = "#D55E00"
IGNORED = (245, 245, 245)
HEAT = "cividis"  # growing quantities: same order in grey and for every kind of vision
DIVERGING = "PuOr_r"  # quantities around zero


def series(i: int) -> str:
    """Colour of the i-th line or bar."""
    return SERIES[i % len(SERIES)]


def pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """An image as floats ``h w 3`` in [0, 1].

    Args:
        image: ``3 h w`` (or ``1 h w``) tensor in [0, 1], or an array ``h w 3`` of bytes or floats.

    Raises:
        ValueError: another shape.

    Example:
        >>> import torch
        >>> pixels(torch.rand(3, 64, 128)).shape
        (64, 128, 3)
    """
    if isinstance(image, Tensor):
        image = image.detach().cpu().numpy()
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = np.moveaxis(array, 0, 2)
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ValueError(f"expected an image 3 h w or h w 3, got {tuple(np.shape(image))}")
    array = array / 255 if array.dtype == np.uint8 else array.astype(float)
    return np.broadcast_to(np.clip(array, 0, 1), (*array.shape[:2], 3))


def grey(image: Tensor | np.ndarray) -> np.ndarray:
    """The brightness of an image, ``h w`` in [0, 1]."""
    return pixels(image) @ np.array([0.299, 0.587, 0.114])


def floats(values: Tensor | np.ndarray) -> np.ndarray:
    """Numbers as an array of float64, of the same shape."""
    return np.asarray(
        values.detach().cpu().double() if isinstance(values, Tensor) else values, float
    )


def stretch(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A small map ``h' w'`` drawn out to ``h w``: every pixel has the value of its place.

    Example:
        >>> stretch(np.array([[1, 2]]), (2, 4)).tolist()
        [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    rows, columns = (np.arange(to) * side // to for to, side in zip(size, values.shape))
    return values[rows][:, columns]


def whole(labels: Tensor | np.ndarray) -> np.ndarray:
    """A map of whole numbers as an array ``h w``."""
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "uib":
        raise ValueError(f"expected whole numbers h w, got {array.dtype} {array.shape}")
    return array.astype(int)


def paint(labels: Tensor | np.ndarray, palette: np.ndarray) -> np.ndarray:
    """A label map in its classes' colours, bytes ``h w 3``; what is no class (ignored) is white.

    Example:
        >>> paint(np.array([[0, 1, 255]]), np.array([[9, 9, 9], [7, 7, 7]])).tolist()
        [[[9, 9, 9], [7, 7, 7], [245, 245, 245]]]
    """
    labels, palette = whole(labels), np.asarray(palette)
    inside = (labels >= 0) & (labels < len(palette))
    colours = palette[np.where(inside, labels, 0)]
    return np.where(inside[..., None], colours, IGNORED).astype(np.uint8)


def rgb(colours: Sequence[str]) -> np.ndarray:
    """Colour names as bytes ``n 3``."""
    from matplotlib.colors import to_rgb

    return np.array([[round(255 * v) for v in to_rgb(c)] for c in colours], np.uint8)
