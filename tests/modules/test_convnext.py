"""The ConvNeXt mixer and block."""

from __future__ import annotations

import torch

from contextlab.modules import ConvNeXtMixer

from .base import ContextModuleTests, Options
from .plain_e import convnext_plain


class TestConvNeXtMixer(ContextModuleTests):
    module, name, channels = ConvNeXtMixer, "convnext", 4
    costs = ((64, 40, 64 * 50, 1600 * 49 * 64),)
    refused = (
        ({"kernel": 6}, "expected kernel to be odd, got 6"),
        ({"expansion": 0}, "expected expansion to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return convnext_plain(module, x, block=self.options.get("block", False))


class TestSmallWindow(TestConvNeXtMixer):
    options = Options(kernel=3)
    costs = ((64, 40, 64 * 10, 1600 * 9 * 64),)


class TestBlock(TestConvNeXtMixer):
    options = Options(block=True)
    costs = ((64, 40, 64 * 50 + 8 * 64**2 + 8 * 64, 1600 * (49 * 64 + 8 * 64**2)),)


def test_a_pixel_hears_its_window_and_its_own_channel_only():
    module = ConvNeXtMixer(3)
    torch.nn.init.ones_(module.mix.weight)
    torch.nn.init.zeros_(module.mix.bias)
    x = torch.zeros(1, 3, 15, 15)
    x[0, 1, 7, 7] = 1
    heard = torch.zeros(15, 15)
    heard[4:11, 4:11] = 1
    y = module(x)[0]
    assert torch.equal(y[1], heard)
    assert not y[0].any() and not y[2].any()


def test_the_block_starts_next_to_the_identity():
    x = torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(ConvNeXtMixer(8, block=True)(x), x, rtol=0, atol=1e-4)
