"""Squeeze reasoning is drawn as it is."""

from __future__ import annotations

import pytest
import torch

from contextlab import views
from contextlab.networks.segmentation import network


def small(**options):
    torch.manual_seed(0)
    options = {"nodes": 4, **options}
    sizes = {"width": 16, "kernel": 1, "auxiliary": False}
    return network(13, context="squeeze_reasoning", context_options=options, **sizes)


def test_a_node_is_drawn_with_its_states_and_the_loudest_pixel():
    speak = torch.zeros(3, 2, 4, 6)
    speak[1, 0, 2, 5], speak[1, 1, 0, 3] = 7.0, -9.0
    inside = {"speak": speak, "nodes": speak.mean((2, 3)), "answer": torch.ones(3, 2)}
    figure, numbers = views.node_figure(torch.rand(3, 16, 24), inside, 1)
    assert numbers["loudest"] == [(2, 5), (0, 3)] and numbers["answer"] == [1.0, 1.0]
    assert numbers["squeezed"] == pytest.approx([7 / 24, -9 / 24])
    assert len(figure.axes) == 1 + 2 + 2
    assert [t.get_text() for t in figure.axes[1].get_yticklabels()] == ["0", "1", "2"]
    assert "9.0 at one pixel" in figure.get_supxlabel()
    with pytest.raises(ValueError, match="expected a node from 0 to 2, got 3"):
        views.node_figure(torch.rand(3, 16, 24), inside, 3)


def test_the_explorer_draws_anew_for_another_node_and_another_image():
    scenes = [(torch.rand(3, 32, 48), None) for _ in range(3)]
    widget = views.node_explorer(small(), scenes)
    seen = [bytes(widget.picture.value)]
    for choice in ({"node": 3}, {"index": 2}):
        widget.update(**choice)
        seen.append(bytes(widget.picture.value))
        assert bytes(widget.picture.value).startswith(b"\x89PNG")
    assert len(set(seen)) == 3
    assert "node 3" in widget.words.value and "image 2" in widget.words.value


def test_the_explorer_changes_to_another_number_of_nodes(monkeypatch):
    drawn = []
    original = views.lesson_08.node_figure
    monkeypatch.setattr(
        views.lesson_08, "node_figure", lambda *a: (drawn.append(a[2]), original(*a))[1]
    )
    networks = {k: small(nodes=k) for k in (1, 4, 8)}
    widget = views.node_explorer(networks, [(torch.rand(3, 32, 48), None)], nodes=4, node=3)
    slider = widget._controls["node"]
    assert slider.max == 3 and not slider.disabled
    for k, node in ((1, 0), (8, 0)):
        before = bytes(widget.picture.value)
        widget.update(nodes=k)
        assert (slider.max, slider.value, slider.disabled) == (k - 1, node, k == 1)
        assert f"of {k}, image 0" in widget.words.value
        assert bytes(widget.picture.value) != before
    assert drawn == [3, 0, 0]  # once each
    with pytest.raises(ValueError, match="expected networks by the number of their nodes, got"):
        views.node_explorer({2: networks[4]}, [])
    with pytest.raises(ValueError, match=r"got \{\}"):
        views.node_explorer({}, [])


def test_of_many_states_the_loudest_are_drawn():
    speak = torch.zeros(1, 10, 4, 6)
    for state, value in enumerate((1, 9, 2, 8, 3, -7, 4, 6, 0.1, 5)):
        speak[0, state, 1, 1] = value
    inside = {"speak": speak, "nodes": speak.mean((2, 3)), "answer": torch.ones(1, 10)}
    figure, numbers = views.node_figure(torch.rand(3, 16, 24), inside, 0)
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert [t.split(":")[0] for t in titles if t.startswith("state")] == [
        f"state {i}" for i in (1, 2, 3, 4, 5, 6, 7, 9)
    ]
    assert "the 8 loudest of 10 states" in figure.get_supxlabel()
    assert len(numbers["loudest"]) == 10


def test_the_story_has_five_panels():
    figure, numbers = views.reasoning_figure(
        torch.rand(3, 16, 32), torch.randn(4, 2), torch.rand(4, 2)
    )
    assert numbers == {"nodes": 4, "states": 2} and len(figure.axes) == 5
    assert len(figure.artists) == 5 + 5 + 2


def test_grouping_counts_the_channels_that_come_home():
    joins = [0, 0, 1, 1]
    figure, numbers = views.grouping_figure(
        {"straight": [*joins, 0, 1, 2, 3], "mixed": [0, 1, 0, 1, 0, 2, 1, 3]}, 2
    )
    assert numbers == {"straight": 4, "mixed": 2}
    texts = [t.get_text() for t in figure.axes[1].texts]
    assert texts[1::2][:4] == ["0", "2", "1", "3"]


def test_matrices_count_what_is_not_zero():
    figure, numbers = views.matrices_figure({"full": torch.ones(3, 3), "diagonal": torch.eye(4)})
    assert numbers == {"full": 9, "diagonal": 4}
    assert figure.axes[1].images[0].get_clim() == (-1, 1)


def test_a_small_entry_is_seen_beside_a_large_one_and_keeps_its_sign():
    figure, _ = views.matrices_figure({"both": torch.tensor([[4.0, -1.0], [0.0, 0.25]])})
    assert figure.axes[0].images[0].get_array().tolist() == [[1.0, -0.5], [0.0, 0.25]]
    assert len(figure.axes) == 2  # the matrix and its colour bar
