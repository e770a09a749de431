"""Taps: what is counted is what a convolution reads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from contextlab.probes import coverage, padding_free


@pytest.mark.parametrize("shape, rate", [((16, 32), 9), ((5, 7), 6), ((33, 33), 36), ((1, 1), 1)])
def test_padding_is_what_a_convolution_of_ones_misses(shape, rate):
    ones = torch.ones(1, 1, *shape, dtype=torch.float64)
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    read = F.conv2d(ones, kernel, padding=rate, dilation=rate)
    assert padding_free(shape, rate) == pytest.approx(read.mean().item() / 9)


@pytest.mark.parametrize("rates, stacked", [((1, 2), True), ((2, 3), False), ((3, 1, 2), True)])
def test_coverage_counts_the_paths_of_convolutions(rates, stacked):
    side = 2 * (sum(rates) if stacked else max(rates)) + 1
    one = torch.zeros(1, 1, side, side)
    one[..., side // 2, side // 2] = 1
    kernel = torch.ones(1, 1, 3, 3)
    maps, x = [], one
    for rate in rates:
        y = F.conv2d(x, kernel, padding=rate, dilation=rate)
        maps.append(y)
        x = y if stacked else one
    want = maps[-1] if stacked else sum(maps)
    assert torch.equal(coverage(rates, stacked=stacked).float(), want[0, 0])
