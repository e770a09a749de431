"""Global pooling, to the first and to the second order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import (
    GlobalAverage,
    GlobalBilinear,
    GlobalHadamard,
    average_pool,
    bilinear_pool,
    hadamard_pool,
    pooling,
)

from .base import SMALL, ContextModuleTests, Options, peak_bytes, randomise
from .plain_pooled import global_average_plain, second_order_plain


class TestGlobalAverage(ContextModuleTests):
    module, name = GlobalAverage, "global_average"
    permutation_equivariant = True
    # the vector's half of W is applied once, not once a pixel
    costs = ((512, 96, 2 * 512**2 + 2 * 512, 9216 * 512**2 + 512**2),)
    refused = (({"channels": 0}, "expected channels to be a whole number of at least 1, got 0"),)

    def build(self, **options):
        torch.manual_seed(0)
        return self.module(options.get("channels", self.channels))

    def oracle(self, module, x):
        return global_average_plain(module, x)


class SecondOrderTests(ContextModuleTests):
    permutation_equivariant = True
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"reduction": 0}, "expected reduction to be a whole number of at least 1, got 0"),
        ({"pool": "max"}, r"expected pool to be one of \('mean', 'sum'\), got 'max'"),
    )

    def oracle(self, module, x):
        every_pair = self.module is GlobalBilinear
        pool = self.options.get("pool", "mean")
        return second_order_plain(module, x, every_pair=every_pair, pool=pool)


class TestGlobalHadamard(SecondOrderTests):
    module, name = GlobalHadamard, "hadamard_pooling"
    costs = ((512, 96, 3 * 512 * 256 + 512**2 + 1024, 9216 * 2 * 512**2 + 512 * 256),)


class TestHadamardSum(TestGlobalHadamard):
    options = Options(pool="sum")


class TestGlobalBilinear(SecondOrderTests):
    module, name = GlobalBilinear, "bilinear_pooling"
    options = Options(reduction=2)
    costs = (
        (
            64,
            16,
            2 * 64 * 32 + 32**2 * 64 + 64**2 + 128,
            256 * (2 * 64 * 32 + 32**2 + 64**2) + 32**2 * 64,
        ),
    )


class TestBilinearDefaults(TestGlobalBilinear):
    options = Options()
    costs = (
        (
            512,
            96,
            2 * 512 * 64 + 64**2 * 512 + 512**2 + 1024,
            9216 * (2 * 512 * 64 + 64**2 + 512**2) + 64**2 * 512,
        ),
    )


def maps(size=(5, 6), channels=4, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, channels, *size, generator=draw, dtype=dtype)


@settings(deadline=None, max_examples=20)
@given(size=SMALL, seed=st.integers(0, 99), pool=st.sampled_from(["mean", "sum"]))
def test_hadamard_pooling_is_the_diagonal_of_bilinear_pooling(size, seed, pool):
    b, c = maps(size, seed=seed)
    pairs = bilinear_pool(b, c, pool=pool)
    torch.testing.assert_close(hadamard_pool(b, c, pool=pool), pairs.diagonal(dim1=1, dim2=2))


@settings(deadline=None, max_examples=20)
@given(size=SMALL, seed=st.integers(0, 99))
def test_average_pooling_is_hadamard_pooling_with_one(size, seed):
    b, _ = maps(size, seed=seed)
    torch.testing.assert_close(average_pool(b), hadamard_pool(b, torch.ones_like(b)))


def test_bilinear_pooling_of_a_map_with_itself_has_no_negative_direction():
    b, _ = maps()
    pairs = bilinear_pool(b, b)
    assert torch.equal(pairs, pairs.mT) or torch.allclose(pairs, pairs.mT)
    assert torch.linalg.eigvalsh(pairs).min() > -1e-12


def test_an_average_cannot_see_which_features_meet_and_a_product_can():
    """Two images with the same features, met in one pixel in the first and apart in the second."""
    together, apart = torch.zeros(2, 1, 2, 1, 2)
    together[0, :, 0, 0] = 1
    apart[0, 0, 0, 0] = apart[0, 1, 0, 1] = 1
    assert torch.equal(average_pool(together), average_pool(apart))

    def meet(x):
        return hadamard_pool(x[:, :1], x[:, 1:], pool="sum").item()

    assert (meet(together), meet(apart)) == (1, 0)


def test_the_mean_does_not_see_how_large_the_map_is_and_the_sum_does():
    b, c = maps()
    wide = [t.repeat(1, 1, 2, 3) for t in (b, c)]
    for call in (hadamard_pool, bilinear_pool):
        torch.testing.assert_close(call(*wide), call(b, c))
        torch.testing.assert_close(call(*wide, pool="sum"), 6 * call(b, c, pool="sum"))


@pytest.mark.parametrize("call", [hadamard_pool, bilinear_pool])
def test_the_mean_stays_inside_float16_where_the_sum_does_not(call):
    b = torch.full((1, 1, 128, 128), 8.0).half()  # the sum is 2^20, float16 ends at 65504
    assert call(b, b).item() == 64
    assert call(b, b, pool="sum").item() == float("inf")


@pytest.mark.parametrize("form", [GlobalHadamard, GlobalBilinear])
def test_the_sum_of_a_module_does_not_end_where_float16_ends(form):
    module, x = form(8, pool="sum").train(), 30 + torch.randn(2, 8, 33, 33)
    with torch.autocast("cpu", torch.float16):
        assert torch.isfinite(module(x)).all()


@pytest.mark.parametrize("call", [hadamard_pool, bilinear_pool])
def test_an_unknown_sum_is_refused(call):
    with pytest.raises(ValueError, match=r"expected pool to be one of .*, got 'max'"):
        call(*maps(), pool="max")


@pytest.mark.parametrize("form", [GlobalAverage, GlobalHadamard, GlobalBilinear])
def test_the_vector_is_never_spread_over_the_map(form):
    module, x = form(16).eval().requires_grad_(False), torch.randn(1, 16, 64, 64)
    one = 4 * x.numel()
    assert peak_bytes(lambda: module(x)) < 3.5 * one  # W_x x, its sum with W_g g, the norm
    w = torch.cat([module.fuse.pixel.weight.flatten(1), module.fuse.image.weight], 1)
    width = module.fuse.image.in_features
    spread = torch.nn.Conv2d(16 + width, 16, 1, bias=False).requires_grad_(False)
    spread.weight.data = w[..., None, None]
    g = torch.randn(1, width, 1, 1).expand(-1, -1, 64, 64)
    assert peak_bytes(lambda: spread(torch.cat([x, g], 1))) > one * (1 + width / 16)


@pytest.mark.parametrize("form", [GlobalAverage, GlobalHadamard, GlobalBilinear])
def test_training_on_a_single_value_says_what_is_missing(form):
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        form(8).train()(torch.randn(1, 8, 1, 1))


MISTAKES = {
    "an average over one side only": (
        TestGlobalAverage,
        "average_pool",
        lambda x: x.mean(3).amax(2),
    ),
    "a mean where a sum is asked for": (
        TestHadamardSum,
        "hadamard_pool",
        lambda b, c, pool: (b * c).mean((2, 3)),
    ),
    "the product of the means": (
        TestGlobalHadamard,
        "hadamard_pool",
        lambda b, c, pool: b.mean((2, 3)) * c.mean((2, 3)),
    ),
    "the outer product transposed": (
        TestGlobalBilinear,
        "bilinear_pool",
        lambda b, c, pool: bilinear_pool(c, b),
    ),
    "the outer product of the means": (
        TestGlobalBilinear,
        "bilinear_pool",
        lambda b, c, pool: b.mean((2, 3))[:, :, None] * c.mean((2, 3))[:, None],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    suite, name, wrong = MISTAKES[mistake]
    tests = suite()
    module, inputs = randomise(tests.build()).double().eval(), tests.inputs(dtype=torch.float64)
    assert tests.agrees(module, inputs)
    monkeypatch.setattr(pooling, name, wrong)
    assert not tests.agrees(module, inputs)
