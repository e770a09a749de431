"""The runs that come with the lessons: all there, small, and what their code still computes."""

from pathlib import Path

import pytest

from contextlab import claims, data, runs, training

FOLDER = Path(__file__).parents[1] / runs.SHIPPED


def read(config: runs.Config) -> runs.Run:
    run = runs.find_in(FOLDER, config, source="shipped")
    assert run is not None, f"{config.name} is missing: python -m contextlab runs"
    return run


def test_nothing_lies_there_that_no_lesson_shows():
    """Each run once, in the file of the experiment that asks for it first."""
    assert claims.misplaced(FOLDER) == []
    made, files = claims.shipped_files(), claims.shipped_files(planned=True)
    found = {path.stem for path in FOLDER.glob("*.jsonl")}
    assert made.keys() <= found <= files.keys()
    for name in found:  # in the experiment's order, so that differences are small
        there = [line.name for line in runs.lines(FOLDER) if line.path.stem == name]
        wanted = [config.name for config in files[name]]
        assert there == (wanted if name in made else [each for each in wanted if each in there])


def test_every_shipped_run_has_one_file():
    placed = [config.hash for group in claims.shipped_files().values() for config in group]
    assert sorted(placed) == sorted(config.hash for config in claims.shipped())
    assert {"family", "demands", "options", "d1", "d1-camvid"} <= claims.shipped_files().keys()


def test_they_are_small():
    sizes = [path.stat().st_size for path in FOLDER.iterdir()]
    assert max(sizes) < 1_000_000 and sum(sizes) < 20_000_000  # the promise to whoever clones


@pytest.mark.parametrize("config", claims.shipped(), ids=lambda config: config.name)
def test_a_run_is_whole(config):
    run = read(config)
    images = data.camvid.COUNTS["test"] if config.data == "camvid" else config.images
    assert run.history.finished and run.metrics.images == images
    loss = run.history.loss
    assert sum(loss[-10:]) / 10 < loss[0] / 4  # a batch more or less does not matter
    # a whole image has one answer, which may always be right; thin parts of a scene never are
    least, most = {"camvid": (0.4, 0.6), "vehicles": (0.7, 1.0)}.get(config.data, (0.5, 0.99))
    if "out_indices" in config.backbone_options:
        least = 0.3  # a backbone that is cut behind its first stages
    assert least < run.metrics.miou <= most
    assert (run.weights is not None) == claims.keeps_weights(config)


@pytest.mark.parametrize(
    "config",
    [c for c in claims.shipped() if claims.keeps_weights(c)],
    ids=lambda config: config.name,
)
def test_its_weights_still_score_what_it_says(config):
    run = read(config)
    images = run.spot_check["images"]
    found = training.evaluate(run.model(), runs.build_data(config), limit=images)
    # another machine rounds otherwise, which may turn a few pixels; another network turns many
    assert found.miou == pytest.approx(run.spot_check["miou"], abs=2e-3)
    assert found.pixel_accuracy == pytest.approx(run.spot_check["pixel_accuracy"], abs=5e-4)
