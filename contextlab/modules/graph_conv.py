"""Graph convolution: nodes talk along given edges, along the pixel grid, or along learned ones.

Kipf, Welling: Semi-Supervised Classification with Graph Convolutional Networks, ICLR 2017,
https://arxiv.org/abs/1609.02907
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive


def normalised_adjacency(adjacency: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """The edges of a graph with self loops, ``Â = D^(-1/2) (A + I) D^(-1/2)``, D its degrees.

    Symmetric where A is, with top eigenvalue 1, so that repeated steps neither grow nor vanish.

    Args:
        adjacency: A, ``n n``, weights of at least 0, without self loops.

    Example:
        >>> normalised_adjacency(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    _check_square(adjacency)
    looped = adjacency + torch.eye(adjacency.shape[0]).to(adjacency)
    root = _degree(looped).rsqrt()
    return einsum(root, looped, root, "m, m n, n -> m n")


def laplacian_smoothing(
    x: Float[Tensor, "*b n d"], adjacency: Float[Tensor, "n n"], steps: int = 1, rate: float = 1.0
) -> Float[Tensor, "*b n d"]:
    """Moves every node towards the mean of its neighbourhood, ``X <- (I - rate L) X``, steps times.

    ``L = I - D^(-1) (A + I)`` is the random-walk Laplacian of the graph with self loops. In the
    limit all nodes of a connected graph hold the same mean, weighted by degree: over-smoothing.

    Args:
        x: node features, ``... n d``.
        adjacency: A, ``n n``, weights of at least 0, without self loops.
        steps: how often to smooth.
        rate: from 0 (stay) to 1 (become the mean).

    Example:
        >>> path = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
        >>> laplacian_smoothing(torch.tensor([[6.0], [0.0], [0.0]]), path, steps=1)
        tensor([[3.],
                [2.],
                [0.]])
    """
    _check_square(adjacency, nodes=x.shape[-2])
    if not isinstance(steps, int) or steps < 0:
        raise ValueError(f"expected steps to be a whole number of at least 0, got {steps!r}")
    if not 0 <= rate <= 1:
        raise ValueError(f"expected rate between 0 and 1, got {rate!r}")
    looped = adjacency + torch.eye(adjacency.shape[0]).to(adjacency)
    mean = looped / _degree(looped)[:, None]
    for _ in range(steps):
        x = torch.lerp(x, einsum(mean, x, "m n, ... n d -> ... m d"), rate)
    return x


def grid_adjacency(h: int, w: int, *, neighbours: int = 4) -> Float[Tensor, "n n"]:
    """The pixel grid as a graph: 1 between pixels that touch, row by row, ``(h w) (h w)``.

    Args:
        h, w: the sides of the grid.
        neighbours: 4 (left, right, above, below) or 8 (corners too).

    Example:
        >>> grid_adjacency(3, 4).sum(1).reshape(3, 4).int()
        tensor([[2, 3, 3, 2],
                [3, 4, 4, 3],
                [2, 3, 3, 2]], dtype=torch.int32)
    """
    check_positive(h=h, w=w)
    check_choice("neighbours", neighbours, (4, 8))
    row, column = torch.arange(h * w) // w, torch.arange(h * w) % w
    down, across = (row - row[:, None]).abs(), (column - column[:, None]).abs()
    distance = down + across if neighbours == 4 else torch.maximum(down, across)
    return (distance == 1).float()


class GraphConv(nn.Module):
    """One graph convolution (Kipf layer): nodes average over given edges, then pass one layer.

        X̃ = σ(Â X W),    Â = D^(-1/2) (A + I) D^(-1/2)

    Squeeze: none, the nodes are given.
    Reason: a node talks to its neighbours in the given graph A.
    Reconstruct: none, the nodes are the answer.

    Args:
        in_features: d, numbers a node holds.
        out_features: e, numbers a node holds afterwards.
        bias: add a bias after W.
        activation: σ, any function of a tensor; None for none.
        normalise: turn A into Â; False takes the adjacency as it comes.

    Shape:
        ``b n d`` and the adjacency ``n n`` to ``b n e``.

    Cost:
        b n² d + b n d e MACs, d e parameters, bias e more.

    Example:
        >>> GraphConv(8, 16)(torch.randn(2, 12, 8), grid_adjacency(3, 4)).shape
        torch.Size([2, 12, 16])

    Source:
        Kipf and Welling, ICLR 2017, equation 2 and section 2.2 (renormalisation).

    Differs from the official code:
        Its adjacency is sparse; ours is dense, and :class:`GridGraphConv` needs none at all.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = False,
        activation: Callable[[Tensor], Tensor] | None = torch.relu,
        normalise: bool = True,
    ):
        super().__init__()
        check_positive(in_features=in_features, out_features=out_features)
        if activation is not None and not callable(activation):
            raise ValueError(f"expected activation to be a function or None, got {activation!r}")
        self.in_features, self.normalise = in_features, normalise
        self.weight = nn.Linear(in_features, out_features, bias=bias)
        self.activation = activation or nn.Identity()

    def forward(
        self, x: Float[Tensor, "b n d"], adjacency: Float[Tensor, "n n"]
    ) -> Float[Tensor, "b n e"]:
        _check_nodes(self, x, "n", self.in_features)
        _check_square(adjacency, nodes=x.shape[1])
        a = normalised_adjacency(adjacency) if self.normalise else adjacency
        return self.activation(self.weight(einsum(a, x, "m n, b n d -> b m d")))


EQUATIONS = ("paper", "plus", "edges")
VARIANTS = (*EQUATIONS, "glore", "dgcnet", "dgcnet_reproduction", "srnet")
EDGES = ("learned", "random", "none")


class LearnedGraphConv(nn.Module):
    """Graph convolution along learned edges: each node loses what its neighbours say of it.

        X̃ = σ((I - A) X W)                                      paper
        X̃ = σ((I + A) X W),    X̃ = σ(A X W)                     plus, edges
        X̃ = ReLU(X + A X + a) W                                 glore
        X̃ = BN((X + BN(A X)) W)                                 dgcnet
        X̃ = ReLU(BN((X - ReLU(BN(A X + a))) W + w))             dgcnet_reproduction
        X̃ = ReLU(BN((X + ReLU(BN(A X))) W))                     srnet

    Squeeze: none, the nodes are given.
    Reason: every node with every other, along edges A that are learned and free in sign.
    Reconstruct: none, the nodes are the answer.

    Args:
        states: d, numbers a node holds.
        nodes: n, fixed, since A belongs to this number and order of nodes.
        variant: one of the forms above.
        activation: σ of the first three forms (none in GloRe and DGCNet, ReLU in SRNet); the
            codes' forms have their own.
        edges: "learned"; "random": A stays as it was drawn; "none": A X is left out, and the nodes
            do not talk at all. The other weights start alike in all three.

    Shape:
        ``b n d`` to ``b n d``.

    Cost:
        b n² d + b n d² MACs, n² + d² parameters (the code forms: biases and norms besides).

    Example:
        >>> LearnedGraphConv(32, 16, variant="srnet")(torch.randn(2, 16, 32)).shape
        torch.Size([2, 16, 32])

    Source:
        GloRe (CVPR 2019) equation 3, DGCNet (BMVC 2019) M = (I - A) V W, SRNet equation 5.

    Differs from the official code:
        "paper" has the true minus. Three of the four codes add A X instead: the same functions as
        long as nothing stands between A X and the sum, since A is free in sign, but not where a
        ReLU does. The other names follow the codes to the letter.
    """

    def __init__(
        self,
        states: int,
        nodes: int,
        *,
        variant: str = "paper",
        activation: Callable[[Tensor], Tensor] | None = None,
        edges: str = "learned",
    ):
        super().__init__()
        check_positive(states=states, nodes=nodes)
        check_choice("variant", variant, VARIANTS)
        check_choice("edges", edges, EDGES)
        if activation is not None and (variant not in EQUATIONS or not callable(activation)):
            expected = "a function" if variant in EQUATIONS else f"None with variant={variant!r}"
            raise ValueError(f"expected activation to be {expected}, got {activation!r}")
        if edges == "none" and variant == "edges":
            raise ValueError("expected edges with variant='edges', which is nothing else, got none")
        self.states, self.nodes, self.variant = states, nodes, variant
        self.activation = activation or nn.Identity()
        norm = variant not in (*EQUATIONS, "glore")
        a = nn.Conv1d(nodes, nodes, 1, bias=variant in ("glore", "dgcnet_reproduction"))
        w = nn.Conv1d(states, states, 1, bias=variant == "dgcnet_reproduction")
        if edges == "random":
            drawn = a.weight.detach()
            del a.weight
            a.register_buffer("weight", drawn)
        talk = nn.Sequential(a, nn.BatchNorm1d(nodes) if norm else nn.Identity())
        self.adjacency = None if edges == "none" else talk
        self.weight = nn.Sequential(w, nn.BatchNorm1d(states) if norm else nn.Identity())

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        _check_nodes(self, x, self.nodes, self.states)
        relu = torch.relu

        def talk(x: Tensor) -> Tensor:  # A x, mixes along the nodes
            return torch.zeros_like(x) if self.adjacency is None else self.adjacency(x)

        def layer(x: Tensor) -> Tensor:  # x W, mixes along the states
            return rearrange(self.weight(rearrange(x, "b n d -> b d n")), "b d n -> b n d")

        if self.variant == "paper":
            return self.activation(layer(x - talk(x)))
        if self.variant == "plus":
            return self.activation(layer(x + talk(x)))
        if self.variant == "edges":
            return self.activation(layer(talk(x)))
        if self.variant == "glore":
            return layer(relu(x + talk(x)))
        if self.variant == "dgcnet":
            return layer(x + talk(x))
        if self.variant == "dgcnet_reproduction":
            return relu(layer(x - relu(talk(x))))
        return relu(layer(x + relu(talk(x))))


@register(
    "graph_conv",
    title="Graph convolution on the pixel grid",
    node="a pixel",
    squeeze="none",
    reason="a given A: s(A X W), here the pixels that touch",
    reconstruct="none",
    source="Kipf and Welling, ICLR 2017",
    lesson="02",
)
class GridGraphConv(nn.Module):
    """Graph convolution with the pixel grid as the graph, and no n x n matrix anywhere.

        X̃ = ReLU(Âᵏ X W),    Â = D^(-1/2) (A + I) D^(-1/2)

    Squeeze: none, every pixel is a node.
    Reason: a pixel talks to the pixels that touch it, k steps in a row.
    Reconstruct: none, the nodes are the pixels.

    Args:
        channels: channels c of the map.
        steps: k, how far a pixel hears.
        neighbours: 4 (left, right, above, below) or 8 (corners too).

    Shape:
        ``b c h w`` to ``b c h w``, any h and w.

    Cost:
        b h w (9 k c + c²) MACs for k depth-wise 3 x 3 steps (of which neighbours + 1 taps are not
        zero) and W, and 9 h w for the degrees. c² parameters. Memory is linear in h w.

    Example:
        >>> GridGraphConv(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Kipf and Welling, ICLR 2017, equation 2; several steps before one W: Wu et al., ICML 2019.

    Differs from the official code:
        It has no grid; :class:`GraphConv` with :func:`grid_adjacency` gives the same numbers.
    """

    def __init__(self, channels: int, *, steps: int = 1, neighbours: int = 4):
        super().__init__()
        check_positive(channels=channels, steps=steps)
        check_choice("neighbours", neighbours, (4, 8))
        self.channels, self.steps = channels, steps
        corner = float(neighbours == 8)
        stencil = torch.tensor([[corner, 1.0, corner], [1.0, 1.0, 1.0], [corner, 1.0, corner]])
        self.register_buffer("stencil", stencil, persistent=False)
        self.weight = nn.Conv2d(channels, channels, 1, bias=False)

    def gather(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """(A + I) X: the sum over each pixel and its neighbours."""
        taps = self.stencil.to(x.dtype).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, taps, padding=1, groups=x.shape[1])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        root = self.gather(x.new_ones(1, 1, *x.shape[2:])).rsqrt()  # D^(-1/2)
        for _ in range(self.steps):
            x = root * self.gather(root * x)
        return torch.relu(self.weight(x))


def _check_square(adjacency: Tensor, nodes: int | None = None) -> None:
    n = adjacency.shape[0] if nodes is None else nodes
    if adjacency.shape != (n, n):
        raise ValueError(f"expected an adjacency ({n}, {n}), got {tuple(adjacency.shape)}")


def _degree(looped: Tensor) -> Tensor:
    """The degrees of a graph with self loops, all above 0."""
    degree = looped.sum(1)
    if not torch.compiler.is_compiling() and not degree.is_meta and (degree <= 0).any():
        found = degree.min().item()
        raise ValueError(f"expected degrees above 0, self loop included, got {found:g}")
    return degree


def _check_nodes(module: nn.Module, x: Tensor, nodes: int | str, features: int) -> None:
    if x.ndim != 3 or x.shape[2] != features or nodes not in ("n", x.shape[1]):
        name, found = type(module).__name__, tuple(x.shape)
        raise ValueError(f"{name} expected nodes (b, {nodes}, {features}), got {found}")
