"""What every data set yields and carries; the rest of the package asks for nothing else."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

IGNORE_INDEX = 255
"""Label of the pixels that neither train nor count."""


@runtime_checkable
class SegmentationDataset(Protocol):
    """A map-style data set of ``(image, labels)`` pairs.

    ``image`` is float32 ``3 h w`` in [0, 1]; ``labels`` is int64 ``h w`` in 0..classes-1, or
    ``ignore_index``; where one label holds for the whole image, ``1 1``. A data set that knows
    why a pixel is hard may add ``demand(i)``, a uint8 map ``h w`` of indices into
    ``demand_names``.
    """

    classes: tuple[str, ...]
    palette: np.ndarray
    ignore_index: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...


def check(dataset: SegmentationDataset, index: int = 0) -> None:
    """Hold one item of a data set against the contract.

    Args:
        dataset: any object that claims to be a data set, your own included.
        index: the item to look at.

    Raises:
        ValueError: says which part of the contract is broken, with what was found.

    Example:
        >>> from contextlab import data
        >>> data.check(data.build("streets", "val", size=1))
    """

    def expect(holds: bool, wanted: str, found: object) -> None:
        if not holds:
            raise ValueError(f"{type(dataset).__name__}: expected {wanted}, found {found}")

    for name in ("classes", "palette", "ignore_index", "__len__", "__getitem__"):
        expect(hasattr(dataset, name), f"an attribute {name!r}", "none")
    names, palette = dataset.classes, np.asarray(dataset.palette)
    expect(
        isinstance(names, tuple) and all(isinstance(name, str) for name in names),
        "classes to be a tuple of names",
        repr(names),
    )
    expect(
        palette.dtype == np.uint8 and palette.shape == (len(names), 3),
        f"a uint8 palette of shape ({len(names)}, 3)",
        f"{palette.dtype} {palette.shape}",
    )
    image, labels = dataset[index]
    expect(
        image.dtype == torch.float32 and image.ndim == 3 and len(image) == 3,
        "a float32 image 3 h w",
        f"{image.dtype} {tuple(image.shape)}",
    )
    low, high = float(image.min()), float(image.max())
    expect(low >= 0 and high <= 1, "image values in [0, 1]", f"{low:g} to {high:g}")
    expect(
        labels.dtype == torch.int64 and labels.shape in (image.shape[1:], (1, 1)),
        f"int64 labels of shape {tuple(image.shape[1:])}, or (1, 1) for the whole image",
        f"{labels.dtype} {tuple(labels.shape)}",
    )
    values = set(labels.unique().tolist())
    strange = sorted(values - set(range(len(names))) - {dataset.ignore_index})
    expect(not strange, f"labels in 0..{len(names) - 1} or {dataset.ignore_index}", strange)
