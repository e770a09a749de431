"""What the mean IoU hides: how well borders are drawn, and how objects fare by their size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import distance_transform_cdt
from torch import nn

from .confusion import counted
from .layers import evaluating
from .objects import components

#: the width of a border, as a share of the image's diagonal
WIDTH = 0.02
#: where sizes of objects part, as shares of the image
SIZES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class Detail:
    """How a network answers at borders, and on objects of each size.

    Args:
        boundary: boundary IoU by class, from 0 to 1; nan for a class that never occurs.
        sizes: rows from the smallest objects to the largest with "from" and "to" (shares of the
            image), "objects", "pixels", "accuracy", and "miou" over the classes that have objects
            of the size: another one that is named there has none to be right about.
    """

    boundary: tuple[float, ...]
    sizes: tuple[dict[str, float], ...]

    @property
    def mean_boundary(self) -> float:
        """Mean over the classes that occur."""
        found = [value for value in self.boundary if not math.isnan(value)]
        return math.fsum(found) / len(found) if found else math.nan


@torch.inference_mode()
def detail(
    network: nn.Module,
    dataset,
    images: int | Iterable[int] = 200,
    *,
    width: float = WIDTH,
    sizes: Sequence[float] = SIZES,
) -> Detail:
    """Boundary IoU, and accuracy and IoU by the size of objects.

        boundary IoU = |(G_d n G) n (P_d n P)| / |(G_d n G) u (P_d n P)|

    G are the pixels of a class in the labels and P in the prediction, summed over all images; G_d
    and P_d are those no further than d pixels from the outline (diagonally too). The image's edge
    and a border with ignored pixels are outlines as well; ignored pixels are in no G and no P.

    An object is a connected piece of one class. The figures of a size are those of the pixels that
    belong to objects of that size, so a false pixel counts where the object lies that it is taken
    from.

    Args:
        network: maps ``b 3 h w`` to logits.
        dataset: yields ``(image, labels)``, of any sizes.
        images: how many of the first images, or which.
        width: d as a share of the image's diagonal, at least one pixel.
        sizes: where sizes part, as growing shares of the image.

    Raises:
        ValueError: a width that is none, sizes that do not grow, or no image.

    Source: Cheng et al., Boundary IoU, CVPR 2021, which takes 2 % of the diagonal for d. There the
    mask is one object's; here it is all that is of one class, summed over the images.
    """
    if not 0 < width < 1:
        raise ValueError(f"expected a width between 0 and 1, got {width}")
    borders = (0.0, *sizes, math.inf)
    if any(a >= b for a, b in pairwise(borders)):
        raise ValueError(f"expected growing sizes above 0, got {tuple(sizes)}")
    chosen = list(range(min(images, len(dataset))) if isinstance(images, int) else images)
    if not chosen:
        raise ValueError("expected at least one image, got none")
    k, device = len(dataset.classes), next(network.parameters()).device
    both, either = np.zeros(k, np.int64), np.zeros(k, np.int64)
    confusion, objects = np.zeros((len(borders) - 1, k, k), np.int64), np.zeros(len(borders), int)
    with evaluating(network):
        for i in chosen:
            image, labels = dataset[i]
            said = network(image[None].to(device)).argmax(1)[0].cpu()
            known = labels != dataset.ignore_index
            d = max(1, round(width * math.hypot(*labels.shape)))
            for c in range(k):
                truth = band((labels == c).numpy(), d)
                drawn = band(((said == c) & known).numpy(), d)
                both[c] += (truth & drawn).sum()
                either[c] += (truth | drawn).sum()
            piece = components(labels[None], ignore_index=dataset.ignore_index)[0]
            area = torch.bincount(piece[known])
            size = np.searchsorted(borders, area.double().numpy() / labels.numel(), "right") - 1
            objects += np.bincount(size, minlength=len(borders))
            of = torch.from_numpy(size)[piece.clamp(0)] if len(size) else torch.full_like(piece, -1)
            for s in range(len(confusion)):
                here = known & (of == s)
                confusion[s] += counted(labels[here], said[here], k)
    rows = [
        {
            "from": borders[s],
            "to": min(borders[s + 1], 1.0),
            "objects": int(objects[s]),
            "pixels": int(found.sum()),
            "accuracy": float(found.trace() / found.sum()) if found.any() else math.nan,
            "miou": _mean_iou(found),
        }
        for s, found in enumerate(confusion)
    ]
    shares = (float(b / e) if e else math.nan for b, e in zip(both, either))
    return Detail(tuple(shares), tuple(rows))


def _mean_iou(confusion: np.ndarray) -> float:
    sizes, right = confusion.sum(1), confusion.diagonal()
    there = sizes > 0
    union = (sizes + confusion.sum(0) - right)[there]
    return float((right[there] / union).mean()) if there.any() else math.nan


def band(mask: np.ndarray, d: int) -> np.ndarray:
    """The pixels of a mask no further than d from what is outside of it, or of the image.

    Example:
        >>> band(np.ones((3, 5), bool), 1).astype(int).tolist()
        [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    """
    if not mask.any():
        return mask
    return mask & (distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1] <= d)
