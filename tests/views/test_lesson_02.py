"""Graphs and smoothing: what is drawn is the graph, and its numbers are those of the steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.modules import laplacian_smoothing, normalised_adjacency


def path(n=5):
    a = torch.diag(torch.ones(n - 1), 1)
    return a + a.T


@pytest.mark.parametrize("positions", ["path", "circle"])
def test_a_graph_with_its_matrix(readable, positions):
    figure, numbers = views.graph_figure(path(), [6, -1, 0, 0.5, 3], positions=positions)
    assert numbers["edges"] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert numbers["degrees"] == [1, 2, 2, 2, 1]
    readable(figure)


def test_weights_and_self_loops_are_written(readable):
    figure, numbers = views.graph_figure(
        normalised_adjacency(path()), names="abcde", weights=True, title="with self loops"
    )
    assert numbers["degrees"] == [1, 2, 2, 2, 1]
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert texts.count("0.41") == 2 and "↻ 0.5" in texts
    readable(figure)


def test_a_matrix_that_is_no_graph_is_refused():
    with pytest.raises(ValueError, match="symmetric matrix"):
        views.graph_figure(torch.triu(torch.ones(3, 3), 1))
    with pytest.raises(ValueError, match="'path' or 'circle'"):
        views.graph_figure(path(), positions="star")


def test_states_on_a_path(readable):
    x = torch.tensor([6.0, 0, 0, 0, 3])
    after = laplacian_smoothing(x[:, None], path(), 1)
    figure, numbers = views.path_figure({"X": x, "one step": after, "difference": x - after[:, 0]})
    assert numbers["X"] == {"mean": pytest.approx(1.8), "spread": 6.0, "roughness": 45.0}
    assert numbers["one step"]["roughness"] < 45
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert "−2" in texts and "1.5" in texts
    readable(figure)
    with pytest.raises(ValueError, match="one length"):
        views.path_figure({"a": [1, 2], "b": [1, 2, 3]})


def test_smoothing_lowers_the_spread(streets, readable):
    figure, spread = views.smoothing_figure(streets[0][0], (0, 1, 4, 16))
    assert list(spread.values()) == sorted(spread.values(), reverse=True)
    readable(figure)
    figure, spread = views.smoothing_figure(streets[0][0], (0, 1), rule="I - A")
    assert spread[1] < spread[0]
    readable(figure)


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


def test_smoothing(streets):
    explorer = views.smoothing_explorer(streets[0][0])
    first = explorer.picture.value
    explorer.update(steps=8)
    second = explorer.picture.value
    explorer.update(rule="I - A", steps=1)
    assert len({first, second, explorer.picture.value}) == 3
    assert "0.0" in explorer.words.value and "at the start" in explorer.words.value
    with pytest.raises(ValueError, match="controls among"):
        explorer.update(step=3)
