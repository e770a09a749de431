"""Regions, prototypes and their weights, the parts of CGRSeg, and the eight networks."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.views.lesson_12 import PART_COLOURS

K, C = 13, 24


@pytest.fixture
def seen(streets):
    """An image, and what a head might make of it."""
    draw = torch.Generator().manual_seed(0)
    regions = torch.randn(K, 16 * 32, generator=draw).softmax(-1).reshape(K, 16, 32)
    p, e = torch.randn(C, K, generator=draw), torch.randn(K, generator=draw).softmax(0)
    return streets[3][0], regions, p, e, torch.rand(C, generator=draw)


def test_from_regions_to_the_gate(readable, seen, streets):
    image, regions, p, e, gate = seen
    figure, numbers = views.gather_figure(
        image, regions, p, e, gate, streets.classes, chosen=[0, 2, 5, 7]
    )
    readable(figure)
    assert numbers["wall"] == pytest.approx(e[2].item())
    assert numbers["others"] == pytest.approx(1 - e[[0, 2, 5, 7]].sum().item())
    assert numbers["lowest"] == pytest.approx(gate.min().item())


def test_an_open_gate_is_drawn_as_well(readable, seen, streets):
    image, regions, p, e, gate = seen
    constant = torch.ones_like(gate)
    figure, numbers = views.gather_figure(
        image, regions, 0 * p, e, constant, streets.classes, chosen=[1]
    )
    readable(figure)
    assert numbers["lowest"] == numbers["highest"] == 1


def test_a_class_in_two_streets(readable, seen, streets):
    image, regions, p, _, _ = seen
    figure, numbers = views.two_streets_figure(
        [image, streets[4][0]], [regions[0], regions[1]], p[:, :2].T, p[:, 0], "sky"
    )
    readable(figure)
    assert numbers["cosine"][0] == pytest.approx(1)
    assert numbers["cosine"][1] == pytest.approx(
        torch.cosine_similarity(p[:, 0], p[:, 1], dim=0).item(), abs=1e-5
    )


def test_weights_of_the_classes_in_many_images(readable, streets):
    e = torch.randn(20, K, generator=torch.Generator().manual_seed(1)).softmax(-1)
    figure, numbers = views.embedding_figure(e, streets.classes, [1 / K] * K)
    readable(figure)
    means = [mean for mean, _ in numbers.values()]
    assert means == sorted(means, reverse=True) and sum(means) == pytest.approx(1)
    assert numbers["bus"][1] == pytest.approx(e[:, 10].std(correction=0).item(), abs=1e-6)
    readable(views.embedding_figure(e, streets.classes)[0])


def test_prototypes_of_many_images_fall_apart_by_class(readable, streets):
    draw = np.random.default_rng(0)
    centres = 5 * draw.standard_normal((1, C, K))
    noise = draw.standard_normal((12, C, K))
    between = []
    for scale in (0, 0.5, 5):
        figure, numbers = views.prototype_space_figure(
            centres + scale * noise, streets.classes, streets.palette, one=2
        )
        readable(figure)
        assert 0 < numbers["shown"] <= 1
        between.append(numbers["between"])
    assert between[0] == pytest.approx(1) and between[0] > between[1] > between[2]


def test_the_parts_have_their_colours(readable):
    figure, words = views.parts_figure()
    image = readable(figure)
    assert list(words) == list(PART_COLOURS)
    for colour in PART_COLOURS.values():
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(image.astype(int) - rgb).max(-1) < 3).mean() > 0.005


def _all(score):
    return {
        frozenset(some): score(some) for n in range(4) for some in combinations(PART_COLOURS, n)
    }


def test_gains_are_means_over_four_pairs(readable):
    worth = {"context": 2.0, "reconstruction": 1.0, "prototypes": 0.5}
    scores = _all(lambda some: [60 + sum(worth[part] for part in some) + i for i in (0, 1)])
    figure, gains = views.factorial_figure(scores, [frozenset()])
    readable(figure)
    assert gains == pytest.approx(worth)
    same_work = _all(lambda some: [70.0 if some else 60.0])
    assert views.factorial_figure(same_work)[1] == pytest.approx(dict.fromkeys(worth, 2.5))


def test_networks_may_be_missing(readable):
    scores = {frozenset(): [60.0], frozenset(["context"]): [63.0], frozenset(["prototypes"]): []}
    figure, gains = views.factorial_figure(scores)
    readable(figure)
    assert gains == {"context": 3.0}
    with pytest.raises(ValueError, match="got strips"):
        views.factorial_figure({frozenset(["strips"]): [1.0]})


def test_one_class_and_the_explorer(readable, seen, streets):
    image, regions, _, e, _ = seen
    cosine = 2 * torch.rand(K, 16, 32) - 1
    figure, numbers = views.prototype_figure(image, regions[3], cosine[3], e, streets.classes, 3)
    readable(figure)
    flat = torch.full((16, 32), 1 / 512)
    spread = views.prototype_figure(image, flat, cosine[3], e, streets.classes, 3)[1]["pixels"]
    assert numbers["weight"] == pytest.approx(e[3].item()) and spread == pytest.approx(512)
    both = {"this image": cosine, "the data set": -cosine}
    widget = views.prototype_explorer(image, regions, both, e, streets.classes, chosen=3)
    pictures = {widget.picture.value}
    assert "<b>fence</b>" in widget.words.value
    widget.update(prototype="the data set")
    pictures.add(widget.picture.value)
    widget.update(of="truck")
    pictures.add(widget.picture.value)
    assert len(pictures) == 3 and f"{e[11].item():.0%} of the weight" in widget.words.value
    assert "works where a kernel runs" in widget._repr_mimebundle_()["text/plain"]
