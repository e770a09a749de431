"""Strip pooling: a gate made of whole rows and whole columns.

Hou, Zhang, Cheng, Feng: Strip Pooling, Rethinking Spatial Pooling for Scene Parsing, CVPR 2020,
https://arxiv.org/abs/2003.13328
"""

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_map, check_positive


@register(
    "strip_pooling",
    title="Strip pooling",
    node="a row, a column",
    squeeze="axial pooling",
    reason="a window of 3 rows, of 3 columns; 1x1 on their sum",
    reconstruct="gate",
    source="Hou et al., CVPR 2020",
    lesson="11",
)
class StripPooling(nn.Module):
    """Gates every pixel by the sum of what its row and its column hold.

        y^h = BN(f_h(mean_w x)),    y^w = BN(f_w(mean_h x)),    y_cij = ReLU(y^h_ci + y^w_cj)
        z = σ(f(y)) ⊙ x

    Squeeze: axial pooling, one vector a row and one a column.
    Reason: rows talk to the rows next to them, columns likewise (f_h, f_w); f mixes the channels of
        their sum at every pixel.
    Reconstruct: a gate between 0 and 1 multiplies each channel at every pixel.

    Args:
        channels: channels c of the map.
        kernel: how many neighbouring rows (columns) f_h (f_w) sees; odd.
        norm: batch normalisation after f_h and f_w, and ReLU on the sum.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, norm needs b h > 1 and b w > 1).

    Cost:
        b c² (kernel (h + w) + h w) MACs; (2 kernel + 1) c² + c parameters, norm 4 c more
        (without it 2 c for the biases of f_h and f_w).

    Example:
        >>> StripPooling(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Hou et al., CVPR 2020, section 3.1, the strip pooling module (kernel 3).

    Differs from the official code:
        In nothing. The paper's equations leave out the norms and the ReLU that the code has;
        ``norm=False`` is the form of the equations. The mixed pooling module is not here.
    """

    def __init__(self, channels: int, *, kernel: int = 3, norm: bool = True):
        super().__init__()
        check_positive(channels=channels, kernel=kernel)
        if kernel % 2 == 0:
            raise ValueError(f"expected kernel to be odd, got {kernel}")
        self.channels = channels

        def along() -> nn.Sequential:
            window = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, bias=not norm)
            return nn.Sequential(window, nn.BatchNorm1d(channels) if norm else nn.Identity())

        self.rows, self.columns = along(), along()
        self.activation = nn.ReLU() if norm else nn.Identity()
        self.mix = nn.Conv2d(channels, channels, 1)

    def gate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """σ(f(y)): a number between 0 and 1 for each channel at every pixel."""
        rows = self.rows(reduce(x, "b c h w -> b c h", "mean"))
        columns = self.columns(reduce(x, "b c h w -> b c w", "mean"))
        y = rearrange(rows, "b c h -> b c h 1") + rearrange(columns, "b c w -> b c 1 w")
        return torch.sigmoid(self.mix(self.activation(y)))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        return x * self.gate(x)
