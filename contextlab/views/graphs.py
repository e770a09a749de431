"""Which positions a pixel asks by LOCAL, GRID and FULL heads, drawn on the map of the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from contextlab.modules.graph_guided import edges, edges_of_union, support

from .affinity import _mark, glow
from .figures import new_figure, picture, styled
from .palette import INK, QUIET, Map, floats, grey, series, stretch

_LOCAL = ("#0072B2", "#6BAED6", "#C6DBEF")  # the nearer, the darker
_FULL = "#cbb8dc"
_GRID = (("#B34700", "o"), ("#E69F00", "D"), ("#CC79A7", "s"))


@styled
def head_graphs_figure(
    graphs: Mapping[str, Sequence[str]],
    shape: tuple[int, int],
    query: tuple[int, int],
    *,
    image: Map | None = None,
    columns: int | None = None,
) -> tuple[Figure, dict[str, dict]]:
    """The graph around one pixel, for some heads and sets of heads.

    LOCAL heads are areas in blue, GRID heads are marks, the smaller the rarer; a set of heads is
    drawn in one panel.

    Args:
        graphs: title to names of heads, as ``{"all six": ["LOCAL_2", ..., "GRID_6"]}``.
        shape: height and width of the map.
        query: row and column of the pixel that asks.
        image: ``3 H W``, drawn pale below.
        columns: panels in a row.

    Returns:
        the figure, and title to "asked" (positions that this pixel asks in at least one head),
        "contexts" (a pixel's mean over the map, every head counted), "edges" (of all heads),
        "union" (edges that at least one head has) and "of_full" (edges over those of one FULL
        head).

    Raises:
        ValueError: the query lies outside the map, or a head is no head.
    """
    h, w = _inside(shape, query)
    columns = columns or min(len(graphs), 2 if len(graphs) in (2, 4) or w > 24 else 3)
    lines = -(-len(graphs) // columns)
    wide = min(9.0 / columns, 6.0)
    every = list(dict.fromkeys(head for heads in graphs.values() for head in heads))
    figure = new_figure(lines * (wide * h / w + 0.30) + 0.35, width=max(wide * columns, 6.5))
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    numbers = {}
    for axes, (title, heads) in zip(panels, graphs.items()):
        numbers[title] = numbers_of(heads, shape, query)
        _graph(axes, heads, every, shape, query, image, point=wide / w)
        axes.set_title(f"{title}: asks {numbers[title]['asked']} of {h * w}")
    for axes in panels[len(graphs) :]:
        axes.axis("off")
    _legend(figure, every)
    return figure, numbers


def numbers_of(
    heads: Sequence[str], shape: tuple[int, int], query: tuple[int, int]
) -> dict[str, float]:
    """What a set of heads asks and costs, in edges; see :func:`head_graphs_figure`."""
    h, w = _inside(shape, query)
    asked = np.any([floats(support(head, h, w, query)) for head in heads], 0)
    total = sum(edges(head, h, w) for head in heads)
    return {
        "asked": int(asked.sum()),
        "contexts": total / (h * w),
        "edges": total,
        "union": edges_of_union(heads, h, w),
        "of_full": total / (h * w) ** 2,
    }


@styled
def asked_graph_figure(
    image: Map,
    heads: Sequence[str],
    query: tuple[int, int],
    *,
    shape: tuple[int, int],
    weights: Map | None = None,
    title: str = "whom it asks",
) -> tuple[Figure, dict[str, float]]:
    """The graph around a pixel on the image, and beside it whom a trained network asks along it.

    Args:
        image: ``3 H W`` in [0, 1].
        heads: names of heads.
        query: row and column of the pixel that asks, on the map.
        shape: height and width of the map.
        weights: ``h w`` or ``heads h w`` (their mean is drawn), not negative.
        title: above the weights.

    Returns:
        the figure, and the numbers of :func:`head_graphs_figure` for these heads.
    """
    h, w = _inside(shape, query)
    panels = 1 + (weights is not None)
    wide = 9.0 / 2
    figure = new_figure(wide * h / w + 0.58, width=wide * panels)
    left, *right = figure.subplots(1, panels, squeeze=False)[0]
    numbers = numbers_of(heads, shape, query)
    _graph(left, heads, list(dict.fromkeys(heads)), shape, query, image, point=wide / w)
    left.set_title(f"the graph: {numbers['asked']} of {h * w} positions")
    for axes in right:
        mean = floats(weights).reshape(-1, h, w).mean(0)
        dim = 0.30 * grey(image)
        picture(axes, glow(dim, mean), title)
        _mark(axes, query, dim.shape[0] / h)
    _legend(figure, list(dict.fromkeys(heads)))
    return figure, numbers


@styled
def fold_figure(
    height: int = 6, width: int = 6, *, stride: int = 2, query: tuple[int, int] = (2, 3)
) -> tuple[Figure, dict[str, object]]:
    """GRID by folding, step by step: numbered positions, sub-lattices, attention in each, unfolded.

    Args:
        height, width: of the map; small enough to read the numbers.
        stride: T of the head.
        query: row and column of the position that is followed.

    Returns:
        the figure, and "lattices" (how many), "asked" (numbers of the positions that the query
        asks), "padded" (positions that are added so that the stride divides the sides) and "pairs"
        (weights computed, beside "pairs of FULL").

    Raises:
        ValueError: the query lies outside the map.
    """
    _inside((height, width), query)
    t = stride
    rows, columns = -(-height // t) * t, -(-width // t) * t
    y, x = np.mgrid[:rows, :columns]
    number = np.where((y < height) & (x < width), y * width + x, -1)
    lattice = (y % t) * t + x % t
    own = lattice[query]
    asked = np.sort(number[(lattice == own) & (number >= 0)])
    #  b c (y s) (x r) -> (b s r) c y x
    folded = number.reshape(rows // t, t, columns // t, t).transpose(1, 3, 0, 2)
    sizes = [int((folded[i, j] >= 0).sum()) for i in range(t) for j in range(t)]

    gap = 0.55
    wide, high = (n + gap * (t - 1) + 0.2 for n in (columns, rows))
    tall = 2.88 * high / wide + 0.75
    figure = new_figure(tall)
    figure.set_layout_engine("none")
    places = [
        figure.add_axes((0.008 + i * 0.335, 0.36 / tall, 0.32, 1 - 0.75 / tall)) for i in range(3)
    ]
    for axes in places:
        axes.set(xlim=(-0.6, wide - 0.6), ylim=(high - 0.6, -0.6))
        axes.set_aspect("equal", anchor="NW")
        axes.axis("off")
    first, second, third = places
    for r, c in np.ndindex(rows, columns):
        here = number[r, c]
        _cell(first, r, c, here, lattice[r, c], t, ring=(r, c) == tuple(query))
        row, column = (n // t + n % t * (m // t + gap) for n, m in ((r, rows), (c, columns)))
        _cell(second, row, column, here, lattice[r, c], t, ring=(r, c) == tuple(query))
        same = lattice[r, c] == own
        _cell(third, r, c, here, lattice[r, c] if same else None, t, ring=(r, c) == tuple(query))
    texts = (
        ("1  number the positions", f"colour: (row mod {t}, column mod {t})"),
        (
            f"2  fold: {t * t} maps of {rows // t} x {columns // t}",
            '"b c (y s) (x r) -> (b s r) c y x"',
        ),
        (
            "3  attend inside each, fold back",
            f"position {number[query]} asks {len(asked)} of {height * width}",
        ),
    )
    for axes, (head, foot) in zip(places, texts):
        box = axes.get_position()
        figure.text(box.x0, 1 - 0.08 / tall, head, fontsize=10.5, weight="bold", va="top")
        figure.text(box.x0, 0.14 / tall, foot, fontsize=9, va="center", color=QUIET,
                    family="DejaVu Sans Mono" if foot.startswith('"') else None)  # fmt: skip
    return figure, {
        "lattices": t * t,
        "asked": asked.tolist(),
        "padded": int((number < 0).sum()),
        "pairs": sum(n * n for n in sizes),
        "pairs of FULL": (height * width) ** 2,
    }


@styled
def blocks_figure(
    height: int = 12,
    width: int = 16,
    *,
    radius: int = 2,
    block: int = 4,
    query: tuple[int, int] = (5, 6),
) -> tuple[Figure, dict[str, int]]:
    """LOCAL by blocks: the queries of one block, its halo of keys, and the window of one query.

    Args:
        height, width: of the map.
        radius: S of the head.
        block: side of the blocks of queries.
        query: row and column of the position that is followed.

    Returns:
        the figure, and "queries" and "keys" of the block, "window" (keys of the query), "computed"
        (pairs computed over all blocks) and "edges" (pairs of the head).

    Raises:
        ValueError: the query lies outside the map.
    """
    _inside((height, width), query)

    def ends(n: int, side: int) -> tuple[int, int, int, int]:
        low = n // block * block
        high = min(low + block, side)
        return low, high, max(low - radius, 0), min(high + radius, side)

    (top, bottom, above, below), (left, right, before, after) = (
        ends(q, side) for q, side in zip(query, (height, width))
    )
    y, x = np.mgrid[:height, :width]
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    halo = (y >= above) & (y < below) & (x >= before) & (x < after)
    window = floats(support(f"LOCAL_{radius}", height, width, query)) > 0
    paper, keys, queries, own = (np.array(to_rgb(c)) for c in ("#f4f4f4", *_LOCAL[::-1]))
    figure = new_figure(3.0 * height / width + 0.5)
    grid = figure.subplots(1, 3)
    shades = np.where(halo[..., None], keys, paper)
    shades = np.where(inside[..., None], queries, shades)
    alone = np.where(window[..., None], queries, np.where(halo[..., None], keys, paper))
    alone[tuple(query)] = own
    for axes, shown, title in (
        (grid[0], shades, f"{inside.sum()} queries, {halo.sum()} keys"),
        (grid[1], alone, f"one query: {window.sum()} of the keys"),
    ):
        picture(axes, shown, title)
        for n in range(block, max(height, width), block):
            for line, side in ((axes.axhline, height), (axes.axvline, width)):
                if n < side:
                    line(n - 0.5, color=QUIET, linewidth=1.0)
        frame = Rectangle((before - 0.5, above - 0.5), after - before, below - above)
        frame.set(fill=False, edgecolor=INK, linewidth=1.8)
        axes.add_patch(frame)
    grid[1].plot(query[1], query[0], "o", ms=5, mfc="white", mec=INK)
    asks, answers = np.argwhere(inside), np.argwhere(halo)
    near = np.abs(asks[:, None] - answers[None]).max(-1) <= radius
    picture(grid[2], np.where(near[..., None], queries, keys), "one call: dark pairs count")
    grid[2].set(xlabel=f"{len(answers)} keys", ylabel=f"{len(asks)} queries")
    grid[2].set_aspect("auto")
    grid[2].set_box_aspect(height / width)
    sides = [[ends(n, side) for n in range(0, side, block)] for side in (height, width)]
    computed = [
        sum((high - low) * (last - first) for low, high, first, last in axis) for axis in sides
    ]
    return figure, {
        "queries": int(inside.sum()),
        "keys": int(halo.sum()),
        "window": int(window.sum()),
        "computed": computed[0] * computed[1],
        "edges": edges(f"LOCAL_{radius}", height, width),
    }


def _graph(
    axes: Axes,
    heads: Sequence[str],
    every: Sequence[str],
    shape: tuple[int, int],
    query: tuple[int, int],
    image: Map | None,
    point: float,
) -> None:
    """Draw the graph of a set of heads; ``point`` is the width of a position in inches."""
    h, w = shape
    ground = np.full((h, w, 3), 0.97)
    if image is not None:
        ground = np.repeat((0.45 + 0.5 * grey(image))[..., None], 3, 2)
    pale, size = ground, ground.shape[:2]
    areas = [k for k in every if k in heads and not k.startswith("GRID")]
    for head in sorted(areas, key=_size, reverse=True):
        mask = stretch(floats(support(head, h, w, query)), size)[..., None]
        seen = 0.25 if image is None else 0.45
        tint = seen * pale + (1 - seen) * np.array(_colour(head, every))
        ground = np.where(mask > 0, tint, ground)
    axes.imshow(ground, extent=(-0.5, w - 0.5, h - 0.5, -0.5))
    axes.set(xticks=[], yticks=[], xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5))
    for spine in axes.spines.values():
        spine.set(visible=True, color=QUIET, linewidth=0.6)
    if image is None and point > 0.1:
        for line, side in ((axes.axvline, w), (axes.axhline, h)):
            for n in range(1, side):
                line(n - 0.5, color="white", linewidth=0.8, zorder=1)
    marks = [k for k in every if k in heads and k.startswith("GRID")]
    for order, head in enumerate(sorted(marks, key=_size, reverse=True)):
        places = np.argwhere(floats(support(head, h, w, query)) > 0)
        colour, marker = _mark_of(head, every)
        rank = sorted((k for k in every if k.startswith("GRID")), key=_size).index(head)
        size = max(72 * point, 9) * (0.42 + 0.2 * min(rank, 2))
        axes.scatter(
            places[:, 1], places[:, 0], s=size**2, c=colour, marker=marker, linewidths=0.4,
            edgecolors="white", zorder=2 + order,
        )  # fmt: skip
    dot = max(72 * point * 0.8, 8)
    axes.plot(query[1], query[0], "o", ms=dot, mfc="black", mec="white", mew=1.4, zorder=9)


def _legend(figure: Figure, every: Sequence[str]) -> None:
    handles = []
    for head in sorted(every, key=lambda k: (k.startswith("GRID"), _size(k))):
        if head.startswith("GRID"):
            colour, marker = _mark_of(head, every)
            style = {"marker": marker, "color": colour, "linestyle": "none", "markersize": 7}
            handles.append(Line2D([], [], label=_name(head), **style))
        else:
            handles.append(Patch(facecolor=_colour(head, every), label=_name(head)))
    dot = {"marker": "o", "color": "black", "linestyle": "none", "markersize": 7}
    handles.append(Line2D([], [], label="the pixel that asks", **dot))
    columns = min(len(handles), int(figure.get_figwidth() / 1.25))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, handlelength=1.2,
                  columnspacing=1.3, borderpad=0.1)  # fmt: skip


def _name(head: str) -> str:
    kind, _, size = head.partition("_")
    return f"{kind} {size}".strip()


def _size(head: str) -> int:
    return int(head.partition("_")[2] or 10**6)


def _colour(head: str, every: Sequence[str]) -> tuple[float, float, float]:
    if head == "FULL":
        return to_rgb(_FULL)
    rank = sorted((k for k in every if k.startswith("LOCAL")), key=_size).index(head)
    return to_rgb(_LOCAL[min(rank, len(_LOCAL) - 1)])


def _mark_of(head: str, every: Sequence[str]) -> tuple[str, str]:
    rank = sorted((k for k in every if k.startswith("GRID")), key=_size).index(head)
    return _GRID[min(rank, len(_GRID) - 1)]


def _cell(
    axes: Axes, row: float, column: float, number: int, lattice: int | None, t: int, ring: bool
) -> None:
    """One numbered position; padding is an empty, dashed cell."""
    colour = "#f4f4f4" if lattice is None else _tint(lattice, t)
    style = {"facecolor": colour, "edgecolor": "white", "linewidth": 1.0}
    if number < 0:
        style = {"facecolor": "none", "edgecolor": QUIET, "linewidth": 0.8, "linestyle": ":"}
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))
    if ring:
        edge = {"fill": False, "edgecolor": INK, "linewidth": 2.2, "zorder": 4}
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **edge))
    if number >= 0:
        ink = QUIET if lattice is None else INK
        axes.text(column, row, number, ha="center", va="center", fontsize=9, color=ink, zorder=3)


def _tint(lattice: int, t: int) -> np.ndarray:
    """A pale colour for each residue: hue by the row's, depth by the column's."""
    hue = np.array(to_rgb(series((0, 1, 2, 3, 4, 5, 6)[lattice // t % 7])))
    depth = 0.32 + 0.42 * (lattice % t) / max(t - 1, 1)
    return 1 - depth * (1 - hue)


def _inside(shape: tuple[int, int], query: tuple[int, int]) -> tuple[int, int]:
    h, w = shape
    if not (0 <= query[0] < h and 0 <= query[1] < w):
        raise ValueError(f"expected a query inside {h} x {w}, got {tuple(query)}")
    return h, w
