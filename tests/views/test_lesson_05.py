"""Taps, bins and the worth of parts: the figures count what convolutions and pooling do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from contextlab.probes import taps_of
from contextlab.views import (
    bins_figure,
    coverage_figure,
    padding_figure,
    pooled_figure,
    structures_figure,
    taps_explorer,
    taps_figure,
    worth_figure,
)


def test_multiples_of_three_leave_holes_and_powers_none(readable):
    designs = {"dense": ((3, 6, 12, 18, 24), True), "powers": ((1, 3, 9), True)}
    figure, numbers = coverage_figure(designs)
    readable(figure)
    assert numbers["dense"]["size"] == 127 and numbers["dense"]["read"] == 43**2
    assert numbers["powers"] == {"size": 27, "read": 27**2, "share": 1.0}


@pytest.mark.parametrize("query, rates", [((13, 6), (3, 6, 9)), ((0, 0), (1,)), ((8, 16), (18,))])
def test_taps_inside_and_outside(streets, readable, query, rates):
    figure, numbers = taps_figure(streets[0][0], query, rates, view=((-rates[-1], 0), 31))
    readable(figure)
    for rate in rates:
        spots = [(query[0] + y, query[1] + x) for y, x in taps_of(rate)]
        inside = sum(0 <= y < 16 and 0 <= x < 32 for y, x in spots)
        assert numbers["inside"][rate] == inside
    total = sum(numbers["inside"].values())
    assert numbers["padding"] == pytest.approx(1 - total / (9 * len(rates)))


@pytest.mark.parametrize("query, rates, words", [((16, 0), (3,), "inside"), ((0, 0), (0,), "rate")])
def test_what_does_not_exist_is_refused(streets, query, rates, words):
    with pytest.raises(ValueError, match=words):
        taps_figure(streets[0][0], query, rates)


def test_the_widget_draws_anew(streets):
    widget = taps_explorer(streets[0][0])
    before, words = widget.picture.value, widget.words.value
    assert "6 of 9 taps" in words or "9 of 9 taps" in words
    widget.update(rate=18, row=0)
    assert widget.picture.value != before and "1 of 9 taps" in widget.words.value


def test_the_curve_ends_at_the_centre(readable):
    figure, numbers = padding_figure((33, 65), marks=(6, 12, 36))
    readable(figure)
    assert numbers[33][36] == pytest.approx(1) and numbers[65][36] > 3


def test_designs_are_drawn_on_one_scale(readable):
    designs = {"wide": ((3, 6), True), "small": ((1,), False)}
    figure, numbers = coverage_figure(designs, view=5)
    readable(figure)
    wide, small = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert wide.shape == small.shape == (5, 5)
    assert numbers["wide"]["size"] == 19 and numbers["small"]["read"] == 9
    assert int((~small.mask).sum()) == 9 and int((~wide.mask).sum()) == 1
    assert figure.axes[-1].get_ylabel() == "paths"
    with pytest.raises(ValueError, match="odd side"):
        coverage_figure(designs, view=4)


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


def test_the_most_missed_part_is_named(readable):
    psp = {"1 x 1": {"G": 53.0, "C": -0.2}, "2 x 2": {"G": 0.1, "C": 25.0}}
    figure, most = worth_figure({"PSP": psp, "ASPP": {"up": {"A": 60.0}, "left": {"A": -1.0}}})
    assert most == {"PSP": {"G": "1 x 1", "C": "2 x 2"}, "ASPP": {"A": "up"}}
    written = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert written == [["53", "0", "0", "25"], ["60", "−1"]]
    readable(figure)
