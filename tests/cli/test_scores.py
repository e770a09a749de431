"""What evaluate says beyond its table."""

from dataclasses import replace

import numpy as np
from PIL import Image

from contextlab import cli, runs, training
from contextlab.cli.evaluate import confusion_table, detail_table
from contextlab.inference import Averaged
from contextlab.probes.detail import Detail


def test_windows_scales_and_mirrors_are_scored(trained, tmp_path, capsys):
    words = ["--window", "32", "48", "--scales", "1", "1.25", "--flip", "--device", "cpu"]
    picture = tmp_path / "confusion.png"
    words += ["--confusion", "--detail", "--picture", str(picture)]
    words += ["--draw", str(tmp_path / "some.png")]
    assert cli.main(["evaluate", str(trained.weights.parent), *words]) == 0
    said = capsys.readouterr().out
    network = Averaged(trained.model(), window=(32, 48), scales=(1, 1.25), flip=True)
    metrics = training.evaluate(network, runs.build_data(trained.config), limit=8)
    assert f"\nmIoU           {100 * metrics.miou:5.1f}\n" in said
    assert "windows of 32 x 48, scales 1, 1.25, mirrored too" in said
    assert confusion_table(metrics) in said
    assert "boundary IoU" in said and "objects, % of the image" in said
    for path in (picture, tmp_path / "some.png"):
        with Image.open(path) as shown:
            assert shown.width > 400


def test_nothing_more_is_said_unless_it_is_asked_for(trained, capsys):
    assert cli.main(["evaluate", str(trained.weights.parent), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    head, *rest = said.splitlines()
    assert head == f"{trained.config.name}, 8 images of val" and rest[-1].startswith("stored: ")
    assert "\n".join(rest[:-1]) == str(trained.metrics)


def test_a_foreign_picture_is_left_alone(trained, tmp_path, capsys):
    (tmp_path / "c.png").write_text("mine")
    words = ["evaluate", str(trained.weights.parent), "--picture", str(tmp_path / "c.png")]
    assert cli.main(words) == 2
    assert (tmp_path / "c.png").read_text() == "mine"
    assert "c.png is there already" in capsys.readouterr().err


def test_labels_of_whole_images_have_no_windows(trained, tmp_path, monkeypatch, capsys):
    classifier = replace(trained, config=replace(trained.config, network="classifier"))
    monkeypatch.setattr(runs, "stored", lambda path: classifier)
    monkeypatch.setattr(runs, "load", lambda run, weights=None: trained.model())
    assert cli.main(["evaluate", "it", "--flip", "--device", "cpu"]) == 2
    assert "gives one label to a whole image" in capsys.readouterr().err
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = [str(tmp_path / "a.png"), "--run", "it", "--out", str(tmp_path / "out")]
    assert cli.main(["predict", *words]) == 2
    assert "gives one label to a whole image, none to a pixel" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_tables_are_in_per_cent():
    metrics = training.from_confusion(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), ("a", "b", "c"))
    rows = [line.split() for line in confusion_table(metrics).splitlines()[1:]]
    assert rows[0] == ["0", "1", "2"] and rows[1] == ["0", "a", "75.0", "25.0", "0.0"]
    assert rows[3] == ["2", "c", "-", "-", "-"]
    sizes = {"from": 0.01, "to": 0.1, "objects": 7, "pixels": 9, "accuracy": 0.5, "miou": 0.25}
    said = detail_table(metrics, Detail((0.5, 0.25, float("nan")), (sizes,))).splitlines()
    assert said[1].split() == ["a", "50.0"] and said[3].split() == ["c", "-"]
    assert said[4].split() == ["mean", "37.5"]
    assert said[-1].split() == ["1", "to", "10", "7", "50.0", "25.0"]
