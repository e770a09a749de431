"""Paired differences, held against numbers worked out by hand and printed tables."""

import json
import math
from dataclasses import replace

import pytest

from contextlab import runs, training
from contextlab.claims import evidence, experiments
from contextlab.claims.evidence import Paired, compare, figure, find, paired


def test_by_hand():
    # differences 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.30265, t(0.8, 2) = 1.06066, √3 = 1.73205
    d = paired([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])
    assert d.differences == (1, 2, 3) and (d.n, d.mean, d.deviation) == (3, 2, 1)
    assert d.interval == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)
    assert (d.low, d.high) == d.interval
    assert d.detectable == pytest.approx(2.48414 + 0.61237, abs=1e-4)
    assert str(d) == "+2.0 [-0.5, +4.5] (n = 3)"


def test_pairs_that_agree_leave_no_doubt():
    d = Paired((0.5, 0.5, 0.5))
    assert d.interval == (0.5, 0.5) and d.detectable == 0
    assert Paired((0.0, 0.0)).interval == (0, 0)


def test_one_pair_or_none_says_nothing():
    one, none = Paired((4.0,)), Paired((), planned=5)
    assert one.interval == (-math.inf, math.inf) and one.detectable == math.inf
    assert math.isnan(one.deviation) and str(one) == "+4.0 (n = 1, no interval)"
    assert none.missing == 5 and math.isnan(none.mean) and str(none) == "no pair"
    assert none.interval == (-math.inf, math.inf) and one.missing == 0


def test_what_is_no_pair_is_refused():
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="finite"):
        Paired((1.0, math.nan))


def test_intervals_hold_what_they_promise():
    import torch

    draw = torch.Generator().manual_seed(0)
    samples = torch.randn(2000, 5, generator=draw, dtype=torch.float64) * 3 + 7
    inside = sum(d.low < 7 < d.high for d in map(Paired, map(tuple, samples.tolist())))
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)
    d = Paired(tuple(samples[0].tolist()))
    shifted = samples - 7 + 3 * (2.776 + 0.941) / 5**0.5  # what is detectable at this spread
    seen = sum(Paired(tuple(row)).low > 0 for row in shifted.tolist()) / 2000
    assert d.n == 5 and seen == pytest.approx(0.8, abs=0.06)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder of made-up runs: call it with a configuration and its figures."""
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(tmp_path / "shipped"))

    def put(config, miou, **demands):
        classes = ("road", "sky")
        metrics = training.Metrics(miou, (miou, math.nan), 0.5, ((1, 0), (0, 1)), classes, demands)
        history = training.History([1.0], [1.0], 1.0, 1)
        run = runs.Run(config, metrics, history, "2026-01-01", "made up", "own")
        path = tmp_path / "shipped" / f"{config.name}.json"
        path.parent.mkdir(exist_ok=True)
        runs.write(run, path)

    return put


@pytest.fixture
def two_cells(monkeypatch):
    """An experiment of two cells and three seeds."""
    cells = {
        "plain": lambda seed: runs.streets(seed=seed, budget="smoke"),
        "slot": lambda seed: runs.streets("glore", seed=seed, budget="smoke"),
    }
    made = experiments.Experiment("?", cells, (0, 1, 2))
    monkeypatch.setitem(experiments.EXPERIMENTS, "T1", made)
    return made.configs()


def test_runs_are_compared_seed_by_seed(store, two_cells):
    for seed, (low, high) in enumerate([(0.50, 0.53), (0.60, 0.61), (0.55, 0.57)]):
        store(two_cells["plain"][seed], low, P=low)
        store(two_cells["slot"][seed], high, P=0.9)
    d = compare("T1", "slot", "plain")
    assert d.differences == pytest.approx((3, 1, 2)) and d.missing == 0 and d.planned == 3
    assert compare("T1", "slot", "plain", "P").mean == pytest.approx(100 * (0.9 - 0.55))
    assert compare("T1", "slot", "plain", "road").mean == pytest.approx(2)
    assert compare("T1", "slot", "plain", "pixel_accuracy").interval == (0, 0)
    assert evidence.there("T1") == (6, 6)
    rows = evidence.summary("T1", ("miou", "P")).rows
    assert [r["condition"] for r in rows] == ["plain", "slot"]
    assert rows[0] == pytest.approx(
        {"condition": "plain", "seeds": 3, "mIoU": 55, "range": 10, "P": 55}
    )
    table = evidence.differences("T1", [("slot", "plain")], ("miou", "P"))
    assert table.column("mean") == ["+2.0", "+35.0"] and table.column("of") == ["mIoU", "P"]
    assert table.column("95 % interval")[0] == "-0.5 to +4.5"


def test_a_pair_with_a_missing_run_is_left_out(store, two_cells):
    store(two_cells["plain"][0], 0.5), store(two_cells["slot"][1], 0.6)
    assert compare("T1", "slot", "plain").missing == 3
    store(two_cells["slot"][0], 0.7)
    d = compare("T1", "slot", "plain")
    assert d.differences == pytest.approx((20,)) and d.missing == 2
    assert evidence.there("T1") == (3, 6)
    assert find(two_cells["plain"][2]) is None


def test_mistakes_are_named(store, two_cells):
    with pytest.raises(ValueError, match="expected one of plain, slot, got 'slott'"):
        compare("T1", "slott", "plain")
    with pytest.raises(ValueError, match="D99"):
        compare("D99", "a", "b")
    with pytest.raises(ValueError, match="no run of T1"):
        evidence.summary("T1")
    store(two_cells["plain"][0], 0.5)
    run = find(two_cells["plain"][0])
    for metric in ("sky", "Q"):  # nan, and unknown
        with pytest.raises(ValueError, match=f"no figure '{metric}'"):
            figure(run, metric)


def test_every_experiment_is_comparable():
    for name in experiments.EXPERIMENTS:
        configs = evidence.conditions(name)
        seeds = {tuple(c.seed for c in found) for found in configs.values()}
        assert len(seeds) <= 1, name
        for found in configs.values():  # the seed is all that differs within a cell
            assert len({replace(c, seed=0).hash for c in found}) == 1
            json.dumps([c.to_dict() for c in found])
