"""Large objects and small ones: connected pieces, who gains on which, and which take over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor, nn

#: what belongs to one piece: pixels that share a side, in one image
_NEIGHBOURS = np.array([np.zeros((3, 3)), [[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.zeros((3, 3))])


def components(labels: Tensor, *, ignore_index: int = 255) -> Tensor:
    """Number the connected pieces of equal label (four neighbours).

    Args:
        labels: int ``n h w``.
        ignore_index: label that belongs to no piece.

    Returns:
        int64 ``n h w``: 0, 1, 2, ... over all images together; -1 where the label is ignored.

    Example:
        >>> components(torch.tensor([[[7, 7, 2], [2, 7, 2]]]))
        tensor([[[0, 0, 1],
                 [2, 0, 1]]])
    """
    if labels.ndim != 3:
        raise ValueError(f"expected labels 'n h w', got {tuple(labels.shape)}")
    numbers, count = np.full(labels.shape, -1), 0
    for kind in labels.unique().tolist():
        if kind != ignore_index:
            found, pieces = label(labels.numpy() == kind, _NEIGHBOURS)
            numbers[found > 0] = found[found > 0] + count - 1
            count += pieces
    # class by class so far; now in the order in which pixels are read
    _, first, places = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(np.where(numbers.flat[first] < 0, -1, first)))
    return torch.from_numpy(order[places].reshape(numbers.shape) - (numbers < 0).any())


@dataclass(frozen=True)
class ByArea:
    """What two models get right, object by object.

    Args:
        area: pixels of each object, ``m``.
        a, b: share of its pixels that either model gets right, in points, ``m``.
        label: its class, ``m``.
        image: the image it is in, ``m``.
        demand: the commonest demand of its pixels, ``m``; 0 for data sets without demands.
    """

    area: np.ndarray
    a: np.ndarray
    b: np.ndarray
    label: np.ndarray
    image: np.ndarray
    demand: np.ndarray

    @property
    def gain(self) -> np.ndarray:
        """a - b, in points."""
        return self.a - self.b

    def where(self, chosen: np.ndarray) -> ByArea:
        """Some of the objects.

        Args:
            chosen: bool ``m``.
        """
        return ByArea(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def slopes(self) -> np.ndarray:
        """Points gained for each doubling of the area, one least-squares slope an image.

        Images whose objects are all of one size have no slope. The objects of an image are not
        independent of one another; the images are.
        """
        found = []
        for image in np.unique(self.image):
            here = self.image == image
            x, y = np.log2(self.area[here]), self.gain[here]
            x = x - x.mean()
            if (spread := (x**2).sum()) > 1e-9:
                found.append(float((x * y).sum() / spread))
        return np.array(found)

    def octaves(self, first: int = 4) -> list[dict[str, float]]:
        """Means by size: below 2^first pixels, then by doubling.

        Args:
            first: the exponent of the first border.

        Returns:
            rows with "from" and "to" (pixels), "objects", "a", "b", "gain" (points).
        """
        size = np.maximum(np.floor(np.log2(self.area)), first - 1).astype(int)
        rows = []
        for k in np.unique(size):
            here = size == k
            rows.append(
                {
                    "from": 1 if k < first else 2 ** int(k),
                    "to": 2 ** int(k + 1) - 1,
                    "objects": int(here.sum()),
                    "a": float(self.a[here].mean()),
                    "b": float(self.b[here].mean()),
                    "gain": float(self.gain[here].mean()),
                }
            )
        return rows


@torch.inference_mode()
def by_area(
    a: nn.Module,
    b: nn.Module,
    dataset,
    images: int | Iterable[int] = 200,
    *,
    smallest: int = 4,
    batch: int = 32,
) -> ByArea:
    """Two models on every object of some images.

    An object is a connected piece of one class. What counts is the share of its pixels that a model
    gets right: a false pixel outside has no object to belong to, and in a piece of another class it
    counts there, as a miss.

    Args:
        a: the model that is thought better, maps ``b 3 h w`` to logits.
        b: the other.
        dataset: yields ``(image, labels)``; ``demand(i)`` is used where there is one.
        images: how many of the first images, or which.
        smallest: leave out objects of fewer pixels.
        batch: images a forward pass.

    Example:
        >>> from contextlab import data, networks
        >>> model = networks.network(13, width=16, kernel=1, auxiliary=False)
        >>> found = by_area(model, model, data.build("streets", "val", size=2), 2)
        >>> bool((found.gain == 0).all()), bool((found.area >= 4).all())
        (True, True)
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ByArea.__dataclass_fields__}
    for here, labels, piece, demand, said in _walk((a, b), dataset, images, batch):
        known = piece >= 0
        numbers = piece[known]
        area = np.bincount(numbers)
        keep = area >= smallest
        first = np.unique(numbers, return_index=True)[1]
        image = np.repeat(here, labels[0].size).reshape(labels.shape)
        kinds = int(demand.max()) + 1
        tally = np.bincount(numbers * kinds + demand[known], minlength=len(area) * kinds)
        for name, answers in zip(("a", "b"), said):
            right = (answers == labels)[known]
            share = 100 * np.bincount(numbers, weights=right, minlength=len(area)) / area
            parts[name].append(share[keep])
        parts["area"].append(area[keep])
        parts["label"].append(labels[known][first][keep])
        parts["image"].append(image[known][first][keep])
        parts["demand"].append(tally.reshape(-1, kinds).argmax(1)[keep])
    return ByArea(**{name: np.concatenate(found) for name, found in parts.items()})


@torch.inference_mode()
def taken_over(
    model: nn.Module, dataset, images: int | Iterable[int] = 200, *, batch: int = 32
) -> np.ndarray:
    """Wrong pixels that took the class of a neighbouring object: of a larger one, of a smaller.

    A border that is merely drawn a little off takes as many pixels from the one side as from the
    other. So more of the first kind means that large objects win. Pixels that pose a demand are
    left out, as their class is not to be seen in the object.

    Args:
        model: maps ``b 3 h w`` to logits.
        dataset: yields ``(image, labels)``; ``demand(i)`` is used where there is one.
        images: how many of the first images, or which.
        batch: images a forward pass.

    Returns:
        int64 ``n 2``, for every image the pixels taken by a larger and by a smaller neighbour. An
        object is a connected piece of one class; where several neighbours are of the class that a
        pixel took, the largest counts.
    """
    found = []
    for _, labels, piece, demand, (taken,) in _walk((model,), dataset, images, batch):
        known = piece >= 0
        area = np.bincount(piece[known])
        # of each piece and class, the largest neighbour of that class; 0 where there is none
        rival = np.zeros((len(area), len(dataset.classes)), int)
        for axis in (1, 2):
            (one, mine), (two, other) = _side_by_side(piece, labels, axis)
            meet = (one != two) & (one >= 0) & (two >= 0)
            np.maximum.at(rival, (one[meet], other[meet]), area[two[meet]])
            np.maximum.at(rival, (two[meet], mine[meet]), area[one[meet]])
        for own, truth, said, posed in zip(piece, labels, taken, demand):
            wrong = (own >= 0) & (said != truth) & (posed == 0)
            size, by = area[own[wrong]], rival[own[wrong], said[wrong]]
            found.append([(by > size).sum(), ((by > 0) & (by < size)).sum()])
    return np.array(found)


def _side_by_side(piece: np.ndarray, kind: np.ndarray, axis: int):
    """Pieces and classes of all pairs of pixels that touch along an axis."""
    last = piece.shape[axis]
    ends = (range(1, last), range(last - 1))
    return [(piece.take(end, axis), kind.take(end, axis)) for end in ends]


def _walk(
    models: Sequence[nn.Module], dataset, images: int | Iterable[int], batch: int
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]]:
    """Batch by batch: which images, their labels, pieces and demands, and what each model says."""
    chosen = list(range(min(images, len(dataset))) if isinstance(images, int) else images)
    if not chosen:
        raise ValueError("expected at least one image, got none")
    modes = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        for start in range(0, len(chosen), batch):
            here = chosen[start : start + batch]
            pixels, labels = map(torch.stack, zip(*(dataset[i] for i in here)))
            piece = components(labels, ignore_index=dataset.ignore_index).numpy()
            demand = np.zeros(labels.shape, np.int64)
            if hasattr(dataset, "demand"):
                demand = np.stack([np.asarray(dataset.demand(i)) for i in here]).astype(np.int64)
            devices = [next(model.parameters()).device for model in models]
            said = [m(pixels.to(d)).argmax(1).cpu().numpy() for m, d in zip(models, devices)]
            yield here, labels.numpy(), piece, demand, said
    finally:
        for model, mode in zip(models, modes):
            model.train(mode)
