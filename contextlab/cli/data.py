"""Look at your own images and masks before a training."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._own import add_classes, add_files, codes
from ._words import add_progress, say


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    asked = parser.add_subparsers(required=True, metavar="WHAT")
    does = "say what lies in two folders, and what is to be mended before a training"
    check = asked.add_parser("check", help=does, description=f"{does}; exit status 1 if there is.")
    add_files(check, required=True)
    add_classes(check)
    check.add_argument(
        "--write-classes", type=Path, metavar="FILE", help="write the class table that is guessed"
    )
    add_progress(check)


def run(options: argparse.Namespace) -> int:
    """Print what was found."""
    from contextlab import data, training

    if options.write_classes and options.classes:
        raise ValueError("--write-classes writes a guess, and --classes gives the table already")
    if options.write_classes and options.write_classes.exists():  # before the work
        raise FileExistsError(f"{options.write_classes} is there already and is left alone")
    bar = training.progress_bar(0, show=options.progress, title="looking")

    def tell(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        found = data.survey(
            options.images,
            options.masks,
            options.classes,
            lists=options.lists,
            ignore=codes(options.ignore),
            progress=tell,
        )
    say(found)
    if found.guessed and options.write_classes:
        found.table.write(options.write_classes)
        say(f"\nthe guessed class table is in {options.write_classes}: name the classes")
    elif found.guessed:
        say("\nthe classes are guessed; --write-classes FILE writes a table to be named and given")
    elif options.write_classes:
        say("\nno class table can be guessed before the masks are mended")
    return 1 if found.problems else 0
