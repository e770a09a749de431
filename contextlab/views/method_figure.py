"""The heading of a lesson's method: three boxes, squeeze, reason, reconstruct."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from contextlab import catalogue
from contextlab.modules import Entry

from .figures import new_figure, styled
from .palette import INK, PAPER, QUIET, STEP_COLOURS, series

_ROWS, _COLUMNS = 4, 6
_PIXELS = np.array([[c, -r] for r in range(_ROWS) for c in range(_COLUMNS)], float)
_NOTHING = {
    "squeeze": "nothing: every {node} is a node",
    "reason": "nothing: nodes do not talk",
    "reconstruct": "nothing: the nodes are the answer",
}


@styled
def method_figure(entry: Entry | str) -> tuple[Figure, dict]:
    """A method as three boxes: what its nodes are, who talks to whom, and the way back.

    Args:
        entry: a row of :func:`contextlab.catalogue`, or its name.

    Returns:
        the figure, and the words in it: "node", "squeeze", "reason", "reconstruct".

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(entry, str):
        known = catalogue()
        if entry not in known:
            raise ValueError(f"expected one of {', '.join(known)}, got {entry!r}")
        entry = known[entry]
    words = {
        "squeeze": entry.squeeze,
        "reason": entry.reason,
        "reconstruct": entry.reconstruct,
    }
    figure = new_figure(2.15)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 9), ylim=(0, 2.15))
    axes.axis("off")
    nodes, bare = _nodes_of(entry.node), entry.node.removeprefix("a ")
    for i, (step, text) in enumerate(words.items()):
        x, colour = 0.08 + 3.03 * i, STEP_COLOURS[step]
        shape = "round,pad=0,rounding_size=0.08"
        for fill in ({"facecolor": PAPER}, {"facecolor": colour, "alpha": 0.07}):
            axes.add_patch(FancyBboxPatch((x, 0.06), 2.75, 1.72, shape, edgecolor="none", **fill))
        edge = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.5}
        axes.add_patch(FancyBboxPatch((x, 0.06), 2.75, 1.72, shape, **edge))
        axes.text(x + 0.12, 1.60, step, color=colour, fontsize=12, weight="bold", va="center")
        lines = textwrap.wrap(_NOTHING[step].format(node=bare) if text == "none" else text, 37)
        axes.text(x + 0.12, 0.29, "\n".join(lines), fontsize=10, va="center", linespacing=1.1)
        if i < 2:
            arrow = ((x + 2.77, 0.92), (x + 3.01, 0.92))
            axes.add_patch(FancyArrowPatch(*arrow, arrowstyle="-|>", mutation_scale=14, color=INK))
    axes.text(0.10, 1.97, entry.title, fontsize=12, weight="bold", va="center")
    about = f"a node is {entry.node}; {entry.source}"
    axes.text(8.86, 1.97, about, fontsize=10, va="center", ha="right", color=QUIET)
    _squeeze(axes, (0.38, 0.60), nodes, entry.squeeze)
    _reason(axes, (4.0, 0.60), nodes, entry.reason)
    _reconstruct(axes, (6.36, 0.60), nodes, entry.reconstruct)
    return figure, {"node": entry.node, **words}


def _nodes_of(node: str) -> np.ndarray:
    """Positions of some nodes, in the units of the little grid."""
    if "pixel" in node:
        return _PIXELS
    if "channel" in node:
        return np.stack([np.full(5, 2.5), -np.linspace(-0.7, 3.1, 5)], 1)
    if "bin" in node:
        return np.array([[c, -r] for r in (0, 1.5, 3) for c in (1, 2.5, 4)])
    angle = np.pi / 2 + 2 * np.pi * np.arange(5) / 5
    return np.stack([2.5 + 1.9 * np.cos(angle), -1.5 + 1.9 * np.sin(angle)], 1)


def _place(points: np.ndarray, corner: tuple[float, float], scale: float = 0.19) -> np.ndarray:
    return points * scale + np.array([corner[0], corner[1] + (_ROWS - 1) * scale])


def _tiles(axes: Axes, corner: tuple[float, float]) -> np.ndarray:
    spots = _place(_PIXELS, corner)
    shade = 0.35 + 0.55 * ((np.arange(len(spots)) * 7) % 5) / 4
    axes.scatter(*spots.T, s=105, marker="s", c=shade, cmap="Blues", vmin=0, vmax=1.4, linewidths=0)
    return spots


def _dots(axes: Axes, spots: np.ndarray, colour: str = "#ffffff") -> None:
    size = 40 if len(spots) > 8 else 80
    axes.scatter(*spots.T, s=size, c=colour, edgecolors=INK, linewidths=1.0, zorder=3)


def _squeeze(axes: Axes, corner: tuple[float, float], nodes: np.ndarray, how: str) -> None:
    x, y = corner
    if how == "none":
        _dots(axes, _place(nodes, (x + 0.62, y)))
        return
    _tiles(axes, corner)
    _arrow(axes, x + 1.19, y + 0.29)
    _dots(axes, _place(nodes, (x + 1.37, y)))


def _reason(axes: Axes, corner: tuple[float, float], nodes: np.ndarray, how: str) -> None:
    spots = _place(nodes, corner)
    centre = len(spots) // 2 if len(spots) < 8 else 14
    if how == "none":
        pairs = []
    elif "lattice" in how:  # its neighbours, and every second row and column
        apart = np.abs(_PIXELS - _PIXELS[centre])
        pairs = [(centre, j) for j, gap in enumerate(apart)
                 if j != centre and (gap.max() <= 1 or not (gap % 2).any())]  # fmt: skip
    elif "given" in how or "neighbour" in how or "grid" in how:
        near = 0.2 if len(spots) > 8 else 0.48
        gap = np.linalg.norm(spots[:, None] - spots[None], axis=2)
        pairs = [(i, j) for i in range(len(spots)) for j in range(i) if gap[i, j] < near]
    elif "everyone" in how:
        pairs = [(centre, j) for j in range(len(spots)) if j != centre]
    elif "row" in how:
        row, column = divmod(centre, _COLUMNS)
        pairs = [(centre, j) for j in range(len(spots))
                 if (j // _COLUMNS == row) != (j % _COLUMNS == column)]  # fmt: skip
    elif "offsets" in how:  # every second node, along the axes and the diagonals
        apart = np.abs(_PIXELS - _PIXELS[centre])
        pairs = [(centre, j) for j, gap in enumerate(apart.tolist())
                 if j != centre and set(gap) <= {0.0, 2.0}]  # fmt: skip
    elif "connected" in how:
        left, right = (spots + np.array([shift, 0]) for shift in (-0.35, 0.35))
        for a in left:
            for b in right:
                axes.plot([a[0], b[0]], [a[1], b[1]], color=QUIET, linewidth=0.7, zorder=1)
        _dots(axes, left)
        _dots(axes, right)
        return
    else:
        pairs = [(i, j) for i in range(len(spots)) for j in range(i)]
    column = np.ptp(spots[:, 0]) == 0  # lines between nodes in a column would lie on each other
    for i, j in pairs:
        bow = 0.0 if not column or i - j == 1 else 0.5 * (-1) ** j
        style = {"arrowstyle": "-", "color": STEP_COLOURS["reason"], "linewidth": 1.0}
        bend = {"connectionstyle": f"arc3,rad={bow}", "shrinkA": 0, "shrinkB": 0}
        axes.add_patch(FancyArrowPatch(*spots[[i, j]], zorder=1, **style, **bend))
    _dots(axes, spots)
    if any(word in how for word in ("everyone", "row", "offsets")):
        _dots(axes, spots[[centre]], series(1))


def _reconstruct(axes: Axes, corner: tuple[float, float], nodes: np.ndarray, how: str) -> None:
    x, y = corner
    if how == "none":
        _dots(axes, _place(nodes, (x + 0.62, y)))
        return
    _dots(axes, _place(nodes, (x, y)))
    _arrow(axes, x + 1.19, y + 0.29)
    _tiles(axes, (x + 1.38, y))
    sign = {"add": "+", "gate": "×", "concatenate": "⊕"}
    mark = next((s for word, s in sign.items() if word in how), "")
    axes.text(x + 1.19, y + 0.46, mark, fontsize=13, weight="bold", ha="center", va="center")


def _arrow(axes: Axes, x: float, y: float) -> None:
    ends = ((x - 0.08, y), (x + 0.10, y))
    axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=11, color=QUIET))
