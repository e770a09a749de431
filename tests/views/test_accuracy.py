"""Bars and the ruler: the numbers that they draw."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from contextlab import views

FCN = {"local": 0.98, "G": 0.5, "L": 0.52, "P": 0.49, "C": 0.68, "A": float("nan")}


def test_means_over_seeds_and_metrics(readable):
    metrics = SimpleNamespace(demands={**FCN, "G": 0.7})
    figure, means = views.demand_bars({"FCN": [FCN, metrics], "SE": FCN})
    assert means["FCN"]["G"] == pytest.approx(0.6) and means["SE"]["G"] == 0.5
    assert "A" not in means["FCN"]
    heights = sorted(p.get_height() for p in figure.axes[0].patches)
    assert heights == pytest.approx(sorted(100 * v for run in means.values() for v in run.values()))
    readable(figure)


def test_bounds_are_marked_at_their_height(readable, streets):
    known = {"G": 0.5, "L": 0.49, "C": 0.665}
    figure, _ = views.demand_bars({"FCN": FCN}, bounds={"patch": known, "chance": {"G": 0.5}})
    marks = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert [line.get_ydata()[0] for line in marks] == pytest.approx([50, 49, 66.5, 50])
    names = [t.get_text() for t in figure.legends[0].texts]
    assert names == ["FCN", "patch", "chance"]
    readable(figure)


def test_many_runs_stay_readable(readable):
    runs = {f"method {i}": dict.fromkeys("GLPCA", 0.5 + 0.05 * i) for i in range(7)}
    readable(views.demand_bars(runs, title="Seven")[0])


def test_means_in_the_feet_leave_the_dots_alone(readable):
    seeds = [{"G": 0.5, "A": 0.7}, {"G": 0.9, "A": 0.7}]
    figure, _ = views.demand_bars({"ASPP": seeds}, foot=True)
    readable(figure)
    places = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert set(places) == {"70"} and places["70"] < 10


def test_bars_need_a_demand():
    with pytest.raises(ValueError, match="expected runs with accuracies"):
        views.demand_bars({"FCN": {"x": 0.4}})
