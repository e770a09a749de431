"""Taps as figures: what they count is what a convolution reads."""

import pytest
import torch
import torch.nn.functional as F

from contextlab.views import (
    coverage,
    coverage_figure,
    padding_figure,
    padding_free,
    taps_explorer,
    taps_figure,
    taps_of,
)


@pytest.mark.parametrize("shape, rate", [((16, 32), 9), ((5, 7), 6), ((33, 33), 36), ((1, 1), 1)])
def test_padding_is_what_a_convolution_of_ones_misses(shape, rate):
    ones = torch.ones(1, 1, *shape, dtype=torch.float64)
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    read = F.conv2d(ones, kernel, padding=rate, dilation=rate)
    assert padding_free(shape, rate) == pytest.approx(read.mean().item() / 9)


@pytest.mark.parametrize("rates, stacked", [((1, 2), True), ((2, 3), False), ((3, 1, 2), True)])
def test_coverage_counts_the_paths_of_convolutions(rates, stacked):
    side = 2 * (sum(rates) if stacked else max(rates)) + 1
    one = torch.zeros(1, 1, side, side)
    one[..., side // 2, side // 2] = 1
    kernel = torch.ones(1, 1, 3, 3)
    maps, x = [], one
    for rate in rates:
        y = F.conv2d(x, kernel, padding=rate, dilation=rate)
        maps.append(y)
        x = y if stacked else one
    want = maps[-1] if stacked else sum(maps)
    assert torch.equal(coverage(rates, stacked=stacked).float(), want[0, 0])


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
