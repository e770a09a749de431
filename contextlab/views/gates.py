"""Channel gates of many images, two groups of them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .figures import new_figure, picture, styled
from .palette import HEAT, Map, floats


@styled
def gates_figure(groups: Mapping[str, Sequence[Map]], *, title: str = "") -> tuple[Figure, dict]:
    """The channel gates of many images, group by group, ordered by how they tell the groups apart.

    Args:
        groups: two names, each with the gates ``c`` of some images.
        title: a line above.

    Returns:
        the figure, and "difference" (the largest between the groups' mean gates), "channels" (how
        many differ by more than 0.1) and "apart" (share of images on the right side of the middle
        between the two means of the best channel).

    Raises:
        ValueError: not two groups.
    """
    if len(groups) != 2:
        raise ValueError(f"expected two groups, got {len(groups)}")
    stacked = {name: np.stack([floats(g) for g in gates]) for name, gates in groups.items()}
    (first, one), (second, other) = stacked.items()
    gap = one.mean(0) - other.mean(0)
    order = np.argsort(gap)
    best = np.abs(gap).argmax()
    middle = (one.mean(0)[best] + other.mean(0)[best]) / 2
    side = np.sign(gap[best])
    above, below = side * (one[:, best] - middle), side * (middle - other[:, best])
    right = [(above > 0).mean(), (below > 0).mean()]
    heights = [0.10 * len(v) + 0.25 for v in stacked.values()]
    figure = new_figure(sum(heights) + 0.75, width=9.0)
    rows = figure.subplots(2, 1, gridspec_kw={"height_ratios": heights})
    for axes, (name, value) in zip(rows, stacked.items()):
        shown = picture(axes, value[:, order], name, cmap=HEAT, vmin=0, vmax=1, aspect="auto")
    rows[1].set_xlabel(f"{len(order)} channels, ordered by mean at {first} minus mean at {second}")
    rows[0].set_ylabel("images")
    rows[1].set_ylabel("images")
    figure.colorbar(shown, ax=rows, label="gate", fraction=0.03, pad=0.01)
    if title:
        figure.suptitle(title, x=0.008, ha="left")
    numbers = {
        "difference": float(np.abs(gap).max()),
        "channels": int((np.abs(gap) > 0.1).sum()),
        "apart": float(np.mean(right)),
    }
    return figure, numbers
