"""Wider-ResNet-38: few blocks and wide ones, each of which norms before it convolves.

    image 3, h, w -> 3x3, 64 -> pool -> mod2 /2 -> pool -> mod3 /4 -> mod4 -> ... -> mod7 -> norm

            blocks   convolutions of a block           dropout    stride, dilation at output stride
                                                                   8        16       32
    mod2    3        3x3 128, 3x3 128
    mod3    3        3x3 256, 3x3 256
    mod4    6        3x3 512, 3x3 512                              2, 1     2, 1     2, 1
    mod5    3        3x3 512, 3x3 1024                             1, 2     2, 1     2, 1
    mod6    1        1x1 512, 3x3 1024, 1x1 2048       0.3         1, 4     1, 2     2, 1
    mod7    1        1x1 1024, 3x3 2048, 1x1 4096      0.5         1, 4     1, 2     1, 1

A block never norms what it adds to, so that an undisturbed path leads through all of them:

    n = act(norm(x)),     y = x + F(n),     and  y = S n + F(n)  where the shape changes,

with a 1x1 for S, which reads the *normed* input. The activation is a leaky ReLU of slope 0.01: a
slope above 0 can be inverted, and from its output the library this network comes with recomputes
what it did not store. Here the norm is torch's and stores its input; the numbers are the same.

Rota Bulò, Porzi, Kontschieder: In-Place Activated BatchNorm for Memory-Optimized Training of DNNs,
CVPR 2018, https://arxiv.org/abs/1712.02616. The network: Wu, Shen, van den Hengel: Wider or Deeper:
Revisiting the ResNet Model for Visual Recognition, https://arxiv.org/abs/1611.10080
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from . import _weights

__all__ = ["WiderResNet38"]

#: blocks, channels of each convolution in one, dropout before the last of them
_MODULES = (
    (3, (128, 128), 0.0),
    (3, (256, 256), 0.0),
    (6, (512, 512), 0.0),
    (3, (512, 1024), 0.0),
    (1, (512, 1024, 2048), 0.3),
    (1, (1024, 2048, 4096), 0.5),
)
# of mod4 to mod7 by output stride: (stride of the first block, dilation)
_RATES = {
    8: ((2, 1), (1, 2), (1, 4), (1, 4)),
    16: ((2, 1), (2, 1), (1, 2), (1, 2)),
    32: ((2, 1), (2, 1), (2, 1), (1, 1)),
}


def norm_act(channels: int, slope: float) -> nn.Sequential:
    """Batch norm and leaky ReLU. Their names are in no released file, see `_renamed`."""
    layers = nn.Sequential()
    layers.add_module("norm", nn.BatchNorm2d(channels))
    layers.add_module("act", nn.LeakyReLU(slope, inplace=True))
    return layers


class PreActivationBlock(nn.Module):
    """y = x + F(n) or S n + F(n) with n = act(norm(x)); two 3x3 in F, or 1x1, 3x3, 1x1."""

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        *,
        stride: int = 1,
        dilation: int = 1,
        dropout: float = 0.0,
        slope: float = 0.01,
    ) -> None:
        super().__init__()
        self.bn1 = norm_act(inputs, slope)
        kernels = (3, 3) if len(channels) == 2 else (1, 3, 1)
        self.convs, before = nn.Sequential(), inputs
        for i, (kernel, after) in enumerate(zip(kernels, channels, strict=True), 1):
            if i > 1:
                self.convs.add_module(f"bn{i}", norm_act(before, slope))
            if i == len(kernels) and dropout:
                self.convs.add_module("dropout", nn.Dropout2d(dropout))
            rate = dilation if kernel == 3 else 1
            conv = nn.Conv2d(
                before,
                after,
                kernel,
                stride=stride if i == 1 else 1,
                padding=rate * (kernel // 2),
                dilation=rate,
                bias=False,
            )
            self.convs.add_module(f"conv{i}", conv)
            before = after
        self.proj_conv = None
        if stride > 1 or inputs != before:
            self.proj_conv = nn.Conv2d(inputs, before, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``b i h w -> b o h/stride w/stride``."""
        n = self.bn1(x)
        return (x if self.proj_conv is None else self.proj_conv(n)) + self.convs(n)


class WiderResNet38(nn.Module):
    """Wider-ResNet-38, the backbone of SRNet's and GGCF's best results.

    Args:
        output_stride: pixels between neighbours of the last map: 8, 16 or 32.
        multi_grid: factors of the dilation of mod6 and of mod7, such as (1, 2); None for ones. They
            have one block each, so the three factors of a ResNet's last stage do not fit them.
        slope: of the activation; 0 for ReLU.
        final_norm: norm and activate the last map, as the classifier has it; segmentation networks
            that read the bare sum have no such norm, nor their files.
        width: factor on all channels, a multiple of 1/64, for small ones.
        weights: "random", or the path of a local file, see below; timm has none.

    Shape:
        normalised image ``b 3 h w`` -> two maps with sides ``ceil(h / stride)``: of mod5 (1024
        channels, for an auxiliary head) and of mod7 (4096).

    Cost:
        105,070,912 parameters; 1172.7 GMACs for 768 x 768 at output stride 8.

    Files:
        .safetensors, or as torch saves it (.pth, .pth.tar). The tensors may lie under "state_dict"
        and there under "body", and their names may begin with "module." or any other words; what is
        no part of the trunk (classifier, head, optimiser) is left. The names of the norms tell how
        the network was trained, since the three kinds do not mean the same by their numbers:

        ``bn1.weight``       in-place ABN. It multiplies by |weight| + 1e-5, and so do we: the sign
                             of a stored weight has no meaning. Needs a slope above 0.
        ``bn1.0.weight``     batch norm and ReLU, as in segmentation networks that build upon these
                             weights. Needs ``slope=0.0``, and mostly ``final_norm=False``.
        ``bn1.norm.weight``  this class.

    Raises:
        ValueError: an option is unknown, or the file is cut, foreign, or of another slope.
        FileNotFoundError: there is no such file.

    Example:
        >>> import torch
        >>> net = WiderResNet38(width=1 / 16)
        >>> net.channels, net.strides
        ((64, 256), (8, 8))
        >>> [tuple(m.shape) for m in net(torch.rand(2, 3, 65, 96))]
        [(2, 64, 9, 12), (2, 256, 9, 12)]

    Source:
        Wu et al. 2016; Rota Bulò et al. 2018, whose ``net_wider_resnet38_a2`` it is.

    Differs from the official code:
        In memory alone. The released network for Mapillary Vistas wants images with the mean
        (0.417, 0.457, 0.469) and the deviation (0.257, 0.265, 0.291), where ``mean`` and ``std``
        here are ImageNet's: set both on the backbone before a network is built on it.
    """

    # of ImageNet, on which its authors trained it
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        *,
        output_stride: int = 8,
        multi_grid: Sequence[int] | None = None,
        slope: float = 0.01,
        final_norm: bool = True,
        width: float = 1.0,
        weights: str | Path = "random",
    ) -> None:
        super().__init__()
        if output_stride not in _RATES:
            raise ValueError(f"expected output_stride of {tuple(_RATES)}, got {output_stride!r}")
        if not 0 <= slope < 1:
            raise ValueError(f"expected a slope of at least 0 and below 1, got {slope!r}")
        if width <= 0 or 64 * width % 1:
            raise ValueError(f"expected width as a multiple of 1/64 above 0, got {width!r}")
        grid = (1, 1) if multi_grid is None else tuple(multi_grid)
        if len(grid) != 2 or any(not isinstance(g, int) or g < 1 for g in grid):
            raise ValueError(
                f"expected multi_grid as two factors of at least 1, of mod6 and mod7, got {grid}"
            )
        self.slope = slope
        rates = ((1, 1), (1, 1), *_RATES[output_stride])
        inputs = int(64 * width)
        self.mod1 = nn.Sequential()
        self.mod1.add_module("conv1", nn.Conv2d(3, inputs, 3, padding=1, bias=False))
        self.pool2, self.pool3 = (nn.MaxPool2d(3, stride=2, padding=1) for _ in range(2))
        for i, ((blocks, wanted, dropout), (stride, dilation)) in enumerate(
            zip(_MODULES, rates, strict=True), 2
        ):
            channels = [int(c * width) for c in wanted]
            rate = dilation * (grid[i - 6] if i >= 6 else 1)
            module = nn.Sequential()
            for j in range(1, blocks + 1):
                step = stride if j == 1 else 1
                block = PreActivationBlock(
                    inputs, channels, stride=step, dilation=rate, dropout=dropout, slope=slope
                )
                module.add_module(f"block{j}", block)
                inputs = channels[-1]
            self.add_module(f"mod{i}", module)
        self.bn_out = norm_act(inputs, slope) if final_norm else nn.Identity()
        self.channels = (int(1024 * width), inputs)
        self.strides = (min(16, output_stride), output_stride)
        _weights.check_choice(weights, _weights.CHECKPOINTS)
        if weights == "imagenet":
            raise ValueError(
                "timm has no weights of wider_resnet38; pass the path of a released file, .pth or "
                ".safetensors, or weights='random'"
            )
        if weights != "random":
            self._load(Path(weights))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``b 3 h w`` -> [map of mod5, normed map of mod7]."""
        x = self.mod2(self.pool2(self.mod1(x)))
        x = self.mod4(self.mod3(self.pool3(x)))
        finer = self.mod5(x)
        return [finer, self.bn_out(self.mod7(self.mod6(finer)))]

    def _load(self, path: Path) -> None:
        found, kind = _renamed(_weights.tensors(path, inside=("state_dict", "body")))
        if (kind == "in-place" and self.slope == 0) or (kind == "batch norm" and self.slope != 0):
            trained, wanted = (
                ("in-place ABN, whose activation has a slope above 0", "slope=0.01")
                if kind == "in-place"
                else ("batch norm and ReLU", "slope=0.0")
            )
            raise ValueError(
                f"{path} was trained with {trained}: expected {wanted}, got slope={self.slope}"
            )
        if kind == "in-place":
            eps = self.mod2.block1.bn1.norm.eps
            for key in found:
                if key.endswith(".norm.weight"):
                    found[key] = found[key].abs() + eps
        norm = {key for key in found if key.startswith("bn_out.")}
        if isinstance(self.bn_out, nn.Identity):
            found = {key: value for key, value in found.items() if key not in norm}
        elif found and not norm:
            raise ValueError(
                f"{path} has no norm behind mod7 (bn_out): it was trained without; expected "
                "final_norm=False, got True"
            )
        _weights.fill(self, found, path)


def _renamed(found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The trunk's tensors under the names here, and which kind of norms they had."""
    first = min((key for key in found if key.endswith("mod1.conv1.weight")), key=len, default="")
    prefix = first.removesuffix("mod1.conv1.weight")
    kinds, trunk = set(), {}
    for key, value in found.items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or not re.match(r"(mod[1-7]|bn_out)\.", name):
            continue
        norm = re.match(r"(.*\bbn(?:\d|_out)\.)(0\.|norm\.)?(\w+)$", name)
        if norm:
            kinds.add(norm[2] or "")
            name = f"{norm[1]}norm.{norm[3]}"
        trunk[name] = value
    kind = {frozenset({""}): "in-place", frozenset({"0."}): "batch norm"}.get(frozenset(kinds))
    return trunk, kind or "own"
