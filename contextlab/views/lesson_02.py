"""Small graphs, drawn so that their numbers can be read, and what steps along them do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from torch import Tensor

from .figures import new_figure, picture, styled
from .palette import DIVERGING, HEAT, INK, PAPER, QUIET, floats, grey, pixels, series


@styled
def graph_figure(
    adjacency: Tensor | np.ndarray,
    values: Sequence[float] | None = None,
    *,
    names: Sequence[str] | None = None,
    positions: np.ndarray | str = "path",
    weights: bool = False,
    title: str = "",
) -> tuple[Figure, dict]:
    """A graph of a few nodes beside its matrix.

    Args:
        adjacency: ``n n``, symmetric; zeros are no edges.
        values: a number for each node, written into it.
        names: of the nodes; 1 to n by default.
        positions: ``n 2`` in [0, 1], or "path" or "circle".
        weights: write the edges' weights beside them.
        title: a line above the graph.

    Returns:
        the figure, and "edges" and "degrees" (without self loops).

    Raises:
        ValueError: a matrix that is not square, or not symmetric.
    """
    a = floats(adjacency)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not np.allclose(a, a.T, atol=1e-6):
        raise ValueError(f"expected a symmetric matrix n n, got {a.shape}")
    n = len(a)
    names = list(names or (str(i + 1) for i in range(n)))
    spots = _positions(positions, n)
    edges = [(i, j) for i in range(n) for j in range(i + 1, n) if a[i, j] != 0]
    loops = [i for i in range(n) if a[i, i] != 0]
    straight = isinstance(positions, str) and positions == "path"
    figure = new_figure(2.3 if straight else 3.1)
    left, right = figure.subplots(1, 2, width_ratios=(2.2, 1) if straight else (1.3, 1))
    for i, j in edges:
        (x0, y0), (x1, y1) = spots[i], spots[j]
        left.plot([x0, x1], [y0, y1], color=QUIET, linewidth=1.8, zorder=1)
        if weights:
            centre = ((x0 + x1) / 2, (y0 + y1) / 2)
            box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
            left.text(*centre, f"{a[i, j]:.2g}", ha="center", va="center", bbox=box, fontsize=9)
    _nodes(left, spots, names, values)
    if loops and weights:
        for i in loops:
            x, y = spots[i]
            text = f"↻ {a[i, i]:.2g}"
            offset = {
                "xytext": (0, 24),
                "textcoords": "offset points",
                "ha": "center",
                "fontsize": 9,
            }
            left.annotate(text, (x, y), **offset)
    left.set_title(title or "the graph")
    _matrix(right, a, names)
    degrees = [int((row != 0).sum() - (row[i] != 0)) for i, row in enumerate(a)]
    return figure, {"edges": edges, "degrees": degrees}


@styled
def path_figure(
    states: Mapping[str, Sequence[float]], *, title: str = "", digits: int = 2
) -> tuple[Figure, dict]:
    """A signal on a path, step by step: a row of nodes for each state, values written in.

    Args:
        states: name of the step to the nodes' values.
        title: a line above.
        digits: decimals of the values.

    Returns:
        the figure, and for each state "mean", "spread" (largest minus smallest value) and
        "roughness" (sum of the squared differences along the edges).

    Raises:
        ValueError: states of different length.
    """
    rows = {name: floats(v).ravel() for name, v in states.items()}
    lengths = {len(v) for v in rows.values()}
    if len(lengths) != 1:
        raise ValueError(f"expected states of one length, got lengths {sorted(lengths)}")
    n = lengths.pop()
    flat = np.concatenate(list(rows.values()))
    norm, cmap = _norm(flat)
    figure = new_figure(0.75 * len(rows) + (0.35 if title else 0.1), width=min(9, 2.4 + 1.15 * n))
    axes = figure.subplots()
    for i, (name, values) in enumerate(rows.items()):
        axes.plot(range(n), [-i] * n, color=QUIET, linewidth=1.8, zorder=1)
        for j, v in enumerate(values):
            colour = cmap(norm(v))
            axes.plot(j, -i, "o", ms=33, color=colour, mec=INK, mew=1.0, zorder=2)
            text = f"{v:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{v:.0f}"
            text = "0" if text == "-0" else text.replace("-", "−")
            axes.text(j, -i, text, ha="center", va="center", color=_on(colour), zorder=3)
        axes.text(-0.62, -i, name, ha="right", va="center")
    axes.set_xlim(-0.55, n - 0.5)
    axes.set_ylim(-len(rows) + 0.45, 0.55)
    axes.axis("off")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    numbers = {
        name: {
            "mean": float(v.mean()),
            "spread": float(np.ptp(v)),
            "roughness": float((np.diff(v) ** 2).sum()),
        }
        for name, v in rows.items()
    }
    return figure, numbers


@styled
def grid_figure(
    image: Tensor | np.ndarray,
    *,
    corner: tuple[int, int] = (0, 0),
    size: tuple[int, int] = (6, 9),
    neighbours: int = 4,
    title: str = "",
) -> tuple[Figure, dict]:
    """An image, and a few of its pixels as the nodes of a grid graph.

    Args:
        image: ``3 h w`` in [0, 1].
        corner: row and column of the cut-out's first pixel.
        size: rows and columns of the cut-out.
        neighbours: 4 or 8.
        title: above the graph.

    Returns:
        the figure, and "nodes" and "edges" of the cut-out.

    Raises:
        ValueError: a cut-out that leaves the image, or neighbours other than 4 or 8.
    """
    rgb = pixels(image)
    (top, left), (rows, columns) = corner, size
    if neighbours not in (4, 8):
        raise ValueError(f"expected 4 or 8 neighbours, got {neighbours}")
    if top < 0 or left < 0 or top + rows > rgb.shape[0] or left + columns > rgb.shape[1]:
        raise ValueError(f"expected a cut-out inside {rgb.shape[:2]}, got {corner} and {size}")
    cut = rgb[top : top + rows, left : left + columns]
    steps = [(0, 1), (1, 0)] + ([(1, 1), (1, -1)] if neighbours == 8 else [])
    edges = [
        ((r, c), (r + dr, c + dc))
        for r in range(rows)
        for c in range(columns)
        for dr, dc in steps
        if r + dr < rows and 0 <= c + dc < columns
    ]
    figure = new_figure(3.1)
    whole, graph = figure.subplots(1, 2, width_ratios=(rgb.shape[1] / rgb.shape[0], columns / rows))
    picture(whole, rgb, "an image")
    x, y = [left - 0.5, left + columns - 0.5], [top - 0.5, top + rows - 0.5]
    frame = ([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]])
    whole.plot(*frame, color="black", linewidth=3.2)
    whole.plot(*frame, color="white", linewidth=1.4)
    for (r0, c0), (r1, c1) in edges:
        graph.plot([c0, c1], [-r0, -r1], color=QUIET, linewidth=1.3, zorder=1)
    r, c = np.indices((rows, columns))
    colours = cut.reshape(-1, 3)
    graph.scatter(c.ravel(), -r.ravel(), s=230, c=colours, edgecolors=INK, linewidths=0.8, zorder=2)
    graph.set_aspect("equal")
    graph.margins(0.08)
    graph.axis("off")
    graph.set_title(title or f"its frame as a graph: {rows * columns} nodes, {len(edges)} edges")
    return figure, {"nodes": rows * columns, "edges": len(edges)}


def propagate(x: Tensor, steps: int, *, rule: str = "A", neighbours: int = 4) -> Tensor:
    """Steps on the pixel grid: X <- A X (smoothing) or X <- (I - A) X (what smoothing takes away).

    A is the mean over a pixel and its neighbours, D^-1 (A + I); no n x n matrix is made.

    Args:
        x: ``h w``.
        steps: how many.
        rule: "A" or "I - A".
        neighbours: 4 or 8.

    Example:
        >>> x = torch.ones(4, 6)
        >>> propagate(x, 3).unique(), propagate(x, 1, rule="I - A").unique()
        (tensor([1.]), tensor([0.]))
    """
    if rule not in ("A", "I - A"):
        raise ValueError(f"expected rule 'A' or 'I - A', got {rule!r}")
    corner = float(neighbours == 8)
    taps = torch.tensor([[corner, 1, corner], [1, 1, 1], [corner, 1, corner]])[None, None]

    def total(t: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(t[None, None], taps.to(t), padding=1)[0, 0]

    degree = total(torch.ones_like(x))
    for _ in range(steps):
        mean = total(x) / degree
        x = mean if rule == "A" else x - mean
    return x


@styled
def smoothing_figure(
    image: Tensor | np.ndarray,
    steps: Sequence[int] = (0, 1, 4, 16),
    *,
    rule: str = "A",
    neighbours: int = 4,
) -> tuple[Figure, dict]:
    """An image after some steps of A (it blurs) or of I - A (only its edges are left).

    Args:
        image: ``3 h w``; its brightness is the signal.
        steps: after how many steps to look.
        rule: "A" or "I - A".
        neighbours: 4 or 8 on the grid.

    Returns:
        the figure, and steps to the standard deviation of the signal.
    """
    signal = torch.from_numpy(grey(image).copy())
    states = {n: propagate(signal, n, rule=rule, neighbours=neighbours).numpy() for n in steps}
    columns = min(4, len(states)) if signal.shape[1] <= 1.2 * signal.shape[0] else 2
    rows = -(-len(states) // columns)
    figure = new_figure(rows * (9 / columns * signal.shape[0] / signal.shape[1] + 0.28))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    name = "A" if rule == "A" else "(I − A)"
    for axes, (n, state) in zip(panels, states.items()):
        power = f"$^{{{n}}}$" if n > 1 else ""
        draw_signal(axes, state, f"{name}{power} X" if n else "X")
    for axes in panels[len(states) :]:
        axes.axis("off")
    return figure, {n: float(s.std()) for n, s in states.items()}


def draw_signal(axes: Axes, state: np.ndarray, title: str) -> None:
    """A map: grey if it has no negative values, else around zero."""
    signed = state.min() < -1e-9
    reach = np.abs(state).max() or 1
    span = {"cmap": DIVERGING, "vmin": -reach, "vmax": reach}
    picture(axes, state, title, **(span if signed else {"cmap": "gray", "vmin": 0, "vmax": 1}))


def _nodes(axes: Axes, spots: np.ndarray, names: Sequence[str], values) -> None:
    values = None if values is None else floats(values).ravel()
    norm, cmap = _norm(values) if values is not None else (None, None)
    for i, (x, y) in enumerate(spots):
        colour = series(4) if values is None else cmap(norm(values[i]))
        axes.plot(x, y, "o", ms=30, color=colour, mec=INK, mew=1.0, zorder=2)
        text = names[i] if values is None else f"{values[i]:.3g}".replace("-", "−")
        ink = INK if values is None else _on(colour)
        axes.text(x, y, text, ha="center", va="center", color=ink, zorder=3)
        if values is not None:
            below = {"xytext": (0, -28), "textcoords": "offset points", "ha": "center"}
            axes.annotate(names[i], (x, y), fontsize=9, color=QUIET, **below)
    axes.margins(0.13, 0.35)
    axes.axis("off")


def _matrix(axes: Axes, a: np.ndarray, names: Sequence[str]) -> None:
    top = np.abs(a).max() or 1
    axes.imshow(np.abs(a), cmap="Greys", vmin=0, vmax=2.6 * top)
    n = len(a)
    if n <= 8:
        for i in range(n):
            for j in range(n):
                text = f"{a[i, j]:.2g}".removeprefix("0") if a[i, j] else "0"
                tone = INK if a[i, j] else "#9a9a9a"
                axes.text(j, i, text, ha="center", va="center", fontsize=9, color=tone)
    axes.set_xticks(range(n), names)
    axes.set_yticks(range(n), names)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.8)
    axes.set_title("its matrix")


def _positions(positions: np.ndarray | str, n: int) -> np.ndarray:
    if not isinstance(positions, str):
        return floats(positions)
    if positions == "path":
        return np.stack([np.arange(n), np.zeros(n)], 1)
    if positions == "circle":
        angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    raise ValueError(f"expected positions n 2, 'path' or 'circle', got {positions!r}")


def _norm(values: np.ndarray):
    from matplotlib import colormaps

    if values.min() < 0:
        reach = np.abs(values).max()
        return TwoSlopeNorm(0, -reach, reach), colormaps[DIVERGING]
    return Normalize(0, values.max() or 1), colormaps[HEAT]


def _on(colour) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = colour[:3]
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.52 else "#ffffff"
