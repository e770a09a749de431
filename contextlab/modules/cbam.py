"""CBAM: a gate on the channels, then a gate on the pixels.

Woo, Park, Lee, Kweon: CBAM, Convolutional Block Attention Module, ECCV 2018,
https://arxiv.org/abs/1807.06521
"""

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive, check_splits


@register(
    "cbam",
    title="Convolutional block attention (CBAM)",
    node="a channel, then a pixel",
    squeeze="global pooling (average and maximum)",
    reason="two fully connected layers, then a 7 x 7 window",
    reconstruct="channel gate, pixel gate",
    source="Woo et al., ECCV 2018",
    lesson="04",
)
class CBAM(nn.Module):
    """Gates the channels by what the image holds, then the pixels by what their channels hold.

        M_c = σ(MLP(mean_i x_i) + MLP(max_i x_i)),         x' = M_c ⊙ x
        M_s = σ(BN(f([max_c x'_c ; mean_c x'_c]))),        y  = M_s ⊙ x'

    Squeeze: average and maximum, over the pixels for the first gate, then over the channels.
    Reason: two fully connected layers that both vectors share; one k x k convolution f.
    Reconstruct: a gate between 0 and 1 for each channel, then one for each pixel.

    Args:
        channels: channels c of the map.
        reduction: the bottleneck of the MLP is c / reduction wide; must divide c.
        kernel: k, the side of f's window; odd.
        norm: batch normalisation after f.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, norm needs b h w > 1).

    Cost:
        4 b c² / reduction + 2 k² b h w MACs (pooling and gating are element-wise);
        2 c² / reduction + c / reduction + c + 2 k² parameters, norm 2 more.

    Example:
        >>> CBAM(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Woo et al., ECCV 2018, equations 1 to 3; section 3 for the order channel, then pixel.

    Differs from the official code:
        At ties alone: where several pixels (or channels) have the maximum, its gradient goes to one
        of them, and ours in equal parts to all. The paper's equation 3 leaves out the norm that the
        code has, with momentum 0.01, and the biases of the MLP; ``norm=False`` is the form of the
        equation.
    """

    def __init__(self, channels: int, *, reduction: int = 16, kernel: int = 7, norm: bool = True):
        super().__init__()
        check_positive(channels=channels, reduction=reduction, kernel=kernel)
        check_splits(channels=channels, reduction=reduction)
        if kernel % 2 == 0:
            raise ValueError(f"expected kernel to be odd, got {kernel}")
        self.channels = channels
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels),
        )
        self.window = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01) if norm else nn.Identity()

    def channel_gate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
        """M_c: a number between 0 and 1 for each channel."""
        mean, most = (reduce(x, "b c h w -> b c", by) for by in ("mean", "max"))
        return rearrange(torch.sigmoid(self.mlp(mean) + self.mlp(most)), "b c -> b c 1 1")

    def pixel_gate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """M_s: a number between 0 and 1 for each pixel."""
        seen = torch.cat([reduce(x, "b c h w -> b 1 h w", by) for by in ("max", "mean")], 1)
        return torch.sigmoid(self.norm(self.window(seen)))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        x = x * self.channel_gate(x)
        return x * self.pixel_gate(x)
