"""The rules of the verdicts, on made-up differences; and every claim without any run."""

import math

import pytest
import torch

from contextlab import claims, data, networks, runs, training
from contextlab.claims import across, cgrseg, experiments, looking, squeeze_reasoning
from contextlab.claims.evidence import Paired
from contextlab.claims.ledger import RULES
from contextlab.claims.settings import Setting, compare_in
from contextlab.claims.verdicts import (
    DIRECTION,
    NOT,
    PARTLY,
    REPRODUCED,
    UNDECIDED,
    VERDICTS,
    Part,
    alike,
    effect,
    jointly,
    judge,
    no_worse,
)


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
        (0.1, 1.4, 3.0, DIRECTION),  # the direction, not half the size
        (5.0, 9.0, 3.0, REPRODUCED),  # meets twice the size
        (6.1, 9.0, 3.0, DIRECTION),  # more than twice the size
        (26.8, 28.7, 3.6, DIRECTION),
        (-0.1, 1.4, 3.0, NOT),
        (-0.1, 1.6, 3.0, UNDECIDED),
        (-3.0, -1.0, 3.0, NOT),
        (0.1, 1.1, None, REPRODUCED),
        (20.0, 30.0, None, REPRODUCED),
        (0.1, 0.9, None, DIRECTION),
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
        ([REPRODUCED, UNDECIDED], PARTLY),  # one undecided part masks no other
        ([DIRECTION, UNDECIDED], PARTLY),
        ([DIRECTION, NOT], PARTLY),
        ([REPRODUCED, DIRECTION], DIRECTION),
        ([DIRECTION, DIRECTION], DIRECTION),
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
    found = judge([refuted, missing])
    assert found.verdict == UNDECIDED and "a - c: 0 of 5 pairs of runs" in found.found
    assert judge([refuted]).verdict == NOT
    some = Part("a - d", Paired((1.0, 2.0, 3.0), planned=5), UNDECIDED)
    assert str(some) == "a - d: 3 of 5 pairs of runs, so far +2.0 [-0.5, +4.5] (n = 3)"
    open_end = Part("a - e", within(-1, 3), UNDECIDED)
    assert str(open_end).endswith("(n = 3), 2.5 was detectable")  # 2 (1 + 1.06066 / 4.30265)
    assert judge([refuted], "and more").found.endswith("; and more")


@pytest.fixture
def no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(tmp_path / "shipped"))
    # what is trained when asked takes seconds; its verdicts are tested below
    monkeypatch.setattr(looking, "head", lambda name: [50.0, 51.0])
    cells = [("A", 1), ("I - A", 1), ("A", 8), ("I - A", 8), ("I + BN/ReLU(A)", 8)]
    monkeypatch.setattr(squeeze_reasoning, "_errors", lambda: {c: [1.0] * 5 for c in cells})
    monkeypatch.setattr(cgrseg, "_bent", lambda: {"disc": (1.0, 1.0, 1.0)})
    return tmp_path / "shipped"


WITHOUT = ("0 of ", "not there", "no runs", "not run yet")


def test_without_runs_all_is_open_but_what_needs_none(no_runs):
    effects = [n for n in RULES if claims.entry(n).kind == "effect"]
    found = {name: claims.claim(name) for name in effects}
    assert all(c.name == name and c.verdict in VERDICTS for name, c in found.items())
    assert {name for name, c in found.items() if c.verdict != UNDECIDED} == {"S24", "C6", "G22"}
    for c in found.values():
        if c.verdict == UNDECIDED:
            assert any(words in c.found for words in WITHOUT), c
    assert "to the power 1.00" in found["D9"].found


def test_labels_are_those_of_the_experiments(no_runs):
    for name in ("D1", "D2", "D6", "D7", "D8", "S5", "S8"):
        assert experiments.configs(name)  # and the claims above found their labels in them
        for place in ("CamVid", "CamVid, local"):
            real = experiments.configs(f"{name}, {place}")
            # over local features the FCN stands beside every question
            assert real.keys() - {"FCN"} == experiments.configs(name).keys()
            for config in (c for configs in real.values() for c in configs):
                assert config.frozen and config.data == "camvid"
                assert ("out_indices" in config.backbone_options) == (place != "CamVid")


def put(folder, config, miou):
    """A made-up run of a configuration with this mIoU."""
    metrics = training.Metrics(miou, (miou,), miou, ((1,),), ("road",))
    history = training.History([1.0], [1.0], 1.0, 1)
    made = runs.Run(config, metrics, history, "2026-01-01", "made up", "own")
    folder.mkdir(exist_ok=True)
    runs.write(made, folder / f"{config.name}.json")


@pytest.mark.parametrize(
    "both, verdict",
    [(0.553, REPRODUCED), (0.90, DIRECTION), (0.52, PARTLY), (None, UNDECIDED)],
)
def test_runs_decide(no_runs, both, verdict):
    """D1 on made-up figures: each graph adds what was published, both together some points."""
    scores = {"none": 0.5, "coordinate": 0.536, "feature": 0.541, "both": both, "fair plain": 0.5}
    for name in ("D1", "D1, CamVid", "D1, CamVid, local", "plain"):
        for label, configs in experiments.configs(name).items():
            for config in configs:
                if (miou := scores.get(label)) is not None:
                    put(no_runs, config, miou + 1e-4 * config.seed * (config.context is None))
    found = claims.claim("D1")
    assert found.verdict == verdict
    if both == 0.52:  # both are worse than one: those parts fail, the gains are there
        assert found.found.count("(not reproduced)") == 6
        assert found.found.count("(direction only)") == 4
    if both is not None:
        summed = 100 * (both - 0.536 - 0.541 + 0.5002)
        assert f"both less the sum of the two {summed:+.1f}" in found.found


@pytest.fixture
def two_places(no_runs, monkeypatch):
    """An experiment of three cells on streets and elsewhere: call it with their figures."""

    def make(here, there):
        places = {"T": ("glpca", here), "T, there": ("g", there)}
        for name, (knobs, scores) in places.items():
            cells = {
                label: lambda seed, context=context, knobs=knobs: runs.streets(
                    context, seed=seed, budget="smoke", knobs=dict.fromkeys(knobs, 1.0)
                )
                for label, context in (("none", None), ("a", "glore"), ("b", "gcnet"))
            }
            made = experiments.Experiment("?", cells, (0, 1, 2), planned=name == "T, there")
            monkeypatch.setitem(experiments.EXPERIMENTS, name, made)
            for label, configs in made.configs().items():
                for config in configs:
                    if label in scores:
                        put(no_runs, config, scores[label] + 1e-4 * config.seed)
        return [Setting(s, s, ("T",), "a", "none") for s in ("", ", there")]

    return make


def test_where_the_whole_gains_nothing_its_parts_decide_nothing(two_places):
    at = two_places({"none": 0.5, "a": 0.6, "b": 0.601}, {"none": 0.6, "a": 0.6, "b": 0.6})
    found = compare_in(at, ["T"], [("a", "b")], alike)
    assert [p.verdict for p in found.parts] == [REPRODUCED]  # the other would be alike as well
    assert "not used, since the whole gains +0.0" in found.more
    found = compare_in(at, ["T"], [("a", "b")], alike, empty={("", "b"): "b is not b"})
    assert not found.parts and "not used, since b is not b: a against b -0.1" in found.more
    assert judge(found.parts, found.more).verdict == UNDECIDED


def test_a_place_without_runs_waits_and_masks_nothing(two_places):
    at = two_places({"none": 0.5, "a": 0.6, "b": 0.6}, {})
    found = compare_in(at, ["T"], [("a", "b")], alike, further=[("a", "none")])
    assert [p.verdict for p in found.parts] == [REPRODUCED]
    assert found.more == "a against none +10.0 [+10.0, +10.0] (n = 3), 0.0 was detectable; " + (
        ", therenot run yet"
    )


def test_an_unknown_experiment_is_left_out():
    assert Setting(", nowhere", "", ("D1",), "both", "none").cells("D1") is None
    assert compare_in([Setting(", nowhere", "", ("D1",), "a", "b")], ["D1"], []).parts == []


def test_which_cue(monkeypatch):
    heads = {name: [99.0, 95.0] for name in across.HEADS} | {"non-local": [50.0, 50.0]}
    monkeypatch.setattr(looking, "head", heads.get)
    monkeypatch.setattr(across, "find", lambda config: config)
    matched = {"non_local": 98.0}
    monkeypatch.setattr(across, "figure", lambda c, metric: matched.get(c.context, 66.0))
    assert claims.claim("X1").verdict == REPRODUCED
    heads["non-local"] = [99.0, 99.0]  # solves both
    assert claims.claim("X1").verdict == PARTLY
    monkeypatch.setattr(across, "find", lambda config: None)
    assert claims.claim("X1").found == "0 of 12 runs"


def test_which_edges_pass_messages_on(monkeypatch):
    errors = {("A", 1): [9.0, 8.0, 7.0], ("I - A", 1): [1.0, 2.0, 0.0],
              ("A", 8): [70.0, 75.0, 80.0], ("I - A", 8): [40.0, 42.0, 41.0],
              ("I + BN/ReLU(A)", 8): [9.0, 9.0, 9.0]}  # fmt: skip
    monkeypatch.setattr(squeeze_reasoning, "_errors", lambda: errors)
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
    monkeypatch.setattr(looking, "model_of", lambda config: Sized(streets, next(kinds)))
    monkeypatch.setattr(across, "build_data", lambda config: streets)
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

    monkeypatch.setattr(looking, "IMAGES", 6)
    monkeypatch.setattr(looking, "model_of", model)
    for room in (looking, squeeze_reasoning):
        monkeypatch.setattr(room, "build_data", lambda config: data.Streets("val", size=6))
    found = claims.claim(name)
    assert found.verdict in VERDICTS and found.verdict != REPRODUCED
    assert "n = 6" in found.found or "one model" in found.found
