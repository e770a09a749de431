"""Smoothing: what stays and what goes, factors of a step, how far networks reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import views


def test_two_answers_add_up(streets, readable):
    image, _ = streets[0]
    figure, numbers = views.two_answers_figure(image, (20, 30), (9, 11), steps=2)
    assert 0 < numbers["A"] < numbers["X"] and numbers["I - A"] > 0
    readable(figure)
    _, numbers = views.two_answers_figure(torch.ones(3, 15, 18), (1, 1))
    assert numbers["I - A"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="inside"):
        views.two_answers_figure(image, (60, 0))


def test_the_decay_follows_its_rate(readable):
    curves = {"slow": 0.9 ** np.arange(20), "fast": 0.5 ** np.arange(20), "at once": [1.0, 0.0]}
    rates = {"slow": 0.9, "fast": 0.5, "at once": 0.0}
    figure, factors = views.decay_figure(curves, rates)
    assert factors == {
        "slow": pytest.approx(0.9),
        "fast": pytest.approx(0.5),
        "at once": 0.0,
    }
    readable(figure)


@pytest.mark.parametrize(("curve", "rates"), [([1.0, 0.5], {}), ([1.0], {"a": 0.5})])
def test_a_decay_needs_steps_and_a_rate(curve, rates):
    with pytest.raises(ValueError, match="'a'"):
        views.decay_figure({"a": curve}, rates)


def test_reach_is_the_mean_distance(readable):
    wide = torch.zeros(41, 41)
    wide[20, 10] = wide[20, 30] = wide[10, 20] = wide[30, 20] = 1
    point = torch.zeros(41, 41)
    point[20, 20] = 3
    sizes = {"wide": (21, 21), "point": (9, 9)}
    figure, numbers = views.reach_figure({"wide": wide, "point": point}, sizes)
    assert numbers == {"wide": pytest.approx(10), "point": pytest.approx(0)}
    readable(figure)
    with pytest.raises(ValueError, match="sizes for"):
        views.reach_figure({"wide": wide}, sizes)
