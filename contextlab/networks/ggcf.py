"""GGCF: a backbone at output stride 8 under a head that asks along graphs.

    x' -> CBR 3x3 -> x -> heads -> y -+-> dropout, 1x1
                     |                |
                     +-> concatenate -+

    logits = W [x, y],    y_i = Σ_k W_k / C_ik Σ_j E_k(i, j) A_k(x_i, x_j) g(x_j)

CBR is convolution, batch norm, ReLU. The classifier reads x and y side by side, at once: here the
1x1 with which the module alone brings both back to the channels of x is not used.

Li, Yang, Chen, Wen: Graph Guided Context Fusion for Semantic Segmentation.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from contextlab.backbones.course import conv_bn_relu
from contextlab.modules import context
from contextlab.modules.graph_guided import SIX

from ._shared import HeadNetwork, auxiliary_head, classifier, head_width, number, trunk

__all__ = ["GGCFHead", "ggcf"]

_CITYSCAPES = {
    "steps": 50_000,
    "batch": 8,
    "optimiser": "sgd",
    "lr": 0.02,
    "weight_decay": 5e-4,
    "momentum": 0.9,
    "power": 2.0,
    "auxiliary_weight": 0.4,
    "scale": (0.5, 1.5),
    "crop": (769, 769),
}
#: By the name of a table of the paper: "network" has options of :func:`ggcf` and "training" of
#: ``contextlab.training.Recipe``. Not printed, and so chosen: the weight of the auxiliary loss,
#: the crop on ADE20K, and of the test set the number of steps, the factors of multi-grid (the
#: backbone has two blocks where a ResNet has three) and the numbers of OHEM (``OHEM["dgcnet"]``).
RECIPES: dict[str, dict[str, dict]] = {
    "Cityscapes": {"network": {"depth": 101}, "training": _CITYSCAPES},
    # 900,000 steps is what the paper prints; 90,000 would be usual
    "ADE20K": {
        "network": {"depth": 50},
        "training": {**_CITYSCAPES, "steps": 900_000, "power": 0.9},
    },
    # trained on the fine and the coarse annotations, from weights of Mapillary Vistas
    "Cityscapes test": {
        "network": {"backbone": "wider_resnet38", "multi_grid": (1, 2)},
        "training": {
            **_CITYSCAPES,
            "scale": (0.7, 2.0),
            "aspect": (0.9, 1.1),
            "crop": (1024, 1024),
            "ohem": (0.7, 100_000),
        },
    },
}


class GGCFHead(nn.Module):
    """Reduction, graph guided context fusion, and a classifier that reads x and y.

    Args:
        channels: channels of the backbone's last map.
        classes: number of classes.
        heads: the graphs, see :class:`contextlab.modules.GraphGuided`.
        width: channels of the module; a quarter of ``channels`` unless given (512 of 2048).
        dropout: share of channels dropped before the classifier.
        options: of :class:`contextlab.modules.GraphGuided`, but for ``fuse``.

    Shape:
        map ``b channels h w`` -> logits ``b classes h w``.

    Cost:
        With 2048 channels, 19 classes and 96 x 96: 11,951,891 parameters and 125.19 GMACs, of which
        the module has 2,494,208 and 38.04: 22.95 of its projections, 15.09 along its edges. One
        head FULL: 525,568 and 48.32. LOCAL heads run by blocks and multiply by zero what lies
        outside of a window, 5.25 more.

    Raises:
        ValueError: an option does not fit.

    Example:
        >>> GGCFHead(128, 19, heads=("LOCAL_2", "GRID_3")).eval()(torch.rand(2, 128, 9, 7)).shape
        torch.Size([2, 19, 9, 7])

    Differs from the official code:
        None is known. The paper prints neither the reduction nor a width nor the dropout.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        heads: Sequence[str] = SIX,
        width: int | None = None,
        dropout: float = 0.1,
        **options,
    ) -> None:
        super().__init__()
        width = channels // 4 if width is None else width
        if width < 1 or classes < 1:
            raise ValueError(f"expected width and classes >= 1, got {width} and {classes}")
        if "fuse" in options:
            raise ValueError(
                f"the classifier reads x and y side by side; expected no fuse, got "
                f"{options['fuse']!r}"
            )
        self.reduce = conv_bn_relu(channels, width, 3)
        # "add" has no 1x1 of its own; without a zero start y is there from the first step
        options = {"fuse": "add", "zero_init": False, **options}
        self.context = context("graph_guided", width, heads=heads, **options)
        self.classifier = classifier(2 * width, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``b channels h w`` -> logits ``b classes h w``."""
        x = self.reduce(x)
        return self.classifier(torch.cat([x, self.context.context(x)], dim=1))


def ggcf(
    classes: int | Sequence[str],
    *,
    depth: int = 101,
    backbone: str | nn.Module = "resnet",
    heads: Sequence[str] = SIX,
    weights: str | Path = "imagenet",
    stem: str = "plain",
    multi_grid: Sequence[int] | None = None,
    auxiliary: bool = True,
    dropout: float = 0.1,
    auxiliary_dropout: float | None = None,
    align_corners: bool = False,
    **options,
) -> HeadNetwork:
    """GGCF: ResNet or Wider-ResNet-38 at output stride 8, and :class:`GGCFHead`.

    The auxiliary head is SRNet's: on the last but one map a 3x3 with a bias to a quarter of its
    channels, batch norm, ReLU, dropout, 1x1. The paper says that there is one and no more.

    How the paper trains it stands in `RECIPES`:

        settings = RECIPES["Cityscapes"]
        model, recipe = ggcf(19, **settings["network"]), Recipe(**settings["training"])

    Args:
        classes: number of classes, or their names.
        depth: of the ResNet; the paper has 101, on ADE20K 50.
        backbone: "resnet", "wider_resnet38" (for the test set), or one that is built, with two maps
            or more; its own options then stand in place of depth, weights, stem and grid.
        heads: the graphs.
        weights: of the backbone: "imagenet", "random", or the path of a local file.
        stem: see :class:`contextlab.backbones.DilatedResNet`; the paper says nothing of it.
        multi_grid: factors of the last dilations, three for a ResNet and two for Wider-ResNet-38.
        auxiliary: attach the auxiliary head.
        dropout: share of channels dropped before the classifier.
        auxiliary_dropout: the same before the auxiliary one; as many unless given.
        align_corners: of the resized logits.
        options: of :class:`contextlab.modules.GraphGuided`, and the ``width`` of the head: half of
            the last but one map unless given (512). Context pruning is set on a trained network:
            ``model.head.context.keep = 0.5``.

    Returns:
        The network; see :class:`HeadNetwork` for what it returns. With 19 classes it has 56.82 M
        parameters (ResNet-50: 37.82 M, Wider-ResNet-38: 128.82 M), and needs 524.0 GMACs (349.4,
        1384.9) for an image of 768 x 768.

    Raises:
        ValueError: an option does not fit, or there are no such weights.

    Example:
        >>> with torch.device("meta"):
        ...     model = ggcf(19, weights="random").eval()
        >>> model(torch.empty(1, 3, 769, 769, device="meta")).shape
        torch.Size([1, 19, 769, 769])
    """
    classes = number(classes)
    net = trunk(backbone, depth, weights=weights, stem=stem, multi_grid=multi_grid)
    options = {"width": head_width(net), **options}
    head = GGCFHead(net.channels[-1], classes, heads=heads, dropout=dropout, **options)
    extra = None
    if auxiliary:
        share = dropout if auxiliary_dropout is None else auxiliary_dropout
        width = net.channels[-2] // 4
        extra = auxiliary_head(net, classes, width, dropout=share, bias=True)
    return HeadNetwork(net, classes, head, extra, align_corners=align_corners)
