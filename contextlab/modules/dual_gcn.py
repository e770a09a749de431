"""DGCNet: one graph over the cells of a grid, another over learned concepts, and their sum.

Zhang, Li, Arnab, Yang, Tong, Torr: Dual Graph Convolutional Network for Semantic Segmentation,
BMVC 2019, https://arxiv.org/abs/1909.06121
"""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from ._layers import conv_norm_relu
from ._precision import staying_wide, wide, widely
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_query, check_splits
from .graph_conv import LearnedGraphConv

FORMS = ("paper", "dgcnet", "dgcnet_reproduction")
#: options of :class:`DualGraph` that make the official block, and that of a reproduction
OFFICIAL = {"variant": "dgcnet", "fusion": "gated", "project": "strided", "affinity": "softmax"}
OFFICIAL |= {"pool": "sum", "zero_init": False}
REPRODUCTION = {"variant": "dgcnet_reproduction", "fusion": "sequential", "pool": "sum"}
REPRODUCTION |= {"zero_init": False}


def flat(y: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d n"]:
    """``b d (h w)``, by way of a single axis, so that the gradient comes back row by row.

    A product hands a transposed one back, and from that batch norm on a CPU makes wrong gradients
    if it is of one image (torch 2.15).
    """
    b, d, h, w = y.shape
    return y.flatten().unflatten(0, (b, d, h * w))  # not -1, which an empty batch leaves open


def strided_projection(channels: int, cell: int) -> nn.Sequential:
    """``log2(cell)`` depth-wise 3 x 3 convolutions of stride 2, each with its norm, no ReLU."""
    if cell & (cell - 1):
        raise ValueError(f"expected cell to be a power of 2 with project='strided', got {cell}")
    steps = nn.Sequential()
    for _ in range(cell.bit_length() - 1):
        conv = nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False)
        steps.extend([conv, nn.BatchNorm2d(channels)])
    return steps


@register(
    "coordinate_graph",
    title="DGCNet coordinate graph",
    node="a d × d cell",
    squeeze="average pooling or strided convolution",
    reason="cells with cells, by affinity",
    reconstruct="1x1, upsample, add",
    source="Zhang et al., BMVC 2019",
    lesson="07",
)
class CoordinateGraph(nn.Module):
    """Pools the map to cells, lets every cell ask every cell, and hands the answers back.

        V_S = H_S X,    A_S = 1/n δ(V_S) ψ(V_S)ᵀ
        M_S = A_S ν(V_S) W_S = 1/n δ(V_S) (ψ(V_S)ᵀ ν(V_S)) W_S
        X̃ = X + X̃_S,    X̃_S = up(ξ(M_S))

    The second order of M_S needs no matrix of cells x cells: without a soft-max both are the same.

    Squeeze: each of the n = ⌈h/d⌉ ⌈w/d⌉ cells of d x d pixels becomes one node.
    Reason: every cell talks to every cell, along a graph whose edges are the affinities.
    Reconstruct: ξ makes channels again; upsample to the pixels; add.

    Args:
        channels: channels c of the map.
        cell: side d of a cell; 1 leaves the pixels as they are.
        project: H_S, "average" over each cell, or "strided": log2(d) depth-wise convolutions.
        reduction: δ, ψ and ν are e = c / reduction wide; must divide c.
        affinity: "product" as above, or "softmax" over the columns of the e x e matrix ψᵀν: these
            are weights of channels, and no A_S stands behind them any more.
        pool: "mean" is the 1/n of A_S, "sum" leaves it away.
        norm: batch norm and ReLU after δ, ψ, ν and W_S, and a norm after ξ.
        variant: "paper"; "dgcnet" of the official code: norms after W_S and ξ, and the answer is a
            gate, X̃ = X ∘ up(ReLU(ξ(M_S) + V_S)) + X; or "dgcnet_reproduction": nearest
            upsampling and a bias in W_S.
        zero_init: start with X̃_S = 0: ξ, or the norm after it, is zero.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w, a multiple of d or not (in training, norms need
        more than one cell in the batch).

    Cost:
        b n (4 c e + 3 e²) MACs, strided Σ_k 9 b c ⌈h/2ᵏ⌉ ⌈w/2ᵏ⌉ more over k = 1 … log2(d).
        4 c e + e² + 3 e + c parameters, strided 11 c log2(d), norm 5 e + c,
        "dgcnet" 2 e + 2 c and "dgcnet_reproduction" e more.

    Example:
        >>> CoordinateGraph(64)(torch.randn(2, 64, 19, 7)).shape
        torch.Size([2, 64, 19, 7])

    Source:
        Zhang et al., BMVC 2019, section 3.1: coordinate space.

    Differs from the official code:
        It has variant="dgcnet", project="strided", affinity="softmax" and pool="sum"; the paper
        and we have neither norm nor soft-max. The sum grows with the map, so that a model is bound
        to one size; hence our mean. The paper upsamples M_S before ξ; the code and we after it,
        the same function at 1/d² of the cost. The paper names no start; ours is the identity, since
        δψᵀν is of third order in X and nothing bounds it. Cells of a mean lie where they were
        pooled (the last are cut), strided ones are stretched corner to corner, as in the code.
    """

    def __init__(
        self,
        channels: int,
        *,
        cell: int = 8,
        project: str = "average",
        reduction: int = 2,
        affinity: str = "product",
        pool: str = "mean",
        norm: bool = False,
        variant: str = "paper",
        zero_init: bool = True,
    ):
        super().__init__()
        check_positive(channels=channels, cell=cell, reduction=reduction)
        check_choice("project", project, ("average", "strided"))
        check_splits(channels=channels, reduction=reduction)
        check_choice("affinity", affinity, ("product", "softmax"))
        check_choice("pool", pool, ("mean", "sum"))
        check_choice("variant", variant, FORMS)
        if norm and variant != "paper":
            raise ValueError(f"expected norm=False with variant={variant!r}, got {norm!r}")
        self.channels, self.cell, self.affine, self.pool = channels, cell, affinity, pool
        self.gated, self.nearest = variant == "dgcnet", variant == "dgcnet_reproduction"
        e, last = channels // reduction, norm or self.gated

        def layer(relu: bool = norm, **options) -> nn.Sequential:
            return conv_norm_relu(channels, e, bias=not norm, norm=norm, relu=relu, **options)

        self.project = strided_projection(channels, cell) if project == "strided" else None
        self.delta, self.psi, self.nu = layer(), layer(), layer()
        self.weight = conv_norm_relu(e, e, bias=self.nearest, norm=last, relu=norm)
        self.xi = conv_norm_relu(e, channels, bias=not norm, norm=last, relu=False)
        if zero_init:
            for parameter in self.xi[-1].parameters():
                nn.init.zeros_(parameter)

    def cells(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c y x"]:
        """The nodes V_S as a small map."""
        check_map(self, x, self.channels)
        if self.project is not None:
            return self.project(x)
        return F.avg_pool2d(x, self.cell, ceil_mode=True, count_include_pad=False)

    def answer(self, v: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """ξ(M_S), for every cell."""
        delta, psi, nu = (flat(f(v)) for f in (self.delta, self.psi, self.nu))
        root = psi.shape[2] ** 0.5 if self.pool == "mean" else 1.0  # n, half from each side
        with staying_wide(delta):
            delta, psi, nu = wide(delta), wide(psi), wide(nu)
            t = einsum(psi / root, nu / root, "b k j, b e j -> b k e")
            if self.affine == "softmax":
                t = torch.softmax(t, -1)
            m = einsum(delta, t, "b k i, b k e -> b e i")
            m = widely(self.weight, rearrange(m, "b e (y x) -> b e y x", y=v.shape[2]))
            return widely(self.xi, m).to(v.dtype)

    def upsample(self, cells: Float[Tensor, "b c y x"], h: int, w: int) -> Tensor:
        """Cells to the pixels of a map ``h w``."""
        scale = 2 * (float(self.cell),)  # with it, the last cells may reach beyond the map
        if self.nearest:
            return torch.ops.aten.upsample_nearest2d(cells, (h, w), *scale)
        if self.project is None:
            return torch.ops.aten.upsample_bilinear2d(cells, (h, w), False, *scale)
        return F.interpolate(cells, (h, w), mode="bilinear", align_corners=True)

    def branch(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """X̃_S, what the paper adds to the map."""
        return self.upsample(self.answer(self.cells(x)), *x.shape[2:])

    def gate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """up(ReLU(ξ(M_S) + V_S)), with which the official code multiplies the map."""
        v = self.cells(x)
        return self.upsample(torch.relu(self.answer(v) + v), *x.shape[2:])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.gate(x) + x if self.gated else x + self.branch(x)

    @torch.no_grad()
    def affinity(
        self, x: Float[Tensor, "b c h w"], query: tuple[int, int]
    ) -> Float[Tensor, "b k y x"]:
        """One row of A_S: the weights, free in sign, with which the cell of a pixel asks all cells.

        Args:
            x: the map that enters the block.
            query: row and column of a pixel of that map.

        Returns:
            ``b 1 ⌈h/d⌉ ⌈w/d⌉``.

        Raises:
            ValueError: the pixel lies outside, or affinity="softmax", where there is no A_S.

        Example:
            >>> CoordinateGraph(64, cell=2).affinity(torch.randn(2, 64, 9, 7), query=(4, 0)).shape
            torch.Size([2, 1, 5, 4])
        """
        if self.affine == "softmax":
            raise ValueError("expected affinity='product', got 'softmax', which leaves no A_S")
        v = self.cells(x)
        row, column = (place // self.cell for place in check_query(query, *x.shape[2:]))
        asks = self.delta(v)[:, :, row, column]
        weights = einsum(asks, self.psi(v), "b e, b e y x -> b y x")
        n = v.shape[2] * v.shape[3] if self.pool == "mean" else 1
        return rearrange(weights / n, "b y x -> b 1 y x")


@register(
    "feature_graph",
    title="DGCNet feature graph",
    node="a latent concept",
    squeeze="learned projection",
    reason="learned A, I - A",
    reconstruct="the projection, transposed",
    source="Zhang et al., BMVC 2019",
    lesson="07",
)
class FeatureGraph(nn.Module):
    """Gathers the pixels into concepts, lets these reason along learned edges, and goes back.

        H_F = φ(X)ᵀ,    V_F = 1/N φ(X) θ(X)ᵀ,    M_F = (I - A_F) V_F W_F
        X̃ = X + X̃_F,    X̃_F = BN(Φ(H_F M_F))

    With other names this is GloRe: the same function, parameter by parameter.

    Squeeze: each of D₂ concepts gathers the N = h w pixels by a learned projection φ.
    Reason: every concept with every other, along edges A_F that are learned and free in sign.
    Reconstruct: the same projection hands the concepts back to the pixels; add.

    Args:
        channels: channels c of the map.
        reduction: a concept holds D₁ = c / reduction numbers; must divide c.
        expansion: there are D₂ = D₁ / expansion concepts; must divide D₁.
        variant: the graph convolution, a form of :class:`LearnedGraphConv`: "paper"; "dgcnet" as in
            the official code, with norms after φ and θ and X̃ = ReLU(X + X̃_F); or
            "dgcnet_reproduction", with norm and ReLU after φ, θ and Φ; other forms leave all but
            the graph as above.
        edges: of the graph: "learned", "random" or "none".
        pool: "mean" is the 1/N of V_F, "sum" leaves it away.
        zero_init: start with X̃_F = 0: the weight of the last norm is zero (never where a ReLU
            follows that norm, in "dgcnet_reproduction": it would stay zero).

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training b h w > 1).

    Cost:
        N = h w. b N (c (2 D₁ + D₂) + 2 D₁ D₂) + b (D₂² D₁ + D₂ D₁²) MACs, so linear in N.
        c (2 D₁ + D₂) + D₁ + D₂ + D₁² + D₂² + 2 c parameters; "dgcnet" 3 D₁ + 3 D₂ more,
        "dgcnet_reproduction" 5 D₁ + 5 D₂ + c more.

    Example:
        >>> FeatureGraph(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Zhang et al., BMVC 2019, section 3.2: feature space.

    Differs from the official code:
        It has variant="dgcnet", pool="sum" and zero_init=False: V + BN(A V) in place of the
        paper's (I - A) V, which we follow. Its last norm, and a start as the identity, we keep from
        GloRe. Our mean is the same in training, since that norm takes out any factor.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        expansion: int = 2,
        variant: str = "paper",
        edges: str = "learned",
        pool: str = "mean",
        zero_init: bool = True,
    ):
        super().__init__()
        check_positive(channels=channels, reduction=reduction, expansion=expansion)
        check_splits(channels=channels, reduction=reduction)
        states = channels // reduction
        check_splits(states=states, expansion=expansion)
        check_choice("pool", pool, ("mean", "sum"))
        self.channels, self.pool, self.relu = channels, pool, variant == "dgcnet"
        cbr = variant == "dgcnet_reproduction"

        def layer(wide: int, width: int, bias: bool, norm: bool) -> nn.Sequential:
            return conv_norm_relu(wide, width, bias=bias, norm=norm, relu=cbr)

        norm = variant in FORMS[1:]
        self.phi = layer(channels, states // expansion, bias=not self.relu, norm=norm)
        self.theta = layer(channels, states, bias=not self.relu, norm=norm)
        self.talk = LearnedGraphConv(states, states // expansion, variant=variant, edges=edges)
        self.out = layer(states, channels, bias=cbr, norm=True)
        if zero_init and not cbr:
            nn.init.zeros_(self.out[1].weight)

    def nodes(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """The node maps φ(X): how much of every pixel each concept takes, free in sign."""
        check_map(self, x, self.channels)
        return self.phi(x)

    def branch(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """X̃_F, what the paper adds to the map."""
        phi, theta = (flat(f(x)) for f in (self.nodes, self.theta))
        root = phi.shape[2] ** 0.5 if self.pool == "mean" else 1.0  # N, half from each side
        with staying_wide(phi):
            phi, theta = wide(phi), wide(theta)
            v = einsum(phi / root, theta / root, "b n i, b d i -> b n d")
            y = einsum(widely(self.talk, v), phi, "b n d, b n i -> b d i")
            y = rearrange(y, "b d (h w) -> b d h w", h=x.shape[2])
            return widely(self.out, y).to(x.dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = x + self.branch(x)
        return torch.relu(y) if self.relu else y


@register(
    "dual_graph",
    title="DGCNet",
    node="a d × d cell; a latent concept",
    squeeze="pool or strided convolution; learned projection",
    reason="cell affinity; learned A, I - A",
    reconstruct="upsample; the projection, transposed; add",
    source="Zhang et al., BMVC 2019",
    lesson="07",
)
class DualGraph(nn.Module):
    """Adds to the map what its cells and what its concepts say: both graphs of DGCNet at once.

        X̃ = X + X̃_S + X̃_F

    Squeeze: cells of d x d pixels in one branch, learned concepts in the other.
    Reason: cells by affinity, concepts along learned edges.
    Reconstruct: upsampled cells, and concepts handed back by their projection; the sum.

    Args:
        channels: channels c of the map.
        cell: of :class:`CoordinateGraph`, as are project, affinity and norm.
        project: "average" or "strided".
        reduction: of both branches.
        affinity: "product" or "softmax".
        pool: of both branches.
        norm: batch norm and ReLU in the coordinate branch.
        variant: of both branches: a form of :class:`LearnedGraphConv`, of which "dgcnet" and
            "dgcnet_reproduction" change the coordinate branch too.
        edges: of :class:`FeatureGraph`.
        fusion: "sum"; "gated": BN(W [X ∘ S + X ; ReLU(X + X̃_F)]) with the gate
            S = up(ReLU(ξ(M_S) + V_S)); or "sequential": the feature branch takes X + X̃_S for its X.
        zero_init: of both branches.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training b h w > 1, or more where
        :class:`CoordinateGraph` needs more).

    Cost:
        Those of both branches; gated 2 b h w c² MACs and 2 c² + 2 c parameters more.

    Example:
        >>> DualGraph(64)(torch.randn(2, 64, 19, 7)).shape
        torch.Size([2, 64, 19, 7])

    Source:
        Zhang et al., BMVC 2019, figure 2.

    Differs from the official code:
        That is ``DualGraph(c, **OFFICIAL)`` of this file: gated fusion and what the branches say;
        we follow the paper. ``DualGraph(c, **REPRODUCTION)`` is a published reproduction,
        which applies one branch after the other.
    """

    def __init__(
        self,
        channels: int,
        *,
        cell: int = 8,
        project: str = "average",
        reduction: int = 2,
        affinity: str = "product",
        pool: str = "mean",
        norm: bool = False,
        variant: str = "paper",
        edges: str = "learned",
        fusion: str = "sum",
        zero_init: bool = True,
    ):
        super().__init__()
        check_choice("fusion", fusion, ("sum", "gated", "sequential"))
        both = {"reduction": reduction, "pool": pool, "zero_init": zero_init}
        cells = {"cell": cell, "project": project, "affinity": affinity, "norm": norm}
        form = variant if variant in FORMS else "paper"
        self.coordinate = CoordinateGraph(channels, variant=form, **cells, **both)
        self.feature = FeatureGraph(channels, variant=variant, edges=edges, **both)
        self.channels, self.fusion = channels, fusion
        last = conv_norm_relu(2 * channels, channels, relu=False)
        self.last = last if fusion == "gated" else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        if self.fusion == "sequential":
            return self.feature(self.coordinate(x))
        if self.fusion == "sum":
            return x + self.coordinate.branch(x) + self.feature.branch(x)
        seen = x * self.coordinate.gate(x) + x
        return self.last(torch.cat([seen, torch.relu(x + self.feature.branch(x))], 1))
