"""How often two pixels carry the same label, by the distance between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

METRICS = ("chebyshev", "euclidean")


@dataclass(frozen=True)
class Agreement:
    """Shares of pixel pairs with one label, all from 0 to 1.

    Args:
        distances: in pixels, ``d``.
        share: of the pairs at that distance, ``d``.
        elsewhere: of the same pairs of places, the second pixel read in another image: what the
            layout that all images have in common explains, ``d``.
        chance: of two pixels anywhere in one image.
        pairs: how many pairs were drawn at each distance, those with an ignored pixel left out.
    """

    distances: np.ndarray
    share: np.ndarray
    elsewhere: np.ndarray
    chance: float
    pairs: np.ndarray

    def reach(self, share: float) -> float:
        """The largest distance drawn up to which at least this share agrees; 0 where none does."""
        below = np.flatnonzero(self.share < share)
        known = self.distances[: below[0]] if len(below) else self.distances
        return float(known[-1]) if len(known) else 0.0


def agreement(
    dataset,
    distances: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    *,
    metric: str = "chebyshev",
    images: int | Iterable[int] = 100,
    pairs: int = 20_000,
    seed: int = 0,
) -> Agreement:
    """Share of pixel pairs with the same label against their distance, by drawing pairs.

    Every pair of pixels of an image at a distance is equally likely.

    Args:
        dataset: yields ``(image, labels)`` of one size, with ``ignore_index``.
        distances: in pixels, growing.
        metric: "chebyshev", the larger of the two offsets, in which LOCAL_S is a ball; or
            "euclidean", rounded to the nearest pixel.
        images: how many of the first images, or which.
        pairs: to draw at each distance.
        seed: of the drawing.

    Raises:
        ValueError: another metric, distances that do not grow from 1, one that no pair of the
            image has, or less than two images.

    Example:
        >>> from contextlab import data
        >>> found = agreement(data.Streets("val", size=8), (1, 16), pairs=2000, images=8)
        >>> bool(found.share[0] > 0.9 > found.share[1] > found.chance)
        True
    """
    distances = np.asarray(distances, int)
    if metric not in METRICS:
        raise ValueError(f"expected a metric of {', '.join(METRICS)}, got {metric!r}")
    if not len(distances) or distances[0] < 1 or (np.diff(distances) <= 0).any():
        raise ValueError(f"expected distances that grow from 1, got {distances.tolist()}")
    chosen = list(range(min(images, len(dataset))) if isinstance(images, int) else images)
    if len(chosen) < 2:
        raise ValueError(f"expected at least two images, got {len(chosen)}")
    labels = np.stack([dataset[i][1].numpy() for i in chosen])
    ignored, draw = dataset.ignore_index, np.random.default_rng(seed)
    n, h, w = labels.shape

    def places(offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two pixels of the map for each offset, all placements equally likely."""
        low = np.maximum(-offset, 0)
        first = low + (draw.random(offset.shape) * ([h, w] - np.abs(offset))).astype(int)
        return first, first + offset

    def agree(image: np.ndarray, a: np.ndarray, other: np.ndarray, b: np.ndarray):
        one, two = labels[image, a[:, 0], a[:, 1]], labels[other, b[:, 0], b[:, 1]]
        known = (one != ignored) & (two != ignored)
        return float((one == two)[known].mean()) if known.any() else np.nan, int(known.sum())

    shares, elsewhere, counts = [], [], []
    for r in distances:
        offsets, weights = _ring(int(r), h, w, metric)
        a, b = places(offsets[draw.choice(len(offsets), pairs, p=weights / weights.sum())])
        image = draw.integers(n, size=pairs)
        other = (image + draw.integers(1, n, size=pairs)) % n
        share, count = agree(image, a, image, b)
        shares.append(share)
        counts.append(count)
        elsewhere.append(agree(image, a, other, b)[0])
    image = draw.integers(n, size=4 * pairs)
    a, b = (draw.integers([h, w], size=(4 * pairs, 2)) for _ in range(2))
    chance, _ = agree(image, a, image, b)
    return Agreement(distances, np.array(shares), np.array(elsewhere), chance, np.array(counts))


def _ring(r: int, h: int, w: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (rows, columns) at a distance, and how many placements the map has for each."""
    dy, dx = np.mgrid[-min(r, h - 1) : min(r, h - 1) + 1, -min(r, w - 1) : min(r, w - 1) + 1]
    far = np.maximum(np.abs(dy), np.abs(dx)) if metric == "chebyshev" else np.rint(np.hypot(dy, dx))
    offsets = np.stack([dy[far == r], dx[far == r]], 1)
    if not len(offsets):
        raise ValueError(f"expected distances that occur in {h} x {w} pixels, got {r}")
    return offsets, (h - np.abs(offsets[:, 0])) * (w - np.abs(offsets[:, 1])).astype(float)
