"""The same content on a larger image: every scene beside its mirror image."""

from __future__ import annotations

import torch
from torch import Tensor


class Tiled:
    """Every image of a data set with its mirror image to the right, and again, ``h (times w)``.

    The share of every class, every mean over the pixels and, but for the seams, every patch stay
    what they were. Sums over the pixels grow with ``times``. So it asks a model one question: is it
    bound to the size it was trained on?

    Args:
        dataset: any data set of the contract.
        times: how many copies stand side by side.

    Raises:
        ValueError: fewer than one copy.

    Example:
        >>> from contextlab.data import Streets
        >>> image, labels = Tiled(Streets("val", size=1))[0]
        >>> image.shape, bool((labels[:, :128] == labels[:, 128:].flip(1)).all())
        (torch.Size([3, 64, 256]), True)
    """

    def __init__(self, dataset, times: int = 2):
        if not isinstance(times, int) or times < 1:
            raise ValueError(f"expected a whole number of copies of at least 1, got {times!r}")
        self.dataset, self.times = dataset, times
        self.classes, self.palette = dataset.classes, dataset.palette
        self.ignore_index = dataset.ignore_index
        if hasattr(dataset, "demand"):
            self.demand_names = dataset.demand_names
            self.demand = lambda index: self._tile(dataset.demand(index))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = self.dataset[index]
        return self._tile(image), self._tile(labels)

    def _tile(self, x: Tensor) -> Tensor:
        return torch.cat([x.flip(-1) if k % 2 else x for k in range(self.times)], -1)
