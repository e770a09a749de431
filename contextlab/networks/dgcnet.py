"""DGCNet: a dilated ResNet with multi-grid under a head in whose middle two graphs stand.

    x -> CBR 3x3 -> dual graph -> CBR 3x3 -+-> CBR 3x3 -> 1x1
    |                                      |
    +------------------------------------> concatenate

CBR is convolution, batch norm, ReLU. Zhang, Li, Arnab, Yang, Tong, Torr: Dual Graph Convolutional
Network for Semantic Segmentation, BMVC 2019, https://arxiv.org/abs/1909.06121
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from contextlab.backbones import DilatedResNet
from contextlab.backbones.course import conv_bn_relu
from contextlab.modules import context
from contextlab.modules.dual_gcn import OFFICIAL, REPRODUCTION

from ._shared import HeadNetwork, auxiliary_head, classifier, number, settle

__all__ = ["DGCNetHead", "dgcnet", "dgcnet_report"]

#: options of the module by form
FORMS = {"paper": {}, "code": OFFICIAL}


class DGCNetHead(nn.Module):
    """The dual graph between two convolutions, and a third that sees the head's input again.

    Args:
        channels: channels of the backbone's last map.
        classes: number of classes.
        form: of the dual graph: "paper", or "code" as in the official code.
        width: channels of the module; a quarter of ``channels`` unless given (512 of 2048).
        dropout: share of channels dropped before the classifier; the official code drops none.
        options: of :class:`contextlab.modules.DualGraph`, in place of the form's own.

    Shape:
        map ``b channels h w`` -> logits ``b classes h w``.

    Cost:
        With 2048 channels, 19 classes and 96 x 96: "code" 25,152,787 parameters and 226.11 GMACs,
        of which the module has 1,547,008 and 8.59. Nine tenths of the rest are the two convolutions
        that read 2048 channels and more. "paper" 24,607,891 and 221.26.

    Raises:
        ValueError: an option does not fit.

    Example:
        >>> DGCNetHead(128, 19).eval()(torch.rand(2, 128, 19, 7)).shape
        torch.Size([2, 19, 19, 7])
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        form: str = "paper",
        width: int | None = None,
        dropout: float = 0.0,
        **options,
    ) -> None:
        super().__init__()
        usual, width = settle(FORMS, form, channels, classes, width)
        self.reduce = conv_bn_relu(channels, width, 3)
        self.context = context("dual_graph", width, **{**usual, **options})
        self.fuse = conv_bn_relu(width, width, 3)
        self.join = conv_bn_relu(channels + width, width, 3)
        self.classifier = classifier(width, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``b channels h w`` -> logits ``b classes h w``."""
        y = self.fuse(self.context(self.reduce(x)))
        return self.classifier(self.join(torch.cat([x, y], dim=1)))


def dgcnet(
    classes: int | Sequence[str],
    *,
    depth: int = 50,
    form: str = "paper",
    weights: str | Path = "imagenet",
    stem: str = "deep",
    multi_grid: Sequence[int] | None = (1, 2, 4),
    auxiliary: bool = True,
    dropout: float = 0.0,
    auxiliary_dropout: float = 0.1,
    align_corners: bool = False,
    **options,
) -> HeadNetwork:
    """DGCNet: ResNet at output stride 8 with dilations 4, 8, 16 at its end, and `DGCNetHead`.

    The auxiliary head is the official code's: on the last but one map a 3x3 with a bias to half of
    its channels, batch norm, no ReLU, dropout, 1x1. Its loss has the weight 0.4 and is the plain
    mean, also where hard pixels are mined (``training.OHEM["dgcnet"]``).

    Args:
        classes: number of classes, or their names.
        depth: of the ResNet; the sources have 50 and 101.
        form: of the dual graph, "paper" or "code".
        weights: of the backbone: the path of a .safetensors file, "random" or "imagenet". For the
            sources' stem timm has none; it has some for ``stem="plain"`` and ``"deep32"``.
        stem: see :class:`contextlab.backbones.DilatedResNet`.
        multi_grid: factors of the last stage's dilation, or None; it is one of the paper's tricks.
        auxiliary: attach the auxiliary head.
        dropout: share of channels dropped before the classifier.
        auxiliary_dropout: the same before the auxiliary one.
        align_corners: of the resized logits; the official code has it.
        options: of :class:`contextlab.modules.DualGraph`.

    Returns:
        The network; see :class:`HeadNetwork` for what it returns. With 19 classes and the form
        "code" it has 53.51 M parameters (101: 72.51 M), and needs 466.3 GMACs (640.8) for an image
        of 768 x 768.

    Raises:
        ValueError: an option does not fit, or there are no such weights.

    Example:
        >>> with torch.device("meta"):
        ...     model = dgcnet(19, weights="random").eval()
        >>> model(torch.empty(1, 3, 769, 769, device="meta")).shape
        torch.Size([1, 19, 769, 769])

    Differs from the official code:
        Its max-pool rounds up; ours does not. The maps of images with sides of 8 k + 1 pixels have
        the same sizes in both. ``form="code", align_corners=True`` is the rest of it.
    """
    classes = number(classes)
    net = DilatedResNet(f"resnet{depth}", weights=weights, stem=stem, multi_grid=multi_grid)
    head = DGCNetHead(net.channels[-1], classes, form=form, dropout=dropout, **options)
    extra = None
    if auxiliary:
        width = net.channels[-2] // 2
        options = {"dropout": auxiliary_dropout, "bias": True, "relu": False}
        extra = auxiliary_head(net, classes, width, **options)
    return HeadNetwork(net, classes, head, extra, align_corners=align_corners)


def dgcnet_report(
    classes: int | Sequence[str] = 20,
    *,
    weights: str | Path = "imagenet",
    dropout: float = 0.0,
) -> HeadNetwork:
    """A reproduction of DGCNet, built as its report says; the report's figures are in `costs`.

    Neither the backbone nor the head is the paper's: torchvision's FCN with a ResNet-50 (the report
    says 101), and between the second and the third block of its last stage, on 2048 channels, the
    two graphs one after the other. Class 0 is "others" and is ignored.

    Args:
        classes: number of classes, or their names; the report has 19 and "others".
        weights: of the backbone: "imagenet", "random", or the path of a .safetensors file. The
            report began with torchvision's, trained on COCO.
        dropout: share of the numbers dropped before the classifier; the report's code drops none,
            where torchvision's FCN has 0.1.

    Returns:
        The network, with no auxiliary head.

    Example:
        >>> with torch.device("meta"):
        ...     model = dgcnet_report(weights="random")
        >>> [type(block).__name__ for block in model.backbone.layer4]
        ['Bottleneck', 'Bottleneck', 'DualGraph', 'Bottleneck']
    """
    classes = number(classes)
    net = DilatedResNet("resnet50", weights=weights, convention="encoding")
    channels = net.channels[-1]
    net.layer4.insert(2, context("dual_graph", channels, **REPRODUCTION))
    width = channels // 4
    head = [conv_bn_relu(channels, width, 3), nn.Dropout(dropout), nn.Conv2d(width, classes, 1)]
    return HeadNetwork(net, classes, nn.Sequential(*head))
