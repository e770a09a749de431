"""Lesson 10: pruned neighbours, learned graphs, and receptive fields beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from contextlab.probes import held_area
from contextlab.probes.pruning import Pruned, judged

from .affinity import _mark, glow
from .figures import new_figure, picture, styled
from .palette import DIVERGING, INK, MARKERS, Map, floats, grey, pixels, series

_RULES = {"top": "-", "random": (0, (4, 2)), "lowest": (0, (1, 1.2))}


@styled
def pruning_figure(
    scores: Mapping[str, Sequence[Pruned]],
) -> tuple[Figure, dict[str, dict[str, dict]]]:
    """Scores against what is kept: as a share, and as a count of neighbours.

    Args:
        scores: name of a network to what :func:`~contextlab.probes.pruning.pruning` found.

    Returns:
        the figure, and for each network and rule what
        :func:`~contextlab.probes.pruning.judged` says of it.
    """
    figure = new_figure(4.0)
    left, right = figure.subplots(1, 2, sharey=True)
    numbers: dict[str, dict[str, dict]] = {}
    for i, (name, found) in enumerate(scores.items()):
        rules = dict.fromkeys(score.rule for score in found)
        numbers[name] = {rule: judged(found, rule) for rule in rules}
        for rule in rules:
            points = sorted((s for s in found if s.rule == rule), key=lambda s: s.share)
            style = {
                "color": series(i), "marker": MARKERS[i], "linestyle": _RULES[rule],
                "linewidth": 1.7, "markersize": 4.5, "label": f"{name}, {rule}",
            }  # fmt: skip
            miou = [100 * s.miou for s in points]
            left.plot([100 * s.share for s in points], miou, **style)
            right.plot([s.kept for s in points], miou, **style)
        whole = next(s for s in found if s.keep is None)
        for axes in (left, right):
            axes.axhline(100 * whole.miou, color=series(i), linewidth=0.7, alpha=0.6, zorder=1)
    left.set(xlabel="share of the neighbours that is kept (%)", ylabel="mIoU (%)")
    left.set_title("against the share")
    right.set(xscale="log", xlabel="neighbours kept by a position, all heads")
    right.set_title("against the count")
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_locator(NullLocator())
    for axes in (left, right):
        axes.grid(True)
    handles, words = left.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower left", ncols=len(scores))
    return figure, numbers


@styled
def learned_graph_figure(
    graphs: Mapping[str, Map], *, radius: int = 4
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """Learned graphs E over the offset of the pixel that answers, each in units of its mean.

    Args:
        graphs: name to log E over the offsets i - j, ``2h-1 2w-1``, as
            ``GraphGuided.log_graph(h, w)`` gives it for each head.
        radius: how near is near, in positions, for the numbers.

    Returns:
        the figure, and name to "near" (share of E within the radius, the larger of the two
        offsets), "near by area" (what a flat graph would have there), "ratio" (largest E over the
        smallest) and "peak" (offset, rows and columns, of the largest E).
    """
    numbers, panels = {}, []
    for name, logs in graphs.items():
        logs = floats(logs)[::-1, ::-1]  # from i - j to j - i: where the answer stands
        rows, columns = (n // 2 for n in logs.shape)
        values = np.exp(logs - logs.max())
        y, x = np.mgrid[-rows : rows + 1, -columns : columns + 1]
        near = np.maximum(np.abs(y), np.abs(x)) <= radius
        peak = np.unravel_index(values.argmax(), values.shape)
        numbers[name] = {
            "near": float(values[near].sum() / values.sum()),
            "near by area": float(near.mean()),
            "ratio": float(np.exp(logs.max() - logs.min())),
            "peak": (int(y[peak]), int(x[peak])),
        }
        panels.append((name, np.log2(values / values.mean()), (rows, columns)))
    most = min(max(max(np.abs(v).max() for _, v, _ in panels), 0.1), 6)
    shape = panels[0][1].shape
    figure = new_figure(7.0 / len(panels) * shape[0] / shape[1] + 0.95)
    axes_of = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, values, (rows, columns)) in zip(axes_of, panels):
        extent = (-columns - 0.5, columns + 0.5, rows + 0.5, -rows - 0.5)
        shown = axes.imshow(
            values, extent=extent, cmap=DIVERGING, vmin=-most, vmax=most, aspect="equal"
        )
        axes.set_title(name)
        axes.set_xlabel("columns to the right")
        axes.plot(0, 0, "+", color=INK, ms=9, mew=1.6)
    axes_of[0].set_ylabel("rows down")
    bar = figure.colorbar(shown, ax=list(axes_of), fraction=0.03, pad=0.02)
    ticks = [t for t in (-6, -4, -2, -1, 0, 1, 2, 4, 6) if abs(t) <= most]
    bar.set_ticks(ticks, labels=[f"{2.0**t:g}" if t >= 0 else f"1/{2**-t}" for t in ticks])
    bar.set_label("E over its mean")
    return figure, numbers


@styled
def fields_figure(
    image: Map,
    positions: Sequence[tuple[int, int]],
    fields: Mapping[str, Map],
    *,
    share: float = 0.9,
) -> tuple[Figure, dict[str, list[float]]]:
    """Receptive fields of some networks at marked pixels, with the area that holds 90 %.

    Args:
        image: ``3 h w`` in [0, 1].
        positions: rows and columns of the marked pixels of the image.
        fields: name of a network to its field at each position, ``positions h' w'``: what
            :func:`~contextlab.probes.occlusion.occlusion` or a gradient gives.
        share: which share of the response the area holds.

    Returns:
        the figure, and name to that area at each position, as a share of the image.
    """
    rgb, size = pixels(image), pixels(image).shape[:2]
    rows, columns = len(positions), 1 + len(fields)
    figure = new_figure(rows * (9.0 / columns * size[0] / size[1] + 0.27) + 0.2 * (columns > 3))
    grid = figure.subplots(rows, columns, squeeze=False)
    numbers: dict[str, list[float]] = {name: [] for name in fields}
    dim = 0.30 * grey(image)
    for r, position in enumerate(positions):
        picture(grid[r, 0], 0.75 * rgb + 0.2, "the marked pixel" if r == 0 else "")
        for axes, (name, found) in zip(grid[r, 1:], fields.items()):
            field = floats(found)[r]
            numbers[name].append(held_area(field, share))
            value = f"{share:.0%} in {numbers[name][-1]:.0%}" + " of the image" * (columns < 4)
            title = f"{name}\n{value}" if r == 0 else value
            title = f"{name}: {value}" if columns < 4 else title
            picture(axes, glow(dim, field), title)
        for axes in grid[r]:
            _mark(axes, position, 1)
    return figure, numbers
