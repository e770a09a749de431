"""Dilated ResNet: a ResNet whose last stages keep their resolution.

    image 3, h, w -> stem, max-pool   /4 -> layer1  /4 -> layer2  /8 -> layer3 -> layer4

                      output stride 32      16             8
    layer3   stride, dilation    2, 1      2, 1           1, 2
    layer4   stride, dilation    2, 1      1, 2           1, 4

A convolution of dilation d asks for neighbours that are d apart,

    y(p) = sum_k W_k x(p + d k),     k in {-1, 0, 1} x {-1, 0, 1},

so it has the weights of the ordinary one. Drop a stride of 2 and double every later d, and each
position asks for the same pixels as before, at four times as many positions. Hence the weights of
the network that was trained at stride 32 serve unchanged.

Two conventions differ in the first block of a stage whose stride was dropped. Its 3x3 meets a map
as dense as the stage before left it; only what follows needs the larger dilation.

    "sfsegnets"  every 3x3 of the stage gets the stage's dilation          layer4: 4, 4, 4
    "encoding"   the first block keeps the dilation of the stage before    layer4: 2, 4, 4

With "encoding" the map at every fourth position *is* the stride-32 network's map; "sfsegnets" sees
a little further. Multi-grid multiplies the dilations of layer4 block by block: with (1, 2, 4) they
are 4, 8, 16 (first block 2 with "encoding").

Networks and weights are timm's. The max-pool rounds down, as there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from . import _weights

__all__ = ["RESNETS", "DilatedResNet"]

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_STEMS = {
    "plain": {},
    "deep": {"stem_type": "deep", "stem_width": 64},
    "deep32": {"stem_type": "deep", "stem_width": 32},
}


class DilatedResNet(nn.Module):
    """timm's ResNet with the strides of its last stages turned into dilation.

    Args:
        name: resnet18, 34, 50, 101 or 152, with one of timm's tags if wanted ("resnet50.tv_in1k").
        output_stride: pixels between neighbours of the last map: 8, 16 or 32.
        weights: "imagenet" (timm's), "random", or the path of a local .safetensors file.
        stem: "plain" (one 7x7, 64), "deep" (three 3x3: 64, 64, 128) or "deep32" (32, 32, 64).
            timm has no weights for "deep", and weights for "deep32" of resnet50, 101 and 152.
        convention: "sfsegnets" or "encoding", the dilation of a stage's first block; see above.
        multi_grid: factors of layer4's dilation, one per block, such as (1, 2, 4); None for ones.
        out_indices: which maps to return: 0 the stem (/2), 1 to 4 the stages.
        gate: makes what ends every residual branch, where SENet has its gate, from the channels of
            the branch; it keeps the shape of a map. timm has no weights for such a network.

    Shape:
        normalised image ``b 3 h w`` -> one map per index, sides ``ceil(h / stride)``.

    Raises:
        ValueError: an option is unknown or there are no such weights.

    Example:
        >>> import torch
        >>> net = DilatedResNet("resnet18", weights="random")
        >>> net.channels, net.strides
        ((256, 512), (8, 8))
        >>> net(torch.rand(1, 3, 65, 96))[-1].shape
        torch.Size([1, 512, 9, 12])
    """

    def __init__(
        self,
        name: str = "resnet50",
        *,
        output_stride: int = 8,
        weights: str | Path = "imagenet",
        stem: str = "plain",
        convention: str = "sfsegnets",
        multi_grid: Sequence[int] | None = None,
        out_indices: Sequence[int] = (3, 4),
        gate: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        _check(name.split(".")[0], RESNETS, "a ResNet's name")
        _check(output_stride, (8, 16, 32), "output_stride")
        _check(stem, tuple(_STEMS), "stem")
        _check(convention, ("sfsegnets", "encoding"), "convention")
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(range(5))):
            raise ValueError(f"expected rising out_indices out of 0 to 4, got {tuple(out_indices)}")
        net = _create(name, weights, stem, gate)
        if multi_grid is not None and len(multi_grid) != len(net.layer4):
            raise ValueError(
                f"multi_grid needs one factor per block of layer4, {len(net.layer4)} for {name}, "
                f"got {tuple(multi_grid)}"
            )
        rates = {32: (1, 1), 16: (1, 2), 8: (2, 4)}[output_stride]
        before = 1
        for layer, rate, grid in zip((net.layer3, net.layer4), rates, (None, multi_grid)):
            dilations = [rate * factor for factor in grid or [1] * len(layer)]
            first = before if convention == "encoding" else rate
            _dilate(layer, dilations, first * (grid or [1])[0], keep_stride=rate == before)
            before = rate

        self.out_indices = tuple(out_indices)
        self.mean = tuple(net.pretrained_cfg["mean"])
        self.std = tuple(net.pretrained_cfg["std"])
        self.channels = tuple(net.feature_info[i]["num_chs"] for i in self.out_indices)
        self.strides = tuple(min(2 ** (i + 1), output_stride) for i in self.out_indices)
        # The parts keep timm's names, and with them the names of the weights.
        for part in ("conv1", "bn1", "act1", "maxpool"):
            setattr(self, part, getattr(net, part))
        for i in range(1, self.out_indices[-1] + 1):
            setattr(self, f"layer{i}", getattr(net, f"layer{i}"))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> maps, finest first."""
        x = self.act1(self.bn1(self.conv1(x)))
        maps = [x] if 0 in self.out_indices else []
        x = self.maxpool(x) if self.out_indices[-1] else x
        for i in range(1, self.out_indices[-1] + 1):
            x = getattr(self, f"layer{i}")(x)
            if i in self.out_indices:
                maps.append(x)
        return maps


def _create(
    name: str, weights: str | Path, stem: str, gate: Callable[[int], nn.Module] | None
) -> nn.Module:
    options = dict(_STEMS[stem])
    base, dot, tag = name.partition(".")
    if stem == "deep32" and base in ("resnet50", "resnet101", "resnet152"):
        name, options = f"{base}c{dot}{tag}", {}  # timm's name for this stem
    elif stem != "plain" and weights == "imagenet":
        raise ValueError(
            f"there are no ImageNet weights in timm for {base} with the stem {stem!r}; pass the "
            "path of a .safetensors file that has them, weights='random', or stem='plain'"
        )
    if gate is not None:
        if weights == "imagenet":
            raise ValueError(
                f"there are no ImageNet weights in timm for {base} with a gate; pass the path of a "
                ".safetensors file that has them, or weights='random'"
            )
        # timm tells a layer its device and dtype besides, which torch.device does as well
        options["block_args"] = {"attn_layer": lambda channels, **_: gate(channels)}
    _weights.check_name(name)
    return _weights.create(name, weights, num_classes=0, **options)


def _dilate(stage: nn.Sequential, dilations: list[int], first: int, keep_stride: bool) -> None:
    """Set the dilation of each block's 3x3s, and of the very first 3x3; drop the stride if asked.

    Only the first 3x3 of the first block still sees the map as the stage before left it, so in a
    basic block, which has two, the second gets the dilation of its own stage.
    """
    for i, (block, dilation) in enumerate(zip(stage, dilations, strict=True)):
        spatial = [m for m in block.modules() if getattr(m, "kernel_size", None) == (3, 3)]
        for j, conv in enumerate(spatial):
            rate = first if i == j == 0 else dilation
            conv.dilation = conv.padding = (rate, rate)
        if not keep_stride:
            for conv in block.modules():
                if isinstance(conv, nn.Conv2d):
                    conv.stride = (1, 1)


def _check(found, known: tuple, what: str) -> None:
    if found not in known:
        raise ValueError(f"expected as {what} one of {known}, got {found!r}")
