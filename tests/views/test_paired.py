"""Paired differences are drawn as they are: dots, mean, interval, and what is decided."""

import math

import pytest

from contextlab import views
from contextlab.claims import Paired
from contextlab.views.palette import SERIES


def test_an_interval_off_zero_is_blue_and_one_that_holds_it_is_not():
    rows = {"clear": Paired((4.0, 5.0, 6.0)), "open": Paired((-3.0, 0.5, 4.0))}
    figure, numbers = views.paired_figure(rows, band=1.0, headings={"open": "another question"})
    assert numbers["clear"][0] == pytest.approx(5)
    assert numbers["clear"][1] > 0 > numbers["open"][1]
    bars = [line for line in figure.axes[0].lines if line.get_linewidth() == pytest.approx(3.2)]
    assert [line.get_color() == SERIES[0] for line in bars] == [True, False]
    assert bars[0].get_xdata()[0] == pytest.approx(numbers["clear"][1])
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["clear", "open"]


def test_a_single_pair_has_no_interval_and_the_published_figure_lies_inside():
    figure, numbers = views.paired_figure({"one": [2.0]}, published={"one": 9.0})
    assert numbers["one"] == (2.0, -math.inf, math.inf)
    low, high = figure.axes[0].get_xlim()
    assert low < 0 and high > 9
    assert not [line for line in figure.axes[0].lines if line.get_markersize() == 4]
    assert "published" in figure.axes[0].get_xlabel()


def test_the_whole_band_is_seen():
    figure, _ = views.paired_figure({"one": [0.1, 0.2]}, band=1.0)
    low, high = figure.axes[0].get_xlim()
    assert low < -1 and high > 1


def test_a_row_without_a_difference_is_refused():
    with pytest.raises(ValueError, match="expected at least one difference for 'none'"):
        views.paired_figure({"none": []})
