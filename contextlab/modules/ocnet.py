"""Object context: self-attention with one embedding for asking and answering, in three forms.

Yuan, Huang, Guo, Zhang, Chen, Wang: OCNet, Object Context for Semantic Segmentation, IJCV 2021,
https://arxiv.org/abs/1809.00916
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ._layers import conv_norm_relu
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_splits
from .non_local import softmax_attention

FORMS = ("base", "pyramid", "asp")


class CellAttention(nn.Module):
    """Self-attention inside each cell of a grid of s x s cells, with query = key.

    Args:
        channels: channels c of the map.
        width: channels d of the embedding and of the value.
        out_channels: channels of the result.
        cells: cells s along each side; 1: the whole map is one.
        subsample: max-pool the map over cells of this side first, and upsample the result.
        zero_init: the result is zero at the start.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        out_channels: int,
        *,
        cells: int = 1,
        subsample: int = 1,
        zero_init: bool = True,
    ):
        super().__init__()
        self.cells, self.subsample = cells, subsample
        self.embed = conv_norm_relu(channels, width, bias=True)
        self.value = nn.Conv2d(channels, width, 1)
        self.out = nn.Conv2d(width, out_channels, 1)
        self.pool = nn.MaxPool2d(subsample, ceil_mode=True) if subsample > 1 else nn.Identity()
        if zero_init:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h w"]:
        h, w = x.shape[2:]
        x = self.pool(x)
        y = self.out(self.attend(self.embed(x), self.value(x)))
        if self.subsample > 1:
            y = F.interpolate(y, (h, w), mode="bilinear", align_corners=False)
        return y

    def attend(
        self, embedded: Float[Tensor, "b d h w"], value: Float[Tensor, "b d h w"]
    ) -> Float[Tensor, "b d h w"]:
        s, (h, w) = self.cells, embedded.shape[2:]
        rows, columns = -(-h // s), -(-w // s)  # of one cell; the last ones may be incomplete
        scale = embedded.shape[1] ** -0.5

        def cells(t: Tensor) -> Tensor:
            t = F.pad(t, (0, s * columns - w, 0, s * rows - h))
            return rearrange(
                t, "b d (y p) (x q) -> b (y x) (p q) d", y=s, x=s
            ).contiguous()  # as the fused kernels want d last

        key = cells(embedded)
        if s == 1:
            y = softmax_attention(key, key, cells(value), scale)
        else:
            # finite, so that a cell without a single pixel yields numbers (which are cut off)
            away = torch.finfo(value.dtype).min / 2
            mask = away * (1 - cells(value.new_ones(1, 1, h, w)))
            mask = rearrange(mask, "1 k j 1 -> 1 k 1 j")
            y = F.scaled_dot_product_attention(key, key, cells(value), attn_mask=mask, scale=scale)
        y = rearrange(y, "b (y x) (p q) d -> b d (y p) (x q)", y=s, p=rows)
        return y[:, :, :h, :w]


@register(
    "ocnet",
    title="Object context (OCNet)",
    node="a pixel",
    squeeze="none",
    reason="everyone with everyone, by affinity; in the pyramid form within cells",
    reconstruct="concatenate",
    source="Yuan et al., IJCV 2021",
    lesson="06",
)
class ObjectContext(nn.Module):
    """Adds to every pixel the mean of the pixels that look alike, as channels of their own.

        w_ij = exp(θ(x_i) · θ(x_j) / √d) / Σ_k exp(θ(x_i) · θ(x_k) / √d)
        c_i = W_c Σ_j w_ij W_v x_j

        base      y = ρ(W [c, x])
        pyramid   y = ρ(W [c_1, c_2, c_3, c_6, ρ(W_x x)])    c_s: j in the same of s x s cells
        asp       y = ρ(W [c, ρ(W_0 x), ρ(W_r * x) for each rate r])

        θ = ρ(W_θ x), ρ = ReLU after batch normalisation

    Squeeze: none, every pixel is a node.
    Reason: everyone talks to everyone (pyramid: in the same cell), by affinity.
    Reconstruct: concatenate with the pixel itself (asp: with the branches of ASPP) and project.

    Args:
        channels: channels c of the map.
        out_channels: channels of the result; None: c.
        form: "base", "pyramid" or "asp".
        reduction: θ and the value are d = c / reduction wide; must divide c.
        sizes: cells along each side of the map, one attention each (pyramid).
        rates: dilations of the 3 x 3 branches (asp).
        subsample: the attention runs on a map that is max-pooled by this factor.
        zero_init: the context c is zero at the start.
        dropout: share of channels dropped at the end.

    Shape:
        ``b c h w`` to ``b out_channels h w``, any h and w (in training b h w > 1). An exported
        pyramid keeps to the size with which it was exported.

    Cost:
        N = h w, result e. One attention: A = b (N (2 c d + d v) + 2 N² d) MACs, v wide (cells:
        N² / s²; subsample: N / subsample²). base A + 2 b N c e with v = c; k sizes:
        Σ A + b N (k c² + 2 k c e) with v = c; k rates: A + b N e (c (1 + 9 k) + (2 + k) e) with
        v = e. Memory is linear in N in every form. Parameters as the layers, N-free.

    Example:
        >>> ObjectContext(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Yuan et al., section 3 (base, pyramid and ASP object context; 512 and 256 channels).

    Differs from the official code:
        Where s does not divide h or w, its last cells are the larger ones and ours the smaller
        ones, so that maps smaller than s work; a map that s divides is cut alike.
        ``subsample=2`` in the asp form is SFSegNets'; a blanket initialisation of the head there
        undoes the zero start: ``zero_init=False``. ``dropout=0.05`` is the code's and left to the
        network by default.
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        form: str = "base",
        reduction: int = 2,
        sizes: tuple[int, ...] = (1, 2, 3, 6),
        rates: tuple[int, ...] = (12, 24, 36),
        subsample: int = 1,
        zero_init: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_choice("form", form, FORMS)
        out = channels if out_channels is None else out_channels
        check_positive(
            channels=channels, out_channels=out, reduction=reduction, subsample=subsample
        )
        check_splits(channels=channels, reduction=reduction)
        for size in sizes:
            check_positive(size=size)
        for rate in rates:
            check_positive(rate=rate)
        self.channels, self.form = channels, form
        d, options = channels // reduction, {"subsample": subsample, "zero_init": zero_init}
        if form == "asp":
            contexts = [CellAttention(channels, d, out, **options)]
            others = [conv_norm_relu(channels, out)]
            others += [conv_norm_relu(channels, out, 3, rate=rate) for rate in rates]
            width = out * (2 + len(rates))
        elif form == "pyramid":
            contexts = [
                CellAttention(channels, d, channels, cells=size, **options) for size in sizes
            ]
            others = [conv_norm_relu(channels, len(sizes) * channels, bias=True)]
            width = 2 * len(sizes) * channels
        else:
            contexts = [CellAttention(channels, d, channels, **options)]
            others = [nn.Identity()]
            width = 2 * channels
        self.contexts, self.others = nn.ModuleList(contexts), nn.ModuleList(others)
        self.project = conv_norm_relu(width, out, bias=True)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h w"]:
        check_map(self, x, self.channels)
        parts = [branch(x) for branch in (*self.contexts, *self.others)]
        return self.dropout(self.project(torch.cat(parts, 1)))
