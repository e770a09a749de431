"""Curves of growth: what is fitted is what is drawn."""

from __future__ import annotations

import pytest

from contextlab import views


def test_growth_fits_what_it_draws(readable):
    depths = [1, 4, 16]
    figure, fits = views.growth_figure(depths, {"theoretical": [2, 8, 32], "effective": [2, 4, 8]})
    assert fits["theoretical"].exponent == pytest.approx(1)
    assert fits["effective"].exponent == pytest.approx(0.5)
    labels = [t.get_text() for t in figure.axes[1].get_legend().texts]
    assert "1.00" in labels[0] and "0.50" in labels[1]
    readable(figure)
