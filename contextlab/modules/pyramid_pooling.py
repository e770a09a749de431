"""Pyramid pooling: averages over the quarters, ninths ... of the image join every pixel.

Zhao, Shi, Qi, Wang, Jia: Pyramid Scene Parsing Network, CVPR 2017, https://arxiv.org/abs/1612.01105
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._layers import average_bins, check_pooled, conv_norm_relu
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_splits


@register(
    "pyramid_pooling",
    title="Pyramid pooling (PSP)",
    node="a pooled bin",
    squeeze="average over 1, 2, 3, 6 bins",
    reason="none",
    reconstruct="upsample, concatenate",
    source="Zhao et al., CVPR 2017",
    lesson="05",
)
class PyramidPooling(nn.Module):
    """Gives every pixel the averages of the parts of the image in which it lies.

        P_s = up(ρ(W_s pool_s(X))),    Y = ρ(W * [X, P_1, P_2, P_3, P_6])

        pool_s averages over s x s bins, up is bilinear, ρ = ReLU after batch normalisation

    Squeeze: average pooling to 1, 4, 9 and 36 bins.
    Reason: none, the bins do not talk; each is only projected.
    Reconstruct: upsample, concatenate with x, and one convolution.

    Args:
        channels: channels c of the map; the number of sizes must divide it.
        out_channels: channels of the result; None: c.
        sizes: numbers of bins along each side.
        kernel: side of the last convolution, 1 or 3.
        stage_relu: ReLU after each W_s.
        align_corners: the centres of the outer bins lie on the border of the map.
        dropout: share of channels dropped at the end.

    Shape:
        ``b c h w`` to ``b out_channels h w``, any h and w (bins overlap where s does not divide
        them); in training at least two images if sizes hold 1, whose normalisation sees one value
        an image (else b h w > 1).

    Cost:
        N = h w, k sizes s, result e: 2 b N c e kernel² + b c²/k Σ s² MACs;
        2 c e kernel² + c² + 2 c + 2 e parameters. Memory is linear in N.

    Example:
        >>> PyramidPooling(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Zhao et al., CVPR 2017, section 3.2 and figure 3 (512 channels out of 2048).

    Differs from the official code:
        The default is the form of PyTorch-Encoding and mmsegmentation. The port of GALD has
        ``stage_relu=False, align_corners=True``, SFSegNets ``kernel=1`` besides. CCNet's ends each
        stage in a norm that is activated, by a leaky ReLU of slope 0.01, and aligns the corners. A
        ``dropout`` of 0.1 follows in all of them; here it is left to the network.
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        sizes: tuple[int, ...] = (1, 2, 3, 6),
        kernel: int = 3,
        stage_relu: bool = True,
        align_corners: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        out = channels if out_channels is None else out_channels
        check_positive(channels=channels, out_channels=out, sizes=len(sizes))
        check_splits(channels=channels, sizes=len(sizes))
        for size in sizes:
            check_positive(size=size)
        check_choice("kernel", kernel, (1, 3))
        self.channels, self.sizes, self.align_corners = channels, tuple(sizes), align_corners
        self.stages = nn.ModuleList(
            conv_norm_relu(channels, channels // len(sizes), relu=stage_relu) for _ in sizes
        )
        self.fuse = conv_norm_relu(2 * channels, out, kernel)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h w"]:
        check_map(self, x, self.channels)
        parts = [x]
        for size, stage in zip(self.sizes, self.stages):
            bins = average_bins(x, size)
            check_pooled(self, stage[1], bins)
            parts.append(self.upsample(stage(bins), x.shape[2:]))
        return self.dropout(self.fuse(torch.cat(parts, 1)))

    def upsample(self, bins: Tensor, size: tuple[int, int]) -> Tensor:
        if bins.shape[2] == 1:
            return bins.expand(-1, -1, *size)
        return F.interpolate(bins, size, mode="bilinear", align_corners=self.align_corners)
