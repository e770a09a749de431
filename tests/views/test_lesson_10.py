"""Pruned neighbours, learned graphs and receptive fields: numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.modules.graph_guided import GraphGuided
from contextlab.probes.pruning import Pruned


def test_curves_against_share_and_count(readable):
    draw = np.random.default_rng(0)
    points = [(None, 100.0, 1.0), (0.5, 50.0, 0.5), (1, 6.0, 0.06)]
    scores = {
        name: [
            Pruned(rule, *point, draw.integers(1, 50, (2, 3, 3)))
            for rule in rules
            for point in points
        ]
        for name, rules in {"FULL": ("top", "random"), "ours": ("top", "random", "lowest")}.items()
    }
    figure, numbers = views.pruning_figure(scores)
    readable(figure)
    assert list(numbers["ours"]) == ["top", "random", "lowest"] and len(numbers["FULL"]) == 2
    assert set(numbers["FULL"]["top"]) == {"chosen", "where chosen", "judged"}
    share, count = (axes.lines[0].get_xdata() for axes in figure.axes)
    assert list(share) == [6, 50, 100] and list(count) == [6, 50, 100]


def test_a_bump_around_the_pixel_is_near(readable):
    y, x = np.mgrid[-7:8, -15:16]
    bump, flat = -np.hypot(y, x), np.zeros((15, 31))
    side = np.where((y == 2) & (x == -3), 3.0, 0)  # i - j = (2, -3): the answer stands at (-2, 3)
    figure, numbers = views.learned_graph_figure(
        {"bump": bump, "flat": flat, "side": side}, radius=2
    )
    readable(figure)
    assert numbers["flat"]["near"] == pytest.approx(25 / (15 * 31))
    assert numbers["flat"]["ratio"] == 1 and numbers["flat"]["near by area"] == 25 / (15 * 31)
    assert numbers["bump"]["near"] > 0.5 and numbers["bump"]["peak"] == (0, 0)
    assert numbers["side"]["peak"] == (-2, 3) and numbers["side"]["ratio"] == pytest.approx(np.e**3)


def test_the_module_s_graphs_are_drawn(readable):
    torch.manual_seed(0)
    learned = GraphGuided(8, heads=["FULL"], graph="learned").log_graph(8, 16)[0]
    table = GraphGuided(8, heads=["FULL"], graph="table", table=(8, 16)).log_graph(8, 16)[0]
    figure, numbers = views.learned_graph_figure({"trained": learned, "free table": table})
    readable(figure)
    assert numbers["free table"]["ratio"] == 1 < numbers["trained"]["ratio"]


def test_fields_tell_their_area(readable, streets):
    point, even = torch.zeros(2, 8, 16), torch.ones(2, 8, 16)
    point[:, 3, 4] = 1
    marked = [(28, 36), (5, 5)]
    figure, numbers = views.fields_figure(streets[0][0], marked, {"point": point, "even": even})
    readable(figure)
    assert numbers["point"] == [1 / 128] * 2 and numbers["even"] == [116 / 128] * 2
    fields = dict.fromkeys("abcd", even[:1])
    readable(views.fields_figure(streets[0][0], marked[:1], fields)[0])
