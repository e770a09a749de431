"""Asymmetric non-local blocks: every pixel asks a few pooled bins instead of every pixel.

Zhu, Xu, Bai, Huang, Bai: Asymmetric Non-local Neural Networks for Semantic Segmentation,
ICCV 2019, https://arxiv.org/abs/1908.07678
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from ._layers import average_bins, conv_norm_relu
from ._registry import register
from ._shapes import Float, check_map, check_positive, check_query, check_splits

BINS = (1, 3, 6, 8)


def pyramid_pool(x: Float[Tensor, "b c h w"], bins: Sequence[int]) -> Float[Tensor, "b c s"]:
    """The averages of 1 x 1, 3 x 3, 6 x 6, ... bins side by side: S = Σ bins² anchors."""
    pooled = [rearrange(average_bins(x, side), "b c y x -> b c (y x)") for side in bins]
    return torch.cat(pooled, -1)


class _Asymmetric(nn.Module):
    """What both blocks share: pixels of one map ask the bins of another, or of the same one."""

    def __init__(self, channels, low_channels, reduction, bins, scale, zero_init, dropout):
        super().__init__()
        check_positive(channels=channels, low_channels=low_channels, reduction=reduction)
        check_splits(channels=channels, reduction=reduction)
        bins = tuple(bins)
        if not bins:
            raise ValueError("expected at least one side in bins, got none")
        for side in bins:
            check_positive(bins=side)
        if not 0 <= dropout < 1:
            raise ValueError(f"expected dropout in [0, 1), got {dropout!r}")
        d = channels // reduction
        self.channels, self.low_channels, self.bins = channels, low_channels, bins
        self.scale = d**-0.5 if scale else 1.0
        self.value = nn.Conv2d(low_channels, d, 1)
        self.out = nn.Conv2d(d, channels, 1)
        self.fuse = conv_norm_relu(2 * channels, channels, bias=True, relu=False)
        self.dropout = nn.Dropout2d(dropout)
        if zero_init:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "b c h w"]:
        """W_o of what the pixels of ``query`` get from the bins of ``key`` and ``value``."""
        h = query.shape[2]
        query = rearrange(query, "b d h w -> b 1 (h w) d").contiguous()
        key, value = (
            rearrange(pyramid_pool(t, self.bins), "b d s -> b 1 s d").contiguous()
            for t in (key, value)
        )
        y = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        # contiguous, since a convolution of channels that lie last answers in that order
        return self.out(rearrange(y, "b 1 (h w) d -> b d h w", h=h).contiguous())

    def spread(
        self, asks: Float[Tensor, "b d"], key: Float[Tensor, "b d h w"]
    ) -> Float[Tensor, "b 1 h w"]:
        """The weights of the bins, each shared out among its pixels: the pooling, transposed."""
        bins = pyramid_pool(key, self.bins)
        weights = torch.softmax(self.scale * einsum(asks, bins, "b d, b d s -> b s"), -1)
        flat = torch.zeros_like(key[:, :1])
        _, transposed = torch.func.vjp(lambda t: pyramid_pool(t, self.bins), flat)
        return transposed(rearrange(weights, "b s -> b 1 s"))[0]


@register(
    "asymmetric_non_local",
    title="Asymmetric pyramid non-local block (ANN)",
    node="keys: a pooled bin",
    squeeze="pyramid pooling",
    reason="pixels ask bins",
    reconstruct="concatenate",
    source="Zhu et al., ICCV 2019",
    lesson="06",
)
class AsymmetricNonLocal(_Asymmetric):
    """Lets every pixel ask the S = 110 bins of a pyramid instead of all N pixels (APNB).

        K_S, V_S = pool(φ(x)), pool(W_v x),    pool: 1x1, 3x3, 6x6 and 8x8 averages
        y_i = W_o Σ_s softmax_s(φ(x_i) · k_s / √d) v_s,    z_i = ReLU(BN(W_z [y_i, x_i]))

    Squeeze: pyramid pooling of keys and values to S = Σ bins² bins.
    Reason: every pixel asks every bin, along a graph whose edges are the affinities.
    Reconstruct: concatenate the answer with the pixel itself and mix both by a 1x1.

    Args:
        channels: channels c of the map.
        reduction: queries, keys and values are d = c / reduction wide; must divide c.
        bins: sides of the pooled grids.
        scale: divide the logits by the root of d.
        zero_init: start W_o at zero, so that the context has no say at first.
        dropout: share of channels dropped at the end, in training.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, norm needs b h w > 1). Fused attention
        has no second derivatives on a CPU.

    Cost:
        N = h w. b N (3 c d + 2 c²) MACs for the 1x1 convolutions and 2 b N S d for the affinities:
        linear in N. 3 c d + 2 c² + 4 d + 4 c parameters. Memory b N S at most.

    Example:
        >>> AsymmetricNonLocal(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Zhu et al., ICCV 2019, equations 4 to 8 and section 3.2.

    Differs from the official code:
        Queries and keys share φ there as well, but it is evaluated twice (c d MACs a pixel more);
        we evaluate it once, with equal results, but for the running statistics of its norm, which
        move twice a step there: as with momentum 0.19 for 0.1. Its dropout is 0.05; ours is off
        unless asked for.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        bins: Sequence[int] = BINS,
        scale: bool = True,
        zero_init: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__(channels, channels, reduction, bins, scale, zero_init, dropout)
        self.phi = conv_norm_relu(channels, channels // reduction, bias=True)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        phi = self.phi(x)
        y = self.attend(phi, phi, self.value(x))
        return self.dropout(torch.relu(self.fuse(torch.cat([y, x], 1))))

    @torch.no_grad()
    def affinity(
        self, x: Float[Tensor, "b c h w"], query: tuple[int, int]
    ) -> Float[Tensor, "b 1 h w"]:
        """The weights with which one pixel asks all others, through the bins that hold them.

        Args:
            x: the map that enters the block.
            query: row and column of the pixel that asks.

        Returns:
            ``b 1 h w``: sums to 1 over the map.

        Example:
            >>> AsymmetricNonLocal(64).affinity(torch.randn(2, 64, 9, 7), query=(4, 0)).shape
            torch.Size([2, 1, 9, 7])
        """
        check_map(self, x, self.channels)
        row, column = check_query(query, *x.shape[2:])
        phi = self.phi(x)
        return self.spread(phi[:, :, row, column], phi)


@register(
    "asymmetric_fusion",
    title="Asymmetric fusion non-local block (ANN)",
    node="keys: a pooled bin of an earlier map",
    squeeze="pyramid pooling",
    reason="pixels ask bins",
    reconstruct="concatenate",
    source="Zhu et al., ICCV 2019",
    lesson="06",
)
class AsymmetricFusion(_Asymmetric):
    """Lets every pixel of a deep map ask the pooled bins of an earlier, lower-level one (AFNB).

        K_S, V_S = pool(φ_k(l)), pool(W_v l),    l: the low-level map
        y_i = W_o Σ_s softmax_s(φ_q(x_i) · k_s / √d) v_s,    z_i = BN(W_z [y_i, x_i])

    Squeeze: pyramid pooling of the low-level map's keys and values to S = Σ bins² bins.
    Reason: every pixel asks every bin, along a graph whose edges are the affinities.
    Reconstruct: concatenate the answer with the pixel itself and mix both by a 1x1.

    Args:
        channels: channels c of the map.
        low_channels: channels e of the low-level map; None: as many as c.
        reduction: queries, keys and values are d = c / reduction wide; must divide c.
        bins: sides of the pooled grids.
        scale: divide the logits by the root of d.
        zero_init: start W_o at zero, so that the context has no say at first.
        dropout: share of channels dropped at the end, in training.

    Shape:
        ``b c h w``, and the low-level map ``b e y x`` of any size, to ``b c h w``. Without a
        low-level map, x takes its place, so that the block fits a slot that has one map.
        In training, norm needs b h w > 1, of both maps. Fused attention has no second derivatives
        on a CPU.

    Cost:
        N = h w, M = y x. b N (2 c d + 2 c²) + 2 b M e d MACs for the 1x1 convolutions and
        2 b N S d for the affinities. 2 c d + 2 e d + 2 c² + 7 d + 4 c parameters.

    Example:
        >>> AsymmetricFusion(64, low_channels=32)(
        ...     torch.randn(2, 64, 9, 7), torch.randn(2, 32, 18, 14)
        ... ).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Zhu et al., ICCV 2019, section 3.3: channels 2048, low_channels 1024, 256 wide.

    Differs from the official code:
        Its dropout is 0.05; ours is off unless asked for.
    """

    def __init__(
        self,
        channels: int,
        *,
        low_channels: int | None = None,
        reduction: int = 8,
        bins: Sequence[int] = BINS,
        scale: bool = True,
        zero_init: bool = True,
        dropout: float = 0.0,
    ):
        low_channels = channels if low_channels is None else low_channels
        super().__init__(channels, low_channels, reduction, bins, scale, zero_init, dropout)
        self.query = conv_norm_relu(channels, channels // reduction, bias=True)
        self.key = conv_norm_relu(low_channels, channels // reduction, bias=True)

    def forward(
        self, x: Float[Tensor, "b c h w"], low: Float[Tensor, "b e y x"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        low = self.checked(x, low)
        y = self.attend(self.query(x), self.key(low), self.value(low))
        return self.dropout(self.fuse(torch.cat([y, x], 1)))

    def checked(self, x: Tensor, low: Tensor | None) -> Tensor:
        """The low-level map, x itself without one; refuse maps that do not fit."""
        check_map(self, x, self.channels)
        low = x if low is None else low
        if low.ndim != 4 or len(low) != len(x) or low.shape[1] != self.low_channels:
            raise ValueError(
                f"AsymmetricFusion expected a low-level map ({len(x)}, {self.low_channels}, y, x), "
                f"got {tuple(low.shape)}"
            )
        return low

    @torch.no_grad()
    def affinity(
        self,
        x: Float[Tensor, "b c h w"],
        query: tuple[int, int],
        low: Float[Tensor, "b e y x"] | None = None,
    ) -> Float[Tensor, "b 1 y x"]:
        """The weights with which one pixel asks all others, through the bins that hold them.

        Args:
            x: the map that enters the block.
            query: row and column of the pixel that asks.
            low: the low-level map, whose pixels are asked.

        Returns:
            ``b 1 y x``: sums to 1 over the map.

        Example:
            >>> AsymmetricFusion(64).affinity(torch.randn(2, 64, 9, 7), query=(4, 0)).shape
            torch.Size([2, 1, 9, 7])
        """
        low = self.checked(x, low)
        row, column = check_query(query, *x.shape[2:])
        return self.spread(self.query(x)[:, :, row, column], self.key(low))
