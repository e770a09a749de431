"""Which values or colours of a mask mean which class: the table that comes with your own masks."""

from __future__ import annotations

import colorsys
import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ._contract import IGNORE_INDEX
from .streets import PALETTE

IGNORE = "ignore"
"""The name in a table of what neither trains nor counts."""

MOST = 254  # classes: labels are bytes here, and two of these are taken
_UNKNOWN = 254
_VALUES, _COLOURS = 1 << 16, 1 << 24
COLUMNS = ("name", "value", "red", "green", "blue")
_SHORT = {"r": "red", "g": "green", "b": "blue", "class": "name", "label": "name", "id": "value"}
HOW = (
    "a class table is a CSV file with the columns name, value, red, green, blue (a value or a "
    f"colour may be left out everywhere; the name {IGNORE} is for pixels that do not count), or a "
    "text file with a name a line for the values 0, 1, 2 and so on"
)


@dataclass(frozen=True)
class Row:
    """What one value or colour means.

    Attributes:
        name: of the class; rows of one name are one class, ``"ignore"`` is none.
        value: in masks of numbers.
        colour: in masks of colours, and in figures.
    """

    name: str
    value: int | None = None
    colour: tuple[int, int, int] | None = None


class ClassTable:
    """The classes of masks, in the order of their first rows.

    Args:
        rows: `Row`s, names (with the values 0, 1, 2 and so on), or triples ``[name, value,
            colour]`` as :meth:`to_list` gives them.
        source: what the table is called in messages.

    Raises:
        ValueError: no class, too many, a value or colour twice or out of range, or a table in which
            some rows have values and others have colours alone.

    Example:
        >>> table = ClassTable(["field", "hedge", "ignore"])
        >>> table.names, table.rows[1].value
        (('field', 'hedge'), 1)
    """

    def __init__(self, rows: Iterable[Row | str | Sequence], source: str = "the class table"):
        self.source = source
        self.rows = tuple(_row(row, place, source) for place, row in enumerate(rows))
        self.names = tuple(dict.fromkeys(r.name for r in self.rows if r.name != IGNORE))
        classes = [row for row in self.rows if row.name != IGNORE]
        self.by_value = all(row.value is not None for row in classes)
        self.by_colour = all(row.colour is not None for row in classes)
        if not 1 <= len(self.names) <= MOST:
            raise ValueError(f"{source}: expected 1 to {MOST} classes, found {len(self.names)}")
        if not (self.by_value or self.by_colour):
            odd = next(row.name for row in classes if row.value is None)
            raise ValueError(
                f"{source}: expected a value in every row, or a colour in every row; {odd!r} lacks "
                f"a value and others lack a colour; {HOW}"
            )
        for what, wanted in (("value", self.by_value), ("colour", self.by_colour)):
            met: dict[object, str] = {}
            for row in self.rows if wanted else ():
                key = getattr(row, what)
                if key is not None and met.setdefault(key, row.name) != row.name:
                    raise ValueError(
                        f"{source}: the {what} {key} is given to {met[key]!r} and to {row.name!r}: "
                        "keep one of the two rows"
                    )

    @classmethod
    def read(cls, path: str | os.PathLike) -> ClassTable:
        """Read a table from a file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no class table; the message has the line.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
        except (FileNotFoundError, IsADirectoryError):
            raise FileNotFoundError(f"no class table at {path}: {HOW}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path} is no text in UTF-8: {HOW}") from None
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        first = lines[0] if lines else ""
        mark = max(",;\t", key=first.count)
        if mark not in first:
            return cls(lines, str(path))
        head = [_SHORT.get(word, word) for word in _words(first.lower(), mark)]
        if "name" not in head or set(head) - set(COLUMNS):
            raise ValueError(f"{path}: the first line is {first!r}; {HOW}")
        rows = []
        for number, line in enumerate(lines[1:], 2):
            cells = dict(zip(head, _words(line, mark)))
            try:
                numbers = {k: int(v) for k, v in cells.items() if k != "name" and v}
            except ValueError:
                raise ValueError(f"{path}, line {number}: expected numbers, {line!r}") from None
            colour = [numbers[c] for c in COLUMNS[2:] if c in numbers]
            if len(colour) not in (0, 3):
                raise ValueError(
                    f"{path}, line {number}: expected all of red, green, blue, {line!r}"
                )
            rows.append((cells["name"], numbers.get("value"), colour or None))
        return cls(rows, str(path))

    def text(self) -> str:
        """The table as a CSV file holds it."""
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(COLUMNS)
        for row in self.rows:
            value = "" if row.value is None else row.value
            lines.writerow([row.name, value, *(row.colour or ("", "", ""))])
        return out.getvalue()

    def write(self, path: str | os.PathLike) -> None:
        """Store the table where no file is yet.

        Raises:
            FileExistsError: there is one; it is left as it is.
        """
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(self.text())
        except FileExistsError:
            raise FileExistsError(f"{path} is there already and is left alone") from None

    def to_list(self) -> list[list]:
        """The rows as JSON holds them."""
        return [[r.name, r.value, None if r.colour is None else list(r.colour)] for r in self.rows]

    def ignoring(self, more: Iterable) -> ClassTable:
        """The same table with further values or colours that do not count.

        Args:
            more: values, or colours of three numbers.
        """
        rows = list(self.rows)
        for what in more:
            value, colour = (what, None) if isinstance(what, int) else (None, tuple(what))
            code = value if colour is None else colour
            met = [k for k, row in enumerate(rows) if code in (row.value, row.colour)]
            for k in met:
                rows[k] = replace(rows[k], name=IGNORE)
            if not met:
                rows.append(Row(IGNORE, value, colour))
        return ClassTable(rows, self.source)

    @property
    def palette(self) -> np.ndarray:
        """A colour for each class, uint8 ``k 3``: the table's own, or one that is easy to tell."""
        colours = distinct(len(self.names))
        for row in reversed(self.rows):  # the first row of a class has the last word
            if row.colour is not None and row.name != IGNORE:
                colours[self.names.index(row.name)] = row.colour
        return colours

    def reads_colours(self, picture: Image.Image) -> bool:
        """Whether a mask is read by its colours and not by its numbers."""
        if picture.mode in COLOURED:
            return self.by_colour
        return not self.by_value

    def known(self, by_colour: bool) -> dict[int, str]:
        """The names by code; the value 255 is one to ignore unless a class has it."""
        usual = {} if by_colour else {IGNORE_INDEX: IGNORE}
        own = {(_code(row.colour) if by_colour else row.value): row.name for row in self.rows}
        return usual | {code: name for code, name in own.items() if code is not None}

    def labels(self, picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Labels of a mask.

        Args:
            picture: the mask.

        Returns:
            uint8 ``h w`` of class numbers and 255, and the codes (see `codes`) of the pixels that
            no class has, one entry a pixel.
        """
        by_colour = self.reads_colours(picture)
        found = codes(picture, by_colour)
        label = {name: k for k, name in enumerate(self.names)} | {IGNORE: IGNORE_INDEX}
        known = tuple((code, label[name]) for code, name in self.known(by_colour).items())
        table = _lookup(known, by_colour)
        labels = table[found]
        return labels, found[labels == _UNKNOWN]


COLOURED = ("RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")


def codes(picture: Image.Image, by_colour: bool) -> np.ndarray:
    """What stands in a mask, one whole number a pixel: its value, or red, green and blue together.

    Args:
        picture: the mask; of an image with a palette the value is the place in the palette.
        by_colour: ask for colours. A mask in colour asked for its values must be grey.

    Returns:
        Whole numbers ``h w``; values that are not 0 to 65534 become 65535, which no class has.

    Raises:
        ValueError: a mask in colour has no values, or numbers are not whole.
    """
    if by_colour:
        rgb = np.asarray(picture.convert("RGB")).astype(np.int32)
        return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    if picture.mode in COLOURED:
        rgb = np.asarray(picture.convert("RGB"))
        if (rgb != rgb[..., :1]).any():
            raise ValueError(
                f"is in colour (mode {picture.mode}), but the classes have values alone: give the "
                "class table the columns red, green, blue"
            )
        return rgb[..., 0]
    if picture.mode in ("LA", "PA"):
        picture = picture.getchannel(0)
    if picture.mode == "F":
        raise ValueError("holds fractions (mode F): save it with whole numbers")
    values = np.asarray(picture)
    if values.dtype in (np.uint8, np.bool_):
        return values.astype(np.uint8)
    return np.where((values < 0) | (values >= _VALUES), _VALUES - 1, values).astype(np.int32)


def show(code: int, by_colour: bool) -> str:
    """A code in words: ``value 7`` or ``colour 128,64,0``."""
    code = int(code)
    if by_colour:
        return f"colour {code >> 16},{code >> 8 & 255},{code & 255}"
    return f"value {code}"


def distinct(count: int) -> np.ndarray:
    """Colours that are easy to tell apart: those of the streets, then hues at the golden angle."""
    more = [
        [round(255 * x) for x in colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.55 + 0.4 * (k % 2), 0.85)]
        for k in range(max(0, count - len(PALETTE)))
    ]
    return np.array([*PALETTE[:count].tolist(), *more], np.uint8).reshape(count, 3)


@lru_cache(maxsize=4)
def _lookup(known: tuple[tuple[int, int], ...], by_colour: bool) -> np.ndarray:
    table = np.full(_COLOURS if by_colour else _VALUES, _UNKNOWN, np.uint8)
    for code, label in known:
        table[code] = label
    return table


def _code(colour: tuple[int, int, int] | None) -> int | None:
    return None if colour is None else colour[0] << 16 | colour[1] << 8 | colour[2]


def _words(line: str, mark: str) -> list[str]:
    return [word.strip() for word in next(csv.reader([line], delimiter=mark))]


def _row(row: Row | str | Sequence, place: int, source: str) -> Row:
    if isinstance(row, str):
        # the numbering goes on behind an ignored line, as the files of names in the field do
        row = Row(row, place)
    elif not isinstance(row, Row):
        name, value, colour = row
        row = Row(name, value, None if colour is None else tuple(colour))
    if not row.name:
        raise ValueError(f"{source}: expected a name in every row, row {place + 1} has none")
    if row.value is not None and not 0 <= row.value < _VALUES - 1:
        raise ValueError(f"{source}: expected values 0 to {_VALUES - 2}, {row.name!r}: {row.value}")
    if row.colour is not None and not all(0 <= part <= 255 for part in row.colour):
        raise ValueError(f"{source}: expected colours of 0 to 255, {row.name!r}: {row.colour}")
    return row
