"""What can be known about a street: exact bounds, the ruler that the course measures with.

Two questions, each answered by a table and by the function that computes it: how many pixels of
a demand have their cue within a window, and what mIoU an ideal predictor reaches that knows only
so much. All shares and mIoU values are fractions from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from .streets import CLASSES, DEMAND_WORDS, DEMANDS, Streets

KNOWN_SHARE = {
    15: {"G": 0.00, "L": 0.10, "P": 0.00, "C": 0.16, "A": 0.00},
    31: {"G": 0.00, "L": 0.23, "P": 0.00, "C": 0.33, "A": 0.00},
    47: {"G": 0.62, "L": 0.36, "P": 0.00, "C": 0.51, "A": 0.00},
    63: {"G": 1.00, "L": 0.50, "P": 0.00, "C": 0.67, "A": 0.00},
    95: {"G": 1.00, "L": 0.75, "P": 0.80, "C": 0.89, "A": 0.80},
}
"""Share of a demand's pixels whose centred r x r window holds a pixel of the cue, by r."""

IDEAL_MIOU = {
    "": 0.568, "G": 0.656, "GL": 0.820, "GLP": 0.854,
    "GLC": 0.916, "GLPC": 0.950, "GLCA": 0.953, "GLPCA": 1.0,
}  # fmt: skip
"""mIoU of a predictor that reads every local pixel, has solved these demands, and guesses the
rest within the group of classes."""

PATCH_MIOU = {15: 0.590, 31: 0.619, 47: 0.699, 63: 0.775}
"""mIoU of a predictor that knows all that an r x r window around the pixel can tell, by r."""

PIXEL_SHARE = {"local": 0.606, "G": 0.058, "L": 0.102, "P": 0.046, "C": 0.138, "A": 0.049}
"""Share of all pixels that pose each demand, with every knob at 1."""

STRIDE_4_CEILING = 0.907
"""mIoU of the ground truth itself, pooled to stride 4 and upsampled: thin parts are lost."""

SQUEEZE_BOUND = 2 / 3
"""Accuracy on P and A of a network that knows which symbols there are, but not whose."""


class Bounds(NamedTuple):
    """The tables above, for another form of the streets."""

    known_share: dict[int, dict[str, float]]
    ideal_miou: dict[str, float]
    patch_miou: dict[int, float]
    pixel_share: dict[str, float]
    stride_4_ceiling: float


FAR = Bounds(
    known_share={
        31: {"G": 0.00, "L": 0.10, "P": 0.00, "C": 0.16, "A": 0.00},
        63: {"G": 0.00, "L": 0.22, "P": 0.00, "C": 0.32, "A": 0.00},
        95: {"G": 0.74, "L": 0.34, "P": 0.00, "C": 0.49, "A": 0.00},
        127: {"G": 1.00, "L": 0.46, "P": 0.00, "C": 0.64, "A": 0.00},
        191: {"G": 1.00, "L": 0.70, "P": 0.30, "C": 0.85, "A": 0.30},
        231: {"G": 1.00, "L": 0.85, "P": 1.00, "C": 0.95, "A": 1.00},
    },
    ideal_miou={
        "": 0.532, "G": 0.629, "GL": 0.804, "GLP": 0.842,
        "GLC": 0.904, "GLPC": 0.941, "GLCA": 0.944, "GLPCA": 1.0,
    },
    patch_miou={31: 0.555, 63: 0.582, 127: 0.744, 231: 0.954},
    pixel_share={"local": 0.642, "G": 0.058, "L": 0.057, "P": 0.047, "C": 0.147, "A": 0.050},
    stride_4_ceiling=0.963,
)  # fmt: skip
"""The same tables for ``Streets(far=True)``: what a window of r pixels holds on streets takes one
of about 2 r there. Things keep their pixels, so stride 4 costs no more of each, and less in all."""


class Ideal(NamedTuple):
    """Expected result of an ideal predictor: mIoU, and accuracy on each demand's pixels."""

    miou: float
    demands: dict[str, float]


def _window_holds(marked: np.ndarray, r: int) -> np.ndarray:
    """bool ``n h w``: does the centred r x r window hold a marked pixel? By a summed-area table."""
    if r < 1 or r % 2 == 0:
        raise ValueError(f"a centred window has an odd size of at least 1, not {r}")
    total = np.pad(marked, ((0, 0), (r // 2 + 1, r // 2), (r // 2 + 1, r // 2))).astype(np.int32)
    total = total.cumsum(1).cumsum(2)
    rows = total[:, r:] - total[:, :-r]
    return rows[:, :, r:] - rows[:, :, :-r] > 0


def _posed(dataset: Streets, images: int | None) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    drawn = dataset.batch(range(len(dataset) if images is None else min(images, len(dataset))))
    counts = np.bincount(drawn["demand"].ravel(), minlength=len(DEMANDS))
    return drawn, {d: i for i, d in enumerate(DEMANDS) if i and counts[i]}


def known_share(dataset: Streets, window: int, *, images: int | None = None) -> dict[str, float]:
    """Share of each demand's pixels whose window holds a pixel of the cue.

    Args:
        dataset: the streets to look at.
        window: r, odd, in pixels: the side of the square centred at the pixel.
        images: look only at the first so many.

    Returns:
        A share from 0 to 1 for each demand that the images pose.

    Example:
        >>> shares = known_share(Streets("val", size=20), 31)
        >>> shares["P"], 0.2 < shares["L"] < 0.26
        (0.0, True)
    """
    drawn, demands = _posed(dataset, images)
    return {
        name: float(_window_holds(drawn["cue"] >> d & 1, window)[drawn["demand"] == d].mean())
        for name, d in demands.items()
    }


def ideal(
    dataset: Streets,
    *,
    window: int | None = None,
    solved: Iterable[str] = (),
    guess: Mapping[str, float] | None = None,
    images: int | None = None,
) -> Ideal:
    """What a predictor reaches that knows every local pixel and nothing it cannot know.

    It knows the pixels of the solved demands and those whose window holds the cue. The rest it
    guesses, uniformly within the demand's group of classes or as ``guess`` says; the confusion
    matrix holds the expected counts.

    Args:
        dataset: the streets to look at.
        window: r, odd, in pixels; None for a predictor that sees no cue at all.
        solved: letters of demands, as "GL" or ("G", "L").
        guess: accuracy on the pixels that are left, by demand, in place of 1 / group size;
            ``{"P": SQUEEZE_BOUND, "A": SQUEEZE_BOUND}`` is what one global vector allows.
        images: look only at the first so many.

    Example:
        >>> control = Streets("val", size=4, g=0, l=0, p=0, c=0, a=0)
        >>> ideal(control)
        Ideal(miou=1.0, demands={})
    """
    solved, guess = set(solved), dict(guess or {})
    if unknown := sorted((solved | set(guess)) - set(DEMAND_WORDS)):
        raise ValueError(f"demands are {', '.join(DEMAND_WORDS)}, not {', '.join(unknown)}")
    drawn, demands = _posed(dataset, images)
    label, known = drawn["label"], drawn["demand"] == 0
    confusion, accuracy = np.zeros((len(CLASSES), len(CLASSES))), {}
    for name, d in demands.items():
        posed = drawn["demand"] == d
        seen = posed & (name in solved)
        if window is not None:
            seen |= posed & _window_holds(drawn["cue"] >> d & 1, window)
        group = [CLASSES.index(c) for c in DEMAND_WORDS[name].classes]
        right = guess.get(name, 1 / len(group))
        left = np.bincount(label[posed & ~seen], minlength=len(CLASSES))
        for truth in group:
            for answer in group:
                p = right if answer == truth else (1 - right) / (len(group) - 1)
                confusion[truth, answer] += p * left[truth]
        accuracy[name] = float((seen.sum() + right * left.sum()) / posed.sum())
        known |= seen
    confusion += np.diag(np.bincount(label[known], minlength=len(CLASSES)))
    return Ideal(_miou(confusion), accuracy)


def ideal_miou(
    dataset: Streets,
    window: int | None = None,
    solved: Iterable[str] = (),
    *,
    images: int | None = None,
) -> float:
    """The mIoU of ``ideal``, from 0 to 1."""
    return ideal(dataset, window=window, solved=solved, images=images).miou


def stride_ceiling(dataset: Streets, stride: int = 4, *, images: int | None = None) -> Ideal:
    """What the ground truth itself scores after a network's stride.

    The labels as one-hot maps are averaged over stride x stride cells, brought back bilinearly,
    and the largest wins. What is thinner than a cell is lost, whatever a network has understood.

    Example:
        >>> stride_ceiling(Streets("val", size=4), 1).miou
        1.0
    """
    drawn, demands = _posed(dataset, images)
    confusion = np.zeros((len(CLASSES), len(CLASSES)))
    right = np.zeros(len(DEMANDS))
    for start in range(0, len(drawn["label"]), 64):
        label = drawn["label"][start : start + 64]
        maps = F.one_hot(torch.from_numpy(label).long(), len(CLASSES)).float()
        coarse = F.avg_pool2d(rearrange(maps, "n h w c -> n c h w"), stride)
        fine = F.interpolate(coarse, label.shape[1:], mode="bilinear", align_corners=False)
        answer = fine.argmax(1).numpy()
        pairs = np.bincount((label.astype(np.int64) * len(CLASSES) + answer).ravel(),
                            minlength=confusion.size)  # fmt: skip
        confusion += pairs.reshape(confusion.shape)
        demand = drawn["demand"][start : start + 64]
        right += np.bincount(demand[label == answer], minlength=len(DEMANDS))
    return Ideal(
        _miou(confusion),
        {name: float(right[d] / (drawn["demand"] == d).sum()) for name, d in demands.items()},
    )


def _miou(confusion: np.ndarray) -> float:
    """Mean over the classes that occur, as truth or as answer."""
    hit = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - hit
    return float((hit[union > 0] / union[union > 0]).mean())
