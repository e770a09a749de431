"""Pruned neighbours, learned graphs and receptive fields: numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.modules.graph_guided import GraphGuided
from contextlab.networks.segmentation import network
from contextlab.probes import Asker

HEADS = ["LOCAL_2", "GRID_3", "GRID_3"]


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    options = {"width": 16, "kernel": 1}
    return {
        name: network(13, context="graph_guided", context_options={"heads": heads}, **options)
        for name, heads in {"FULL": ["FULL"], "ours": HEADS}.items()
    }


def test_curves_against_share_and_count(readable):
    points = [(1.0, 100.0, (80, 82)), (0.5, 50.0, (79, 81)), (0.06, 6.0, (82, 84))]
    rows = [
        {"network": name, "seed": seed, "rule": rule, "share": share, "kept": kept, "mIoU": miou}
        for name, rules in {"FULL": ("top", "random"), "ours": ("top", "random", "lowest")}.items()
        for rule in rules
        for share, kept, scores in points
        for seed, miou in enumerate(scores)
    ]
    figure, numbers = views.pruning_figure(rows)
    readable(figure)
    assert list(numbers["ours"]) == ["top", "random", "lowest"] and len(numbers["FULL"]) == 2
    assert numbers["FULL"]["top"] == {"whole": 81, "best": 83, "at": 0.06, "tenth": 83}
    share, count = (axes.lines[0].get_xdata() for axes in figure.axes)
    assert list(share) == [6, 50, 100] and list(count) == [6, 50, 100]


def test_what_the_largest_hold(readable):
    rows = [{"share": 0.1, "weight": 0.5, "own label": 0.4},
            {"share": 1.0, "weight": 1.0, "own label": 0.2}]  # fmt: skip
    figure, numbers = views.held_figure({"FULL": rows, "ours": rows})
    readable(figure)
    assert numbers["ours"] == rows


def test_few_lines_are_left(readable, streets):
    weights = torch.ones(16, 32)
    weights[2, 3] = 513
    figure, numbers = views.few_figure(streets[0][0], weights, (13, 20), keep=5)
    readable(figure)
    assert numbers == {"asked": 512, "kept": 5, "weight": 517 / 1024}
    left, right = (axes.collections[0] for axes in figure.axes)
    assert len(left.get_segments()) == 512 and len(right.get_segments()) == 5


def test_the_kept_are_bright_and_the_dropped_are_dots(readable, streets):
    whole = torch.zeros(16, 32)
    whole[:, ::2] = 1 / 256
    kept = torch.zeros(16, 32)
    kept[:4, ::2] = 1 / 64
    labels = torch.arange(16)[:, None].expand(16, 32)
    panels = {"FULL": (whole, kept), "once more": (whole, kept)}
    figure, numbers = views.kept_figure(streets[0][0], panels, (3, 4))
    readable(figure)
    assert numbers["FULL"] == {"asked": 256, "kept": 64, "weight": pytest.approx(0.25)}
    assert len(figure.axes[0].lines[0].get_xdata()) == 192
    figure, numbers = views.kept_figure(streets[0][0], panels, (3, 4), labels=labels)
    readable(figure)
    assert numbers["FULL"]["own label"] == 0.25
    assert "25% of 64 share its label" in figure.axes[0].get_title("left")


def test_panels_are_the_module_s(networks, streets):
    ask = Asker(networks["ours"], streets[3][0])
    panels = views.kept_panels(ask, (8, 16), 0.1, "lowest")
    assert list(panels) == ["LOCAL 2", "GRID 3, 2", "GRID 3, 3"]
    assert ask.slot.keep is None and ask.slot.prune == "top"
    for (whole, kept), n in zip(panels.values(), (25, 55, 55)):
        joined = int((whole > 0).sum())
        assert joined == n and int((kept > 0).sum()) == -(-n // 10)
        assert kept.sum().item() == pytest.approx(1, abs=1e-5)
        assert whole[kept > 0].max() <= whole[(whole > 0) & (kept == 0)].min()
    whole, same = views.kept_panels(ask, (8, 16), 1)["LOCAL 2"]
    assert torch.equal(whole, same)


def test_the_explorer_prunes_by_slider_click_and_rule(networks, streets):
    image, labels = streets[3]
    widget = views.kept_explorer(networks, image, labels=labels, classes=streets.classes)
    assert widget.query == (8, 16) and "52 of 512 are kept" in widget.words.value
    seen = {widget.picture.value}
    widget.share.value = 0.02
    assert "11 of 512 are kept" in widget.words.value
    seen.add(widget.picture.value)
    widget.rule.value = "random"
    seen.add(widget.picture.value)
    widget.update(0, 31)
    seen.add(widget.picture.value)
    widget.method.value = "ours"
    seen.add(widget.picture.value)
    assert len(seen) == 5 and networks["ours"].slot.keep is None
    assert "works where a kernel runs" in widget._repr_mimebundle_()["text/plain"]
    with pytest.raises(ValueError, match="graph-guided module, got"):
        views.kept_explorer({"non-local": network(13, context="non_local", width=16)}, image)


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
