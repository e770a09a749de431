"""How figures are made and shown: one style, no clipped labels, words beside every picture."""

from __future__ import annotations

import base64
import functools
import html
import io
from collections.abc import Callable

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from .palette import FAINT, INK, QUIET

DPI = 110
WIDTH = 9.0  # inches: the width of a notebook's cell

STYLE = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 10,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "figure.titlesize": 11.5,
    "image.interpolation": "nearest",
    "hatch.linewidth": 0.8,
}


def styled(draw: Callable) -> Callable:
    """Decorates a figure function: the course's style inside, the reader's untouched outside."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """An empty figure, sizes in inches. It belongs to no global state, so nothing leaks."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def picture(axes: Axes, image, title: str = "", **options):
    """An image without ticks, in a thin frame."""
    shown = axes.imshow(image, **options)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    for spine in axes.spines.values():
        spine.set(visible=True, color=QUIET, linewidth=0.6)
    return shown


def log_ticks(*axes_of: Axis) -> None:
    """Ticks at 1, 2 and 5 on logarithmic axes, written as plain numbers."""
    for axis in axes_of:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


def legend_row(axes: Axes, entries: dict[str, object], *, columns: int, title: str = "") -> None:
    """A legend that fills axes of its own; entries map a name to a colour."""
    axes.axis("off")
    handles = [
        Patch(facecolor=colour, edgecolor=QUIET, linewidth=0.5, label=name)
        for name, colour in entries.items()
    ]
    axes.legend(
        handles=handles,
        ncols=columns,
        loc="center left",
        bbox_to_anchor=(0, 0.5),
        borderaxespad=0,
        borderpad=0,
        handlelength=1.3,
        handleheight=1.0,
        columnspacing=1.3,
        title=title or None,
        alignment="left",
    )


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, the same on every call."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # a second layout would move things by a pixel
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def show(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook, with its description for those who do not see it.

    The PNG's metadata carry ``{"image/png": {"alt": alt}}`` and its plain text is the description.
    nbconvert's classic template and other viewers hand that on as the image's alt text. JupyterLab
    (4.6) and nbconvert's default template ignore it, so the same words follow the figure once
    more, folded, as plain HTML: a screen reader meets them right after the image, on a page
    without a kernel as well. The picture itself is stored once.

    Args:
        figure: any matplotlib figure; one made by pyplot is closed afterwards.
        alt: what the figure shows, in a sentence or two: the message, not the colours alone.

    Raises:
        ValueError: an empty description, or one of less than three words.

    Example:
        >>> show(new_figure(1), "An empty figure, one inch high.")
        An empty figure, one inch high.
        Figure in words: An empty figure, one inch high.
    """
    alt = " ".join(str(alt).split())
    if len(alt.split()) < 3:
        raise ValueError(f"expected alt text that says what the figure shows, got {alt!r}")
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = None
    if get_ipython is None or get_ipython() is None:
        print(f"{alt}\nFigure in words: {alt}")
    else:
        image = base64.b64encode(png(figure)).decode("ascii")
        display(
            {"image/png": image, "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True
        )
        folded = f"<summary>Figure in words</summary>{html.escape(alt)}"
        words = {
            "text/html": f"<details>{folded}</details>",
            "text/plain": f"Figure in words: {alt}",
        }
        display(words, raw=True)
    close(figure)


def close(figure: Figure) -> None:
    """Forget a figure if pyplot holds it, so that it is not drawn a second time."""
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)
