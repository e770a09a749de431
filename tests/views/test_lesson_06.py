"""The five tricks and whom each form asks: the figures and the widget."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import probes, views
from contextlab.networks.segmentation import network

FORMS = {"criss_cross": {}, "em_attention": {"bases": 6}}


@pytest.fixture(scope="module")
def networks():
    _ = torch.manual_seed(0)
    return {
        name: network(13, context=name, width=16, kernel=1, context_options=options)
        for name, options in FORMS.items()
    }


def test_the_figure_shows_every_method(networks):
    image = torch.rand(3, 32, 48)
    asks, shape = probes.askers(networks, image)
    assert shape == (8, 12)
    assert list(asks) == ["criss_cross, one hop", "criss_cross, two hops", "em_attention"]
    cue = torch.zeros(32, 48, dtype=torch.bool)
    cue[:8, :8] = True
    maps = {name: ask(3, 4) for name, ask in asks.items()}
    figure, numbers = views.asking_figure(image, maps, (3, 4), cue=cue)
    titles = [t for t in (axes.get_title(loc="left") for axes in figure.axes) if t]
    assert len(titles) == 4 and titles[3].startswith("em_attention: ")
    assert numbers["criss_cross, one hop"]["on_cue"] == 0
    assert numbers["criss_cross, one hop"]["pixels"] <= 8 + 12 - 1


def test_the_widget_answers_to_a_pixel_and_to_a_method(networks):
    image, labels = torch.rand(3, 32, 48), torch.randint(0, 3, (32, 48))
    names = ("sky", "wall", "road")
    widget = views.asking_explorer(networks, image, labels=labels, classes=names, query=(3, 4))
    first = widget.picture.value
    assert widget.query == (3, 4) and "Row 3, column 4" in widget.words.value
    widget.update(5, 6)
    assert widget.query == (5, 6) and widget.picture.value != first
    second = widget.picture.value
    widget.method.value = "em_attention"
    assert widget.picture.value != second
    assert "It works where a kernel runs." in widget._repr_mimebundle_()["text/plain"]


def test_each_trick_keeps_what_it_says():
    figure, numbers = views.five_tricks_figure(4, 5, nodes=3, sides=(1, 2))
    n = 4 * 5
    assert list(numbers.values()) == [n * n, 9, n * (4 + 5 - 1), n * 5, 2 * 3 * n, 3 * n + n]
    assert len(figure.axes) == 6


def test_two_hops_reach_every_pixel_and_the_ways_are_counted():
    _, numbers = views.hops_figure(4, 6, query=(1, 2))
    assert numbers["reached"] == (4 + 6 - 1, 24)
    one, two = numbers["ways"]
    assert set(np.unique(one)) == {0, 1}
    assert two[1, 2] == 4 + 6 - 1  # there and back
    assert two[1, 0] == 6 and two[0, 2] == 4 and two[0, 0] == 2
    with pytest.raises(ValueError, match="inside 4 x 6"):
        views.hops_figure(4, 6, query=(4, 0))


def test_the_spectrum_counts_the_rank():
    narrow = torch.linalg.qr(torch.randn(30, 5))[0]
    _, numbers = views.spectrum_figure(
        {"identity": torch.eye(20), "rank 5": narrow @ narrow.T}, share=0.99, mark=10
    )
    assert numbers == {"identity": 20, "rank 5": 5}
