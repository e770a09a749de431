"""MSCAN: convolutions that attend, by strips of three lengths; the backbone of SegNeXt.

    image 3, h, w -> 3x3 stride 2, BN, GELU, 3x3 stride 2, BN -> blocks, LayerNorm      /4
                     3x3 stride 2, BN                         -> blocks, LayerNorm      /8, /16, /32

    block    x = x + γ₁ ⊙ A(BN(x)),    x = x + γ₂ ⊙ W₂ GELU(dw3x3(W₁ BN(x)))
    A(x)   = x + W (a ⊙ u),    u = GELU(V x),    a = W₃ (d + Σ_k strip_kx1(strip_1xk(d)))
    d      = dw5x5(u),    k in {7, 11, 21}

The attention a is as large as the map that it multiplies: every channel of every position has its
own weight, made of a window of 5 x 5 and of crosses 7, 11 and 21 long. No soft-max, no pair of
positions. The shortcut inside A starts from the normalised x; the paper's figures do not show it,
its code has it.

            channels             blocks          hidden layer
    tiny    32, 64, 160, 256     3, 3, 5, 2      8, 8, 4, 4 times the channels
    small   64, 128, 320, 512    2, 2, 4, 2
    base    64, 128, 320, 512    3, 3, 12, 3
    large   64, 128, 320, 512    3, 5, 27, 3

Guo, Lu, Hou, Liu, Cheng, Hu: SegNeXt: Rethinking Convolutional Attention Design for Semantic
Segmentation, NeurIPS 2022, https://arxiv.org/abs/2209.08575
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from . import _weights
from ._images import check_image, check_maps

__all__ = ["MSCAN", "MSCANS"]

#: name -> (channels, blocks) of the four stages
MSCANS = {
    "mscan_t": ((32, 64, 160, 256), (3, 3, 5, 2)),
    "mscan_s": ((64, 128, 320, 512), (2, 2, 4, 2)),
    "mscan_b": ((64, 128, 320, 512), (3, 3, 12, 3)),
    "mscan_l": ((64, 128, 320, 512), (3, 5, 27, 3)),
}
EXPANSIONS = (8, 8, 4, 4)


def depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
    """A convolution of each channel for itself that keeps the size of its map."""
    padding = (height // 2, width // 2)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, groups=channels)


def drop_path(x: Tensor, share: float, training: bool) -> Tensor:
    """Leaves a branch out, for one image after the other, in that share of the cases."""
    if not training or share == 0:
        return x
    kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= share
    return x * kept.to(x.dtype) / (1 - share)


class StripAttention(nn.Module):
    """a ⊙ u with a = W₃ (d + Σ_k strip_kx1(strip_1xk(d))), d = dw5x5(u)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = depthwise(channels, 5, 5)
        self.conv0_1, self.conv0_2 = depthwise(channels, 1, 7), depthwise(channels, 7, 1)
        self.conv1_1, self.conv1_2 = depthwise(channels, 1, 11), depthwise(channels, 11, 1)
        self.conv2_1, self.conv2_2 = depthwise(channels, 1, 21), depthwise(channels, 21, 1)
        self.conv3 = nn.Conv2d(channels, channels, 1)

    def forward(self, u: Tensor) -> Tensor:
        """``b c h w -> b c h w``."""
        d = self.conv0(u)
        crosses = (
            d
            + self.conv0_2(self.conv0_1(d))
            + self.conv1_2(self.conv1_1(d))
            + self.conv2_2(self.conv2_1(d))
        )
        return self.conv3(crosses) * u


class Attention(nn.Module):
    """A(x) = x + W (a ⊙ u), u = GELU(V x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.spatial_gating_unit = StripAttention(channels)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``b c h w -> b c h w``."""
        return x + self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))


class FeedForward(nn.Module):
    """W₂ GELU(dw3x3(W₁ x))."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.dwconv = nn.Sequential()
        self.dwconv.add_module("dwconv", depthwise(hidden, 3, 3))
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``b c h w -> b c h w``."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))


class Block(nn.Module):
    """x = x + γ₁ ⊙ A(BN(x)), then x = x + γ₂ ⊙ FFN(BN(x)); γ start at 0.01."""

    def __init__(self, channels: int, expansion: int, share: float = 0.0) -> None:
        super().__init__()
        self.share = share
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.attn = Attention(channels)
        self.mlp = FeedForward(channels, expansion * channels)
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), 1e-2))
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        """``b c h w -> b c h w``."""
        g1, g2 = (rearrange(g, "c -> c 1 1") for g in (self.layer_scale_1, self.layer_scale_2))
        x = x + drop_path(g1 * self.attn(self.norm1(x)), self.share, self.training)
        return x + drop_path(g2 * self.mlp(self.norm2(x)), self.share, self.training)


class Stem(nn.Module):
    """3x3 stride 2, BN, GELU, 3x3 stride 2, BN."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(3, channels // 2, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels // 2),
            nn.GELU(),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``b 3 h w -> b c h/4 w/4``."""
        return self.proj(x)


class Downsample(nn.Module):
    """3x3 stride 2, BN."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``b i h w -> b o h/2 w/2``."""
        return self.norm(self.proj(x))


class MSCAN(nn.Module):
    """MSCAN-T, S, B or L.

    Args:
        name: "mscan_t", "mscan_s", "mscan_b" or "mscan_l".
        out_indices: which maps to return, rising: 0 to 3 for the strides 4, 8, 16 and 32.
        drop_path: share of the cases in which the last block's branches are left out in training;
            it rises evenly from 0 at the first block. SegNeXt trains T and S with 0.1.
        weights: "random", or the path of a local file, .safetensors or as torch saves it (.pth,
            .pth.tar): the weights that the authors have released, of the backbone or of a whole
            network, or this backbone's own.

    Shape:
        normalised image ``b 3 h w``, sides of at least 32 -> one map per index, sides
        ``ceil(h / stride)``.

    Cost:
        T at 512 x 512: 3.904 M parameters, 4.64 GMACs.

    Raises:
        ValueError: an option is unknown, the weights are of another network, or an image is too
            small.

    Example:
        >>> net = MSCAN("mscan_t")
        >>> net.channels, net.strides
        ((32, 64, 160, 256), (4, 8, 16, 32))
        >>> [tuple(m.shape[2:]) for m in net(torch.rand(2, 3, 33, 65))]
        [(9, 17), (5, 9), (3, 5), (2, 3)]

    Differs from the official code:
        In nothing but the start: its convolutions are drawn normal with variance 2 / outputs,
        ours as torch's are. Batch norm is plain, not synchronised.
    """

    # of ImageNet, on which its authors trained it
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        name: str = "mscan_t",
        *,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path: float = 0.0,
        weights: str | Path = "random",
    ) -> None:
        super().__init__()
        if name not in MSCANS:
            raise ValueError(f"expected an MSCAN of {', '.join(MSCANS)}, got {name!r}")
        if not 0 <= drop_path < 1:
            raise ValueError(f"expected drop_path from 0 to below 1, got {drop_path}")
        self.out_indices = tuple(out_indices)
        check_maps(self.out_indices)
        widths, depths = MSCANS[name]
        total, before = sum(depths), 0
        # The parts have the names of the released weights.
        for i in range(self.out_indices[-1] + 1):
            embed = Downsample(widths[i - 1], widths[i]) if i else Stem(widths[i])
            shares = [drop_path * (before + j) / (total - 1) for j in range(depths[i])]
            blocks = [Block(widths[i], EXPANSIONS[i], share) for share in shares]
            setattr(self, f"patch_embed{i + 1}", embed)
            setattr(self, f"block{i + 1}", nn.Sequential(*blocks))
            setattr(self, f"norm{i + 1}", nn.LayerNorm(widths[i]))
            before += depths[i]
        self.channels = tuple(widths[i] for i in self.out_indices)
        self.strides = tuple(4 * 2**i for i in self.out_indices)
        if weights == "imagenet":
            raise ValueError(
                f"timm has no weights of {name}; pass weights='random' or the path of a file that "
                "its authors have released"
            )
        if weights != "random":
            parts = ("patch_embed", "block", "norm")
            later = (
                f"{part}{i + 1}." for part in parts for i in range(self.out_indices[-1] + 1, 4)
            )
            _weights.load_checkpoint(self, weights, prefix="backbone.", ignored=("head.", *later))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> maps, finest first."""
        check_image(self, x)
        maps = []
        for i in range(1, self.out_indices[-1] + 2):
            x = getattr(self, f"block{i}")(getattr(self, f"patch_embed{i}")(x))
            x = getattr(self, f"norm{i}")(rearrange(x, "b c h w -> b h w c"))
            x = rearrange(x, "b h w c -> b c h w")
            maps.append(x)
        return [maps[i] for i in self.out_indices]
