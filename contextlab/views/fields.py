"""Figures of receptive fields: the cone of a chain, the heat of gradients, how both grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator
from torch import Tensor

from contextlab.costs import Fit, fit_exponent
from contextlab.probes.receptive_field import Layer, central_share, effective_width, growth

from .figures import log_ticks, new_figure, picture, styled
from .palette import HEAT, INK, MARKERS, QUIET, series


@styled
def cone_figure(layers: Sequence[Layer], *, title: str = "") -> tuple[Figure, dict]:
    """Which inputs one output reads through a chain of layers, in one dimension.

    Args:
        layers: (kernel, stride, dilation) from the input to the output.
        title: a line above; by default the size and how much of it is read.

    Returns:
        the figure, and "size" (receptive field in pixels), "read" (how many pixels of it are
        really read: fewer if dilations leave holes), "sizes" after each layer.
    """
    layers = [tuple(layer) for layer in layers]
    sizes = [size for size, _ in growth(layers)]
    levels, edges = [{0}], []  # from the output down
    for depth, (kernel, stride, dilation) in enumerate(reversed(layers)):
        taps = [(i - (kernel - 1) / 2) * dilation for i in range(kernel)]
        below = {p: [stride * p + t for t in taps] for p in levels[-1]}
        edges += [((p, depth), (q, depth + 1)) for p, qs in below.items() for q in qs]
        levels.append({q for qs in below.values() for q in qs})
    strides = [1, *(s for _, s in growth(layers))][::-1]  # positions of a level, in pixels
    n = len(layers)
    numbers = {"size": sizes[-1] if sizes else 1, "read": len(levels[-1]), "sizes": sizes}

    figure = new_figure(1.1 + 0.52 * n)
    axes = figure.subplots()
    lines = [[(p * strides[d], n - d), (q * strides[e], n - e)] for (p, d), (q, e) in edges]
    axes.add_collection(LineCollection(lines, colors=QUIET, linewidths=0.6, alpha=0.55, zorder=1))
    reach = (numbers["size"] - 1) / 2
    spot = float(np.clip(420 / max(numbers["size"], 1), 5, 60))
    for depth, level in enumerate(levels):
        x = np.array(sorted(level)) * strides[depth]
        colour = series(1) if depth == 0 else series(0)
        axes.scatter(x, [n - depth] * len(x), s=spot, color=colour, zorder=3, linewidths=0)
    every = np.arange(-np.floor(reach), np.floor(reach) + 1) + (reach % 1)
    holes = [x for x in every if not any(abs(x - q) < 1e-9 for q in levels[-1])]
    empty = {"s": spot, "facecolors": "white", "edgecolors": QUIET, "linewidths": 0.8}
    axes.scatter(holes, [0] * len(holes), zorder=2, **empty)
    names = ["input"] + [_layer_name(layer) for layer in layers]
    axes.set_yticks(range(n + 1), names)
    axes.set_ylim(-0.45, n + 0.45)
    axes.set_xlabel("pixel, counted from the one in question")
    axes.set_xlim(-max(reach, 3) - 1, max(reach, 3) + 1)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    part = "all of them read" if not holes else f"{numbers['read']} of them read"
    axes.set_title(title or f"{numbers['size']} pixels in reach, {part}")
    return figure, numbers


@styled
def receptive_field_figure(
    field: Tensor | np.ndarray,
    size: tuple[int, int],
    *,
    title: str = "effective receptive field",
) -> tuple[Figure, dict]:
    """The gradients as heat, with the square that theory allows and the width that matters.

    Args:
        field: ``h w``, from :func:`~contextlab.views.effective`.
        size: height and width, from :func:`~contextlab.views.theoretical`.
        title: above the heat map.

    Returns:
        the figure, and "theoretical" (height, width), "effective" (width of the square of pixels
        that matter), "central" (share of the gradient within that square).
    """
    f = np.asarray(field, float)
    wide = effective_width(f)
    side = 2 * int(wide // 2) + 1
    numbers = {
        "theoretical": tuple(size),
        "effective": round(wide, 1),
        "central": central_share(f, side),
    }
    rows, columns = np.indices(f.shape)
    y, x = (float((f * axis).sum() / f.sum()) for axis in (rows, columns))
    figure = new_figure(3.7)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    # the root shows the tails, which a linear scale would leave black
    picture(left, np.sqrt(f / f.max()), title, cmap=HEAT, vmin=0, vmax=1)
    half = 0.72 * max(*size, wide)
    left.set_xlim(max(x - half, -0.5), min(x + half, f.shape[1] - 0.5))
    left.set_ylim(min(y + half, f.shape[0] - 0.5), max(y - half, -0.5))
    frames = (
        (size[0], size[1], (0, (4, 2)), f"can see: {size[0]} x {size[1]}"),
        (wide, wide, "-", f"does see: about {wide:.0f} x {wide:.0f}"),
    )
    for height, width, style, _ in frames:
        corner = (x - width / 2, y - height / 2)
        options = {"fill": False, "linewidth": 1.8, "linestyle": style}
        left.add_patch(Rectangle(corner, width, height, edgecolor="white", **options))
    profile = f.sum(0) / f.sum(0).max()
    offsets = np.arange(len(profile)) - x
    right.fill_between(offsets, profile, step="mid", color=series(0), alpha=0.25, linewidth=0)
    right.step(offsets, profile, where="mid", color=series(0), linewidth=1.5)
    for _, width, style, name in frames:
        for sign in (-1, 1):
            label = name if sign > 0 else None
            at = sign * width / 2
            right.axvline(at, color=INK, linestyle=style, linewidth=1.5, label=label)
    right.set_xlim(-half, half)
    right.set_ylim(0, 1.08)
    right.set_yticks([0, 0.5, 1])
    right.set_xlabel("columns from the middle")
    right.set_title("influence of each column, largest = 1")
    figure.legend(loc="outside lower center", ncols=2, handlelength=2.6)
    return figure, numbers


@styled
def growth_figure(
    depths: Sequence[int],
    widths: Mapping[str, Sequence[float]],
    *,
    xlabel: str = "number of layers",
    ylabel: str = "receptive field (pixels)",
    title: str = "width by depth",
) -> tuple[Figure, dict[str, Fit]]:
    """How receptive fields grow with depth, on plain axes and on logarithmic ones.

    Args:
        depths: numbers of layers.
        widths: name to the width at each depth: "theoretical" and "effective", say.
        xlabel: what is on the horizontal axis.
        ylabel: what is on the vertical one.
        title: of the plain axes.

    Returns:
        the figure, and the fitted power law of each curve (:func:`~contextlab.costs.fit_exponent`).
    """
    fits = {name: fit_exponent(depths, values) for name, values in widths.items()}
    figure = new_figure(3.3)
    plain, log = figure.subplots(1, 2)
    for i, (name, values) in enumerate(widths.items()):
        style = {"color": series(i), "marker": MARKERS[i], "markersize": 5.5, "linewidth": 1.6}
        plain.plot(depths, values, label=name, **style)
        text = f"{name}: ∝ depth$^{{\\,{fits[name].exponent:.2f}}}$"
        log.plot(depths, values, label=text, **{**style, "linestyle": "none"})
        log.plot(depths, fits[name](depths), color=series(i), linewidth=1.4)
    log.set(xscale="log", yscale="log")
    log.set_xticks(list(depths), [str(d) for d in depths])
    log.xaxis.set_minor_locator(NullLocator())
    log_ticks(log.yaxis)
    log.set_title("the same on logarithmic axes: slopes are exponents")
    plain.set_title(title)
    plain.set_ylabel(ylabel)
    plain.set_ylim(bottom=0)
    for axes in (plain, log):
        axes.set_xlabel(xlabel)
        axes.grid(True)
        axes.legend()
    return figure, fits


def _layer_name(layer: Layer) -> str:
    kernel, stride, dilation = layer
    name = f"{kernel} wide"
    name += f", stride {stride}" if stride > 1 else ""
    return name + (f", dilation {dilation}" if dilation > 1 else "")
