"""A person's own files: images and masks that belong together, who trains, and how one is read."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SMEARED = (".jpg", ".jpeg")  # suffixes of files whose values are not what was drawn
SUFFIXES = (*SMEARED, ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SPLITS = ("train", "val", "test")
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
CHECK = "`contextlab data check` lists everything of this kind"


@dataclass
class Files:
    """What lies in two folders.

    Attributes:
        pairs: image and mask by key: the stem, or the path where two files share a stem.
        images: those without a mask.
        masks: those without an image.
        doubled: files that another one of the same place and stem stands in for.
        ending: what the stems of the masks have behind those of the images.
    """

    pairs: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    doubled: list[Path] = field(default_factory=list)
    ending: str = ""


def find(images: Path, masks: Path) -> Files:
    """Pair the files of two folders by stem, in whatever folders within these they lie.

    Where a stem occurs more than once, the paths within the two folders must agree. Where no stem
    of a mask is that of an image, they may all end in the same word more, such as ``_mask``.

    Raises:
        FileNotFoundError: a folder is not there, or holds no picture.
        ValueError: images and masks are in one and the same folder.
    """
    for what, folder in (("images", images), ("masks", masks)):
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder of {what} at {folder}: name another one")
    if images.resolve() == masks.resolve():
        raise ValueError(f"images and masks are both in {images}: give each a folder of its own")
    found = Files()
    shown = _listed(images, masks, found.doubled)
    drawn = _listed(masks, images, found.doubled)
    for what, folder, files in (("image", images, shown), ("mask", masks, drawn)):
        if not files:
            raise FileNotFoundError(f"no {what} in {folder}: expected {', '.join(SUFFIXES)}")
    stems = {_stem(key) for key in shown}
    if not stems & {_stem(key) for key in drawn}:
        found.ending = _ending(stems, drawn)
        drawn = {key.removesuffix(found.ending): path for key, path in drawn.items()}
    alike: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, files in enumerate((shown, drawn)):
        for key in files:
            alike[_stem(key)][side].append(key)
    for stem, (ours, theirs) in sorted(alike.items()):
        if len(ours) == len(theirs) == 1:
            found.pairs[stem] = shown[ours[0]], drawn[theirs[0]]
            continue
        both = set(ours) & set(theirs)
        found.pairs |= {key: (shown[key], drawn[key]) for key in sorted(both)}
        found.images += [shown[key] for key in ours if key not in both]
        found.masks += [drawn[key] for key in theirs if key not in both]
    return found


def _listed(folder: Path, other: Path, doubled: list[Path]) -> dict[str, Path]:
    """The pictures of a folder by their path within it without the suffix."""
    inside = other.resolve() if other.resolve().is_relative_to(folder.resolve()) else None
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        if path.suffix.lower() not in SUFFIXES or any(p.startswith(".") for p in within.parts):
            continue
        if (inside and path.resolve().is_relative_to(inside)) or not path.is_file():
            continue
        # one name has two spellings in Unicode, and macOS prefers the other one
        key = unicodedata.normalize("NFC", within.with_suffix("").as_posix())
        if found.setdefault(key, path) != path:
            doubled.append(path)
    return found


def _stem(key: str) -> str:
    return key.rpartition("/")[2]


def _ending(stems: set[str], drawn: Iterable[str]) -> str:
    """What the masks' stems have behind the images', if it is the same for one and all."""
    endings = set()
    for key in drawn:
        stem = _stem(key)
        known = max((s for s in stems if stem.startswith(s)), key=len, default=None)
        endings.add(None if known is None else stem[len(known) :])
    return endings.pop() or "" if len(endings) == 1 else ""


def shares(keys: Iterable[str], val: float, test: float) -> dict[str, list[str]]:
    """Split keys by fixed shares; which side a key is on depends on the keys alone.

    Raises:
        ValueError: shares out of range, or too few keys for one on each side.
    """
    keys = sorted(keys)
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise ValueError(f"expected shares of 0 to 1, together below 1, got val={val}, test={test}")
    mixed = sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())
    tests, vals = (max(1, round(share * len(keys))) if share else 0 for share in (test, val))
    if tests + vals >= len(keys):
        raise ValueError(
            f"expected at least {tests + vals + 1} pairs to split, found {len(keys)}: add some, or "
            "take a share of 0"
        )
    parts = mixed[tests + vals :], mixed[tests : tests + vals], mixed[:tests]
    return {split: sorted(part) for split, part in zip(SPLITS, parts)}


def lists(folder: Path, files: Files) -> dict[str, list[str]]:
    """Split by the files train.txt, val.txt and test.txt of a folder, an image a line.

    Raises:
        FileNotFoundError: there is no train.txt, or a list names what is not there.
        ValueError: a list is empty, or two lists name one image.
    """
    if not (folder / "train.txt").is_file():
        raise FileNotFoundError(
            f"no train.txt in {folder}: expected train.txt, val.txt and perhaps test.txt, with "
            "the name of an image a line"
        )
    known: dict[str, str] = {}
    for key, (image, _) in files.pairs.items():
        known |= {key: key, _plain(image.as_posix()): key}
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    whose: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        if not path.is_file():
            continue
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not names:
            raise ValueError(f"{path} names no image: expected the name of an image a line")
        keys = {name: _known(_plain(name), known) for name in names}
        if lost := [name for name, key in keys.items() if key is None]:
            raise FileNotFoundError(
                f"{path} names {len(lost)} images that are not there or have no mask, such as "
                f"{lost[0]!r}: mend the list or bring the files"
            )
        for key in dict.fromkeys(keys.values()):
            if (other := whose.setdefault(key, split)) != split:
                raise ValueError(
                    f"{key!r} is named in {other}.txt and in {split}.txt of {folder}: what trains "
                    "must not be scored, keep one of the two"
                )
        found[split] = sorted(set(keys.values()))
    return found


def _plain(name: str) -> str:
    """A name of a list without suffix, spelt as keys are."""
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name


def _known(name: str, known: dict[str, str]) -> str | None:
    while name and name not in known:
        name = name.partition("/")[2]
    return known.get(name)


def read(path: Path) -> Image.Image:
    """A picture as it is stored, whole.

    Raises:
        FileNotFoundError: it has gone.
        PermissionError: it may not be read.
        ValueError: it is cut, damaged or no picture.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} has gone: bring it back or begin anew") from None
    except PermissionError as error:
        raise PermissionError(
            f"{path} cannot be read ({error.strerror}): look at its rights"
        ) from error
    except Exception as error:  # Pillow reports damage as nearly anything
        raise ValueError(
            f"{path} is cut, damaged or no picture ({error}): bring a whole file or take its pair "
            f"away; {CHECK}"
        ) from error


def orientation(picture: Image.Image) -> int:
    """How the EXIF data of a picture say that it is turned; 1 where it is not."""
    turn = picture.getexif().get(ORIENTATION, 1)
    return turn if turn in TURNS else 1


def turned(picture: Image.Image, turn: int) -> Image.Image:
    """A picture as an orientation of EXIF wants it shown."""
    return picture.transpose(TURNS[turn]) if turn in TURNS else picture


def upright(image: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image, bool]:
    """Both as they are shown, and whether the mask was drawn on the image as it is stored.

    Many tools that draw masks do not look at EXIF: a mask that fits the stored image and not the
    shown one is turned as well.

    Raises:
        ValueError: the mask has the size of neither; the message is without the files' names.
    """
    turn = orientation(image)
    shown, drawn = turned(image, turn), turned(mask, orientation(mask))
    along = drawn.size != shown.size and drawn.size == image.size
    if along:
        drawn = turned(drawn, turn)
    if drawn.size != shown.size:
        raise ValueError("is {} x {} pixels, its image {} x {}".format(*drawn.size, *shown.size))
    return shown, drawn, along


def coloured(picture: Image.Image) -> Image.Image:
    """An image in 8 bit RGB, whatever it was stored as; transparency is left out.

    Raises:
        ValueError: it holds fractions; the message is without the file's name.
    """
    if picture.mode == "F":
        raise ValueError("holds fractions (mode F): save it with 8 or 16 bit")
    if picture.mode.startswith("I"):  # 16 bit, which Pillow would cut at 255
        values = np.asarray(picture).astype(np.int64).clip(0, 65535)
        picture = Image.fromarray((values // 257).astype(np.uint8))
    return picture.convert("RGB")
