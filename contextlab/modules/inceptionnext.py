"""InceptionNeXt: a small square and two long strips mix a part of the channels.

Yu, Zhou, Yan, Wang: InceptionNeXt: When Inception Meets ConvNeXt, CVPR 2024,
https://arxiv.org/abs/2303.16900
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive, check_splits


@register(
    "inceptionnext",
    title="InceptionNeXt mixer",
    node="a pixel",
    squeeze="none",
    reason="a square and two strips, each on its share of the channels",
    reconstruct="none",
    source="Yu et al., CVPR 2024",
    lesson="11",
)
class InceptionNeXtMixer(nn.Module):
    """Leaves most channels alone and mixes the rest along a square, a row or a column.

        y = [x_id, w_sq * x_sq, w_row * x_row, w_col * x_col],    block: x + γ ⊙ MLP(BN(y))

    Squeeze: none, every pixel is a node.
    Reason: a pixel talks to a small square, to its row and to its column, a share of c each.
    Reconstruct: none, the nodes are the pixels; in the block: two layers, then add.

    Args:
        channels: channels c of the map.
        reduction: each of the three branches has g = c / reduction channels; must divide c.
        kernel: k, side of the square, odd.
        band: l, length of the strips, odd.
        block: the whole block of the network in place of the bare mixer.
        expansion: width of the block's hidden layer, in c.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training the block needs b h w > 1).

    Cost:
        b h w g (k² + 2 l) MACs and g (k² + 2 l + 3) parameters; the block 2 b h w expansion c²
        MACs and 2 expansion c² + (expansion + 4) c parameters more.

    Example:
        >>> InceptionNeXtMixer(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Yu et al., CVPR 2024, equations 4 to 6; as a bare mixer in CGRSeg, ECCV 2024.

    Differs from the official code:
        In nothing but stochastic depth, which is left to the network around it.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 8,
        kernel: int = 3,
        band: int = 11,
        block: bool = False,
        expansion: int = 4,
    ):
        super().__init__()
        check_positive(channels=channels, reduction=reduction, kernel=kernel, band=band)
        check_positive(expansion=expansion)
        check_splits(channels=channels, reduction=reduction)
        if reduction < 3:
            raise ValueError(
                f"expected reduction of at least 3, for three branches, got {reduction}"
            )
        for option, side in (("kernel", kernel), ("band", band)):
            if side % 2 == 0:
                raise ValueError(f"expected {option} to be odd, got {side}")
        g = channels // reduction
        self.channels, self.block, self.shares = channels, block, (channels - 3 * g, g, g, g)

        def branch(*sides: int) -> nn.Conv2d:
            return nn.Conv2d(g, g, sides, padding=[side // 2 for side in sides], groups=g)

        self.square, self.row, self.column = (
            branch(kernel, kernel),
            branch(1, band),
            branch(band, 1),
        )
        if block:
            self.norm = nn.BatchNorm2d(channels)
            self.expand = nn.Conv2d(channels, expansion * channels, 1)
            self.project = nn.Conv2d(expansion * channels, channels, 1)
            self.gamma = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        alone, square, row, column = x.split(self.shares, 1)
        y = torch.cat([alone, self.square(square), self.row(row), self.column(column)], 1)
        if not self.block:
            return y
        return x + self.gamma * self.project(F.gelu(self.expand(self.norm(y))))
