"""The pictures of cells and concepts, on maps whose answer is known."""

import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.networks.segmentation import network

IMAGE = torch.rand(3, 32, 64, generator=torch.Generator().manual_seed(0))
SHAPE = (8, 16)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    options = {"cell": 2, "zero_init": False}
    return network(5, context="coordinate_graph", context_options=options, width=16, kernel=1)


def test_askers_tell_the_rows_of_the_graph_at_every_size(model):
    asks, shape = views.cell_askers(model, IMAGE, (1, 2, 4, 16))
    assert shape == SHAPE
    assert [tuple(ask(7, 9).shape) for ask in asks.values()] == [(8, 16), (4, 8), (2, 4), (1, 1)]
    with torch.no_grad():
        x = model.eval().features(IMAGE[None])
    assert torch.equal(asks[2](7, 9), model.slot.affinity(x, (7, 9))[0, 0])
    assert torch.equal(asks[2](7, 9), asks[2](6, 8)), "one cell has one row"
    assert model.slot.cell == 2, "the network itself is left as it was"


def test_askers_find_the_graph_inside_both_and_refuse_others():
    dual = network(5, context="dual_graph", context_options={"cell": 2}, width=16, kernel=1)
    assert views.cell_askers(dual, IMAGE, (2,))[1] == SHAPE
    strided = {"cell": 2, "project": "strided"}
    for name, options in (("non_local", {}), ("coordinate_graph", strided)):
        other = network(5, context=name, context_options=options, width=16, kernel=1)
        with pytest.raises(ValueError, match="coordinate graph over averaged cells"):
            views.cell_askers(other, IMAGE, (2,))


def test_cells_figure_counts_signs_and_the_cue():
    edges = torch.zeros(4, 8)
    edges[0, 0], edges[1, 1] = 3.0, -1.0
    cue = torch.zeros(32, 64, dtype=torch.bool)
    cue[:8, :8] = True  # the first cell
    figure, numbers = views.cells_figure(IMAGE, {2: edges}, (5, 5), shape=SHAPE, cue=cue)
    want = {"cells": 32, "positive": 0.75, "on_cue": 0.75, "cue_area": 1 / 32}
    assert numbers[2] == pytest.approx(want)
    assert len(figure.axes[0].patches) == 2, "the own cell is framed"
    before = len(figure.axes[0].collections)
    figure, _ = views.cells_figure(IMAGE, {2: edges}, (5, 5), shape=SHAPE, cue=cue, own=cue)
    assert len(figure.axes[0].collections) == before + 2 and "its cue" in figure.get_supxlabel()


def test_cut_cells_cover_the_rest_of_the_image():
    edges = torch.arange(6.0).reshape(2, 3)  # cells of 5 on a map of 8 x 13, 4 pixels a position
    image = torch.zeros(3, 32, 52)
    figure, numbers = views.cells_figure(image, {5: edges}, (7, 12), shape=(8, 13))
    assert numbers[5]["cells"] == 6
    box = figure.axes[0].patches[0]
    assert box.get_xy() == (39.5, 19.5), "the last cell begins after whole ones"


def test_the_slider_and_the_mosaic_draw_anew(model):
    labels = torch.zeros(32, 64, dtype=torch.int64)
    names = ("all", "b", "c", "d", "e")
    widget = views.cell_explorer(model, IMAGE, labels=labels, classes=names, place=(3, 3))
    first, words = widget.picture.value, widget.words.value
    assert "<b>512</b>" not in words and "<b>128</b>" in words and "all" in words
    widget.cell.value = 4
    second = widget.picture.value
    assert second != first and "<b>8</b>" in widget.words.value
    widget.update(7, 15)
    assert widget.picture.value != second and "row 7, column 15" in widget.words.value
    assert "works where a kernel runs" in widget._repr_mimebundle_()["text/plain"]


def test_node_maps_tell_the_positive_share():
    maps = {"half": torch.tensor([[1.0, -1.0]]), "all": torch.ones(2, 2), "none": torch.zeros(1, 1)}
    figure, numbers = views.node_maps_figure(IMAGE, maps, columns=2)
    assert numbers == {"half": 0.5, "all": 1.0, "none": 0.0}
    shown = figure.axes[1].images[0].get_array()
    assert np.ptp(shown[:, :32].mean((0, 1)) - shown[:, 32:].mean((0, 1))) > 0.1, "two colours"


def test_two_graphs_count_their_lines():
    maps, adjacency = torch.randn(4, 8, 16), torch.randn(4, 4)
    figure, numbers = views.two_graphs_figure(IMAGE, torch.randn(4, 8), (1, 2), maps, adjacency)
    assert numbers == {"cells": 32, "concepts": 6}
    assert len(figure.axes[0].collections[0].get_paths()) == 32


def test_hard_pixels_tell_what_is_kept():
    p = torch.linspace(0, 1, 32 * 64).reshape(32, 64)
    _, numbers = views.hard_pixels_figure(IMAGE, p, {"half": p <= 0.5, "none": p < 0})
    assert numbers == {"half": 0.5, "none": 0.0}
