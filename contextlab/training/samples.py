"""Which images a step sees and how they are changed: pure functions of (seed, step).

Nothing here has a state, so a resumed run sees what the uninterrupted one would have seen, and
several processes share a batch without talking to each other.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from contextlab.training.recipe import Recipe

ORDER, AUGMENTATION, STRETCH, AGAIN = 0, 1, 2, 3  # independent streams of random numbers
TRIES = 10  # further windows, where the first holds too much of one class
FAR = 16.0  # further from [0, 1] than any normalised image, and less than bytes as numbers
GREY = 0.5  # what pads an image; its labels are padded with the ignored label


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    permutation = np.random.default_rng((seed, ORDER, epoch)).permutation(size)
    permutation.setflags(write=False)
    return permutation


def indices(seed: int, step: int, batch: int, size: int) -> np.ndarray:
    """The images of one step: consecutive pieces of a fresh permutation each epoch.

    Args:
        seed: of the order.
        step: counted from 0.
        batch: images a step.
        size: images in the data set.

    Returns:
        int64 ``batch``, values 0..size-1.

    Example:
        >>> sorted(np.concatenate([indices(7, step, 2, 6) for step in range(3)]).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    if size < 1:
        raise ValueError("expected a data set with images, got an empty one")
    epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), size)
    return np.array([_permutation(seed, int(e), size)[p] for e, p in zip(epochs, places)])


def draws(seed: int, step: int, batch: int) -> np.ndarray:
    """The random numbers that augment the images of one step.

    Args:
        seed: of the augmentation.
        step: counted from 0.
        batch: images a step.

    Returns:
        float64 ``batch 25`` in [0, 1): flip, scale, top and left of the crop, aspect, and top and
        left of ten further crops. The last two kinds have streams of their own.
    """
    widths = {AUGMENTATION: 4, STRETCH: 1, AGAIN: 2 * TRIES}
    streams = {key: np.random.default_rng((seed, key, step)) for key in widths}
    return np.hstack([streams[key].random((batch, width)) for key, width in widths.items()])


def augment(
    image: Tensor, labels: Tensor, draw: np.ndarray, recipe: Recipe, ignore_index: int = 255
) -> tuple[Tensor, Tensor]:
    """Flip, resize, stretch and crop one image with its labels.

    Labels are resized to the nearest pixel *centre*, so they stay aligned with the image.

    Args:
        image: float32 ``3 h w`` in [0, 1].
        labels: int64 ``h w``.
        draw: numbers in [0, 1), one row of `draws`.
        recipe: ``flip``, ``scale``, ``aspect``, ``crop`` and ``class_cap``.
        ignore_index: what pads the labels.

    Returns:
        The image and its labels, of the crop's size where there is a crop.
    """
    labels = labels[None]
    if recipe.flip and draw[0] < 0.5:
        image = transforms.horizontal_flip_image(image)
        labels = transforms.horizontal_flip_image(labels)
    if recipe.scale is not None or recipe.aspect is not None:
        factor = 1.0 if recipe.scale is None else _between(recipe.scale, draw[1])
        wider = 1.0 if recipe.aspect is None else math.sqrt(_between(recipe.aspect, draw[4]))
        factors = (factor / wider, factor * wider)
        size = [max(1, round(side * f)) for side, f in zip(image.shape[-2:], factors)]
        image = transforms.resize_image(image, size, antialias=True)
        labels = transforms.resize_image(labels, size, InterpolationMode.NEAREST_EXACT)
    if recipe.crop is not None:
        places = np.r_[draw[2:4], draw[5:]].reshape(-1, 2)
        for place in places:
            window = _crop(labels, recipe.crop, place, ignore_index)
            if recipe.class_cap is None or _share(window, ignore_index) < recipe.class_cap:
                break
        image, labels = _crop(image, recipe.crop, place, GREY), window
    return image, labels[0]


def _between(ends: tuple[float, float], draw: float) -> float:
    low, high = ends
    return low + (high - low) * draw


def _crop(x: Tensor, crop: tuple[int, int], place: np.ndarray, fill: float) -> Tensor:
    """A window of an image or of its labels, padded where they are smaller."""
    top, above, below = _place(x.shape[-2], crop[0], place[0])
    left, before, after = _place(x.shape[-1], crop[1], place[1])
    if above or below or before or after:
        x = transforms.pad_image(x, [before, above, after, below], fill=fill)
    return transforms.crop_image(x, top, left, *crop)


def _share(labels: Tensor, ignore_index: int) -> float:
    """What the most frequent class covers of the labelled pixels; of none, all of them."""
    counts = labels[labels != ignore_index].unique(return_counts=True)[1]
    return float(counts.max() / counts.sum()) if len(counts) else 1.0


def _place(side: int, window: int, draw: float) -> tuple[int, int, int]:
    """Where a window starts along one side, and the padding before and after it."""
    if side >= window:
        return int(draw * (side - window + 1)), 0, 0
    before = int(draw * (window - side + 1))
    return 0, before, window - side - before


def check(
    sample, index: int, *, classes: int | None, ignore_index: int, maps: bool = False
) -> None:
    """Hold one sample against what training and evaluation count on.

    Args:
        sample: what a data set gave: ``(image, labels)``, float32 ``3 h w`` in [0, 1] and int64
            ``h w``, or ``1 1`` for one label an image.
        index: its place, for the message.
        classes: how many there are; ``None`` where that is not known.
        ignore_index: the label of pixels that do not count.
        maps: the images are features ``c h w`` of any size and range, as `runs.StoredMaps` gives.

    Raises:
        ValueError: kind, shape or values are not these; says what was expected and what came.
    """
    try:
        image, labels = sample
    except (TypeError, ValueError):
        raise _wrong(index, "a pair (image, labels)", type(sample).__name__) from None
    for what, x, kind in (("image", image, torch.float32), ("labels", labels, torch.int64)):
        if not isinstance(x, Tensor) or x.dtype != kind:
            found = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise _wrong(index, f"{what} of {kind}", found)
    if image.ndim != 3 or (len(image) != 3 and not maps) or not image.numel():
        raise _wrong(index, "an image 3 h w", tuple(image.shape))
    sizes = (image.shape[1:], (1, 1))
    if labels.ndim != 2 or not (maps or tuple(labels.shape) in map(tuple, sizes)):
        wanted = f"labels of the image's size {tuple(image.shape[1:])}"
        raise _wrong(index, wanted, tuple(labels.shape))
    low, high = (float(end) for end in image.aminmax())  # nan where there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _wrong(index, "an image of finite numbers", "inf or nan")
    if max(-low, high) > FAR and not maps:
        raise _wrong(index, "an image in [0, 1]", f"values from {low:.4g} to {high:.4g}")
    valid = labels.masked_fill(labels == ignore_index, 0)
    low, high = (int(end) for end in valid.aminmax())
    if low < 0 or (classes is not None and high >= classes):
        ends = f"0..{classes - 1}" if classes is not None else "0 and more"
        raise _wrong(index, f"labels in {ends} or {ignore_index}", f"{low}..{high}")


def _wrong(index: int, expected: str, found: object) -> ValueError:
    return ValueError(f"sample {index} of the data set: expected {expected}, got {found}")


class _Augmented(Dataset):
    """Images by (step, place in the batch, index), as several loading processes can share them."""

    def __init__(self, dataset, recipe: Recipe, ignore_index: int) -> None:
        self.dataset, self.recipe, self.ignore_index = dataset, recipe, ignore_index

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[int, Tensor, Tensor]:
        step, place, index = key
        sample = self.dataset[index]
        check(sample, index, **expectations(self.dataset))
        image, labels = sample
        draw = draws(self.recipe.seed, step, self.recipe.batch)[place]
        return index, *augment(image, labels, draw, self.recipe, self.ignore_index)


def expectations(dataset) -> dict:
    """What `check` has to know of a data set."""
    return {
        "classes": len(getattr(dataset, "classes", ())) or None,
        "ignore_index": getattr(dataset, "ignore_index", 255),
        "maps": getattr(dataset, "features", False),
    }


def _together(samples: list[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """One batch; the images must be of one size."""
    first, image, labels = samples[0]
    for index, other, others_labels in samples:
        if (other.shape, others_labels.shape) != (image.shape, labels.shape):
            raise ValueError(
                f"expected images of one size in a batch, got {tuple(image.shape)} of sample "
                f"{first} and {tuple(other.shape)} of sample {index}: give the recipe a crop"
            )
    return default_collate([sample[1:] for sample in samples])


def _leave_interrupts_to_the_parent(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def batches(
    dataset, recipe: Recipe, *, start: int = 0, rank: int = 0, world: int = 1, pin: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a run from one step on.

    Args:
        dataset: yields ``(image, labels)`` and has a length.
        recipe: order, batch, augmentation, workers.
        start: the first step.
        rank: which process of ``world`` this is; each takes its part of every batch.
        world: processes that share a batch.
        pin: page-locked memory for faster copies to a GPU.

    Returns:
        An iterator of (float32 ``n 3 h w`` in [0, 1], int64 ``n h w``).

    Raises:
        ValueError: the batch cannot be divided among the processes.
    """
    if recipe.batch % world:
        raise ValueError(f"expected a batch that {world} processes can share, got {recipe.batch}")
    share = recipe.batch // world
    mine = slice(rank * share, (rank + 1) * share)
    ignore_index = getattr(dataset, "ignore_index", 255)
    plan = [
        [(step, place, int(index)) for place, index in _numbered(dataset, recipe, step)[mine]]
        for step in range(start, recipe.steps)
    ]
    loader = DataLoader(
        _Augmented(dataset, recipe, ignore_index),
        batch_sampler=plan,
        num_workers=recipe.workers,
        pin_memory=pin,
        collate_fn=_together,
        worker_init_fn=_leave_interrupts_to_the_parent,
        generator=torch.Generator(),  # its own, or it would draw from the one that dropout uses
    )
    return iter(loader)


def _numbered(dataset, recipe: Recipe, step: int) -> list[tuple[int, int]]:
    return list(enumerate(indices(recipe.seed, step, recipe.batch, len(dataset))))
