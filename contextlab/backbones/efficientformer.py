"""EfficientFormerV2 at any size of images: timm's network, whose attention asks for one size.

    image 3, h, w -> stem /4 -> convolutions /4 -> convolutions /8 -> attention /16 -> attention /32

            channels             blocks           of them with attention, /16 and /32 alike
    S0      32, 48,  96, 176     2, 2,  6,  4     2
    S1      32, 48, 120, 224     3, 3,  9,  6     2
    S2      32, 64, 144, 288     4, 4, 12,  8     4
    L       40, 80, 192, 384     5, 5, 15, 10     6

An attention block adds to its logits what it has learned of the distance between two positions,

    A_ij = softmax_j( T₁( q_iᵀ k_j / √d + B[|Δy|, |Δx|] ) ),    y_i = Σ_j T₂(A)_ij v_j + dw(v)_i

with a table B for every head, and with T₁ and T₂ mixing the heads. Such a table has the size of the
map, 7 x 7 for the 224 pixels of its training, and timm's network refuses every other image. Here B
is resized to the map at hand, bicubically; where it has its own size nothing changes. Sides are
padded to multiples of 32 with the mean of the images, which is 0 once they are normalised, and the
maps are cut to what belongs to the image.

In the third stage the attention works at half its map's resolution. Between the third and the
fourth its queries are every second position, so that it halves the map; heads are not mixed there.

Li, Hu, Wen, Evangelidis, Salahi, Wang, Tulyakov, Ren: Rethinking Vision Transformers for MobileNet
Size and Speed, ICCV 2023, https://arxiv.org/abs/2212.08059
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from . import _weights
from ._images import SMALLEST, check_image, check_maps

__all__ = ["EFFICIENTFORMERS", "EfficientFormer"]

EFFICIENTFORMERS = (
    "efficientformerv2_s0",
    "efficientformerv2_s1",
    "efficientformerv2_s2",
    "efficientformerv2_l",
)


def resized(table: Tensor, h: int, w: int) -> Tensor:
    """A table ``heads h' w'`` at another size, bicubically."""
    if table.shape[1:] == (h, w):
        return table
    return F.interpolate(table[None], size=(h, w), mode="bicubic")[0]


class AnySizeAttention(nn.Module):
    """The attention of one of timm's layers on a map of any size, with that layer's weights.

    Args:
        layer: timm's layer.
        stride: whether every position asks (1) or every second (2).
        size: height and width of the table of biases, to which the layer's is resized once.
    """

    def __init__(self, layer: nn.Module, stride: int, size: tuple[int, int]) -> None:
        super().__init__()
        # The parts keep timm's names, and with them the names of the weights.
        for name, part in layer.named_children():
            self.add_module(name, part)
        self.heads, self.scale, self.stride = layer.num_heads, layer.scale, stride
        self.size = size
        table = rearrange(
            layer.attention_biases.detach(), "n (h w) -> n h w", h=layer.resolution[0]
        )
        self.attention_biases = nn.Parameter(rearrange(resized(table, *size), "n h w -> n (h w)"))
        self.halved = getattr(layer, "stride_conv", None) is not None
        self.talking = hasattr(layer, "talking_head1")

    def bias(self, h: int, w: int) -> Tensor:
        """B[|Δy|, |Δx|] for all pairs of positions: ``heads queries keys``."""
        table = rearrange(self.attention_biases, "n (h w) -> n h w", h=self.size[0])
        table = resized(table, h, w)
        rows, columns = (torch.arange(side, device=table.device) for side in (h, w))
        dy = (rows[:: self.stride, None] - rows).abs()
        dx = (columns[:: self.stride, None] - columns).abs()
        pairs = table[:, :, dx][:, dy]  # one axis after the other takes whole lines, not numbers
        return rearrange(pairs, "n i h j w -> n (i j) (h w)")

    def forward(self, x: Tensor) -> Tensor:
        """``b c h w -> b c h w``, or ``b o h/2 w/2`` where every second position asks."""
        y = self.stride_conv(x) if self.halved else x
        v = self.v(y)
        local = self.v_local(v)
        q, k, v = (
            rearrange(z, "b (n d) h w -> b n (h w) d", n=self.heads)
            for z in (self.q(y), self.k(y), v)
        )
        logits = einsum(q, k, "b n i d, b n j d -> b n i j") * self.scale + self.bias(*y.shape[2:])
        logits = self.talking_head1(logits) if self.talking else logits
        weights = logits.softmax(-1)
        weights = self.talking_head2(weights) if self.talking else weights
        y = einsum(weights, v, "b n i j, b n j d -> b n d i")
        y = rearrange(y, "b n d (h w) -> b (n d) h w", h=local.shape[2]) + local
        if self.halved:
            y = F.interpolate(y, size=x.shape[2:], mode="bilinear")
        return self.proj(self.act(y))


class EfficientFormer(nn.Module):
    """EfficientFormerV2 on images of any size.

    Args:
        name: "efficientformerv2_s0", "_s1", "_s2" or "_l", with one of timm's tags if wanted.
        out_indices: which maps to return, rising: 0 to 3 for the strides 4, 8, 16 and 32.
        drop_path: share of the cases in which a branch of the last stage is left out in training,
            of earlier stages less; None for timm's own: 0.02 for S2, 0.1 for L and 0 for the rest.
        image_size: side of the images for which the tables of biases are made; weights come with
            tables for 224, which are resized to it as they are loaded. What is trained at another
            size can learn finer tables so; images of any size are answered whatever it is.
        weights: "imagenet" (timm's), "random", or the path of a local .safetensors file with
            timm's names.

    Shape:
        normalised image ``b 3 h w``, sides of at least 32 -> one map per index, sides
        ``ceil(h / stride)``.

    Cost:
        At 224 x 224, in order: 3.246, 5.735, 12.132 and 25.552 M parameters, 0.396, 0.652, 1.246
        and 2.552 GMACs. The attention's products grow as the square of h w / 1024. Tables for 512
        have 0.013, 0.013, 0.020 and 0.026 M parameters more.

    Raises:
        ValueError: an option is unknown, or an image is too small.

    Example:
        >>> net = EfficientFormer("efficientformerv2_s0", weights="random")
        >>> net.channels, net.strides
        ((32, 48, 96, 176), (4, 8, 16, 32))
        >>> [tuple(m.shape[2:]) for m in net(torch.rand(2, 3, 33, 65))]
        [(9, 17), (5, 9), (3, 5), (2, 3)]

    Differs from the official code:
        In nothing at the size of the tables. At others the code of CGRSeg resizes, bicubically
        too, the matrix of all pairs; there the biases of positions that are neighbours in the
        count of a row-major map run into each other, wherever in the image they lie.
    """

    def __init__(
        self,
        name: str = "efficientformerv2_s1",
        *,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path: float | None = None,
        image_size: int = 224,
        weights: str | Path = "imagenet",
    ) -> None:
        super().__init__()
        if name.split(".")[0] not in EFFICIENTFORMERS:
            known = ", ".join(EFFICIENTFORMERS)
            raise ValueError(f"expected an EfficientFormerV2 of {known}, got {name!r}")
        if drop_path is not None and not 0 <= drop_path < 1:
            raise ValueError(f"expected drop_path from 0 to below 1, got {drop_path}")
        if image_size < SMALLEST:
            raise ValueError(f"expected image_size of at least {SMALLEST}, got {image_size}")
        self.out_indices = tuple(out_indices)
        check_maps(self.out_indices)
        _weights.check_name(name)
        options = {} if drop_path is None else {"drop_path_rate": drop_path}
        net = _weights.create(name, weights, num_classes=0, **options)
        self.mean = tuple(net.pretrained_cfg["mean"])
        self.std = tuple(net.pretrained_cfg["std"])
        self.channels = tuple(net.feature_info[i]["num_chs"] for i in self.out_indices)
        self.strides = tuple(net.feature_info[i]["reduction"] for i in self.out_indices)
        self.stem, self.stages = net.stem, net.stages[: self.out_indices[-1] + 1]
        fine, coarse = ((-(-image_size // stride),) * 2 for stride in (16, 32))
        for stage in self.stages:
            if getattr(stage.downsample, "attn", None) is not None:
                stage.downsample.attn = AnySizeAttention(stage.downsample.attn, 2, fine)
            for block in stage.blocks:
                if block.token_mixer is not None:
                    block.token_mixer = AnySizeAttention(block.token_mixer, 1, coarse)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> maps, finest first."""
        check_image(self, x)
        h, w = x.shape[2:]
        x = F.pad(x, (0, -w % SMALLEST, 0, -h % SMALLEST))
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [
            maps[i][..., : -(-h // stride), : -(-w // stride)]
            for i, stride in zip(self.out_indices, self.strides, strict=True)
        ]
