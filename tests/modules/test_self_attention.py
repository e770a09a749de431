"""Self-attention as a token mixer."""

from __future__ import annotations

import torch

from contextlab.modules import TokenAttention

from .base import ContextModuleTests, Options, peak_bytes, randomise
from .plain_e import token_attention_plain


class TestTokenAttention(ContextModuleTests):
    module, name = TokenAttention, "self_attention"
    options = Options(heads=2)
    permutation_equivariant = True
    # keys are padded to the width of the values
    costs = (
        (
            64,
            40,
            64 * 16 * 2 + 64 * 32 * 2 + 4 * 16 + 2 * 32 + 2 * 64,
            1600 * 64 * (2 * 16 + 2 * 32) + 2 * 1600**2 * 32,
        ),
    )
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3"),
        ({"heads": 3}, "expected heads to divide width, got heads=3 and width="),
        ({"expansion": 0}, "expected expansion to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return token_attention_plain(module, x, **self.options)


class TestOfAWidthThatDoesNotDivideTheChannels(TestTokenAttention):
    options = Options(heads=2, width=6, expansion=1)
    costs = ((64, 40, 4 * 64 * 6 + 6 * 6 + 2 * 64, 1600 * 4 * 64 * 6 + 2 * 1600**2 * 6),)
    refused = (
        ({"width": 5}, "expected heads to divide width, got heads=2 and width=5"),
        ({"width": 0}, "expected width to be a whole number of at least 1, got 0"),
    )


class TestScaled(TestTokenAttention):
    options = Options(heads=1, reduction=2, expansion=1, scale=True, residual=False)
    costs = ((64, 40, 4 * 64 * 32 + 6 * 32 + 2 * 64, 1600 * 4 * 64 * 32 + 2 * 1600**2 * 32),)


def test_each_option_is_told_apart():
    x = torch.randn(1, 8, 2, 3, dtype=torch.float64)
    module = randomise(TokenAttention(8, heads=1, reduction=2)).double().eval()
    assert torch.allclose(module(x), token_attention_plain(module, x, heads=1, reduction=2))
    for wrong in ({"heads": 2}, {"heads": 1, "scale": True}, {"heads": 1, "residual": False}):
        assert not torch.allclose(
            module(x), token_attention_plain(module, x, **({"reduction": 2} | wrong))
        )


def test_the_widths_of_the_paper_at_512_channels():
    assert TokenAttention(512).widths == (8 * 16, 8 * 16, 8 * 32)


def test_no_affinity_matrix_is_stored():
    module, n = TokenAttention(16, heads=2), 48**2
    peak = peak_bytes(lambda: module(torch.randn(1, 16, 48, 48)).sum().backward())
    assert peak < n * n * 4 / 4
