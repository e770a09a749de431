"""Which look-alikes are taken for each other: confusions by pair of classes, and by demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .layers import evaluating

#: classes that look alike on streets, wholly so where they pose a demand
STREETS_PAIRS = (
    ("wall", "fence"),
    ("vegetation", "sidewalk"),
    ("bus", "truck"),
    ("bus", "train"),
    ("truck", "train"),
    ("bus zone", "bike zone"),
)
#: CamVid's: it has no wall, which its labels call building or fence
CAMVID_PAIRS = (
    ("building", "fence"),
    ("fence", "tree"),
    ("building", "tree"),
    ("road", "pavement"),
    ("pedestrian", "bicyclist"),
    ("pole", "sign or symbol"),
)


@torch.inference_mode()
def confusions(
    network: nn.Module, dataset, images: int | Iterable[int] = 500, *, batch: int = 32
) -> dict[str, np.ndarray]:
    """Confusion matrices of a network, over all pixels and over those of each demand.

    Args:
        network: maps ``b 3 h w`` to logits.
        dataset: yields ``(image, labels)`` of one size; ``demand(i)`` is used where there is one.
        images: how many of the first images, or which.
        batch: images a forward pass.

    Returns:
        "all" and the name of each demand to int64 ``k k``, pixels by (label, prediction).
    """
    chosen = list(range(min(images, len(dataset))) if isinstance(images, int) else images)
    k, device = len(dataset.classes), next(network.parameters()).device
    names = tuple(getattr(dataset, "demand_names", ()))
    found = {name: np.zeros((k, k), np.int64) for name in ("all", *names)}
    with evaluating(network):
        for start in range(0, len(chosen), batch):
            here = chosen[start : start + batch]
            pixels, labels = map(torch.stack, zip(*(dataset[i] for i in here)))
            said = network(pixels.to(device)).argmax(1).cpu()
            known = labels != dataset.ignore_index
            found["all"] += counted(labels[known], said[known], k)
            demand = torch.stack([dataset.demand(i) for i in here]) if names else None
            for d, name in enumerate(names):
                posed = known & (demand == d)
                found[name] += counted(labels[posed], said[posed], k)
    return found


def counted(labels: Tensor, said: Tensor, classes: int) -> np.ndarray:
    """Pixels by (label, prediction), int64 ``k k``.

    Example:
        >>> counted(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    pairs = labels.flatten() * classes + said.flatten()
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).numpy()


def by_pair(
    confusion: np.ndarray, classes: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> list[dict[str, object]]:
    """How much of one class is called the other, for pairs of classes.

    Args:
        confusion: ``k k``, pixels by (label, prediction).
        classes: k names.
        pairs: of names.

    Returns:
        rows with "a", "b", "a as b" and "b as a" (shares of a's and of b's pixels, nan without
        any), "swapped" (share of both classes' pixels that carry the other one's name) and
        "pixels".

    Raises:
        ValueError: a name that is no class.

    Example:
        >>> by_pair(np.array([[6, 2], [1, 3]]), ("wall", "fence"), [("wall", "fence")])[0]["a as b"]
        0.25
    """
    unknown = sorted({name for pair in pairs for name in pair} - set(classes))
    if unknown:
        raise ValueError(f"expected pairs of {', '.join(classes)}, got {', '.join(unknown)}")
    rows = []
    for a, b in pairs:
        i, j = classes.index(a), classes.index(b)
        sizes = confusion[[i, j]].sum(1)
        there, back = confusion[i, j], confusion[j, i]
        rows.append(
            {
                "a": a,
                "b": b,
                "a as b": float(there / sizes[0]) if sizes[0] else float("nan"),
                "b as a": float(back / sizes[1]) if sizes[1] else float("nan"),
                "swapped": float((there + back) / sizes.sum()) if sizes.sum() else float("nan"),
                "pixels": int(sizes.sum()),
            }
        )
    return rows


def mean_iou(confusion: np.ndarray) -> float:
    """Mean IoU over the classes that occur in the labels or the predictions, from 0 to 1.

    Example:
        >>> round(mean_iou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])), 3)
        0.775
    """
    right = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - right
    return float((right[union > 0] / union[union > 0]).mean()) if union.any() else float("nan")
