"""Your own images and masks as a data set: two folders and a table of classes."""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import _own_files as own
from ._contract import IGNORE_INDEX
from .class_table import ClassTable, show


class Folder:
    """Images and masks in two folders, paired by stem whatever folders within these they lie in.

    A mask holds a number or a colour a pixel: an index PNG, a palette PNG, or RGB. A mask of
    numbers or with a palette is read by the values of the class table and, if that has none, by its
    colours; one in colour is read by the colours. 255 does not count unless a class has it.

    An image whose EXIF data say that it is turned is shown upright, and so is its mask where it
    was drawn on the image as it is stored. 16 bit, CMYK, grey and transparent images become 8 bit
    RGB. Images may differ in size; then the recipe needs a crop.

    Args:
        split: "train", "val", "test", or "all" of the pairs.
        images: the folder of the images.
        masks: the folder of the masks.
        classes: the file of the class table, or its rows, see :class:`ClassTable`.
        lists: a folder with train.txt, val.txt and perhaps test.txt, an image a line. Frames of
            one video belong to one list.
        val: without lists, the share of the pairs that validate. Which ones is decided by a hash
            of the stems, so that it is the same on every machine and every day.
        test: as ``val``, of those that test.
        ignore: values or colours (of three numbers) that do not count, besides the table's own.
        longest: shrink images to so many pixels on their longer side; masks to the nearest pixel.

    Raises:
        ValueError: an unknown split, an option out of range or a wrong table.
        FileNotFoundError: a folder, a file of a list or the partner of a file is missing.

    Example:
        >>> import tempfile
        >>> folders = [Path(tempfile.mkdtemp()) for _ in range(2)]
        >>> for stem in "abcde":
        ...     for folder, mode in zip(folders, ("RGB", "L")):
        ...         Image.new(mode, (8, 6)).save(folder / f"{stem}.png")
        >>> field = Folder("train", *folders, ["field", "hedge"])
        >>> len(field), [tuple(part.shape) for part in field[0]]
        (4, [(3, 6, 8), (6, 8)])
    """

    ignore_index = IGNORE_INDEX

    def __init__(
        self,
        split: str,
        images: str | os.PathLike,
        masks: str | os.PathLike,
        classes: ClassTable | str | os.PathLike | Iterable,
        *,
        lists: str | os.PathLike | None = None,
        val: float = 0.2,
        test: float = 0.0,
        ignore: Iterable = (),
        longest: int | None = None,
    ):
        if split not in (*own.SPLITS, "all"):
            raise ValueError(f"split is one of {', '.join(own.SPLITS)} or all, not {split!r}")
        if longest is not None and longest < 1:
            raise ValueError(f"longest is a number of pixels, 1 or more, not {longest!r}")
        self.split, self.images, self.masks = split, Path(images), Path(masks)
        self.lists = None if lists is None else Path(lists)
        self.table = table_of(classes).ignoring(ignore)
        self.shares, self.longest = {"val": val, "test": test}, longest
        files = own.find(self.images, self.masks)
        if self.lists is not None:
            splits = own.lists(self.lists, files)
        else:
            _whole(files)
            splits = own.shares(files.pairs, val, test)
        self._pairs, self._splits = files.pairs, splits
        self.names = tuple(sorted(files.pairs) if split == "all" else splits[split])
        if not self.names:
            how = f"put {split}.txt in {lists}" if lists else f"give {split}= a share above 0"
            raise ValueError(f"nothing is set apart as {split}: {how}")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the table, in the order of the labels."""
        return self.table.names

    @property
    def palette(self) -> np.ndarray:
        """The colours of the table, or such as are easy to tell."""
        return self.table.palette

    @property
    def settings(self) -> dict:
        """What a run remembers of the data, as JSON holds it: all but the place where they lie."""
        rest = {"longest": self.longest, "fingerprint": self.fingerprint}
        return {"classes": self.table.to_list(), **self.shares, **rest}

    @property
    def fingerprint(self) -> str:
        """Twelve digits of the names, lengths and splits of the files, wherever they lie."""
        whose = {key: split for split, keys in self._splits.items() for key in keys}
        told = [
            (key, whose[key], *(path.stat().st_size for path in self._pairs[key]))
            for key in sorted(whose)
        ]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:12]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Folder({self.split!r}, {str(self.images)!r}, {str(self.masks)!r}, {len(self)})"

    def files(self, index: int) -> tuple[Path, Path]:
        """The image and the mask of an item."""
        return self._pairs[self.names[operator.index(index)]]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 ``3 h w`` in [0, 1] and labels int64 ``h w``, ignored pixels as 255.

        Raises:
            ValueError: a file is cut or damaged, the two differ in size, or the mask has a value or
                colour that no class has; the file is named with the remedy.
        """
        image_path, mask_path = self.files(index)
        stored, mask = own.read(image_path), own.read(mask_path)
        if mask_path.suffix.lower() in own.SMEARED:
            raise ValueError(
                f"{mask_path} is a JPEG, which does not keep what was drawn: export the masks as "
                f"PNG; {own.CHECK}"
            )
        path = mask_path
        try:
            image, mask, _ = own.upright(stored, mask)
            label, strange = self.table.labels(mask)
            path = image_path
            image = own.coloured(image)
        except ValueError as error:
            raise ValueError(f"{path} {error}; {own.CHECK}") from None
        if strange.size:
            what = show(strange[0], self.table.reads_colours(mask))
            raise ValueError(
                f"{mask_path}: {what} and {strange.size - 1} more pixels belong to no class of "
                f"{self.table.source}: give them a row there, of the name ignore if they do not "
                f"count; {own.CHECK}"
            )
        if self.longest is not None and max(image.size) > self.longest:
            factor = self.longest / max(image.size)
            size = tuple(max(1, round(side * factor)) for side in image.size)
            image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
            label = np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))
        pixels = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())
        return pixels.float().div_(255), torch.from_numpy(label.astype(np.int64))


def table_of(classes: ClassTable | str | os.PathLike | Iterable) -> ClassTable:
    """A class table of whatever describes one."""
    if isinstance(classes, ClassTable):
        return classes
    if isinstance(classes, (str, os.PathLike)):
        return ClassTable.read(classes)
    return ClassTable(classes)


def _whole(files: own.Files) -> None:
    for what, odd, lacks in (
        ("images", files.images, "a mask"),
        ("masks", files.masks, "an image"),
        ("files", files.doubled, "a stem of their own"),
    ):
        if odd:
            raise FileNotFoundError(
                f"{len(odd)} {what} lack {lacks}, such as {odd[0]}: bring what is missing, move "
                f"them away, or name those to use in lists; {own.CHECK}"
            )
