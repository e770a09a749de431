"""Double attention: gather a few descriptors of the image, hand each pixel its own mix of them.

Chen, Kalantidis, Li, Yan, Feng: A²-Nets: Double Attention Networks, NeurIPS 2018,
https://arxiv.org/abs/1810.11579
"""

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive, check_query, check_splits


@register(
    "double_attention",
    title="Double attention (A²-Net)",
    node="a global descriptor",
    squeeze="attention pooling",
    reason="none",
    reconstruct="attention distribution",
    source="Chen et al., NeurIPS 2018",
    lesson="06",
)
class DoubleAttention(nn.Module):
    """Gathers descriptors by one attention over the pixels and hands them out by a second one.

        G = A softmax_N(B)ᵀ,    Z = G softmax_n(V),    y_i = x_i + W_o z_i

    A = W_A x is m wide, B = W_B x and V = W_V x are n wide. The two soft-maxes run along different
    axes: each of the n descriptors spreads a weight of 1 over the N pixels, and each pixel spreads
    a weight of 1 over the n descriptors. Together the weight from pixel j to pixel i is
    Σ_n V_ni B_nj, an affinity of rank n that is never written out.

    Squeeze: attention pooling, each of n nodes is a weighted mean of the pixels.
    Reason: none, the nodes do not talk.
    Reconstruct: each pixel takes its own mix of the nodes and adds it.

    Args:
        channels: channels c of the map.
        reduction: the descriptors are m = c / reduction wide; must divide c.
        descriptors: how many there are, n; None for as many as they are wide, m.
        norm: batch normalisation after W_o.
        zero_init: start as the identity: the norm's weight, or without norm W_o, is zero.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, norm needs b h w > 1).

    Cost:
        b h w (2 c m + 2 c n + 2 m n) MACs, linear in h w, as is the memory.
        2 c m + 2 c n + m + 2 n parameters where m = n (c m for W_A and W_o, c n for W_B and W_V),
        norm 2 c.

    Example:
        >>> DoubleAttention(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Chen et al., NeurIPS 2018, equations 2 to 6, figure 2.

    Differs from the official code:
        A widely copied version names no axis for its soft-maxes and so normalises over the batch;
        ours are the paper's two. The batch norm that starts at zero is common practice for a
        block that joins a trained network; ``norm=False, zero_init=False`` is the bare equation.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        descriptors: int | None = None,
        norm: bool = True,
        zero_init: bool = True,
    ):
        super().__init__()
        check_positive(channels=channels, reduction=reduction)
        check_splits(channels=channels, reduction=reduction)
        m = channels // reduction
        n = m if descriptors is None else descriptors
        check_positive(descriptors=n)
        self.channels = channels
        self.feature = nn.Conv2d(channels, m, 1)
        self.gather = nn.Conv2d(channels, n, 1)
        self.distribute = nn.Conv2d(channels, n, 1)
        self.out = nn.Conv2d(m, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        if zero_init:
            nn.init.zeros_(self.norm.weight if norm else self.out.weight)

    def attentions(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """B and V as ``b n (h w)``: B sums to 1 over the pixels, V over the descriptors."""
        b, v = (rearrange(t(x), "b n h w -> b n (h w)") for t in (self.gather, self.distribute))
        return torch.softmax(b, 2), torch.softmax(v, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        a = rearrange(self.feature(x), "b m h w -> b m (h w)")
        b, v = self.attentions(x)
        g = einsum(a, b, "b m i, b n i -> b m n")
        z = einsum(g, v, "b m n, b n i -> b m i")
        return x + self.norm(self.out(rearrange(z, "b m (h w) -> b m h w", h=x.shape[2])))

    @torch.no_grad()
    def affinity(
        self, x: Float[Tensor, "b c h w"], query: tuple[int, int]
    ) -> Float[Tensor, "b k y x"]:
        """The weights Σ_n V_ni B_nj with which one pixel hears all others, through the nodes.

        Args:
            x: the map that enters the block.
            query: row and column of the pixel that asks.

        Returns:
            ``b 1 h w``, which sums to 1 over the map.

        Example:
            >>> DoubleAttention(64).affinity(torch.randn(2, 64, 9, 7), query=(4, 0)).shape
            torch.Size([2, 1, 9, 7])
        """
        check_map(self, x, self.channels)
        h, w = x.shape[2:]
        row, column = check_query(query, h, w)
        b, v = self.attentions(x)
        weights = einsum(v[:, :, row * w + column], b, "b n, b n j -> b j")
        return rearrange(weights, "b (y x) -> b 1 y x", y=h)
