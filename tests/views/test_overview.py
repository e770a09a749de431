"""Many methods at once: the grid of demands and the points over their cost."""

import pytest

from contextlab import views


def _run(g, p):
    return {"local": 0.9, "G": g, "P": p}


def test_the_grid_gives_means_and_ranges():
    groups = {"one": {"a": [_run(0.5, 0.7), _run(0.9, 0.7)]}, "two": {"b": _run(1.0, 0.6)}}
    figure, numbers = views.demand_grid(groups)
    assert numbers["a"]["G"] == pytest.approx((0.7, 0.5, 0.9))
    assert numbers["b"] == {"G": (1.0, 1.0, 1.0), "P": (0.6, 0.6, 0.6)}
    written = {text.get_text() for text in figure.axes[0].texts}
    assert {"one", "two", "70  (50–90)", "70", "100", "60"} <= written
    with pytest.raises(ValueError, match="expected runs"):
        views.demand_grid({})


@pytest.mark.parametrize("log", [True, False])
def test_names_keep_clear_of_each_other(log):
    groups = {f"group {i}": {f"method {i}{j}": (1 + j / 9, 80 + i / 9) for j in range(4)}
              for i in range(3)}  # fmt: skip
    figure, points = views.cost_scatter(groups, xlabel="cost", log=log)
    assert points["method 21"] == (1 + 1 / 9, 80 + 2 / 9) and len(points) == 12
    axes = figure.axes[0]
    figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in axes.texts if t.get_text()]
    assert sorted(t.get_text() for t in axes.texts if t.get_text()) == sorted(points)
    crossing = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not crossing


def test_a_baseline_is_drawn_below_all_points():
    figure, _ = views.cost_scatter(
        {"a": {"b": (1.0, 80.0), "c": (9.0, 70.0)}}, xlabel="cost", baseline=("FCN", 60)
    )
    axes = figure.axes[0]
    assert axes.get_ylim()[0] < 60 and "FCN" in {text.get_text() for text in axes.texts}
    assert [60, 60] in [list(line.get_ydata()) for line in axes.lines]
