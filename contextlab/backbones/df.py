"""DFNet: the real-time backbones DF1 and DF2, plain basic blocks that shrink the map early.

    image 3, h, w -> 3x3 stride 2 -> 32, h/2 -> 3x3 stride 2 -> 64, h/4, then basic blocks

             64          128              256              512          taps
    DF1      3 (s2)      3 (s2)           3 (s2)           1            128 /16, 256 /32, 512 /32
    DF2      2 (s2)      1, 10 (s2)       1, 4 (s2)        2            128 /8,  256 /16, 512 /32

A basic block adds to its input what two 3x3 make of it, y = ReLU(S(x) + F(x)); S is the identity,
or a 1x1 where the stride or the width changes. In DF2 a tap lies behind the single block that only
widens the map, just before the next stride. The search that found the two networks weighed accuracy
against the time measured on the device in question.

Li, Zhou, Pan, Feng: Partial Order Pruning: for Best Speed/Accuracy Trade-off in Neural Architecture
Search, CVPR 2019, https://arxiv.org/abs/1903.03777
"""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from . import _weights
from .course import conv_bn_relu

__all__ = ["DFNETS", "DFNet"]

#: name -> stages of (channels, blocks, stride of the first block, whether a tap follows)
DFNETS = {
    "df1": ((64, 3, 2, False), (128, 3, 2, True), (256, 3, 2, True), (512, 1, 1, True)),
    "df2": (
        (64, 2, 2, False),
        (128, 1, 1, True),
        (128, 10, 2, False),
        (256, 1, 1, True),
        (256, 4, 2, False),
        (512, 2, 1, True),
    ),
}
# first and second convolution of the stem, by the stride that they have together
_STEMS = {1: (1, 1), 2: (2, 1), 4: (2, 2)}


class BasicBlock(nn.Module):
    """y = ReLU(S(x) + F(x)) with F = two 3x3, and S a 1x1 where the shape changes."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        gate: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.residual = nn.Sequential(
            conv_bn_relu(inputs, outputs, 3, stride=stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            *([] if gate is None else [gate(outputs)]),
        )
        self.skip = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``b i h w -> b o h/stride w/stride``."""
        # What a strided 1x1 reads, taken out first: with channels last and less than 16 channels
        # its gradient writes past its memory on a CPU (uxlfoundation/oneDNN, issue 6035).
        read = x[..., :: self.stride, :: self.stride]
        return (self.skip(read) + self.residual(x)).relu()


class DFNet(nn.Module):
    """DF1 or DF2, whole or in small.

    Args:
        name: "df1" or "df2".
        width: factor on all channels, a multiple of 1/32; 0.25 has 8 and 16 in its stem, 128 at
            the end.
        stem_stride: of the two first convolutions together, 4 as published, or 2 or 1 for images
            that are small already; all strides shrink with it.
        gate: makes what ends every residual branch, where SENet has its gate, from the channels of
            the branch; it keeps the shape of a map.
        weights: "random", or the path of a .safetensors file of this network's own weights; timm
            has none.

    Shape:
        normalised image ``b 3 h w`` -> three maps, finest first, sides ``ceil(h / stride)``.

    Raises:
        ValueError: an option is unknown, or there are no such weights.

    Example:
        >>> import torch
        >>> net = DFNet("df2", width=0.25)
        >>> net.channels, net.strides
        ((32, 64, 128), (8, 16, 32))
        >>> [tuple(m.shape) for m in net(torch.rand(1, 3, 65, 96))]
        [(1, 32, 9, 12), (1, 64, 5, 6), (1, 128, 3, 3)]
    """

    # of ImageNet, on which its authors trained it
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        name: str = "df2",
        *,
        width: float = 1.0,
        stem_stride: int = 4,
        gate: Callable[[int], nn.Module] | None = None,
        weights: str | Path = "random",
    ) -> None:
        super().__init__()
        if name not in DFNETS:
            raise ValueError(f"expected a DFNet of {', '.join(DFNETS)}, got {name!r}")
        if stem_stride not in _STEMS:
            raise ValueError(f"expected stem_stride of {tuple(_STEMS)}, got {stem_stride!r}")
        if width <= 0 or 32 * width % 1:
            raise ValueError(f"expected width as a multiple of 1/32 above 0, got {width!r}")
        first, second = _STEMS[stem_stride]
        stem, channels = (int(c * width) for c in (32, 64))
        self.stem = nn.Sequential(
            conv_bn_relu(3, stem, 3, stride=first), conv_bn_relu(stem, channels, 3, stride=second)
        )
        self.stages = nn.ModuleList()
        taps, at = [], stem_stride
        for wanted, blocks, stride, tap in DFNETS[name]:
            inputs, channels, at = channels, int(wanted * width), at * stride
            first_block = BasicBlock(inputs, channels, stride, gate)
            rest = (BasicBlock(channels, channels, gate=gate) for _ in range(blocks - 1))
            self.stages.append(nn.Sequential(first_block, *rest))
            if tap:
                taps.append((len(self.stages) - 1, channels, at))
        self.taps, self.channels, self.strides = zip(*taps, strict=True)
        _weights.check_choice(weights)
        if weights == "imagenet":
            raise ValueError(
                f"timm has no weights of {name}; pass weights='random' or the path of a "
                ".safetensors file of its own"
            )
        if weights != "random":
            _weights.load_file(self, weights)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> maps, finest first."""
        x, maps = self.stem(x), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.taps:
                maps.append(x)
        return maps
