"""Global pooling: one vector sums up the image, to the first or to the second order.

The average: Liu, Rabinovich, Berg: ParseNet, 2015, https://arxiv.org/abs/1506.04579
Bilinear: Lin, RoyChowdhury, Maji: Bilinear CNN Models, ICCV 2015, https://arxiv.org/abs/1504.07889
Hadamard: Li et al.: Towards Efficient Scene Understanding via Squeeze Reasoning, TIP 2021,
https://arxiv.org/abs/2011.03308
"""

import torch
from einops import einsum, rearrange, reduce
from torch import Tensor, nn

from ._precision import staying_wide, wide, widely
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_splits

SUMS = ("mean", "sum")


def average_pool(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c"]:
    """First order: the mean of every channel, ``g = 1/N Σ_i x_i``.

    Example:
        >>> average_pool(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64])
    """
    return reduce(x, "b c h w -> b c", "mean")


def hadamard_pool(
    b: Float[Tensor, "b c h w"], c: Float[Tensor, "b c h w"], *, pool: str = "mean"
) -> Float[Tensor, "b c"]:
    """Second order, channel by channel: ``g = 1/N Σ_i b_i ∘ c_i``, bilinear pooling's diagonal.

    Args:
        b, c: two maps of one shape.
        pool: "mean", or "sum" without the 1/N; a sum grows with the map, and float16 ends at 65504.

    Example:
        >>> hadamard_pool(torch.randn(2, 64, 9, 7), torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64])
    """
    check_choice("pool", pool, SUMS)
    return reduce(b * c, "b c h w -> b c", pool)


def bilinear_pool(
    b: Float[Tensor, "b p h w"], c: Float[Tensor, "b q h w"], *, pool: str = "mean"
) -> Float[Tensor, "b p q"]:
    """Second order, every channel with every other: ``G = 1/N Σ_i b_i c_iᵀ``.

    Args:
        b, c: two maps over the same pixels.
        pool: "mean", or "sum" without the 1/N.

    Example:
        >>> bilinear_pool(torch.randn(2, 8, 9, 7), torch.randn(2, 6, 9, 7)).shape
        torch.Size([2, 8, 6])
    """
    check_choice("pool", pool, SUMS)
    if pool == "mean":
        root = (b.shape[2] * b.shape[3]) ** 0.5  # N taken half from each side stays inside float16
        b, c = b / root, c / root
    return einsum(b, c, "b p h w, b q h w -> b p q")


class _Concatenate(nn.Module):
    """``ReLU(BN(W [x_i ; g]))`` as ``W_x x_i + W_g g``: the vector is never spread over the map."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.pixel = nn.Conv2d(channels, channels, 1, bias=False)
        self.image = nn.Linear(width, channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b k"]) -> Tensor:
        y = self.pixel(x)
        dtype = y.dtype
        with staying_wide(y):
            y = wide(y) + rearrange(widely(self.image, g), "b c -> b c 1 1")
            return torch.relu(widely(self.norm, y)).to(dtype)


@register(
    "global_average",
    title="Global average pooling, concatenated",
    node="the image",
    squeeze="global average pooling",
    reason="none",
    reconstruct="broadcast, concatenate",
    source="Liu et al., 2015",
    lesson="04",
)
class GlobalAverage(nn.Module):
    """Tells every pixel the mean of the whole image.

        g = 1/N Σ_i x_i,    y_i = ReLU(BN(W [x_i ; g]))

    Squeeze: global average pooling, one number a channel.
    Reason: none.
    Reconstruct: concatenate the vector to every pixel, back to c channels by a 1 x 1 convolution.

    Args:
        channels: channels c of the map.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, the norm needs b h w > 1).

    Cost:
        b h w c² + b c² MACs, since the vector's half of W is applied once an image; 2 c² + 2 c
        parameters.

    Example:
        >>> GlobalAverage(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Liu et al., 2015, section 3 (the global feature, fused early).

    Differs from the official code:
        It normalises the map and the vector to unit length before it joins them; we have batch
        normalisation after the 1 x 1 convolution, as the pooling branches of PSP and ASPP do.
    """

    def __init__(self, channels: int):
        super().__init__()
        check_positive(channels=channels)
        self.channels = channels
        self.fuse = _Concatenate(channels, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        return self.fuse(x, average_pool(x))


@register(
    "hadamard_pooling",
    title="Global Hadamard pooling, concatenated",
    node="the image",
    squeeze="Hadamard pooling",
    reason="none",
    reconstruct="broadcast, concatenate",
    source="Li et al., TIP 2021",
    lesson="04",
)
class GlobalHadamard(nn.Module):
    """Tells every pixel which pairs of features meet in the image, one pair a channel.

        b_i = W_b x_i,    c_i = W_c x_i,    g = 1/N Σ_i b_i ∘ c_i,    y_i = ReLU(BN(W [x_i ; g]))

    Squeeze: Hadamard pooling, the mean of the products of two learned features, p numbers.
    Reason: none.
    Reconstruct: concatenate the vector to every pixel, back to c channels by a 1 x 1 convolution.

    Args:
        channels: channels c of the map.
        reduction: b and c are p = c / reduction wide; must divide c.
        pool: "mean", or "sum" without the 1/N.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, the norm needs b h w > 1).

    Cost:
        b h w (2 c p + c²) + b p c MACs (the products are element-wise);
        3 c p + c² + 2 c parameters.

    Example:
        >>> GlobalHadamard(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Li et al., Squeeze Reasoning, TIP 2021, equation 4; p = c / 2 as there.

    Differs from the official code:
        Equation 4 and the code are a sum, which grows with the map: a network trained on crops
        meets other numbers on whole images. The mean is our default, ``pool="sum"`` the paper's.
    """

    def __init__(self, channels: int, *, reduction: int = 2, pool: str = "mean"):
        super().__init__()
        check_positive(channels=channels, reduction=reduction)
        check_splits(channels=channels, reduction=reduction)
        check_choice("pool", pool, SUMS)
        p = channels // reduction
        self.channels, self.pool = channels, pool
        self.b = nn.Conv2d(channels, p, 1, bias=False)
        self.c = nn.Conv2d(channels, p, 1, bias=False)
        self.fuse = _Concatenate(channels, p)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        g = hadamard_pool(wide(self.b(x)), wide(self.c(x)), pool=self.pool)
        return self.fuse(x, g)


@register(
    "bilinear_pooling",
    title="Global bilinear pooling, concatenated",
    node="the image",
    squeeze="bilinear pooling",
    reason="none",
    reconstruct="broadcast, concatenate",
    source="Lin et al., ICCV 2015",
    lesson="04",
)
class GlobalBilinear(nn.Module):
    """Tells every pixel which pairs of features meet in the image, all pairs.

        b_i = W_b x_i,    c_i = W_c x_i,    G = 1/N Σ_i b_i c_iᵀ,    y_i = ReLU(BN(W [x_i ; vec G]))

    Squeeze: bilinear pooling, the mean outer product of two learned features, p² numbers.
    Reason: none.
    Reconstruct: concatenate the vector to every pixel, back to c channels by a 1 x 1 convolution.

    Args:
        channels: channels c of the map.
        reduction: b and c are p = c / reduction wide; must divide c.
        pool: "mean", or "sum" without the 1/N.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, the norm needs b h w > 1).

    Cost:
        b h w (2 c p + p² + c²) + b p² c MACs; 2 c p + p² c + c² + 2 c parameters, which is why p
        has to be small: at c = 512 and p = c the vector alone would take 134 million weights.

    Example:
        >>> GlobalBilinear(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Lin et al., ICCV 2015, equation 2; Li et al., Squeeze Reasoning, TIP 2021, equation 3.

    Differs from the official code:
        Bilinear CNNs take c x c numbers of two networks and scale them by signed root and length;
        we project to p first and leave the scale to the mean. ``pool="sum"`` is equation 3.
    """

    def __init__(self, channels: int, *, reduction: int = 8, pool: str = "mean"):
        super().__init__()
        check_positive(channels=channels, reduction=reduction)
        check_splits(channels=channels, reduction=reduction)
        check_choice("pool", pool, SUMS)
        p = channels // reduction
        self.channels, self.pool = channels, pool
        self.b = nn.Conv2d(channels, p, 1, bias=False)
        self.c = nn.Conv2d(channels, p, 1, bias=False)
        self.fuse = _Concatenate(channels, p * p)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        b, c = self.b(x), self.c(x)
        with staying_wide(b):
            g = bilinear_pool(wide(b), wide(c), pool=self.pool)
        return self.fuse(x, rearrange(g, "b p q -> b (p q)"))
