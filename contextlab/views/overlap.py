"""Intersection and union of small label maps, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from .figures import legend_row, new_figure, styled
from .palette import FAINT, INK, PAPER, QUIET, SERIES, rgb

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
