"""Coordinate attention: every row and every column sums itself up and gates its pixels.

Hou, Zhou, Feng: Coordinate Attention for Efficient Mobile Network Design, CVPR 2021,
https://arxiv.org/abs/2103.02907
"""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive

NARROWEST = 8  # the bottleneck's least width, in the paper's code


@register(
    "coordinate_attention",
    title="Coordinate attention",
    node="a row, a column",
    squeeze="axial pooling",
    reason="shared 1x1",
    reconstruct="gate",
    source="Hou et al., CVPR 2021",
    lesson="11",
)
class CoordinateAttention(nn.Module):
    """Gates every pixel by what its row and its column hold.

        z^h = mean_w x,    z^w = mean_h x,    f = h-swish(BN(W [z^h ; z^w]))
        a^h = σ(W_h f^h),    a^w = σ(W_w f^w),    y_cij = x_cij a^h_ci a^w_cj

    Squeeze: axial pooling, one vector a row and one a column.
    Reason: one 1 x 1 layer that rows and columns share, then one for each; only channels talk.
    Reconstruct: the product of two gates, a matrix of rank 1 for each channel.

    Args:
        channels: channels c of the map.
        reduction: the bottleneck is m = max(8, c / reduction) wide, rounded down.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (one image of 1 x 1 trains as well).

    Cost:
        2 b (h + w) c m MACs (pooling and gating are element-wise); 3 c m + 3 m + 2 c parameters.

    Example:
        >>> CoordinateAttention(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Hou et al., CVPR 2021, equations 4 to 9 and section 3.2 (reduction 32).

    Differs from the official code:
        In nothing; the bound of 8 and h-swish for the paper's δ are from there.
    """

    def __init__(self, channels: int, *, reduction: int = 32):
        super().__init__()
        check_positive(channels=channels, reduction=reduction)
        m = max(NARROWEST, channels // reduction)
        self.channels = channels
        self.squash, self.norm = nn.Conv1d(channels, m, 1), nn.BatchNorm1d(m)
        self.row, self.column = nn.Conv1d(m, channels, 1), nn.Conv1d(m, channels, 1)

    def gates(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h"], Float[Tensor, "b c w"]]:
        """a^h and a^w: numbers between 0 and 1 for every row and for every column."""
        rows, columns = reduce(x, "b c h w -> b c h", "mean"), reduce(x, "b c h w -> b c w", "mean")
        f = F.hardswish(self.norm(self.squash(torch.cat([rows, columns], 2))))
        f_rows, f_columns = f.split([x.shape[2], x.shape[3]], 2)
        return torch.sigmoid(self.row(f_rows)), torch.sigmoid(self.column(f_columns))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        rows, columns = self.gates(x)
        return x * rearrange(rows, "b c h -> b c h 1") * rearrange(columns, "b c w -> b c 1 w")
