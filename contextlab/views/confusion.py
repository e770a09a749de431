"""What is taken for what: a confusion matrix, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .figures import new_figure, picture, styled
from .palette import HEAT, INK, PAPER

WRITTEN = 16  # with more classes the numbers would be too small to read


@styled
def confusion_figure(
    confusion: np.ndarray, classes: Sequence[str], *, title: str = ""
) -> tuple[Figure, dict]:
    """For each class of the labels, the share of its pixels that is called so, in per cent.

    Args:
        confusion: ``k k``, pixels by (label, prediction).
        classes: k names.
        title: a line above.

    Returns:
        the figure, and "share": ``k k``, per cent of each row, nan where a class has no pixels.

    Raises:
        ValueError: another number of classes.

    Example:
        >>> confusion_figure(np.array([[3, 1], [0, 4]]), ("road", "car"))[1]["share"].tolist()
        [[75.0, 25.0], [0.0, 100.0]]
    """
    confusion, k = np.asarray(confusion), len(classes)
    if confusion.shape != (k, k):
        raise ValueError(f"expected a matrix {k} x {k} for {k} classes, got {confusion.shape}")
    rows = confusion.sum(1, keepdims=True)
    share = np.where(rows > 0, 100 * confusion / np.maximum(rows, 1), np.nan)
    side = 0.42 if k <= WRITTEN else max(0.16, 0.42 * WRITTEN / k)
    width = min(9.0, max(4.5, k * side + 2.6))
    figure = new_figure(min(width, k * side + 2.0), width=width)
    axes = figure.subplots()
    shown = picture(axes, share, title, cmap=HEAT, vmin=0, vmax=100, aspect="auto")
    if k <= 2 * WRITTEN:
        axes.set_xticks(range(k), classes, rotation=90)
        axes.set_yticks(range(k), classes)
    axes.tick_params(length=0)
    axes.set(xlabel="called", ylabel="is")
    if k <= WRITTEN:
        for (i, j), value in np.ndenumerate(share):
            if value >= 0.5:
                colour = INK if value > 55 else PAPER
                place = {"ha": "center", "va": "center", "fontsize": 9}
                axes.text(j, i, f"{value:.0f}", color=colour, **place)
    figure.colorbar(shown, ax=axes, label="% of the row's pixels", fraction=0.04, pad=0.02)
    return figure, {"share": share}
