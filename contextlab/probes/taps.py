"""Taps of dilated convolutions: where they read, what they skip, how many paths lead there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def taps_of(rate: int) -> list[tuple[int, int]]:
    """Offsets (rows, columns) of a 3 x 3 kernel at this rate, row by row.

    Example:
        >>> taps_of(6)[:3]
        [(-6, -6), (-6, 0), (-6, 6)]
    """
    return [(y * rate, x * rate) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def padding_free(shape: tuple[int, int], rate: int) -> float:
    """Share of the nine taps that read the map and not its padding, over all positions.

    Example:
        >>> padding_free((33, 33), 36) == 1 / 9
        True
    """
    row, column = ((1 + 2 * max(0, n - rate) / n) / 3 for n in shape)
    return row * column


def coverage(rates: Sequence[int], *, stacked: bool) -> Tensor:
    """How many paths lead from each input position to the middle output.

    Args:
        rates: of 3 x 3 kernels.
        stacked: one kernel after the other; otherwise side by side, summed.

    Returns:
        ``side side`` whole numbers; 0 is a hole.

    Example:
        >>> coverage([1, 3], stacked=True).tolist() == torch.ones(9, 9).tolist()
        True
    """
    reach = sum(rates) if stacked else max(rates)
    one = torch.zeros(1, 1, 2 * reach + 1, 2 * reach + 1, dtype=torch.float64)  # whole to 2**53
    one[..., reach, reach] = 1
    taps, paths = one.new_ones(1, 1, 3, 3), one if stacked else torch.zeros_like(one)
    for rate in rates:
        read = F.conv2d(paths if stacked else one, taps, padding=rate, dilation=rate)
        paths = read if stacked else paths + read
    return paths[0, 0].long()
