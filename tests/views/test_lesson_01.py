"""Figures of what a patch knows say what the maps say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab.views import lesson_01


def test_a_window_holds_a_cue_exactly_when_it_reaches_it(readable):
    cue = torch.zeros(64, 128, dtype=torch.bool)
    cue[30, 80] = True
    figure, numbers = lesson_01.patch_figure(
        torch.rand(3, 64, 128), (30, 60), (15, 39, 41, 63), cue=cue
    )
    assert numbers["holds"] == {15: False, 39: False, 41: True, 63: True}
    readable(figure)


def test_a_patch_at_the_border_is_filled_with_white(readable):
    figure, numbers = lesson_01.patch_figure(torch.zeros(3, 20, 30), (0, 29), (9,))
    assert numbers["holds"] == {}
    crop = figure.subfigs[1].axes[0].images[0].get_array()
    assert crop.shape == (9, 9, 3)
    assert np.array_equal(crop[..., 0] == 0, np.outer(np.arange(9) >= 4, np.arange(9) <= 4))
    readable(figure)


@pytest.mark.parametrize("windows", [(14,), (), (1, 3, 5, 7, 9), (-3,)])
def test_windows_that_cannot_be_drawn_are_named(windows):
    with pytest.raises(ValueError, match="one to four odd windows"):
        lesson_01.patch_figure(torch.rand(3, 8, 8), (4, 4), windows)


def test_the_first_window_that_knows_everything(readable):
    figure, numbers = lesson_01.window_figure(
        (15, 31, 63), {"G": (0, 0.5, 1), "P": (0, 0, 0), "C": (0, 0, 0.98)}, marks={"FCN": 31}
    )
    assert numbers == {"G": 63, "P": None, "C": None}
    readable(figure)


def test_shares_that_fit_no_window_are_named():
    with pytest.raises(ValueError, match="expected 3 shares for G, got 2"):
        lesson_01.window_figure((15, 31, 63), {"G": (0, 1)})


def test_the_spread_of_a_chain_is_the_root_of_its_depth(readable):
    box = np.ones(3) / 3
    chains = {1: box}
    for n in range(2, 17):
        chains[n] = np.convolve(chains[n - 1], box)
    figure, numbers = lesson_01.chain_figure({n: chains[n] for n in (1, 4, 16)})
    assert [numbers[n]["size"] for n in (1, 4, 16)] == [3, 9, 33]
    for n in (1, 4, 16):
        assert numbers[n]["deviation"] == pytest.approx((2 * n / 3) ** 0.5)
    readable(figure)
