"""SRNet: a dilated ResNet under a head in whose middle Squeeze Reasoning stands.

    form      into the width    context            out of it              classifier
    "paper"   CBR 3x3           SR, K = 16         CBR 3x3                dropout, 1x1
    "code"    1x1 and no more   SR, K = 32,        CBR 3x3 with a bias    dropout, 1x1
                                official options

CBR is convolution, batch norm, ReLU. Li et al.: Towards Efficient Scene Understanding via Squeeze
Reasoning, TIP 2021, https://arxiv.org/abs/2011.03308
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from contextlab.backbones.course import conv_bn_relu
from contextlab.modules import context

from ._shared import HeadNetwork, auxiliary_head, classifier, head_width, number, settle, trunk

__all__ = ["SRNetHead", "srnet"]

#: options of the module by form
FORMS = {
    "paper": {},
    "code": {"nodes": 32, "variant": "srnet", "grouping": "official", "pool": "sum", "norm": True},
}


class SRNetHead(nn.Module):
    """Convolution, Squeeze Reasoning, convolution, classifier.

    Args:
        channels: channels of the backbone's last map.
        classes: number of classes.
        form: "paper" or "code", see above.
        width: channels of the module; a quarter of ``channels`` unless given (512 of 2048).
        dropout: share of channels dropped before the classifier.
        options: of :class:`contextlab.modules.SqueezeReasoning`, in place of the form's own.

    Shape:
        map ``b channels h w`` -> logits ``b classes h w``.

    Cost:
        With 2048 channels, 19 classes and 96 x 96: "paper" 12,202,515 parameters and 112.43 GMACs,
        of which the module has 394,240 and 3.63; "code" 3,815,587 and 35.13. With the norms of the
        code (``variant="srnet", norm=True``) the paper's form has 12,203,603.

    Raises:
        ValueError: an option does not fit.

    Example:
        >>> import torch
        >>> SRNetHead(128, 19, form="code", nodes=8).eval()(torch.rand(2, 128, 9, 7)).shape
        torch.Size([2, 19, 9, 7])

    Differs from the official code:
        "code" is that code's arrangement, with its summed squeeze, which grows with the map: give
        ``pool="mean"`` to a network that shall see images of several sizes. "paper" takes the mean.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        form: str = "paper",
        width: int | None = None,
        dropout: float = 0.1,
        **options,
    ) -> None:
        super().__init__()
        usual, width = settle(FORMS, form, channels, classes, width)
        code = form == "code"
        self.reduce = nn.Conv2d(channels, width, 1) if code else conv_bn_relu(channels, width, 3)
        self.context = context("squeeze_reasoning", width, **{**usual, **options})
        self.fuse = conv_bn_relu(width, width, 3, bias=code)
        self.classifier = classifier(width, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``b channels h w`` -> logits ``b classes h w``."""
        return self.classifier(self.fuse(self.context(self.reduce(x))))


def srnet(
    classes: int | Sequence[str],
    *,
    depth: int = 50,
    backbone: str | nn.Module = "resnet",
    form: str = "paper",
    weights: str | Path = "imagenet",
    stem: str = "deep",
    multi_grid: Sequence[int] | str | None = "form",
    auxiliary: bool = True,
    dropout: float = 0.1,
    auxiliary_dropout: float | None = None,
    align_corners: bool = False,
    **options,
) -> HeadNetwork:
    """SRNet: ResNet or Wider-ResNet-38 at output stride 8, and :class:`SRNetHead`.

    The auxiliary head is the official code's: on the last but one map a 3x3 with a bias to a
    quarter of its channels, batch norm, ReLU, dropout, 1x1. Its loss has the weight 0.4, and mining
    (``training.OHEM["srnet"]``) applies to it too.

    Args:
        classes: number of classes, or their names.
        depth: of the ResNet; the paper has 50 and 101.
        backbone: "resnet", "wider_resnet38" (the paper's best result), or one that is built, with
            two maps or more; its own options then stand in place of depth, weights, stem and grid.
        form: of the head, "paper" or "code".
        weights: of the backbone: the path of a .safetensors file, "random" or "imagenet". For the
            sources' stem timm has none; it has some for ``stem="plain"`` and ``"deep32"``.
        stem: see :class:`contextlab.backbones.DilatedResNet`.
        multi_grid: factors of the last stage's dilation, None for ones, or "form": (1, 2, 4) in the
            paper's, whose section III-D adopts multi-grid without its factors, none in the code's;
            Wider-ResNet-38 has two factors and by "form" none.
        auxiliary: attach the auxiliary head.
        dropout: share of channels dropped before the classifier.
        auxiliary_dropout: the same before the auxiliary one; as many unless given.
        align_corners: of the resized logits; the official code has it.
        options: of :class:`contextlab.modules.SqueezeReasoning`.

    Returns:
        The network; see :class:`HeadNetwork` for what it returns.

    Raises:
        ValueError: an option does not fit, or there are no such weights.

    Example:
        >>> import torch
        >>> with torch.device("meta"):
        ...     model = srnet(19, weights="random", form="code").eval()
        >>> model(torch.empty(1, 3, 769, 769, device="meta")).shape
        torch.Size([1, 19, 769, 769])

    Differs from the official code:
        ``form="code", align_corners=True`` in nothing.
    """
    classes = number(classes)
    if multi_grid == "form":
        multi_grid = (1, 2, 4) if form == "paper" and backbone == "resnet" else None
    net = trunk(backbone, depth, weights=weights, stem=stem, multi_grid=multi_grid)
    options = {"width": head_width(net), **options}
    head = SRNetHead(net.channels[-1], classes, form=form, dropout=dropout, **options)
    extra = None
    if auxiliary:
        width = net.channels[-2] // 4
        share = dropout if auxiliary_dropout is None else auxiliary_dropout
        extra = auxiliary_head(net, classes, width, dropout=share, bias=True)
    return HeadNetwork(net, classes, head, extra, align_corners=align_corners)
