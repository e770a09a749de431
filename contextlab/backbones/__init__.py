"""Backbones: networks that turn an image into feature maps, finest first.

Every backbone has ``channels`` and ``strides`` (one number per returned map), ``mean`` and ``std``
(of images in [0, 1]), and maps a normalised image ``b 3 h w`` to a list of maps.
"""

from torch import nn

from .course import CourseBackbone

__all__ = ["CourseBackbone", "backbone"]


def backbone(
    name: str, *, output_stride: int | None = None, weights: str | None = None, **options
) -> nn.Module:
    """Build a backbone by name.

    Args:
        name: "course".
        output_stride: pixels between neighbours of the last map; the course backbone has 4.
        weights: "random" for the course backbone.
        options: the backbone's own options, by name.
    """
    if name != "course":
        raise ValueError(f"expected the backbone 'course', got {name!r}")
    if output_stride not in (None, 4):
        raise ValueError(f"the course backbone has output stride 4, got {output_stride}")
    if weights not in (None, "random"):
        raise ValueError(f"the course backbone has no pretrained weights, got {weights!r}")
    return CourseBackbone(**options)
