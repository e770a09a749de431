"""Gather-excite: a neighbourhood as wide as one likes gates the channels of its pixels.

Hu, Shen, Albanie, Sun, Vedaldi: Gather-Excite, Exploiting Feature Context in Convolutional Neural
Networks, NeurIPS 2018, https://arxiv.org/abs/1810.12348
"""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_splits

GATHER, EXCITE = ("depthwise", "average"), ("mlp", "none")


class _GlobalDepthwise(nn.Module):
    """One learned weight for every pixel of every channel: a kernel as large as the map."""

    def __init__(self, channels: int, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.empty(channels, *size))
        bound = (size[0] * size[1]) ** -0.5  # as a depth-wise convolution of this size starts
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
        if tuple(x.shape[2:]) != self.size:
            found = tuple(x.shape[2:])
            raise ValueError(f"GatherExcite expected a map of size {self.size}, got {found}")
        return rearrange(einsum(x, self.weight, "b c h w, c h w -> b c"), "b c -> b c 1 1")


@register(
    "gather_excite",
    title="Gather-excite",
    node="a channel of a neighbourhood",
    squeeze="depth-wise convolutions (or average) over the extent",
    reason="two fully connected layers",
    reconstruct="gate",
    source="Hu et al., NeurIPS 2018",
    lesson="11",
)
class GatherExcite(nn.Module):
    """Gates every pixel by what its neighbourhood of a chosen extent holds.

        s = gather_e(x),    a = W₂ ReLU(W₁ ReLU(s)),    y = x ⊙ interp(σ(a))

        θ⁻   gather="average",    excite="none"    a = s, no parameters
        θ    gather="depthwise",  excite="none"    a = s
        θ⁺   gather="depthwise",  excite="mlp"

    Squeeze: one vector for each e x e cell, from a window of side 2 e - 1 around its first pixel.
    Reason: two fully connected layers at every cell, so that channels talk; none in θ⁻ and θ.
    Reconstruct: a gate between 0 and 1, the same in the whole cell (nearest neighbour).

    Args:
        channels: channels c of the map.
        gather: "depthwise" (log₂ e strided 3 x 3 convolutions, each with a norm, ReLU between; for
            the global extent one kernel as large as the map) or "average".
        extent: e, a power of two, or "global".
        excite: "mlp" or "none".
        reduction: the bottleneck of the MLP is c / reduction wide; must divide c.
        size: (h, w) of the map; needed by, and only by, depthwise with the global extent.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w, or only ``size`` where it is given (in training,
        depthwise needs more than one cell in a batch: global b > 1, else b ⌈h/e⌉ ⌈w/e⌉ > 1).
        An export with free sizes keeps to maps of two cells a side or more.

    Cost:
        With n = ⌈h/e⌉ ⌈w/e⌉ cells: mlp 2 b n c² / reduction MACs, depthwise about 3 b h w c more
        (global b h w c). mlp 2 c² / reduction + c / reduction + c parameters, depthwise
        11 c log₂ e (global c (h w + 2)).

    Example:
        >>> GatherExcite(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Hu et al., NeurIPS 2018, section 2 (the framework), section 3 (θ⁻, θ and θ⁺, reduction 16).

    Differs from the official code:
        In the default: the paper's best is θ⁺ with the global extent, ``extent="global"`` and a
        ``size``, which works at this size alone. Extent 8 is the widest that it tries for any size.
        Average and "mlp" together, its ReLU before W₁ left out, is a form that common ports have;
        with the global extent it is :class:`SqueezeExcite`.
    """

    def __init__(
        self,
        channels: int,
        *,
        gather: str = "depthwise",
        extent: int | str = 8,
        excite: str = "mlp",
        reduction: int = 16,
        size: tuple[int, int] | None = None,
    ):
        super().__init__()
        check_positive(channels=channels)
        check_choice("gather", gather, GATHER)
        check_choice("excite", excite, EXCITE)
        if extent != "global" and (type(extent) is not int or extent < 2 or extent & (extent - 1)):
            raise ValueError(f"expected extent to be a power of two or 'global', got {extent!r}")
        fixed = gather == "depthwise" and extent == "global"
        if fixed != (size is not None):
            needed = "(h, w)" if fixed else "None unless depthwise and global"
            raise ValueError(f"expected size to be {needed}, got {size!r}")
        self.channels, self.extent = channels, extent

        if fixed:
            h, w = size
            check_positive(h=h, w=w)
            layers = [_GlobalDepthwise(channels, (h, w)), nn.BatchNorm2d(channels)]
        elif gather == "depthwise":
            layers = []
            for _ in range(extent.bit_length() - 1):
                half = nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False)
                layers += [half, nn.BatchNorm2d(channels), nn.ReLU()]
            layers.pop()
        self.gather = nn.Sequential(*layers) if gather == "depthwise" else None

        self.excite = nn.Identity()
        if excite == "mlp":
            check_positive(reduction=reduction)
            check_splits(channels=channels, reduction=reduction)
            narrow = channels // reduction
            self.excite = nn.Sequential(
                nn.ReLU() if gather == "depthwise" else nn.Identity(),
                nn.Conv2d(channels, narrow, 1),
                nn.ReLU(),
                nn.Conv2d(narrow, channels, 1),
            )

    def average(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """θ⁻: the mean of the pixels of the map that lie in each cell's window."""
        if self.extent == "global":
            return reduce(x, "b c h w -> b c 1 1", "mean")
        e = self.extent
        return F.avg_pool2d(x, 2 * e - 1, e, e - 1, count_include_pad=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        s = self.average(x) if self.gather is None else self.gather(x)
        gate = torch.sigmoid(self.excite(s))
        if self.extent != "global":
            gate = F.interpolate(gate, size=x.shape[2:], mode="nearest")
        return x * gate
