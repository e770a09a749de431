"""The picture of a pixel that asks."""

from __future__ import annotations

import pytest
import torch

from contextlab import views


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
