"""Expectation-maximisation attention: pixels are mixtures of a few bases, found by iteration.

Li, Zhong, Wu, Yang, Lin, Liu: Expectation-Maximization Attention Networks for Semantic
Segmentation, ICCV 2019, https://arxiv.org/abs/1907.13426
"""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from torch import Tensor, nn

from ._precision import exact, without_autocast
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive


def expectation(x: Float[Tensor, "b c n"], bases: Float[Tensor, "b c k"]) -> Float[Tensor, "b n k"]:
    """z_nk = softmax_k(x_n · μ_k): how much of pixel n each basis answers for."""
    return torch.softmax(einsum(x, bases, "b c n, b c k -> b n k"), -1)


def maximisation(x: Float[Tensor, "b c n"], z: Float[Tensor, "b n k"]) -> Float[Tensor, "b c k"]:
    """μ_k = Σ_n z_nk x_n / Σ_n z_nk, at unit length."""
    share = z / (z.sum(1, keepdim=True) + 1e-6)
    return F.normalize(einsum(x, share, "b c n, b n k -> b c k"), dim=1, eps=1e-6)


@register(
    "em_attention",
    title="EM attention (EMANet)",
    node="a basis",
    squeeze="EM responsibilities",
    reason="mixture re-estimation",
    reconstruct="responsibilities x bases",
    source="Li et al., ICCV 2019",
    lesson="06",
)
class EMAttention(nn.Module):
    """Rebuilds every pixel from K bases that expectation-maximisation fits to the image.

        X = W₁ x + b₁,    T times:
            z_nk = softmax_k(x_n · μ_k),    μ_k = Σ_n z_nk x_n / Σ_n z_nk,    μ_k = μ_k / ‖μ_k‖
        y_n = ReLU(x_n + BN(W₂ ReLU(Σ_k z_nk μ_k)))

    Squeeze: the responsibilities z of the bases for the pixels (E step).
    Reason: the bases are estimated anew from what they answer for (M step), T times in turn.
    Reconstruct: responsibilities times bases, through a 1x1, added to the pixel itself.

    Args:
        channels: channels c of the map.
        bases: their number K.
        steps: T, pairs of E and M steps.
        momentum: α; in training the first bases become α μ + (1 - α) times the batch's mean of
            the last ones. They are a buffer, ``bases``, saved with the weights.
        renormalise: bring the averaged bases back to unit length.
        gradient: full: through all steps; none: the rebuilt map is a constant, so that W₁ keeps
            its random start and learning goes by x, W₂ and the norm.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, norm needs b h w > 1).

    Cost:
        N = h w. 2 b N c² MACs for W₁ and W₂, (2 T + 1) b N K c for the steps and the rebuilt map;
        memory b N K a step. 2 c² + 3 c parameters; the bases are no parameters.

    Example:
        >>> EMAttention(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Li et al., ICCV 2019, equations 10 to 15; K 64, T 3, α 0.9.

    Differs from the official code:
        There the steps run without gradient, which is ``gradient="none"``; we follow the
        equations, which every layer can learn from. It divides a basis by 1e-6 + its length, where
        ours is of unit length; the momentum of its norm is 3e-4 for 0.1 here; convolutions start
        normal with variance 2 / (k² outputs), ours as torch's do. A widespread port returns the new
        bases and never averages them, so that they stay random; ours are averaged. The port in
        mmsegmentation brings the mean over the batch to unit length before it is averaged in,
        ``renormalise`` the average itself.
    """

    def __init__(
        self,
        channels: int,
        *,
        bases: int = 64,
        steps: int = 3,
        momentum: float = 0.9,
        renormalise: bool = False,
        gradient: str = "full",
    ):
        super().__init__()
        check_positive(channels=channels, bases=bases, steps=steps)
        check_choice("gradient", gradient, ("full", "none"))
        if not 0 <= momentum <= 1:
            raise ValueError(f"expected momentum between 0 and 1, got {momentum!r}")
        self.channels, self.steps, self.gradient = channels, steps, gradient
        self.momentum, self.renormalise = momentum, renormalise
        self.embed = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.register_buffer("bases", F.normalize(torch.randn(channels, bases), dim=0))
        self.embed.requires_grad_(gradient == "full")

    def iterate(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """Responsibilities ``b n k`` and bases ``b c k`` after the last step."""
        x = rearrange(x, "b c h w -> b c (h w)")
        first = self.bases.to(x.dtype, copy=True)  # the average changes the buffer in place
        mu = repeat(first, "c k -> b c k", b=len(x))
        for _ in range(self.steps):
            z = expectation(x, mu)
            mu = maximisation(x, z)
        return z, mu

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        features = self.embed(x)
        with without_autocast(x):
            known = exact(features if self.gradient == "full" else features.detach())
            z, mu = self.iterate(known)
            if self.training and len(x):  # an empty batch has no mean
                self.average(mu.detach())
            y = einsum(mu, z, "b c k, b n k -> b c n")
        y = rearrange(torch.relu(y), "b c (h w) -> b c h w", h=x.shape[2]).to(features.dtype)
        return torch.relu(x + self.norm(self.out(y)))

    @torch.no_grad()
    def average(self, mu: Float[Tensor, "b c k"]) -> None:
        """Move the first bases of the next call towards those that this batch ended with."""
        bases = self.bases.lerp(mu.mean(0).to(self.bases.dtype), 1 - self.momentum)
        self.bases.copy_(F.normalize(bases, dim=0) if self.renormalise else bases)

    @torch.no_grad()
    def responsibilities(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """How much of every pixel each basis answers for: maps that sum to 1 over k.

        Example:
            >>> EMAttention(64, bases=8).responsibilities(torch.randn(2, 64, 9, 7)).shape
            torch.Size([2, 8, 9, 7])
        """
        check_map(self, x, self.channels)
        z, _ = self.iterate(self.embed(x))
        return rearrange(z, "b (h w) k -> b k h w", h=x.shape[2])
