"""The CamVid data set, on a few made-up frames and, where it has been fetched, on the real ones."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from contextlab import data
from contextlab.data import CamVid, camvid


def write(root, split, name, seed):
    random = np.random.default_rng(seed)
    frame = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    label = random.integers(0, 12, (6, 8), dtype=np.uint8)
    for folder, array in ((split, frame), (f"{split}annot", label)):
        (root / folder).mkdir(exist_ok=True)
        Image.fromarray(array).save(root / folder / name)
    return frame, label


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(camvid, "COUNTS", {"train": 3, "val": 1, "test": 1})
    for seed, name in enumerate(("c.png", "a.png", "b.png")):
        write(tmp_path, "train", name, seed)
    return tmp_path


def test_an_item_is_the_files_with_void_ignored(root):
    frame, label = write(root, "val", "x.png", 9)
    frames = CamVid("val", root)
    data.check(frames)
    image, labels = frames[0]
    assert torch.equal(image, torch.from_numpy(frame.transpose(2, 0, 1)).float() / 255)
    assert (label == 11).any()
    assert np.array_equal(labels.numpy(), np.where(label == 11, 255, label))


def test_items_come_in_order_of_names(root):
    frames = CamVid("train", root)
    assert len(frames) == 3 and frames.names == ("a.png", "b.png", "c.png")
    assert len(list(frames)) == 3
    assert torch.equal(frames[-1][0], frames[2][0])


def test_the_root_is_the_variable_or_home(root, monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_CAMVID", str(root))
    assert CamVid("train").root == root
    monkeypatch.delenv("CONTEXTLAB_CAMVID")
    monkeypatch.setenv("CONTEXTLAB_HOME", str(root / "home"))
    assert camvid.default_root() == root / "home" / "data" / "camvid"


def test_missing_files_are_named_with_the_remedy(root):
    remedy = "python data_scripts/camvid.py"
    with pytest.raises(FileNotFoundError, match=rf"no CamVid frames in .*test.*{remedy}"):
        CamVid("test", root)
    (root / "trainannot" / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"such as the labels of b.png.*{remedy}"):
        CamVid("train", root)
    (root / "train" / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"expected 3 frames.*found 2.*{remedy}"):
        CamVid("train", root)


def test_a_cut_file_is_named_with_the_remedy(root):
    frames = CamVid("train", root)
    for folder in ("train", "trainannot"):
        path = root / folder / "a.png"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=rf"{folder}.a.png is cut, damaged.*camvid.py"):
            frames[0]
        path.write_bytes(whole)
    frames[0]


def bomb(path, size=(20_000, 10_000)):
    """A PNG of a few bytes that says it has many pixels."""
    Image.new("RGB", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", *size)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def chatty(path):
    """A PNG with a text that unpacks to more than Pillow allows."""
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "a" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    Image.new("RGB", (8, 6)).save(path, pnginfo=text)


@pytest.mark.parametrize(
    "make, words",
    [
        (bomb, "decompression bomb"),
        (lambda path: bomb(path, (10_000, 10_000)), "decompression bomb"),  # Pillow only warns
        (chatty, "Decompressed data too large"),
        (lambda path: path.write_text("no picture"), "cannot identify"),
    ],
)
def test_what_pillow_refuses_is_named_with_the_remedy(root, make, words):
    make(root / "train" / "a.png")
    with pytest.raises(ValueError, match=rf"train.a.png is cut, damaged.*{words}.*camvid.py"):
        CamVid("train", root)[0]


def test_foreign_labels_are_named(root):
    frames = CamVid("train", root)
    path = root / "trainannot" / "a.png"
    Image.fromarray(np.full((6, 8), 12, np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"a.png: expected labels 0..11"):
        frames[0]
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"a.png is of mode RGB, expected L"):
        frames[0]
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"\(6, 8\) pixels"):
        frames[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a.png has gone"):
        frames[0]


def test_an_unknown_split_is_refused(root):
    with pytest.raises(ValueError, match="split is one of train, val, test, not 'all'"):
        CamVid("all", root)


def test_the_real_frames():
    root = camvid.default_root()
    if not root.is_dir():
        pytest.skip(f"no CamVid in {root}; python data_scripts/camvid.py fetches it")
    for split, count in (("train", 367), ("val", 101), ("test", 233)):
        frames = CamVid(split)
        assert len(frames) == count
        data.check(frames, count // 2)
        image, labels = frames[0]
        assert image.shape == (3, 360, 480) and labels.shape == (360, 480)
    # the published class shares of the training pixels, void included, from a tenth of them
    labels = torch.stack([CamVid("train")[i][1] for i in range(0, 367, 8)])
    share = torch.bincount(labels.flatten(), minlength=256) / labels.numel()
    assert share[3] == pytest.approx(0.3166, abs=0.03)  # road
    assert share[255] == pytest.approx(0.0395, abs=0.02)  # void


def test_the_remedy_names_no_script_that_is_not_here(tmp_path):
    assert camvid._remedy(tmp_path / "none.py").startswith("the script data_scripts/camvid.py of")
    assert "does not bring it" in camvid._remedy(tmp_path / "none.py")
    assert camvid.REMEDY.startswith("python data_scripts/camvid.py fetches it")
