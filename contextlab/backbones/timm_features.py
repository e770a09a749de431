"""Any timm network as a backbone, at a chosen output stride.

    image 3, h, w -> timm's network, cut before its classifier -> its maps, finest first

timm turns strides into dilation itself where its network can (EfficientNet, MobileNet, ConvNeXt,
RegNet and many more); the others, mostly transformers, stay at the stride they were made with.
"""

from collections.abc import Sequence
from pathlib import Path

import timm
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
        normalised image ``b 3 h w`` -> one map ``b c h/stride w/stride`` per index. A network that
        was made for one image size says so itself; with most, ``dynamic_img_size=True`` helps.

    Raises:
        ValueError: timm does not know the network, or the network cannot have the stride.

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
        self.net = _weights.create(name, weights, features_only=True, out_indices=chosen, **options)
        info = self.net.feature_info
        self.channels, self.strides = tuple(info.channels()), tuple(info.reduction())
        self.mean = tuple(self.net.pretrained_cfg["mean"])
        self.std = tuple(self.net.pretrained_cfg["std"])
        # Some transformers put the channels last.
        self._channels_last = str(getattr(self.net, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> maps, finest first."""
        maps = self.net(x)
        if self._channels_last:
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        return maps


def _strides(name: str, options: dict) -> list[int]:
    """The strides of all of a network's maps, found without weights or memory."""
    try:
        with torch.device("meta"):
            net = timm.create_model(name, pretrained=False, features_only=True, **options)
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
