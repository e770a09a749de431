"""Whom does a pixel ask, even when it asks through bins, bases, classes or cells?

Most cheap forms never write an affinity down, and yet each has one: some pixels' features end up in
another pixel's result, with weights that can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from contextlab.modules import AsymmetricNonLocal, CrissCross, EMAttention, ObjectContextual
from contextlab.modules.asymmetric_non_local import pyramid_pool
from contextlab.modules.dual_gcn import CoordinateGraph


class Asker:
    """Asks the context module of a network on whom a pixel of one image relies.

    The features are computed once, so that every further question costs little.

    Args:
        network: has ``features(x)`` and a ``slot`` with ``affinity(x, query=(row, column))``.
        image: ``3 h w`` in [0, 1].

    Raises:
        ValueError: the network's slot knows no affinities.

    Example:
        >>> from contextlab.networks.segmentation import network
        >>> model = network(13, context="non_local", width=64, kernel=1)
        >>> ask = Asker(model, torch.rand(3, 64, 128))
        >>> ask.shape, tuple(ask(9, 20).shape)
        ((16, 32), (1, 16, 32))
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        self.slot = getattr(network, "slot", None)
        if not hasattr(self.slot, "affinity") or not hasattr(network, "features"):
            kind = type(self.slot).__name__
            raise ValueError(f"expected a network whose slot has an affinity method, got {kind}")
        modes = [(m, m.training) for m in network.modules()]
        network.eval()
        try:
            with torch.no_grad():
                self._features = network.features(image[None])
        finally:
            for module, training in modes:
                module.training = training
        self.shape: tuple[int, int] = tuple(self._features.shape[2:])

    def __call__(self, row: int, column: int) -> Tensor:
        """The weights ``heads h w`` of the query at a row and column of the map."""
        with torch.no_grad():
            return self.slot.affinity(self._features, query=(row, column))[0]


def asked(weights: Tensor | np.ndarray, cue: np.ndarray | Tensor | None = None) -> dict:
    """What a map of weights says, in numbers.

    Args:
        weights: ``h w``, of any sum above 0.
        cue: bool, ``H W``, a multiple of the map's size: where the answer stands.

    Returns:
        "peak" (row, column), "top" (the largest share of the weight), "pixels" (how many pixels
        are asked in effect: the exponential of the entropy), and with a cue "on_cue" (share of the
        weight on it) and "cue_area" (its share of the image, which chance would give it).

    Example:
        >>> asked(torch.full((4, 5), 0.05))["pixels"]
        20.0
    """
    w = torch.as_tensor(weights).detach().double().cpu().numpy()
    w = w / w.sum()
    peak = np.unravel_index(w.argmax(), w.shape)
    entropy = -(w[w > 0] * np.log(w[w > 0])).sum()
    numbers = {
        "peak": (int(peak[0]), int(peak[1])),
        "top": float(w.max()),
        "pixels": round(float(np.exp(entropy)), 6),
    }
    if cue is not None:
        small = shrink(torch.as_tensor(cue).cpu(), w.shape).numpy()
        numbers |= {"on_cue": float((w * small).sum()), "cue_area": float(small.mean())}
    return numbers


def shrink(mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """Share of every cell of a coarser map that a mask covers.

    Args:
        mask: bool, ``H W``, a multiple of the map's size.
        shape: of the map.

    Returns:
        float64, of that shape.

    Raises:
        ValueError: another size.
    """
    if any(side % cells for side, cells in zip(mask.shape, shape)):
        found = f"got {tuple(mask.shape)}"
        raise ValueError(f"expected a cue whose size is a multiple of {tuple(shape)}, {found}")
    return F.adaptive_avg_pool2d(mask[None, None].double(), shape)[0, 0]


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


Ask = Callable[[int, int], Tensor]


@torch.no_grad()
def cell_askers(
    network: nn.Module, image: Tensor, cells: Sequence[int]
) -> tuple[dict[int, Ask], tuple[int, int]]:
    """For each size of a cell a function that tells the edges of the cell at a place.

    The network's own weights serve every size: averaging needs none.

    Args:
        network: whose slot is a coordinate graph over averaged cells, or holds one.
        image: ``3 h w`` in [0, 1].
        cells: sides of the cells, in positions of the map.

    Returns:
        cell to a function from row and column on the map to that cell's row of A_S, ``h' w'``;
        and the size of the map.

    Raises:
        ValueError: a slot without such a graph.
    """
    slot = getattr(network, "slot", None)
    trained = getattr(slot, "coordinate", slot)
    if not isinstance(trained, CoordinateGraph) or trained.project is not None:
        found = type(slot).__name__
        raise ValueError(f"expected a coordinate graph over averaged cells, got {found}")
    x = network.eval().features(image[None])
    asks = {}
    for d in cells:
        graph = copy(trained)  # shares the weights
        graph.cell = d

        def ask(row: int, column: int, graph: CoordinateGraph = graph) -> Tensor:
            return graph.affinity(x, (row, column))[0, 0]

        asks[d] = ask
    return asks, tuple(x.shape[2:])


def spectrum(matrix: Tensor | np.ndarray) -> Tensor:
    """Share of a matrix's sum of squares that its first r singular values hold, for r from 1.

    Args:
        matrix: ``m n``, an affinity say.

    Returns:
        float64, as many as there are singular values; the last is 1.

    Example:
        >>> spectrum(torch.diag(torch.tensor([3.0, 4.0]))).tolist()
        [0.64, 1.0]
    """
    squares = torch.linalg.svdvals(torch.as_tensor(matrix).double()) ** 2
    return squares.cumsum(0) / squares.sum()
