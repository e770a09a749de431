"""Streets: a generated data set in which context is required, and which says where and why.

A street is 64 x 128 pixels; ``far``, it is twice as high and wide, with the same things farther
apart. About 60 % of the pixels can be read from their own texture. The others pose one of five
*demands*: their texture is the same for every class of a group, and a *cue* elsewhere in the image
tells the class. The demand map says which pixel poses which.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

from . import _street_scene as scene
from ._contract import IGNORE_INDEX
from ._street_canvas import HEIGHT, WIDTH

CLASSES = (
    "sky", "building", "wall", "fence", "vegetation", "sidewalk", "road",
    "bus zone", "bike zone", "car", "bus", "truck", "train",
)  # fmt: skip

PALETTE = np.array(
    [
        (189, 194, 255), (109, 113, 115), (163, 70, 12), (196, 255, 183), (7, 65, 41),
        (253, 219, 230), (81, 65, 85), (252, 96, 20), (8, 194, 160), (0, 0, 203),
        (249, 255, 36), (194, 119, 182), (44, 0, 41),
    ],
    np.uint8,
)  # fmt: skip
"""One colour a class, chosen for the largest smallest distance (CIEDE2000) between any two
classes, over normal vision and the three kinds of dichromacy."""

DEMANDS = ("local", "G", "L", "P", "C", "A")
"""Names of the values of a demand map: 0 is local, 1 to 5 are the demands."""


@dataclass(frozen=True)
class Demand:
    """A demand in words, for lessons and figures.

    Attributes:
        letter: its name in ``DEMANDS``.
        title: what it is called.
        knob: the option of ``Streets`` that poses it.
        classes: the group that cannot be told apart by texture.
        same: what looks the same for the whole group.
        cue: what tells the class, and where it is.
        reader: the kind of context that can read the cue.
    """

    letter: str
    title: str
    knob: str
    classes: tuple[str, ...]
    same: str
    cue: str
    reader: str


DEMAND_WORDS = {
    "G": Demand(
        "G", "global", "g", ("sidewalk", "vegetation"),
        same="the speckled verge",
        cue="the colour of the sky: noon means sidewalk, dusk means vegetation",
        reader="anything with a summary of the whole image",
    ),
    "L": Demand(
        "L", "large object", "l", ("bus", "truck", "train"),
        same="body, windows, skirt and wheels of the long vehicle",
        cue="nine columns at the vehicle's nose, up to 80 pixels away",
        reader="anything that reaches from one end of the vehicle to the other",
    ),
    "P": Demand(
        "P", "pairwise", "p", ("bus zone", "bike zone"),
        same="the hatched paint, in a key colour",
        cue="the symbol on the sign of the same colour, at an unrelated place",
        reader="position-to-position matching",
    ),
    "C": Demand(
        "C", "confusers", "c", ("wall", "fence"),
        same="the neutral panels of wall and fence, both in one image",
        cue="a motif at one end of the own segment; the other segment's motif misleads",
        reader="local, dense or structured reach; not matching by appearance",
    ),
    "A": Demand(
        "A", "axial", "a", ("bus zone", "bike zone"),
        same="the hatched paint, without a key colour",
        cue="the symbol on the sign in the same columns",
        reader="rows and columns, or any awareness of position",
    ),
}  # fmt: skip
"""The five demands in words, by letter."""

DEMAND_TITLES = {"local": "local", **{key: words.title for key, words in DEMAND_WORDS.items()}}
"""A short title for each name in ``DEMANDS``."""

_SIZES = {"train": 4000, "val": 500, "test": 500}
_CHUNK = 64  # images drawn at once: the fastest size, and small enough to start at once


class Streets:
    """The generated streets of one split.

    An image is a pure function of (seed, split, index, knobs), the same to the last bit on every
    machine. Images are drawn when they are first asked for, 64 at a time, and kept in memory
    (41 kB each, 164 kB if far).

    Args:
        split: "train", "val" or "test".
        size: number of images; 4000 for train, 500 for val and test unless given.
        seed: 0 is the course's data set; any other non-negative number is a different one.
        g, l, p, c, a: probability that an image poses that demand. At 0 the class shows its own
            texture, so all five at 0 is the control on which context must gain nothing.
        crowd: probability of two long vehicles of different class instead of one.
        share: probability that the zones of an image follow the colour rule (P) and not the column
            rule (A). Unless given: 1/2, or the rule whose knob alone is above 0.
        same: probability that both signs carry the same symbol. Without such images training
            often stays at chance on P and A.
        hues: 0 for a continuous key colour, or the number (2 to 192) of fixed ones.
        far: draw the same streets on a canvas of 128 x 256 pixels, with everything at the size it
            has but twice as far apart, so that cues lie twice as far from what they decide.

    Raises:
        ValueError: a split, size, seed or knob outside its range.

    Example:
        >>> streets = Streets("val", size=2)
        >>> image, labels = streets[0]
        >>> image.shape, labels.shape, streets.demand(0).shape
        (torch.Size([3, 64, 128]), torch.Size([64, 128]), torch.Size([64, 128]))
    """

    classes = CLASSES
    palette = PALETTE
    ignore_index = IGNORE_INDEX
    demand_names = DEMANDS

    def __init__(
        self,
        split: str,
        *,
        size: int | None = None,
        seed: int = 0,
        g: float = 1.0,
        l: float = 1.0,  # noqa: E741  the letter of the demand
        p: float = 1.0,
        c: float = 1.0,
        a: float = 1.0,
        crowd: float = 0.0,
        share: float | None = None,
        same: float = 1 / 3,
        hues: int = 0,
        far: bool = False,
    ):
        if split not in _SIZES:
            raise ValueError(f"split is one of {', '.join(_SIZES)}, not {split!r}")
        size = _SIZES[split] if size is None else size
        for name, value in (("size", size), ("seed", seed)):
            if not isinstance(value, Integral) or not 0 <= value < 2**64:
                raise ValueError(f"{name} is a whole number from 0 to 2**64 - 1, not {value!r}")
        if share is None:
            share = 0.5 if (p > 0) == (a > 0) else float(p > 0)
        knobs = {"g": g, "l": l, "p": p, "c": c, "a": a}
        knobs |= {"crowd": crowd, "share": share, "same": same}
        for name, value in knobs.items():
            if not isinstance(value, Real) or not 0 <= value <= 1:
                raise ValueError(f"{name} is a probability from 0 to 1, not {value!r}")
        if not isinstance(hues, Integral) or not (hues == 0 or 2 <= hues <= 192):
            raise ValueError(f"hues is 0 (continuous) or a number from 2 to 192, not {hues!r}")
        if not isinstance(far, bool):
            raise ValueError(f"far is True or False, not {far!r}")
        self.split, self.size, self.seed, self.far = split, int(size), int(seed), far
        self.knobs = {**knobs, "hues": int(hues)}
        self._pool: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        knobs = ", ".join(f"{name}={value:.3g}" for name, value in self.knobs.items())
        knobs += ", far=True" if self.far else ""
        return f"Streets({self.split!r}, size={self.size}, seed={self.seed}, {knobs})"

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 ``3 64 128`` in [0, 1] and labels int64 ``64 128``; far: ``128 256``."""
        image, label = self._kept("image", index), self._kept("label", index)
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return pixels.float().div_(255), torch.from_numpy(label.astype(np.int64))

    def demand(self, index: int) -> Tensor:
        """Which demand each pixel poses: uint8 ``64 128`` of indices into ``demand_names``."""
        return torch.from_numpy(self._kept("demand", index).copy())

    def cue(self, index: int) -> Tensor:
        """Where the cues are: bool ``6 64 128``, one map per name in ``demand_names``.

        A demand that the image does not pose has no cue. For C the motifs of both segments are
        marked, for P and A both signs: each is the cue of its own pixels.
        """
        flags = self.batch([self._checked(index)])["cue"][0]
        return torch.from_numpy(np.stack([flags >> d & 1 for d in range(6)]).astype(bool))

    def batch(self, indices: Iterable[int]) -> dict[str, np.ndarray]:
        """Draw some images as they are stored.

        Args:
            indices: the n images.

        Returns:
            uint8 arrays ``image`` n 64 128 3, ``label`` and ``demand`` n 64 128, and ``cue``
            n 64 128, whose bit d is set where the pixel is a cue of demand d.
        """
        wanted = np.array([self._checked(i) for i in indices], dtype=np.int64)
        chunks = [
            scene.render(
                part, split=self.split, seed=self.seed, knobs=self.knobs, spread=1 + self.far
            )
            for part in np.split(wanted, range(_CHUNK, len(wanted), _CHUNK))
        ]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def _checked(self, index: int) -> int:
        index = operator.index(index)
        if not -self.size <= index < self.size:
            raise IndexError(f"image {index} of a {self.split} split of {self.size}")
        return index % self.size

    def _kept(self, name: str, index: int) -> np.ndarray:
        """One map of one image, from memory, drawn now if this is the first question."""
        index, pool = self._checked(index), self._pool
        if not pool:
            shape = (self.size, HEIGHT * (1 + self.far), WIDTH * (1 + self.far))
            maps = {"image": (*shape, 3), "label": shape, "demand": shape}
            pool = {key: np.empty(value, np.uint8) for key, value in maps.items()}
            self._pool = pool = {**pool, "drawn": np.zeros(-(-self.size // _CHUNK), bool)}
        chunk = index // _CHUNK
        if not pool["drawn"][chunk]:
            start, stop = chunk * _CHUNK, min((chunk + 1) * _CHUNK, self.size)
            drawn = self.batch(range(start, stop))
            for key in ("image", "label", "demand"):
                pool[key][start:stop] = drawn[key]
            pool["drawn"][chunk] = True
        return pool[name][index]

    def __getstate__(self) -> dict:
        # a copy for another process draws its own images rather than carry megabytes over
        return {**self.__dict__, "_pool": {}}
