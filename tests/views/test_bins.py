"""Bins as figures: their edges are those of adaptive pooling, and upsampling hides them."""

import pytest
import torch
import torch.nn.functional as F

from contextlab.views import bins_figure, pooled_figure, structures_figure


@pytest.mark.parametrize("length", [1, 6, 7, 16, 33])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_the_bins_are_those_of_adaptive_pooling(length, size):
    _, numbers = bins_figure(length, [size])
    x = torch.randn(length, dtype=torch.float64)
    means = torch.stack([x[start:end].mean() for start, end in numbers["bins"][size]])
    assert torch.allclose(means, F.adaptive_avg_pool1d(x[None, None], size)[0, 0])


def test_shared_pixels_are_counted(readable):
    figure, numbers = bins_figure(16, [1, 2, 3, 6])
    assert numbers["shared"] == {1: 0, 2: 0, 3: 2, 6: 4}
    readable(figure)


def test_upsampling_hides_the_edges_of_the_bins(streets, readable):
    figure, numbers = pooled_figure(streets[0][0], (1, 2, 3, 6), pixel=(57, 20))
    readable(figure)
    assert numbers["step"][1] == (0, 0)
    for size in (2, 3, 6):
        blocks, smooth = numbers["step"][size]
        assert smooth < blocks / 4


def test_both_structures_say_what_they_hold(streets, readable):
    figure, numbers = structures_figure(streets[0][0], (13, 6))
    readable(figure)
    assert numbers["bins"] == {2: (32, 0, 64, 64), 3: (42, 0, 64, 43), 6: (53, 21, 64, 43)}
    assert numbers["inside"] == {3: 6, 6: 6, 9: 4}
