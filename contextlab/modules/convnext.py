"""ConvNeXt: a large depth-wise window mixes the pixels.

Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s, CVPR 2022,
https://arxiv.org/abs/2201.03545
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive


@register(
    "convnext",
    title="ConvNeXt mixer",
    node="a pixel",
    squeeze="none",
    reason="a fixed window, each channel for itself",
    reconstruct="none",
    source="Liu et al., CVPR 2022",
    lesson="11",
)
class ConvNeXtMixer(nn.Module):
    """Mixes each pixel with the window around it, each channel by its own weights.

        y_i = Σ_j w_j ⊙ x_{i+j} + b,    block: x_i + γ ⊙ W₂ GELU(W₁ LN(y_i))

    Squeeze: none, every pixel is a node.
    Reason: a pixel talks to those in its window, with one learned weight an offset and channel.
    Reconstruct: none, the nodes are the pixels; in the block: two layers, then add.

    Args:
        channels: channels c of the map.
        kernel: k, side of the window, odd.
        block: the whole block of the network in place of the bare mixer.
        expansion: width of the block's hidden layer, in c.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w.

    Cost:
        b h w k² c MACs and (k² + 1) c parameters; the block 2 b h w expansion c² MACs and
        2 expansion c² + (expansion + 4) c parameters more.

    Example:
        >>> ConvNeXtMixer(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Liu et al., CVPR 2022, section 2.6 and figure 4; as a bare mixer in CGRSeg, ECCV 2024.

    Differs from the official code:
        In nothing but stochastic depth, which is left to the network around it.
    """

    def __init__(self, channels: int, *, kernel: int = 7, block: bool = False, expansion: int = 4):
        super().__init__()
        check_positive(channels=channels, kernel=kernel, expansion=expansion)
        if kernel % 2 == 0:
            raise ValueError(f"expected kernel to be odd, got {kernel}")
        self.channels, self.block = channels, block
        self.mix = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        if block:
            self.norm = nn.LayerNorm(channels, eps=1e-6)
            self.expand = nn.Linear(channels, expansion * channels)
            self.project = nn.Linear(expansion * channels, channels)
            self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        y = self.mix(x)
        if not self.block:
            return y
        y = self.norm(rearrange(y, "b c h w -> b h w c"))
        y = self.gamma * self.project(F.gelu(self.expand(y)))
        return x + rearrange(y, "b h w c -> b c h w")
