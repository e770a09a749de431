"""Rectangular self-calibration: rows and columns draw a region, and strips bend its outline.

Ni, Chen, Zhai, Tang, Wang: Context-Guided Spatial Feature Reconstruction for Efficient Semantic
Segmentation (CGRSeg), ECCV 2024, https://arxiv.org/abs/2405.06228
"""

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor, nn

from ._registry import context, register
from ._shapes import Float, check_choice, check_map, check_positive

GATHER = ("add", "multiply", "none")

#: the mixers of the paper's comparison, each with the options nearest to its published row
MIXERS: dict[str, dict] = {
    "rectangular_attention": {},
    "self_attention": {"heads": 4, "width": 64, "expansion": 1, "residual": False},
    "convnext": {},
    "inceptionnext": {},
    "coordinate_attention": {"reduction": 4},
    "gather_excite": {"gather": "average", "extent": "global", "reduction": 1},
}


def check_kernels(**kernels: int | None) -> None:
    """Refuse a side that is neither None nor odd."""
    for option, side in kernels.items():
        if side is not None:
            check_positive(**{option: side})
            if side % 2 == 0:
                raise ValueError(f"expected {option} to be odd or None, got {side}")


class RowStrip(nn.Conv2d):
    """A depth-wise 1 x k convolution of r_i + c_j, or of r_i c_j, for which it needs no map.

        Σ_t w_t (r_i + c_{j+t}) + b = r_i s_j + (w * c)_j + b,    s = w * 1

    Both convolutions are along one line, padded with zeros as the map would be; s is the sum of
    those weights that lie inside. It is exact at the borders, and what is left of the map's
    h w k products a channel is one multiplication and one addition a pixel, forward and backward.
    """

    def __init__(self, channels: int, kernel: int, gather: str):
        padding = (0, kernel // 2)
        super().__init__(channels, channels, (1, kernel), padding=padding, groups=channels)
        self.gather = gather

    def along(self, lines: Tensor) -> Tensor:
        return F.conv2d(lines, self.weight, padding=self.padding, groups=self.groups)

    def forward(
        self, rows: Float[Tensor, "b c h 1"], columns: Float[Tensor, "b c 1 w"]
    ) -> Float[Tensor, "b c h w"]:
        bias = self.bias[:, None, None]
        if self.gather == "multiply":
            return torch.addcmul(bias, rows, self.along(columns))
        lines = self.along(torch.cat([columns, torch.ones_like(columns[:1])]))
        return torch.addcmul(lines[:-1] + bias, rows, lines[-1:])


@register(
    "rectangular_attention",
    title="Rectangular self-calibration attention (RCA)",
    node="a row, a column",
    squeeze="axial pooling",
    reason="strip convolutions on their sum",
    reconstruct="gate",
    source="Ni et al., ECCV 2024",
    lesson="11",
)
class RectangularAttention(nn.Module):
    """Gates each pixel by a rectangle of rows and columns, whose outline two strips calibrate.

        a_ij = mean_w(x)_i + mean_h(x)_j,    g = σ(ψ_{k×1}(ReLU(BN(ψ_{1×k}(a)))))
        y = g ⊙ ψ_{3×3}(x)

        ψ are depth-wise convolutions

    Squeeze: axial pooling, one vector a row and one a column.
    Reason: their sum a is a map of rank 2 at most for each channel; along rows, then along columns,
        a strip of k pixels talks, each channel for itself.
    Reconstruct: a gate between 0 and 1 multiplies the map, after a window of its own.

    Args:
        channels: channels c of the map.
        gather: "add", "multiply" (a_ij is the product, of rank 1) or "none" (a is x itself).
        strip: k, length of both strips, odd; None: no calibration, g = σ(a).
        local: side of the window on x, odd; None: y = g ⊙ x.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, strips need b h w > 1).

    Cost:
        b c (h w (k + local²) + w k) MACs, "add" c w k more for the borders; "none", which convolves
        a map twice, b c h w (2 k + local²). (2 k + 4) c parameters and (local² + 1) c of the
        window.

    Example:
        >>> RectangularAttention(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Ni et al., ECCV 2024, equations 2 to 4, tables 8 and 10 (k of 11, or 9 in the large model;
        local 3).

    Differs from the official code:
        In nothing but the first strip, which is computed along one line, where that code convolves
        the broadcast map: the same function. The code can also make the strips narrower than c,
        which no published model does.
    """

    def __init__(
        self,
        channels: int,
        *,
        gather: str = "add",
        strip: int | None = 11,
        local: int | None = 3,
    ):
        super().__init__()
        check_positive(channels=channels)
        check_choice("gather", gather, GATHER)
        check_kernels(strip=strip, local=local)
        self.channels, self.gather = channels, gather

        def depthwise(*sides: int) -> nn.Conv2d:
            padding = [side // 2 for side in sides]
            return nn.Conv2d(channels, channels, sides, padding=padding, groups=channels)

        self.row_strip = self.between = self.column_strip = None
        if strip is not None:
            self.row_strip = (
                depthwise(1, strip) if gather == "none" else RowStrip(channels, strip, gather)
            )
            self.between = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
            self.column_strip = depthwise(strip, 1)
        self.local = nn.Identity() if local is None else depthwise(local, local)

    def axes(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h 1"], Float[Tensor, "b c 1 w"]]:
        """The mean of every row and of every column."""
        if x.stride(1) == 1:  # channels last: there, this is the quicker mean on CPUs
            return F.avg_pool2d(x, (1, x.shape[3])), F.avg_pool2d(x, (x.shape[2], 1))
        return reduce(x, "b c h w -> b c h 1", "mean"), reduce(x, "b c h w -> b c 1 w", "mean")

    def region(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """a: what rows and columns draw before any strip."""
        if self.gather == "none":
            return x
        rows, columns = self.axes(x)
        return rows + columns if self.gather == "add" else rows * columns

    def gate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """g: a number between 0 and 1 for each channel at every pixel."""
        if self.row_strip is None:
            return torch.sigmoid(self.region(x))
        a = self.row_strip(x) if self.gather == "none" else self.row_strip(*self.axes(x))
        return torch.sigmoid(self.column_strip(self.between(a)))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        return self.gate(x) * self.local(x)


@register(
    "rectangular_calibration",
    title="Rectangular self-calibration module (RCM)",
    node="a row, a column",
    squeeze="axial pooling",
    reason="strip convolutions on their sum; two layers a pixel",
    reconstruct="gate; add",
    source="Ni et al., ECCV 2024",
    lesson="11",
)
class RectangularCalibration(nn.Module):
    """Adds to each pixel what two layers make of a token mixer's answer: RCA's or another's.

        y = x + γ ⊙ W₂ GELU(W₁ BN(mixer(x)))

    Squeeze: the mixer's; of RCA axial pooling, one vector a row and one a column.
    Reason: the mixer's; of RCA strips on the sum of both. Then the channels of each pixel talk.
    Reconstruct: the mixer's; of RCA a gate. Then add, with one small weight γ a channel.

    Args:
        channels: channels c of the map.
        mixer: one of ``MIXERS``, a name of the catalogue.
        mixer_options: of the mixer, by name, in place of those in ``MIXERS``.
        expansion: the hidden layer is expansion c wide.
        scale: γ at the start.
        drop_path: how often, in training, an image goes past the block.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w that the mixer takes (in training b h w > 1).
        Fused attention (mixer "self_attention") has no second derivatives on a CPU.

    Cost:
        2 b h w expansion c² MACs and 2 expansion c² + (expansion + 4) c parameters beside the
        mixer's; with RCA and expansion 2 that is 4 c² + (2 k + 20) c parameters in all.

    Example:
        >>> RectangularCalibration(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])
        >>> block = RectangularCalibration(64, mixer="convnext", mixer_options={"kernel": 5})
        >>> block(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Ni et al., ECCV 2024, equation 4 and table 6 (expansion 2); the block around the mixer is
        MetaNeXt, Yu et al., CVPR 2024.

    Differs from the official code:
        In nothing. γ = 1e-6 at the start is from there, the paper leaves it out. What the other
        mixers of table 6 were is not published; ``MIXERS`` has the widths that meet its figures
        best.
    """

    def __init__(
        self,
        channels: int,
        *,
        mixer: str = "rectangular_attention",
        mixer_options: dict | None = None,
        expansion: int = 2,
        scale: float = 1e-6,
        drop_path: float = 0.0,
    ):
        super().__init__()
        check_positive(channels=channels, expansion=expansion)
        check_choice("mixer", mixer, tuple(MIXERS))
        if not 0 <= drop_path < 1:
            raise ValueError(f"expected drop_path from 0 to below 1, got {drop_path!r}")
        self.channels, self.drop_path = channels, drop_path
        self.mixer = context(mixer, channels, **MIXERS[mixer] | (mixer_options or {}))
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, expansion * channels, 1)
        self.project = nn.Conv2d(expansion * channels, channels, 1)
        self.gamma = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        y = self.gamma * self.project(F.gelu(self.expand(self.norm(self.mixer(x)))))
        if self.training and self.drop_path:
            y = y * F.dropout(y.new_ones(len(y), 1, 1, 1), self.drop_path)
        return x + y
