"""DenseASPP."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import DenseASPP

from .base import SMALL, ContextModuleTests, Options, macs, randomise
from .plain_pyramid import dense_aspp_plain


def parameters(c, v, g, layers, first_norm=True):
    """1 x 1 and 3 x 3 with bias, two norms a layer, and the projection with its norm."""
    read = [c + g * number for number in range(layers)]
    made = sum(2 * r + r * v + v + 2 * v + 9 * v * g + g for r in read)
    return made - (0 if first_norm else 2 * c) + (c + layers * g) * c + 2 * c


def products(c, v, g, layers):
    return sum((c + g * number) * v + 9 * v * g for number in range(layers)) + (c + layers * g) * c


class TestDenseASPP(ContextModuleTests):
    module, name = DenseASPP, "dense_aspp"
    options = Options(rates=(1, 2, 3), width=4, growth=2)  # inside the small maps of the tests
    costs = ((64, 16, parameters(64, 4, 2, 3), 256 * products(64, 4, 2, 3)),)
    refused = (
        ({"rates": ()}, "expected rates to be a whole number of at least 1, got 0"),
        ({"rates": (3, 0)}, "expected rate to be a whole number of at least 1, got 0"),
        ({"width": 0}, "expected width to be a whole number of at least 1, got 0"),
        ({"growth": 0}, "expected growth to be a whole number of at least 1, got 0"),
        (
            {"growth": None},
            "expected reduction to divide channels, got reduction=16",
        ),
    )

    def oracle(self, module, x):
        return dense_aspp_plain(module, x, **self.options)


class TestPaperForm(TestDenseASPP):
    channels, options, refused = 16, Options(), (({"rates": (0,)}, "expected rate to be"),)
    costs = ((512, 96, parameters(512, 128, 32, 5), 9216 * products(512, 128, 32, 5)),)


class TestWithoutFirstNorm(TestDenseASPP):
    options = Options(rates=(2, 1), width=4, growth=2, first_norm=False)
    costs = ((64, 16, parameters(64, 4, 2, 2, first_norm=False), 256 * products(64, 4, 2, 2)),)


class TestOfficial(TestWithoutFirstNorm):
    options = Options(rates=(2, 1), width=4, growth=2, first_norm=False, rectify=True)


def built(channels=8, seed=0, **options):
    torch.manual_seed(seed)
    return randomise(DenseASPP(channels, **options), seed).double().eval()


@settings(deadline=None, max_examples=12)
@given(
    rates=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    first_norm=st.booleans(),
    rectify=st.booleans(),
    width=st.integers(1, 4),
    growth=st.integers(1, 3),
    out=st.sampled_from([None, 5]),
    size=SMALL,
)
def test_any_options_equal_the_plain_version(rates, first_norm, rectify, width, growth, out, size):
    options = {"rates": rates, "first_norm": first_norm, "rectify": rectify}
    module = built(width=width, growth=growth, out_channels=out, **options)
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    assert module(x).shape[1] == (out or 8)
    torch.testing.assert_close(module(x), dense_aspp_plain(module, x, **options))


def test_reference_counts():
    """The reference ends before the projection back to a map."""
    with torch.device("meta"):
        module, x = DenseASPP(2048), torch.empty(2, 2048, 96, 96)
        wide = torch.empty(2, 2048 + 5 * 128, 96, 96)
    last = module.project
    counted = sum(p.numel() for p in module.parameters()) - sum(
        p.numel() for p in last.parameters()
    )
    assert counted == 8_878_720
    assert round((macs(module, x) - macs(last, wide)) / 2e9, 4) == 81.5373


def reach(width, rates):
    """How far to the left and right one pixel sees, with weights that cannot cancel."""
    module = built(16, rates=rates)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    x = torch.rand(1, 16, 1, width, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, 0, width // 2].sum().backward()
    return (x.grad[0].abs().amax((0, 1)).nonzero() - width // 2).flatten().tolist()


def test_reaches_add_up():
    """127 pixels along an axis, in steps of 3; the largest rate alone sees three pixels of 49."""
    assert reach(141, (3, 6, 12, 18, 24)) == list(range(-63, 64, 3))
    assert reach(141, (24,)) == [-24, 0, 24]


def test_the_order_of_the_concatenation_counts(monkeypatch):
    options = {"rates": (1, 2), "width": 4, "growth": 8}  # as wide as x, so that either order runs
    module, x = built(**options), torch.randn(2, 8, 5, 6, dtype=torch.float64)
    expected = dense_aspp_plain(module, x, **options)
    assert torch.allclose(module(x), expected)
    right = torch.cat
    monkeypatch.setattr(torch, "cat", lambda parts, axis: right(parts[::-1], axis))
    assert not torch.allclose(module(x), expected)


@pytest.mark.parametrize("mistake", [None, "rates", "relu", "norm"])
def test_a_mistake_is_told_apart(mistake):
    options = {"rates": (1, 2), "width": 4, "growth": 2}
    module, x = built(**options), torch.randn(2, 8, 5, 6, dtype=torch.float64)
    expected = dense_aspp_plain(module, x, **options)
    if mistake == "rates":
        module.layers[1][5].dilation = module.layers[1][5].padding = (1, 1)
    elif mistake:
        module.layers[0][{"norm": 0, "relu": 1}[mistake]] = torch.nn.Identity()
    assert torch.allclose(module(x), expected) == (mistake is None)


def test_the_official_first_relu_reaches_every_concatenation():
    """There it works in place, so that every layer and the end read ReLU(x) in the place of x."""
    module = built(rates=(1, 2), width=4, growth=2, first_norm=False, rectify=True)
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    y, feature, rectified = x.clone(), None, torch.nn.ReLU(inplace=True)
    for norm, _, *rest in module.layers:
        read = y if feature is None else feature
        made = torch.nn.Sequential(norm, rectified, *rest)(read)
        feature = torch.cat([made, read], 1)
    assert (y >= 0).all()
    torch.testing.assert_close(module(x), module.project(feature))
    other = built(rates=(1, 2), width=4, growth=2, first_norm=False)
    other.load_state_dict(module.state_dict())
    assert not torch.allclose(other(x), module(x), atol=1e-2)


def test_dropout_only_in_training():
    module, x = DenseASPP(16, dropout=0.5), torch.rand(4, 16, 4, 4)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


def test_one_image_trains():
    x = torch.randn(1, 16, 5, 6)
    assert DenseASPP(16).train()(x).shape == x.shape
