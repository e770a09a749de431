"""Where the answers stand: an arrow from a pixel of each demand to the cue that tells its class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from contextlab.data.streets import DEMAND_WORDS, Streets

from .figures import WIDTH, legend_row, new_figure, picture, styled
from .palette import DEMAND_COLOURS, INK, pixels

_BEND = {"G": 0.12, "L": -0.32, "P": 0.10, "C": -0.24, "A": 0.0}  # so that arrows do not overlap


@styled
def cue_figure(streets: Streets, indices: Sequence[int]) -> tuple[Figure, dict]:
    """Streets side by side; in each, one pixel of every demand and the cue that it needs.

    Args:
        streets: the images.
        indices: which of them; one to three.

    Returns:
        the figure, and for each index the demands in it: letter to ("pixel" (row, column), "cue"
        (top, left, bottom, right), "distance" (pixels between them), "class").

    Raises:
        ValueError: an image that poses no demand, or both of whose signs say the same, so that no
            arrow would show which one tells.
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
        numbers[index] = _asks(streets, index)
        for letter, ask in numbers[index].items():
            _arrow(axes, letter, ask, 1.5 if len(indices) == 1 else 1.0)
    shown = [d for d in DEMAND_WORDS if any(d in asks for asks in numbers.values())]
    legend = {f"{d}: {DEMAND_WORDS[d].title}": DEMAND_COLOURS[d] for d in shown}
    legend_row(figure.add_subplot(grid[1, :]), legend, columns=len(legend))
    return figure, numbers


def _asks(streets: Streets, index: int) -> dict[str, dict]:
    """For each demand that the image poses: a pixel that asks, and the box around its cue."""
    labels, demand = streets[index][1].numpy(), streets.demand(index).numpy()
    cues = streets.cue(index).numpy()
    found = {}
    for d, letter in enumerate(streets.demand_names):
        posed = demand == d
        if letter == "local" or not posed.any():
            continue
        shown = np.unique(labels[posed])
        if letter in "PA" and len(shown) < 2:
            raise ValueError(f"expected a street whose two signs differ, got image {index}")
        # of two classes in one image, the one that covers more pixels asks
        chosen = max(shown, key=lambda n: (posed & (labels == n)).sum())
        area = np.argwhere(posed & (labels == chosen))
        area = area[area[:, 0] == int(np.median(area[:, 0]))]  # along the middle of it
        if letter == "G":  # the whole sky tells: point at a piece of it
            pixel = area[np.abs(area[:, 1] - np.quantile(area[:, 1], 0.14)).argmin()]
            cue = _piece(cues[d], pixel[1])
        else:
            cue = np.argwhere(cues[d] & (labels == chosen))
            away = np.abs(area[:, 1] - cue[:, 1].mean())
            share = {"L": 0.8, "C": 0.8, "P": 0.5, "A": 0.1}[letter]
            pixel = area[np.abs(away - np.quantile(away, share)).argmin()]
        box = (*cue.min(0).tolist(), *cue.max(0).tolist())
        gap = np.maximum(np.maximum(box[:2] - pixel, pixel - box[2:]), 0)
        found[letter] = {
            "pixel": tuple(pixel.tolist()),
            "cue": box,
            "distance": int(gap.max()),
            "class": streets.classes[chosen],
        }
    if not found:
        raise ValueError(f"expected a street that poses a demand, got image {index}")
    return found


def _piece(sky: np.ndarray, column: int) -> np.ndarray:
    """The pixels of a piece of clear sky, as near to this column as there is one."""
    top, height, width = 3, 4, 7
    band = sky[top : top + height]
    clear = [c for c in range(2, sky.shape[1] - width - 1) if band[:, c : c + width].all()]
    left = min(clear, key=lambda c: abs(c + width // 2 - column), default=2)
    return np.array([(top, left), (top + height - 1, left + width - 1)])


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
