"""Taps of dilated convolutions: where they read, what they skip, how many paths lead there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
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
    paths = {(0, 0): 1} if stacked else {}
    for rate in rates:
        before = paths if stacked else {(0, 0): 1}
        after = {} if stacked else dict(paths)
        for (y, x), count in before.items():
            for dy, dx in taps_of(rate):
                spot = (y + dy, x + dx)
                after[spot] = after.get(spot, 0) + count
        paths = after
    reach = max(max(map(abs, spot)) for spot in paths)
    grid = torch.zeros(2 * reach + 1, 2 * reach + 1, dtype=torch.long)
    for (y, x), count in paths.items():
        grid[y + reach, x + reach] = count
    return grid
