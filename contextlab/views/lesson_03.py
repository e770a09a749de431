"""Everyone talks to everyone: one pixel's lines to all others, and what its questions find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import patheffects
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor, nn

from contextlab.data.streets import DEMAND_WORDS, Streets

from .affinity import Asker
from .figures import new_figure, picture, styled
from .palette import INK, grey, pixels, series


@styled
def everyone_figure(
    image: Tensor | np.ndarray,
    weights: Tensor | np.ndarray,
    query: tuple[int, int],
    *,
    title: str = "",
) -> tuple[Figure, dict]:
    """Lines from one pixel to every other one, the thicker the more it listens there.

    Args:
        image: ``3 H W`` in [0, 1].
        weights: ``h w``, not negative: how the pixel shares out its attention.
        query: row and column of the asking pixel, on the map of the weights.
        title: a line above.

    Returns:
        the figure, and "lines" (how many), "peak" (row, column of the thickest).

    Raises:
        ValueError: the query lies outside the map.
    """
    weights = torch.as_tensor(weights).detach().double().cpu().numpy()
    rows, columns = weights.shape
    if not (0 <= query[0] < rows and 0 <= query[1] < columns):
        raise ValueError(f"expected a query inside {rows} x {columns}, got {tuple(query)}")
    rgb, dim = pixels(image), grey(image)[..., None]
    scale = rgb.shape[0] / rows
    figure = new_figure(9.0 * rgb.shape[0] / rgb.shape[1] + 0.3 * bool(title))
    axes = figure.subplots()
    picture(axes, 0.5 * rgb + 0.25 * dim + 0.25, title)

    grid = np.stack(np.mgrid[:rows, :columns], -1).reshape(-1, 2)
    strength = (weights / weights.max()).ravel()
    order = np.argsort(strength)  # the thickest last, on top
    ends = (grid[order] + 0.5) * scale - 0.5
    start = (np.array(query) + 0.5) * scale - 0.5
    lines = [(start[::-1], end[::-1]) for end in ends]
    root = np.sqrt(strength[order])
    colours = np.tile([*to_rgb(series(0)), 0.0], (len(lines), 1))
    colours[:, 3] = 0.10 + 0.75 * root**1.5
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.35 + 2.6 * root**2))
    axes.scatter(
        ends[:, 1], ends[:, 0], s=2 + 30 * root**2, color=series(0), linewidths=0, zorder=3
    )
    halo = [patheffects.withStroke(linewidth=5, foreground="white")]
    axes.plot(
        *start[::-1], "o", ms=12, mfc=series(1), mec=INK, mew=1.5, path_effects=halo, zorder=4
    )
    peak = np.unravel_index(weights.argmax(), weights.shape)
    return figure, {"lines": len(lines), "peak": tuple(map(int, peak))}


def cue_shares(
    network: nn.Module,
    streets: Streets,
    *,
    demands: Sequence[str] = ("P", "A", "C"),
    images: int = 60,
    asks: int = 4,
) -> list[dict[str, object]]:
    """How much of their attention pixels give to their own cue, and to the one that misleads.

    Asked are pixels well inside an area of one demand and one class. A cue with the label of the
    area is its own; one with another label of the demand's group misleads. Images in which the
    group shows one label only say nothing about this and are left out.

    Args:
        network: has ``features(x)`` and a ``slot`` with ``affinity``; see :class:`Asker`.
        streets: the images.
        demands: letters of demands whose cues carry labels.
        images: look at the first so many.
        asks: pixels that ask in each area.

    Returns:
        A row for each demand and class: "demand", "class", "own cue", "other cue" (shares of the
        weight), "area" (share of the image that the own cue covers: what chance would give it),
        "asked" (how many pixels).

    Raises:
        ValueError: a demand whose cue carries no label of its group, as G.
    """
    sums: dict[tuple[str, str], np.ndarray] = {}
    for index in range(min(images, len(streets))):
        image, labels = streets[index]
        ask, cue, posed = Asker(network, image), streets.cue(index), streets.demand(index)
        for letter in demands:
            d, group = streets.demand_names.index(letter), DEMAND_WORDS[letter].classes
            numbers = [streets.classes.index(name) for name in group]
            if not torch.isin(labels[cue[d]], torch.tensor(numbers)).all():
                raise ValueError(f"expected demands whose cues carry their labels, got {letter!r}")
            shown = [n for n in numbers if (cue[d] & (labels == n)).any()]
            for n in shown if len(shown) > 1 else []:
                own = _shrink(cue[d] & (labels == n), ask.shape)
                other = _shrink(cue[d] & (labels != n), ask.shape)
                inside = _shrink((posed == d) & (labels == n), ask.shape) > 0.99
                spots = inside.nonzero()
                chosen = spots[torch.linspace(0, len(spots) - 1, asks + 2).long()[1:-1]]
                for row, column in chosen.tolist() if len(spots) else []:
                    weights = ask(row, column).mean(0).double()
                    found = [(weights * own).sum(), (weights * other).sum(), own.mean(), 1.0]
                    key = (letter, streets.classes[n])
                    sums[key] = sums.get(key, 0) + np.array([float(v) for v in found])
    rows = []
    for (letter, name), (own, other, area, count) in sorted(sums.items(), key=_order(demands)):
        row = {"demand": letter, "class": name, "own cue": own / count, "other cue": other / count}
        rows.append(row | {"area": area / count, "asked": int(count)})
    return rows


def _order(demands: Sequence[str]):
    return lambda item: (list(demands).index(item[0][0]), item[0][1])


def _shrink(mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """Share of every cell of a coarser map that the mask covers."""
    return F.adaptive_avg_pool2d(mask[None, None].double(), shape)[0, 0]
