"""A person's own images and masks: pairs, splits, what a mask may be, and what is refused."""

import pickle

import numpy as np
import pytest
import torch
from own_files import COLOURS, NAMES, TABLE, numbers, pairs, pixels, save
from PIL import Image, ImageOps

from contextlab import data
from contextlab.data import ClassTable, Folder


@pytest.fixture
def places(tmp_path):
    return pairs(tmp_path)


def test_an_item_is_its_two_files_wherever_they_lie(places):
    everything = Folder("all", *places, NAMES)
    data.check(everything)
    assert everything.names == tuple("abcde") and everything.classes == tuple(NAMES)
    for k, (image, labels) in enumerate(everything):
        assert torch.equal(image, torch.from_numpy(pixels(k)).permute(2, 0, 1).float() / 255)
        assert np.array_equal(labels, numbers(k))
    again = pickle.loads(pickle.dumps(everything))
    assert torch.equal(again[1][1], everything[1][1])


def test_build_knows_it_by_a_root_and_by_two_folders(places):
    options = {"classes": NAMES, "val": 0.4}
    one = data.build("folder", "val", root=places[0].parent, **options)
    two = data.build("folder", "val", root=dict(zip(("images", "masks"), places)), **options)
    assert one.names == two.names and len(one) == 2
    with pytest.raises(ValueError, match="needs masks and classes: name the folders"):
        data.build("folder", "val", images=places[0])


def test_the_split_hangs_on_the_stems_alone(places):
    parts = [Folder(s, *places, NAMES, val=0.2, test=0.2) for s in ("train", "val", "test")]
    assert sorted(name for part in parts for name in part.names) == list("abcde")
    assert [len(part) for part in parts] == [3, 1, 1]
    before = parts[1].names, parts[1].fingerprint
    (places[0] / "else").mkdir()
    (places[0] / "a.png").rename(places[0] / "else" / "a.png")  # the same stem elsewhere
    again = Folder("val", *places, NAMES, val=0.2, test=0.2)
    assert (again.names, again.fingerprint) == before
    assert Folder("val", *places, NAMES, val=0.4).fingerprint != before[1]
    with pytest.raises(ValueError, match="nothing is set apart as test: give test= a share"):
        Folder("test", *places, NAMES)
    with pytest.raises(ValueError, match="at least 6 pairs to split, found 5"):
        Folder("val", *places, NAMES, val=0.8, test=0.19)


def test_lists_split_by_stem_path_or_file_name(places, tmp_path):
    (tmp_path / "train.txt").write_text("a\nimages/deep/er/b.png\n\n# no image\nc.png\n")
    (tmp_path / "val.txt").write_text("d\n")
    (places[0] / "more.png").write_bytes((places[0] / "a.png").read_bytes())  # in no list
    assert Folder("train", *places, NAMES, lists=tmp_path).names == ("a", "b", "c")
    assert Folder("val", *places, NAMES, lists=tmp_path).names == ("d",)
    (tmp_path / "val.txt").write_text("d\nb\n")
    with pytest.raises(ValueError, match=r"'b' is named in train.txt and in val.txt"):
        Folder("val", *places, NAMES, lists=tmp_path)
    (tmp_path / "val.txt").write_text("d\nz\nmore\n")
    with pytest.raises(FileNotFoundError, match=r"names 2 images that are not there .* 'z'"):
        Folder("val", *places, NAMES, lists=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no train\.txt in"):
        Folder("val", *places, NAMES, lists=places[0])


def test_files_of_one_stem_are_told_apart_by_their_folders(tmp_path):
    for kind, array in (("images", pixels(0)), ("masks", numbers(0))):
        for town in ("aachen", "bremen"):
            (tmp_path / kind / town).mkdir(parents=True)
            Image.fromarray(array).save(tmp_path / kind / town / "0001.png")
    found = Folder("all", tmp_path / "images", tmp_path / "masks", NAMES)
    assert found.names == ("aachen/0001", "bremen/0001")
    assert all(a.parent.name == b.parent.name for a, b in map(found.files, range(2)))


def test_masks_may_share_one_ending(places):
    for path in list(places[1].rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    assert Folder("all", *places, NAMES).names == tuple("abcde")


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("index", "value"),
        ("palette", "value"),
        ("palette", "colour"),
        ("palette", "both"),
        ("colour", "colour"),
        ("colour", "both"),
        ("grey in three channels", "value"),
        ("16 bit", "value"),
    ],
)
def test_what_a_mask_may_be(places, kind, columns):
    path = next(places[1].rglob("a.png"))
    save(path, numbers(7), kind)
    keep = {"value": (1, 0), "colour": (0, 1), "both": (1, 1)}[columns]
    rows = [[n, v if keep[0] else None, c if keep[1] else None] for n, v, c in TABLE]
    assert np.array_equal(Folder("all", *places, rows)[0][1], numbers(7))


def test_any_value_or_colour_can_be_ignored(places):
    path = next(places[1].rglob("a.png"))
    array = numbers(7)
    array[0] = 255
    save(path, array, "index")
    usual = Folder("all", *places, TABLE)[0][1]
    assert np.array_equal(usual, array)  # 255 unless a class has it
    hedge = Folder("all", *places, TABLE, ignore=[1])
    assert hedge.classes == ("field", "path")
    assert np.array_equal(hedge[0][1], np.select([array == 0, array == 2], [0, 1], 255))
    binary = [["no", 0, None], ["yes", 255, None]]
    binary = Folder("all", *places, binary, ignore=[1, 2])
    assert set(binary[0][1].unique().tolist()) == {0, 1, 255}
    save(path, numbers(7), "colour")
    field = Folder("all", *places, TABLE, ignore=[COLOURS[0]])[0][1]
    assert np.array_equal(field == 255, numbers(7) == 0)


@pytest.mark.parametrize("turn", range(2, 9))
def test_an_image_is_shown_as_its_exif_data_say(places, turn):
    path, mask = places[0] / "a.jpg", next(places[1].rglob("a.png"))
    (places[0] / "a.png").unlink()
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32, 0] = 255  # one red quarter
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(stored).save(path, exif=exif, quality=95)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    labels = (shown[..., 0] > 128).astype(np.uint8)
    Image.fromarray(labels).save(mask)
    image, found = Folder("all", *places, NAMES)[0]
    assert torch.equal(image, torch.from_numpy(shown.copy()).permute(2, 0, 1).float() / 255)
    assert np.array_equal(found, labels)
    if turn >= 5:  # a tool that knows no EXIF drew on the stored image
        Image.fromarray((stored[..., 0] > 128).astype(np.uint8)).save(mask)
        assert np.array_equal(Folder("all", *places, NAMES)[0][1], labels)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "I;16", "P"])
def test_images_of_every_kind_become_8_bit_rgb(places, mode):
    (places[0] / "a.png").unlink()
    picture = Image.fromarray(pixels(0)).convert("L" if mode == "I;16" else mode)
    expected = np.asarray(picture.convert("RGB"))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    picture.save(places[0] / "a.tif")
    image = Folder("all", *places, NAMES)[0][0]
    assert torch.equal(image, torch.from_numpy(expected.copy()).permute(2, 0, 1).float() / 255)


def test_longest_shrinks_both_and_enlarges_nothing(places):
    small = Folder("all", *places, NAMES, longest=4)
    assert [tuple(part.shape) for part in small[0]] == [(3, 3, 4), (3, 4)]
    assert set(small[0][1].unique().tolist()) <= {0, 1, 2}
    assert Folder("all", *places, NAMES, longest=99)[0][0].shape == (3, 6, 8)


def damage(kind, images, masks):
    """Break something of the pair ``a``."""
    image, mask = images / "a.png", next(masks.rglob("a.png"))
    if kind in ("image", "mask"):
        path = {"image": image, "mask": mask}[kind]
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    elif kind == "size":
        save(mask, numbers(0, (6, 9)), "index")
    elif kind == "value":
        save(mask, numbers(0, high=5), "index")
    elif kind == "colour":
        save(mask, numbers(0), "colour")
    elif kind == "jpeg":
        Image.fromarray(numbers(0)).save(mask.with_suffix(".jpg"))
        mask.unlink()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("image", r"images.a.png is cut, damaged"),
        ("mask", r"masks.0.a.png is cut, damaged"),
        ("size", r"masks.0.a.png is 9 x 6 pixels, its image 8 x 6"),
        ("value", r"masks.0.a.png: value [34] and \d+ more pixels belong to no class of"),
        ("colour", r"masks.0.a.png is in colour .* give the class table the columns red"),
        ("jpeg", r"masks.0.a.jpg is a JPEG, which does not keep"),
    ],
)
def test_a_broken_file_is_named_with_the_remedy(places, kind, said):
    damage(kind, *places)
    with pytest.raises(ValueError, match=rf"(?s){said}.*contextlab data check"):
        Folder("all", *places, NAMES)[0]


def test_half_a_pair_missing(places):
    next(places[1].rglob("b.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"1 images lack a mask, such as .*b.png: .* lists"):
        Folder("all", *places, NAMES)
    (places[0] / "deep" / "er" / "b.png").unlink()
    (places[0] / "c.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 masks lack an image, such as .*c.png"):
        Folder("all", *places, NAMES)
    with pytest.raises(FileNotFoundError, match="no folder of masks at"):
        Folder("all", places[0], places[0] / "no", NAMES)
    with pytest.raises(ValueError, match="both in"):
        Folder("all", places[0], places[0], NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "name,value,red,green,blue\nfield,0,1,2,3\nhedge,1,4,5,6\nhedge,2,4,5,6\nignore,9,,,\n",
        "\ufeffvalue;name;r;g;b\n0;field;1;2;3\n1;hedge;4;5;6\n2;hedge;4;5;6\n9;ignore;;;\n",
    ],
)
def test_a_table_is_read_and_written(tmp_path, text):
    path = tmp_path / "classes.csv"
    path.write_text(text, encoding="utf-8")
    table = ClassTable.read(path)
    assert table.names == ("field", "hedge") and table.by_value and table.by_colour
    assert table.palette.tolist() == [[1, 2, 3], [4, 5, 6]]
    labels, strange = table.labels(Image.fromarray(np.array([[0, 1, 2, 9, 7]], np.uint8)))
    assert labels[0, :4].tolist() == [0, 1, 1, 255] and strange.tolist() == [7]
    table.write(tmp_path / "again.csv")
    assert ClassTable.read(tmp_path / "again.csv").to_list() == table.to_list()
    assert ClassTable(table.to_list()).rows == table.rows
    with pytest.raises(FileExistsError, match="is left alone"):
        table.write(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("64 128,64,Animal\n", "the first line is"),
        ("name,value\nfield,zero\n", "line 2: expected numbers"),
        ("name,r,g,b\nfield,1,2,\n", "line 2: expected all of red, green, blue"),
        ("name,value\nfield,0\nhedge,0\n", "value 0 is given to 'field' and to 'hedge'"),
        ("name,value\nfield,-1\n", "expected values 0 to"),
        ("name,r,g,b\nfield,0,0,256\n", "expected colours of 0 to 255"),
        ("name,value,r,g,b\nfield,0,,,\nhedge,,1,2,3\n", "'hedge' lacks a value"),
        ("name,value\n", "1 to 254 classes, found 0"),
    ],
)
def test_a_wrong_table_is_named_with_what_is_wrong(tmp_path, text, said):
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(ValueError, match=f"classes.csv.*{said}"):
        ClassTable.read(tmp_path / "classes.csv")
    with pytest.raises(FileNotFoundError, match="no class table at"):
        ClassTable.read(tmp_path / "none.csv")
