"""What several modules are built of: convolution, norm and ReLU in one, and pooling to bins."""

import torch
import torch.nn.functional as F
from einops import einsum
from torch import Tensor, nn

from ._shapes import Float


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


def average_bins(x: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c s s"]:
    """The means over ``size`` x ``size`` bins; they overlap where size does not divide h or w."""
    if x.device.type != "mps":
        return F.adaptive_avg_pool2d(x, size)
    return average_bins_by_products(x, size)  # that kernel takes multiples of size only


def average_bins_by_products(x: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c s s"]:
    """The same as two matrix products, since a bin is a range of rows times one of columns."""

    def membership(length: int) -> Tensor:
        pixel, bins = (torch.arange(n, device=x.device) for n in (length, size))
        first, last = bins * length // size, -((bins + 1) * -length // size)
        inside = (first[:, None] <= pixel) & (pixel < last[:, None])
        return (inside / (last - first)[:, None]).to(x.dtype)

    rows, columns = membership(x.shape[2]), membership(x.shape[3])
    return einsum(rows, x, columns, "s h, b c h w, t w -> b c s t")
