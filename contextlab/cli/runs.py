"""Train the runs that the lessons show, those that are not there yet."""

from __future__ import annotations

import argparse
import fnmatch
from pathlib import Path

import contextlab

from ._words import add_progress, say

PACKAGE = Path(contextlab.__file__).resolve().parent


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    parser.add_argument("--only", default="*", metavar="PATTERN", help="e.g. '*non_local*'")
    parser.add_argument("--folder", type=Path, help="lessons/runs of the checkout by default")
    parser.add_argument("--root", type=Path, help="where CamVid lies")
    parser.add_argument("--weights", help="of the backbone: a local file")
    parser.add_argument("--list", action="store_true", help="say what is there and what is not")
    add_progress(parser)


def run(options: argparse.Namespace) -> None:
    """Go through the list; what is there is shown, what is not is trained."""
    from contextlab import claims, runs

    files = claims.shipped_files(planned=True)
    file_of = {config.hash: name for name, group in files.items() for config in group}
    # what is planned takes hours: it is trained only when it is called by name
    known = claims.shipped() + (claims.planned() if options.only != "*" else [])
    wanted = [c for c in known if fnmatch.fnmatch(c.name, f"*{options.only}*")]
    if not wanted:
        raise ValueError(f"no shipped run is called {options.only!r}; --list shows their names")
    folder = options.folder or runs.shipped_folder()
    if folder is None:
        raise FileNotFoundError(
            f"no folder lessons/runs is found from here, and {len(wanted)} runs would have to be "
            "trained: work in a checkout of contextlab, or name a folder with --folder"
        )
    installed = options.folder is None and folder.resolve().is_relative_to(PACKAGE)
    for number, config in enumerate(wanted, 1):
        if (found := runs.find_in(folder, config)) is not None:
            how = "there"
        elif options.list:
            say(f"{number:2}/{len(wanted)} missing  {config.name}")
            continue
        elif installed:
            raise FileNotFoundError(
                f"{config.name} is not among the runs that the installed package brings: work in a "
                "checkout of contextlab, or name a folder to train it in with --folder"
            )
        else:
            name = file_of[config.hash]
            found = runs.train(
                config,
                folder / f"{name}.jsonl",
                order=files[name],
                keep=claims.keeps_weights(config),
                root=options.root if config.data == "camvid" else None,
                pretrained=options.weights,
                progress=options.progress,
            )
            how = f"{found.history.seconds:.0f} s"
        say(
            f"{number:2}/{len(wanted)} {how:>7}  mIoU {100 * found.metrics.miou:5.1f}  "
            f"{config.name}"
        )
    for words in claims.misplaced(folder):
        say(words)
