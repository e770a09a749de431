"""Any timm network as a backbone, at a chosen output stride.

    image 3, h, w -> timm's network, cut before its classifier -> its maps, finest first

timm turns strides into dilation itself where its network can (EfficientNet, MobileNet, ConvNeXt,
RegNet and many more); the others, mostly transformers, stay at the stride they were made with.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from . import _weights

__all__ = ["TimmFeatures"]


class TimmFeatures(nn.Module):
    """The feature maps of a timm network.

    Args:
        name: a name from ``timm.list_models()``, with one of timm's tags if wanted.
        output_stride: pixels between neighbours of the last map.
        weights: "imagenet" (timm's), "random", or the path of a local .safetensors file.
        out_indices: which of the network's maps to return, as timm counts them; the default is
            the last two, so that an auxiliary head finds its place.
        options: passed on to ``timm.create_model``.

    Shape:
        normalised image ``b 3 h w`` -> one map ``b c h/stride w/stride`` per index.

    Raises:
        ValueError: timm does not know the network, or the network cannot have the stride; in use,
            the network was made for one size of images and met another: the message names the
            option that helps.

    Example:
        >>> import torch
        >>> net = TimmFeatures("tf_efficientnet_lite0", output_stride=16, weights="random")
        >>> net.channels, net.strides, net.mean
        ((112, 320), (16, 16), (0.5, 0.5, 0.5))
        >>> net(torch.rand(1, 3, 65, 96))[-1].shape
        torch.Size([1, 320, 5, 6])
    """

    def __init__(
        self,
        name: str,
        *,
        output_stride: int = 8,
        weights: str | Path = "imagenet",
        out_indices: Sequence[int] | None = None,
        **options,
    ) -> None:
        super().__init__()
        _weights.check_name(name)
        plain = _strides(name, options)
        if output_stride != plain[-1]:
            options["output_stride"] = output_stride
            if _strides(name, options)[-1] != output_stride:
                raise ValueError(f"{name} has the output stride {plain[-1]}, not {output_stride}")
        maps = range(len(plain))
        chosen = tuple(maps[-2:] if out_indices is None else out_indices)
        if not chosen or list(chosen) != sorted(set(chosen) & set(maps)):
            raise ValueError(f"expected rising out_indices out of 0 to {maps[-1]}, got {chosen}")
        self._made = name, options | {"features_only": True, "out_indices": chosen}
        self.net = _weights.create(name, weights, features_only=True, out_indices=chosen, **options)
        info = self.net.feature_info
        self.channels, self.strides = tuple(info.channels()), tuple(info.reduction())
        self.mean = tuple(self.net.pretrained_cfg["mean"])
        self.std = tuple(self.net.pretrained_cfg["std"])
        # Some transformers put the channels last.
        self._channels_last = str(getattr(self.net, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> maps, finest first."""
        try:
            maps = self.net(x)
        except (AssertionError, RuntimeError) as error:
            raise self._size_problem(x, error) from error
        if self._channels_last:
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        return maps

    def _size_problem(self, x: Tensor, error: Exception) -> Exception:
        """The error in words if the size of the images causes it, with an option that was tried."""
        name, options = self._made
        size = tuple(x.shape[-2:])
        if _takes(name, options, size):
            return error
        remedies = [{key: value} for key, value in _ANY_SIZE] + [dict(_ANY_SIZE[1:])]
        remedies.append({"img_size": size})
        for remedy in remedies:
            if _takes(name, options | remedy, size):
                found = " and pass ".join(f"{key}={value}" for key, value in remedy.items())
                return ValueError(f"{name} does not take images of {size} as it is: pass {found}")
        return ValueError(
            f"{name} does not take images of {size} ({error}), and no option of timm's "
            "helps: choose another network, such as tf_efficientnet_lite0, or another size"
        )


# what lets timm's networks take images of any size, one or the other
_ANY_SIZE = (
    ("strict_img_size", False),
    ("dynamic_img_size", True),
    ("dynamic_img_pad", True),
)


def _takes(name: str, options: dict, size: tuple[int, ...]) -> bool:
    """Whether a network runs on images of a size, found without weights or memory."""
    try:
        with torch.device("meta"), torch.no_grad():
            net = _weights.timm().create_model(name, pretrained=False, **options).eval()
            net(torch.empty(1, 3, *size))
    except Exception:  # whatever timm's networks raise
        return False
    return True


def _strides(name: str, options: dict) -> list[int]:
    """The strides of all of a network's maps, found without weights or memory."""
    try:
        with torch.device("meta"):
            net = _weights.timm().create_model(
                name, pretrained=False, features_only=True, **options
            )
    except (TypeError, AssertionError) as error:
        if "output_stride" in options:
            stride = options["output_stride"]
            rest = {key: value for key, value in options.items() if key != "output_stride"}
            raise ValueError(
                f"timm cannot give {name} the output stride {stride}, only its own, "
                f"{_strides(name, rest)[-1]}; EfficientNet, MobileNet, ConvNeXt and RegNet can"
            ) from error
        raise ValueError(f"timm's {name} does not take {options}: {error}") from error
    return net.feature_info.reduction()
