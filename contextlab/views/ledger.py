"""The ledger of claims as one page: a row a claim, its verdict, and a small forest of its parts."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from contextlab.claims import MEANING, Claim, Part, totals

from .palette import FAINT, INK, QUIET

#: background and ink of a verdict's chip; the word in it is what tells
CHIPS = {
    "right": ("#cfe8dc", "#00513c"),
    "reproduced": ("#cfe8dc", "#00513c"),
    "direction only": ("#d6e6f4", "#083d63"),
    "in part": ("#e8e2f0", "#47306b"),
    "not reproduced": ("#f6ddcd", "#7a3300"),
    "misprint": ("#f6ddcd", "#7a3300"),
    "undecided": ("#ececec", "#3c3c3c"),
    "open": ("#ffffff", "#5c5c5c"),
}
WIDTH, ROW, EDGE = 260, 15, 10  # of a forest, in pixels

STYLE = f"""
body {{ font: 15px/1.45 system-ui, sans-serif; color: {INK}; max-width: 1180px; margin: 2rem auto;
  padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; vertical-align: top; padding: .55rem .6rem;
  border-top: 1px solid {FAINT}; }}
th {{ border-top: 0; font-weight: 600; }}
tr:target {{ background: #fff8dc; }}
h2 {{ margin: 2rem 0 .4rem; font-size: 1.15rem; }}
.chip {{ border-radius: 1em; padding: .1em .7em; white-space: nowrap; font-size: .87rem;
  border: 1px solid {FAINT}; display: inline-block; }}
.place, details, .needs {{ color: {QUIET}; font-size: .87rem; }}
details summary {{ cursor: pointer; }}
.name {{ white-space: nowrap; font-weight: 600; }}
dl {{ display: grid; grid-template-columns: max-content auto; gap: .3rem .8rem; }}
dd {{ margin: 0; }}
svg {{ max-width: none; }}
"""


def ledger_page(
    found: Sequence[Claim], *, lessons: str | Path | None = None, beside: str | Path | None = None
) -> str:
    """The ledger as an HTML page that needs nothing else.

    Args:
        found: claims with their verdicts, such as ``claims.settle()``.
        lessons: folder of the lessons, to which each claim is linked; no links where there is none.
        beside: the folder in which the page will lie, from which links are relative; the folder of
            the lessons by default.

    Returns:
        The page.

    Example:
        >>> from contextlab import claims
        >>> "misprint" in ledger_page([claims.claim("S13")])
        True
    """
    lessons = None if lessons is None else Path(lessons)
    counts = totals(found)
    legend = "".join(
        f"<dt>{_chip(verdict)} {count}</dt><dd>{html.escape(MEANING[verdict])}</dd>"
        for verdict, count in counts.items()
    )
    tables = ""
    for source in dict.fromkeys(claim.entry.source for claim in found):
        rows = [_row(c, lessons, beside) for c in found if c.entry.source == source]
        title = source[0].upper() + source[1:]
        tables += (
            f"<h2>{html.escape(title)}</h2><table><thead><tr><th>claim</th><th>verdict</th>"
            "<th>what is claimed, and what was found</th><th>difference in points</th>"
            f"<th>lesson</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>The ledger of claims</title><style>{STYLE}</style></head><body>"
        f"<h1>The ledger of claims</h1><p>{len(found)} claims of the sources. A dot is the mean "
        "difference over pairs of runs (where said, of images), the line its 95 % interval, the "
        "diamond the published difference, the upright line zero; grey where zero is within the "
        f"interval.</p><dl>{legend}</dl>{tables}</body></html>\n"
    )


def _chip(verdict: str) -> str:
    back, ink = CHIPS[verdict]
    style = f"background:{back};color:{ink}"
    return f'<span class="chip" style="{style}">{html.escape(verdict)}</span>'


def _row(claim: Claim, lessons: Path | None, beside: str | Path | None) -> str:
    number = f"{claim.entry.lesson:02}"
    place = place_in(lessons, number, claim.name) if lessons is not None else None
    link = number
    if place is not None:
        notebook, heading = place
        relative = Path(os.path.relpath(notebook, notebook.parent if beside is None else beside))
        target = f"{relative.as_posix()}{'#' * bool(heading)}{heading}"
        link = f'<a href="{html.escape(target)}">{number}</a>'
    if claim.entry.needs:
        told = f'<div class="needs">Would take {html.escape(claim.entry.needs)}.</div>'
    else:
        told = f"<details><summary>found</summary>{html.escape(claim.found)}</details>"
    return (
        f'<tr id="{claim.name}"><td class="name">{claim.name}</td><td>{_chip(claim.verdict)}</td>'
        f"<td>{html.escape(claim.sentence)}<br>"
        f'<span class="place">{html.escape(claim.entry.place)}, {claim.kind}</span>{told}</td>'
        f"<td>{forest(claim.parts)}</td><td>{link}</td></tr>"
    )


def forest(parts: Sequence[Part]) -> str:
    """A picture (SVG) of the parts of a claim: mean, interval and published difference a row.

    Parts without two pairs are left out; without any other there is no picture.
    """
    parts = [part for part in parts if part.d.n > 1]
    if not parts:
        return ""
    ends = [0.0]
    for part in parts:
        ends += [part.d.low, part.d.high, *([] if part.published is None else [part.published])]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    height = ROW * len(parts) + 22

    def x(value: float) -> float:
        return EDGE + (value - low) / span * (WIDTH - 2 * EDGE)

    drawn = [
        f'<line x1="{x(0):.1f}" y1="2" x2="{x(0):.1f}" y2="{height - 18}" stroke="{INK}"/>',
        f'<text x="{x(0):.1f}" y="{height - 5}" font-size="11" text-anchor="middle">0</text>',
    ]
    for end, anchor in ((low, "start"), (high, "end")):
        if abs(x(end) - x(0)) > 26:
            drawn.append(
                f'<text x="{x(end):.1f}" y="{height - 5}" font-size="11" text-anchor="{anchor}">'
                f"{end:+.1f}</text>"
            )
    for number, part in enumerate(parts):
        y, colour = 8 + ROW * number, QUIET if part.d.low <= 0 <= part.d.high else "#0072B2"
        row = [
            f"<title>{html.escape(str(part))}: {part.verdict}</title>",
            f'<line x1="{x(part.d.low):.1f}" y1="{y}" x2="{x(part.d.high):.1f}" y2="{y}" '
            f'stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{x(part.d.mean):.1f}" cy="{y}" r="3.5" fill="{colour}"/>',
        ]
        if part.published is not None:
            at = x(part.published)
            points = f"{at:.1f},{y - 5} {at + 5:.1f},{y} {at:.1f},{y + 5} {at - 5:.1f},{y}"
            row.append(f'<polygon points="{points}" fill="#ffffff88" stroke="{INK}"/>')
        drawn.append(f"<g>{''.join(row)}</g>")
    words = html.escape("; ".join(f"{part}: {part.verdict}" for part in parts))
    return (
        f'<svg role="img" aria-label="{words}" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}">{"".join(drawn)}</svg>'
    )


def place_in(lessons: Path, number: str, name: str) -> tuple[Path, str] | None:
    """Where a lesson treats a claim.

    Args:
        lessons: folder of the lessons.
        number: of the lesson, such as "07".
        name: of the claim.

    Returns:
        The notebook, and the fragment that leads to the heading above the first cell which names
        the claim (empty: the lesson does not name it); None where there is no such lesson.
    """
    notebook = next(iter(sorted(lessons.glob(f"{number}_*.ipynb"))), None)
    if notebook is None:
        return None
    heading = ""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        for line in text.splitlines():
            if cell["cell_type"] == "markdown" and re.match(r"#{1,4} ", line):
                heading = line.lstrip("# ").strip().replace(" ", "-")
            if re.search(rf"\b{name}\b", line):
                return notebook, heading
    return notebook, ""
