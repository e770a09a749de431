"""Vehicles: streets as a classification task, one answer an image.

Every street has one long vehicle: a bus, a truck or a train. Body, windows, skirt and wheels are
the same for all three, and nine columns at the nose tell which it is (demand L). So the answer
hangs on about a hundredth of the image, at a place that differs from image to image.
"""

from __future__ import annotations

from torch import Tensor

from ._contract import IGNORE_INDEX
from .streets import CLASSES, PALETTE, Streets

_FIRST, _LAST = CLASSES.index("bus"), CLASSES.index("train")


class Vehicles:
    """Streets, each with the class of its long vehicle as its only label.

    Args:
        split: "train", "val" or "test".
        size: number of images; 4000 for train, 500 for val and test unless given.
        seed: 0 is the course's data set; any other non-negative number is a different one.
        knobs: those of :class:`Streets`; ``l=0`` gives each class its own body and is the control.
            Streets with two long vehicles (``crowd``) have no one answer and are refused.

    Raises:
        ValueError: a split, size, seed or knob outside its range.

    Example:
        >>> vehicles = Vehicles("val", size=2)
        >>> image, label = vehicles[0]
        >>> image.shape, label.shape, vehicles.classes[label]
        (torch.Size([3, 64, 128]), torch.Size([1, 1]), 'bus')
    """

    classes = CLASSES[_FIRST : _LAST + 1]
    palette = PALETTE[_FIRST : _LAST + 1]
    ignore_index = IGNORE_INDEX

    def __init__(self, split: str, *, size: int | None = None, seed: int = 0, **knobs):
        if knobs.get("crowd", 0):
            raise ValueError(
                f"one vehicle an image has the answer, so crowd is 0, not {knobs['crowd']!r}"
            )
        self.streets = Streets(split, size=size, seed=seed, **knobs)

    def __len__(self) -> int:
        return len(self.streets)

    def __repr__(self) -> str:
        return f"Vehicles({self.streets!r})"

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 ``3 64 128`` in [0, 1] and label int64 ``1 1``."""
        image, labels = self.streets[index]
        long = labels[(labels >= _FIRST) & (labels <= _LAST)]
        return image, (long[:1, None] - _FIRST)
