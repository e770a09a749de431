"""Criss-cross attention: a pixel asks its row and its column, and asks again.

Huang, Wang, Wei, Huang, Shi, Liu, Huang: CCNet: Criss-Cross Attention for Semantic Segmentation,
ICCV 2019 and TPAMI 2020, https://arxiv.org/abs/1811.11721
"""

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive, check_query, check_splits


@register(
    "criss_cross",
    title="Criss-cross attention (CCNet)",
    node="a pixel",
    squeeze="none",
    reason="its row and column, twice",
    reconstruct="add",
    source="Huang et al., ICCV 2019",
    lesson="06",
)
class CrissCross(nn.Module):
    """Adds to every pixel a weighted mean of its row and column, several times over.

        d_iu = Q_u · K_i,    A_u = softmax_i(d_u),    H'_u = γ Σ_i A_iu V_i + H_u

    Here i runs over the cross of u: its row and its column, h + w - 1 pixels with u itself once.
    The second hop does the same to H' with the same weights: since any two pixels share the two
    corners at which their crosses meet, every pixel then hears from the whole map.

    Squeeze: none, every pixel is a node.
    Reason: a pixel talks to its row and column; ``recurrence`` times, so twice to all.
    Reconstruct: add to the pixel itself, times a learned γ that starts at zero.

    Args:
        channels: channels c of the map.
        reduction: Q and K are d = c / reduction wide, V is c wide; must divide c.
        recurrence: hops R, all with the same weights.
        scale: divide the logits by √d.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w.

    Cost:
        R b h w (c² + 2 c d + (h + w) (c + d)) MACs and R times b h w (h + w) affinities, of which
        n x n never exist. c² + 2 c d + c + 2 d + 1 parameters, however many hops.

    Example:
        >>> CrissCross(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Huang et al., ICCV 2019, equations 1 and 2, section 3.3 for the recurrence R = 2.

    Differs from the official code:
        In nothing but this: its training script makes no hop at all unless told to, and we make
        the paper's two. As there, the column's part leaves u out and the row's part holds it.
    """

    def __init__(
        self, channels: int, *, reduction: int = 8, recurrence: int = 2, scale: bool = False
    ):
        super().__init__()
        check_positive(channels=channels, reduction=reduction, recurrence=recurrence)
        check_splits(channels=channels, reduction=reduction)
        self.channels, self.recurrence = channels, recurrence
        d = channels // reduction
        self.scale = d**-0.5 if scale else 1.0
        self.query = nn.Conv2d(channels, d, 1)
        self.key = nn.Conv2d(channels, d, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def hop(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """One criss-cross attention, γ and the pixel itself left out."""
        h, w = x.shape[2:]
        q, k, v = self.scale * self.query(x), self.key(x), self.value(x)
        column = einsum(q, k, "b d i x, b d j x -> b i x j")
        row = einsum(q, k, "b d y i, b d y j -> b y i j")
        itself = rearrange(torch.eye(h, dtype=torch.bool, device=x.device), "i j -> i 1 j")
        column = column.masked_fill(itself, float("-inf"))  # the row holds the pixel already
        a = torch.softmax(torch.cat([column, row], -1), -1)
        column, row = a.split([h, w], -1)
        down = einsum(column, v, "b i x j, b c j x -> b c i x")
        return down + einsum(row, v, "b y i j, b c y j -> b c y i")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        for _ in range(self.recurrence):
            x = self.gamma * self.hop(x) + x
        return x

    @torch.no_grad()
    def affinity(
        self, x: Float[Tensor, "b c h w"], query: tuple[int, int]
    ) -> Float[Tensor, "b k y x"]:
        """The weights A_u with which one pixel asks its cross, in one hop.

        Args:
            x: the map that enters the hop.
            query: row and column of the pixel that asks.

        Returns:
            ``b 1 h w``: sums to 1 over the map and is zero off the cross.

        Example:
            >>> CrissCross(64).affinity(torch.randn(2, 64, 9, 7), query=(4, 0)).shape
            torch.Size([2, 1, 9, 7])
        """
        check_map(self, x, self.channels)
        h, w = x.shape[2:]
        y, x0 = check_query(query, h, w)
        key, asks = self.key(x), self.scale * self.query(x)[:, :, y, x0]
        column = einsum(asks, key[:, :, :, x0], "b d, b d j -> b j")
        row = einsum(asks, key[:, :, y], "b d, b d j -> b j")
        column[:, y] = float("-inf")
        column, row = torch.softmax(torch.cat([column, row], -1), -1).split([h, w], -1)
        weights = torch.zeros_like(key[:, :1])
        weights[:, 0, :, x0] = column
        weights[:, 0, y] += row
        return weights
