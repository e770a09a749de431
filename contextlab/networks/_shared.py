"""What every network here begins and ends with: normalised images in, answers resized to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contextlab.backbones import DilatedResNet, WiderResNet38
from contextlab.backbones.course import conv_bn_relu
from contextlab.backbones.efficientformer import EFFICIENTFORMERS
from contextlab.backbones.mscan import MSCANS

NEEDED = ("channels", "strides", "mean", "std")


class Network(nn.Module):
    """A backbone that is given images as it knows them.

    Args:
        backbone: any module with ``channels``, ``strides``, ``mean``, ``std`` that maps an image to
            a list of maps, finest first; see :mod:`contextlab.backbones`.
        classes: number of classes.
        align_corners: resize with the centres of the outer pixels on each other.
    """

    def __init__(self, backbone: nn.Module, classes: int, *, align_corners: bool = False) -> None:
        super().__init__()
        missing = [name for name in NEEDED if not hasattr(backbone, name)]
        if missing:
            raise ValueError(
                f"a backbone carries channels, strides, mean and std; {type(backbone).__name__} "
                f"lacks {', '.join(missing)}"
            )
        if classes < 1:
            raise ValueError(f"expected classes >= 1, got {classes}")
        self.classes, self.align_corners = classes, align_corners
        # Not persistent: they belong to the backbone, not to the weights of this network.
        for name in ("mean", "std"):
            value = torch.tensor(getattr(backbone, name), dtype=torch.float32)
            self.register_buffer(name, value[:, None, None], persistent=False)
        self.backbone = backbone

    def maps(self, x: Tensor) -> list[Tensor]:
        """Image ``b 3 h w`` in [0, 1] -> the backbone's maps, finest first."""
        if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ValueError(
                f"expected images as floats 'b 3 h w' in [0, 1], got {tuple(x.shape)} of {x.dtype}"
            )
        return self.backbone((x - self.mean) / self.std)

    def answer(
        self, image: Tensor, logits: Tensor, auxiliary: Tensor | None = None, *more: Tensor
    ) -> Tensor | tuple[Tensor | None, ...]:
        """The logits at the image's size; in training with the auxiliary ones and all the rest."""
        logits = self.resize(logits, image)
        if not self.training or (auxiliary is None and not more):
            return logits
        return logits, None if auxiliary is None else self.resize(auxiliary, image), *more

    def resize(self, x: Tensor, like: Tensor) -> Tensor:
        """Bilinear to the height and width of ``like``."""
        size = like.shape[-2:]
        return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)


class HeadNetwork(Network):
    """A head on the last map of a backbone, and for training another on the last but one.

    Args:
        backbone: as of :class:`Network`.
        classes: number of classes.
        head: maps the last map to logits ``b classes h w`` of its size.
        auxiliary: the same for the last but one, or None; see :func:`auxiliary_head`.
        align_corners: of :class:`Network`.

    Shape:
        image ``b 3 h w`` in [0, 1] -> logits ``b classes h w``; in training with an auxiliary head
        the pair (logits, auxiliary logits).

    Raises:
        ValueError: the backbone or the image does not fit.

    Example:
        >>> from contextlab.backbones import backbone
        >>> model = HeadNetwork(backbone("course"), 13, nn.Conv2d(96, 13, 1))
        >>> model(torch.rand(2, 3, 61, 127)).shape
        torch.Size([2, 13, 61, 127])
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        head: nn.Module,
        auxiliary: nn.Module | None = None,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__(backbone, classes, align_corners=align_corners)
        self.head, self.auxiliary = head, auxiliary

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Image ``b 3 h w`` -> logits ``b classes h w`` (more in training, see above)."""
        *_, finer, last = [None, *self.maps(x)]
        asked = self.training and self.auxiliary is not None
        return self.answer(x, self.head(last), self.auxiliary(finer) if asked else None)


def number(classes: int | Sequence[str]) -> int:
    """How many classes, given as a number or by their names."""
    return classes if isinstance(classes, int) else len(classes)


def trunk(
    backbone: str | nn.Module,
    depth: int,
    *,
    weights: str | Path,
    stem: str,
    multi_grid: Sequence[int] | None,
) -> nn.Module:
    """The backbone of a network for large images, at output stride 8.

    Args:
        backbone: "resnet", "wider_resnet38", or one that is built, to which nothing else applies.
        depth: of the ResNet.
        weights: of the two.
        stem: of the ResNet.
        multi_grid: of the two.

    Raises:
        ValueError: no such backbone, or no such weights.
    """
    if isinstance(backbone, nn.Module):
        return backbone
    if backbone == "resnet":
        return DilatedResNet(f"resnet{depth}", weights=weights, stem=stem, multi_grid=multi_grid)
    if backbone == "wider_resnet38":
        return WiderResNet38(weights=weights, multi_grid=multi_grid)
    raise ValueError(
        f"expected as backbone 'resnet', 'wider_resnet38' or an nn.Module, got {backbone!r}"
    )


def head_width(backbone: nn.Module) -> int:
    """Half of the last but one map: 512 on a ResNet-50 or deeper, and on Wider-ResNet-38 too.

    Its last map has twice the channels of a ResNet's, of which a quarter would be twice as wide.
    """
    return backbone.channels[-2:][0] // 2


def three_maps(backbone: str) -> dict:
    """The options with which a backbone returns its maps of strides 8, 16 and 32.

    Timm's networks of five maps and the ResNets take them, which are most; the course backbone and
    the DFNets have the maps that they have.
    """
    name = backbone.split(".")[0]
    if name.startswith(("course", "df")):
        return {}
    if name in (*EFFICIENTFORMERS, *MSCANS):
        return {"out_indices": (1, 2, 3)}
    return {"output_stride": 32, "out_indices": (2, 3, 4)}


def settle(
    forms: Mapping[str, Mapping], form: str, channels: int, classes: int, width: int | None
) -> tuple[Mapping, int]:
    """The options of a head's form, and its width: a quarter of the channels unless given.

    Raises:
        ValueError: no such form, no class, or no width.
    """
    if form not in forms:
        raise ValueError(f"expected a form of {', '.join(forms)}, got {form!r}")
    width = channels // 4 if width is None else width
    if width < 1 or classes < 1:
        raise ValueError(f"expected width and classes >= 1, got {width} and {classes}")
    return forms[form], width


def classifier(channels: int, classes: int, dropout: float) -> nn.Sequential:
    """Dropout of whole channels, and a 1x1 to one logit a class."""
    return nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, classes, 1))


def auxiliary_head(
    backbone: nn.Module,
    classes: int,
    width: int,
    *,
    dropout: float = 0.1,
    bias: bool = False,
    relu: bool = True,
) -> nn.Sequential:
    """3x3 to ``width``, batch norm, ReLU unless told otherwise, and a classifier.

    Raises:
        ValueError: the backbone has no last but one map.
    """
    if len(backbone.channels) < 2:
        raise ValueError(
            "the auxiliary head attaches to the last but one map, but "
            f"{type(backbone).__name__} returns {len(backbone.channels)}; pass auxiliary=False"
        )
    block = conv_bn_relu(backbone.channels[-2], width, 3, bias=bias)
    return nn.Sequential(block if relu else block[:2], *classifier(width, classes, dropout))
