"""Squeeze-and-Excitation: one vector sums up the image and gates its channels.

Hu, Shen, Sun: Squeeze-and-Excitation Networks, CVPR 2018, https://arxiv.org/abs/1709.01507
"""

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive, check_splits


@register(
    "squeeze_excite",
    title="Squeeze-and-Excitation (SE)",
    node="a channel",
    squeeze="global average pooling",
    reason="two fully connected layers",
    reconstruct="channel gate",
    source="Hu et al., CVPR 2018",
    lesson="04",
)
class SqueezeExcite(nn.Module):
    """Gates every channel by what the whole image holds.

        s = 1/N Σ_i x_i,    e = σ(W₂ ReLU(W₁ s)),    y_i = e ⊙ x_i

    Squeeze: global average pooling, one number a channel.
    Reason: two fully connected layers with a bottleneck of channels / reduction.
    Reconstruct: a gate between 0 and 1 multiplies each channel at every pixel.

    Args:
        channels: channels c of the map.
        reduction: the bottleneck is c / reduction wide; must divide c.
        bias: biases on both layers.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w.

    Cost:
        2 b c^2 / reduction MACs, whatever h and w are (pooling and gating are element-wise);
        2 c^2 / reduction parameters, with bias c / reduction + c more.

    Example:
        >>> SqueezeExcite(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Hu et al., CVPR 2018, equations 2 to 4 and section 6.1 (reduction 16).

    Differs from the official code:
        In nothing. The paper's equations leave the biases out and its code has them, as we do;
        ``bias=False`` is the form of the equations.
    """

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = True):
        super().__init__()
        check_positive(channels=channels, reduction=reduction)
        check_splits(channels=channels, reduction=reduction)
        self.channels = channels
        self.squash = nn.Linear(channels, channels // reduction, bias=bias)
        self.expand = nn.Linear(channels // reduction, channels, bias=bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        s = reduce(x, "b c h w -> b c", "mean")
        e = torch.sigmoid(self.expand(torch.relu(self.squash(s))))
        return x * rearrange(e, "b c -> b c 1 1")
