"""The context FCN: the network in which context modules are compared.

                       features                   context            logits
    image -> normalise -> backbone -> CBR kxk -> [ slot ] -> CBR kxk -> dropout -> 1x1 -> resize
                             |
                             +-> CBR 3x3 -> dropout -> 1x1 -> resize     (auxiliary, in training)

    logits = up( W_c * CBR( slot( CBR( backbone( (x - mean) / std ) ) ) ) )

CBR is convolution, batch norm, ReLU; up is bilinear resizing to the size of the image. Everything
but the slot stays the same from method to method, so a difference in the result is the slot's.
Three methods know more than one map, and get it where their options ask for it: the auxiliary
logits as soft regions (OCR without a classifier of its own), the last but one map of the backbone
(AFNB with as many ``low_channels``), and in training the presence of the classes as a further
answer (EncNet with ``classes``).
"""

import inspect
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from contextlab.backbones import backbone as build_backbone
from contextlab.backbones.course import conv_bn_relu
from contextlab.modules import context as build_context

from ._shared import Network, auxiliary_head, classifier, number

__all__ = ["ContextFCN", "network"]


class ContextFCN(Network):
    """A fully convolutional network with a slot for one context module.

    With ``slot=None`` it is the (dilated) FCN, the baseline of the sources' tables.

    Args:
        backbone: any module with ``channels``, ``strides``, ``mean``, ``std`` that maps an image to
            a list of maps, finest first; see :mod:`contextlab.backbones`.
        classes: number of classes.
        slot: a context module (any module that keeps ``b width h w``), the name of one in
            ``contextlab.catalogue()``, or None.
        slot_options: options for a slot given by name.
        width: channels of the map that enters the slot, and of the one that leaves it.
        kernel: side of the convolutions before and after the slot; odd. The sources use 3.
        auxiliary: attach a second classifier to the last but one map of the backbone.
        dropout: share of channels dropped before the classifier.
        auxiliary_dropout: the same before the auxiliary one; as many unless given.

    Shape:
        image ``b 3 h w`` in [0, 1] -> logits ``b classes h w``; in training with ``auxiliary``
        the pair (logits, auxiliary logits), and with a slot that tells the presence of classes the
        triple (logits, auxiliary logits or None, presence logits ``b classes``).

    Raises:
        ValueError: an option, the backbone, the slot or the image does not fit. Batch norm needs
            more than one value per channel, so in training a batch of one image whose last map is
            1 x 1 is refused by torch; two images, or a larger one, train.

    Example:
        >>> import torch
        >>> from contextlab.backbones import backbone
        >>> model = ContextFCN(backbone("course"), 13, width=64, kernel=1, auxiliary=False)
        >>> model(torch.rand(2, 3, 61, 127)).shape
        torch.Size([2, 13, 61, 127])
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        *,
        slot: nn.Module | str | None = None,
        slot_options: Mapping | None = None,
        width: int = 512,
        kernel: int = 3,
        auxiliary: bool = True,
        dropout: float = 0.1,
        auxiliary_dropout: float | None = None,
    ) -> None:
        super().__init__(backbone, classes)
        if width < 1:
            raise ValueError(f"expected width >= 1, got {width}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel, which keeps the size, got {kernel}")
        self.width = width
        self.reduce = conv_bn_relu(backbone.channels[-1], width, kernel)
        self.slot = _build_slot(slot, slot_options, width)
        takes = inspect.signature(self.slot.forward).parameters
        self._regions = "logits" in takes and getattr(self.slot, "classifier", None) is None
        if self._regions and not auxiliary:
            raise ValueError(
                f"{type(self.slot).__name__} has no region classifier of its own: expected "
                "auxiliary=True, whose logits it reads, or a number of regions, got neither"
            )
        low = self.slot.low_channels if "low" in takes else width
        self._low = low != width and low == backbone.channels[-2]
        self._presence = "presence" in takes and self.slot.presence is not None
        self.fuse = conv_bn_relu(width, width, kernel)
        self.classifier = classifier(width, classes, dropout)
        self.auxiliary = None
        if auxiliary:
            middle = max(1, width // 2)
            share = dropout if auxiliary_dropout is None else auxiliary_dropout
            self.auxiliary = auxiliary_head(backbone, classes, middle, dropout=share)

    @property
    def one_map(self) -> bool:
        """Whether the last map of the backbone is all that the network reads and answers by."""
        return self.auxiliary is None and not (self._low or self._regions or self._presence)

    def features(self, x: Tensor) -> Tensor:
        """The map that enters the slot: image ``b 3 h w`` -> ``b width h/stride w/stride``."""
        return self.reduce(self.maps(x)[-1])

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor | None, ...]:
        """Image ``b 3 h w`` -> logits ``b classes h w`` (more in training, see above)."""
        *_, finer, last = [None, *self.maps(x)]
        before = self.reduce(last)
        asked = self.training or self._regions
        auxiliary = self.auxiliary(finer) if asked and self.auxiliary is not None else None
        more = {}
        if self._regions:
            more["logits"] = self.resize(auxiliary, before)
        if self._low:
            more["low"] = finer
        if self._presence and self.training:
            more["presence"] = True
        after = self.slot(before, **more)
        presence = ()
        if "presence" in more:
            after, *presence = after
        if not isinstance(after, Tensor) or after.shape != before.shape:
            found = tuple(after.shape) if isinstance(after, Tensor) else f"a {type(after).__name__}"
            raise ValueError(
                f"a slot keeps the shape of its map: {type(self.slot).__name__} got "
                f"{tuple(before.shape)} and returned {found}"
            )
        return self.answer(x, self.classifier(self.fuse(after)), auxiliary, *presence)


def network(
    classes: int | Sequence[str],
    *,
    backbone: str = "course",
    backbone_options: Mapping | None = None,
    context: str | None = None,
    context_options: Mapping | None = None,
    **options,
) -> ContextFCN:
    """Build a context FCN from names.

    Args:
        classes: number of classes, or their names.
        backbone: name for :func:`contextlab.backbones.backbone`.
        backbone_options: its options (``output_stride``, ``weights``, ...).
        context: name of a context module, or None for the FCN.
        context_options: its options.
        options: ``width``, ``kernel``, ``auxiliary``, ``dropout`` and ``auxiliary_dropout`` of
            :class:`ContextFCN`.

    Example:
        >>> model = network(13, context="squeeze_excite", width=64, kernel=1, auxiliary=False)
        >>> type(model.slot).__name__
        'SqueezeExcite'
    """
    return ContextFCN(
        build_backbone(backbone, **(backbone_options or {})),
        number(classes),
        slot=context,
        slot_options=context_options,
        **options,
    )


def _build_slot(slot: nn.Module | str | None, options: Mapping | None, width: int) -> nn.Module:
    if isinstance(slot, str):
        return build_context(slot, width, **(options or {}))
    if options:
        raise ValueError(f"slot_options need a slot given by name, got {slot!r}")
    if slot is None:
        return nn.Identity()
    if not isinstance(slot, nn.Module):
        raise ValueError(
            f"expected a slot by name, as an nn.Module built for {width} channels, or None; "
            f"got {slot!r}"
        )
    return slot
