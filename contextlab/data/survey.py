"""What lies in two folders of images and masks, said before a training instead of during it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from . import _own_files as own
from ._contract import IGNORE_INDEX
from .class_table import COLOURED, IGNORE, MOST, ClassTable, Row, codes, distinct, show
from .folder import table_of

SHOWN = 3  # examples of each finding
LINES = 12  # values or colours without a class that are told one by one
MANY = 4096  # different values: no drawing by hand has so many, and counting them ends


@dataclass
class _Seen:
    """One value or colour over all masks."""

    pixels: int = 0
    files: int = 0
    example: Path | None = None


@dataclass
class Survey:
    """What was found.

    Attributes:
        pairs: how many images have a mask.
        problems: what must be mended before a training, a sentence each.
        notes: what is worth knowing.
        table: the class table, the given one or a guess.
        guessed: whether it is a guess.
        counts: pixels by the name of the class.
    """

    pairs: int
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    table: ClassTable | None = None
    guessed: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.pairs} pairs of an image and a mask"]
        if self.counts:
            total, wide = sum(self.counts.values()) or 1, max(map(len, self.counts))
            lines += ["", f"{'class':<{wide}}  share of the pixels (%)"]
            lines += [f"{n:<{wide}}  {100 * c / total:6.2f}" for n, c in self.counts.items()]
        for title, found in (("worth knowing", self.notes), ("to be mended", self.problems)):
            if found:
                lines += ["", f"{title}:", *(f"  - {words}" for words in found)]
        if not self.problems:
            lines += ["", "nothing has to be mended"]
        return "\n".join(lines)


def survey(
    images: str | os.PathLike,
    masks: str | os.PathLike,
    classes: ClassTable | str | os.PathLike | Iterable | None = None,
    *,
    lists: str | os.PathLike | None = None,
    ignore: Iterable = (),
    progress: Callable[[int, int], object] | None = None,
) -> Survey:
    """Look at every image and mask of two folders.

    Args:
        images: the folder of the images.
        masks: the folder of the masks.
        classes: the class table; without one it is guessed.
        lists: the folder of the lists, as for `Folder`; then only what they name has to be whole.
        ignore: values or colours that do not count.
        progress: is told how many pairs of how many are done.

    Returns:
        The findings.

    Raises:
        FileNotFoundError: a folder or the file of the classes is missing.
        ValueError: the class table is none.
    """
    table = None if classes is None else table_of(classes).ignoring(ignore)
    files = own.find(Path(images), Path(masks))
    found, keys = Survey(len(files.pairs), table=table), sorted(files.pairs)
    if files.ending:
        found.notes.append(f"the names of the masks end in {files.ending!r} behind the images' own")
    _partners(found, files, lists is not None)
    if lists is not None:
        try:
            keys = sorted(chain.from_iterable(own.lists(Path(lists), files).values()))
        except (ValueError, FileNotFoundError) as error:
            found.problems.append(str(error))
    looked = _Look(table)
    for done, key in enumerate(keys, 1):
        looked.at(*files.pairs[key])
        if progress is not None:
            progress(done, len(keys))
    looked.tell(found, [*ignore])
    return found


def _partners(found: Survey, files: own.Files, listed: bool) -> None:
    where = found.notes if listed else found.problems
    for what, remedy, odd in (
        ("images without a mask", "draw one, or move the image away", files.images),
        ("masks without an image", "bring it, or move the mask away", files.masks),
        ("files beside another of the same stem", "keep one of them", files.doubled),
    ):
        if odd:
            where.append(f"{what}: {_examples(odd)}: {remedy}")


class _Look:
    """Looks at one pair after the other and remembers what is odd."""

    def __init__(self, table: ClassTable | None) -> None:
        self.table = table
        self.mend: dict[str, list[Path]] = defaultdict(list)
        self.know: dict[str, list[Path]] = defaultdict(list)
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.seen: dict[bool, dict[int, _Seen]] = {False: {}, True: {}}  # by values, by colours
        self.example: dict[bool, Path] = {}
        self.palette: dict[int, tuple[int, int, int]] = {}
        self.crowded: Path | None = None

    def at(self, image_path: Path, mask_path: Path) -> None:
        image, mask = self.open(image_path), self.open(mask_path)
        if image is not None:
            self.kind(image, image_path)
            self.sizes[own.turned(image, own.orientation(image)).size] += 1
        if mask is None:
            return
        if mask_path.suffix.lower() in own.SMEARED:
            self.mend[
                "masks that are JPEGs, which do not keep what was drawn; export PNG instead"
            ].append(mask_path)
        if image is not None:
            try:
                _, mask, along = own.upright(image, mask)
                if along:
                    words = "masks drawn on the image as it is stored, which are turned with it"
                    self.know[words].append(mask_path)
            except ValueError as error:
                words = "masks that are not of their image's size; make both of one size"
                self.mend[words].append(f"{mask_path} {error}")
        self.values(mask, mask_path)

    def open(self, path: Path) -> Image.Image | None:
        try:
            return own.read(path)
        except (ValueError, OSError):
            self.mend["files that are cut, damaged or no pictures; bring them anew"].append(path)
            return None

    def kind(self, image: Image.Image, path: Path) -> None:
        if own.orientation(image) != 1:
            self.know["images turned by their EXIF data, which are shown upright"].append(path)
        if image.mode == "CMYK":
            self.know["images in CMYK, which become RGB of slightly other colours"].append(path)
        if image.mode == "F":
            self.mend["images that hold fractions; save them with 8 or 16 bit"].append(path)
        elif image.mode.startswith("I") or _sixteen(path):
            self.know["images of 16 bit a channel, which are read as 8 bit"].append(path)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            self.know["images with transparent parts, which are read as if they had none"].append(
                path
            )

    def values(self, mask: Image.Image, path: Path) -> None:
        coloured = mask.mode in COLOURED
        by_colour = coloured if self.table is None else self.table.reads_colours(mask)
        try:
            found, counts = np.unique(codes(mask, by_colour), return_counts=True)
        except ValueError as error:
            self.mend[f"masks that the class table cannot read (it {error})"].append(path)
            return
        seen = self.seen[by_colour]
        self.example.setdefault(by_colour, path)
        if len(seen) + len(found) > MANY:
            self.crowded = self.crowded or path
            return
        for code, count in zip(found.tolist(), counts.tolist()):
            entry = seen.setdefault(code, _Seen(example=path))
            entry.pixels += count
            entry.files += 1
        if mask.mode == "P" and not by_colour:
            colours = np.asarray(mask.getpalette("RGB")).reshape(-1, 3)
            for code in found.tolist():
                if code < len(colours):
                    self.palette.setdefault(code, tuple(colours[code].tolist()))

    def tell(self, found: Survey, ignore: list) -> None:
        for words, paths in self.know.items():
            found.notes.append(f"{words}: {_examples(paths)}")
        for words, paths in self.mend.items():
            found.problems.append(f"{words}: {_examples(paths)}")
        if len(self.sizes) > 1:
            some = (f"{n} of {w} x {h}" for (w, h), n in self.sizes.most_common(SHOWN))
            found.notes.append(
                f"images of {len(self.sizes)} sizes ({', '.join(some)}): training cuts a crop"
            )
        if self.crowded:
            found.problems.append(
                f"masks hold more than {MANY} different values or colours, {self.crowded} for "
                "one: were they saved as JPEG, or drawn with soft edges? Export them as PNG "
                "without smoothing"
            )
        if self.table is None:
            self.guess(found, ignore)
        if found.table is not None:
            self.classes(found)

    def guess(self, found: Survey, ignore: list) -> None:
        values, colours = self.seen[False], self.seen[True]
        if values and colours:
            found.problems.append(
                f"masks are of two kinds, with numbers ({self.example[False]}) and in colour "
                f"({self.example[True]}): make them all of one kind, or give the table both columns"
            )
            return
        seen, by_colour = (colours, True) if colours else (values, False)
        void = not by_colour and IGNORE_INDEX in seen and set(seen) != {0, IGNORE_INDEX}
        kept = [code for code in sorted(seen) if not (void and code == IGNORE_INDEX)]
        if not kept or self.crowded:
            return
        if len(kept) > MOST:
            found.problems.append(
                f"masks hold {len(kept)} different {'colours' if by_colour else 'values'}, more "
                f"than the {MOST} classes that there can be: were they drawn with soft edges?"
            )
            return
        usual = dict(zip(kept, distinct(len(kept)).tolist()))
        rows = [
            Row(f"class {k}", None, (code >> 16, code >> 8 & 255, code & 255))
            if by_colour
            else Row(f"class {k}", code, self.palette.get(code, tuple(usual[code])))
            for k, code in enumerate(kept)
        ]
        if void:
            rows.append(Row(IGNORE, IGNORE_INDEX, None))
            found.notes.append(
                "the value 255 is guessed to mean pixels that do not count: if it is a class, give "
                "its row in the table a name"
            )
        found.table, found.guessed = ClassTable(rows, "the guess").ignoring(ignore), True

    def classes(self, found: Survey) -> None:
        table = found.table
        counts = dict.fromkeys(table.names, 0)
        strange = []
        for by_colour, seen in self.seen.items():
            known = table.known(by_colour)
            for code, entry in seen.items():
                name = known.get(code)
                if name is None:
                    strange.append((entry.pixels, show(code, by_colour), entry))
                else:
                    counts[name] = counts.get(name, 0) + entry.pixels
        found.counts = counts
        strange.sort(key=lambda one: -one[0])
        for pixels, what, entry in strange[:LINES]:
            found.problems.append(
                f"{what} belongs to no class: {pixels} pixels in {entry.files} masks, such as "
                f"{entry.example}"
            )
        if len(strange) > LINES:
            found.problems.append(f"and {len(strange) - LINES} more that belong to no class")
        if never := [name for name in table.names if not counts[name]]:
            found.notes.append(f"never drawn: {', '.join(never)}")


def _sixteen(path: Path) -> bool:
    """Whether a PNG has 16 bit a channel; Pillow reads one in colour as 8 bit without a word."""
    with open(path, "rb") as file:
        head = file.read(25)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24] == 16


def _examples(paths: list) -> str:
    more = ", ..." if len(paths) > SHOWN else ""
    return f"{len(paths)} ({', '.join(map(str, paths[:SHOWN]))}{more})"
