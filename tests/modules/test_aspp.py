"""Atrous spatial pyramid pooling."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import ASPP, aspp

from .base import SMALL, ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain_pyramid import aspp_plain


class TestASPP(ContextModuleTests):
    module, name = ASPP, "aspp"
    options = Options(rates=(1, 2, 4))  # inside the small maps of the tests
    # 1 x 1, three 3 x 3, the image, and a projection of the five
    costs = ((512, 96, (1 + 27 + 1 + 5) * 512**2 + 12 * 512, (9216 * 33 + 1) * 512**2),)
    refused = (
        ({"rates": (0,)}, "expected rate to be a whole number of at least 1, got 0"),
        ({"width": 0}, "expected width to be a whole number of at least 1, got 0"),
        ({"out_channels": 1.5}, "expected out_channels to be a whole number of .*, got 1.5"),
        ({"kernel": 5}, r"expected kernel to be one of \(1, 3\), got 5"),
    )

    def oracle(self, module, x):
        return aspp_plain(module, x, **self.options)


class TestPaperRates(TestASPP):
    options = Options()
    permutation_equivariant = True  # on maps this small only the centre taps are left


class TestWithoutImage(TestASPP):
    options = Options(rates=(2, 3), image_pool=False, width=4, norm=False)
    costs = ((64, 16, 64 * 4 * 19 + 3 * 8 + 12 * 64 + 64, 256 * (64 * 4 * 19 + 12 * 64)),)


class TestWideProjection(TestASPP):
    options = Options(rates=(1, 3), width=4, kernel=3)
    costs = ((64, 16, 20 * 256 + 4 * 8 + 144 * 64 + 128, 256 * (19 * 256 + 144 * 64) + 256),)


def built(channels=8, **options):
    torch.manual_seed(0)
    return randomise(ASPP(channels, **options)).double().eval()


@settings(deadline=None, max_examples=20)
@given(
    rates=st.lists(st.integers(1, 8), max_size=3).map(tuple),
    image_pool=st.booleans(),
    kernel=st.sampled_from([1, 3]),
    norm=st.booleans(),
    width=st.sampled_from([None, 3]),
    out=st.sampled_from([None, 5]),
    size=SMALL,
)
def test_any_options_equal_the_plain_version(rates, image_pool, kernel, norm, width, out, size):
    options = {"rates": rates, "image_pool": image_pool, "norm": norm}
    module = built(kernel=kernel, width=width, out_channels=out, **options)
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    assert module(x).shape[1] == (out or 8)
    torch.testing.assert_close(module(x), aspp_plain(module, x, **options))


@pytest.mark.parametrize(
    "out, parameters, giga", [(256, 15_535_104, 138.3119), (512, 31_725_568, 282.6636)]
)
def test_reference_counts(out, parameters, giga):
    with torch.device("meta"):
        module, x = ASPP(2048, out_channels=out), torch.empty(2, 2048, 96, 96)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert round(macs(module, x) / 2e9, 4) == giga


def reach(module, size, row, column):
    """The pixels on which one pixel of the result depends; equal weights cannot cancel."""
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 1)
    x = torch.rand(1, 8, *size, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, row, column].sum().backward()
    return {tuple(place) for place in x.grad[0, 0].nonzero().tolist()}


def test_a_pixel_sees_the_fixed_offsets_and_nothing_else():
    seen = reach(built(rates=(2, 5), image_pool=False), (17, 19), 8, 7)
    offsets = {(u * r, v * r) for r in (2, 5) for u in (-1, 0, 1) for v in (-1, 0, 1)}
    assert seen == {(8 + u, 7 + v) for u, v in offsets}


def test_the_image_branch_sees_everything():
    assert len(reach(built(rates=(2,)), (9, 11), 4, 5)) == 99


def test_beyond_the_map_a_branch_is_its_centre_tap():
    module, x = built(), torch.randn(2, 8, 12, 9, dtype=torch.float64)
    for branch in module.branches[1:]:
        centre = torch.einsum("oc,bchw->bohw", branch[0].weight[:, :, 1, 1], x)
        torch.testing.assert_close(branch(x), branch[1](centre).relu())


def test_the_image_branch_does_not_know_where_things_are():
    module, x = built(rates=()), torch.randn(1, 8, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(module(x.flip(2, 3)), module(x).flip(2, 3))


def widen(module):
    module.branches[2][0].dilation = module.branches[2][0].padding = (3, 3)


def exchange(module):
    module.branches[1], module.branches[2] = module.branches[2], module.branches[1]


def drop_relu(module):
    module.branches[0][2] = torch.nn.Identity()


@pytest.mark.parametrize("mistake", [None, widen, exchange, drop_relu])
def test_a_mistake_is_told_apart(mistake):
    module, x = built(rates=(1, 2)), torch.randn(2, 8, 5, 6, dtype=torch.float64)
    expected = aspp_plain(module, x, rates=(1, 2))
    if mistake:
        mistake(module)
    assert torch.allclose(module(x), expected) == (mistake is None)


@pytest.mark.parametrize("wrong", ["sum", "max"])
def test_a_wrong_image_branch_is_told_apart(monkeypatch, wrong):
    right = aspp.reduce
    module, x = built(), torch.randn(2, 8, 5, 6, dtype=torch.float64)
    expected = aspp_plain(module, x)
    assert torch.allclose(module(x), expected)
    monkeypatch.setattr(aspp, "reduce", lambda x, axes, _: right(x, axes, wrong))
    assert not torch.allclose(module(x), expected)


def test_one_image_in_training():
    x = torch.randn(1, 8, 5, 6)
    message = "ASPP normalises its 1 x 1 pooled map over the batch: expected at least 2 images"
    with pytest.raises(ValueError, match=message):
        ASPP(8).train()(x)
    assert ASPP(8, image_pool=False).train()(x).shape == x.shape


def test_dropout_only_in_training():
    module, x = ASPP(8, dropout=0.5), torch.rand(4, 8, 4, 4)
    dropped = (module(x) == 0).all((2, 3)).float().mean()
    assert 0.2 < dropped < 0.8
    assert torch.equal(module.eval()(x), module(x))


def test_memory_is_linear_in_the_pixels():
    module = ASPP(8).eval()

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward())

    assert peak(64) < 5 * peak(32)
