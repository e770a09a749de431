"""The InceptionNeXt mixer and block."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import InceptionNeXtMixer

from .base import ContextModuleTests, Options
from .plain_e import inceptionnext_plain


class TestInceptionNeXtMixer(ContextModuleTests):
    module, name = InceptionNeXtMixer, "inceptionnext"
    costs = ((64, 40, 8 * 34, 1600 * 8 * 31),)
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3"),
        ({"reduction": 2}, "expected reduction of at least 3, for three branches, got 2"),
        ({"kernel": 4}, "expected kernel to be odd, got 4"),
        ({"band": 10}, "expected band to be odd, got 10"),
        ({"expansion": 0}, "expected expansion to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        options = {
            name: self.options[name] for name in ("reduction", "block") if name in self.options
        }
        return inceptionnext_plain(module, x, **options)


class TestOtherSizes(TestInceptionNeXtMixer):
    options = Options(reduction=4, kernel=5, band=3)
    costs = ((64, 40, 16 * (25 + 6 + 3), 1600 * 16 * 31),)


class TestBlock(TestInceptionNeXtMixer):
    options = Options(block=True)
    costs = ((64, 40, 8 * 34 + 8 * 64**2 + 8 * 64, 1600 * (8 * 31 + 8 * 64**2)),)


@pytest.mark.parametrize(
    ("channel", "rows", "columns"),
    [(0, (7, 8), (7, 8)), (5, (6, 9), (6, 9)), (6, (7, 8), (2, 13)), (7, (2, 13), (7, 8))],
)
def test_each_share_hears_its_own_shape(channel, rows, columns):
    module = InceptionNeXtMixer(8)
    for branch in (module.square, module.row, module.column):
        torch.nn.init.ones_(branch.weight)
        torch.nn.init.zeros_(branch.bias)
    x = torch.zeros(1, 8, 15, 15)
    x[0, channel, 7, 7] = 1
    heard = torch.zeros(8, 15, 15)
    heard[channel, slice(*rows), slice(*columns)] = 1
    assert torch.equal(module(x)[0], heard)


def test_the_block_starts_next_to_the_identity():
    x = torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(InceptionNeXtMixer(8, block=True)(x), x, rtol=0, atol=1e-4)
