"""Graphs around a pixel, the fold and the blocks: what is drawn is what the module asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.modules.graph_guided import edges, edges_of_union, support

SIX = ["LOCAL_2", "LOCAL_4", "LOCAL_6", "GRID_2", "GRID_4", "GRID_6"]


def test_the_graph_around_a_pixel_is_counted_and_drawn(readable, streets):
    graphs = {"LOCAL 2": ["LOCAL_2"], "GRID 4": ["GRID_4"], "FULL": ["FULL"], "all six": SIX}
    for image in (None, streets[0][0]):
        figure, numbers = views.head_graphs_figure(graphs, (16, 32), (9, 12), image=image)
        readable(figure)
    assert numbers["LOCAL 2"]["asked"] == 25 and numbers["GRID 4"]["asked"] == 4 * 8
    assert numbers["FULL"] == {
        "asked": 512, "contexts": 512.0, "edges": 512**2, "union": 512**2, "of_full": 1.0
    }  # fmt: skip
    six, union = numbers["all six"], [support(head, 16, 32, (9, 12)) for head in SIX]
    assert six["asked"] == int(torch.stack(union).any(0).sum())
    assert six["edges"] == sum(edges(head, 16, 32) for head in SIX)
    assert six["union"] == edges_of_union(SIX, 16, 32) < six["edges"]
    drawn = [c.get_offsets() for c in figure.axes[3].collections]
    assert sorted(map(len, drawn)) == sorted(int(s.sum()) for s in union[3:])
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[:3] == ["LOCAL 2", "LOCAL 4", "LOCAL 6"] and words[-1] == "the pixel that asks"


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_panels(readable, count):
    graphs = {f"panel {i}": ["LOCAL_1", "GRID_2"] for i in range(count)}
    readable(views.head_graphs_figure(graphs, (7, 9), (0, 8))[0])


def test_a_fine_map_and_a_long_legend(readable):
    readable(views.head_graphs_figure({"all six": SIX}, (45, 60), (20, 30))[0])


@pytest.mark.parametrize(
    ("h", "w", "stride", "query"), [(6, 6, 2, (2, 3)), (6, 6, 3, (5, 0)), (5, 7, 3, (1, 1))]
)
def test_the_fold_is_the_grid(readable, h, w, stride, query):
    figure, numbers = views.fold_figure(h, w, stride=stride, query=query)
    readable(figure)
    asked = np.flatnonzero(support(f"GRID_{stride}", h, w, query)).tolist()
    assert numbers["asked"] == asked and numbers["lattices"] == stride**2
    assert numbers["pairs"] == edges(f"GRID_{stride}", h, w) < numbers["pairs of FULL"]
    assert numbers["padded"] == (-(-h // stride) * -(-w // stride) * stride**2 - h * w)


def test_the_blocks_hold_every_window(readable):
    figure, numbers = views.blocks_figure()
    readable(figure)
    assert numbers["queries"] == 16 and numbers["keys"] == 64 and numbers["window"] == 25
    assert numbers["edges"] == edges("LOCAL_2", 12, 16) < numbers["computed"]
    figure, numbers = views.blocks_figure(7, 9, radius=3, block=4, query=(0, 8))
    readable(figure)
    assert numbers["queries"] == 4 * 1 and numbers["keys"] == 7 * 4, "cut by the border"
    halos = [(0, 7), (1, 7)], [(0, 7), (1, 9), (5, 9)]
    sides = [(4, 3), (4, 4, 1)]
    want = [sum(n * (b - a) for n, (a, b) in zip(s, hs)) for s, hs in zip(sides, halos)]
    assert numbers["computed"] == want[0] * want[1]


def test_the_twin_of_the_widget(readable, streets):
    weights = torch.rand(2, 16, 32)
    figure, numbers = views.asked_graph_figure(
        streets[0][0], ["LOCAL_2", "GRID_4"], (3, 4), shape=(16, 32), weights=weights
    )
    readable(figure)
    assert len(figure.axes) == 2 and numbers["asked"] == 25 + 32 - 1 - 0
    figure, _ = views.asked_graph_figure(streets[0][0], [*SIX, "FULL"], (0, 0), shape=(16, 32))
    readable(figure)
    assert len(figure.axes) == 1


def test_a_pixel_outside_and_a_wrong_head_are_named(streets):
    with pytest.raises(ValueError, match=r"inside 6 x 6, got \(6, 0\)"):
        views.fold_figure(query=(6, 0))
    with pytest.raises(ValueError, match=r"inside 4 x 4, got \(0, 4\)"):
        views.head_graphs_figure({"a": ["FULL"]}, (4, 4), (0, 4))
    with pytest.raises(ValueError, match="RING_3"):
        views.head_graphs_figure({"a": ["RING_3"]}, (4, 4), (0, 0))
