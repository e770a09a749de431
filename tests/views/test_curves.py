"""Curves: means of losses, exponents of costs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from contextlab import views


def test_training_curves_average_the_ends(readable):
    losses = [4.0] * 10 + [1.0] * 30
    history = SimpleNamespace(loss=list(np.linspace(3, 1, 100)))
    figure, numbers = views.training_curves({"a": losses, "b": history}, smooth=10)
    assert numbers["a"] == {"first": pytest.approx(4), "last": pytest.approx(1)}
    assert numbers["b"]["last"] == pytest.approx(np.linspace(3, 1, 100)[-10:].mean())
    readable(figure)


def test_a_run_shorter_than_the_window(readable):
    figure, numbers = views.training_curves({"smoke": [2.0, 1.0, 0.9]})
    assert numbers["smoke"]["last"] == pytest.approx(1.3)
    readable(figure)
    with pytest.raises(ValueError, match="losses for 'none'"):
        views.training_curves({"none": []})


def test_cost_curves_fit_their_exponents(readable):
    sizes = [1024, 4096, 9216]
    costs = {"plain": [n**2 / 1e5 for n in sizes], "fused": [n / 1e3 for n in sizes]}
    figure, fits = views.cost_curves(sizes, costs, limit=("16 GiB", 16384.0), title="The wall")
    assert fits["plain"].exponent == pytest.approx(2)
    assert fits["fused"].exponent == pytest.approx(1)
    labels = [t.get_text() for t in figure.axes[0].get_legend().texts]
    assert labels == ["plain: exponent 2.00", "fused: exponent 1.00"]
    readable(figure)
