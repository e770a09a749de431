"""Figures of the five tricks: what is kept, whom two hops reach, what rank there is."""

import numpy as np
import pytest
import torch

from contextlab import views


def test_each_trick_keeps_what_it_says():
    figure, numbers = views.five_tricks_figure(4, 5, nodes=3, sides=(1, 2))
    n = 4 * 5
    assert list(numbers.values()) == [n * n, 9, n * (4 + 5 - 1), n * 5, 2 * 3 * n, 3 * n + n]
    assert len(figure.axes) == 6


def test_two_hops_reach_every_pixel_and_the_ways_are_counted():
    _, numbers = views.hops_figure(4, 6, query=(1, 2))
    assert numbers["reached"] == (4 + 6 - 1, 24)
    one, two = numbers["ways"]
    assert set(np.unique(one)) == {0, 1}
    assert two[1, 2] == 4 + 6 - 1  # there and back
    assert two[1, 0] == 6 and two[0, 2] == 4 and two[0, 0] == 2
    with pytest.raises(ValueError, match="inside 4 x 6"):
        views.hops_figure(4, 6, query=(4, 0))


def test_the_spectrum_counts_the_rank():
    narrow = torch.linalg.qr(torch.randn(30, 5))[0]
    _, numbers = views.spectrum_figure(
        {"identity": torch.eye(20), "rank 5": narrow @ narrow.T}, share=0.99, mark=10
    )
    assert numbers == {"identity": 20, "rank 5": 5}
