"""Figures in a third of their bytes that look the same: a palette of 256 colours, chosen well."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

COLOURS = 256  # what eight bits a pixel can name
# Bounds in CIE 1976 differences, of which about 2.3 is just noticed where two patches touch. A
# figure that errs more, on average or over some small square, stays in true colour.
MEAN, LOCAL, SIDE = 2.5, 10.0, 5
SRGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375],
     [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip


def shrunk(png: bytes) -> bytes:
    """A PNG file that looks the same in fewer bytes.

    A figure of up to 256 colours keeps them all. Of others, half of the palette is a median cut of
    the colours and half are those farthest from it, so that a rare cue is not lost; then a few
    steps of k-means in CIE L*a*b* settle both. Nothing is dithered. Size and resolution stay.

    Args:
        png: the file's content.

    Returns:
        A palette file; an optimised file in true colour where the picture is transparent somewhere
        or a palette would be seen; what was given where that is no longer.

    Raises:
        ValueError: no picture.
    """
    try:
        picture = Image.open(io.BytesIO(png))
        picture.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"expected the content of a PNG file, got {png[:8]!r}...") from error
    dpi = picture.info.get("dpi")
    if picture.mode != "P" and picture.convert("RGBA").getextrema()[3][0] == 255:
        picture = picture.convert("RGB")
        flat = _with_palette(picture)
        if _same(np.asarray(picture), np.asarray(flat.convert("RGB"))):
            picture = flat
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, **({"dpi": dpi} if dpi else {}))
    return min(png, buffer.getvalue(), key=len)


def _with_palette(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture)
    numbers = (pixels.astype(int) @ [65536, 256, 1]).ravel()  # sorted faster than triples
    numbers, place, count = np.unique(numbers, return_inverse=True, return_counts=True)
    colours = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], 1).astype(np.uint8)
    palette, nearest = colours, np.arange(len(colours))
    if len(colours) > COLOURS:
        palette, nearest = _reduced(colours, count**0.7)
    flat = Image.fromarray(nearest.astype(np.uint8)[place].reshape(pixels.shape[:2]), "P")
    flat.putpalette(palette.tobytes())
    return flat


def _reduced(colours: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours (n, 3) to a palette of theirs and each one's place there."""
    crowd = np.repeat(colours, np.ceil(weight).astype(int), axis=0)
    cut = Image.fromarray(crowd[None]).quantize(COLOURS // 2, Image.Quantize.MEDIANCUT)
    lab = _lab(colours)
    centres = list(_lab(np.reshape(cut.getpalette(), (-1, 3))[: COLOURS // 2]))
    apart = _squares(lab, np.array(centres)).min(1)
    while len(centres) < COLOURS:
        centres.append(lab[apart.argmax()])
        apart = np.minimum(apart, _squares(lab, centres[-1][None])[:, 0])
    centres = np.array(centres)
    for _ in range(4):
        nearest = _squares(lab, centres).argmin(1)
        total = np.bincount(nearest, weight)
        sums = np.array([np.bincount(nearest, weight * axis) for axis in lab.T])
        centres = (sums[:, total > 0] / total[total > 0]).T
    # each the next colour that is there, so that a white ground stays white
    palette = np.unique(colours[_squares(lab, centres).argmin(0)], axis=0)
    return palette, _squares(lab, _lab(palette)).argmin(1)


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances of the points (n, 3) and (m, 3), as (n, m)."""
    return (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two pictures (h, w, 3) look alike, on average and over every small square."""
    apart = _lab(a) - _lab(b)
    if np.linalg.norm(apart, axis=-1).mean() > MEAN:
        return False
    side = min(SIDE, *apart.shape[:2])
    sums = np.pad(apart.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
    square = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return bool(np.linalg.norm(square, axis=-1).max() / side**2 <= LOCAL)


def _lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB of 0 to 255, (..., 3), in CIE L*a*b* under D65."""
    c = np.asarray(rgb) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    x = c @ (SRGB / SRGB.sum(1, keepdims=True)).T
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    lightness = 116 * f[..., 1] - 16
    return np.stack(
        [lightness, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )
