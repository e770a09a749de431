"""Label files and overlays of image files, from a finished run."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from contextlab import cli, data, home, inference
from contextlab.cli import _asking, _images


@pytest.fixture
def label(trained, tmp_path, monkeypatch):
    """The command with the run and, unless told otherwise, the folder "out"."""
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))

    def call(*words):
        out = [] if "--out" in words else ["--out", str(tmp_path / "out")]
        folder = str(trained.weights.parent)
        return cli.main(["predict", *map(str, words), "--run", folder, *out, "--device", "cpu"])

    return call


def save(path, size=(20, 30), mode="RGB", seed=0, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **more)
    return path


def wanted(network, path, **options):
    with Image.open(path) as picture:
        pixels = np.array(picture.convert("RGB"))
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return pixels, inference.average(network, image, **options).argmax(1)[0].numpy()


def test_files_hold_what_the_network_says(label, trained, tmp_path, capsys):
    images = [
        save(tmp_path / "a.png"),
        save(tmp_path / "deep" / "in" / "b.jpg", (37, 21)),
        save(tmp_path / "deep" / "c.bmp", (1, 1)),
    ]
    assert label(images[0], tmp_path / "deep", "--opacity", "0.25") == 0
    said = capsys.readouterr().out
    assert "images: 3" in said and "3 of 3 labelled; overlays and label files are in" in said
    for name, image in zip(("a", "in/b", "c"), images):
        pixels, labels = wanted(trained.model(), image)
        with Image.open(tmp_path / "out" / f"{name}.labels.png") as picture:
            assert picture.mode == "P" and np.array_equal(np.asarray(picture), labels)
            coloured = np.asarray(picture.convert("RGB"))
        assert np.array_equal(coloured, data.Streets.palette[labels])
        with Image.open(tmp_path / "out" / f"{name}.overlay.png") as picture:
            overlay = np.asarray(picture).astype(float)
        assert abs(overlay - (0.75 * pixels + 0.25 * coloured)).max() <= 0.51
    counts = np.bincount(np.concatenate([wanted(trained.model(), i)[1].ravel() for i in images]))
    most = counts.argmax()
    share = 100 * counts[most] / counts.sum()
    assert f"{most} {data.Streets.classes[most]}: {share:.1f} %" in said


def test_windows_scales_and_mirrors_reach_the_answer(label, trained, tmp_path, capsys):
    image = save(tmp_path / "a.png", (40, 61))
    words = ["--window", 16, 24, "--stride", 9, 24, "--scales", 0.5, 1, "--flip"]
    assert label(image, *words) == 0
    said = capsys.readouterr().out
    assert "windows of 16 x 24, every 9 x 24, scales 0.5, 1, mirrored too" in said
    options = {"window": (16, 24), "stride": (9, 24), "scales": (0.5, 1), "flip": True}
    with Image.open(tmp_path / "out" / "a.labels.png") as picture:
        found = np.asarray(picture)
    assert np.array_equal(found, wanted(trained.model(), image, **options)[1])
    assert not np.array_equal(found, wanted(trained.model(), image)[1])


def test_bad_images_are_named_and_the_others_labelled(label, tmp_path, capsys):
    folder = tmp_path / "photos"
    good = save(folder / "good.png")
    cut = folder / "cut.png"
    cut.write_bytes(good.read_bytes()[:200])
    (folder / "words.jpg").write_text("no image")
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(folder / "floats.tif")
    assert label(folder) == 2
    said, wrong = capsys.readouterr()
    assert "1 of 4 labelled" in said and wrong.startswith("error: 3 of 4 images are left out\n")
    for name in ("cut.png", "words.jpg", "floats.tif"):
        assert f"{folder / name} is no image that Pillow can read" in wrong
    assert "whose range nobody says" in wrong and wrong.count("save it anew") == 3
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"good.labels.png", "good.overlay.png", home.MARK}


def test_what_somebody_else_made_stays_unless_it_may_go(label, tmp_path, capsys):
    image, out = save(tmp_path / "a.png"), tmp_path / "out"
    out.mkdir()
    (out / "a.overlay.png").write_text("mine")
    (out / "b.labels.png").write_text("mine")
    assert label(image) == 2
    assert "a.overlay.png is there already" in (said := capsys.readouterr().err)
    assert "--overwrite" in said and (out / "a.overlay.png").read_text() == "mine"
    assert len(list(out.iterdir())) == 2  # nothing was begun
    assert label(image, "--overwrite") == 0
    assert Image.open(out / "a.overlay.png").size == (30, 20)
    assert label(image) == 0  # its own by now
    assert (out / "b.labels.png").read_text() == "mine"


def test_answers_beside_the_images_are_not_labelled_themselves(label, tmp_path, capsys):
    folder = tmp_path / "photos"
    image = save(folder / "a.png")
    before = image.read_bytes()
    for _ in range(2):
        assert label(folder, "--out", folder) == 0
        assert "images: 1\n" in capsys.readouterr().out
    assert image.read_bytes() == before
    names = {path.name for path in folder.iterdir()}
    assert names == {"a.png", "a.labels.png", "a.overlay.png", home.MARK}
    foreign = save(folder / "b.png").rename(folder / "a.overlay.png")
    home.discard(folder)
    save(foreign)
    assert label(folder, "--out", folder, "--overwrite") == 2
    assert "is to be labelled, and would be overwritten" in capsys.readouterr().err


def test_names_that_meet_keep_their_endings_or_are_refused(label, tmp_path, capsys):
    one, two = save(tmp_path / "x" / "a.png"), save(tmp_path / "x" / "A.jpg")
    other = save(tmp_path / "y" / "a.png")
    assert label(tmp_path / "x", one) == 0
    names = {path.name for path in (tmp_path / "out").glob("*.labels.png")}
    assert names == {"a.png.labels.png", "A.jpg.labels.png"}
    capsys.readouterr()
    assert label(one, two, other) == 2
    assert f"{one} and {other} would become the same files" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, said",
    [
        (["nowhere.png"], "nowhere.png is not there: name an image"),
        (["{empty}"], "holds no image (.png"),
        (["{image}", "--opacity", "2"], "--opacity is 0 to 1, not 2"),
        (["{image}", "--stride", "4", "4"], "expected a window to go with stride=(4, 4)"),
        (["{image}", "--window", "4", "4", "--stride", "5", "5"], "no longer than window=(4, 4)"),
        (["{image}", "--scales", "0"], "expected scales above 0"),
    ],
)
def test_mistakes_are_named_before_any_work(label, tmp_path, words, said, capsys):
    (tmp_path / "empty").mkdir()
    places = {"image": save(tmp_path / "a.png"), "empty": tmp_path / "empty"}
    assert label(*(word.format(**places) for word in words)) == 2
    found = capsys.readouterr().err
    assert said in found and "Traceback" not in found and not (tmp_path / "out").exists()


def test_a_run_that_is_none_is_named(tmp_path, capsys):
    words = [str(save(tmp_path / "a.png")), "--out", str(tmp_path / "out"), "--run", "nothing"]
    assert cli.main(["predict", *words]) == 2
    assert "no run at nothing, and none is called so" in capsys.readouterr().err
    assert cli.main(["predict", *words[:-1], str(tmp_path)]) == 2
    assert "holds no metrics.json" in capsys.readouterr().err


def test_an_unknown_device_is_named(label, trained, tmp_path, capsys):
    words = [str(save(tmp_path / "a.png")), "--out", str(tmp_path / "out"), "--device", "abacus"]
    assert cli.main(["predict", *words, "--run", str(trained.weights.parent)]) == 2
    assert "--device abacus cannot be used here" in capsys.readouterr().err


def test_too_little_memory_names_the_remedy(label, tmp_path, monkeypatch, capsys):
    def full(network, run, options):
        def call(pixels):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

        return call, ""

    monkeypatch.setattr(_asking, "asked_so", full)
    assert label(save(tmp_path / "a.png")) == 2
    said = capsys.readouterr().err
    assert "a.png of 30 x 20 pixels is too large" in said and "--window 512 512" in said


def test_any_kind_of_image_is_read_as_it_is_seen(tmp_path):
    def array(picture):
        buffer = io.BytesIO()
        picture.save(buffer, "TIFF" if picture.mode in ("CMYK", "I;16") else "PNG")
        path = tmp_path / "image"
        path.write_bytes(buffer.getvalue())
        return _images.read(path)

    grey = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    three = np.repeat(grey[..., None], 3, 2)
    assert np.array_equal(array(Image.fromarray(grey)), three)
    assert np.array_equal(array(Image.fromarray(grey.astype(np.uint16) * 257)), three)
    assert np.array_equal(array(Image.fromarray(three).convert("RGBA")), three)
    assert np.array_equal(array(Image.fromarray(grey).convert("P")), three)
    assert np.array_equal(array(Image.fromarray(grey > 99)), 255 * (three > 99))
    cmyk = array(Image.fromarray(three).convert("CMYK")).astype(int)
    assert abs(cmyk - three).max() <= 2
    turned = Image.fromarray(three)
    exif = turned.getexif()
    exif[274] = 6  # the camera was held upright
    turned.save(tmp_path / "t.png", exif=exif)
    assert np.array_equal(_images.read(tmp_path / "t.png"), np.rot90(three, -1))
