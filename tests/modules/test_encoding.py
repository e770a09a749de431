"""Context encoding: codewords, and the classes that they say are there."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import Encoding, encoding

from .base import SMALL, ContextModuleTests, Options, checked_forward, macs, peak_bytes, randomise
from .plain import conv1x1, norm


def residuals_plain(module, x):
    """E_k pixel by pixel and codeword by codeword, with every difference written out."""
    f = norm(module.features[1], conv1x1(module.features[0], x)).clamp(min=0)
    out = []
    for image in f:
        residuals = [0] * len(module.codewords)
        for pixel in image.flatten(1).T:
            difference = [pixel - d for d in module.codewords]
            a = torch.stack([-s * r.square().sum() for s, r in zip(module.smoothing, difference)])
            a = (a - a.max()).exp()
            for k, e in enumerate(a / a.sum()):
                residuals[k] = residuals[k] + e * difference[k]
        out.append(torch.stack(residuals))
    return torch.stack(out)


def encoding_plain(module, x, *, aggregate="sum", residual=False, presence=False):
    e = norm(module.norm, residuals_plain(module, x)).clamp(min=0)
    e = sum(e.unbind(1)) / (len(module.codewords) if aggregate == "mean" else 1)
    gate = 1 / (1 + (-(e @ module.gate.weight.T + module.gate.bias)).exp())
    y = x * gate[:, :, None, None]
    y = (x + y).clamp(min=0) if residual else y
    return (y, e @ module.presence.weight.T + module.presence.bias) if presence else y


class TestEncoding(ContextModuleTests):
    module, name = Encoding, "encoding"
    options = Options(codewords=4)
    rate = 0.01  # a sum over all pixels: larger steps shut the gates for good
    permutation_equivariant = True
    costs = ((64, 40, 2 * 64**2 + 3 * 64 + 4 * 64 + 12, 1600 * (64**2 + 2 * 4 * 64) + 64**2),)
    refused = (
        ({"codewords": 0}, "expected codewords to be a whole number of at least 1, got 0"),
        ({"classes": 0}, "expected classes to be a whole number of at least 1, got 0"),
        ({"aggregate": "max"}, r"expected aggregate to be one of \('sum', 'mean'\), got 'max'"),
    )

    def oracle(self, module, x):
        known = {k: v for k, v in self.options.items() if k in ("aggregate", "residual")}
        return encoding_plain(module, x, **known)


class TestOfficial(TestEncoding):
    options = Options(codewords=3, aggregate="mean", residual=True)
    costs = ((64, 40, 2 * 64**2 + 3 * 64 + 3 * 64 + 9, 1600 * (64**2 + 2 * 3 * 64) + 64**2),)


class TestPaper(TestEncoding):
    options = Options()
    test_equals_the_plain_version = None  # 32 codewords are many for loops; any number is tried
    costs = ((512, 96, 552_051 - 513 * 19, 9216 * (512**2 + 2 * 32 * 512) + 512**2),)


def built(seed=0, **options):
    torch.manual_seed(seed)
    return randomise(Encoding(8, **({"codewords": 4} | options)), seed).double().eval()


def image(size=(5, 6), batch=2, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 8, *size, generator=draw, dtype=torch.float64)


def test_counted_cost_at_the_reference_size_with_the_presence_layer():
    with torch.device("meta"):
        module, x = Encoding(512, classes=19), torch.empty(1, 512, 96, 96)
        assert sum(p.numel() for p in module.parameters()) == 552_051
        assert round(macs(module, x, True) / 1e9, 4) == 2.7182


@settings(deadline=None, max_examples=15)
@given(
    codewords=st.integers(1, 5),
    classes=st.sampled_from([None, 1, 3]),
    aggregate=st.sampled_from(["sum", "mean"]),
    residual=st.booleans(),
    size=SMALL,
    seed=st.integers(0, 99),
)
def test_any_options_equal_the_plain_version(codewords, classes, aggregate, residual, size, seed):
    options = {"aggregate": aggregate, "residual": residual}
    module = built(seed, codewords=codewords, classes=classes, **options)
    x = image(size, 1, seed)
    torch.testing.assert_close(module(x), encoding_plain(module, x, **options))
    if classes:
        both = checked_forward(Encoding)(module, x, presence=True)
        expected = encoding_plain(module, x, presence=True, **options)
        assert both[1].shape == (1, classes)
        torch.testing.assert_close(both, expected)


def test_gradients_equal_those_of_the_plain_version():
    module, x = built(classes=3), image((3, 4)).requires_grad_()
    asked = (x, *module.parameters())

    def loss(y, presence):
        return y.square().sum() + presence.square().sum()

    fast = torch.autograd.grad(loss(*module(x, presence=True)), asked)
    slow = torch.autograd.grad(loss(*encoding_plain(module, x, presence=True)), asked)
    torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-8)


def test_presence_without_its_layer_is_refused():
    with pytest.raises(ValueError, match=r"expected Encoding\(..., classes=...\) for presence"):
        Encoding(8)(torch.randn(1, 8, 4, 4), presence=True)


def test_the_gate_is_the_same_at_every_pixel_and_between_0_and_1():
    module, x = built(), image().abs() + 1
    gate = module(x) / x
    assert (gate > 0).all() and (gate < 1).all()
    torch.testing.assert_close(gate, gate[:, :, :1, :1].expand_as(gate))


def test_the_encoding_does_not_know_where_pixels_are():
    module, x = built(), image()
    torch.testing.assert_close(module.encode(x.flip(3)), module.encode(x))
    torch.testing.assert_close(module.encode(x.mT), module.encode(x))


def test_assignments_sum_to_one_and_go_to_the_nearest_codeword():
    x = torch.randn(2, 8, 30, dtype=torch.float64)
    codewords = torch.randn(5, 8, dtype=torch.float64)
    e = encoding.assignment(x, codewords, torch.ones(5).double() * 50)
    torch.testing.assert_close(e.sum(-1), torch.ones(2, 30, dtype=torch.float64))
    nearest = torch.cdist(x.mT, codewords.expand(2, -1, -1)).argmin(-1)
    assert torch.equal(e.argmax(-1), nearest)


def test_one_codeword_leaves_the_sum_of_the_residuals():
    module, x = built(codewords=1), image()
    expected = (module.features(x) - module.codewords[0][:, None, None]).sum((2, 3))
    torch.testing.assert_close(module.residuals(x)[:, 0], expected)


def test_float32_distances_survive_pixels_far_from_the_origin():
    torch.manual_seed(0)
    codewords = torch.randn(4, 8) + 100
    x = torch.randn(1, 8, 50) + 100
    e = encoding.assignment(x, codewords, torch.ones(4))
    exact = encoding.assignment(x.double(), codewords.double(), torch.ones(4).double())
    torch.testing.assert_close(e.double(), exact, atol=0.05, rtol=0)


def distances(x, codewords):
    return (x.mT[:, :, None] - codewords).square().sum(-1)


MISTAKES = {
    "no mistake": (lambda x, d, s: torch.softmax(-s * distances(x, d), -1), True),
    "soft-max over the pixels": (lambda x, d, s: torch.softmax(-s * distances(x, d), 1), False),
    "the stored sign": (lambda x, d, s: torch.softmax(s * distances(x, d), -1), False),
    "no smoothing": (lambda x, d, s: torch.softmax(-distances(x, d), -1), False),
    "a distance that is not squared": (
        lambda x, d, s: torch.softmax(-s * distances(x, d).sqrt(), -1),
        False,
    ),
    "norms left out": (lambda x, d, s: torch.softmax(2 * s * (x.mT @ d.T), -1), False),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    replacement, right = MISTAKES[mistake]
    module, x = built(), image()
    monkeypatch.setattr(encoding, "assignment", replacement)
    assert torch.allclose(module(x), encoding_plain(module, x)) == right


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_holds_no_difference_of_every_pixel_to_every_codeword(backward):
    n, k, c = 64 * 64, 32, 64
    module = Encoding(c, codewords=k).eval().requires_grad_(backward)
    x = torch.randn(1, c, 64, 64)
    peak = peak_bytes(lambda: module(x).sum().backward() if backward else module(x))
    assert peak < n * k * c * 4 / 2
    assert peak < 30 * n * c * 4


def test_the_plain_differences_do_hold_it():
    x, codewords = torch.randn(1, 64, 4096), torch.randn(32, 64)
    assert peak_bytes(lambda: distances(x, codewords)) >= 4096 * 32 * 64 * 4
