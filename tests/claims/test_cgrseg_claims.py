"""CGRSeg's claims: runs that are shared, looks into networks, and verdicts that can fall."""

from __future__ import annotations

import pytest
import torch

from contextlab import claims, data, runs, training
from contextlab.claims import cgrseg, experiments, looking
from contextlab.claims.verdicts import DIRECTION, NOT, PARTLY, REPRODUCED, UNDECIDED, VERDICTS
from contextlab.networks import cgrseg as build

OURS = ("C7", "C9", "C11", "C16", "C1", "C15", "C13", "C19", "X3", "C11, equal", "C12", "C3", "C5")


def small(**options):
    """A small CGRSeg, untrained, whose branches and gates are open."""
    torch.manual_seed(0)
    net = build(13, "small", backbone="course_pyramid", width=16, blocks=1, **options)
    torch.nn.init.normal_(net.head.guide.expand.weight)
    return net.eval()


def test_cells_differ_in_one_thing_and_runs_are_shared():
    whole = experiments.configs("C7")[cgrseg.ALL][0]
    cells = {}
    for name in OURS:
        for label, configs in experiments.configs(name).items():
            cells[name, label] = configs[0]
    same = {key for key, config in cells.items() if config == whole}
    expected = {("C9", "DPG"), ("C11", "RCA"), ("C16", "CGRSeg"), ("C1", "add"), ("C5", "3")}
    assert expected < same and {name for name, _ in same} == set(OURS) - {"X3"}
    assert cells["C7", "context + reconstruction"] == cells["C9", "none"] == cells["X3", "none"]
    assert cells["C19", "supervised"] == cells["X3", "DPG"]
    for (name, label), config in cells.items():
        if "DF2" not in label and "SegNeXt" not in label:
            assert (config.network, config.backbone) == ("cgrseg", "course_pyramid"), (name, label)
            assert config.recipe == whole.recipe and config.width == whole.width
    assert len(experiments.configs("C7")) == 8


def test_the_weights_that_claims_look_into_are_kept():
    for label in ("CGRSeg", "SegNeXt"):
        assert all(map(claims.keeps_weights, experiments.configs("C16")[label]))
    assert not claims.keeps_weights(experiments.configs("C1")["none"][0])
    shipped = {config.hash for config in claims.shipped()}
    planned = {c.hash for c in claims.planned()}
    both = [c for found in experiments.configs("C16").values() for c in found]
    assert all((c.hash in planned) != (c.hash in shipped) for c in both)


def test_prototypes_may_be_given_or_another_images():
    net, images = small(), torch.rand(3, 3, 64, 96)
    own = net.head.prototypes(net.features(images))
    assert torch.allclose(cgrseg.GivenPrototypes(net, own)(images), net(images), atol=1e-5)
    other = cgrseg.GivenPrototypes(net, None)(images)
    assert torch.allclose(other, cgrseg.GivenPrototypes(net, own.roll(1, 0))(images), atol=1e-5)
    assert not torch.allclose(other, net(images), atol=1e-5)


def test_the_mean_of_prototypes_is_over_images_not_batches():
    net, streets = small(), data.Streets("val", size=5)
    found = cgrseg.mean_prototypes(net, streets, 5, batch=2)
    images = torch.stack([streets[i][0] for i in range(5)])
    assert torch.allclose(found, net.head.prototypes(net.features(images)).mean(0, True), atol=1e-5)


def test_near_borders():
    labels = torch.zeros(6, 8, dtype=torch.long)
    labels[:, 5:] = 1
    near = cgrseg.near_borders(labels)
    assert (near == torch.tensor([0, 0, 0, 1, 1, 1, 1, 0], dtype=torch.bool)).all()
    assert not cgrseg.near_borders(torch.zeros(4, 4, dtype=torch.long)).any()
    assert (cgrseg.near_borders(labels.T) == near.T).all()


def test_regions_of_ocr_are_prototypes():
    assert cgrseg._same_regions() < 1e-12


@pytest.mark.parametrize("name", ["C14", "C22"])
def test_a_look_into_untrained_networks(name, monkeypatch):
    monkeypatch.setattr(looking, "IMAGES", 2)
    monkeypatch.setattr(looking, "model_of", lambda config: small())
    monkeypatch.setattr(
        cgrseg, "build_data", lambda config, split=None: data.Streets("val", size=4)
    )
    found = claims.claim(name)
    assert found.verdict in VERDICTS and "n counts models" in found.found
    if name == "C22":  # the same network on both sides
        assert found.verdict == NOT and "pieces in 100 true ones" in found.found


@pytest.mark.parametrize(
    "pair, modules, verdict",
    [(0.2, 1.0, PARTLY), (0.95, 1.0, REPRODUCED), (0.2, 0.3, NOT)],
)
def test_what_strips_bend(pair, modules, verdict, monkeypatch):
    found = {"disc": (1.0, 1.0, 1.0), "diagonal": (0.2, pair, modules)}
    monkeypatch.setattr(cgrseg, "_bent", lambda: found)
    assert claims.claim("C6").verdict == verdict


def test_other_numbers_would_change_a_verdict(monkeypatch):
    table = cgrseg.TABLE_1 | {"SeaFormer-L": (42.7, 5.0, 130.0)}
    monkeypatch.setattr(cgrseg, "TABLE_1", table)
    assert claims.claim("C18").verdict == "misprint" and claims.claim("C20").verdict == REPRODUCED
    rows = (*cgrseg.MARGINS[:-1], ("Pascal Context, B", "SegNeXt-S", 56.6, 56.5))
    monkeypatch.setattr(cgrseg, "MARGINS", rows)
    assert claims.claim("C21").verdict == "misprint"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Made-up runs: call it with an experiment and the mIoU of its cells."""
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()

    def make(name: str, scores: dict[str, float], swaps: int = 0) -> None:
        streets = data.Streets("val", size=1)
        confusion = torch.eye(13, dtype=torch.long) * 100
        for a, b in cgrseg.STREETS_PAIRS:
            i, j = streets.classes.index(a), streets.classes.index(b)
            confusion[i, j] = confusion[j, i] = swaps
        for label, configs in experiments.configs(name).items():
            for config in configs if label in scores else ():
                miou = scores[label] + 1e-4 * (config.seed % 3) * (label[0] == "n")
                matrix = tuple(map(tuple, confusion.tolist()))
                metrics = training.Metrics(miou, (miou,) * 13, miou, matrix, streets.classes)
                history = training.History([1.0], [1.0], 1.0, 1)
                run = runs.Run(config, metrics, history, "2026-01-01", "made up", "own")
                runs.write(run, tmp_path / "runs" / f"{config.name}.json")

    return make


@pytest.mark.parametrize(
    "multiply, verdict", [(0.5947, REPRODUCED), (0.55, PARTLY), (0.62, PARTLY), (None, UNDECIDED)]
)
def test_runs_decide_how_to_gather(made, multiply, verdict):
    scores = {"add": 0.60, "multiply": multiply, "none": 0.5861}
    made("C1", {label: score for label, score in scores.items() if score is not None})
    made("C7", {cgrseg.BASE: 0.5, cgrseg.ALL: 0.6})
    found = claims.claim("C1")
    assert found.verdict == verdict, found.found
    made("C7", {cgrseg.BASE: 0.7})  # where the whole gains nothing its parts decide nothing
    assert claims.claim("C1").verdict == UNDECIDED


def test_the_factorial_names_what_each_part_adds(made):
    gains = {"context": 0.02, "reconstruction": 0.01, "prototypes": 0.005}
    cells = {cgrseg.named(some): 0.5 + sum(gains[p] for p in some) for some in cgrseg.SUBSETS}
    made("C7", cells)
    found = claims.claim("C7")
    assert found.verdict in (REPRODUCED, DIRECTION)
    assert "context +2.0 [+2.0, +2.0]" in found.found.partition("averaged")[2]
    assert "prototypes +0.5" in found.found.partition("averaged")[2]


def test_confusions_of_look_alikes_are_judged_too(made):
    made("C7", {cgrseg.BASE: 0.5, cgrseg.ALL: 0.6})
    made("C13", {"pixels": 0.55}, swaps=40)
    made("C13", {"classes": 0.60}, swaps=10)
    found = claims.claim("C13")
    assert found.verdict == REPRODUCED and found.found.count("look-alikes") == 1
