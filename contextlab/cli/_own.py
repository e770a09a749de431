"""The options that name a person's own images and masks, and the note of where they lie."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlab.data import Folder
    from contextlab.runs import Run

PLACE = "data.json"  # beside the run and no part of it, so that a run can be given away
PARTS = ("images", "masks", "lists")
WORDS = ("images", "masks", "classes", "lists", "ignore", "val_share", "test_share", "longest")


def add_files(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The options that say where files lie."""
    for name, kind, does in (
        ("images", "DIR", "your images"),
        ("masks", "DIR", "their masks, of the same stems"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar=kind, help=does, required=required)
    parser.add_argument(
        "--lists", type=Path, metavar="DIR", help="with train.txt, val.txt, perhaps test.txt"
    )


def add_classes(parser: argparse.ArgumentParser) -> None:
    """The options that say what masks mean."""
    parser.add_argument("--classes", type=Path, metavar="FILE", help="the class table of the masks")
    parser.add_argument(
        "--ignore",
        action="append",
        metavar="VALUE",
        help="a value, or a colour as 0,0,0, that does not count; may be given again",
    )


def codes(given: list[str] | None) -> list:
    """Values and colours of the option ``--ignore``."""
    found = []
    for word in given or ():
        parts = word.split(",")
        if len(parts) not in (1, 3) or not all(part.strip().isdigit() for part in parts):
            raise ValueError(f"--ignore is a value like 0 or a colour like 0,0,0, not {word!r}")
        numbers = [int(part) for part in parts]
        found.append(numbers[0] if len(numbers) == 1 else tuple(numbers))
    return found


def dataset(options: argparse.Namespace) -> Folder:
    """The training images that the options name; those of validation are looked for as well."""
    from contextlab import data

    given = {name: getattr(options, name) for name in (*PARTS, "classes", "longest")}
    given |= {"val": options.val_share, "test": options.test_share}
    given = {name: value for name, value in given.items() if value is not None}
    given["ignore"] = codes(options.ignore)
    data.build("folder", "val", root=options.root, **given)
    return data.build("folder", "train", root=options.root, **given)


def parts(found: Folder) -> dict[str, Path]:
    """Where its files lie, as `data.build` takes it for ``root``."""
    return {part: path for part in PARTS if (path := getattr(found, part)) is not None}


def note(folder: Path, found: Folder) -> None:
    """Remember beside a run where its data lie."""
    from contextlab.home import claim, write_atomically

    text = json.dumps({part: str(path.absolute()) for part, path in parts(found).items()}, indent=1)
    claim(folder / PLACE)
    write_atomically(folder / PLACE, f"{text}\n")


def place(options: argparse.Namespace, run: Run, folder: Path) -> object:
    """Where the data of a run lie: as given, or as noted beside it."""
    given = {part: value for part in PARTS if (value := getattr(options, part)) is not None}
    if run.config.data != "folder":
        if given:
            raise ValueError(f"--{next(iter(given))} belongs to runs on a folder of images")
        return options.root
    if options.root:
        return options.root
    if "images" in given and "masks" in given:
        return given
    path = (folder if folder.is_dir() else folder.parent) / PLACE
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return {part: noted[part] for part in PARTS if part in noted} | given
    except (OSError, ValueError, TypeError):
        raise FileNotFoundError(
            f"{path} does not say where the images of this run lie: give --images and --masks"
        ) from None
