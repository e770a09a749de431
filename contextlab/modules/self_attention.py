"""Self-attention as a token mixer: non-local with normed projections and narrow keys.

Zhang et al.: TopFormer, CVPR 2022, https://arxiv.org/abs/2204.05525, the mixer against which
CGRSeg (ECCV 2024) measures its own.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive, check_splits


@register(
    "self_attention",
    title="Self-attention mixer (TopFormer)",
    node="a pixel",
    squeeze="none",
    reason="everyone with everyone, by affinity, in several heads",
    reconstruct="1x1; add",
    source="Zhang et al., CVPR 2022",
    lesson="11",
)
class TokenAttention(nn.Module):
    """Mixes the pixels by attention in several heads, with a norm after every projection.

        y_ki = Σ_j softmax_j(q_ki · k_kj) v_kj,    z_i = x_i + BN(W ReLU([y_1i, ..., y_Ki]))

    Squeeze: none, every pixel is a node.
    Reason: everyone talks to everyone, along one graph of affinities a head.
    Reconstruct: a 1x1 convolution joins the heads; add.

    Args:
        channels: channels c of the map.
        heads: K, affinities side by side.
        reduction: q and k are d = c / reduction wide, all heads together; must divide c.
        width: d itself, for channels that no reduction suits; None: c / reduction.
        expansion: v is this many times as wide as k.
        scale: divide the logits by the root of a key's width.
        residual: add x; False is the bare mixer.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training b h w > 1). Fused attention has no
        second derivatives on a CPU.

    Cost:
        N = h w, e = expansion d. b N c (2 d + 2 e) + b N² (d + e) MACs (the fused kernels want
        keys as wide as values: they spend 2 b N² e). Memory is linear in N.
        2 c d + 2 c e + 4 d + 2 e + 2 c parameters.

    Example:
        >>> TokenAttention(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Zhang et al., CVPR 2022, section 3.2 and figure 2. At 512 channels a key is 16 and a value
        32 wide, as there.

    Differs from the official code:
        In nothing. Its logits are not scaled either; scale=True is the transformer's form. CGRSeg
        puts the bare mixer (residual=False) into its block, which adds x itself.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 8,
        reduction: int = 4,
        width: int | None = None,
        expansion: int = 2,
        scale: bool = False,
        residual: bool = True,
    ):
        super().__init__()
        check_positive(channels=channels, heads=heads, reduction=reduction, expansion=expansion)
        if width is None:
            check_splits(channels=channels, reduction=reduction)
            width = channels // reduction
        d = width
        check_positive(width=d)
        check_splits(width=d, heads=heads)
        self.channels, self.heads, self.residual = channels, heads, residual
        self.scale = (d // heads) ** -0.5 if scale else 1.0

        def projection(inner: int, outer: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer))

        self.widths = (d, d, expansion * d)
        # q, k and v in one product. With a norm each, gradients would be wrong at batch 1: those of
        # the fused kernel have strides that torch's batch norm (2.15, CPU) misreads.
        self.project = projection(channels, sum(self.widths))
        self.out = projection(expansion * d, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        query, key, value = (
            rearrange(t, "b (k d) h w -> b k (h w) d", k=self.heads).contiguous()
            for t in self.project(x).split(self.widths, 1)
        )
        wider = value.shape[-1] - key.shape[-1]  # the fused kernels want all three equally wide
        query, key = F.pad(query, (0, wider)), F.pad(key, (0, wider))
        y = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        y = self.out(torch.relu(rearrange(y, "b k (h w) d -> b (k d) h w", h=x.shape[2])))
        return x + y if self.residual else y
