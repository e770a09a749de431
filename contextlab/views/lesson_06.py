"""Lesson 06: what five tricks keep of the affinity, its rank, and whom each form asks."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from contextlab.probes import asked, askers, spectrum

from .affinity import _mark, _outline, glow
from .figures import new_figure, picture, png, styled
from .palette import HEAT, INK, QUIET, grey, pixels, series
from .widgets import AffinityPicker, _layout, _majority, whom

_KEPT, _ASKING, _GONE = (np.array(to_rgb(c)) for c in ("#a9cbe3", "#D55E00", "#f4f4f4"))
_DASHES = ((0, ()), (0, (5, 1.5)), (0, (2, 1.2)), (0, (1, 1)))


@styled
def five_tricks_figure(
    height: int = 6, width: int = 8, *, nodes: int = 5, sides: tuple[int, ...] = (1, 2, 3)
) -> tuple[Figure, dict[str, int]]:
    """The affinity of all pixels of a small map, and what each of five tricks keeps of it.

    A row is a pixel that asks, a column one that answers; the row of one pixel stands out.

    Args:
        height, width: of the map.
        nodes: how many descriptors, bases or classes stand between the pixels.
        sides: of the grids of bins that answer in place of pixels.

    Returns:
        the figure, and name of each form to the number of weights that it keeps.
    """
    n, asks = height * width, (height // 2) * width + width // 3
    y, x = np.divmod(np.arange(n), width)
    cross = (y[:, None] == y) | (x[:, None] == x)
    every, narrow = np.ones((n, n), bool), np.ones((n, nodes), bool)
    anchors = np.ones((n, sum(s * s for s in sides)), bool)
    regions = np.eye(nodes, dtype=bool)[:, np.arange(n) * nodes // n]
    bins = " + ".join(str(s * s) for s in sides)
    forms = {
        "everyone asks everyone": ([every], f"$n \\times n$ weights, $n = {n}$"),
        "1  re-associate": ([narrow, narrow[:nodes]], "channels by channels:\nno pair of pixels"),
        "2  sparsify": ([cross], f"the own row and column:\n{height} + {width} - 1 pixels answer"),
        "3  pool the keys": ([anchors], f"{bins} = {anchors.shape[1]} bins answer"),
        "4  low rank": ([narrow, narrow.T], f"{nodes} bases,\nfitted to the image"),
        "5  classes as nodes": ([narrow, regions], f"{nodes} learned nodes,\na region each"),
    }
    figure = new_figure(6.3)
    numbers = {}
    for axes, (name, (factors, note)) in zip(figure.subplots(2, 3).ravel(), forms.items()):
        left = 0
        for i, kept in enumerate(factors):
            shown = np.where(kept[..., None], _KEPT, _GONE)
            if i == 0:
                shown[asks] = np.where(kept[asks, :, None], _ASKING, _GONE)
            _block(axes, shown, left)
            left += kept.shape[1] + 4
        numbers[name] = sum(int(kept.sum()) for kept in factors)
        if name.startswith("1"):  # the narrow one holds features, not weights
            numbers[name] = nodes**2
        axes.set(xlim=(-1, n + nodes + 5), ylim=(n + 1, -1), aspect="equal")
        axes.axis("off")
        axes.set_title(name, fontweight="bold")
        axes.text(0, n + 1.5, note, va="top", fontsize=9.5, color=QUIET)
    return figure, numbers


@styled
def hops_figure(
    height: int = 5, width: int = 8, *, query: tuple[int, int] = (3, 2)
) -> tuple[Figure, dict]:
    """In how many ways a pixel's question reaches each other one along crosses, in 1 and 2 hops.

    Args:
        height, width: of the map.
        query: row and column of the pixel that asks.

    Returns:
        the figure, and "reached" (pixels after one and after two hops) and "ways" (two arrays
        ``h w``: the number of paths).

    Raises:
        ValueError: the query lies outside the map.
    """
    if not (0 <= query[0] < height and 0 <= query[1] < width):
        raise ValueError(f"expected a query inside {height} x {width}, got {tuple(query)}")
    y, x = np.divmod(np.arange(height * width), width)
    cross = ((y[:, None] == y) | (x[:, None] == x)).astype(int)
    start = query[0] * width + query[1]
    ways = [step.reshape(height, width) for step in (cross[start], (cross @ cross)[start])]
    most = max(counts.max() for counts in ways)
    figure = new_figure(4.5 * height / width + 0.4)
    for axes, counts, hops in zip(figure.subplots(1, 2), ways, ("one hop", "two hops")):
        reached = int((counts > 0).sum())
        title = f"{hops}: {reached} of {counts.size} pixels"
        picture(axes, np.sqrt(counts), title, cmap=HEAT, vmin=0, vmax=np.sqrt(most))
        for (r, c), count in np.ndenumerate(counts):
            light = count < 0.5 * most
            axes.text(c, r, count, ha="center", va="center", color="white" if light else INK)
        axes.add_patch(
            Rectangle((query[1] - 0.5, query[0] - 0.5), 1, 1, fill=False, ec=series(1), lw=3)
        )
    return figure, {"reached": tuple(int((w > 0).sum()) for w in ways), "ways": ways}


@styled
def spectrum_figure(
    matrices: Mapping[str, Tensor | np.ndarray], *, share: float = 0.99, mark: int | None = None
) -> tuple[Figure, dict[str, int]]:
    """The singular values of some matrices, as the share of the whole that the first r leave out.

    Args:
        matrices: name to a matrix.
        share: of the sum of squares; how many singular values does it take?
        mark: a rank to draw as a line.

    Returns:
        the figure, and name to the number of singular values that hold the share.
    """
    figure = new_figure(3.6, width=7.5)
    axes = figure.subplots()
    numbers = {}
    for i, (name, matrix) in enumerate(matrices.items()):
        kept = spectrum(matrix).numpy()
        numbers[name] = int(np.searchsorted(kept, share) + 1)
        left = np.clip(1 - np.concatenate([[0], kept]), 1e-12, None)
        label = f"{name}: {share:.0%} in {numbers[name]}"
        style = {"color": series(i), "linestyle": _DASHES[i % len(_DASHES)], "linewidth": 2}
        axes.plot(range(len(left)), left, label=label, **style)
    axes.axhline(1 - share, color=QUIET, linewidth=0.8)
    if mark is not None:
        axes.axvline(mark, color=QUIET, linewidth=0.8, linestyle=(0, (4, 2)))
        beside = {"xytext": (4, -2), "textcoords": "offset points", "va": "top", "color": QUIET}
        axes.annotate(f"rank {mark}", (mark, 1.5), **beside)
    axes.set(
        yscale="log", ylim=(1e-5, 2), xlabel="rank r", ylabel="squares left out by the first r"
    )
    axes.margins(x=0.01)
    axes.grid(True)
    axes.legend(loc="upper right")
    return figure, numbers


def _block(axes: Axes, shown: np.ndarray, left: float) -> None:
    """A matrix of colours, its left edge at ``left``, in cells of one unit."""
    rows, columns = shown.shape[:2]
    axes.imshow(shown, extent=(left, left + columns, rows, 0))
    axes.add_patch(Rectangle((left, 0), columns, rows, fill=False, edgecolor=QUIET, linewidth=0.7))


@styled
def asking_figure(
    image: Tensor | np.ndarray,
    maps: Mapping[str, Tensor],
    query: tuple[int, int],
    *,
    cue: Tensor | np.ndarray | None = None,
) -> tuple[Figure, dict[str, dict]]:
    """The pixel that asks, and whom it asks by each of several methods.

    Args:
        image: ``3 H W`` in [0, 1].
        maps: method to weights ``h w`` or ``1 h w``.
        query: row and column of the asking pixel, on the map of the weights.
        cue: bool ``H W``, drawn as an outline: where the answer stands.

    Returns:
        the figure, and method to the numbers of :func:`asked`.
    """
    arrays = {name: np.asarray(m, float).reshape(m.shape[-2:]) for name, m in maps.items()}
    numbers = {name: asked(m, cue) for name, m in arrays.items()}
    rgb, dim = pixels(image), 0.30 * grey(image)
    scale = rgb.shape[0] / next(iter(arrays.values())).shape[0]
    lines = -(-(len(arrays) + 1) // 3)
    figure = new_figure(lines * (3.0 * rgb.shape[0] / rgb.shape[1] + 0.32))
    panels = figure.subplots(lines, 3, squeeze=False).ravel()
    picture(panels[0], rgb, "the pixel that asks")
    for axes, (name, m) in zip(panels[1:], arrays.items()):
        said = f": {numbers[name]['on_cue']:.0%} on the cues" if cue is not None else ""
        picture(axes, glow(dim, m), name + said)
    for axes in panels[: len(arrays) + 1]:
        _mark(axes, query, scale)
        _outline(axes, cue)
    for axes in panels[len(arrays) + 1 :]:
        axes.axis("off")
    return figure, numbers


class AskingExplorer(AffinityPicker):
    """A mosaic of buttons coloured as the image, and methods to choose from.

    Made by :func:`asking_explorer`; ``update(row, column)`` is what a click on the mosaic does, and
    ``method.value = name`` what choosing a method does.
    """

    alt = "The image as a mosaic of buttons, and a choice of methods: whom does the pixel ask?"

    def __init__(self, image, asks, shape, names, labels, query) -> None:
        self._asks = asks
        self.method = ipywidgets.ToggleButtons(options=list(asks), layout=_layout(width="100%"))
        self.method.style.button_width = "auto"
        super().__init__(image, self._chosen, shape, names, labels, query)
        self.children = [self.method, *self.children]
        self.method.observe(lambda change: self._redraw(), names="value")

    def _chosen(self, row: int, column: int) -> Tensor:
        return self._asks[self.method.value](row, column)

    def _redraw(self) -> None:
        weights = self._chosen(*self.query)
        figure, _ = asking_figure(self._image, {self.method.value: weights}, self.query)
        self.picture.value = png(figure)
        self.words.value = whom(weights, self.query, labels=self._labels, classes=self._names)


def asking_explorer(
    networks: Mapping[str, nn.Module],
    image: Tensor,
    *,
    labels: Tensor | None = None,
    classes: tuple[str, ...] | None = None,
    query: tuple[int, int] | None = None,
) -> AskingExplorer:
    """Choose a method and a pixel, and see whom it asks. The static twin is :func:`asking_figure`.

    Args:
        networks: name to a network whose slot implies an affinity.
        image: ``3 h w`` in [0, 1].
        labels: ``h w``, to say in words which classes are asked.
        classes: names of the classes.
        query: row and column of the map to begin with; its middle by default.
    """
    asks, shape = askers(networks, image)
    start = query or (shape[0] // 2, shape[1] // 2)
    small = None if labels is None else _majority(labels, shape)
    return AskingExplorer(image, asks, shape, classes, small, start)
