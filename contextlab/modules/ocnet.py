"""Object context: self-attention with one embedding for asking and answering, in several forms.

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

FORMS = ("base", "pyramid", "asp", "official_pyramid", "official_asp")


class CellAttention(nn.Module):
    """Self-attention inside each cell of a grid of s x s cells, with query = key.

    Args:
        channels: channels c of the map.
        width: channels d of the embedding.
        value: channels v of the value; None: d.
        out_channels: channels of the result.
        cells: cells s along each side; 1: the whole map is one.
        subsample: max-pool the map over cells of this side first, and upsample the result.
        zero_init: the result is zero at the start.
    """

    align_corners = False

    def __init__(
        self,
        channels: int,
        width: int,
        out_channels: int,
        *,
        value: int | None = None,
        cells: int = 1,
        subsample: int = 1,
        zero_init: bool = True,
    ):
        super().__init__()
        self.cells, self.subsample = cells, subsample
        value = width if value is None else value
        self.embed = conv_norm_relu(channels, width, bias=True)
        self.value = nn.Conv2d(channels, value, 1)
        self.out = nn.Conv2d(value, out_channels, 1)
        self.pool = nn.MaxPool2d(subsample, ceil_mode=True) if subsample > 1 else nn.Identity()
        if zero_init:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h w"]:
        h, w = x.shape[2:]
        x = self.pool(x)
        y = self.out(self.attend(self.embed(x), self.value(x)))
        if self.subsample > 1:
            y = F.interpolate(y, (h, w), mode="bilinear", align_corners=self.align_corners)
        return y

    def attend(
        self, embedded: Float[Tensor, "b d h w"], value: Float[Tensor, "b v h w"]
    ) -> Float[Tensor, "b v h w"]:
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


class FloorPool(nn.MaxPool2d):
    """Max pooling over whole cells alone; a smaller map is one."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c y x"]:
        return F.max_pool2d(x, [min(self.kernel_size, side) for side in x.shape[2:]])


class OfficialAttention(CellAttention):
    """The same in the official code's arithmetic: floors, and corners that are aligned.

    The last cell of a side has what the others leave, so it is the larger one; sub-sampling drops
    the rows and columns that do not fill a cell.
    """

    align_corners = True

    def __init__(self, channels: int, width: int, out_channels: int, **options):
        super().__init__(channels, width, out_channels, **options)
        if self.subsample > 1:
            self.pool = FloorPool(self.subsample)

    def attend(
        self, embedded: Float[Tensor, "b d h w"], value: Float[Tensor, "b v h w"]
    ) -> Float[Tensor, "b v h w"]:
        rows, columns = (spans(side, self.cells) for side in value.shape[2:])

        def whole(row: slice, column: slice) -> Tensor:
            key, v = (
                rearrange(t[:, :, row, column], "b d y x -> b 1 (y x) d").contiguous()
                for t in (embedded, value)
            )
            scale = key.shape[3] ** -0.5
            if key.device.type == "cpu":  # its fused kernel wants both equally wide
                key = F.pad(key, (0, max(0, v.shape[3] - key.shape[3])))
            y = softmax_attention(key, key, v, scale)
            return rearrange(y, "b 1 (y x) d -> b d y x", y=row.stop - row.start)

        return torch.cat([torch.cat([whole(r, c) for c in columns], 3) for r in rows], 2)


def spans(length: int, parts: int) -> list[slice]:
    """The official cells along one side, without those that have no pixel."""
    step = length // parts
    starts = [step * i for i in range(parts)] if step else [0]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], length])]


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
                  official: ρ(W_2 c(ρ(W_1 * x))) in place of c, a 3 x 3 before and a 1 x 1 after

        θ = ρ(W_θ x), ρ = ReLU after batch normalisation

    Squeeze: none, every pixel is a node.
    Reason: everyone talks to everyone (pyramid: in the same cell), by affinity.
    Reconstruct: concatenate with the pixel itself (asp: with the branches of ASPP) and project.

    Args:
        channels: channels c of the map.
        out_channels: channels of the result; None: c.
        form: "base", "pyramid" or "asp"; "official_pyramid" and "official_asp" as in the code: see
            below.
        reduction: θ and the value are d = c / reduction wide; must divide c. In the official forms
            the value has all channels that θ reads, c in the pyramid and e in asp, where
            d = e / reduction.
        sizes: cells along each side of the map, one attention each (pyramid).
        rates: dilations of the 3 x 3 branches (asp).
        subsample: the attention runs on a map that is max-pooled by this factor; None: 2 in
            "official_asp", else 1.
        zero_init: the context c is zero at the start.
        dropout: share of channels dropped at the end.

    Shape:
        ``b c h w`` to ``b out_channels h w``, any h and w (in training b h w > 1). An exported
        pyramid or official form keeps to the size with which it was exported. Fused attention has
        no second derivatives on a CPU.

    Cost:
        N = h w, result e. One attention: A = b (N (2 c d + d v) + 2 N² d) MACs, v wide (cells:
        N² / s²; subsample: N / subsample²). base A + 2 b N c e with v = c; k sizes:
        Σ A + b N (k c² + 2 k c e) with v = c; k rates: A + b N e (c (1 + 9 k) + (2 + k) e) with
        v = e. official_pyramid: A = b (N c (d + 2 c) + N² / s² (d + c)); official_asp:
        A = b (n e (d + 2 e) + n² (d + e)) on n = N / subsample² pixels, and b N e (9 c + e) more
        for what stands around it. Memory is linear in N in every form. Parameters as the layers,
        N-free.

    Example:
        >>> ObjectContext(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Yuan et al., section 3 (base, pyramid and ASP object context; 512 and 256 channels).

    Differs from the official code:
        "base" without ``subsample`` in nothing. "pyramid" and "asp" are simpler than the code's,
        with one width for key and value; the official forms are those of SFSegNets, but for the
        order of the concatenation. A blanket initialisation of the head there undoes the zero
        start: ``zero_init=False``. Its dropout at the end, left to the network here, is 0.05 and in
        asp 0.1; another of 0.05 ends its asp branch and has no counterpart. The authors' first code
        has leaky ReLUs of slope 0.01 for all of them, and an asp whose last 1 x 1 returns twice as
        many channels as a branch has. Where s does not divide h or w, the last official cells are
        the larger ones and ours the smaller ones. All these codes run θ twice in each step, for
        query and key, so that its running statistics move twice: as with momentum 0.19 for 0.1.
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
        subsample: int | None = None,
        zero_init: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_choice("form", form, FORMS)
        out = channels if out_channels is None else out_channels
        official, asp = form.startswith("official"), form.endswith("asp")
        if subsample is None:
            subsample = 2 if official and asp else 1
        check_positive(
            channels=channels, out_channels=out, reduction=reduction, subsample=subsample
        )
        # the channels that θ reads
        wide = out if official and asp else channels
        name = "channels" if wide == channels else "out_channels"
        check_splits(**{name: wide, "reduction": reduction})
        for size in sizes:
            check_positive(size=size)
        for rate in rates:
            check_positive(rate=rate)
        self.channels, self.form = channels, form
        d, options = wide // reduction, {"subsample": subsample, "zero_init": zero_init}
        attention = CellAttention
        if official:
            attention, options["value"] = OfficialAttention, wide
        if asp:
            contexts = [attention(wide, d, out, **options)]
            if official:
                before, after = (
                    conv_norm_relu(channels, out, 3, bias=True),
                    conv_norm_relu(out, out, bias=True),
                )
                contexts = [nn.Sequential(before, *contexts, after)]
            others = [conv_norm_relu(channels, out)]
            others += [conv_norm_relu(channels, out, 3, rate=rate) for rate in rates]
            width = out * (2 + len(rates))
        elif form.endswith("pyramid"):
            contexts = [attention(channels, d, channels, cells=size, **options) for size in sizes]
            others = [conv_norm_relu(channels, len(sizes) * channels, bias=True)]
            width = 2 * len(sizes) * channels
        else:
            contexts = [attention(channels, d, channels, **options)]
            others = [nn.Identity()]
            width = 2 * channels
        self.contexts, self.others = nn.ModuleList(contexts), nn.ModuleList(others)
        self.project = conv_norm_relu(width, out, bias=not (official and asp))
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h w"]:
        check_map(self, x, self.channels)
        parts = [branch(x) for branch in (*self.contexts, *self.others)]
        return self.dropout(self.project(torch.cat(parts, 1)))
