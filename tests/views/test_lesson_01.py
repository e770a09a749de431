"""What a patch knows, cones, effective fields and the ruler: the figures show what they claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import probes, views
from contextlab.data import bounds
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


@settings(deadline=None, max_examples=15)
@given(
    layers=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 3)), min_size=1, max_size=4
    )
)
def test_the_cone_is_as_wide_as_the_formula(layers):
    _, numbers = views.cone_figure(layers)
    assert numbers["size"] == probes.theoretical(layers)[0] == numbers["sizes"][-1]
    assert 1 <= numbers["read"] <= numbers["size"]


def test_dilation_alone_leaves_holes_and_doubling_it_does_not():
    same = views.cone_figure([(3, 1, 4)] * 3)[1]
    doubled = views.cone_figure([(3, 1, 2**i) for i in range(4)])[1]
    assert (same["size"], same["read"]) == (25, 7)
    assert (doubled["size"], doubled["read"]) == (31, 31)


def test_cones_are_readable(readable):
    for layers in ([(3, 1, 1)], [(7, 1, 4)] * 5, [(3, 2, 1), (3, 2, 1), (3, 1, 1)]):
        readable(views.cone_figure(layers)[0])


@pytest.mark.parametrize("shape", [(65, 65), (64, 128)])
def test_the_squares_have_the_given_widths(readable, shape):
    field = torch.zeros(*shape)
    field[30:35, 40:45] = 1.0
    figure, numbers = views.receptive_field_figure(field, (11, 11))
    assert numbers == {"theoretical": (11, 11), "effective": 5.0, "central": 1.0}
    squares = [(p.get_width(), p.get_height()) for p in figure.axes[0].patches]
    assert squares == [(11, 11), (5.0, 5.0)]
    readable(figure)


def test_the_ruler_shows_runs_among_the_ideals(readable):
    figure, numbers = views.miou_ruler({"FCN": [0.60, 0.608], "non-local": 0.88}, title="mIoU")
    assert numbers == {"FCN": pytest.approx(0.604), "non-local": 0.88}
    upright = {
        round(line.get_xdata()[0], 1) for line in figure.axes[0].lines if line.get_ydata()[0] == 0
    }
    assert upright >= {round(100 * v, 1) for v in bounds.IDEAL_MIOU.values()}
    assert round(100 * bounds.STRIDE_4_CEILING, 1) in upright
    readable(figure)


def test_labels_of_near_ideals_do_not_overlap(readable):
    figure, _ = views.miou_ruler({"a": 0.9}, ladder={"G": 0.90, "GL": 0.905, "GLP": 0.91})
    readable(figure)
    names = ("G", "G L", "G L P")
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text() in names]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_receptive_fields():
    explorer = views.receptive_field_explorer()
    assert "<b>7 pixels</b>, 7 of them" in explorer.words.value
    explorer.update(dilation=4)
    assert "<b>25 pixels</b>, 7 of them" in explorer.words.value
    explorer.update(dilation=1, depth=4, grow=True)
    assert "<b>31 pixels</b>, 31 of them" in explorer.words.value
