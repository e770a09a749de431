"""Lesson 09: far look-alikes, where gradients go, and the graph that a pixel asks along."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor, nn

from contextlab.modules.graph_guided import GraphGuided, support
from contextlab.probes import Asker
from contextlab.probes.agreement import Agreement

from .affinity import _mark, _outline
from .figures import new_figure, picture, png, styled
from .graphs import asked_graph_figure
from .palette import HEAT, INK, MARKERS, QUIET, Map, floats, pixels, series, stretch, whole
from .widgets import AffinityPicker, _layout, _majority, slider, whom


@styled
def similarity_figure(
    image: Map,
    positions: Sequence[tuple[int, int]],
    maps: Mapping[str, Map],
    *,
    labels: Map | None = None,
    ignore_index: int = 255,
) -> tuple[Figure, dict[str, list[dict[str, float]]]]:
    """A row for each marked pixel: the image, and how similar the features elsewhere are to its.

    Args:
        image: ``3 h w`` in [0, 1].
        positions: rows and columns of the marked pixels of the image.
        maps: name of a network or a layer to cosines, ``positions h' w'``.
        labels: ``h w``; all that carries the pixel's own label is outlined.
        ignore_index: label that does not count.

    Returns:
        the figure, and with labels name to "own" and "other" (mean cosine over the own label and
        over all others) and "misled", one for each position: of the most similar pixels, as many as
        carry the own label, the share that carries another one.
    """
    rgb, size = pixels(image), pixels(image).shape[:2]
    rows, columns = len(positions), 1 + len(maps)
    figure = new_figure(rows * (8.5 / columns * size[0] / size[1] + 0.27))
    grid = figure.subplots(rows, columns, squeeze=False)
    numbers: dict[str, list[dict[str, float]]] = {name: [] for name in maps}
    for r, (row, column) in enumerate(positions):
        own = None if labels is None else whole(labels) == whole(labels)[row, column]
        picture(grid[r, 0], rgb, "the marked pixel" if r == 0 else "")
        for axes, (name, found) in zip(grid[r, 1:], maps.items()):
            big, title = stretch(floats(found)[r], size), name if r == 0 else ""
            if own is not None:
                known = whole(labels) != ignore_index
                numbers[name].append(_misled(big, own, known))
                words = f"{numbers[name][-1]['misled']:.0%} of its likes mislead"
                title = f"{name}: {words}" if columns < 4 else title
            shown = picture(axes, big, title, cmap=HEAT, vmin=0, vmax=1)
        for axes in grid[r]:
            _outline(axes, own)
            _mark(axes, (row, column), 1)
    bar = figure.colorbar(shown, ax=list(grid[:, -1]), fraction=0.03, pad=0.02)
    bar.set_label("cosine")
    return figure, numbers


def _misled(big: np.ndarray, own: np.ndarray, known: np.ndarray) -> dict[str, float]:
    values, same = big[known], own[known]
    nearest = np.argsort(-values, kind="stable")[: same.sum()]
    return {
        "own": float(values[same].mean()),
        "other": float(values[~same].mean()) if (~same).any() else float("nan"),
        "misled": float((~same[nearest]).mean()),
    }


@styled
def agreement_figure(
    found: Mapping[str, Agreement], *, marks: Mapping[str, float] | None = None
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """How often two pixels carry one label, by their distance, beside what chance gives.

    Args:
        found: name of a data set to its agreement.
        marks: name to a distance that is marked by a line: the reach of a head, say.

    Returns:
        the figure, and name to "near" and "far" (share at the smallest and largest distance),
        "half" (largest distance at which at least half of the pairs agree) and "chance".
    """
    figure = new_figure(3.7, width=7.5)
    axes, numbers = figure.subplots(), {}
    for i, (name, a) in enumerate(found.items()):
        style = {"color": series(i), "linewidth": 1.8}
        label = f"{name}: one image"
        axes.plot(a.distances, a.share, marker=MARKERS[i], markersize=5.5, label=label, **style)
        dashes = {"linestyle": (0, (4, 2)), "alpha": 0.9}
        axes.plot(a.distances, a.elsewhere, label=f"{name}: two images", **style | dashes)
        dots = {"linestyle": (0, (1, 1.5)), "linewidth": 1.4, "color": series(i)}
        axes.axhline(a.chance, label=f"{name}: anywhere in one image", **dots)
        numbers[name] = {
            "near": float(a.share[0]),
            "far": float(a.share[-1]),
            "half": a.reach(0.5),
            "chance": a.chance,
        }
    for name, distance in (marks or {}).items():
        axes.axvline(distance, color=QUIET, linewidth=0.9)
        beside = {"xytext": (3, -3), "textcoords": "offset points", "va": "top", "color": QUIET}
        axes.annotate(name, (distance, 1.0), **beside)
    ticks = sorted({int(d) for a in found.values() for d in a.distances})
    axes.set(xscale="log", ylim=(0, 1), xlabel="distance (pixels)", ylabel="pairs with one label")
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    axes.grid(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure, numbers


@styled
def leakage_figure(
    found: Mapping[str, Sequence[Mapping[str, object]]],
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """Which share of the gradient of one class's loss arrives at a look-alike, by network.

    Args:
        found: name of a network to the rows of :func:`~contextlab.probes.leakage.leakage`, the same
            pairs for each.

    Returns:
        the figure, and name to "A → B" to the share.
    """
    rows = next(iter(found.values()))
    words = [f"{row['loss at']} → {row['gradient at']}" for row in rows]
    figure = new_figure(0.36 * len(words) * max(len(found) / 2, 1) + 1.1, width=7.5)
    axes, numbers = figure.subplots(), {}
    thick = 0.8 / len(found)
    places = np.arange(len(words))
    for i, (name, found_rows) in enumerate(found.items()):
        shares = [float(row["share"]) for row in found_rows]
        numbers[name] = dict(zip(words, shares))
        at = places + (i - (len(found) - 1) / 2) * thick
        axes.barh(at, [100 * s for s in shares], thick * 0.9, color=series(i), label=name)
    for place, row in zip(places, rows):
        area = 100 * float(row["area"])
        line = {"color": INK, "linewidth": 1.4, "linestyle": (0, (2, 1.2))}
        label = "the class's share of the map" if place == 0 else None
        axes.plot([area, area], [place - 0.45, place + 0.45], label=label, **line)
    axes.set_yticks(places, words)
    axes.invert_yaxis()
    axes.set_xlabel("gradient of the first class's loss that lies on the second (%)")
    axes.grid(True, axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure, numbers


@styled
def look_alikes_figure(
    found: Mapping[str, Sequence[Mapping[str, object]]], *, title: str = ""
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """Share of the pixels of two look-alikes that carry the other one's name, by network.

    Args:
        found: name of a network to the rows of :func:`~contextlab.probes.confusion.by_pair`, the
            same pairs for each.
        title: a line above.

    Returns:
        the figure, and name to "A, B" to the share.
    """
    words = [f"{row['a']}, {row['b']}" for row in next(iter(found.values()))]
    figure = new_figure(0.34 * len(words) + 1.1, width=7.5)
    axes, numbers = figure.subplots(), {}
    places = np.arange(len(words))
    for i, (name, rows) in enumerate(found.items()):
        shares = [float(row["swapped"]) for row in rows]
        numbers[name] = dict(zip(words, shares))
        shift = (i - (len(found) - 1) / 2) * 0.12
        style = {"color": series(i), "marker": MARKERS[i % len(MARKERS)], "linestyle": "none"}
        axes.plot([100 * s for s in shares], places + shift, markersize=7.5, label=name, **style)
    axes.set_yticks(places, words)
    axes.invert_yaxis()
    most = max(max(shares.values()) for shares in numbers.values())
    axes.set_xlim(-3 * most, 108 * most if most else 1)
    axes.set_xlabel("pixels of the two that are taken for the other (%)")
    axes.grid(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    if title:
        axes.set_title(title)
    return figure, numbers


class GraphExplorer(AffinityPicker):
    """A mosaic of buttons coloured as the image, heads to choose, and networks to ask.

    Made by :func:`graph_explorer`; ``update(row, column)`` is what a click on the mosaic does, and
    ``kinds.value = ("LOCAL",)``, ``local.value = 3``, ``grid.value = 4`` or ``method.value = name``
    what the controls do.
    """

    alt = "The image as a mosaic of buttons, and heads to choose: the graph around a pixel."

    def __init__(self, image, asks, shape, names, labels, query, width) -> None:
        self._asks, self._width = asks, width
        self.kinds = ipywidgets.SelectMultiple(
            options=("LOCAL", "GRID", "FULL"), value=("LOCAL", "GRID"), description="heads", rows=3
        )
        self.local = _size("LOCAL: S", max(shape) - 1, 2)
        self.grid = _size("GRID: T", max(shape), 4)
        self.method = ipywidgets.ToggleButtons(options=list(asks), layout=_layout(width="100%"))
        self.method.style.button_width = "auto"
        super().__init__(image, lambda r, c: None, shape, names, labels, query)
        bar = ipywidgets.HBox(
            [self.kinds, self.local, self.grid], layout=_layout(flex_flow="row wrap")
        )
        self.children = [*([self.method] if len(asks) > 1 else []), bar, *self.children]
        for control in (self.kinds, self.local, self.grid, self.method):
            control.observe(lambda change: self._redraw(), names="value")

    @property
    def heads(self) -> list[str]:
        """The heads in force: those of the chosen network where it has its own, else the chosen."""
        _, own = self._asks[self.method.value]
        sizes = {"LOCAL": f"_{self.local.value}", "GRID": f"_{self.grid.value}", "FULL": ""}
        chosen = [kind + sizes[kind] for kind in sizes if kind in self.kinds.value]
        return own or chosen or ["FULL"]

    def _redraw(self) -> None:
        ask, own = self._asks[self.method.value]
        for control in (self.kinds, self.local, self.grid):
            control.disabled = bool(own)
        weights = None if ask is None else along(ask(*self.query), self.heads, self.query)
        figure, numbers = asked_graph_figure(
            self._image, self.heads, self.query, shape=self.shape, weights=weights
        )
        self.picture.value = png(figure)
        words = graph_in_words(self.heads, numbers, self.shape, self._width)
        if weights is not None:
            said = whom(weights, self.query, labels=self._labels, classes=self._names)
            words += f"<br>{html.escape(self.method.value)}: {said}"
        self.words.value = words


def _size(name: str, last: int, value: int) -> ipywidgets.IntSlider:
    made = slider(name, last, value)
    made.min = 1
    return made


def along(weights: Tensor, heads: Sequence[str], query: tuple[int, int]) -> Tensor:
    """The weights that remain along the graph of some heads, each head's summing to 1.

    A soft-max over a part of the positions is the whole soft-max, cut and divided by what is left:
    so a head that learned to ask everyone tells whom it would ask along any graph.

    Args:
        weights: ``k h w``: one for all heads, or one for each.
        heads: names of heads.
        query: row and column of the pixel that asks.

    Returns:
        ``heads h w``.

    Raises:
        ValueError: another number of weights, more than one.
    """
    if len(weights) not in (1, len(heads)):
        raise ValueError(f"expected weights of 1 or {len(heads)} heads, got {len(weights)}")
    h, w = weights.shape[1:]
    masks = [support(head, h, w, query).to(weights) for head in heads]
    cut = [m * one for m, one in zip(masks, weights.expand(len(heads), h, w))]
    sums = [float(one.sum()) for one in cut]
    kept = [one / s if s > 0 else m / m.sum() for one, m, s in zip(cut, masks, sums)]
    return weights.new_tensor(np.stack([k.numpy() for k in kept]))


def graph_in_words(
    heads: Sequence[str], numbers: Mapping[str, float], shape: tuple[int, int], width: int
) -> str:
    """The graph's edges and what its affinities cost, in words (HTML).

    Args:
        heads: names of heads.
        numbers: of :func:`asked_graph_figure`.
        shape: height and width of the map.
        width: channels d of queries, keys and values.
    """
    macs = 2 * width * numbers["edges"]
    value = f"{macs / 1e9:.2f} G" if macs >= 1e9 else f"{macs / 1e6:.1f} M"
    names = html.escape(", ".join(head.replace("_", " ") for head in heads))
    return (
        f"<b>{names}</b>: this pixel asks {numbers['asked']} of {shape[0] * shape[1]} positions. "
        f"All pixels: {numbers['edges']:,} edges, {numbers['contexts']:.1f} a pixel, "
        f"{numbers['union']:,} of them different; {numbers['of_full']:.1%} of FULL. "
        f"Affinities and weighted sums: {value}MACs at width {width}."
    )


def graph_explorer(
    image: Tensor,
    networks: Mapping[str, nn.Module] | None = None,
    *,
    shape: tuple[int, int] | None = None,
    labels: Tensor | None = None,
    classes: Sequence[str] | None = None,
    query: tuple[int, int] | None = None,
    width: int = 32,
) -> GraphExplorer:
    """Choose heads, S, T and a pixel: see the graph, its edges, its cost, and whom it asks.

    A network that asks everyone, with one head, is asked along the graph that is chosen. One with
    a graph of its own, of several heads, shows that. The static twins are
    :func:`head_graphs_figure` and :func:`asked_graph_figure`.

    Args:
        image: ``3 h w`` in [0, 1].
        networks: name to a trained network whose slot has an affinity; none shows graphs alone.
        shape: height and width of the map where there is no network; a quarter of the image's.
        labels: ``h w``, to say in words which classes are asked.
        classes: names of the classes.
        query: row and column of the map to begin with; its middle by default.
        width: channels d of queries and keys, for the cost.

    Raises:
        ValueError: networks with maps of different size, or a map too large for buttons.
    """
    asks: dict[str, tuple[Asker | None, list[str]]] = {}
    for name, network in (networks or {}).items():
        ask = Asker(network, image)
        shape = shape or ask.shape
        if ask.shape != tuple(shape):
            raise ValueError(f"expected maps of {tuple(shape)}, got {ask.shape} of {name}")
        own = []
        if isinstance(ask.slot, GraphGuided) and [h.name for h in ask.slot.heads] != ["FULL"]:
            own = [head.name for head in ask.slot.heads]
        asks[name] = ask, own
    asks = asks or {"graphs alone": (None, [])}
    shape = tuple(shape or (side // 4 for side in image.shape[1:]))
    if shape[0] * shape[1] > 1024:
        raise ValueError(f"expected a map of at most 1024 positions, got {shape}")
    start = query or (shape[0] // 2, shape[1] // 2)
    small = None if labels is None else _majority(labels, shape)
    return GraphExplorer(image, asks, shape, classes, small, start, width)
