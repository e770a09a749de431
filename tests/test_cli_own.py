"""From a person's images and masks to a trained run and its score, on the command line."""

import json
import re

import pytest
from PIL import Image

from contextlab import cli, runs
from contextlab.data import ClassTable
from tests.data.own_files import numbers, pairs, pixels


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    images, masks = pairs(tmp_path)
    # one is of another size
    Image.fromarray(pixels(5, (40, 30))).save(images / "a.png")
    Image.fromarray(numbers(5, (40, 30))).save(next(masks.rglob("a.png")))
    return ["--images", str(images), "--masks", str(masks)]


def test_from_two_folders_to_a_score(words, tmp_path, capsys):
    table, out = tmp_path / "classes.csv", tmp_path / "out"
    assert cli.main(["data", "check", *words, "--write-classes", str(table)]) == 0
    assert "5 pairs" in capsys.readouterr().out
    table.write_text(table.read_text().replace("class 1", "hedge"))
    assert cli.main(["data", "check", *words, "--write-classes", str(table)]) == 2
    assert "is left alone" in capsys.readouterr().err and "hedge" in table.read_text()

    train = ["train", "--data", "folder", *words, "--classes", str(table), "--val-share", "0.4"]
    train += ["--budget", "smoke", "--weights", "random", "--crop", "32", "48", "--longest", "60"]
    train += ["--out", str(out)]
    assert cli.main(train) == 0
    said = capsys.readouterr().out
    assert "hedge" in said and "mIoU" in said and (out / "predictions.png").is_file()
    stored = (out / "metrics.json").read_text()
    assert str(tmp_path) not in stored  # a run may be given away
    assert json.loads((out / "data.json").read_text())["images"] == str(tmp_path / "images")
    config = runs.read(out / "metrics.json").config
    assert ClassTable(config.data_options["classes"]).names == ("class 0", "hedge", "class 2")
    assert config.name.startswith("folder-fcn-smoke-0-") and config.recipe["crop"] == [32, 48]
    assert cli.main(train) == 0 and "holds this run already" in capsys.readouterr().out

    assert cli.main(["evaluate", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 images of val" in said and "not the files" not in said
    miou = said.split()[-1]
    assert re.search(rf"mIoU +{miou}\n", said)  # as before, from where the run says the files are
    (tmp_path / "images" / "deep").rename(tmp_path / "elsewhere")
    (tmp_path / "images").rename(tmp_path / "moved")
    assert cli.main(["evaluate", str(out)]) == 2
    assert "no folder of images at" in capsys.readouterr().err
    (tmp_path / "elsewhere").rename(tmp_path / "moved" / "deep")
    moved = ["--images", str(tmp_path / "moved"), "--split", "all"]
    assert cli.main(["evaluate", str(out), *moved]) == 0
    assert "5 images of all" in capsys.readouterr().out
    ask = ["predict", str(tmp_path / "moved"), "--run", str(out), "--out", str(tmp_path / "said")]
    assert cli.main(ask) == 0  # as small as in training, and as large as the image again
    colours = ClassTable(config.data_options["classes"]).palette.ravel().tolist()
    for image in (path for path in (tmp_path / "moved").rglob("*") if path.is_file()):
        labels = next((tmp_path / "said").rglob(f"{image.stem}*.labels.png"))
        with Image.open(labels) as answer, Image.open(image) as asked:
            assert answer.size == asked.size and max(answer.getextrema()) < 3
            assert answer.getpalette()[: len(colours)] == colours
    (out / "data.json").unlink()
    assert cli.main(["evaluate", str(out)]) == 2
    assert "give --images and --masks" in capsys.readouterr().err


def test_what_is_to_be_mended_has_its_own_exit_status(words, tmp_path, capsys):
    next((tmp_path / "masks").rglob("b.png")).unlink()
    assert cli.main(["data", "check", *words]) == 1
    assert "images without a mask: 1" in capsys.readouterr().out
    names = tmp_path / "names.txt"
    names.write_text("field\nhedge\npath\n")
    train = ["train", "--data", "folder", *words, "--classes", str(names)]
    assert cli.main(train) == 2
    assert "1 images lack a mask" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data", "folder"], "needs classes: name the folders"),
        (["--data", "streets"], "--images belongs to --data folder"),
        (["--data", "folder", "--classes", "CLASSES", "--frozen"], "frozen backbone stores maps"),
        (["--data", "folder", "--classes", "CLASSES", "--ignore", "x"], "--ignore is a value"),
        (["--data", "folder", "--classes", "CLASSES", "--val-share", "1"], "shares of 0 to 1"),
    ],
)
def test_mistakes_are_named(words, tmp_path, more, said, capsys):
    names = tmp_path / "names.txt"
    names.write_text("field\nhedge\npath\n")
    more = [str(names) if word == "CLASSES" else word for word in more]
    assert cli.main(["train", *words, *more]) == 2
    assert said in capsys.readouterr().err
