"""Dual attention: pixels ask pixels, channels ask channels, and the answers are summed.

Fu, Liu, Tian, Li, Bao, Fang, Lu: Dual Attention Network for Scene Segmentation, CVPR 2019,
https://arxiv.org/abs/1809.02983
"""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from ._precision import exact, without_autocast
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_query, check_splits
from .non_local import softmax_attention

#: queries that ask at a time on a CPU: few enough for linear memory, enough for large products
BLOCK = 256


class BlockedAttention(torch.autograd.Function):
    """``sum_j softmax_j(scale q_i . k_j) v_j`` of ``b d i``, ``b d j``, ``b e j``, to ``b e i``.

    A block of queries asks at a time and no affinity outlives its block. The backward pass forms
    them again: d more products a pair of pixels, on top of 2 (d + e).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        found = [
            value @ torch.softmax(scale * q.mT @ key, -1).mT for q in query.split(BLOCK, dim=2)
        ]
        return torch.cat(found, 2)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.scale = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        found, d_key, d_value = [], torch.zeros_like(key), torch.zeros_like(value)
        with without_autocast(grad):
            for q, g in zip(query.split(BLOCK, dim=2), grad.split(BLOCK, dim=2)):
                q = ctx.scale * q
                weights = torch.softmax(q.mT @ key, -1)
                logits = torch.ops.aten._softmax_backward_data(g.mT @ value, weights, -1, g.dtype)
                d_value.baddbmm_(g, weights)
                d_key.baddbmm_(q, logits)
                found.append(ctx.scale * (key @ logits.mT))
                del weights, logits  # before the next block makes its own
        return torch.cat(found, 2), d_key, d_value, None


def wide_value_attention(
    query: Float[Tensor, "b d i"],
    key: Float[Tensor, "b d j"],
    value: Float[Tensor, "b e j"],
    scale: float,
) -> Float[Tensor, "b e i"]:
    """``sum_j softmax_j(scale q_i . k_j) v_j`` for e >= d, without an i x j matrix.

    A CPU's fused kernel wants keys as wide as values, so there blocks of queries ask. It takes
    padded keys only in half precision, since it sums in float32, and in compiled graphs, where the
    number of blocks would fix the size of the map.
    """
    on_cpu = query.device.type == "cpu"
    full = query.dtype in (torch.float32, torch.float64)
    # a tensor of another class has no values and is counted, as on a GPU
    eager = type(query) is Tensor and not torch.compiler.is_compiling()
    if on_cpu and full and eager:
        return BlockedAttention.apply(query, key, value, scale)
    query, key, value = (rearrange(t, "b d n -> b 1 n d").contiguous() for t in (query, key, value))
    if on_cpu:
        extra = value.shape[-1] - query.shape[-1]
        query, key = F.pad(query, (0, extra)), F.pad(key, (0, extra))  # zeros add no product
    return rearrange(softmax_attention(query, key, value, scale), "b 1 n e -> b e n")


@register(
    "position_attention",
    title="DANet position attention",
    node="a pixel",
    squeeze="none",
    reason="everyone with everyone, by affinity",
    reconstruct="add",
    source="Fu et al., CVPR 2019",
    lesson="06",
)
class PositionAttention(nn.Module):
    """Adds to every pixel a weighted mean of all pixels: DANet's position attention (PAM).

        s_ji = softmax_i(B_i · C_j),    E_j = α Σ_i s_ji D_i + A_j

    Squeeze: none, every pixel is a node.
    Reason: everyone talks to everyone, along a graph whose edges are the affinities.
    Reconstruct: add to the pixel itself, times a learned α that starts at zero.

    Args:
        channels: channels c of the map.
        reduction: B and C are d = c / reduction wide, D is c wide; must divide c.
        scale: divide the logits by √d.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w. In half precision and in a compiled graph attention
        is fused, which has no second derivatives on a CPU.

    Cost:
        b h w (c² + 2 c d) + b (h w)² (c + d) MACs; c² + 2 c d + c + 2 d + 1 parameters.
        Memory is linear in h w: attention is fused, or on a CPU 256 queries ask at a time. A CPU's
        fused kernel wants B and C as wide as D: where it is taken the affinities cost 2 b (h w)² c.

    Example:
        >>> PositionAttention(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Fu et al., CVPR 2019, equations 1 and 2.

    Differs from the official code:
        In nothing but that it stores the n x n affinities. The names of the paper's maps are
        exchanged in it, which changes nothing, since each has a convolution of its own.
    """

    def __init__(self, channels: int, *, reduction: int = 8, scale: bool = False):
        super().__init__()
        check_positive(channels=channels, reduction=reduction)
        check_splits(channels=channels, reduction=reduction)
        self.channels = channels
        d = channels // reduction
        self.scale = d**-0.5 if scale else 1.0
        self.query = nn.Conv2d(channels, d, 1)
        self.key = nn.Conv2d(channels, d, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        query, key, value = (t(x).flatten(2) for t in (self.query, self.key, self.value))
        e = wide_value_attention(query, key, value, self.scale)
        return self.alpha * rearrange(e, "b c (h w) -> b c h w", h=x.shape[2]) + x

    @torch.no_grad()
    def affinity(
        self, x: Float[Tensor, "b c h w"], query: tuple[int, int]
    ) -> Float[Tensor, "b k y x"]:
        """The weights s_j with which one pixel asks all others, without the other queries.

        Args:
            x: the map that enters the block.
            query: row and column of the pixel that asks.

        Returns:
            ``b 1 h w``, which sums to 1 over the map.

        Example:
            >>> PositionAttention(64).affinity(torch.randn(2, 64, 9, 7), query=(4, 0)).shape
            torch.Size([2, 1, 9, 7])
        """
        check_map(self, x, self.channels)
        h, w = x.shape[2:]
        row, column = check_query(query, h, w)
        asks = self.scale * self.query(x)[:, :, row, column]
        weights = einsum(asks, self.key(x), "b d, b d y x -> b y x")
        weights = torch.softmax(rearrange(weights, "b y x -> b (y x)"), -1)
        return rearrange(weights, "b (y x) -> b 1 y x", y=h)


@register(
    "channel_attention",
    title="DANet channel attention",
    node="a channel",
    squeeze="none",
    reason="every channel with every channel",
    reconstruct="add",
    source="Fu et al., CVPR 2019",
    lesson="06",
)
class ChannelAttention(nn.Module):
    """Adds to every channel a weighted mean of all channels: DANet's channel attention (CAM).

        x_ji = softmax_i(A_i · A_j),    E_j = β Σ_i x_ji A_i + A_j

    Here A_i is channel i at all N = h w pixels, and no convolution comes before. The products are
    sums over N pixels: on a large map they differ by so much that the soft-max picks one channel.

    Squeeze: none, every channel is a node that holds a whole map.
    Reason: every channel talks to every channel, along a graph whose edges are the affinities.
    Reconstruct: add to the channel itself, times a learned β that starts at zero.

    Args:
        channels: channels c of the map.
        scale: divide the products by N, so that they do not grow with the map.
        dissimilar: softmax_i(max_k A_k · A_j - A_i · A_j): the least alike weighs most.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w.

    Cost:
        2 b h w c² MACs, 1 parameter; the affinities are b c².

    Example:
        >>> ChannelAttention(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Fu et al., CVPR 2019, equations 3 and 4.

    Differs from the official code:
        Before its soft-max it subtracts each product from the largest, which turns the order
        around; ``dissimilar=True`` is that form. Ours is the paper's equation 3. We take the
        products in float32 at least, since half precision has no digits left for their differences.
    """

    def __init__(self, channels: int, *, scale: bool = False, dissimilar: bool = False):
        super().__init__()
        check_positive(channels=channels)
        self.channels, self.scale = channels, scale
        self.sign = -1.0 if dissimilar else 1.0
        self.beta = nn.Parameter(torch.zeros(1))

    def weights(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c c"]:
        """x_ji: row j holds the weights with which channel j asks all channels."""
        a = exact(x)
        if self.scale:
            a = a * (x.shape[2] * x.shape[3]) ** -0.5
        with without_autocast(x):
            products = einsum(a, a, "b j h w, b i h w -> b j i")
        return torch.softmax(self.sign * products, -1).to(x.dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        return self.beta * einsum(self.weights(x), x, "b j i, b i h w -> b j h w") + x


@register(
    "dual_attention",
    title="DANet dual attention",
    node="a pixel; a channel",
    squeeze="none",
    reason="every pixel with every pixel; every channel with every channel",
    reconstruct="sum of both",
    source="Fu et al., CVPR 2019",
    lesson="06",
)
class DualAttention(nn.Module):
    """Sums position attention and channel attention, each between two convolutions: DANet's head.

        y = f₂(PAM(f₁(x))) + g₂(CAM(g₁(x)))

    f₁, f₂, g₁ and g₂ are k x k convolutions, each with batch normalisation and ReLU.

    Squeeze: none, the nodes are the pixels in one branch and the channels in the other.
    Reason: every pixel talks to every pixel, and every channel to every channel.
    Reconstruct: the sum of both branches.

    Args:
        channels: channels c of the map.
        out_channels: channels e of both branches and of the result; None for c.
        kernel: side k of the four convolutions, odd; 1 leaves all talk to the attentions, None
            leaves the convolutions out.
        reduction: of :class:`PositionAttention`.
        scale: divide the logits of both attentions, as each one says.
        dissimilar: of :class:`ChannelAttention`.
        merge: "sum" as above, or "projection": each branch first passes dropout (0.1, whole
            channels) and a 1x1 convolution.

    Shape:
        ``b c h w`` to ``b e h w``, any h and w (in training, the norms need b h w > 1). For second
        derivatives see :class:`PositionAttention`.

    Cost:
        2 b h w k² (c e + e²) MACs and those of both attentions at e channels; projection
        2 b h w e². 2 k² (c e + e²) + 8 e parameters and those of both; projection 2 e² + 2 e.

    Example:
        >>> DualAttention(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Fu et al., CVPR 2019, figure 2 and section 3.4.

    Differs from the official code:
        It classifies the sum and each branch alone and trains all three; here :meth:`branches`
        gives both maps to whoever adds classifiers. ``merge="projection"`` is the form of the
        SFSegNets code. For the channels' soft-max see :class:`ChannelAttention`.
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        kernel: int | None = 3,
        reduction: int = 8,
        scale: bool = False,
        dissimilar: bool = False,
        merge: str = "sum",
    ):
        super().__init__()
        width = channels if out_channels is None else out_channels
        check_positive(channels=channels, out_channels=width)
        check_choice("merge", merge, ("sum", "projection"))
        if kernel is not None:
            check_positive(kernel=kernel)
            if kernel % 2 == 0:
                raise ValueError(f"expected kernel to be odd, got {kernel}")
        elif width != channels:
            raise ValueError(f"expected a kernel to make {width} channels of {channels}, got None")
        self.channels = channels

        def cbr(wide: int) -> nn.Module:
            if kernel is None:
                return nn.Identity()
            conv = nn.Conv2d(wide, width, kernel, padding=kernel // 2, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())

        def last() -> nn.Module:
            if merge == "sum":
                return nn.Identity()
            return nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, width, 1))

        position = PositionAttention(width, reduction=reduction, scale=scale)
        channel = ChannelAttention(width, scale=scale, dissimilar=dissimilar)
        self.position = nn.Sequential(cbr(channels), position, cbr(width))
        self.channel = nn.Sequential(cbr(channels), channel, cbr(width))
        self.position_merge, self.channel_merge = last(), last()

    def branches(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """The maps ``b e h w`` of the position branch and of the channel branch."""
        check_map(self, x, self.channels)
        return self.position(x), self.channel(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h w"]:
        position, channel = self.branches(x)
        return self.position_merge(position) + self.channel_merge(channel)

    @torch.no_grad()
    def affinity(
        self, x: Float[Tensor, "b c h w"], query: tuple[int, int]
    ) -> Float[Tensor, "b k y x"]:
        """:meth:`PositionAttention.affinity` of the map that the position branch makes of x."""
        check_map(self, x, self.channels)
        return self.position[1].affinity(self.position[0](x), query)
