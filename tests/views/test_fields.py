"""Figures of receptive fields show what they claim."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import views


@settings(deadline=None, max_examples=15)
@given(
    layers=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 3)), min_size=1, max_size=4
    )
)
def test_the_cone_is_as_wide_as_the_formula(layers):
    _, numbers = views.cone_figure(layers)
    assert numbers["size"] == views.theoretical(layers)[0] == numbers["sizes"][-1]
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


def test_growth_fits_what_it_draws(readable):
    depths = [1, 4, 16]
    figure, fits = views.growth_figure(depths, {"theoretical": [2, 8, 32], "effective": [2, 4, 8]})
    assert fits["theoretical"].exponent == pytest.approx(1)
    assert fits["effective"].exponent == pytest.approx(0.5)
    labels = [t.get_text() for t in figure.axes[1].get_legend().texts]
    assert "1.00" in labels[0] and "0.50" in labels[1]
    readable(figure)
