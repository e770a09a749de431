"""Steps on the grid of pixels: what neighbourhoods share, and what they do not."""

from __future__ import annotations

import torch
from torch import Tensor


def propagate(x: Tensor, steps: int, *, rule: str = "A", neighbours: int = 4) -> Tensor:
    """Steps on the pixel grid: X <- A X (smoothing) or X <- (I - A) X (what smoothing takes away).

    A is the mean over a pixel and its neighbours, D^-1 (A + I); no n x n matrix is made.

    Args:
        x: ``h w``.
        steps: how many.
        rule: "A" or "I - A".
        neighbours: 4 or 8.

    Example:
        >>> x = torch.ones(4, 6)
        >>> propagate(x, 3).unique(), propagate(x, 1, rule="I - A").unique()
        (tensor([1.]), tensor([0.]))
    """
    if rule not in ("A", "I - A"):
        raise ValueError(f"expected rule 'A' or 'I - A', got {rule!r}")
    corner = float(neighbours == 8)
    taps = torch.tensor([[corner, 1, corner], [1, 1, 1], [corner, 1, corner]])[None, None]

    def total(t: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(t[None, None], taps.to(t), padding=1)[0, 0]

    degree = total(torch.ones_like(x))
    for _ in range(steps):
        mean = total(x) / degree
        x = mean if rule == "A" else x - mean
    return x
