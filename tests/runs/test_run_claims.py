"""The rules of the verdicts, on made-up differences; and every claim without any run."""

import math

import pytest
import torch

from contextlab import data, networks, runs, training
from contextlab.costs.claims import NOT, PARTLY, REPRODUCED, UNDECIDED, VERDICTS
from contextlab.runs import claims, experiments, looks
from contextlab.runs.evidence import Paired
from contextlab.runs.verdicts import Part, alike, effect, jointly, judge, no_worse


def within(low: float, high: float) -> Paired:
    """A difference of three pairs whose interval is this."""
    middle, step = (low + high) / 2, (high - low) / 2 / 4.302653 * math.sqrt(3)
    d = Paired((middle - step, middle, middle + step))
    assert d.interval == pytest.approx((low, high), abs=1e-5)
    return d


@pytest.mark.parametrize(
    "low, high, published, verdict",
    [
        (0.1, 2.0, 3.0, REPRODUCED),
        (0.1, 1.4, 3.0, PARTLY),  # the direction, not half the size
        (-0.1, 1.4, 3.0, NOT),
        (-0.1, 1.6, 3.0, UNDECIDED),
        (-3.0, -1.0, 3.0, NOT),
        (5.0, 9.0, 3.0, REPRODUCED),
        (0.1, 1.1, None, REPRODUCED),
        (0.1, 0.9, None, PARTLY),
        (-0.5, 0.9, None, NOT),
        (-0.5, 1.1, None, UNDECIDED),
    ],
)
def test_effect(low, high, published, verdict):
    assert effect(within(low, high), published) == verdict


@pytest.mark.parametrize(
    "low, high, same, as_good",
    [
        (-0.9, 0.9, REPRODUCED, REPRODUCED),
        (0.1, 0.9, REPRODUCED, REPRODUCED),  # off 0, but too near to it to count
        (-0.9, 1.1, UNDECIDED, REPRODUCED),
        (-1.1, 0.9, UNDECIDED, UNDECIDED),
        (1.1, 2.0, NOT, REPRODUCED),
        (-2.0, -1.1, NOT, NOT),
    ],
)
def test_alike_and_no_worse(low, high, same, as_good):
    assert alike(within(low, high)) == same and no_worse(within(low, high)) == as_good


@pytest.mark.parametrize("rule", [effect, alike, no_worse])
def test_too_little_decides_nothing(rule):
    assert rule(Paired((5.0,))) == UNDECIDED and rule(Paired(())) == UNDECIDED
    assert rule(Paired((5.0, 5.1, 5.2), planned=4)) == UNDECIDED


@pytest.mark.parametrize(
    "verdicts, whole",
    [
        ([REPRODUCED, REPRODUCED], REPRODUCED),
        ([REPRODUCED, NOT, UNDECIDED], PARTLY),
        ([PARTLY, NOT], PARTLY),
        ([NOT, UNDECIDED], NOT),
        ([REPRODUCED, UNDECIDED], UNDECIDED),
        ([REPRODUCED, PARTLY], PARTLY),
        ([UNDECIDED], UNDECIDED),
    ],
)
def test_jointly(verdicts, whole):
    assert jointly(verdicts) == whole == jointly(reversed(verdicts))


def test_jointly_wants_parts():
    with pytest.raises(ValueError, match="at least one"):
        jointly([])


def test_a_missing_pair_leaves_the_whole_claim_open():
    refuted = Part("a - b", within(-3, -2), NOT)
    missing = Part("a - c", Paired((), planned=5), UNDECIDED)
    found = judge("T", "t", "s", [refuted, missing])
    assert found.verdict == UNDECIDED and "a - c: 0 of 5 pairs of runs" in found.found
    assert judge("T", "t", "s", [refuted]).verdict == NOT
    some = Part("a - d", Paired((1.0, 2.0, 3.0), planned=5), UNDECIDED)
    assert str(some) == "a - d: 3 of 5 pairs of runs, so far +2.0 [-0.5, +4.5] (n = 3)"
    open_end = Part("a - e", within(-1, 3), UNDECIDED)
    assert str(open_end).endswith("(n = 3), 2.5 was detectable")  # 2 (1 + 1.06066 / 4.30265)
    assert judge("T", "t", "s", [refuted], "and more").found.endswith("; and more")


@pytest.fixture
def no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(tmp_path / "shipped"))
    # what is trained when asked takes seconds; its verdicts are tested below
    monkeypatch.setattr(looks, "head", lambda name: [50.0, 51.0])
    cells = [("A", 1), ("I - A", 1), ("A", 8), ("I - A", 8), ("I + BN/ReLU(A)", 8)]
    monkeypatch.setattr(looks, "_errors", lambda: {cell: [1.0] * 5 for cell in cells})
    return tmp_path / "shipped"


def test_without_runs_all_is_open_but_what_needs_none(no_runs):
    found = {name: claims.claim(name) for name in claims.CLAIMS}
    assert all(c.name == name and c.verdict in VERDICTS for name, c in found.items())
    settled = {name for name, c in found.items() if c.verdict != UNDECIDED}
    assert settled == {"S24"}
    for c in found.values():
        if c.verdict == UNDECIDED:
            assert any(words in c.found for words in ("0 of ", "not there", "no runs")), c
    assert "to the power 1.00" in found["D9"].found
    with pytest.raises(ValueError, match=r"expected a claim of D1, .*got 'D4'"):
        claims.claim("D4")


def test_labels_are_those_of_the_experiments(no_runs):
    for name in ("D1", "D2", "D6", "D7", "D8", "S5", "S8"):
        assert experiments.configs(name)  # and the claims above found their labels in them
        real = experiments.configs(f"{name}, CamVid")
        assert real.keys() == experiments.configs(name).keys()
        assert all(c.frozen and c.data == "camvid" for configs in real.values() for c in configs)


@pytest.mark.parametrize(
    "both, verdict", [(0.90, REPRODUCED), (0.70, PARTLY), (0.45, PARTLY), (None, UNDECIDED)]
)
def test_runs_decide(no_runs, both, verdict):
    """D1 on made-up figures: each graph adds 20 points, both together some number of points."""
    scores = {"none": 0.5, "coordinate": 0.7, "feature": 0.7, "both": both}
    cells = [
        (scores[label], config)
        for name in ("D1", "D1, CamVid")
        for label, configs in experiments.configs(name).items()
        for config in configs
    ]
    no_runs.mkdir()
    for miou, config in cells:
        if miou is None:
            continue
        miou += 0.001 * config.seed * (config.context is None)
        metrics = training.Metrics(miou, (miou,), miou, ((1,),), ("road",))
        history = training.History([1.0], [1.0], 1.0, 1)
        made = runs.Run(config, metrics, history, "2026-01-01", "made up", "own")
        runs.write(made, no_runs / f"{config.name}.json")
    found = claims.claim("D1")
    assert found.verdict == verdict
    if both == 0.70:  # both is no better than one: those parts fail, the others hold
        assert found.found.count("(not reproduced)") == 4
    if both is not None:
        assert f"both less the sum of the two {100 * (both - 0.9 + 0.002):+.1f}" in found.found


def test_which_cue(monkeypatch):
    heads = {name: [99.0, 95.0] for name in looks.HEADS} | {"non-local": [50.0, 50.0]}
    monkeypatch.setattr(looks, "head", heads.get)
    monkeypatch.setattr(looks, "find", lambda config: config)
    matched = {"non_local": 98.0}
    monkeypatch.setattr(looks, "figure", lambda c, metric: matched.get(c.context, 66.0))
    assert claims.claim("X1").verdict == REPRODUCED
    heads["non-local"] = [99.0, 99.0]  # solves both
    assert claims.claim("X1").verdict == PARTLY
    monkeypatch.setattr(looks, "find", lambda config: None)
    assert claims.claim("X1").found == "0 of 12 runs"


def test_which_edges_pass_messages_on(monkeypatch):
    errors = {("A", 1): [9.0, 8.0, 7.0], ("I - A", 1): [1.0, 2.0, 0.0],
              ("A", 8): [70.0, 75.0, 80.0], ("I - A", 8): [40.0, 42.0, 41.0],
              ("I + BN/ReLU(A)", 8): [9.0, 9.0, 9.0]}  # fmt: skip
    monkeypatch.setattr(looks, "_errors", lambda: errors)
    assert claims.claim("S24").verdict == REPRODUCED
    errors["A", 1] = [1.0, 2.0, 0.1]
    found = claims.claim("S24")
    assert found.verdict == PARTLY and "1 layer +0.0" in found.found


class Sized(torch.nn.Module):
    """Right on streets of 128 columns, wrong on others."""

    def __init__(self, dataset, bound: bool):
        super().__init__()
        self.answers = {self.key(image): labels for image, labels in dataset}
        self.classes, self.bound = len(dataset.classes), bound

    def key(self, image):
        return image[:, :, :128].clone().double().sum().item()

    def forward(self, x):
        labels = torch.stack([self.answers[self.key(image)] for image in x])
        if x.shape[-1] > 128:
            labels = torch.cat([labels, labels.flip(-1)], -1)
            if self.bound:
                labels = (labels + 1) % self.classes
        return torch.nn.functional.one_hot(labels, self.classes).movedim(-1, 1).float()


def test_sum_or_mean(monkeypatch):
    streets = data.Streets("val", size=3)
    kinds = iter([False, True])  # the mean first
    monkeypatch.setattr(looks, "_model", lambda config: Sized(streets, next(kinds)))
    monkeypatch.setattr(looks, "build_data", lambda config: streets)
    found = claims.claim("X4")
    assert list(experiments.configs("X4")) == ["mean", "sum"]
    assert found.verdict == REPRODUCED and "sum against mean +100.0" in found.found
    kinds = iter([True, True])
    assert claims.claim("X4").verdict == NOT


@pytest.mark.parametrize("name", ["S12", "S14", "S15", "D14"])
def test_a_look_inside_untrained_networks(name, monkeypatch):
    """The claims that need weights run on any, and untrained ones do not bear them out."""

    def model(config):
        torch.manual_seed(config.context == "feature_graph")
        options = {**config.context_options}
        return networks.network(
            13, context=config.context, context_options=options, width=64, kernel=1, auxiliary=False
        ).eval()

    monkeypatch.setattr(looks, "IMAGES", 6)
    monkeypatch.setattr(looks, "_model", model)
    monkeypatch.setattr(looks, "build_data", lambda config: data.Streets("val", size=6))
    found = claims.claim(name)
    assert found.verdict in VERDICTS and found.verdict != REPRODUCED
    assert "n = 6" in found.found or "one model" in found.found
