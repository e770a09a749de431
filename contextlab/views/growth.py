"""How something grows with depth, on plain axes and on logarithmic ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from contextlab.costs import Fit, fit_exponent

from .figures import log_ticks, new_figure, styled
from .palette import MARKERS, series


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
