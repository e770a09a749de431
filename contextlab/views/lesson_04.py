"""Lesson 04: one vector for a whole image: how it is made, what it opens, where it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from torch import nn

from contextlab.probes import inside_slot

from .affinity import glow
from .figures import new_figure, picture, styled
from .palette import HEAT, INK, QUIET, STEP_COLOURS, Map, floats, grey, pixels
from .widgets import Explorer, slider


@styled
def squeeze_figure(image: Map, seen: Mapping[str, Map]) -> tuple[Figure, dict]:
    """The image, the maps that weigh its pixels, and the gates of its channels below.

    Args:
        image: ``3 h w`` in [0, 1].
        seen: name to a map ``h w`` or to a vector ``c``. A map whose sum is 1 is drawn as light
            on the dimmed image; other maps and vectors as numbers from 0 (dark) to 1.

    Returns:
        the figure, and for each name "low", "mean" and "high".

    Raises:
        ValueError: nothing to draw, or neither a map nor a vector.
    """
    values = {name: floats(v) for name, v in seen.items()}
    if not values or any(v.ndim not in (1, 2) for v in values.values()):
        found = [v.shape for v in values.values()]
        raise ValueError(f"expected maps h w or vectors c, got {found}")
    maps = {name: v for name, v in values.items() if v.ndim == 2}
    vectors = {name: v for name, v in values.items() if v.ndim == 1}
    columns, rgb = 1 + len(maps), pixels(image)
    tall = min(9.0 / columns, 4.5) * rgb.shape[0] / rgb.shape[1] + 0.3
    heights = [tall] + [0.62] * len(vectors)
    figure = new_figure(sum(heights), width=9.0)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    picture(figure.add_subplot(grid[0, 0]), rgb, "image")
    for i, (name, value) in enumerate(maps.items(), 1):
        axes = figure.add_subplot(grid[0, i])
        if abs(value.sum() - 1) < 1e-3:
            picture(axes, glow(0.30 * grey(image), value), f"{name}, brightest {value.max():.1%}")
        else:
            picture(axes, value, f"{name}, 0 dark to 1 light", cmap=HEAT, vmin=0, vmax=1)
    for i, (name, value) in enumerate(vectors.items(), 1):
        axes = figure.add_subplot(grid[i, :])
        title = f"{name}: {len(value)} channels, 0 dark to 1 light"
        picture(axes, value[None], title, cmap=HEAT, vmin=0, vmax=1, aspect="auto")
    numbers = {
        name: {"low": float(v.min()), "mean": float(v.mean()), "high": float(v.max())}
        for name, v in values.items()
    }
    return figure, numbers


@styled
def one_vector_figure(image: Map, vector: Map) -> tuple[Figure, dict]:
    """An image is squeezed into a column of numbers, and the column is handed to every pixel.

    Args:
        image: ``3 h w`` in [0, 1].
        vector: ``c``.

    Returns:
        the figure, and "channels".
    """
    rgb, value = pixels(image), floats(vector)
    figure = new_figure(2.15, width=9.0)
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"width_ratios": (10, 2.2, 10)})
    picture(left, rgb, "every pixel goes in")
    middle.imshow(value[:, None], cmap=HEAT, aspect="auto", extent=(0.38, 0.62, 0, 1))
    middle.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    middle.set_title("one vector", loc="center")
    for spine in middle.spines.values():
        spine.set_visible(False)
    picture(right, 0.55 * rgb + 0.45, "and every pixel is told the same")
    height, width = rgb.shape[:2]
    for y in np.linspace(0.12, 0.88, 5):
        style = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.2, "clip_on": False}
        into = ConnectionPatch(
            (width - 1, y * height), (0.36, 1 - y), "data", "data", axesA=left, axesB=middle,
            color=STEP_COLOURS["squeeze"], **style,
        )  # fmt: skip
        figure.add_artist(into)
        for x in (0.06, 0.45, 0.84):
            out = ConnectionPatch(
                (0.64, 0.5), (x * width, y * height), "data", "data", axesA=middle, axesB=right,
                color=STEP_COLOURS["reconstruct"], **{**style, "linewidth": 0.8},
            )  # fmt: skip
            figure.add_artist(out)
    for spine in (*left.spines.values(), *right.spines.values()):
        spine.set_color(QUIET)
    middle.title.set_color(INK)
    return figure, {"channels": len(value)}


def squeeze_explorer(
    networks: Mapping[str, nn.Module], dataset: Sequence, *, index: int = 0
) -> Explorer:
    """Choose a network and an image; see where its slot looks. The twin is :func:`squeeze_figure`.

    Args:
        networks: name to a network that :func:`inside_slot` can look into.
        dataset: of ``(image, labels)``.
        index: image to begin with.
    """

    def draw(network: str, index: int) -> tuple[Figure, str]:
        seen = inside_slot(networks[network], dataset[index][0])
        figure, numbers = squeeze_figure(dataset[index][0], seen)
        words = []
        for name, n in numbers.items():
            if name == "attention":
                share = f"the most attentive of {seen[name].numel()} pixels has {n['high']:.1%}"
                words.append(f"{name}: {share}")
            else:
                words.append(f"{name}: from {n['low']:.2f} to {n['high']:.2f}")
        return figure, f"<b>{network}</b>; {'; '.join(words)}"

    controls = {
        "index": slider("image", len(dataset) - 1, index),
        "network": ipywidgets.ToggleButtons(options=list(networks), description="slot"),
    }
    return Explorer(draw, controls, "A street, and what the slot of a trained network makes of it.")
