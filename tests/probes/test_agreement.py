"""Label agreement: drawn pairs against all pairs, on small labels and on stripes."""

import numpy as np
import pytest
import torch

from contextlab.probes.agreement import METRICS, _ring, agreement


class Labels(list):
    ignore_index = 255

    def __getitem__(self, i):
        return None, list.__getitem__(self, i)


@pytest.fixture(scope="module")
def small():
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 3, (3, 3, 4), generator=draw)
    labels = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)
    labels[0, :2, :5] = 255
    return Labels(labels)


def every(labels, r, metric):
    """Share over all pairs at the distance, and of those in two images at the same places."""
    n, h, w = labels.shape
    same, cross = [], []
    for y1, x1, y2, x2 in np.ndindex(h, w, h, w):
        dy, dx = y2 - y1, x2 - x1
        far = max(abs(dy), abs(dx)) if metric == "chebyshev" else round(np.hypot(dy, dx))
        if far == r:
            for i in range(n):
                for j in range(n):
                    a, b = labels[i, y1, x1], labels[j, y2, x2]
                    if a != 255 and b != 255:
                        (same if i == j else cross).append(a == b)
    return np.mean(same), np.mean(cross)


@pytest.mark.parametrize("metric", METRICS)
def test_drawn_pairs_agree_as_often_as_all(small, metric):
    found = agreement(small, (1, 2, 5, 9), metric=metric, pairs=40_000)
    labels = torch.stack(list.copy(small)).numpy()
    for k, r in enumerate((1, 2, 5, 9)):
        same, cross = every(labels, r, metric)
        assert found.share[k] == pytest.approx(same, abs=0.012)
        assert found.elsewhere[k] == pytest.approx(cross, abs=0.012)
    known = labels[labels != 255]
    chance = [np.square(np.bincount(one[one != 255]) / (one != 255).sum()).sum() for one in labels]
    assert found.chance == pytest.approx(np.mean(chance), abs=0.03) and len(known)
    assert (found.pairs < 40_000).all() and (found.pairs > 30_000).all()
    again = agreement(small, (1, 2, 5, 9), metric=metric, pairs=40_000)
    assert np.array_equal(found.share, again.share), "the seed is fixed"


def test_stripes_agree_within_themselves():
    stripes = torch.arange(16)[:, None].expand(16, 16) // 8
    found = agreement(Labels([stripes, 1 - stripes]), (1, 15), pairs=5000)
    assert found.share[0] > 0.9 and found.elsewhere[0] == pytest.approx(
        1 - found.share[0], abs=0.02
    )
    assert found.reach(0.9) == 1 and found.reach(0.999) == 0


@pytest.mark.parametrize("metric", METRICS)
def test_a_ring_counts_its_placements(metric):
    offsets, weights = _ring(3, 4, 9, metric)
    assert (np.abs(offsets) < [4, 9]).all()
    if metric == "chebyshev":
        assert (np.abs(offsets).max(1) == 3).all()
    for (dy, dx), weight in zip(offsets, weights):
        assert weight == sum(0 <= y + dy < 4 and 0 <= x + dx < 9 for y, x in np.ndindex(4, 9))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "city"}, "got 'city'"),
        ({"distances": (2, 1)}, r"grow from 1, got \[2, 1\]"),
        ({"distances": ()}, r"got \[\]"),
        ({"distances": (12,)}, "occur in 9 x 12 pixels, got 12"),
        ({"images": 1}, "two images, got 1"),
    ],
)
def test_wrong_options_are_named(small, options, said):
    with pytest.raises(ValueError, match=said):
        agreement(small, **{"distances": (1,), **options})


def test_streets_agree_less_the_farther(streets):
    found = agreement(streets, (1, 4, 16), pairs=4000, images=16)
    assert (np.diff(found.share) < 0).all() and (found.share > found.elsewhere).all()
