"""What the parts of a block are worth: points that each demand loses when a part is cut out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from .figures import new_figure, styled
from .palette import INK, PAPER


@styled
def worth_figure(
    lost: Mapping[str, Mapping[str, Mapping[str, float]]], *, title: str = ""
) -> tuple[Figure, dict[str, dict[str, str]]]:
    """Tables side by side, one a block: rows are its parts, columns the demands, darker is more.

    Args:
        lost: block to part to demand to points of accuracy lost without the part; every part of a
            block has the same demands.
        title: a line above all tables.

    Returns:
        the figure, and for each block the part that each demand misses most.
    """
    tables = {
        block: (list(parts), list(next(iter(parts.values()))), parts)
        for block, parts in lost.items()
    }
    rows = max(len(names) for names, _, _ in tables.values())
    figure = new_figure(0.40 * rows + 0.75 + 0.3 * bool(title))
    if title:
        figure.suptitle(title)
    panels = np.atleast_1d(figure.subplots(1, len(tables)))
    most = {}
    for axes, (block, (names, demands, parts)) in zip(panels, tables.items()):
        values = np.array([[parts[name][d] for d in demands] for name in names])
        best = values.argmax(0)
        most[block] = {d: names[i] for d, i in zip(demands, best)}
        axes.imshow(np.clip(values, 0, 60), cmap="Blues", vmin=0, vmax=75, aspect="auto")
        for (r, c), value in np.ndenumerate(values):
            style = {"ha": "center", "va": "center", "color": PAPER if value > 45 else INK}
            axes.text(c, r, f"{value:.0f}".replace("-0", "0").replace("-", "−"), **style)
        axes.set_xticks(range(len(demands)), demands)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.spines[:].set_visible(False)
        axes.set_title(block, pad=8)
    return figure, most
