"""Lesson 02: small graphs that can be read, steps along them, what smoothing keeps and loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from contextlab.probes import propagate

from .figures import new_figure, picture, styled
from .palette import DIVERGING, HEAT, INK, MARKERS, PAPER, QUIET, floats, grey, pixels, series
from .widgets import Explorer


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
    if values.min() < 0:
        reach = np.abs(values).max()
        return TwoSlopeNorm(0, -reach, reach), colormaps[DIVERGING]
    return Normalize(0, values.max() or 1), colormaps[HEAT]


def _on(colour) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = colour[:3]
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.52 else "#ffffff"


@styled
def two_answers_figure(
    image: Tensor | np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int] = (13, 15),
    *,
    steps: int = 1,
) -> tuple[Figure, dict]:
    """A cut-out of an image as a graph, what its neighbourhoods share (A) and what not (I - A).

    Args:
        image: ``3 h w`` in [0, 1].
        corner: row and column of the cut-out's first pixel.
        size: rows and columns of the cut-out.
        steps: of smoothing before the second picture.

    Returns:
        the figure, and the standard deviation of the brightness in the cut-out: "X", "A", "I - A".

    Raises:
        ValueError: a cut-out that leaves the image.
    """
    rgb = pixels(image)
    (top, left), (rows, columns) = corner, size
    if min(top, left) < 0 or top + rows > rgb.shape[0] or left + columns > rgb.shape[1]:
        raise ValueError(f"expected a cut-out inside {rgb.shape[:2]}, got {corner} and {size}")
    signal = torch.from_numpy(grey(image).copy())
    smooth = propagate(signal, steps)
    cut = (slice(top, top + rows), slice(left, left + columns))
    x, a, rest = (t[cut].numpy() for t in (signal, smooth, signal - smooth))
    reach = np.abs(rest).max() or 1
    colours = (
        rgb[cut].reshape(-1, 3),
        np.repeat(a.reshape(-1, 1), 3, axis=1),
        colormaps[DIVERGING]((rest.ravel() / reach + 1) / 2),
    )
    titles = ("pixels as nodes", "A X: what neighbours share", "(I − A) X: what they do not")
    figure = new_figure(2.85 * rows / columns + 0.36)
    spot = (130.0 / columns) ** 2  # two thirds of the way to the next node
    for axes, colour, title in zip(figure.subplots(1, 3), colours, titles):
        r, c = np.indices((rows, columns))
        axes.hlines(-np.arange(rows), 0, columns - 1, color=QUIET, linewidth=1.0, zorder=1)
        axes.vlines(np.arange(columns), 1 - rows, 0, color=QUIET, linewidth=1.0, zorder=1)
        axes.scatter(c, -r, s=spot, c=colour, edgecolors=INK, linewidths=0.7, zorder=2)
        axes.set_aspect("equal")
        axes.margins(0.06)
        axes.axis("off")
        axes.set_title(title)
    return figure, {"X": float(x.std()), "A": float(a.std()), "I - A": float(rest.std())}


@styled
def decay_figure(
    distances: Mapping[str, Sequence[float]],
    rates: Mapping[str, float],
    *,
    ylabel: str = "what is left of the differences",
    title: str = "",
) -> tuple[Figure, dict[str, float]]:
    """How fast smoothing makes all nodes equal, beside the rate that the eigenvalues tell.

    Args:
        distances: name to the distance from the resting state after 0, 1, 2, ... steps.
        rates: name to the factor of one step, the second eigenvalue; drawn as a dashed line
            through the last distance.
        ylabel: what is on the vertical axis.
        title: a line above.

    Returns:
        the figure, and name to the measured factor of the last step.

    Raises:
        ValueError: a name without a rate, or fewer than two distances.
    """
    figure = new_figure(3.5, width=7.5)
    axes = figure.subplots()
    numbers, lowest = {}, 1.0
    for i, (name, values) in enumerate(distances.items()):
        values = np.asarray(values, float)
        if name not in rates or len(values) < 2:
            raise ValueError(f"expected a rate and two or more distances for {name!r}")
        steps = np.arange(len(values))
        numbers[name] = float(values[-1] / values[-2]) if values[-2] > 0 else 0.0
        lowest = min(lowest, values[values > 0].min())
        colour, rate = series(i), rates[name]
        label = f"{name}: λ₂ = {rate:.3f}"
        mark = {"marker": MARKERS[i % len(MARKERS)], "markersize": 5, "markevery": 2}
        axes.plot(steps, values, color=colour, linewidth=1.7, label=label, **mark)
        if rate > 1e-3 and values[-1] > 0:  # else it is over after one step
            line = values[-1] * rate ** (steps - steps[-1])
            axes.plot(steps, line, color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_yscale("log")
    axes.set_ylim(lowest / 2, 2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("steps of smoothing; dashed: one factor λ₂ a step")
    axes.set_ylabel(ylabel)
    axes.grid(True)
    axes.legend()
    if title:
        axes.set_title(title)
    return figure, numbers


@styled
def reach_figure(
    fields: Mapping[str, Tensor | np.ndarray], sizes: Mapping[str, tuple[int, int]]
) -> tuple[Figure, dict[str, float]]:
    """Effective receptive fields of several networks, each in the square that theory allows.

    Args:
        fields: name to ``h w``, from :func:`~contextlab.probes.effective`.
        sizes: name to height and width, from :func:`~contextlab.probes.theoretical`.

    Returns:
        the figure, and name to the mean distance of the influence from the middle, in pixels.

    Raises:
        ValueError: other names in ``sizes`` than in ``fields``.
    """
    if set(fields) != set(sizes):
        raise ValueError(f"expected sizes for {list(fields)}, got {list(sizes)}")
    numbers = {}
    figure = new_figure(9.0 / len(fields) + 0.5)
    half = 0.58 * max(max(size) for size in sizes.values())
    for axes, (name, field) in zip(np.atleast_1d(figure.subplots(1, len(fields))), fields.items()):
        f = np.asarray(field, float)
        f = f / f.sum()
        rows, columns = np.indices(f.shape)
        y, x = (float((f * axis).sum()) for axis in (rows, columns))
        numbers[name] = float((f * np.hypot(rows - y, columns - x)).sum())
        height, width = sizes[name]
        title = f"{name}\ncan see {width}; mean distance {numbers[name]:.1f}"
        # the root shows the tails, which a linear scale would leave black
        picture(axes, np.sqrt(f / f.max()), title, cmap=HEAT, vmin=0, vmax=1)
        axes.set_xlim(x - half, x + half)
        axes.set_ylim(y + half, y - half)
        left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
        square = ([left, right, right, left, left], [top, top, bottom, bottom, top])
        axes.plot(*square, color="white", linewidth=1.6, linestyle=(0, (4, 2)))
    return figure, numbers


def smoothing_explorer(image: Tensor | np.ndarray, *, steps: int = 32) -> Explorer:
    """Steps on the pixel grid, of A or of I - A. The static twin is :func:`smoothing_figure`.

    Args:
        image: ``3 h w`` in [0, 1]; its brightness is the signal.
        steps: the slider's end.
    """
    signal = torch.from_numpy(grey(image).copy())

    def draw(steps: int, rule: str) -> tuple[Figure, str]:
        state = propagate(signal, steps, rule=rule).numpy()
        words = f"standard deviation <b>{state.std():.3f}</b> (at the start {signal.std():.3f})"
        return _one_signal(state, f"{rule} applied {steps} times"), words

    controls = {
        "steps": ipywidgets.IntSlider(value=1, min=0, max=steps, description="steps"),
        "rule": ipywidgets.ToggleButtons(options=["A", "I - A"], value="A", description="rule"),
    }
    return Explorer(draw, controls, "An image as a signal on its pixel grid, after some steps.")


@styled
def _one_signal(state: np.ndarray, title: str) -> Figure:
    figure = new_figure(6 * state.shape[0] / state.shape[1] + 0.3, width=6)
    draw_signal(figure.subplots(), state, title)
    return figure
