"""CGRSeg: rows and columns at every scale, a pyramid that gates them, and prototypes of classes.

    maps /8, /16, /32
      |      \\________ pool to /64, concatenate -> RCM x L -> split: P_8, P_16, P_32
      |
      |  /32: y_32 = gate( RCM( x_32 ), P_32 )
      |  /16: y_16 = gate( RCM( x_16 + W up(y_32) ), P_16 )
      |  /8:  y_8  = gate( RCM( x_8  + W up(y_16) ), P_8 )
      |
      +-> head( y_8 ) -> resize

    gate(x, P) = BN(U x) ⊙ up( h( BN(V P) ) ),    h(z) = min(max(z + 3, 0), 6) / 6

The first line is the pyramid context extraction, the three below are the spatial feature
reconstruction. RCM is :class:`contextlab.modules.RectangularCalibration`; the head is
:class:`contextlab.modules.DynamicPrototypeHead`, the dynamic prototype guided head. The context is
never added to a map: it only says how much of each channel passes where.

           backbone              channels         width    L    strips
    t      EfficientFormerV2-S1   48, 120, 224    128      5    11
    b      EfficientFormerV2-S2   64, 144, 288    256      5    11
    l      EfficientFormerV2-L    80, 192, 384    256      5     9

Ni, Chen, Zhai, Tang, Wang: Context-Guided Spatial Feature Reconstruction for Efficient Semantic
Segmentation, ECCV 2024, https://arxiv.org/abs/2405.06228
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contextlab.backbones import backbone as build_backbone
from contextlab.modules import DynamicPrototypeHead, RectangularCalibration
from contextlab.modules import context as build_context

from ._shared import Network, classifier, number, three_maps

__all__ = ["CGRSeg", "ContextHead", "PyramidContext", "Reconstruction", "cgrseg"]

#: options of :func:`cgrseg` by variant
VARIANTS = {
    "t": {"backbone": "efficientformerv2_s1", "width": 128, "blocks": 5, "strip": 11},
    "b": {"backbone": "efficientformerv2_s2", "width": 256, "blocks": 5, "strip": 11},
    "l": {"backbone": "efficientformerv2_l", "width": 256, "blocks": 5, "strip": 9},
    "small": {"backbone": "course_pyramid", "width": 48, "blocks": 2, "strip": 7},
}
_ADE20K = {
    "steps": 160_000,
    "batch": 16,
    "optimiser": "adamw",
    "lr": 1.2e-4,
    "weight_decay": 0.01,
    "warmup": 1_500,
    "power": 1.0,
    "head_factor": 10.0,
    "scale": (0.5, 2.0),
    "crop": (512, 512),
    "class_cap": 0.75,
}
#: By data set, for every variant: options of ``contextlab.training.Recipe``. Images are first
#: resized to a shorter side of 512 (Pascal Context: a longer one of 520); the code also disturbs
#: their colours, which is not done here. Dropped paths are the backbone's, by timm's shares, as in
#: the code: 0 for T, 0.02 for B, 0.1 for L; none in the decoder. Norms and biases do not decay, nor
#: does anything else of one dimension; tables of biases and the γ of a calibrating block decay. In
#: the code names decide: of the backbone, what is called a norm does not decay; all the rest does.
RECIPES: dict[str, dict] = {
    "ADE20K": _ADE20K,
    "COCO-Stuff": {**_ADE20K, "steps": 80_000, "batch": 8},
    "Pascal Context": {**_ADE20K, "steps": 80_000, "lr": 6e-5, "crop": (480, 480)},
}
PYRAMIDS = ("calibrated", "convolution", "shuffled", "none")
#: options of the modules of the paper's comparison of heads that meet its figures
HEADS = {
    "dual_attention": {"reduction": 2, "kernel": None},
    "gcnet": {"reduction": 4},
    "non_local": {"norm": False},
}


def conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    """1x1 and batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the height and width of ``like``."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class PyramidContext(nn.Module):
    """All maps, pooled to half the coarsest and side by side, through blocks that mix them.

        [P_1, ..., P_n] = RCM^L( [pool(x_1), ..., pool(x_n)] )

    Args:
        channels: of the maps; every block has their sum.
        blocks: L.
        block: makes a block from its channels.
        kind: "calibrated" as above; "convolution" for one 1x1, batch norm and ReLU in place of the
            blocks, the paper's baseline; "shuffled" as above, but each image gets the context of
            the one before it in the batch.

    Shape:
        maps ``b c h w``, finest first -> as many ``b c h' w'`` with h' = ceil(h / 2) of the last.
    """

    def __init__(self, channels: Sequence[int], blocks: int, block, kind: str) -> None:
        super().__init__()
        self.channels, self.kind, total = tuple(channels), kind, sum(channels)
        self.blocks = nn.Sequential(*(block(total) for _ in range(blocks)))
        if kind == "convolution":
            self.blocks = nn.Sequential(*conv_norm(total, total), nn.ReLU())

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps -> their contexts."""
        size = [(side + 1) // 2 for side in maps[-1].shape[2:]]
        pooled = torch.cat([F.adaptive_avg_pool2d(x, size) for x in maps], 1)
        context = self.blocks(pooled)
        if self.kind == "shuffled":
            if len(context) < 2:
                raise ValueError("a shuffled context needs at least 2 images in a batch, got 1")
            context = context.roll(1, 0)
        return context.split(self.channels, 1)


class Reconstruction(nn.Module):
    """One scale: what comes from the coarser one is added, calibrated, and gated by the context.

        y = BN(U z) ⊙ up( h( BN(V P) ) ),    z = RCM( x + W up(y') )

    Args:
        channels: of the map x.
        width: channels of y and of y', which the coarser scale has made.
        block: makes the calibrating block from its channels; None leaves z as it is.
        coarser: whether there is a coarser scale.
        gated: whether there is a context P; without one y = BN(U z).

    Shape:
        x ``b c h w``, P ``b c h' w'`` or None, y' ``b width h'' w''`` or None -> ``b width h w``.
    """

    def __init__(self, channels: int, width: int, block, *, coarser: bool, gated: bool) -> None:
        super().__init__()
        self.carry = nn.Conv2d(width, channels, 1) if coarser else None
        self.calibrate = block(channels) if block else nn.Identity()
        self.project = conv_norm(channels, width)
        self.gate = nn.Sequential(*conv_norm(channels, width), nn.Hardsigmoid()) if gated else None

    def forward(self, x: Tensor, context: Tensor | None, coarser: Tensor | None) -> Tensor:
        """``b c h w -> b width h w``."""
        if coarser is not None:
            x = x + self.carry(resize(coarser, x))
        y = self.project(self.calibrate(x))
        return y if context is None else y * resize(self.gate(context), y)


class ContextHead(nn.Module):
    """A context module by name, dropout, and a 1x1: the other heads of the paper's comparison.

    Args:
        channels: channels of the map.
        classes: number of classes.
        context: name of a context module, or None for the classifier alone.
        dropout: share of channels dropped before the classifier.
        options: of the context module.

    Shape:
        map ``b c h w`` -> logits ``b classes h w``; with ``coarse=True``, which takes a module
        that has a classifier of regions, to the pair of logits and region logits.
    """

    def __init__(
        self, channels: int, classes: int, *, context: str | None, dropout: float = 0.1, **options
    ) -> None:
        super().__init__()
        if context is None and options:
            raise ValueError(f"expected a context for context_options, got None and {options}")
        options = HEADS.get(context, {}) | options
        self.context = build_context(context, channels, **options) if context else nn.Identity()
        self.classifier = classifier(channels, classes, dropout)

    def forward(self, x: Tensor, *, coarse: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """``b c h w -> b classes h w``."""
        if not coarse:
            return self.classifier(self.context(x))
        regions = self.context.classifier(x)
        return self.classifier(self.context(x, regions)), regions


class CGRSeg(Network):
    """A backbone with three maps, a pyramid of their contexts, reconstruction, and a head.

    Args:
        backbone: one with two maps or more, finest first; see :mod:`contextlab.backbones`.
        classes: number of classes.
        width: channels of the reconstructed maps, and of the head's.
        blocks: L, calibrating blocks on the pyramid's context.
        strip: length of the strips in all blocks; of the mixer "rectangular_attention" alone.
        mixer: of all blocks, the pyramid's and the reconstruction's; see
            :class:`contextlab.modules.RectangularCalibration`.
        mixer_options: its options, such as ``{"gather": "multiply"}``.
        pyramid: "calibrated"; "convolution", one 1x1 for the blocks, which is the paper's network
            without them; "shuffled", the context of another image of the batch, for control;
            "none", no context and so no gates.
        reconstruct: whether the maps are calibrated; without, they are added, projected and gated.
        head: "dynamic_prototype" for the paper's; another context module's name for
            :class:`ContextHead`; None for a classifier alone.
        head_options: of the head, or of its context module.
        supervise: in training return the coarse logits, by which the head finds its regions, as
            auxiliary ones; the head must have some.
        dropout: share of channels dropped before the classifier.
        drop_path: of all blocks.

    Shape:
        image ``b 3 h w`` in [0, 1] -> logits ``b classes h w``; in training with ``supervise`` the
        pair (logits, coarse logits).

    Cost:
        With 150 classes at 512 x 512: T 9.365 M parameters and 4.52 GMACs, B 18.110 and 8.52, L
        35.678 and 16.11. The paper counts neither products of matrices nor norms: 4.00, 7.6, 14.9.

    Raises:
        ValueError: an option, the backbone or the image does not fit.

    Example:
        >>> from contextlab.backbones import backbone
        >>> model = CGRSeg(backbone("course_pyramid"), 13, width=48, blocks=2, strip=7)
        >>> model(torch.rand(2, 3, 61, 127)).shape
        torch.Size([2, 13, 61, 127])

    Differs from the official code:
        In nothing for T and L. Its configuration of B has 6 blocks (``blocks=6``, 19.115 M), the
        published figures need 5. Batch norm is plain, not synchronised.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        *,
        width: int = 128,
        blocks: int = 5,
        strip: int = 11,
        mixer: str = "rectangular_attention",
        mixer_options: Mapping | None = None,
        pyramid: str = "calibrated",
        reconstruct: bool = True,
        head: str | None = "dynamic_prototype",
        head_options: Mapping | None = None,
        supervise: bool = False,
        dropout: float = 0.1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(backbone, classes)
        channels = backbone.channels
        if len(channels) < 2 or width < 1 or blocks < 1:
            raise ValueError(
                "expected a backbone with two maps or more and width and blocks >= 1, "
                f"got {len(channels)}, {width} and {blocks}"
            )
        if pyramid not in PYRAMIDS:
            raise ValueError(f"expected a pyramid of {', '.join(PYRAMIDS)}, got {pyramid!r}")
        options = {"strip": strip} if mixer == "rectangular_attention" else {}
        block = partial(
            RectangularCalibration,
            mixer=mixer,
            mixer_options=options | dict(mixer_options or {}),
            drop_path=drop_path,
        )
        gated = pyramid != "none"
        self.pyramid = PyramidContext(channels, blocks, block, pyramid) if gated else None
        self.levels = nn.ModuleList(
            Reconstruction(
                c, width, block if reconstruct else None, coarser=i < len(channels), gated=gated
            )
            for i, c in enumerate(channels, 1)
        )
        options, kind = dict(head_options or {}), partial(ContextHead, context=head)
        if head == "dynamic_prototype":
            kind = DynamicPrototypeHead
            # In a slot the module is told how many regions there are; here they are the classes.
            if (regions := options.pop("regions", classes)) != classes:
                raise ValueError(f"expected as many regions as classes, {classes}, got {regions}")
        self.head = kind(width, classes, dropout=dropout, **options)
        self.supervise = supervise
        if supervise and not _has_coarse(self.head):
            raise ValueError(f"the head {head!r} has no coarse logits: pass supervise=False")

    def features(self, x: Tensor) -> Tensor:
        """The map that enters the head: image ``b 3 h w`` -> ``b width h/8 w/8``."""
        maps = self.maps(x)
        contexts = self.pyramid(maps) if self.pyramid else [None] * len(maps)
        y = None
        for level, x, context in reversed(list(zip(self.levels, maps, contexts, strict=True))):
            y = level(x, context, y)
        return y

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Image ``b 3 h w`` -> logits ``b classes h w`` (more in training, see above)."""
        y = self.features(x)
        if self.training and self.supervise:
            return self.answer(x, *self.head(y, coarse=True))
        return self.answer(x, self.head(y))


def cgrseg(
    classes: int | Sequence[str],
    variant: str = "t",
    *,
    backbone: str | None = None,
    backbone_options: Mapping | None = None,
    context: str | None = "dynamic_prototype",
    context_options: Mapping | None = None,
    **options,
) -> CGRSeg:
    """Build CGRSeg from names; how the paper trains it stands in `RECIPES`.

    Args:
        classes: number of classes, or their names.
        variant: "t", "b" or "l", or "small", which two processor cores train in minutes.
        backbone: name for :func:`contextlab.backbones.backbone`, in place of the variant's.
        backbone_options: its options (``weights``, ``drop_path``, ...); its maps of strides 8, 16
            and 32 are taken unless they say otherwise, and EfficientFormer has tables for 512, as
            the published figures need.
        context: the ``head`` of :class:`CGRSeg`.
        context_options: its ``head_options``.
        options: of :class:`CGRSeg`, in place of the variant's.

    Example:
        >>> with torch.device("meta"):
        ...     model = cgrseg(150, "t", backbone_options={"weights": "random"})
        >>> sum(p.numel() for p in model.parameters())
        9364647
    """
    if variant not in VARIANTS:
        raise ValueError(f"expected a variant of {', '.join(VARIANTS)}, got {variant!r}")
    usual = dict(VARIANTS[variant])
    backbone = usual.pop("backbone") if backbone is None else backbone
    usual.pop("backbone", None)
    chosen = three_maps(backbone) | dict(backbone_options or {})
    if backbone.startswith("efficientformer"):
        chosen = {"image_size": 512} | chosen
    net = build_backbone(backbone, **chosen)
    return CGRSeg(
        net, number(classes), head=context, head_options=context_options, **usual | options
    )


def _has_coarse(head: nn.Module) -> bool:
    if isinstance(head, ContextHead):
        return getattr(head.context, "classifier", None) is not None
    return head.fuse is not None
