"""Look-alikes, agreement, leaks, and the explorer of graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.modules.graph_guided import edges, support
from contextlab.networks.segmentation import network
from contextlab.probes import Asker
from contextlab.probes.agreement import Agreement
from contextlab.views.lesson_09 import along


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    forms = {
        "FULL": ("non_local", {"scale": True}),
        "ours": ("graph_guided", {"heads": ["LOCAL_1", "GRID_3"], "scale": True}),
    }
    return {
        name: network(13, context=kind, context_options=options, width=16, kernel=1)
        for name, (kind, options) in forms.items()
    }


def test_likes_that_mislead_are_counted(readable, streets):
    image, labels = streets[3]
    row, column = 30, 20
    own = (labels == labels[row, column]).float()
    maps = {"right": own[None].repeat(2, 1, 1), "wrong": (1 - own)[None].repeat(2, 1, 1)}
    marked = [(row, column), (row, column)]
    figure, numbers = views.similarity_figure(image, marked, maps, labels=labels)
    readable(figure)
    assert numbers["right"][0] == {"own": 1, "other": 0, "misled": 0}
    assert numbers["wrong"][1] == {"own": 0, "other": 1, "misled": 1}
    one = {"some layer": torch.rand(1, 16, 32)}
    readable(views.similarity_figure(image, marked[:1], one)[0])


def test_agreement_is_drawn_beside_chance(readable):
    distances = np.array([1, 2, 4, 8])
    far = Agreement(distances, np.array([0.9, 0.8, 0.5, 0.2]), np.full(4, 0.2), 0.15, distances)
    near = Agreement(distances[:2], np.array([0.4, 0.3]), np.full(2, 0.2), 0.1, distances[:2])
    figure, numbers = views.agreement_figure({"streets": far, "CamVid": near}, marks={"LOCAL 2": 4})
    readable(figure)
    assert numbers["streets"] == {"near": 0.9, "far": 0.2, "half": 4.0, "chance": 0.15}
    assert numbers["CamVid"]["half"] == 0


def test_leaks_and_look_alikes_by_network(readable):
    row = {"loss at": "wall", "gradient at": "fence", "share": 0.1, "area": 0.05}
    back = {**row, "loss at": "fence", "gradient at": "wall", "share": 0.2}
    figure, numbers = views.leakage_figure({"FULL": [row, back], "ours": [back, row]})
    readable(figure)
    assert numbers["FULL"] == {"wall → fence": 0.1, "fence → wall": 0.2}
    pairs = [{"a": "wall", "b": "fence", "swapped": 0.25}, {"a": "bus", "b": "car", "swapped": 0.0}]
    figure, numbers = views.look_alikes_figure({"FULL": pairs, "ours": pairs}, title="confuser")
    readable(figure)
    assert numbers["ours"] == {"wall, fence": 0.25, "bus, car": 0.0}
    assert figure.axes[0].get_xlim()[0] < 0, "a mark at 0 is whole"


def test_a_part_of_a_softmax_is_a_softmax_of_the_part():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    weights = logits.flatten().softmax(0).reshape(1, 5, 7)
    heads = ["LOCAL_1", "GRID_2", "FULL"]
    kept = along(weights, heads, (2, 3))
    for one, head in zip(kept, heads):
        mask = support(head, 5, 7, (2, 3))
        want = logits.masked_fill(~mask, float("-inf")).flatten().softmax(0).reshape(5, 7)
        torch.testing.assert_close(one, want)
    with pytest.raises(ValueError, match="1 or 3 heads, got 2"):
        along(weights.repeat(2, 1, 1), heads, (2, 3))


def test_the_explorer_draws_a_graph_its_cost_and_whom_it_asks(networks, streets):
    image, labels = streets[3]
    widget = views.graph_explorer(
        image, networks, labels=labels, classes=streets.classes, query=(8, 16), width=8
    )
    assert widget.heads == ["LOCAL_2", "GRID_4"] and "FULL: Row 8, column 16" in widget.words.value
    total = edges("LOCAL_2", 16, 32) + edges("GRID_4", 16, 32)
    assert f"{total:,} edges" in widget.words.value
    assert f"{2 * 8 * total / 1e6:.1f} MMACs at width 8" in widget.words.value
    seen = {widget.picture.value}
    widget.local.value = 5
    seen.add(widget.picture.value)
    widget.kinds.value = ("GRID", "FULL")
    assert widget.heads == ["GRID_4", "FULL"]
    seen.add(widget.picture.value)
    widget.update(0, 31)
    seen.add(widget.picture.value)
    widget.kinds.value = ()
    assert widget.heads == ["FULL"], "nothing chosen asks everyone"
    widget.method.value = "ours"
    seen.add(widget.picture.value)
    assert len(seen) == 5
    assert widget.heads == ["LOCAL_1", "GRID_3"] and widget.local.disabled
    assert (
        "LOCAL 1, GRID 3" in widget.words.value and "ours: Row 0, column 31" in widget.words.value
    )
    weights = Asker(networks["ours"], image)(0, 31)
    torch.testing.assert_close(along(weights, widget.heads, (0, 31)), weights)
    assert "works where a kernel runs" in widget._repr_mimebundle_()["text/plain"]


def test_the_explorer_needs_no_network(streets):
    widget = views.graph_explorer(streets[0][0], shape=(8, 16))
    assert "asks 32 of 128" in widget.words.value and len(widget.children) == 5
    widget.grid.value = 16
    assert "asks 25 of 128" in widget.words.value
    with pytest.raises(ValueError, match="at most 1024 positions"):
        views.graph_explorer(streets[0][0], shape=(64, 128))


def test_maps_of_two_sizes_are_refused(networks, streets):
    with pytest.raises(ValueError, match=r"maps of \(8, 16\), got \(16, 32\) of FULL"):
        views.graph_explorer(streets[0][0], networks, shape=(8, 16))
