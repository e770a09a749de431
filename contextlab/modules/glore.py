"""GloRe: a learned projection gathers pixels into concepts, which reason along a learned graph.

Chen, Rohrbach, Yan, Yan, Feng, Kalantidis: Graph-Based Global Reasoning Networks, CVPR 2019,
https://arxiv.org/abs/1811.12814
"""

from einops import einsum, rearrange
from torch import Tensor, nn

from ._precision import staying_wide, wide, widely
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_splits
from .graph_conv import LearnedGraphConv


@register(
    "glore",
    title="Global reasoning unit (GloRe)",
    node="a latent concept",
    squeeze="learned projection",
    reason="learned A, I - A",
    reconstruct="the projection, transposed",
    source="Chen et al., CVPR 2019",
    lesson="07",
)
class GloRe(nn.Module):
    """Projects the pixels onto concepts, lets these reason, and projects the answer back.

        V = 1/N Σ_i θ(x_i) φ(x_i)ᵀ,    Z = (I - A) V W,    y_i = x_i + BN(W_z Zᵀ θ(x_i))

    Squeeze: each of n concepts gathers the pixels by a learned projection θ.
    Reason: every concept with every other, along edges A that are learned and free in sign.
    Reconstruct: the same projection hands the concepts back to the pixels; add.

    Args:
        channels: channels c of the map.
        reduction: there are n = c / reduction concepts; must divide c.
        expansion: a concept holds d = expansion n numbers.
        variant: the graph convolution, a form of :class:`LearnedGraphConv`: "paper", or "glore"
            for the official code.
        pool: "mean" divides by the number of pixels N, "sum" does not.
        zero_init: start as the identity: the weight of the last norm is zero.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training b h w > 1).

    Cost:
        N = h w. b N (c (n + 2 d) + 2 n d) + b (n² d + n d²) MACs, so linear in N.
        c (n + 2 d) + n + d + n² + d² + 2 c parameters, variant "glore" n more.

    Example:
        >>> import torch
        >>> GloRe(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Chen et al., CVPR 2019, equations 1 to 4 and figure 3.

    Differs from the official code:
        Its graph convolution is ReLU(V + A V + a) W (variant="glore"); equation 3 and we have
        (I - A) V W. Paper and code sum over the pixels (pool="sum"). Our mean is the same in
        training, since the norm takes out any factor, and keeps the norm's statistics right on
        maps of another size.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        expansion: int = 2,
        variant: str = "paper",
        pool: str = "mean",
        zero_init: bool = True,
    ):
        super().__init__()
        check_positive(channels=channels, reduction=reduction, expansion=expansion)
        check_splits(channels=channels, reduction=reduction)
        check_choice("pool", pool, ("mean", "sum"))
        nodes = channels // reduction
        states = expansion * nodes
        self.channels, self.pool = channels, pool
        self.phi = nn.Conv2d(channels, states, 1)
        self.theta = nn.Conv2d(channels, nodes, 1)
        self.talk = LearnedGraphConv(states, nodes, variant=variant)
        self.out = nn.Conv2d(states, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=1e-4)
        if zero_init:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        phi, theta = (rearrange(f(x), "b d h w -> b d (h w)") for f in (self.phi, self.theta))
        root = phi.shape[2] ** 0.5 if self.pool == "mean" else 1.0  # N, half from each side
        with staying_wide(phi):
            phi, theta = wide(phi), wide(theta)
            v = einsum(theta / root, phi / root, "b n i, b d i -> b n d")
            y = einsum(widely(self.talk, v), theta, "b n d, b n i -> b d i")
            y = rearrange(y, "b d (h w) -> b d h w", h=x.shape[2])
            y = widely(self.norm, widely(self.out, y))
        return x + y.to(x.dtype)
