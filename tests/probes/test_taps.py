"""Taps: what is counted is what a convolution reads."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from contextlab import probes


@pytest.mark.parametrize("shape, rate", [((16, 32), 9), ((5, 7), 6), ((33, 33), 36), ((1, 1), 1)])
def test_padding_is_what_a_convolution_of_ones_misses(shape, rate):
    ones = torch.ones(1, 1, *shape, dtype=torch.float64)
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    read = F.conv2d(ones, kernel, padding=rate, dilation=rate)
    assert probes.padding_free(shape, rate) == pytest.approx(read.mean().item() / 9)


def walked(rates, stacked):
    """Offsets to the number of ways there: one tap after the other, or each kernel by itself."""
    chains = (
        product(*map(probes.taps_of, rates))
        if stacked
        else ((tap,) for rate in rates for tap in probes.taps_of(rate))
    )
    return Counter(tuple(map(sum, zip(*chain))) for chain in chains)


@pytest.mark.parametrize("rates, stacked", [((1, 2), True), ((2, 3), False), ((3, 1, 2), True)])
def test_coverage_counts_the_paths(rates, stacked):
    reach = sum(rates) if stacked else max(rates)
    want = torch.zeros(2 * reach + 1, 2 * reach + 1, dtype=torch.long)
    for (y, x), ways in walked(rates, stacked).items():
        want[y + reach, x + reach] = ways
    assert torch.equal(probes.coverage(rates, stacked=stacked), want)
