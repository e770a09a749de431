"""Graphs: what is drawn is the graph, and steps on the grid are those of the modules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import views
from contextlab.modules import grid_adjacency, laplacian_smoothing, normalised_adjacency


def path(n=5):
    a = torch.diag(torch.ones(n - 1), 1)
    return a + a.T


@settings(deadline=None, max_examples=20)
@given(
    h=st.integers(1, 5),
    w=st.integers(1, 6),
    steps=st.integers(0, 3),
    neighbours=st.sampled_from([4, 8]),
)
def test_propagation_is_laplacian_smoothing_on_the_grid(h, w, steps, neighbours):
    x = torch.rand(h, w, generator=torch.Generator().manual_seed(h * w), dtype=torch.float64)
    adjacency = grid_adjacency(h, w, neighbours=neighbours).double()
    expected = laplacian_smoothing(x.reshape(-1, 1), adjacency, steps).reshape(h, w)
    torch.testing.assert_close(views.propagate(x, steps, neighbours=neighbours), expected)
    once = x - laplacian_smoothing(x.reshape(-1, 1), adjacency, 1).reshape(h, w)
    torch.testing.assert_close(views.propagate(x, 1, rule="I - A", neighbours=neighbours), once)


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


@pytest.mark.parametrize("neighbours", [4, 8])
def test_a_piece_of_an_image_as_a_graph(streets, readable, neighbours):
    figure, numbers = views.grid_figure(
        streets[0][0], corner=(30, 60), size=(5, 7), neighbours=neighbours
    )
    edges = int(grid_adjacency(5, 7, neighbours=neighbours).sum()) // 2
    assert numbers == {"nodes": 35, "edges": edges}
    readable(figure)


def test_wrong_pieces_are_refused(streets):
    with pytest.raises(ValueError, match="inside"):
        views.grid_figure(streets[0][0], corner=(60, 0))
    with pytest.raises(ValueError, match="4 or 8 neighbours, got 6"):
        views.grid_figure(streets[0][0], neighbours=6)
    with pytest.raises(ValueError, match="'A' or 'I - A'"):
        views.propagate(torch.ones(2, 2), 1, rule="A - I")


def test_smoothing_lowers_the_spread(streets, readable):
    figure, spread = views.smoothing_figure(streets[0][0], (0, 1, 4, 16))
    assert list(spread.values()) == sorted(spread.values(), reverse=True)
    readable(figure)
    figure, spread = views.smoothing_figure(streets[0][0], (0, 1), rule="I - A")
    assert spread[1] < spread[0]
    readable(figure)
