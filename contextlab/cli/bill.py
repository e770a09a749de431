"""The papers' cost tables, recomputed row by row."""

from __future__ import annotations

import argparse

from ._words import say


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help="e.g. 'SRNet IV'; all by default"
    )


def run(options: argparse.Namespace) -> None:
    """Print the tables."""
    from contextlab import costs

    for table in options.tables or costs.BILLS:
        say(f"{costs.bill(table)}\n")
