"""Hamburger: context as a low-rank factorisation of the map, solved inside the network.

Geng, Guo, Chen, Li, Wei, Lin: Is Attention Better Than Matrix Decomposition?, ICLR 2021,
https://arxiv.org/abs/2109.04553
"""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from torch import Tensor, nn

from ._precision import exact, without_autocast
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive

EPSILON = 1e-6


def update_codes(
    x: Float[Tensor, "b d n"], atoms: Float[Tensor, "b d r"], codes: Float[Tensor, "b n r"]
) -> Float[Tensor, "b n r"]:
    """C ← C ⊙ XᵀD / (C DᵀD + ε): never increases ‖X - D Cᵀ‖."""
    gram = einsum(atoms, atoms, "b d r, b d q -> b r q")
    above = einsum(x, atoms, "b d n, b d r -> b n r")
    return codes * above / (einsum(codes, gram, "b n r, b r q -> b n q") + EPSILON)


def update_atoms(
    x: Float[Tensor, "b d n"], atoms: Float[Tensor, "b d r"], codes: Float[Tensor, "b n r"]
) -> Float[Tensor, "b d r"]:
    """D ← D ⊙ XC / (D CᵀC + ε), likewise."""
    gram = einsum(codes, codes, "b n r, b n q -> b r q")
    above = einsum(x, codes, "b d n, b n r -> b d r")
    return atoms * above / (einsum(atoms, gram, "b d r, b r q -> b d q") + EPSILON)


def factorise(
    x: Float[Tensor, "b d n"], atoms: Float[Tensor, "b d r"], steps: int
) -> tuple[Float[Tensor, "b d r"], Float[Tensor, "b n r"]]:
    """Atoms D and codes C with X ≈ D Cᵀ, none of them negative, after so many updates of both."""
    codes = torch.softmax(einsum(x, atoms, "b d n, b d r -> b n r"), -1)
    for _ in range(steps):
        codes = update_codes(x, atoms, codes)
        atoms = update_atoms(x, atoms, codes)
    return atoms, codes


@register(
    "hamburger",
    title="Hamburger (NMF)",
    node="an NMF atom",
    squeeze="matrix factorisation",
    reason="the low-rank product",
    reconstruct="add",
    source="Geng et al., ICLR 2021",
    lesson="06",
)
class Hamburger(nn.Module):
    """Adds to the map its own low-rank part, found by non-negative matrix factorisation.

        X = ReLU(W_l x + b),    T times:
            C = C ⊙ XᵀD / (C DᵀD),    D = D ⊙ XC / (D CᵀC)
        y = ReLU(x + BN(W_u D Cᵀ)),    after one more C

    Squeeze: matrix factorisation of the d x N map into R atoms D and the pixels' codes C.
    Reason: the low-rank product: pixels with like codes share atoms.
    Reconstruct: D Cᵀ through a 1x1, added to the pixel itself.

    Args:
        channels: channels c of the map.
        width: d, channels of the map that is factorised; None: as many as c.
        rank: R, the number of atoms.
        steps: T, updates of codes and atoms; one of the codes alone follows.
        eval_steps: T outside training; None: the same.
        gradient: one_step: only through the last update of the codes and the product;
            full: back through all steps.
        start: fixed: the first atoms are a buffer, drawn once from U(0, 1) at unit length;
            fresh: they are drawn anew in every call, for one image after the other, by torch's
            generator of the device, so that no two answers are equal.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, norm needs b h w > 1).

    Cost:
        N = h w. 2 b N c d MACs for both 1x1; b T (2 N d R + (3 N + 3 d) R²) at most for the steps,
        3 b N d R for first codes, last codes and product. Memory b N (d + R) with one_step,
        T times the codes and atoms more with full. 2 c d + d + 2 c parameters.

    Example:
        >>> Hamburger(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Geng et al., ICLR 2021, section 2.2.2 and algorithm 2 (NMF), section 3 (one-step
        gradient); R 64, T 6.

    Differs from the official code:
        It draws fresh atoms in every call, at inference too (``start="fresh"``), which makes its
        answers random; ours is repeatable. It takes 7 steps at inference (``eval_steps=7``), its
        paper's configuration 6. The momentum of its norm is 3e-4 for 0.1 here; convolutions start
        normal with variance 2 / (k² outputs), ours as torch's do. A well-known successor trains
        with ``gradient="full"``.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int | None = None,
        rank: int = 64,
        steps: int = 6,
        eval_steps: int | None = None,
        gradient: str = "one_step",
        start: str = "fixed",
    ):
        super().__init__()
        width = channels if width is None else width
        eval_steps = steps if eval_steps is None else eval_steps
        check_positive(channels=channels, width=width, rank=rank)
        check_positive(steps=steps, eval_steps=eval_steps)
        check_choice("gradient", gradient, ("one_step", "full"))
        check_choice("start", start, ("fixed", "fresh"))
        self.channels, self.gradient, self.start = channels, gradient, start
        self.steps, self.eval_steps = steps, eval_steps
        self.lower = nn.Conv2d(channels, width, 1)
        self.upper = nn.Conv2d(width, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.register_buffer("atoms", F.normalize(torch.rand(width, rank), dim=0))

    def decompose(self, x: Float[Tensor, "b d n"]) -> tuple[Tensor, Tensor]:
        """Atoms ``b d r`` and codes ``b n r`` of a map without negative values."""
        atoms = repeat(self.atoms.to(x.dtype), "d r -> b d r", b=len(x))
        if self.start == "fresh":
            atoms = F.normalize(torch.rand_like(atoms), dim=1)
        constant = x if self.gradient == "full" else x.detach()
        steps = self.steps if self.training else self.eval_steps
        atoms, codes = factorise(constant, atoms, steps)
        return atoms, update_codes(x, atoms, codes)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        features = torch.relu(self.lower(x))
        with without_autocast(x):
            atoms, codes = self.decompose(rearrange(exact(features), "b d h w -> b d (h w)"))
            low_rank = einsum(atoms, codes, "b d r, b n r -> b d n")
        low_rank = rearrange(low_rank, "b d (h w) -> b d h w", h=x.shape[2])
        return torch.relu(x + self.norm(self.upper(low_rank.to(features.dtype))))
