"""Widgets: a slider or a click, a picture, a line of words. Each has a static twin in a figure.

Only plain controls and an ``ipywidgets.Image`` are used, whose bytes a callback replaces. Callbacks
are plain functions: what a click does is ``widget.update(...)``, and tests call it so. A page
without a kernel shows no widget, hence the twin: ``affinity_figure``, ``smoothing_figure``,
``cone_figure`` and ``scene``.
"""

from __future__ import annotations

import html
import zlib
from collections.abc import Callable, Sequence

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from contextlab.probes import asked

from .affinity import affinity_figure
from .figures import png
from .palette import pixels


class Described(ipywidgets.VBox):
    """A column of widgets that is one line of words where no kernel runs, as in a stored notebook.

    Attributes:
        alt: that line.
    """

    alt = "A widget."

    def _repr_mimebundle_(self, **options: object) -> object:
        bundle = super()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            data["text/plain"] = f"{self.alt} It works where a kernel runs."
        return bundle


def slider(name: str, last: int, value: int) -> ipywidgets.IntSlider:
    """A slider from 0 to ``last`` that speaks once it is let go."""
    made = ipywidgets.IntSlider(value=value, min=0, max=last, description=name)
    made.continuous_update = False
    return made


class Explorer(Described):
    """Controls above a picture and a line of words.

    Args:
        draw: from the controls' values, by name, to (figure, words in HTML).
        controls: name to the control.
        alt: what the picture is, for those who do not see it.

    Attributes:
        update: draws anew; ``update(name=value)`` sets controls first, as a hand would.
        picture, words: the widgets that change.
    """

    def __init__(
        self,
        draw: Callable[..., tuple[Figure, str]],
        controls: dict[str, ipywidgets.Widget],
        alt: str,
    ) -> None:
        self._draw, self._controls, self.alt = draw, controls, alt
        self.picture = ipywidgets.Image(format="png", layout=_layout(max_width="100%"))
        self.picture.add_class("contextlab-picture")
        self.words = ipywidgets.HTML()
        note = ipywidgets.HTML(f"<small>{html.escape(alt)}</small>")
        bar = ipywidgets.HBox(list(controls.values()), layout=_layout(flex_flow="row wrap"))
        super().__init__([bar, self.words, self.picture, note])
        for control in controls.values():
            control.observe(lambda change: self._redraw(), names="value")
        self._redraw()

    def update(self, **values: object) -> None:
        """Set controls by name; every change draws anew."""
        unknown = sorted(set(values) - set(self._controls))
        if unknown:
            raise ValueError(f"expected controls among {list(self._controls)}, got {unknown}")
        for name, value in values.items():
            self._controls[name].value = value

    def _redraw(self) -> None:
        figure, words = self._draw(**{name: c.value for name, c in self._controls.items()})
        self.picture.value, self.words.value = png(figure), words


class AffinityPicker(Described):
    """A mosaic of buttons coloured as the image; a click shows whom that pixel asks.

    Made by :func:`affinity_picker`. ``update(row, column)`` is what a click does. The mosaic is one
    group of toggle buttons, coloured by a style sheet: 512 widgets of their own make a page heavy.
    """

    alt = "The image as a mosaic of buttons: click a pixel and see whom it asks."

    def __init__(
        self,
        image: Tensor,
        ask: Callable[[int, int], Tensor],
        shape: tuple[int, int],
        names: Sequence[str] | None,
        labels: np.ndarray | None,
        query: tuple[int, int],
    ) -> None:
        self._image, self._ask, self._names, self._labels = image, ask, names, labels
        self.shape = shape
        places = [f"row {r}, column {c}" for r in range(shape[0]) for c in range(shape[1])]
        start = query[0] * shape[1] + query[1]
        self.mosaic = ipywidgets.ToggleButtons(options=places, tooltips=places, index=start)
        style = _mosaic_style(image, shape)
        self.mosaic.add_class(_mosaic_class(style))
        self.mosaic.observe(lambda change: self._redraw(), names="index")
        self.picture = ipywidgets.Image(format="png", layout=_layout(max_width="100%"))
        self.picture.add_class("contextlab-picture")
        self.words = ipywidgets.HTML()
        name = f".{_mosaic_class(style)}"
        text = "Click a square: which pixels does it ask?"
        head = ipywidgets.HTML(f"{text}<style>{style.replace('.mosaic', name)}</style>")
        super().__init__([head, self.mosaic, self.words, self.picture])
        self._redraw()

    @property
    def query(self) -> tuple[int, int]:
        """Row and column of the pixel that asks."""
        return divmod(self.mosaic.index, self.shape[1])

    def update(self, row: int, column: int) -> None:
        """Ask for the pixel at this row and column of the mosaic."""
        if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
            raise ValueError(f"expected a pixel inside {self.shape}, got {(row, column)}")
        self.mosaic.index = row * self.shape[1] + column

    def _redraw(self) -> None:
        weights = self._ask(*self.query)
        figure, _ = affinity_figure(self._image, weights, self.query)
        self.picture.value = png(figure)
        self.words.value = whom(weights, self.query, labels=self._labels, classes=self._names)


def whom(
    weights: Tensor,
    query: tuple[int, int],
    *,
    labels: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
) -> str:
    """In words (HTML): how many pixels are asked, and of which classes.

    Args:
        weights: ``heads h w`` or ``h w``.
        query: row and column of the pixel that asks.
        labels: ``h w`` of the map, whole numbers.
        classes: names.
    """
    mean = weights.float().mean(0) if weights.ndim == 3 else weights.float()
    numbers = asked(mean)
    own = ""
    if labels is not None and classes is not None and labels[query] < len(classes):
        own = f" ({html.escape(classes[labels[query]])})"
    text = (
        f"Row {query[0]}, column {query[1]}{own} asks about "
        f"<b>{numbers['pixels']:.0f} of {mean.numel()}</b> positions"
    )
    if labels is None or classes is None:
        return text + "."
    share = mean.numpy() / float(mean.sum())
    sums = sorted(((float(share[labels == i].sum()), n) for i, n in enumerate(classes)))[::-1]
    parts = [f"{html.escape(name)} {s:.0%}" for s, name in sums[:3] if s >= 0.005]
    return f"{text}, by class: {', '.join(parts)}."


def _mosaic_style(image: Tensor, shape: tuple[int, int]) -> str:
    """The style sheet of a mosaic: a grid of squares, the image's colours, a frame for the chosen.

    The buttons' words are there for screen readers and take no room.
    """
    full = Image.fromarray((255 * pixels(image)).astype(np.uint8))
    cells = np.asarray(full.resize(shape[::-1], Image.Resampling.BOX)).reshape(-1, 3)
    rules = [
        ".mosaic{width:100%;max-width:620px}",
        ".mosaic>div:last-child{display:grid;width:100%;gap:1px;"
        f"grid-template-columns:repeat({shape[1]},1fr)}}",
        ".mosaic button.widget-toggle-button{width:auto;min-width:0;height:auto;aspect-ratio:1;"
        "margin:0;padding:0;border:0;font-size:0;box-shadow:none}",
        ".mosaic button.mod-active{outline:2px solid white!important;"
        "box-shadow:0 0 0 4px black!important;"
        "position:relative;z-index:1}",
    ]
    for i, (red, green, blue) in enumerate(cells, 1):
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        rules.append(f".mosaic button:nth-child({i}){{background:{colour}!important}}")
    return "".join(rules)


def _mosaic_class(style: str) -> str:
    """A class name for a style sheet, so that pickers of two images do not share one."""
    return f"mosaic-{zlib.crc32(style.encode()):08x}"


def _majority(labels: Tensor, shape: tuple[int, int]) -> np.ndarray:
    """The most frequent label in every cell of a coarser map."""
    array = np.asarray(labels)
    rows, columns = (np.arange(n) * s // n for n, s in zip(array.shape, shape))
    cell = rows[:, None] * shape[1] + columns[None]
    votes = np.zeros((shape[0] * shape[1], int(array.max()) + 1), int)
    np.add.at(votes, (cell.ravel(), array.ravel()), 1)
    return votes.argmax(1).reshape(shape)


def _layout(**options: str) -> ipywidgets.Layout:
    return ipywidgets.Layout(**options)
