"""Lesson 12: classes, their regions and prototypes, and the parts of CGRSeg."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import combinations

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from .figures import new_figure, picture, styled
from .palette import DIVERGING, FAINT, HEAT, INK, PAPER, QUIET, Map, floats, grey, pixels, stretch
from .widgets import Explorer

#: the three parts of CGRSeg, wherever they are drawn
PART_COLOURS = {"context": "#56B4E9", "reconstruction": "#E69F00", "prototypes": "#CC79A7"}
_THICK = 0.19  # inches: a strip of channels


def _region(image: Map, region: Map) -> np.ndarray:
    """A soft region as light on the darkened, grey image; its brightest pixel is white."""
    light = floats(region)
    light = stretch(light / max(light.max(), 1e-12), grey(image).shape)[..., None] ** 0.6
    dim = np.repeat(0.32 * grey(image)[..., None], 3, -1)
    return dim + light * (np.array([1.0, 0.93, 0.55]) - dim)


@styled
def gather_figure(
    image: Map,
    regions: Map,
    prototypes: Map,
    embedding: Map,
    gate: Map,
    classes: Sequence[str],
    *,
    chosen: Sequence[int],
) -> tuple[Figure, dict[str, float]]:
    """From a map to the gate of its channels: regions, prototypes, weights, vector, gate.

    Args:
        image: ``3 h w`` in [0, 1].
        regions: ``k h' w'``, the shares of the pixels in each class.
        prototypes: ``c k``.
        embedding: ``k``, how much each class counts.
        gate: ``c``.
        classes: their names.
        chosen: the classes that are drawn; all count.

    Returns:
        the figure, and for each class drawn its weight, "others" (of the rest), and "lowest" and
        "highest" of the gate.
    """
    shares, p, e, s = floats(regions), floats(prototypes), floats(embedding), floats(gate)
    rgb = pixels(image)
    columns = len(chosen) + 1
    tall = 8.6 / columns * rgb.shape[0] / rgb.shape[1]
    heights = [tall, _THICK, 0.2, _THICK, _THICK]
    figure = new_figure(sum(heights) + 1.5)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    picture(figure.add_subplot(grid[0, 0]), rgb, "the image")
    most = np.abs(p[:, chosen]).max()
    numbers = {}
    for column, k in enumerate(chosen, 1):
        picture(figure.add_subplot(grid[0, column]), _region(image, shares[k]), classes[k])
        strip = figure.add_subplot(grid[1, column])
        _strip(strip, p[:, k], DIVERGING, -most, most)
        strip.set_xlabel(f"its prototype; e = {e[k]:.2f}", fontsize=9.5)
        numbers[classes[k]] = float(e[k])
    label = figure.add_subplot(grid[1, 0])
    _strip(label, np.zeros(p.shape[0]), DIVERGING, -1, 1, hidden=True)
    label.text(1, 0.5, f"mean of the {p.shape[0]} channels\nover each region", ha="right",
               va="center", fontsize=9.5, transform=label.transAxes)  # fmt: skip
    v = p @ e
    for row, (values, words, colours, low, high) in enumerate(
        (
            (v, "v, the weighted mean of all prototypes", DIVERGING, -np.abs(v).max(), None),
            (s, f"the gate, from {s.min():.2f} (dark) to {s.max():.2f}", HEAT, s.min(), s.max()),
        ),
        3,
    ):
        axes = figure.add_subplot(grid[row, 1:])
        _strip(axes, values, colours, low, -low if high is None else high)
        name = figure.add_subplot(grid[row, 0])
        _strip(name, values, colours, 0, 1, hidden=True)
        name.text(1, 0.5, words.split(", ")[0], ha="right", va="center", transform=name.transAxes)
        axes.set_xlabel(words.partition(", ")[2], fontsize=9.5, loc="left")
    numbers["others"] = float(1 - sum(numbers.values()))
    return figure, numbers | {"lowest": float(s.min()), "highest": float(s.max())}


def _strip(axes: Axes, values: np.ndarray, colours: str, low: float, high: float, hidden=False):
    """Channels as a row of coloured squares; hidden, it only keeps the place."""
    picture(axes, values[None], cmap=colours, vmin=low, vmax=high, aspect="auto")
    if hidden:
        axes.axis("off")
        axes.images[0].set_visible(False)


@styled
def two_streets_figure(
    images: Sequence[Map], regions: Sequence[Map], prototypes: Map, mean: Map, name: str
) -> tuple[Figure, dict[str, list[float]]]:
    """One class in some images: its soft region, and its prototype beside the mean of many.

    Args:
        images: each ``3 h w`` in [0, 1].
        regions: of each image, ``h' w'``.
        prototypes: ``n c``, one for each image.
        mean: ``c``.
        name: of the class.

    Returns:
        the figure, and "cosine" of each prototype with the mean.
    """
    p, m = floats(prototypes), floats(mean)
    h, w = pixels(images[0]).shape[:2]
    figure = new_figure(len(images) * (2.35 * h / w + 0.42) + 0.35)
    grid = figure.subplots(len(images), 3, gridspec_kw={"width_ratios": (1, 1, 1.75)})
    low, high = min(p.min(), m.min()), max(p.max(), m.max())
    for r, (image, region) in enumerate(zip(images, regions)):
        picture(grid[r, 0], pixels(image), "a street" if r == 0 else "another street")
        picture(grid[r, 1], _region(image, region), f"its region of {name}")
        axes = grid[r, 2]
        axes.bar(range(len(m)), p[r], 0.8, color=PART_COLOURS["prototypes"], label="this street")
        edges = np.arange(len(m) + 1) - 0.5
        axes.stairs(m, edges, baseline=None, color=INK, linewidth=1.1, label="mean of many streets")
        axes.set(xlim=(-1, len(m)), ylim=(1.1 * low, 1.1 * high), xticks=[])
        axes.set_title(f"its prototype: the mean of {len(m)} channels there")
    grid[-1, 2].legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=2)
    norms = np.linalg.norm(p, axis=1) * np.linalg.norm(m)
    return figure, {"cosine": [float(c) for c in p @ m / np.maximum(norms, 1e-12)]}


@styled
def embedding_figure(
    embeddings: Map, classes: Sequence[str], shares: Sequence[float] | None = None
) -> tuple[Figure, dict[str, tuple[float, float]]]:
    """How much each class counts, in many images.

    Args:
        embeddings: ``n k``, a row for each image, which sums to 1.
        classes: their names.
        shares: of the pixels of all images that carry each label, marked beside.

    Returns:
        the figure, and class to (its mean weight, the standard deviation over the images).
    """
    e = floats(embeddings)
    order = np.argsort(-e.mean(0))
    figure = new_figure(0.25 * e.shape[1] + 1.0)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (1.5, 1)})
    names = [classes[k] for k in order]
    shown = picture(left, e[:, order].T, cmap=HEAT, vmin=0, aspect="auto")
    left.set_yticks(range(len(names)), names)
    left.set_xlabel(f"{len(e)} images")
    left.set_title("weight e of each class")
    figure.colorbar(shown, ax=left, fraction=0.04, pad=0.01)
    right.barh(range(len(names)), 100 * e.mean(0)[order], 0.62, color=QUIET, label="weight e")
    if shares is not None:
        right.plot(100 * np.asarray(shares)[order], range(len(names)), "D", color=INK,
                   markerfacecolor=PAPER, label="share of the pixels")  # fmt: skip
    right.axvline(100 / len(names), color=QUIET, linestyle=(0, (4, 3)), linewidth=1)
    right.set_xlabel("mean (%); dashed: all alike")
    right.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1)
    right.grid(True, axis="x")
    return figure, {classes[k]: (float(e[:, k].mean()), float(e[:, k].std())) for k in order}


@styled
def prototype_space_figure(
    prototypes: Map,
    classes: Sequence[str],
    palette: np.ndarray,
    *,
    one: int = 0,
) -> tuple[Figure, dict[str, float]]:
    """The prototypes of many images along the two directions in which they differ most.

    Args:
        prototypes: ``n c k``.
        classes: their names.
        palette: ``k 3``, their colours as bytes.
        one: an image whose prototypes are ringed.

    Returns:
        the figure; "between", the share of all variance that lies between the means of the classes
        (the rest lies between images), and "shown", the share along the two directions.
    """
    p = floats(prototypes).transpose(0, 2, 1)  # n k c
    means = p.mean(0)
    middle = means.mean(0)
    total = ((p - middle) ** 2).sum()
    between = len(p) * ((means - middle) ** 2).sum() / total
    flat = (p - middle).reshape(-1, p.shape[-1])
    directions = np.linalg.svd(flat, full_matrices=False)[2][:2]
    places, centres = (p - middle) @ directions.T, (means - middle) @ directions.T
    figure = new_figure(4.6, width=8.2)
    axes = figure.subplots()
    for k in range(len(classes)):
        colour = np.asarray(palette[k]) / 255
        style = {"color": colour, "edgecolor": INK, "linewidth": 0.25}
        axes.scatter(*places[:, k].T, s=20, alpha=0.75, **style)
        axes.scatter(*centres[k], s=60, marker="s", zorder=7, **style | {"linewidth": 1.1})
    ring = {"s": 60, "facecolors": "none", "edgecolors": INK, "linewidth": 1.5, "zorder": 5}
    axes.scatter(*places[one].T, **ring)
    axes.set_xlabel("the direction in which they differ most")
    axes.set_ylabel("and the second")
    axes.margins(0.08)
    figure.draw_without_rendering()
    places_of, taken = axes.transData.transform(centres), []
    line = 1.6 * 9.5 * figure.dpi / 72
    for k in np.argsort(-places_of[:, 1]):  # from above; a name steps down until it is free
        x, y = places_of[k] + (12, 8)
        while any(abs(x - a) < 95 and abs(y - b) < line for a, b in taken):
            y -= 5
        taken.append((x, y))
        at = axes.transData.inverted().transform((x, y))
        box = {"boxstyle": "round,pad=0.05", "facecolor": PAPER, "alpha": 0.7, "edgecolor": "none"}
        axes.text(*at, classes[k], va="center", fontsize=9.5, bbox=box, zorder=6)
    shown = (places**2).sum() / total
    return figure, {"between": float(between), "shown": float(shown)}


@styled
def parts_figure() -> tuple[Figure, dict[str, str]]:
    """The whole of CGRSeg, with the parts of its ablation in three colours.

    Returns:
        the figure, and each part to what it does, in words.
    """
    figure = new_figure(5.0)
    axes = figure.subplots()
    axes.set(xlim=(0, 18.4), ylim=(-0.2, 9.3), aspect="equal")
    axes.axis("off")
    context, again, prototypes = PART_COLOURS.values()
    _box(axes, (7.2, 8.45), 13.2, 1.1, "pool all to 1/64, concatenate, RCM × L, split", context)
    columns = {"32": 2.6, "16": 7.2, "8": 11.8}
    for scale, x in columns.items():
        _box(axes, (x, 0.5), 1.9, 0.9, f"$x_{{{scale}}}$", PAPER)
        _ring(axes, (x, 2.1), "+" if scale != "32" else "")
        _box(axes, (x, 3.6), 1.9, 0.9, "RCM", again)
        _ring(axes, (x, 5.4), "⊙")
        _box(axes, (x, 7.0), 2.5, 0.8, f"gate of $P_{{{scale}}}$", context)
        coarsest = scale == "32"
        _arrow(axes, (x, 0.95), (x, 3.15 if coarsest else 1.75))
        if not coarsest:
            _arrow(axes, (x, 2.45), (x, 3.15))
        _arrow(axes, (x, 4.05), (x, 5.05), "1×1")
        _arrow(axes, (x, 7.9), (x, 7.4))
        _arrow(axes, (x, 6.6), (x, 5.75))
    for one, other in (("32", "16"), ("16", "8")):
        x, to = columns[one], columns[other]
        axes.plot([x + 0.35, x + 2.3, x + 2.3], [5.4, 5.4, 2.1], color=INK, linewidth=1.3)
        _arrow(axes, (x + 2.3, 2.1), (to - 0.35, 2.1))
        axes.text(x + 2.42, 3.75, "enlarge,\n1×1", va="center", fontsize=9)
        axes.text(x + 0.5, 5.62, f"$y_{{{one}}}$", fontsize=10)
    for x in columns.values():  # every map also enters the context
        axes.plot([x, x], [0.05, -0.1], color=QUIET, linewidth=1.1)
    axes.plot([11.8, 0.3, 0.3], [-0.1, -0.1, 8.45], color=QUIET, linewidth=1.1)
    _arrow(axes, (0.3, 8.45), (0.6, 8.45), colour=QUIET)
    axes.text(12.3, 5.62, "$y_8$", fontsize=10)
    _arrow(axes, (12.15, 5.4), (14.3, 5.4))
    _box(axes, (16.1, 5.4), 3.4, 1.5, "prototypes,\ngate, classifier", prototypes)
    _arrow(axes, (16.1, 4.6), (16.1, 3.3))
    axes.text(16.1, 2.85, "logits at 1/8", ha="center", fontsize=10)
    axes.text(16.1, 6.45, "head", ha="center", fontweight="bold")
    axes.text(14.0, 8.45, "pyramid context\nextraction", va="center", fontweight="bold")
    axes.text(13.0, 3.6, "spatial feature\nreconstruction", va="center", fontweight="bold")
    axes.text(13.0, 0.5, "maps of the backbone", va="center", fontweight="bold")
    return figure, {
        "context": "all maps, pooled and mixed, gate each scale",
        "reconstruction": "each scale is calibrated on the way to the finest",
        "prototypes": "classes of the image gate the channels before the classifier",
    }


def _box(axes: Axes, middle, width: float, height: float, words: str, colour: str) -> None:
    x, y = middle
    shape = FancyBboxPatch(
        (x - width / 2, y - height / 2), width, height,
        boxstyle="round,pad=0,rounding_size=0.15", facecolor=colour, edgecolor=INK, linewidth=0.9,
    )  # fmt: skip
    axes.add_patch(shape)
    axes.text(x, y, words, ha="center", va="center", fontsize=10, linespacing=1.25)


def _ring(axes: Axes, middle, words: str) -> None:
    if words:
        axes.plot(*middle, "o", markersize=17, color=PAPER, markeredgecolor=INK, zorder=3)
        axes.text(*middle, words, ha="center", va="center_baseline", fontsize=12, zorder=4)


def _arrow(axes: Axes, start, end, words: str = "", colour: str = INK) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": colour, "linewidth": 1.3}
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))
    if words:
        axes.text(start[0] + 0.15, (start[1] + end[1]) / 2, words, va="center", fontsize=9)


@styled
def factorial_figure(
    scores: Mapping[frozenset[str], Sequence[float]],
    printed: Sequence[frozenset[str]] = (),
) -> tuple[Figure, dict[str, float]]:
    """Eight networks with and without three parts; along each line a part is added.

    Args:
        scores: the parts of a network to its scores, one for each training, in per cent.
        printed: networks that get a thick frame: those that the paper reports.

    Returns:
        the figure, and each part to the mean of its four gains (those that are there).

    Raises:
        ValueError: other parts than :data:`PART_COLOURS` names.
    """
    parts = tuple(PART_COLOURS)
    if unknown := {part for some in scores for part in some} - set(parts):
        raise ValueError(f"expected parts of {', '.join(parts)}, got {', '.join(unknown)}")
    singles, pairs = ([frozenset(c) for c in combinations(parts, n)] for n in (1, 2))
    rows = [[None, frozenset(), None], singles, pairs, [None, frozenset(parts), None]]
    places = {
        some: (4.2 * x, 1.55 * y)
        for y, row in enumerate(rows)
        for x, some in enumerate(row)
        if some is not None
    }
    figure = new_figure(5.4)
    axes = figure.subplots()
    axes.set(xlim=(-1.7, 10.1), ylim=(-0.75, 5.25))
    axes.axis("off")
    gains: dict[str, list[float]] = {part: [] for part in parts}
    for some, at in places.items():
        for part in parts:
            more = some | {part}
            if part in some or not (len(scores.get(some, ())) and len(scores.get(more, ()))):
                continue
            to = places[more]
            gain = float(np.mean(scores[more]) - np.mean(scores[some]))
            gains[part].append(gain)
            line = [at[0], to[0]], [at[1] + 0.33, to[1] - 0.33]
            axes.plot(*line, color=PART_COLOURS[part], linewidth=3, zorder=1)
            where = 0.5 if at[0] == to[0] else 0.3
            x, y = (a + where * (b - a) for a, b in line)
            style = {"boxstyle": "round,pad=0.12", "facecolor": PAPER, "edgecolor": "none"}
            axes.text(
                x,
                y,
                f"{round(gain, 1) + 0.0:+.1f}",
                ha="center",
                va="center",
                fontsize=9.5,
                bbox=style,
            )
    for some, (x, y) in places.items():
        width = 3.0
        axes.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - 0.33), width, 0.66,
                boxstyle="round,pad=0,rounding_size=0.1", facecolor=PAPER, edgecolor=INK,
                linewidth=2.4 if some in printed else 0.7, zorder=2,
            )
        )  # fmt: skip
        name = {0: "base", 3: "all three"}.get(len(some)) or " + ".join(
            part for part in parts if part in some
        )
        found = scores.get(some, ())
        words = f"{np.mean(found):.1f}" if len(found) else "not trained"
        if len(found) > 1:
            words += f"  ({min(found):.1f}–{max(found):.1f})"
        axes.text(x, y + 0.14, name, ha="center", va="center", fontsize=9.5, zorder=3)
        axes.text(x, y - 0.14, words, ha="center", va="center", fontsize=9.5, zorder=3,
                  fontweight="bold")  # fmt: skip
    for y, (part, colour) in zip((0.35, 0.0, -0.35), PART_COLOURS.items()):
        axes.plot([7.0, 7.6], [y, y], color=colour, linewidth=3)
        axes.text(7.75, y, f"+ {part}", va="center", fontsize=9.5)
    if printed:
        words = "thick frame: printed in the paper"
        axes.text(-1.6, 0, words, va="center", fontsize=9.5)
    return figure, {part: float(np.mean(values)) for part, values in gains.items() if values}


@styled
def prototype_figure(
    image: Map,
    region: Map,
    similarity: Map,
    embedding: Map,
    classes: Sequence[str],
    chosen: int,
) -> tuple[Figure, dict[str, float]]:
    """One class of an image: its soft region, who is like its prototype, and how much it counts.

    Args:
        image: ``3 h w`` in [0, 1].
        region: ``h' w'``, the share of each pixel in the class.
        similarity: ``h' w'``, the cosine of each pixel with the prototype.
        embedding: ``k``.
        classes: their names.
        chosen: the class.

    Returns:
        the figure, and "weight" of the class and "pixels", how many its region spreads over.
    """
    share, e = floats(region), floats(embedding)
    rgb = pixels(image)
    figure = new_figure(3.0 * rgb.shape[0] / rgb.shape[1] + 0.75)
    panels = figure.subplots(1, 3, gridspec_kw={"width_ratios": (1, 1, 0.75)})
    picture(panels[0], _region(image, share), f"region of {classes[chosen]}")
    cosine = stretch(floats(similarity), rgb.shape[:2])
    shown = picture(panels[1], cosine, "cosine with its prototype", cmap=DIVERGING, vmin=-1, vmax=1)
    figure.colorbar(shown, ax=panels[1], shrink=0.72, fraction=0.05, pad=0.01)
    colours = [INK if k == chosen else FAINT for k in range(len(e))]
    panels[2].bar(range(len(e)), 100 * e, color=colours)
    panels[2].set(xticks=[], xlabel=f"{len(e)} classes", ylim=(0, 112 * e.max()))
    panels[2].set_title(f"weight e: {e[chosen]:.2f}")
    panels[2].set_ylabel("%")
    spread = 1 / max((share**2).sum(), 1e-12)
    return figure, {"weight": float(e[chosen]), "pixels": float(spread)}


def prototype_explorer(
    image: Map,
    regions: Map,
    similarities: Mapping[str, Map],
    embedding: Map,
    classes: Sequence[str],
    *,
    chosen: int = 0,
) -> Explorer:
    """Choose a class: its soft region, who is like its prototype, and how much it counts.

    The static twin is :func:`prototype_figure`.

    Args:
        image: ``3 h w`` in [0, 1].
        regions: ``k h' w'``.
        similarities: whose prototypes ("this image", "the data set") to the cosines ``k h' w'``.
        embedding: ``k``.
        classes: their names.
        chosen: the class to begin with.
    """

    def draw(of: str, prototype: str) -> tuple[Figure, str]:
        k = list(classes).index(of)
        cosine = similarities[prototype][k]
        figure, n = prototype_figure(image, regions[k], cosine, embedding, classes, k)
        area = regions[k].shape[0] * regions[k].shape[1]
        return figure, (
            f"The region of <b>{html.escape(of)}</b> spreads over about {n['pixels']:.0f} of "
            f"{area} positions; the class has {n['weight']:.0%} of the weight."
        )

    controls = {
        "of": ipywidgets.Dropdown(
            options=list(classes), value=classes[chosen], description="class"
        ),
        "prototype": ipywidgets.ToggleButtons(
            options=list(similarities), description="prototype of"
        ),
    }
    return Explorer(draw, controls, "A class of the image: its region, and who is like its mean.")
