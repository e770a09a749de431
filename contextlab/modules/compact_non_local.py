"""Compact generalised non-local: every channel at every pixel asks every other one.

Yue, Sun, Yuan, Zhou, Ding, Xu: Compact Generalized Non-local Network, NeurIPS 2018,
https://arxiv.org/abs/1810.13125
"""

import math

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ._precision import staying_wide, wide, widely
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_splits

KERNELS = ("dot_product", "rbf")


@register(
    "compact_non_local",
    title="Compact generalised non-local block (CGNL)",
    node="a channel (and position)",
    squeeze="none",
    reason="every channel with every channel",
    reconstruct="add",
    source="Yue et al., NeurIPS 2018",
    lesson="06",
)
class CompactNonLocal(nn.Module):
    """Adds to every channel of every pixel what all channels of all pixels of its group answer.

        y = f(vec θ, vec φ) vec g,    z = GN(W_z y) + x

        dot_product   f_ij = θ_i φ_j
        rbf           f_ij = exp(-γ (θ_i - φ_j)²) ≈ Σ_p α_p² (θ_i φ_j)^p,  p = 0 ... order
                      α_p² = β (2γ)^p / p!,    β = exp(-γ (θ_i² + φ_j²))

    The vectors hold all z = P/G h w numbers of one of G groups of the P channels, so f has z²
    entries. Each term is a product of one factor of i and one of j, so that y_i takes only
    the scalars ⟨α_p φ^p, g⟩: one a group and term, in place of f.

    The norm has the same G groups and divides a group's scale out again. Of dot_product's single
    scalar that leaves the sign (and, where y is small, what ε lets through); rbf keeps the ratios
    of its scalars, and needs a γ that does not make the term p = 0 drown the others.

    Squeeze: none, every channel of every pixel is a node.
    Reason: every channel talks to every channel of its group, at every pixel.
    Reconstruct: a grouped 1x1 convolution, group normalisation, add.

    Args:
        channels: channels c of the map.
        reduction: θ, φ and g are P = c / reduction wide; must divide c.
        groups: groups G, on their own each; must divide P.
        kernel: the affinity f, one of the two above.
        order: last power p of the Taylor series (rbf).
        gamma: γ (rbf).
        beta: "exact" as above, or "constant": exp(-2γ) (rbf).
        scale: divide the scalars by √z.
        zero_init: start as the identity: weight and bias of the norm are zero.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (the norm needs b c / G h w > 1).

    Cost:
        b h w (3 c P + c P / G) MACs for the convolutions and 2 b h w P for every term (the second
        half of them element-wise for dot_product). 3 c P + c P / G + 2 c parameters.
        Memory is linear in h w: the affinity is b G scalars for every term.

    Example:
        >>> CompactNonLocal(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Yue et al., NeurIPS 2018, equations 5 to 14.

    Differs from the official code:
        Its β is exp(-2γ), right only for vectors of length 1, which it does not make;
        ``beta="constant"`` is that form. With ``scale`` it divides by √z, as we do. Convolutions
        start normal with deviation 0.01 and the norm at zero, as there for a single block.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        groups: int = 8,
        kernel: str = "dot_product",
        order: int = 2,
        gamma: float = 1e-4,
        beta: str = "exact",
        scale: bool = False,
        zero_init: bool = True,
    ):
        super().__init__()
        check_positive(channels=channels, reduction=reduction, groups=groups, order=order)
        check_splits(channels=channels, reduction=reduction)
        width = channels // reduction
        check_splits(width=width, groups=groups)
        check_choice("kernel", kernel, KERNELS)
        check_choice("beta", beta, ("exact", "constant"))
        if not gamma > 0:
            raise ValueError(f"expected gamma above 0, got {gamma!r}")
        self.channels, self.groups, self.kernel = channels, groups, kernel
        self.order, self.gamma, self.beta, self.scale = order, gamma, beta, scale
        self.theta = nn.Conv2d(channels, width, 1, bias=False)
        self.phi = nn.Conv2d(channels, width, 1, bias=False)
        self.g = nn.Conv2d(channels, width, 1, bias=False)
        self.out = nn.Conv2d(width, channels, 1, groups=groups, bias=False)
        self.norm = nn.GroupNorm(groups, channels)
        for layer in (self.theta, self.phi, self.g, self.out):
            nn.init.normal_(layer.weight, std=0.01)
        if zero_init:
            nn.init.zeros_(self.norm.weight)

    def terms(self, t: Float[Tensor, "b k z"]) -> Float[Tensor, "b k z p"]:
        """α_p t^p for every p, with the half of β that is t's own."""
        alphas = [
            math.sqrt((2 * self.gamma) ** p / math.factorial(p)) for p in range(self.order + 1)
        ]
        powers = torch.stack([alpha * t**p for p, alpha in enumerate(alphas)], -1)
        if self.beta == "constant":
            return math.exp(-self.gamma) * powers
        return torch.exp(-self.gamma * t**2)[..., None] * powers

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        theta, phi, g = (
            rearrange(t(x), "b (k c) h w -> b k (c h w)", k=self.groups)
            for t in (self.theta, self.phi, self.g)
        )
        with staying_wide(theta):
            theta, phi, g = wide(theta), wide(phi), wide(g)
            if self.scale:
                g = g * g.shape[-1] ** -0.5
            if self.kernel == "dot_product":
                answer = einsum(phi, g, "b k z, b k z -> b k")
                y = einsum(theta, answer, "b k z, b k -> b k z")
            else:
                answer = einsum(self.terms(phi), g, "b k z p, b k z -> b k p")
                y = einsum(self.terms(theta), answer, "b k z p, b k p -> b k z")
            y = rearrange(y, "b k (c h w) -> b (k c) h w", h=x.shape[2], w=x.shape[3])
            y = widely(self.norm, widely(self.out, y))
        return y.to(x.dtype) + x
