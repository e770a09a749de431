"""Backbones: networks that turn an image into feature maps, finest first.

Every backbone has ``channels`` and ``strides`` (one number per returned map), ``mean`` and ``std``
(of images in [0, 1]), and maps a normalised image ``b 3 h w`` to a list of maps.
"""

import inspect
from pathlib import Path

from torch import nn

from . import _weights
from .course import CourseBackbone, CoursePyramid
from .df import DFNETS, DFNet
from .efficientformer import EFFICIENTFORMERS, EfficientFormer
from .mscan import MSCAN, MSCANS
from .resnet import RESNETS, DilatedResNet
from .timm_features import TimmFeatures
from .wider_resnet import WiderResNet38

__all__ = [
    "MSCAN",
    "CourseBackbone",
    "CoursePyramid",
    "DFNet",
    "DilatedResNet",
    "EfficientFormer",
    "TimmFeatures",
    "WiderResNet38",
    "backbone",
]


def backbone(
    name: str,
    *,
    output_stride: int | None = None,
    weights: str | Path | None = None,
    **options,
) -> nn.Module:
    """Build a backbone by name.

    Args:
        name: "course" (:class:`CourseBackbone`), "course_pyramid" (:class:`CoursePyramid`), "df1"
            or "df2" (:class:`DFNet`), "efficientformerv2_s0" to "_s2" or "_l"
            (:class:`EfficientFormer`), "mscan_t", "_s", "_b" or "_l" (:class:`MSCAN`), "resnet18"
            to "resnet152" (:class:`DilatedResNet`), "wider_resnet38" (:class:`WiderResNet38`), or
            any other network of timm (:class:`TimmFeatures`).
        output_stride: pixels between neighbours of the last map; 8 unless given. Some have their
            own and no other: the course backbone 4, its pyramid 16, EfficientFormer and MSCAN 32,
            a DFNet eight times its ``stem_stride``.
        weights: "imagenet", the default; "random", the default of the course backbone, of the
            DFNets, of MSCAN and of Wider-ResNet-38, which are not in timm; or the path of a local
            file.
        options: the backbone's own options, by name.

    Raises:
        ValueError: a name or an option is unknown, or the weights do not fit the network.
        FileNotFoundError: there is no file at the path ``weights``.
        ConnectionError: the ImageNet weights are not on this machine and the hub does not answer.

    Example:
        >>> backbone("course").strides
        (4, 4)
        >>> backbone("resnet18", output_stride=16, weights="random").channels
        (256, 512)
    """
    if name == "course":
        if output_stride not in (None, 4):
            raise ValueError(f"the course backbone has the output stride 4, got {output_stride}")
        _check_options(CourseBackbone, options)
        return CourseBackbone(weights="random" if weights is None else weights, **options)
    if name == "course_pyramid":
        if output_stride not in (None, 16):
            raise ValueError(f"the course pyramid has the output stride 16, got {output_stride}")
        _check_options(CoursePyramid, options)
        return CoursePyramid(weights="random" if weights is None else weights, **options)
    if name in DFNETS:
        if output_stride is not None:
            raise ValueError(f"{name} takes stem_stride for output_stride, got {output_stride}")
        _check_options(DFNet, options)
        return DFNet(name, weights="random" if weights is None else weights, **options)
    if name == "wider_resnet38":
        _check_options(WiderResNet38, options)
        common = {"output_stride": 8 if output_stride is None else output_stride}
        return WiderResNet38(weights="random" if weights is None else weights, **common, **options)
    for names, kind in ((EFFICIENTFORMERS, EfficientFormer), (MSCANS, MSCAN)):
        if name.split(".")[0] in names:
            if output_stride not in (None, 32):
                raise ValueError(f"{name} has the output stride 32, got {output_stride}")
            _check_options(kind, options)
            usual = "random" if kind is MSCAN else "imagenet"
            return kind(name, weights=usual if weights is None else weights, **options)
    _weights.check_name(name)
    common = {
        "output_stride": 8 if output_stride is None else output_stride,
        "weights": "imagenet" if weights is None else weights,
    }
    if name.split(".")[0] in RESNETS:
        _check_options(DilatedResNet, options)
        return DilatedResNet(name, **common, **options)
    return TimmFeatures(name, **common, **options)


def _check_options(kind: type[nn.Module], options: dict) -> None:
    known = list(inspect.signature(kind).parameters)
    for option in options:
        if option not in known:
            raise ValueError(
                f"expected as option of {kind.__name__} one of {', '.join(known)}; got {option!r}"
            )
