"""The course map: every method as one choice for each of three steps."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from contextlab import catalogue
from contextlab.costs import Table

from .figures import new_figure, styled
from .palette import FAINT, INK, QUIET, STEP_COLOURS


class Row(NamedTuple):
    """One method on the map; ``ready`` says whether the library has it."""

    title: str
    node: str
    squeeze: str
    reason: str
    reconstruct: str
    lesson: str
    ready: bool = False


# The methods that later lessons build, under the name that each will be registered with. A
# registered name replaces its row by its entry.
TO_COME = {
    "guided_fusion": ("GGCF", "a pixel", "none",
                      "LOCAL window and GRID lattice; top-N when pruned", "concatenate", "09"),
    "rectangular_calibration": ("RCA (CGRSeg)", "a row, a column", "axial pooling",
                                "strip convolutions on their sum", "gate", "11"),
    "prototype_guidance": ("DPG (CGRSeg)", "a class", "class-probability pooling",
                           "classes attend", "channel gate", "12"),
}  # fmt: skip


def course_rows(first: str = "00", last: str = "99") -> list[Row]:
    """The rows of the map in the order of the lessons: the catalogue, and what is still to come.

    Args:
        first, last: the lessons whose rows are wanted, both included.
    """
    entries = catalogue()
    rows = [
        Row(e.title, e.node, e.squeeze, e.reason, e.reconstruct, e.lesson, True)
        for e in entries.values()
    ]
    rows += [Row(*row) for name, row in TO_COME.items() if name not in entries]
    rows = [row for row in rows if first <= row.lesson <= last]
    if not rows:
        raise ValueError(f"expected lessons that have methods, got {first!r} to {last!r}")
    return sorted(rows, key=lambda row: (row.lesson, not row.ready))


def course_table() -> Table:
    """The map as a table of words, which a screen reader can walk through."""
    return Table(
        [
            {
                "method": row.title,
                "a node is": row.node,
                "squeeze": row.squeeze,
                "reason: who talks to whom": row.reason,
                "reconstruct": row.reconstruct,
                "lesson": row.lesson if row.ready else f"{row.lesson} (to come)",
            }
            for row in course_rows()
        ]
    )


@styled
def course_map(first: str = "00", last: str = "99") -> tuple[Figure, dict]:
    """The map as a figure: the three steps in their colours, methods to come in grey.

    Args:
        first, last: the lessons whose rows are wanted, both included.

    Returns:
        the figure, and "ready" and "to come": titles of the methods.
    """
    rows = course_rows(first, last)
    head = ("", "a node is", "squeeze", "reason", "reconstruct", "")
    under = ("method", "", "pixels → nodes", "nodes talk along a graph", "nodes → pixels", "lesson")
    # left edges in inches of nine, and characters to a line
    left, chars = (0.10, 1.82, 3.20, 4.85, 6.90, 8.50), (21, 18, 19, 27, 20, 6)
    tint = [None, None, *STEP_COLOURS.values(), None]
    cells = [["\n".join(textwrap.wrap(text, n)) for text, n in zip(row[:6], chars)] for row in rows]
    heights = [0.17 + 0.155 * max(c.count("\n") + 1 for c in line) for line in cells]
    figure = new_figure(0.62 + sum(heights))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 9), ylim=(-sum(heights), 0.62))
    axes.axis("off")
    for i in (2, 3, 4):
        box = (left[i] - 0.07, -sum(heights)), left[i + 1] - left[i] - 0.04, sum(heights) + 0.6
        axes.add_patch(Rectangle(*box, color=tint[i], alpha=0.07, linewidth=0))
        axes.text(left[i], 0.40, head[i], color=tint[i], fontsize=12, weight="bold", va="center")
    for i, text in enumerate(under):
        name = text or head[i]
        axes.text(left[i], 0.14, name, fontsize=9, color=tint[i] or QUIET, va="center")
    y = 0.0
    for row, line, height in zip(rows, cells, heights):
        axes.plot([0.02, 8.98], [y, y], color=FAINT, linewidth=0.8)
        for i, text in enumerate(line):
            style = {"fontsize": 9, "va": "center", "linespacing": 1.05}
            style["color"] = INK if row.ready else QUIET
            style["weight"] = "bold" if row.ready and i == 0 else "normal"
            axes.text(left[i], y - height / 2, "–" if text == "none" else text, **style)
        if row.ready:
            axes.add_patch(Rectangle((0, y - height), 0.035, height, color=INK, linewidth=0))
        y -= height
    numbers = {
        "ready": [row.title for row in rows if row.ready],
        "to come": [row.title for row in rows if not row.ready],
    }
    return figure, numbers
