"""The layer of which the parallel branches and the fusions of several modules are made."""

from torch import Tensor, nn


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    *,
    rate: int = 1,
    bias: bool = False,
    norm: bool = True,
    relu: bool = True,
) -> nn.Sequential:
    """A convolution that keeps the size of its map, batch normalisation and ReLU."""
    padding = rate * (kernel // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=rate, bias=bias)
    layers = [conv]
    if norm:
        layers.append(nn.BatchNorm2d(out_channels))
    if relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def check_pooled(module: nn.Module, norm: nn.Module, pooled: Tensor) -> None:
    """Refuse to take batch statistics from one value a channel, and say which branch it is."""
    b, _, h, w = pooled.shape
    if isinstance(norm, nn.BatchNorm2d) and norm.training and b * h * w == 1:
        raise ValueError(
            f"{type(module).__name__} normalises its 1 x 1 pooled map over the batch: expected "
            "at least 2 images in training, got 1"
        )
