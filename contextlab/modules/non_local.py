"""Non-local block: every pixel asks every other one.

Wang, Girshick, Gupta, He: Non-local Neural Networks, CVPR 2018, https://arxiv.org/abs/1711.07971
"""

import math

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from torch import Tensor, nn

from ._precision import exact
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_query, check_splits

MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


def softmax_attention(
    query: Float[Tensor, "b k i d"],
    key: Float[Tensor, "b k j d"],
    value: Float[Tensor, "b k j e"],
    scale: float,
) -> Float[Tensor, "b k i e"]:
    """``sum_j softmax_j(scale q_i . k_j) v_j`` on fused attention: no i x j matrix is stored."""
    e = value.shape[-1]
    if e < query.shape[-1]:  # the fused kernels want all three equally wide
        value = F.pad(value, (0, query.shape[-1] - e))
    return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :e]


def dot_product_attention(
    query: Float[Tensor, "b k i d"],
    key: Float[Tensor, "b k j d"],
    value: Float[Tensor, "b k j e"],
) -> Float[Tensor, "b k i e"]:
    """``1/n sum_j (q_i . k_j) v_j`` as ``q_i . (1/n sum_j k_j v_j)``: d x e in place of i x j."""
    root = key.shape[-2] ** 0.5  # n taken half from each side stays inside float16
    summary = einsum(key / root, value / root, "b k j d, b k j e -> b k d e")
    return einsum(query, summary, "b k i d, b k d e -> b k i e")


def concatenation_attention(
    a: Float[Tensor, "b k i"], b: Float[Tensor, "b k j"], value: Float[Tensor, "b k j e"]
) -> Float[Tensor, "b k i e"]:
    """``1/n sum_j ReLU(a_i + b_j) v_j`` by sorting the b_j: again no i x j matrix.

    ReLU keeps the keys with ``b_j > -a_i``. Once b falls from left to right these are the first
    m_i keys, so running sums of v_j and of b_j v_j, read off at m_i, answer every query.
    """
    a, b, v = exact(a), exact(b), exact(value)  # long sums need the digits
    b, order = b.sort(descending=True)
    v = v.gather(2, repeat(order, "b k j -> b k j e", e=v.shape[-1]))
    bv = einsum(b, v, "b k j, b k j e -> b k j e")
    m = torch.searchsorted((-b).contiguous(), a.contiguous())
    m = repeat(m, "b k i -> b k i e", e=v.shape[-1])
    sum_v, sum_bv = (F.pad(s.cumsum(2), (0, 0, 1, 0)).gather(2, m) for s in (v, bv))
    y = einsum(a, sum_v, "b k i, b k i e -> b k i e") + sum_bv
    return (y / b.shape[-1]).to(value.dtype)


def places(h: int, w: int, count: int, like: Tensor) -> Float[Tensor, "p h w"]:
    """Where a pixel lies: sines and cosines of 1, 2, 4, ... half-waves a side, p = 4 count.

    A product of two of them knows the distance: cos a cos b + sin a sin b = cos(a - b).
    """
    angle = math.pi * 2.0 ** torch.arange(count).to(like)
    steps = ((torch.arange(n).to(like) + 0.5) / n for n in (h, w))
    down, across = (einsum(angle, step, "k, n -> k n") for step in steps)
    down, across = (torch.cat([t.sin(), t.cos()]) for t in (down, across))
    return torch.cat([repeat(down, "k h -> k h w", w=w), repeat(across, "k w -> k h w", h=h)])


@register(
    "non_local",
    title="Non-local block",
    node="a pixel",
    squeeze="none",
    reason="everyone with everyone, by affinity",
    reconstruct="add",
    source="Wang et al., CVPR 2018",
    lesson="03",
)
class NonLocal(nn.Module):
    """Adds to every pixel a weighted mean of all pixels, weighted by affinity.

        y_i = 1/C_i Σ_j A(x_i, x_j) g(x_j),    z_i = W_z y_i + x_i

        embedded_gaussian   A = exp(θ(x_i) · φ(x_j))          C_i = Σ_j A(x_i, x_j)
        gaussian            A = exp(x_i · x_j)                C_i = Σ_j A(x_i, x_j)
        dot_product         A = θ(x_i) · φ(x_j)               C_i = N
        concatenation       A = ReLU(w · [θ(x_i), φ(x_j)])    C_i = N

    Squeeze: none, every pixel is a node.
    Reason: everyone talks to everyone, along a graph whose edges are the affinities.
    Reconstruct: add to the pixel itself.

    Args:
        channels: channels c of the map.
        reduction: θ, φ and g are d = c / reduction wide; must divide c.
        mode: the affinity A, one of the four above.
        heads: affinities side by side, each on its own d / heads channels of θ, φ and g.
        shared_value: the heads have the full width d each and all read the same g.
        subsample: φ and g are max-pooled over cells of this side: N / subsample² pixels answer.
        scale: divide the logits of a soft-max form by the root of their width.
        waves: θ and φ also read where a pixel lies, from so many pairs of sines and cosines a side
            (`places`). Without them the block knows no place: a shuffled map is answered shuffled.
        norm: batch normalisation after W_z.
        zero_init: start as the identity: the norm's weight, or without norm W_z, is zero.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, norm needs b h w > 1). Fused attention
        (the two Gaussians) has no second derivatives on a CPU.

    Cost:
        N = h w. 4 b N c d MACs for θ, φ, g, W_z, and for the affinities, where all pixels answer,
        2 b N² d (embedded_gaussian), 2 b N d² / heads (dot_product), 2 b N d and a sort
        (concatenation); gaussian 2 b N c d and 2 b N² c. Memory is linear in N in every mode.
        4 c d + 3 d + c parameters (gaussian 2 c d + d + c), norm 2 c, concatenation 2 d more.
        With shared_value each head costs as much as a single one; g, norm and the bias of W_z once.
        Each pair of waves adds 8 d parameters and 8 b N d MACs.

    Example:
        >>> NonLocal(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Wang et al., CVPR 2018, equations 1 to 6, section 3.3 for the zero start and sub-sampling.
        Several heads that share one g: y_i = Σ_k W_k / C_ik Σ_j A_k(x_i, x_j) g(x_j).

    Differs from the official code:
        It has one head and drops incomplete cells when it sub-samples; we keep them, so that maps
        smaller than a cell work. Common ports divide the logits by √d unasked; the paper and we
        do not. With shared_value the W_k have one bias together, since only its sum matters.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        mode: str = "embedded_gaussian",
        heads: int = 1,
        shared_value: bool = False,
        subsample: int = 1,
        scale: bool = False,
        waves: int | None = None,
        norm: bool = True,
        zero_init: bool = True,
    ):
        super().__init__()
        check_choice("mode", mode, MODES)
        check_positive(channels=channels, reduction=reduction, heads=heads, subsample=subsample)
        if waves is not None:
            check_positive(waves=waves)
        check_splits(channels=channels, reduction=reduction)
        d = channels // reduction
        if shared_value and mode == "gaussian":
            raise ValueError("expected a mode with theta and phi for shared_value, got 'gaussian'")
        if not shared_value:
            check_splits(width=d, heads=heads)
        if scale and mode not in MODES[:2]:
            raise ValueError(f"expected a soft-max mode {MODES[:2]} for scale=True, got {mode!r}")
        if mode == "gaussian" and waves is not None:
            raise ValueError("expected a mode with theta and phi for waves, got 'gaussian'")
        self.channels, self.mode, self.subsample = channels, mode, subsample
        self.waves = waves
        self.heads, self.value_heads = heads, 1 if shared_value else heads

        asked = heads * d if shared_value else d
        width = (channels if mode == "gaussian" else asked) // heads
        self.scale = width**-0.5 if scale else 1.0
        embed = mode != "gaussian"
        read = channels + 4 * (waves or 0)
        self.theta = nn.Conv2d(read, asked, 1) if embed else nn.Identity()
        self.phi = nn.Conv2d(read, asked, 1) if embed else nn.Identity()
        self.g = nn.Conv2d(channels, d, 1)
        self.w = nn.Parameter(torch.empty(2, heads, width)) if mode == "concatenation" else None
        self.out = nn.Conv2d(asked, channels, 1)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.pool = nn.MaxPool2d(subsample, ceil_mode=True) if subsample > 1 else nn.Identity()
        self.reset(zero_init)

    def reset(self, zero_init: bool) -> None:
        """Draw the weights anew: normal with deviation 0.01 (w: d^(-1/2)), biases zero."""
        for layer in (self.theta, self.phi, self.g, self.out):
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)
        if self.w is not None:
            nn.init.normal_(self.w, std=self.w.shape[-1] ** -0.5)
        if zero_init:
            last = self.out if isinstance(self.norm, nn.Identity) else self.norm
            nn.init.zeros_(last.weight)

    def project(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor, Tensor]:
        """theta, phi and g of every pixel, as nodes ``b k n d`` of k heads."""

        def nodes(t: Tensor, heads: int) -> Tensor:  # contiguous, as the fused kernels want d last
            return rearrange(t, "b (k d) h w -> b k (h w) d", k=heads).contiguous()

        read = x
        if self.waves is not None:
            where = places(*x.shape[2:], self.waves, like=x)
            read = torch.cat([x, repeat(where, "p h w -> b p h w", b=len(x))], 1)
        query = nodes(self.theta(read), self.heads)
        key = nodes(self.pool(self.phi(read)), self.heads)
        value = nodes(self.pool(self.g(x)), self.value_heads)
        return query, key, value.expand(-1, self.heads, -1, -1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        query, key, value = self.project(x)
        if self.mode == "dot_product":
            y = dot_product_attention(query, key, value)
        elif self.mode == "concatenation":
            a, b = (einsum(t, w, "b k n d, k d -> b k n") for t, w in zip((query, key), self.w))
            y = concatenation_attention(a, b, value)
        else:
            y = softmax_attention(query, key, value, self.scale)
        y = rearrange(y, "b k (h w) d -> b (k d) h w", h=x.shape[2])
        return x + self.norm(self.out(y))

    @torch.no_grad()
    def affinity(
        self, x: Float[Tensor, "b c h w"], query: tuple[int, int]
    ) -> Float[Tensor, "b k y x"]:
        """The weights A / C with which one pixel asks all others, without the other queries.

        Args:
            x: the map that enters the block.
            query: row and column of the pixel that asks.

        Returns:
            ``b heads h w`` (sides divided by ``subsample``, rounded up); the soft-max forms sum
            to 1 over the map.

        Example:
            >>> NonLocal(64).affinity(torch.randn(2, 64, 9, 7), query=(4, 0)).shape
            torch.Size([2, 1, 9, 7])
        """
        check_map(self, x, self.channels)
        h, w = x.shape[2:]
        row, column = check_query(query, h, w)
        asks, key, _ = self.project(x)
        asks = asks[:, :, row * w + column]
        if self.mode == "concatenation":
            a = einsum(asks, self.w[0], "b k d, k d -> b k")
            b = einsum(key, self.w[1], "b k j d, k d -> b k j")
            weights = torch.relu(rearrange(a, "b k -> b k 1") + b)
        else:
            weights = einsum(asks, key, "b k d, b k j d -> b k j")
        if self.mode in MODES[:2]:
            weights = torch.softmax(self.scale * weights, -1)
        else:
            weights = weights / key.shape[2]
        return rearrange(weights, "b k (y x) -> b k y x", y=-(-h // self.subsample))
