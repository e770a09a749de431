"""The papers' cost tables, recomputed row by row."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._words import say

LEGEND = """\
published     what the paper prints
ours          what we count in the paper's own way; error is (ours - published) / published
true          what this library's module costs, every multiplication counted
prints alike  ours, rounded as the paper rounds, is what the paper prints
grade         what a match is worth:
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="such as 'SRNet IV'; or all")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a PNG file: ours / published")


def run(options: argparse.Namespace) -> None:
    """Print what the columns mean, and the tables; or draw them."""
    from contextlab import costs

    for table in set(options.tables) - set(costs.BILLS):
        costs.bill(table)  # raises, and names those that there are
    if options.plot is not None:
        _plot(options)
        return
    grades = (f"  {grade:16}  {means}" for grade, means in costs.GRADES.items())
    say("\n".join([LEGEND + next(grades), *grades, ""]))
    for table in options.tables or costs.BILLS:
        say(f"{costs.bill(table)}\n")


def _plot(options: argparse.Namespace) -> None:
    from contextlab.home import claim
    from contextlab.views import bill_figure, bill_in_words, png

    from ._pictures import write_picture

    claim(options.plot)  # before the work
    figure, numbers = bill_figure(options.tables) if options.tables else bill_figure()
    write_picture(options.plot, png(figure))
    say(bill_in_words(numbers))
    say(f"the plot is in {options.plot}")
