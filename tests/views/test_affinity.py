"""Whom a pixel asks: numbers of the weights, the picture, and a network's answers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import views
from contextlab.networks.segmentation import network


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    options = {"heads": 2}
    return network(
        13, context="non_local", context_options=options, width=64, kernel=1, auxiliary=False
    )


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 20))
def test_n_equal_weights_ask_n_pixels(n):
    weights = torch.zeros(4, 5)
    weights.view(-1)[:n] = 3.0
    numbers = views.asked(weights)
    assert numbers["pixels"] == pytest.approx(n) and numbers["top"] == pytest.approx(1 / n)
    assert numbers["peak"] == (0, 0)


def test_the_share_on_the_cue():
    weights = torch.zeros(2, 4)
    weights[0, 1], weights[1, 3] = 0.75, 0.25
    cue = torch.zeros(4, 8, dtype=torch.bool)
    cue[0:2, 2:4] = True
    numbers = views.asked(weights, cue)
    assert numbers["on_cue"] == 0.75 and numbers["cue_area"] == 1 / 8
    with pytest.raises(ValueError, match="multiple of"):
        views.asked(weights, torch.zeros(5, 8))


def test_the_asker_gives_the_modules_affinity(model, streets):
    image, _ = streets[0]
    model.train()
    ask = views.Asker(model, image)
    assert model.training, "the mode is left as it was"
    model.eval()
    assert ask.shape == (16, 32)
    expected = model.slot.affinity(model.features(image[None]), query=(9, 20))[0]
    torch.testing.assert_close(ask(9, 20), expected)
    assert ask(0, 0).sum((1, 2)) == pytest.approx([1, 1])


def test_a_network_without_affinities_is_refused(streets):
    with pytest.raises(ValueError, match="affinity method, got Identity"):
        views.Asker(network(13, width=64, kernel=1, auxiliary=False), streets[0][0])


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
def test_figures_of_any_number_of_heads(streets, readable, heads):
    weights = torch.rand(heads, 16, 32, generator=torch.Generator().manual_seed(0))
    figure, numbers = views.affinity_figure(streets[0][0], weights, (9, 20), cue=streets.cue(0)[1])
    assert len(numbers["heads"]) == heads and numbers["query"] == (9, 20)
    assert sum(1 for axes in figure.axes if axes.images) == heads + 1
    image = readable(figure)
    ring = (abs(image.astype(int) - (86, 180, 233)).sum(2) < 30).sum()
    assert ring > 20 * (heads + 1), "the query is marked in every panel"


def test_light_falls_where_the_weight_is(streets):
    weights = torch.zeros(16, 32)
    weights[2, 3] = 1
    figure, _ = views.affinity_figure(streets[0][0], weights, (9, 20))
    shown = figure.axes[1].images[0].get_array()
    bright = shown.sum(2) > 2
    assert bright[8:12, 12:16].all() and bright.sum() == 16


def test_a_query_outside_is_refused(streets):
    with pytest.raises(ValueError, match="inside 16 x 32, got"):
        views.affinity_figure(streets[0][0], torch.ones(16, 32), (16, 0))
