"""Squeeze Reasoning: one vector is cut into nodes, which reason about the channels' gates.

Li, Li, You, Zhang, Cheng, Yang, Tong, Lin: Towards Efficient Scene Understanding via Squeeze
Reasoning, TIP 2021, https://arxiv.org/abs/2011.03308
"""

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ._precision import exactly, staying_wide, wide, widely, without_autocast
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_splits
from .graph_conv import EQUATIONS, LearnedGraphConv
from .pooling import SUMS, average_pool, hadamard_pool

#: how a vector becomes k nodes of m states, and how it comes back
GROUPINGS = {
    "contiguous": ("b (k m) -> b k m", "b k m -> b (k m)"),
    "strided": ("b (m k) -> b k m", "b k m -> b (m k)"),
    "official": ("b (m k) -> b k m", "b k m -> b (k m)"),
}


class Correlation(nn.Module):
    """Nodes talk by how alike they are: ``ReLU(ρ(G) [φ(G)ᵀ θ(G)])``, without a soft-max."""

    def __init__(self, states: int):
        super().__init__()
        self.rho, self.phi, self.theta = (nn.Linear(states, states, bias=False) for _ in range(3))

    def forward(self, nodes: Float[Tensor, "b k m"]) -> Float[Tensor, "b k m"]:
        alike = einsum(self.phi(nodes), self.theta(nodes), "b j m, b k m -> b j k")
        return torch.relu(einsum(self.rho(nodes), alike, "b j m, b j k -> b k m"))


@register(
    "squeeze_reasoning",
    title="Squeeze Reasoning (SR)",
    node="a group of channels",
    squeeze="average or Hadamard pooling",
    reason="learned A, I - A, or attention, over K nodes",
    reconstruct="channel gate, 1x1, add",
    source="Li et al., TIP 2021",
    lesson="08",
)
class SqueezeReasoning(nn.Module):
    """Squeezes the map to one vector, cuts it into nodes, and gates the channels by their answer.

        g_c = 1/N Σ_i φ(x_i)_c γ(x_i)_c                  hadamard (average: 1/N Σ_i φ(x_i)_c)
        G'  = ReLU(W_g G (I - A_g))                      graph, G: g as M states x K nodes
        y_i = x_i + W_R (θ(x_i) ⊙ g')

    Squeeze: average or Hadamard pooling; K nodes hold M of the P pooled channels each.
    Reason: every node with every other, along learned edges A_g, or by another rule (reason).
    Reconstruct: the vector gates the channels of θ(x); 1x1; add.

    Args:
        channels: channels c of the map.
        reduction: P = c / reduction channels are pooled and gated; must divide c.
        nodes: K, must divide P; M = P / K.
        squeeze: "hadamard" (second order) or "average" (first order).
        pool: "mean" over the pixels, or "sum" for the Hadamard form of the paper.
        reason: "graph"; "connected" ReLU(W g + b); "correlation" ReLU(ρ(G) [φ_g(G)ᵀ θ_g(G)]);
            "none" (the pooled vector itself is the gate).
        variant: form of the graph, see :class:`LearnedGraphConv`: "paper", or "srnet" as in the
            official code.
        edges: of the graph: "learned", "random" (drawn once, never trained) or "none".
        grouping: which channels form a node: "contiguous" neighbours, "strided" every K-th, or
            "official": strided on the way in, contiguous on the way out.
        reconstruct: W_R "grouped" (each gated channel feeds its own c / P outputs) or "dense".
        norm: a group norm after W_R, with one group a gated channel.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training variant "srnet" needs b M > 1).

    Cost:
        b h w (3 P c + c) MACs for θ, φ, γ, W_R (average: one P c less; dense: W_R P c), and for
        the reasoning b (K² M + K M²), whatever h and w are (connected P²; correlation
        3 K M² + 2 K² M). 3 P c + c + K² + M² parameters (average and dense as above; connected
        P² + P, correlation 3 M²); norm 2 c, variant "srnet" 2 K + 2 M more.

    Example:
        >>> SqueezeReasoning(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Li et al., TIP 2021, equations 3 to 7 and table III (squeeze and reason).

    Differs from the official code:
        It has variant="srnet", nodes=32, grouping="official", pool="sum" and norm=True; the paper
        and we have (I - A), one ReLU, K = 16 and no norm. The code's grouping gives the answer of
        one channel to another. Its norm divides each gated channel by its own deviation, and with
        that the gate out again, down to whether it is zero. A sum grows with the map, so a model
        is bound to one size; hence our mean. W_R is grouped in the code, and the paper's
        parameter counts hold only so.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        nodes: int = 16,
        squeeze: str = "hadamard",
        pool: str = "mean",
        reason: str = "graph",
        variant: str = "paper",
        edges: str = "learned",
        grouping: str = "contiguous",
        reconstruct: str = "grouped",
        norm: bool = False,
    ):
        super().__init__()
        check_positive(channels=channels, reduction=reduction, nodes=nodes)
        check_splits(channels=channels, reduction=reduction)
        check_choice("squeeze", squeeze, ("hadamard", "average"))
        check_choice("pool", pool, SUMS)
        check_choice("reason", reason, ("graph", "connected", "correlation", "none"))
        check_choice("grouping", grouping, tuple(GROUPINGS))
        check_choice("reconstruct", reconstruct, ("grouped", "dense"))
        p = channels // reduction
        check_splits(width=p, nodes=nodes)
        if squeeze == "average" and pool == "sum":
            raise ValueError("expected pool='mean' with squeeze='average', got 'sum'")
        if edges != "learned" and reason != "graph":
            raise ValueError(f"expected edges='learned' with reason={reason!r}, got {edges!r}")
        if norm and reduction == 1:
            raise ValueError("expected reduction of at least 2 with norm, got 1")
        self.channels, self.pool, self.reason = channels, pool, reason
        self.split, self.join = GROUPINGS[grouping]
        self.nodes = nodes

        self.theta = nn.Conv2d(channels, p, 1, bias=False)
        self.phi = nn.Conv2d(channels, p, 1, bias=False)
        hadamard = squeeze == "hadamard"
        self.gamma = nn.Conv2d(channels, p, 1, bias=False) if hadamard else None
        if reason == "graph":
            self.talk = LearnedGraphConv(
                p // nodes,
                nodes,
                variant=variant,
                activation=torch.relu if variant in EQUATIONS else None,
                edges=edges,
            )
        elif reason == "connected":
            self.talk = nn.Sequential(nn.Linear(p, p), nn.ReLU())
        else:
            self.talk = Correlation(p // nodes) if reason == "correlation" else nn.Identity()
        groups = p if reconstruct == "grouped" else 1
        self.out = nn.Conv2d(p, channels, 1, groups=groups, bias=False)
        self.norm = nn.GroupNorm(p, channels) if norm else nn.Identity()

    def squeeze(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p"]:
        """The pooled vector g."""
        if self.gamma is None:
            return average_pool(self.phi(x))
        return hadamard_pool(wide(self.phi(x)), wide(self.gamma(x)), pool=self.pool)

    def gate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p"]:
        """The vector g' with which the channels of θ(x) are multiplied, in full precision."""
        g = self.squeeze(x)
        with without_autocast(x):
            if self.reason == "connected":
                return exactly(self.talk, g)
            nodes = exactly(self.talk, rearrange(g, self.split, k=self.nodes))
        return rearrange(nodes, self.join)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        theta, gate = self.theta(x), rearrange(self.gate(x), "b p -> b p 1 1")
        with staying_wide(theta):
            theta = wide(theta)
            y = widely(self.norm, widely(self.out, theta * gate.to(theta.dtype)))
        return x + y.to(x.dtype)
