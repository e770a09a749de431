"""Claims of the papers, settled by counting and by finished runs."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path

from ._words import say


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    parser.add_argument("--only", default="*", metavar="PATTERN", help="e.g. 'D*' or S8")
    parser.add_argument("--long", action="store_true", help="what was found, and over how many")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the ledger as a page")
    parser.add_argument("--times", type=Path, help="a JSON file of benchmarks/modules.py")


def run(options: argparse.Namespace) -> None:
    """Print the ledger, or write it as a page."""
    from contextlab import claims, runs

    known = claims.entries()
    names = [name for name in known if fnmatch.fnmatch(name, options.only)]
    if not names:
        raise ValueError(f"no claim is called {options.only!r}; without --only all are printed")

    def told(name: str) -> None:
        if sys.stderr.isatty():
            print(f"{name} ...", end="\r", file=sys.stderr, flush=True)

    found = claims.settle(names, times=options.times, told=told)
    if options.html:
        from contextlab.home import claim as claim_file
        from contextlab.home import write_atomically
        from contextlab.views.ledger import ledger_page

        page = options.html.resolve()
        lessons = (runs.shipped_folder() or page).parent
        lessons = lessons if any(lessons.glob("*.ipynb")) else None
        claim_file(page)  # a page of somebody else's is left alone
        write_atomically(page, ledger_page(found, lessons=lessons, beside=page.parent))
        say(f"{len(found)} claims in {options.html}")
        return
    counts = ", ".join(f"{number} {verdict}" for verdict, number in claims.totals(found).items())
    say(f"{len(found)} claims: {counts}\n")
    for claim in found:
        say(f"{claim.verdict:14}  {claim.name:3}  {claim.sentence} ({claim.source})")
        if options.long:
            say(f"{'':21}{claim.found}")
    if not options.long:
        say("\n--long says what was found, --html FILE makes a page of it")
