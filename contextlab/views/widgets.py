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
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from .affinity import Asker, affinity_figure, asked
from .fields import cone_figure
from .figures import new_figure, png, styled
from .lesson_02 import draw_signal, propagate
from .overlay import scene
from .palette import grey, pixels


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


def affinity_picker(
    network: nn.Module,
    image: Tensor,
    *,
    labels: Tensor | None = None,
    classes: Sequence[str] | None = None,
    query: tuple[int, int] | None = None,
) -> AffinityPicker:
    """Click a pixel and see whom it asks. The static twin is :func:`affinity_figure`.

    Args:
        network: a network whose slot has an ``affinity`` method.
        image: ``3 h w`` in [0, 1]; the map of its features has at most 1024 positions.
        labels: ``h w``, to say in words which classes are asked.
        classes: names of the classes.
        query: row and column of the map to begin with; its middle by default.

    Returns:
        the widget.

    Raises:
        ValueError: the slot knows no affinities, or the map is too large for a mosaic of buttons.
    """
    ask = Asker(network, image)
    if ask.shape[0] * ask.shape[1] > 1024:
        raise ValueError(f"expected a map of at most 1024 positions, got {ask.shape}")
    start = query or (ask.shape[0] // 2, ask.shape[1] // 2)
    small = None if labels is None else _majority(labels, ask.shape)
    return AffinityPicker(image, ask, ask.shape, classes, small, start)


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


def receptive_field_explorer(
    *, kernel: int = 3, depth: int = 3, dilation: int = 1, grow: bool = False
) -> Explorer:
    """Kernel, depth and dilation of a chain of layers. The static twin is :func:`cone_figure`.

    Args:
        kernel, depth, dilation: where the sliders begin.
        grow: begin with the dilation doubling from layer to layer.
    """

    def draw(kernel: int, depth: int, dilation: int, grow: bool) -> tuple[Figure, str]:
        layers = [(kernel, 1, dilation * 2**i if grow else dilation) for i in range(depth)]
        figure, numbers = cone_figure(layers)
        size, read = numbers["size"], numbers["read"]
        words = f"receptive field <b>{size} pixels</b>, {read} of them read"
        return figure, words

    slider = ipywidgets.IntSlider
    controls = {
        "kernel": slider(value=kernel, min=1, max=7, step=2, description="kernel"),
        "depth": slider(value=depth, min=1, max=5, description="depth"),
        "dilation": slider(value=dilation, min=1, max=4, description="dilation"),
        "grow": ipywidgets.Checkbox(value=grow, description="double it at each layer"),
    }
    return Explorer(draw, controls, "Which inputs one output reads, in one dimension.")


def street_explorer(*, split: str = "val", index: int = 0, size: int = 500) -> Explorer:
    """The knobs of the streets: 0 shows a class's own texture, 1 hides it. Twin: :func:`scene`.

    Args:
        split: of the streets.
        index: image to begin with.
        size: number of images to choose from.
    """
    from contextlab.data.streets import CLASSES, DEMAND_WORDS, PALETTE, Streets

    def draw(index: int, **knobs: float) -> tuple[Figure, str]:
        drawn = Streets(split, size=size, **knobs).batch([index])
        demand = drawn["demand"][0].astype(int)
        figure, numbers = scene(
            drawn["image"][0], drawn["label"][0], classes=CLASSES, palette=PALETTE, demand=demand
        )
        local = numbers["demands"]["local"]
        return figure, f"<b>{local:.0%}</b> of the pixels can be read from their own texture"

    controls = {"index": slider("image", size - 1, index)}
    for words in DEMAND_WORDS.values():
        controls[words.knob] = ipywidgets.FloatSlider(
            value=1.0, min=0, max=1, step=0.25, description=f"{words.letter} {words.title}"
        )
    for control in controls.values():
        control.continuous_update = False
        control.style.description_width = "110px"
    return Explorer(draw, controls, "A street, its labels and what each pixel demands.")


@styled
def _one_signal(state: np.ndarray, title: str) -> Figure:
    figure = new_figure(6 * state.shape[0] / state.shape[1] + 0.3, width=6)
    draw_signal(figure.subplots(), state, title)
    return figure


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
