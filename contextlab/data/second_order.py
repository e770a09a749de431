"""Streets whose sky tells the time of day by which colours go together, and by nothing else.

The verge poses demand G: it is a sidewalk at noon and vegetation at dusk, and looks the same. On
plain streets the sky's mean colour tells the time. Here both skies have the same mean: red and
blue are raised by the same amount on one half of the sky's pixels and lowered on the other. At
noon blue is lowered where red is raised (orange and blue), at dusk it is raised with it (pink and
green). Only a product of the two channels, averaged, knows the difference.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ._street_canvas import _STEP, _WORD, Draws, G, _mix
from ._street_scene import SIDEWALK, VEGETATION
from .streets import Streets

GREY, CONTRAST, JITTER = 140, 60, 10  # light and noise keep these colours within 0..255
BLOB = (2, 4)  # rows and columns of a blob of the mottled sky
_MOTTLE, _TINT = _WORD(0x5EC0D), 200  # a hash of its own, a field number that streets leave free


class SecondOrderStreets(Streets):
    """Streets with demand G alone, on which the mean colour of the image says nothing.

    Every image has a :meth:`twin`: the same street at the other time of day. The two agree in every
    pixel outside the sky and, to the last bit, in the sum of each colour channel. So whatever
    averages a linear map of the pixels cannot tell them apart. The mean of red times blue can.

    Args:
        split: "train", "val" or "test".
        size: number of images; 4000 for train, 500 for val and test unless given.
        seed: 0 is the course's data set; any other non-negative number is a different one.

    Raises:
        ValueError: a split, size or seed outside its range.

    Example:
        >>> streets = SecondOrderStreets("val", size=1)
        >>> (image, labels), (other, changed) = streets[0], streets.twin(0)
        >>> bool((image != other).any()), bool((labels != changed).any())
        (True, True)
        >>> [round(255 * float(each.double().sum())) for each in (image[2], other[2])]
        [1007438, 1007438]
    """

    def __init__(self, split: str, *, size: int | None = None, seed: int = 0):
        super().__init__(split, size=size, seed=seed, g=1.0, l=0.0, p=0.0, c=0.0, a=0.0)

    def __repr__(self) -> str:
        return f"SecondOrderStreets({self.split!r}, size={self.size}, seed={self.seed})"

    def batch(self, indices: Iterable[int], *, twin: bool = False) -> dict[str, np.ndarray]:
        """Draw some images as they are stored; see :meth:`Streets.batch`.

        Args:
            indices: the n images.
            twin: draw them at the other time of day.
        """
        indices = list(indices)
        drawn = super().batch(indices)
        wanted = np.array([self._checked(i) for i in indices], dtype=np.int64)
        d = Draws(self.seed, self.split, wanted)
        noon = (d.integer(1, 0, 2) == 0) ^ twin  # field 1 is the time of day of every street
        sky = (drawn["cue"] >> G & 1).astype(bool)
        mottle = _mottle(sky, d)
        # noon: red up, blue down; dusk: both up
        lanes = np.stack([np.ones_like(noon), np.zeros_like(noon), np.where(noon, -1, 1)], 1)
        tint = GREY + d.jitter(_TINT, JITTER)
        colour = tint[:, None, None] + CONTRAST * mottle[..., None] * lanes[:, None, None]
        light = d.integer(151, 218, 273)[:, None, None, None]  # as on every street
        painted = np.clip((colour * light >> 8) + d.noise(), 0, 255).astype(np.uint8)
        drawn["image"] = np.where(sky[..., None], painted, drawn["image"])
        verge = drawn["demand"] == G
        label = np.where(noon, SIDEWALK, VEGETATION).astype(np.uint8)[:, None, None]
        drawn["label"] = np.where(verge, label, drawn["label"])
        return drawn

    def twin(self, index: int) -> tuple[Tensor, Tensor]:
        """The same street at the other time of day: image ``3 64 128`` and labels ``64 128``."""
        drawn = self.batch([index], twin=True)
        image = np.ascontiguousarray(drawn["image"][0].transpose(2, 0, 1))
        labels = drawn["label"][0].astype(np.int64)
        return torch.from_numpy(image).float().div_(255), torch.from_numpy(labels)

    def noon(self, index: int) -> bool:
        """Whether the image shows noon: the answer to its only question."""
        d = Draws(self.seed, self.split, np.array([self._checked(index)], dtype=np.int64))
        return bool(d.integer(1, 0, 2)[0] == 0)


def _mottle(sky: np.ndarray, d: Draws) -> np.ndarray:
    """+1 on one half of the sky's pixels, -1 on the other, in blobs; 0 elsewhere.

    The sky's pixels are put in the order of a hash of their blob. The first half goes up, the
    second down, so that the two are equally many whatever houses and trees have left of the sky;
    of an odd number the last one keeps 0.
    """
    n, height, width = sky.shape
    y, x = np.arange(height)[:, None] // BLOB[0], np.arange(width)[None, :] // BLOB[1]
    blob = (y * width + x + 1).astype(_WORD).ravel()
    with np.errstate(over="ignore"):
        draw = _mix(_mix(d.key ^ _MOTTLE)[:, None] + blob * _STEP)
    draw = np.where(sky.reshape(n, -1), draw >> _WORD(1), ~_WORD(0))  # the sky's come first
    order = np.argsort(draw, axis=1, kind="stable")
    half = sky.reshape(n, -1).sum(1)[:, None] // 2
    place = np.arange(height * width)[None, :]
    value = (place < half).astype(np.int32) - ((place >= half) & (place < 2 * half))
    mottle = np.zeros((n, height * width), np.int32)
    np.put_along_axis(mottle, order, value.astype(np.int32), axis=1)
    return mottle.reshape(sky.shape)
