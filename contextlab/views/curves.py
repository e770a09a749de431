"""Curves: losses of training runs, and how a cost grows with the size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from contextlab.costs import Fit, fit_exponent

from .figures import log_ticks, new_figure, styled
from .palette import MARKERS, series


@styled
def training_curves(
    runs: Mapping[str, object], *, smooth: int = 25, ylabel: str = "training loss"
) -> tuple[Figure, dict]:
    """The loss of every step, faint, and its running mean.

    Args:
        runs: name to a :class:`~contextlab.training.History` or to a sequence of losses.
        smooth: steps in the running mean.
        ylabel: what is on the vertical axis.

    Returns:
        the figure, and name to "first" and "last": means over the first and last ``smooth`` steps.

    Raises:
        ValueError: a run without a single step.
    """
    figure = new_figure(3.3)
    axes = figure.subplots()
    numbers = {}
    for i, (name, run) in enumerate(runs.items()):
        losses = np.asarray(getattr(run, "loss", run), float)
        if losses.ndim != 1 or not len(losses):
            raise ValueError(f"expected a sequence of losses for {name!r}, got {losses.shape}")
        window = max(1, min(smooth, len(losses)))
        steps = np.arange(1, len(losses) + 1)
        axes.plot(steps, losses, color=series(i), alpha=0.22, linewidth=0.8)
        mean = np.convolve(losses, np.full(window, 1 / window), "valid")
        axes.plot(steps[window - 1 :], mean, color=series(i), linewidth=2, label=name)
        numbers[name] = {"first": float(mean[0]), "last": float(mean[-1])}
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    axes.set_yscale("log")
    log_ticks(axes.yaxis)
    axes.margins(x=0.01)
    axes.grid(True)
    axes.legend(title=f"mean of {smooth} steps", alignment="left")
    return figure, numbers


@styled
def cost_curves(
    sizes: Sequence[float],
    costs: Mapping[str, Sequence[float]],
    *,
    xlabel: str = "pixels of the map, N",
    ylabel: str = "peak memory (MiB)",
    limit: tuple[str, float] | None = None,
    title: str = "",
) -> tuple[Figure, dict[str, Fit]]:
    """Costs over sizes on logarithmic axes, each with its fitted exponent.

    Args:
        sizes: of the inputs.
        costs: name to the cost at each size.
        xlabel: what is on the horizontal axis.
        ylabel: what is on the vertical one.
        limit: name and height of a line that must not be crossed: a machine's memory, say.
        title: a line above.

    Returns:
        the figure, and the fitted power law of each curve (:func:`~contextlab.costs.fit_exponent`).
    """
    figure = new_figure(3.9, width=7.5)
    axes = figure.subplots()
    fits = {}
    for i, (name, values) in enumerate(costs.items()):
        fit = fits[name] = fit_exponent(sizes, values)
        label = f"{name}: exponent {fit.exponent:.2f}"
        style = {"color": series(i), "marker": MARKERS[i % len(MARKERS)], "markersize": 6.5}
        axes.plot(sizes, values, linestyle="none", label=label, **style)
        ends = np.array([min(sizes), max(sizes)], float)
        axes.plot(ends, fit(ends), color=series(i), linewidth=1.5)
    if limit is not None:
        name, height = limit
        axes.axhline(height, color=series(6), linewidth=1.4, linestyle=(0, (4, 2)))
        axes.annotate(
            name, (min(sizes), height), xytext=(0, 4), textcoords="offset points", va="bottom"
        )
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(list(sizes), [f"{s:,.0f}" for s in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    log_ticks(axes.yaxis)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(True)
    axes.legend()
    if title:
        axes.set_title(title)
    return figure, fits
