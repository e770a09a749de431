"""DFSeg: a real-time network, whose context stands on the coarsest map and is carried up by fusion.

    image -> normalise -> backbone -> finest ... middle    coarsest
                                         |         |           |
                                         |         |        context  (pyramid pooling, or SR)
                                        1x1       1x1         1x1
                                         |         v           |
                                         |       fusion <------+
                                         v         |
                                       fusion <----+
                                         |
                              3x3, BN, ReLU -> dropout -> 1x1 -> resize

    fusion(fine, coarse) = W * [fine, up(coarse)],   a 3x3 and nothing more

The context costs little here: the coarsest map has 1/32 of the image's height and width. SRNet's
real-time network is this one with Squeeze Reasoning where DFSeg has the pyramid.

Li, Zhou, Pan, Feng: Partial Order Pruning, CVPR 2019, https://arxiv.org/abs/1903.03777; Li et al.:
Towards Efficient Scene Understanding via Squeeze Reasoning, TIP 2021, section IV and Table V.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from contextlab.backbones import backbone as build_backbone
from contextlab.backbones.course import conv_bn_relu
from contextlab.modules import context as build_context

from ._shared import Network, classifier, number

__all__ = ["DFSeg", "realtime"]


class DFSeg(Network):
    """Context on the coarsest map of a backbone, and its other maps fused in from coarse to fine.

    Args:
        backbone: one with two maps or more, finest first, such as
            :class:`contextlab.backbones.DFNet`.
        classes: number of classes.
        context: name of a context module for the coarsest map, or None. Pyramid pooling ends with
            ``width`` channels and a 1x1; every other module keeps the channels of its map.
        context_options: its options.
        width: channels of the maps that are fused; a quarter of the coarsest map's unless given,
            which is 128 for DF1 and DF2.
        dropout: share of channels dropped before the classifier.
        align_corners: of all resizing: the fusions, the logits and the pyramid.

    Shape:
        image ``b 3 h w`` in [0, 1] -> logits ``b classes h w``. With pyramid pooling, whose one
        bin is normalised over the batch, training needs at least two images.

    Cost:
        On DF2 with 19 classes and 1024 x 2048: 18.825 M parameters and 97.15 GMACs with the
        pyramid, 18.874 M and 97.79 with Squeeze Reasoning, 18.480 M and 96.98 without context.

    Raises:
        ValueError: an option, the backbone or the image does not fit.

    Example:
        >>> import torch
        >>> from contextlab.backbones import backbone
        >>> model = DFSeg(backbone("df2", width=0.25), 13)
        >>> model(torch.rand(2, 3, 65, 130)).shape
        torch.Size([2, 13, 65, 130])

    Differs from the official code:
        Outside training that code halves the image inside ``forward`` and resizes the logits back,
        so that its frames per second for 1024 x 2048 may be those of 512 x 1024. This network
        computes on the image that it gets. All its resizing aligns the corners, and its pyramid has
        no ReLU behind the bins: ``align_corners=True, context_options={"stage_relu": False}``, and
        0.1 for the pyramid's ``dropout``. One edition pads the pyramid's 1x1 by a pixel, so that
        this map alone is two pixels larger. It concatenates in the opposite order, coarse and fine.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        *,
        context: str | None = "pyramid_pooling",
        context_options: Mapping | None = None,
        width: int | None = None,
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(backbone, classes, align_corners=align_corners)
        *finer, coarsest = backbone.channels
        width = coarsest // 4 if width is None else width
        if not finer or width < 1:
            raise ValueError(
                "expected a backbone with two maps or more and width >= 1, "
                f"got {len(backbone.channels)} and {width}"
            )
        options = dict(context_options or {})
        if options and context is None:
            raise ValueError(f"expected a context for context_options, got None and {options}")
        if context == "pyramid_pooling":
            usual = {"out_channels": width, "kernel": 1, "align_corners": align_corners}
            options = usual | options
        self.context = build_context(context, coarsest, **options) if context else nn.Identity()
        pooled = options.get("out_channels", coarsest)
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in (*finer, pooled))
        self.fusions = nn.ModuleList(
            nn.Conv2d(2 * width, width, 3, padding=1, bias=False) for _ in finer
        )
        self.head = conv_bn_relu(width, 2 * width, 3, bias=True)
        self.classifier = classifier(2 * width, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Image ``b 3 h w`` -> logits ``b classes h w``."""
        *finer, coarsest = self.maps(x)
        *laterals, last = self.laterals
        up = last(self.context(coarsest))
        for map, lateral, fusion in reversed(list(zip(finer, laterals, self.fusions, strict=True))):
            up = fusion(torch.cat([lateral(map), self.resize(up, map)], dim=1))
        return self.answer(x, self.classifier(self.head(up)))


def realtime(
    classes: int | Sequence[str],
    *,
    backbone: str = "df2",
    backbone_options: Mapping | None = None,
    context: str | None = "pyramid_pooling",
    context_options: Mapping | None = None,
    **options,
) -> DFSeg:
    """Build a real-time network from names.

    Args:
        classes: number of classes, or their names.
        backbone: name for :func:`contextlab.backbones.backbone`.
        backbone_options: its options (``width``, ``stem_stride``, ...).
        context: "pyramid_pooling" for DFSeg, "squeeze_reasoning" for SRNet's real-time network,
            another module's name, or None.
        context_options: its options.
        options: ``width``, ``dropout`` and ``align_corners`` of :class:`DFSeg`.

    Example:
        >>> model = realtime(13, backbone_options={"width": 0.25}, context="squeeze_reasoning")
        >>> type(model.context).__name__
        'SqueezeReasoning'
    """
    return DFSeg(
        build_backbone(backbone, **(backbone_options or {})),
        number(classes),
        context=context,
        context_options=context_options,
        **options,
    )
