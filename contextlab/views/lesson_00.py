"""Lesson 00: the map of the course, arrows to the cues, streets with their knobs, overlaps."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import ipywidgets
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from contextlab import catalogue
from contextlab.costs import Table
from contextlab.data.streets import CLASSES, DEMAND_WORDS, PALETTE, Streets
from contextlab.modules import Entry
from contextlab.probes import asks_of

from .figures import WIDTH, legend_row, new_figure, picture, styled
from .overlay import scene
from .palette import DEMAND_COLOURS, FAINT, INK, PAPER, QUIET, SERIES, STEP_COLOURS, pixels, rgb
from .widgets import Explorer, slider


def course_rows(first: str = "00", last: str = "99") -> list[Entry]:
    """The rows of the map: the methods of the catalogue, in the order of the lessons.

    Args:
        first, last: the lessons whose rows are wanted, both included.
    """
    rows = [row for row in catalogue().values() if first <= row.lesson <= last]
    if not rows:
        raise ValueError(f"expected lessons that have methods, got {first!r} to {last!r}")
    return rows


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
                "lesson": row.lesson,
            }
            for row in course_rows()
        ]
    )


@styled
def course_map(first: str = "00", last: str = "99") -> tuple[Figure, list[str]]:
    """The map as a figure: the three steps in their colours.

    Args:
        first, last: the lessons whose rows are wanted, both included.

    Returns:
        the figure, and the titles of its methods.
    """
    rows = course_rows(first, last)
    head = ("", "a node is", "squeeze", "reason", "reconstruct", "")
    under = ("method", "", "pixels → nodes", "nodes talk along a graph", "nodes → pixels", "lesson")
    # left edges in inches of nine, and characters to a line
    left, chars = (0.10, 1.82, 3.20, 4.85, 6.90, 8.50), (21, 18, 19, 27, 20, 6)
    tint = [None, None, *STEP_COLOURS.values(), None]
    words = [(r.title, r.node, r.squeeze, r.reason, r.reconstruct, r.lesson) for r in rows]
    cells = [["\n".join(textwrap.wrap(text, n)) for text, n in zip(row, chars)] for row in words]
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
    for line, height in zip(cells, heights):
        axes.plot([0.02, 8.98], [y, y], color=FAINT, linewidth=0.8)
        for i, text in enumerate(line):
            style = {"fontsize": 9, "va": "center", "linespacing": 1.05, "color": INK}
            style["weight"] = "normal" if i else "bold"
            axes.text(left[i], y - height / 2, "–" if text == "none" else text, **style)
        y -= height
    return figure, [row.title for row in rows]


_BEND = {"G": 0.12, "L": -0.32, "P": 0.10, "C": -0.24, "A": 0.0}  # so that arrows do not overlap


@styled
def cue_figure(streets: Streets, indices: Sequence[int]) -> tuple[Figure, dict]:
    """Streets side by side; in each, one pixel of every demand and the cue that it needs.

    Args:
        streets: the images.
        indices: which of them; one to three.

    Returns:
        the figure, and for each index what :func:`~contextlab.probes.asks_of` tells of it.

    Raises:
        ValueError: an image of which that tells nothing.
    """
    rows = WIDTH / len(indices) / 2
    figure = new_figure(rows + 0.62, width=WIDTH)
    grid = figure.add_gridspec(2, len(indices), height_ratios=(rows + 0.28, 0.3))
    numbers = {}
    for place, index in enumerate(indices):
        axes = figure.add_subplot(grid[0, place])
        image, _ = streets[index]
        title = f"street {index} of {streets.split}" if len(indices) > 1 else ""
        picture(axes, 0.88 * pixels(image) + 0.12, title)
        numbers[index] = asks_of(streets, index)
        for letter, ask in numbers[index].items():
            _arrow(axes, letter, ask, 1.5 if len(indices) == 1 else 1.0)
    shown = [d for d in DEMAND_WORDS if any(d in asks for asks in numbers.values())]
    legend = {f"{d}: {DEMAND_WORDS[d].title}": DEMAND_COLOURS[d] for d in shown}
    legend_row(figure.add_subplot(grid[1, :]), legend, columns=len(legend))
    return figure, numbers


def _arrow(axes: Axes, letter: str, ask: dict, size: float) -> None:
    (row, column), (top, left, bottom, right) = ask["pixel"], ask["cue"]
    colour = DEMAND_COLOURS[letter]
    halo = [patheffects.withStroke(linewidth=2.2 + 2.4 * size, foreground=INK)]
    end = (left + right) / 2, (top + bottom) / 2
    arrow = FancyArrowPatch(
        (column, row),
        end,
        connectionstyle=f"arc3,rad={_BEND[letter]}",
        arrowstyle="-|>",
        mutation_scale=11 * size,
        linewidth=1.9 * size,
        color=colour,
        shrinkA=0,
        shrinkB=2,
        zorder=3,
    )
    arrow.set_path_effects(halo)
    axes.add_patch(arrow)
    box = (left - 1.5, top - 1.5), right - left + 3, bottom - top + 3
    frame = {"facecolor": "none", "linestyle": "-", "clip_on": False}
    axes.add_patch(Rectangle(*box, edgecolor=INK, linewidth=2.6 * size, **frame))
    axes.add_patch(Rectangle(*box, edgecolor=colour, linewidth=1.5 * size, **frame))
    spot = {"facecolor": colour, "edgecolor": INK, "boxstyle": "circle,pad=0.25"}
    axes.text(
        column, row, letter, bbox=spot, ha="center", va="center", weight="bold",
        fontsize=8.5 * size, color=INK, zorder=4,
    )  # fmt: skip


# both, label only, prediction only: strong, and told apart by brightness too
_COLOURS = {"both": SERIES[0], "label only": SERIES[5], "prediction only": SERIES[1]}
_SIGNS = {"both": "✓", "label only": "L", "prediction only": "P"}


@styled
def overlap_figure(
    labels: Tensor | np.ndarray,
    prediction: Tensor | np.ndarray,
    *,
    classes: Sequence[str],
    palette: np.ndarray | None = None,
) -> tuple[Figure, dict[str, tuple[int, int]]]:
    """A small label map, a prediction, and for each class the cells that they share.

    Args:
        labels: ``h w`` whole numbers, few of them: every cell is drawn.
        prediction: ``h w``.
        classes: their names.
        palette: ``classes 3``, colours of the two maps as bytes.

    Returns:
        the figure, and class to (cells in both, cells in either).

    Raises:
        ValueError: maps of different shape.
    """
    labels, prediction = np.asarray(labels), np.asarray(prediction)
    if labels.shape != prediction.shape or labels.ndim != 2:
        raise ValueError(f"expected two maps of one shape, got {labels.shape}, {prediction.shape}")
    rows, columns = labels.shape
    count = len(classes) + 2
    height = 9 / count * rows / columns
    figure = new_figure(height + 0.6)
    grid = figure.add_gridspec(2, count, height_ratios=(height + 0.3, 0.28))
    colours = np.asarray(rgb(SERIES) if palette is None else palette) / 255
    panels = [figure.add_subplot(grid[0, i]) for i in range(count)]
    for axes, name, cells in zip(panels, ("labels", "prediction"), (labels, prediction)):
        _cells(axes, name, cells, lambda n: (colours[n], classes[n]))
    numbers = {}
    for n, (axes, name) in enumerate(zip(panels[2:], classes)):
        own, said = labels == n, prediction == n
        both, either = int((own & said).sum()), int((own | said).sum())
        numbers[name] = (both, either)
        kind = np.where(own & said, 0, np.where(own, 1, np.where(said, 2, 3)))
        looks = [(_COLOURS[k], _SIGNS[k]) for k in _COLOURS] + [(PAPER, "")]
        _cells(axes, f"IoU of {name}: {both}/{either}", kind, looks.__getitem__)
    legend = {f"{_SIGNS[k]}  {k}": colour for k, colour in _COLOURS.items()}
    legend_row(figure.add_subplot(grid[1, 2:]), legend, columns=3)
    figure.add_subplot(grid[1, 0]).axis("off")
    return figure, numbers


def _cells(axes, title: str, cells: np.ndarray, look) -> None:
    rows, columns = cells.shape
    axes.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title)
    for (row, column), n in np.ndenumerate(cells):
        colour, word = look(int(n))
        face = {"facecolor": colour, "edgecolor": FAINT, "linewidth": 1.2}
        axes.add_patch(Rectangle((column, row), 1, 1, **face))
        dark = np.mean(to_rgb(colour)) < 0.5
        style = {"ha": "center", "va": "center", "fontsize": 9 if len(word) < 5 else 7}
        axes.text(column + 0.5, row + 0.5, word, color=PAPER if dark else INK, **style)
    for spine in axes.spines.values():
        spine.set(visible=True, color=QUIET)


def street_explorer(*, split: str = "val", index: int = 0, size: int = 500) -> Explorer:
    """The knobs of the streets: 0 shows a class's own texture, 1 hides it. Twin: :func:`scene`.

    Args:
        split: of the streets.
        index: image to begin with.
        size: number of images to choose from.
    """

    def draw(index: int, **knobs: float) -> tuple[Figure, str]:
        drawn = Streets(split, size=size, **knobs).batch([index])
        demand = drawn["demand"][0].astype(int)
        figure, numbers = scene(
            drawn["image"][0], drawn["label"][0], classes=CLASSES, palette=PALETTE, demand=demand
        )
        local = numbers["demands"]["local"]
        return figure, f"<b>{local:.0%}</b> of the pixels can be read from their own texture"

    controls = {"index": slider("image", size - 1, index)}
    for words in DEMAND_WORDS.values():
        controls[words.knob] = ipywidgets.FloatSlider(
            value=1.0, min=0, max=1, step=0.25, description=f"{words.letter} {words.title}"
        )
    for control in controls.values():
        control.continuous_update = False
        control.style.description_width = "110px"
    return Explorer(draw, controls, "A street, its labels and what each pixel demands.")
