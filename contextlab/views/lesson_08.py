"""Lesson 08: squeeze reasoning: who speaks into a node, what it answers, and how it is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, ConnectionPatch, Rectangle
from torch import nn

from contextlab.probes import inside_reasoning

from .figures import new_figure, picture, styled
from .palette import DIVERGING, INK, PAPER, QUIET, STEP_COLOURS, Map, floats, pixels, series
from .widgets import Explorer, slider


@styled
def node_figure(image: Map, inside: Mapping[str, Map], node: int) -> tuple[Figure, dict]:
    """One node of an image: what the pixels say into its states, and all nodes before and after.

    Args:
        image: ``3 h w`` in [0, 1].
        inside: what :func:`inside_reasoning` returns.
        node: which one, from 0. Of more than eight states the eight with the loudest pixels are
            drawn.

    Returns:
        the figure, and "squeezed" and "answer" (the node's states before and after) and "loudest"
        (row and column of the pixel that adds most to each state).

    Raises:
        ValueError: no such node.
    """
    speak, g, answer = (floats(inside[name]) for name in ("speak", "nodes", "answer"))
    k, m = g.shape
    if not 0 <= node < k:
        raise ValueError(f"expected a node from 0 to {k - 1}, got {node}")
    loud = np.sort(np.argsort(-np.abs(speak[node]).max((1, 2)), kind="stable")[:8])
    rgb, shown = pixels(image), speak[node][loud]
    columns = 2 if len(shown) <= 4 else 4
    wide = 9.0 / (1 + columns)
    tall = wide * rgb.shape[0] / rgb.shape[1] + 0.28
    rows = max(2, -(-len(shown) // columns))
    figure = new_figure(tall * rows + 0.1)
    grid = figure.add_gridspec(rows, 1 + columns)
    picture(figure.add_subplot(grid[0, 0]), rgb, "image")
    below = grid[1:, 0].subgridspec(1, 2)
    names = ("G: squeezed", "G': answered") if columns == 2 else ("G", "G'")
    for place, (values, name) in enumerate(zip((g, answer), names)):
        axes = figure.add_subplot(below[0, place])
        reach = max(np.abs(values).max(), 1e-6)
        style = {"cmap": DIVERGING, "vmin": -reach, "vmax": reach, "aspect": "auto"}
        picture(axes, values, name, **style)
        axes.add_patch(
            Rectangle((-0.5, node - 0.5), m, 1, fill=False, edgecolor=INK, linewidth=2.0)
        )
        named = range(0, k, max(1, k // 8))
        axes.set_yticks(named, [str(i) if not place else "" for i in named])
        axes.tick_params(length=0, labelsize=8)
        axes.set_ylabel("" if place else "node")
        axes.set_xlabel(f"{m} state{'s' * (m > 1)}")
    reach = max(np.abs(shown).max(), 1e-6)
    panels = [grid[place // columns, 1 + place % columns] for place in range(len(shown))]
    for panel, i, each in zip(panels if m > 1 else [grid[:, 1:]], loud, shown):
        axes = figure.add_subplot(panel)
        values = f"{g[node, i]:+.2f}", f"{answer[node, i]:.2f}"
        title = "state {}: g = {}, g' = {}" if columns == 2 else "state {}: {}, {}"
        title = title.format(i, *values)
        picture(axes, each, title, cmap=DIVERGING, vmin=-reach, vmax=reach)
    words = f"orange adds, purple takes away; darkest: {reach:.1f} at one pixel"
    if m > len(loud):
        words = f"the {len(loud)} loudest of {m} states, with g and g'; {words}"
    figure.supxlabel(words, x=0.992, ha="right", fontsize=9)
    places = [np.unravel_index(np.abs(each).argmax(), each.shape) for each in speak[node]]
    return figure, {
        "squeezed": [float(v) for v in g[node]],
        "answer": [float(v) for v in answer[node]],
        "loudest": [(int(r), int(c)) for r, c in places],
    }


class NodeExplorer(Explorer):
    """Choose the number of nodes, a node and an image; made by :func:`node_explorer`."""

    def __init__(
        self,
        networks: Mapping[int, nn.Module],
        dataset: Sequence,
        nodes: int,
        node: int,
        index: int,
    ) -> None:
        self._networks, self._dataset = networks, dataset
        sizes = ipywidgets.SelectionSlider(options=list(networks), value=nodes, description="K")
        sizes.continuous_update = False
        controls = {
            "nodes": sizes,
            "node": slider("node", nodes - 1, node),
            "index": slider("image", len(dataset) - 1, index),
        }
        super().__init__(self._say, controls, "A street, and what its pixels say into one node.")

    def _redraw(self) -> None:
        node, last = self._controls["node"], self._controls["nodes"].value - 1
        if node.max != last:
            moved = node.value > last
            node.max, node.disabled = last, last == 0
            if moved:
                return  # the slider moved to the last node there is, and that drew
        super()._redraw()

    def _say(self, nodes: int, node: int, index: int) -> tuple[Figure, str]:
        image = self._dataset[index][0]
        inside = inside_reasoning(self._networks[nodes], image)
        figure, numbers = node_figure(image, inside, node)
        said, back = numbers["squeezed"], numbers["answer"]
        many = " ..." if len(said) > 8 else ""
        words = ", ".join(f"{v:+.2f}" for v in said[:8]) + many
        answer = ", ".join(f"{v:.2f}" for v in back[:8]) + many
        title = f"<b>node {node}</b> of {nodes}, image {index}"
        return figure, f"{title}: {words}; its answer: {answer}"


def node_explorer(
    networks: nn.Module | Mapping[int, nn.Module],
    dataset: Sequence,
    *,
    nodes: int | None = None,
    node: int = 0,
    index: int = 0,
) -> NodeExplorer:
    """Choose K, a node and an image; see who speaks into it. The twin is :func:`node_figure`.

    Args:
        networks: number of nodes to a network with so many in the :class:`SqueezeReasoning` of its
            slot; or one network.
        dataset: of ``(image, labels)``.
        nodes: K to begin with; the first by default.
        node: node to begin with.
        index: image to begin with.

    Raises:
        ValueError: no network, or a slot with another number of nodes than its name says.
    """
    if isinstance(networks, nn.Module):
        networks = {networks.slot.nodes: networks}
    have = {k: network.slot.nodes for k, network in networks.items()}
    if not have or any(k != nodes for k, nodes in have.items()):
        raise ValueError(f"expected networks by the number of their nodes, got {have}")
    return NodeExplorer(networks, dataset, nodes or next(iter(have)), node, index)


@styled
def reasoning_figure(image: Map, nodes: Map, answer: Map) -> tuple[Figure, dict]:
    """A street becomes one vector, the vector a few nodes that talk, and the answer opens channels.

    Args:
        image: ``3 h w`` in [0, 1].
        nodes: ``k m``, the pooled vector.
        answer: ``k m``, the gates.

    Returns:
        the figure, and "nodes" and "states".
    """
    rgb, g, back = pixels(image), floats(nodes), floats(answer)
    k, m = g.shape
    figure = new_figure(2.05)
    left, first, graph, second, right = figure.subplots(
        1, 5, gridspec_kw={"width_ratios": (10, 3.6, 5, 3.6, 10)}
    )
    picture(left, rgb, "squeeze: every pixel goes in")
    picture(right, 0.5 * rgb + 0.5, "reconstruct: every pixel is told")
    for axes, values in ((first, g), (second, back)):
        _cells(axes, values)
    graph.set(xlim=(-1.45, 1.45), ylim=(-1.45, 1.45), xticks=[], yticks=[], aspect="equal")
    graph.set_title("reason: nodes talk", loc="center")
    angle = np.pi / 2 - 2 * np.pi * (np.arange(k) + 0.5) / k
    spots = np.stack([np.cos(angle), np.sin(angle)], 1)
    for i in range(k):
        for j in range(i):
            graph.plot(*zip(spots[i], spots[j]), color=QUIET, linewidth=0.9, zorder=1)
        style = {"facecolor": series(i % 6), "edgecolor": PAPER, "linewidth": 1.5, "zorder": 2}
        graph.add_patch(Circle(tuple(spots[i]), 0.24, **style))
    graph.spines[:].set_visible(False)
    arrow = {"arrowstyle": "-|>", "mutation_scale": 12, "linewidth": 1.3, "clip_on": False}
    height, width = rgb.shape[:2]
    for y in np.linspace(0.14, 0.86, 5):
        ends = ((width - 1, y * height), (-0.05, k / 2))
        _arrow(figure, left, first, *ends, color=STEP_COLOURS["squeeze"], **arrow)
        ends = ((m + 0.05, k / 2), (0.06 * width, y * height))
        _arrow(figure, second, right, *ends, color=STEP_COLOURS["reconstruct"], **arrow)
    for a, b, ends in (
        (first, graph, ((m + 0.05, k / 2), (-1.4, 0))),
        (graph, second, ((1.4, 0), (-0.05, k / 2))),
    ):
        _arrow(figure, a, b, *ends, color=STEP_COLOURS["reason"], **arrow)
    return figure, {"nodes": k, "states": m}


@styled
def grouping_figure(
    returns: Mapping[str, Sequence[int]], nodes: int
) -> tuple[Figure, dict[str, int]]:
    """Into which node each channel goes, and whose answer comes back in its place.

    Args:
        returns: name of a grouping to two lists in one: for every channel the node that it joins,
            then for every place of the vector the channel whose answer arrives there.
        nodes: k.

    Returns:
        the figure, and name to the number of channels that get their own answer.
    """
    panels = {name: np.asarray(v, int).reshape(2, -1) for name, v in returns.items()}
    figure = new_figure(2.15)
    numbers = {}
    for axes, (name, (joins, arrives)) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels.items()
    ):
        p = len(joins)
        own = arrives == np.arange(p)
        numbers[name] = int(own.sum())
        centres = (np.arange(nodes) + 0.5) * p / nodes
        for c in range(p):
            colour, back = series(joins[c]), series(joins[arrives[c]])
            axes.plot([c + 0.5, centres[joins[c]]], [2.0, 1.35], color=colour, linewidth=1.2)
            axes.plot([centres[joins[arrives[c]]], c + 0.5], [0.65, 0.0], color=back, linewidth=1.2)
            _square(axes, c, 2.0, colour, str(c), filled=True)
            _square(axes, c, -0.45, back, str(arrives[c]), filled=bool(own[c]))
        for i, x in enumerate(centres):
            axes.add_patch(
                Rectangle((x - 0.9, 0.65), 1.8, 0.7, facecolor=series(i), edgecolor=PAPER)
            )
            axes.text(x, 1.0, f"node {i}", ha="center", va="center", color=PAPER, fontsize=8)
        axes.set(xlim=(-0.1, p + 0.1), ylim=(-0.6, 2.6), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(f"{name}: {numbers[name]} of {p} at home")
    return figure, numbers


@styled
def matrices_figure(matrices: Mapping[str, Map]) -> tuple[Figure, dict[str, int]]:
    """Square matrices side by side, purple below 0 and orange above, each on its own scale.

    A colour grows with the root of a number's size, so that small numbers are seen beside large.

    Args:
        matrices: name to ``p p``.

    Returns:
        the figure, and name to the number of entries that are not 0.
    """
    arrays = {name: floats(value) for name, value in matrices.items()}
    figure = new_figure(9.0 / max(len(arrays), 3) + 0.1)
    panels = np.atleast_1d(figure.subplots(1, len(arrays)))
    for axes, (name, value) in zip(panels, arrays.items()):
        bent = np.sign(value) * np.sqrt(np.abs(value) / max(np.abs(value).max(), 1e-9))
        picture(axes, bent, name, cmap=DIVERGING, vmin=-1, vmax=1)
    bar = figure.colorbar(panels[-1].images[0], ax=panels.tolist(), shrink=0.9, pad=0.01)
    bar.set_ticks([-1, 0, 1], labels=["−max", "0", "+max"])
    return figure, {name: int((np.abs(value) > 1e-9).sum()) for name, value in arrays.items()}


def _square(axes: Axes, x: int, y: float, colour: str, text: str, *, filled: bool) -> None:
    face = colour if filled else PAPER
    style = {"facecolor": face, "edgecolor": colour, "linewidth": 1.2}
    axes.add_patch(Rectangle((x + 0.06, y), 0.88, 0.45, **style))
    ink = PAPER if filled else INK
    axes.text(x + 0.5, y + 0.215, text, ha="center", va="center", color=ink, fontsize=7.5)


def _cells(axes: Axes, values: np.ndarray) -> None:
    """A vector cut into nodes: one colour a node, paler where a state is smaller."""
    k, m = values.shape
    top = np.abs(values).max() or 1
    for i, j in np.ndindex(k, m):
        strength = 0.12 + 0.88 * min(1.0, abs(values[i, j]) / top)
        style = {"facecolor": series(i % 6), "edgecolor": PAPER, "linewidth": 0.8}
        axes.add_patch(Rectangle((j, i + 0.04), 1, 0.92, alpha=strength, **style))
    axes.set(xlim=(-0.75 * m, 1.75 * m), ylim=(k, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _arrow(figure: Figure, a: Axes, b: Axes, start, end, **style) -> None:
    figure.add_artist(ConnectionPatch(start, end, "data", "data", axesA=a, axesB=b, **style))
