"""The pictures of cells and of two graphs, on maps whose answer is known."""

from __future__ import annotations

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


def test_two_graphs_count_their_lines():
    maps, adjacency = torch.randn(4, 8, 16), torch.randn(4, 4)
    figure, numbers = views.two_graphs_figure(IMAGE, torch.randn(4, 8), (1, 2), maps, adjacency)
    assert numbers == {"cells": 32, "concepts": 6}
    assert len(figure.axes[0].collections[0].get_paths()) == 32


def test_hard_pixels_tell_what_is_kept():
    p = torch.linspace(0, 1, 32 * 64).reshape(32, 64)
    _, numbers = views.hard_pixels_figure(IMAGE, p, {"half": p <= 0.5, "none": p < 0})
    assert numbers == {"half": 0.5, "none": 0.0}
