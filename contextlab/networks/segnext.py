"""SegNeXt: convolutions that attend, and a Hamburger over their maps at three scales.

    maps /8, /16, /32 -> resize to /8 -> concatenate -> 1x1, GN, ReLU      -> width
                      -> Hamburger (NMF), its norm GN                      -> width
                      -> 1x1, GN, ReLU -> dropout -> 1x1 -> resize         -> classes

GN is group norm with 32 groups. The head is called LightHam; the map of stride 4 is not used.

Guo, Lu, Hou, Liu, Cheng, Hu: SegNeXt: Rethinking Convolutional Attention Design for Semantic
Segmentation, NeurIPS 2022, https://arxiv.org/abs/2209.08575
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contextlab.backbones import backbone as build_backbone
from contextlab.modules import Hamburger
from contextlab.modules import context as build_context

from ._shared import Network, classifier, number, three_maps

__all__ = ["LightHam", "SegNeXt", "segnext"]

#: options of the Hamburger in SegNeXt-T and S, as their code has them
OPTIONS = {"hamburger": {"rank": 16, "eval_steps": 7, "gradient": "full"}}


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, or as many as divide the channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def conv_group_relu(inputs: int, outputs: int) -> nn.Sequential:
    """1x1, group norm, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), group_norm(outputs), nn.ReLU())


class LightHam(nn.Module):
    """The maps of a backbone at one size, side by side, and a Hamburger on what is made of them.

    Args:
        channels: of the maps.
        classes: number of classes.
        width: channels of the Hamburger.
        context: "hamburger"; another context module's name, or None, to compare it with.
        dropout: share of channels dropped before the classifier.
        options: of the context module, in place of SegNeXt's.

    Shape:
        maps ``b c h w``, finest first -> logits ``b classes h w`` of the first map's size.

    Cost:
        In SegNeXt-T with 150 classes: 359,830 parameters and, at 64 x 64, 1.77 GMACs, of which the
        factorisation has 0.30.

    Raises:
        ValueError: an option does not fit.

    Example:
        >>> maps = [torch.rand(2, 64, 8, 16), torch.rand(2, 160, 4, 8), torch.rand(2, 256, 2, 4)]
        >>> LightHam((64, 160, 256), 19)(maps).shape
        torch.Size([2, 19, 8, 16])

    Differs from the official code:
        That draws the first atoms anew in every call, at inference too: ``start="fresh"``.
    """

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        *,
        width: int = 256,
        context: str | None = "hamburger",
        dropout: float = 0.1,
        **options,
    ) -> None:
        super().__init__()
        if width < 1 or classes < 1:
            raise ValueError(f"expected width and classes >= 1, got {width} and {classes}")
        if context is None and options:
            raise ValueError(f"expected a context for its options, got None and {options}")
        options = OPTIONS.get(context, {}) | options
        self.squeeze = conv_group_relu(sum(channels), width)
        self.context = build_context(context, width, **options) if context else nn.Identity()
        if isinstance(self.context, Hamburger):
            self.context.norm = group_norm(width)
        self.align = conv_group_relu(width, width)
        self.classifier = classifier(width, classes, dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, finest first -> logits ``b classes h w``."""
        size = maps[0].shape[2:]
        x = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps]
        return self.classifier(self.align(self.context(self.squeeze(torch.cat(x, 1)))))


class SegNeXt(Network):
    """A backbone, and :class:`LightHam` over all of its maps.

    Args:
        backbone: see :mod:`contextlab.backbones`; SegNeXt's are the MSCANs, at 1/8, 1/16 and 1/32.
        classes: number of classes.
        options: of :class:`LightHam`.

    Shape:
        image ``b 3 h w`` in [0, 1] -> logits ``b classes h w``.

    Example:
        >>> from contextlab.backbones import backbone
        >>> model = SegNeXt(backbone("df2", width=0.125), 13, width=64)
        >>> model(torch.rand(2, 3, 65, 96)).shape
        torch.Size([2, 13, 65, 96])
    """

    def __init__(self, backbone: nn.Module, classes: int, **options) -> None:
        super().__init__(backbone, classes)
        self.head = LightHam(backbone.channels, classes, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Image ``b 3 h w`` -> logits ``b classes h w``."""
        return self.answer(x, self.head(self.maps(x)))


def segnext(
    classes: int | Sequence[str],
    *,
    backbone: str = "mscan_t",
    backbone_options: Mapping | None = None,
    context: str | None = "hamburger",
    context_options: Mapping | None = None,
    **options,
) -> SegNeXt:
    """Build SegNeXt from names; SegNeXt-T unless told otherwise.

    Args:
        classes: number of classes, or their names.
        backbone: name for :func:`contextlab.backbones.backbone`; "mscan_s" makes SegNeXt-S.
        backbone_options: its options (``weights``, ``drop_path``, ...); its maps of strides 8, 16
            and 32 are taken unless they say otherwise.
        context: of :class:`LightHam`.
        context_options: its options.
        options: ``width`` and ``dropout`` of :class:`LightHam`.

    Example:
        >>> with torch.device("meta"):
        ...     model = segnext(150)
        >>> sum(p.numel() for p in model.parameters())
        4263414
    """
    net = build_backbone(backbone, **three_maps(backbone) | dict(backbone_options or {}))
    return SegNeXt(net, number(classes), context=context, **options, **(context_options or {}))
