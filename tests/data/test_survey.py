"""What is said of two folders before a training."""

import re
import struct
import zlib

import numpy as np
import pytest
from own_files import COLOURS, TABLE, numbers, pairs, pixels, save
from PIL import Image

from contextlab import data
from contextlab.data import ClassTable


@pytest.fixture
def places(tmp_path):
    return pairs(tmp_path)


def words(found: data.Survey) -> tuple[str, str]:
    return "\n".join(found.problems), "\n".join(found.notes)


def test_a_good_set_has_nothing_to_mend(places):
    told = []
    found = data.survey(*places, TABLE, progress=lambda *step: told.append(step))
    assert found.pairs == 5 and not found.problems and not found.notes and not found.guessed
    values = np.concatenate([numbers(k).ravel() for k in range(5)])
    assert found.counts == dict(zip(("field", "hedge", "path"), np.bincount(values).tolist()))
    assert told == [(k, 5) for k in range(1, 6)]
    assert "nothing has to be mended" in str(found) and "field" in str(found)


def test_everything_that_is_broken_is_said_at_once(places):
    images, masks = places
    next(masks.rglob("a.png")).unlink()  # half a pair
    (masks / "z.png").write_bytes(next(masks.rglob("b.png")).read_bytes())
    cut = images / "c.png"
    cut.write_bytes(cut.read_bytes()[:60])
    save(next(masks.rglob("d.png")), numbers(1, (5, 8)), "index")
    strange = numbers(4)
    strange[0, :3] = 77
    save(next(masks.rglob("e.png")), strange, "index")
    found = data.survey(images, masks, [*TABLE, ["wall", 3, None]])
    mend, know = words(found)
    for said in (
        r"images without a mask: 1 \(.*a.png\)",
        r"masks without an image: 1 \(.*z.png\)",
        r"cut, damaged or no pictures; bring them anew: 1 \(.*c.png\)",
        r"not of their image's size; .*: 1 .*d.png is 8 x 5 pixels, its image 8 x 6",
        r"value 77 belongs to no class: 3 pixels in 1 masks, such as .*e.png",
    ):
        assert re.search(said, mend), (said, mend)
    assert "never drawn: wall" in know


def test_images_that_are_read_in_another_way_are_named(places):
    images, masks = places
    exif = Image.Exif()
    exif[0x0112] = 6
    for stem, path in (("a", images / "a.png"), ("b", images / "deep/er/b.png")):
        path.unlink()
        picture = Image.fromarray(pixels(0))
        if stem == "b":
            picture = picture.convert("CMYK")
        picture.save(images / f"{stem}.jpg", **({"exif": exif} if stem == "a" else {}))
    Image.fromarray(numbers(2).astype(np.uint16) * 257).save(images / "c.png")
    _sixteen_bits_in_colour(images / "deep/er/d.png")
    Image.fromarray(pixels(4)).convert("RGBA").save(images / "e.png")
    found = data.survey(images, masks, TABLE)
    mend, know = words(found)
    assert mend == ""
    for said in (
        "images turned by their EXIF data, which are shown upright: 1",
        "masks drawn on the image as it is stored",
        "images in CMYK, which become RGB of slightly other colours: 1",
        "images of 16 bit a channel, which are read as 8 bit: 2",
        "images with transparent parts",
        "images of 2 sizes (4 of 8 x 6, 1 of 6 x 8): training cuts a crop",
    ):
        assert said in know, said


def _sixteen_bits_in_colour(path) -> None:
    """Pillow writes no such PNG."""

    def part(name: bytes, body: bytes) -> bytes:
        check = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)

    rows = b"".join(b"\0" + bytes(8 * 6) for _ in range(6))
    head = part(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0))
    body = part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)


@pytest.mark.parametrize("kind", ["index", "palette", "colour"])
def test_the_guessed_table_reads_what_it_was_guessed_from(places, tmp_path, kind):
    for k, stem in enumerate("abcde"):
        array = numbers(k)
        if kind == "index":
            array[0, 0] = 255
        save(next(places[1].rglob(f"{stem}.png")), array, kind)
    found = data.survey(*places)
    assert found.guessed and not found.problems
    assert ("value 255 is guessed" in words(found)[1]) == (kind == "index")
    assert found.table.names == ("class 0", "class 1", "class 2")
    found.table.write(tmp_path / "classes.csv")
    folder = data.Folder("all", *places, tmp_path / "classes.csv")
    # colours are numbered by their codes
    order = np.argsort(np.argsort([a << 16 | b << 8 | c for a, b, c in COLOURS]))
    array = folder[4][1].numpy()
    expected = order[numbers(4)] if kind == "colour" else numbers(4)
    assert np.array_equal(array[1:], expected[1:])
    assert array[0, 0] == (255 if kind == "index" else expected[0, 0])
    if kind != "index":
        told = ClassTable.read(tmp_path / "classes.csv").palette.tolist()
        assert sorted(told) == sorted(map(list, COLOURS))


def test_masks_that_no_table_can_be_guessed_from(places):
    save(next(places[1].rglob("a.png")), numbers(0), "colour")
    found = data.survey(*places)
    assert found.table is None and "masks are of two kinds" in words(found)[0]
    mask = next(places[1].rglob("a.png"))
    Image.fromarray(pixels(0, (80, 80))).save(mask)
    Image.fromarray(pixels(0, (80, 80))).save(places[0] / "a.png")
    assert "more than 4096 different" in words(data.survey(*places))[0]
    mask.unlink()
    Image.fromarray(numbers(0)).save(mask.with_suffix(".jpg"))
    assert "masks that are JPEGs" in words(data.survey(*places))[0]


def test_with_lists_only_what_they_name_has_to_be_whole(places, tmp_path):
    next(places[1].rglob("a.png")).unlink()
    (tmp_path / "train.txt").write_text("b\nc\n")
    found = data.survey(*places, TABLE, lists=tmp_path)
    assert not found.problems and "images without a mask: 1" in words(found)[1]
    (tmp_path / "train.txt").write_text("a\n")
    assert "names 1 images that are not there" in words(data.survey(*places, lists=tmp_path))[0]
