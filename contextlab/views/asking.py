"""Whom does a pixel ask when it asks through bins, bases or classes? The affinity that it implies.

Most cheap forms never write an affinity down, and yet each has one: some pixels' features end up in
another pixel's result, with weights that can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ipywidgets
import numpy as np
import torch
from einops import einsum, rearrange
from matplotlib.figure import Figure
from torch import Tensor, nn

from contextlab.modules import AsymmetricNonLocal, CrissCross, EMAttention, ObjectContextual
from contextlab.modules.asymmetric_non_local import pyramid_pool

from .affinity import _mark, _outline, asked, glow
from .figures import new_figure, picture, png, styled
from .palette import grey, pixels
from .widgets import AffinityPicker, _layout, _majority, whom


@torch.no_grad()
def implied_affinity(
    module: nn.Module, x: Tensor, query: tuple[int, int], *, hops: int = 1
) -> Tensor:
    """The weights with which all pixels of a map enter one pixel's answer.

    ======================  =======================================================
    module                  weight of pixel j for pixel i
    ======================  =======================================================
    has ``affinity``        what that says
    criss-cross, two hops   sum over u of A2_iu A1_uj
    asymmetric non-local    sum over bins s of a_is P_sj, P the averages of the bins
    EM attention            sum over bases k of z_ik z_jk / sum of z_k
    OCR                     sum over classes k of w_ik m_kj
    ======================  =======================================================

    Args:
        module: in eval mode.
        x: ``1 c h w``, the map that enters it.
        query: row and column of the pixel that asks.
        hops: of criss-cross, 1 or 2.

    Returns:
        ``h w``, which sums to 1.

    Raises:
        ValueError: a module that implies no affinity, or a query outside the map.

    Example:
        >>> from contextlab import context
        >>> x = torch.randn(1, 64, 9, 7)
        >>> implied_affinity(context("em_attention", 64).eval(), x, (4, 0)).shape
        torch.Size([9, 7])
    """
    h, w = x.shape[2:]
    row, column = query
    if not (0 <= row < h and 0 <= column < w):
        raise ValueError(f"expected a query inside {h} x {w}, got {tuple(query)}")
    i = row * w + column
    if isinstance(module, CrissCross) and hops == 2:
        weights = _two_hops(module, x, query)
    elif hasattr(module, "affinity"):
        weights = module.affinity(x, query)[0].mean(0)
    elif isinstance(module, EMAttention):
        z = module.iterate(module.embed(x))[0][0]
        weights = (z / z.sum(0)) @ z[i]
    elif isinstance(module, AsymmetricNonLocal):
        phi = module.phi(x)
        scores = einsum(phi[0, :, row, column], pyramid_pool(phi, module.bins)[0], "d, d s -> s")
        every = rearrange(torch.eye(h * w).to(x), "j (y x) -> 1 j y x", y=h)
        bins = pyramid_pool(every, module.bins)[0]
        weights = bins @ torch.softmax(module.scale * scores, 0)
    elif isinstance(module, ObjectContextual):
        logits = module.region_logits(x, None)
        key = module.psi(module.gather(x, logits))[0, :, :, 0]
        scores = einsum(module.phi(x)[0, :, row, column], key, "d, d k -> k")
        share = torch.softmax(scores / key.shape[0] ** 0.5, 0)
        weights = share @ rearrange(logits[0], "k h w -> k (h w)").softmax(-1)
    else:
        raise ValueError(f"expected a module that implies an affinity, got {type(module).__name__}")
    return weights.reshape(h, w)


def _two_hops(module: CrissCross, x: Tensor, query: tuple[int, int]) -> Tensor:
    """Σ_u A2_iu A1_uj: the second hop's cross, and from each of its pixels the first hop's."""
    second = module.affinity(module.gamma * module.hop(x) + x, query)[0, 0]
    corners = [(r, c) for r, c in np.ndindex(*second.shape) if second[r, c] > 0]
    return sum(second[u] * module.affinity(x, u)[0, 0] for u in corners)


def askers(
    networks: Mapping[str, nn.Module], image: Tensor
) -> tuple[dict[str, Callable[[int, int], Tensor]], tuple[int, int]]:
    """For each network a function from row and column to the weights ``1 h w``, and the map's size.

    Args:
        networks: name to a network with ``features`` and a ``slot``. Criss-cross is asked twice,
            after one hop and after two.
        image: ``3 h w`` in [0, 1].
    """
    found, shape = {}, (0, 0)
    for name, network in networks.items():
        with torch.no_grad():
            x = network.eval().features(image[None])
        shape = tuple(x.shape[2:])
        cross = isinstance(network.slot, CrissCross)
        for hops in (1, 2) if cross else (1,):
            title = f"{name}, {('one hop', 'two hops')[hops - 1]}" if cross else name

            def ask(row: int, column: int, slot=network.slot, x=x, hops=hops) -> Tensor:
                return implied_affinity(slot, x, (row, column), hops=hops)[None]

            found[title] = ask
    return found, shape


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
