"""The course backbone: two strided convolutions and a few bottlenecks, small enough to train on
two CPU cores.

    image  3, h, w
      | 3x3 stride 2, BN, ReLU      ->  stem, h/2, w/2
      | 3x3 stride 2, BN, ReLU      ->  width, h/4, w/4
      | bottleneck 1                ->  first map (an auxiliary head may attach here)
      | bottleneck 2 ... blocks     ->  last map

A bottleneck adds to its input what three convolutions make of it, y = ReLU(x + F(x)), where F is
1x1 (width -> width/2), 3x3, 1x1 (width/2 -> width). So a map sees further only by the 3x3s:

    r = 3 + 2*2 + 4 * 2 * (d_1 + ... + d_blocks) = 7 + 8 * sum(d)

is the receptive field in pixels of one position of the last map, 31 for three blocks of dilation 1.
Resizing by 4 mixes each position with its neighbour: with 1x1s on top, a pixel's answer sees 35.

For decoders that want maps of several strides there is a pyramid of the same parts: behind the stem
and its bottlenecks, twice a 3x3 of stride 2 and as many bottlenecks again.

    stem /4 -> bottlenecks -> map /4 -> 3x3 stride 2 -> bottlenecks -> map /8 -> ... -> map /16
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from . import _weights

__all__ = ["CourseBackbone", "CoursePyramid", "conv_bn_relu"]


def conv_bn_relu(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> nn.Sequential:
    """Convolution, batch norm, ReLU; padded so that stride 1 keeps the size."""
    return nn.Sequential(
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=bias,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Bottleneck(nn.Module):
    """y = ReLU(x + F(x)) with F = 1x1 (channels -> channels/2), 3x3 dilated, 1x1 back."""

    def __init__(self, channels: int, *, dilation: int = 1) -> None:
        super().__init__()
        middle = channels // 2
        self.residual = nn.Sequential(
            conv_bn_relu(channels, middle, 1),
            conv_bn_relu(middle, middle, 3, dilation=dilation),
            nn.Conv2d(middle, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``b c h w -> b c h w``."""
        return (x + self.residual(x)).relu()


class CourseBackbone(nn.Module):
    """A stride-4 backbone that trains on two CPU cores in about a minute.

    Args:
        width: channels of both maps; the bottlenecks are half as wide inside.
        blocks: number of bottlenecks, at least 1.
        stem: channels after the first convolution.
        dilation: of the 3x3 in each bottleneck; one number for all, or one per block.
        weights: "random", or the path of a .safetensors file of this backbone's own weights;
            nobody has trained it on ImageNet.

    Shape:
        image ``b 3 h w`` -> two maps ``b width ceil(h/4) ceil(w/4)``: after the first bottleneck
        and after the last.

    Example:
        >>> import torch
        >>> [tuple(m.shape) for m in CourseBackbone()(torch.rand(2, 3, 64, 128))]
        [(2, 96, 16, 32), (2, 96, 16, 32)]
        >>> CourseBackbone().receptive_field
        31
    """

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    strides = (4, 4)

    def __init__(
        self,
        *,
        width: int = 96,
        blocks: int = 3,
        stem: int = 32,
        dilation: int | Sequence[int] = 1,
        weights: str | Path = "random",
    ) -> None:
        super().__init__()
        if blocks < 1 or width < 2 or stem < 1:
            raise ValueError(
                "the course backbone needs blocks >= 1, width >= 2 and stem >= 1, "
                f"got blocks={blocks}, width={width}, stem={stem}"
            )
        dilations = (dilation,) * blocks if isinstance(dilation, int) else tuple(dilation)
        if len(dilations) != blocks or any(d < 1 for d in dilations):
            raise ValueError(
                f"expected one dilation of at least 1 for each of {blocks} blocks, got {dilation}"
            )
        self.channels = (width, width)
        self.dilations = dilations
        self.stem = nn.Sequential(
            conv_bn_relu(3, stem, 3, stride=2), conv_bn_relu(stem, width, 3, stride=2)
        )
        self.blocks = nn.ModuleList(Bottleneck(width, dilation=d) for d in dilations)
        _load(self, weights)

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the square that one position of the last map can see."""
        return 7 + 8 * sum(self.dilations)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> [map after the first block, map after the last]."""
        first, *rest = self.blocks
        x = first_map = first(self.stem(x))
        for block in rest:
            x = block(x)
        return [first_map, x]


class CoursePyramid(nn.Module):
    """The course backbone carried on to strides 8 and 16, for decoders of three maps.

    Args:
        width: channels of all maps; the bottlenecks are half as wide inside.
        blocks: number of bottlenecks at each stride, at least 1.
        stem: channels after the first convolution.
        weights: as of :class:`CourseBackbone`.

    Shape:
        image ``b 3 h w`` -> three maps, finest first, sides ``ceil(h / stride)``.

    Example:
        >>> import torch
        >>> [tuple(m.shape) for m in CoursePyramid()(torch.rand(2, 3, 64, 128))]
        [(2, 48, 16, 32), (2, 48, 8, 16), (2, 48, 4, 8)]
    """

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    strides = (4, 8, 16)

    def __init__(
        self,
        *,
        width: int = 48,
        blocks: int = 1,
        stem: int = 32,
        weights: str | Path = "random",
    ) -> None:
        super().__init__()
        if blocks < 1 or width < 2 or stem < 1:
            raise ValueError(
                "the course pyramid needs blocks >= 1, width >= 2 and stem >= 1, "
                f"got blocks={blocks}, width={width}, stem={stem}"
            )
        self.channels = (width,) * 3
        self.stem = conv_bn_relu(3, stem, 3, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(
                conv_bn_relu(inputs, width, 3, stride=2),
                *(Bottleneck(width) for _ in range(blocks)),
            )
            for inputs in (stem, width, width)
        )
        _load(self, weights)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> maps, finest first."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _load(backbone: nn.Module, weights: str | Path) -> None:
    _weights.check_choice(weights)
    if weights == "imagenet":
        raise ValueError(
            "the course backbone has no ImageNet weights; pass weights='random' or the path of "
            "a .safetensors file of its own"
        )
    if weights != "random":
        _weights.load_file(backbone, weights)
