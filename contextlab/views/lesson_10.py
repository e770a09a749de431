"""Lesson 10: pruned neighbours, learned graphs, and receptive fields beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Tensor, nn

from contextlab.modules.graph_guided import GraphGuided
from contextlab.probes import Asker, held_area

from .affinity import _GLOW, _mark, glow
from .figures import new_figure, picture, png, styled
from .palette import DIVERGING, INK, MARKERS, QUIET, Map, floats, grey, pixels, series, stretch
from .widgets import AffinityPicker, _majority, whom

#: what the slider of `kept_explorer` offers
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_RULES = {"top": "-", "random": (0, (4, 2)), "lowest": (0, (1, 1.2))}


@styled
def few_figure(
    image: Map, weights: Map, query: tuple[int, int], keep: int
) -> tuple[Figure, dict[str, float]]:
    """Lines from a pixel to all that it asks, beside the lines to the few that it asks most.

    Args:
        image: ``3 H W`` in [0, 1].
        weights: ``h w``, not negative: how the pixel shares out its attention.
        query: row and column of the asking pixel, on the map of the weights.
        keep: how many are kept.

    Returns:
        the figure, and "asked", "kept" and "weight" (what the kept held of the whole).
    """
    values = floats(weights)
    rgb, dim = pixels(image), grey(image)[..., None]
    scale = rgb.shape[0] / values.shape[0]
    order = np.argsort(values, axis=None)
    figure = new_figure(9.0 / 2 * rgb.shape[0] / rgb.shape[1] + 0.3)
    numbers = {"asked": values.size, "kept": keep}
    numbers["weight"] = float(values.ravel()[order[-keep:]].sum() / values.sum())
    start = (np.array(query) + 0.5) * scale - 0.5
    titles = (f"asks all {values.size}", f"asks {keep}, which held {numbers['weight']:.0%}")
    for axes, chosen, title in zip(figure.subplots(1, 2), (order, order[-keep:]), titles):
        picture(axes, 0.5 * rgb + 0.25 * dim + 0.25, title)
        ends = (np.stack(np.unravel_index(chosen, values.shape), 1) + 0.5) * scale - 0.5
        strong = np.sqrt(values.ravel()[chosen] / values.max())
        colours = np.tile([*to_rgb(series(0)), 0.0], (len(chosen), 1))
        colours[:, 3] = 0.12 + 0.7 * strong**1.5
        lines = [(start[::-1], end[::-1]) for end in ends]
        axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.35 + 2 * strong**2))
        axes.plot(ends[:, 1], ends[:, 0], ".", ms=2.5, color=series(0))
        _mark(axes, query, scale)
    return figure, numbers


@styled
def kept_figure(
    image: Map,
    panels: Mapping[str, tuple[Map, Map]],
    query: tuple[int, int],
    *,
    columns: int | None = None,
    labels: Map | None = None,
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """Whom a pixel still asks: the kept in the colour of their weight, the dropped as dots.

    Args:
        image: ``3 H W`` in [0, 1].
        panels: title (a head, a rule) to the weights ``h w`` of all, zero off the graph, and to
            those that are kept, zero elsewhere.
        query: row and column of the asking pixel, on the map of the weights.
        columns: panels in a row.
        labels: ``h w`` of the map, to say how many of the kept carry the pixel's own one instead of
            what they weigh.

    Returns:
        the figure, and title to "asked", "kept" and "weight" (what the kept held of the whole),
        with labels also "own label" (part of the kept).
    """
    size = pixels(image).shape[:2]
    columns = columns or min(len(panels), 3)
    lines = -(-len(panels) // columns)
    figure = new_figure(lines * (9.0 / columns * size[0] / size[1] + 0.25))
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    numbers, dim = {}, 0.35 * grey(image) + 0.08
    for axes, (title, (whole, kept)) in zip(grid, panels.items()):
        whole, kept = floats(whole), floats(kept)
        scale = size[0] / whole.shape[0]
        still = kept > 0
        numbers[title] = {
            "asked": int((whole > 0).sum()),
            "kept": int(still.sum()),
            "weight": float(whole[still].sum() / whole.sum()),
        }
        strong = stretch(np.where(still, 0.35 + 0.65 * np.sqrt(kept / kept.max()), 0), size)
        strong = strong[..., None]
        light = (1 - strong) * dim[..., None] + strong * _GLOW(strong[..., 0])[..., :3]
        n = numbers[title]
        held = f"{n['kept']} of {n['asked']} hold {n['weight']:.0%}"
        if labels is not None:
            n["own label"] = float((floats(labels)[still] == floats(labels)[tuple(query)]).mean())
            held = f"{n['own label']:.0%} of {n['kept']} share its label"
        picture(axes, light, f"{title}: {held}" if columns < 4 else held)
        gone = (np.argwhere((whole > 0) & ~still) + 0.5) * scale - 0.5
        axes.plot(gone[:, 1], gone[:, 0], ".", ms=1.6, color="white", alpha=0.55)
        _mark(axes, query, scale)
    for axes in grid[len(panels) :]:
        axes.axis("off")
    return figure, numbers


class KeptExplorer(AffinityPicker):
    """A mosaic of buttons coloured as the image, and a slider of the share that is kept.

    Made by :func:`kept_explorer`; ``update(row, column)`` is what a click on the mosaic does, and
    ``share.value = 0.1``, ``rule.value = "random"`` or ``method.value = name`` the controls.
    """

    alt = "The image as a mosaic of buttons, and a slider of the share kept: whom a pixel asks."

    def __init__(self, image, asks, names, labels, query) -> None:
        self._asks = asks
        self.method = ipywidgets.ToggleButtons(options=list(asks), description="network")
        self.rule = ipywidgets.ToggleButtons(options=list(_RULES), description="kept are")
        for buttons in (self.method, self.rule):
            buttons.style.button_width = "auto"
        self.share = ipywidgets.SelectionSlider(
            options=[(f"{share:.0%}", share) for share in SHARES], value=0.1, description="share"
        )
        self.share.continuous_update = False
        shape = next(iter(asks.values())).shape
        super().__init__(image, lambda r, c: None, shape, names, labels, query)
        self.children = [self.method, self.rule, self.share, *self.children]
        for control in (self.method, self.rule, self.share):
            control.observe(lambda change: self._redraw(), names="value")

    def _redraw(self) -> None:
        ask = self._asks[self.method.value]
        panels = kept_panels(ask, self.query, self.share.value, self.rule.value)
        figure, numbers = kept_figure(self._image, panels, self.query)
        self.picture.value = png(figure)
        all_, still = (sum(n[key] for n in numbers.values()) for key in ("asked", "kept"))
        kept = torch.stack([torch.as_tensor(kept) for _, kept in panels.values()])
        said = whom(kept, self.query, labels=self._labels, classes=self._names)
        text = (
            f"All heads together: {still} of {all_} are kept. In effect and on average over heads: "
        )
        self.words.value = text + said


def kept_panels(
    ask: Asker, query: tuple[int, int], keep: int | float | None, rule: str = "top"
) -> dict[str, tuple[Tensor, Tensor]]:
    """For each head its weights with all neighbours, and with the kept ones: for `kept_figure`.

    Args:
        ask: of a network with a graph-guided module, which is left as it was.
        query: row and column of the pixel that asks.
        keep, rule: options of the module; None or a share of 1 keeps all.
    """
    slot, found = ask.slot, []
    before = slot.keep, slot.prune
    try:
        for value in (None, keep):
            slot.keep, slot.prune = None if value == 1 else value, rule
            found.append(ask(*query))
    finally:
        slot.keep, slot.prune = before
    names = [head.name.replace("_", " ") for head in slot.heads]
    names = [name if names.count(name) == 1 else f"{name}, {i}" for i, name in enumerate(names, 1)]
    return dict(zip(names, zip(*found)))


def kept_explorer(
    networks: Mapping[str, nn.Module],
    image: Tensor,
    *,
    labels: Tensor | None = None,
    classes: Sequence[str] | None = None,
    query: tuple[int, int] | None = None,
) -> KeptExplorer:
    """Choose a pixel and the share that it keeps; see whom each head still asks.

    The static twin is :func:`kept_figure`.

    Args:
        networks: name to a network with a graph-guided module.
        image: ``3 h w`` in [0, 1].
        labels: ``h w``, to say in words which classes are asked.
        classes: names of the classes.
        query: row and column of the map to begin with; its middle by default.

    Raises:
        ValueError: no network, or one whose slot has no graph.
    """
    asks = {name: Asker(network, image) for name, network in networks.items()}
    wrong = [name for name, ask in asks.items() if not isinstance(ask.slot, GraphGuided)]
    if not asks or wrong:
        raise ValueError(f"expected networks with a graph-guided module, got {wrong or 'none'}")
    shape = next(iter(asks.values())).shape
    small = None if labels is None else _majority(labels, shape)
    start = query or (shape[0] // 2, shape[1] // 2)
    return KeptExplorer(image, asks, classes, small, start)


@styled
def pruning_figure(
    rows: Sequence[Mapping[str, object]],
) -> tuple[Figure, dict[str, dict[str, dict[str, float]]]]:
    """Scores against what is kept, as a share and as a count: means over seeds, and their range.

    Args:
        rows: of :func:`~contextlab.probes.pruning.rows`, with "network" and "seed".

    Returns:
        the figure, and for each network and rule "whole" (mIoU with all, in per cent), "best" and
        "at" (the largest mean, and its share) and "tenth" (at the share nearest to a tenth).
    """
    figure = new_figure(3.9)
    left, right = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(row["network"] for row in rows))
    numbers: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
    for i, name in enumerate(names):
        own = [row for row in rows if row["network"] == name]
        for rule in dict.fromkeys(row["rule"] for row in own):
            of_rule = [row for row in own if row["rule"] == rule]
            shares = sorted({row["share"] for row in of_rule})
            seeds = [[r["mIoU"] for r in of_rule if r["share"] == share] for share in shares]
            kept = [next(r["kept"] for r in of_rule if r["share"] == s) for s in shares]
            mean = [float(np.mean(values)) for values in seeds]
            best = int(np.argmax(mean))
            near = int(np.argmin([abs(share - 0.1) for share in shares]))
            numbers[name][rule] = {
                "whole": mean[-1], "best": mean[best], "at": shares[best], "tenth": mean[near],
            }  # fmt: skip
            style = {
                "color": series(i), "marker": MARKERS[i], "linestyle": _RULES[rule],
                "linewidth": 1.7, "markersize": 4.5, "label": f"{name}, {rule}",
                "gid": rule,
            }  # fmt: skip
            for axes, x in ((left, [100 * s for s in shares]), (right, kept)):
                axes.plot(x, mean, **style)
                span = [min(v) for v in seeds], [max(v) for v in seeds]
                axes.fill_between(x, *span, color=series(i), alpha=0.15, linewidth=0)
    left.set(xlabel="share of the neighbours that is kept (%)", ylabel="mIoU (%)")
    left.set_title("against the share")
    right.set(xscale="log", xlabel="neighbours kept by a pixel, all heads")
    right.set_title("against the count")
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_locator(NullLocator())
    for axes in (left, right):
        axes.grid(True)
    # a column of the legend for each rule, a row for each network
    lines = sorted(left.get_lines(), key=lambda line: list(_RULES).index(line.get_gid()))
    figure.legend(handles=lines, loc="outside lower left", ncols=len({x.get_gid() for x in lines}))
    return figure, numbers


@styled
def held_figure(
    found: Mapping[str, Sequence[Mapping[str, float]]],
) -> tuple[Figure, dict[str, list[Mapping[str, float]]]]:
    """What the neighbours with the largest affinities hold: of the weight, and of one's own label.

    Args:
        found: name of a network to the rows of :func:`~contextlab.probes.pruning.held`.

    Returns:
        the figure, and the rows.
    """
    figure = new_figure(3.3)
    left, right = figure.subplots(1, 2)
    for i, (name, rows) in enumerate(found.items()):
        shares = [100 * row["share"] for row in rows]
        style = {"color": series(i), "marker": MARKERS[i], "markersize": 5, "linewidth": 1.7}
        left.plot(shares, [100 * row["weight"] for row in rows], label=name, **style)
        right.plot(shares, [100 * row["own label"] for row in rows], label=name, **style)
        line = {"color": series(i), "linewidth": 1.2, "linestyle": (0, (4, 2))}
        right.axhline(100 * rows[-1]["own label"], **line)
    left.plot([0, 100], [0, 100], color=QUIET, linewidth=1.2, linestyle=(0, (4, 2)))
    left.set(xlabel="largest affinities kept (%)", ylabel="% of the weight", ylim=(0, 103))
    left.set_title("they hold most of the weight (dashed: at random)")
    right.set(xlabel="largest affinities kept (%)", ylabel="% of the kept", ylim=(0, 103))
    right.set_title("their label is the pixel's own (dashed: of all)")
    for axes in (left, right):
        axes.grid(True)
    left.legend(loc="lower right")
    return figure, {name: list(rows) for name, rows in found.items()}


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
    bar = figure.colorbar(shown, ax=list(axes_of), fraction=0.03, pad=0.02, shrink=0.8)
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
            value = f"{share:.0%} in {numbers[name][-1]:.0%}" + " of the image" * (columns < 3)
            title = f"{name}: {value}" if columns < 4 else f"{name}\n{value}" if r == 0 else value
            picture(axes, glow(dim, field), title)
        for axes in grid[r]:
            _mark(axes, position, 1)
    return figure, numbers
