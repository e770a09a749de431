"""Expectation-maximisation attention."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from contextlab.modules import EMAttention, em_attention

from .base import SMALL, ContextModuleTests, Options, peak_bytes, randomise
from .plain import conv1x1, norm


def em_plain(module, x, steps=3):
    """Pixel by pixel and basis by basis; returns the bases of every image as well."""
    features = conv1x1(module.embed, x)
    rebuilt, all_bases = [], []
    for image in features:
        pixels = list(image.flatten(1).T)
        bases = list(module.bases.T)
        for _ in range(steps):
            z = []
            for pixel in pixels:
                a = torch.stack([pixel @ mu for mu in bases])
                a = (a - a.max()).exp()
                z.append(a / a.sum())
            for k in range(len(bases)):
                mass = sum(z_n[k] for z_n in z) + 1e-6
                mu = sum(z_n[k] / mass * pixel for z_n, pixel in zip(z, pixels))
                bases[k] = mu / mu.square().sum().sqrt()
        rebuilt.append(torch.stack([sum(a * mu for a, mu in zip(z_n, bases)) for z_n in z], 1))
        all_bases.append(torch.stack(bases, 1))
    y = torch.stack(rebuilt).clamp(min=0).reshape(features.shape)
    y = (x + norm(module.norm, conv1x1(module.out, y))).clamp(min=0)
    return y, torch.stack(all_bases)


class TestEMAttention(ContextModuleTests):
    module, name = EMAttention, "em_attention"
    options = Options(bases=5)
    permutation_equivariant = True
    costs = ((64, 40, 2 * 64**2 + 3 * 64, 1600 * (2 * 64**2 + 7 * 64 * 5)),)
    refused = (
        ({"bases": 0}, "expected bases to be a whole number of at least 1, got 0"),
        ({"steps": 0}, "expected steps to be a whole number of at least 1, got 0"),
        ({"momentum": 1.5}, "expected momentum between 0 and 1, got 1.5"),
        ({"gradient": "half"}, r"expected gradient to be one of \('full', 'none'\), got 'half'"),
    )

    def oracle(self, module, x):
        return em_plain(module, x, self.options.get("steps", 3))[0]

    def test_autocast(self):
        module, (x,) = self.build(), self.inputs()
        same = copy.deepcopy(module)  # a training call moves the bases
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = module(x)
        y.float().square().mean().backward()
        torch.testing.assert_close(y.float(), same(x), rtol=0.05, atol=0.1)


class TestPaper(TestEMAttention):
    options = Options()
    test_equals_the_plain_version = None  # 64 bases are many for loops; any number is tried below
    costs = ((512, 96, 525_824, 9216 * (2 * 512**2 + 7 * 512 * 64)),)


class TestOneStep(TestEMAttention):
    options = Options(bases=3, steps=1)
    costs = ((64, 40, 2 * 64**2 + 3 * 64, 1600 * (2 * 64**2 + 3 * 64 * 3)),)


def built(seed=0, **options):
    torch.manual_seed(seed)
    return randomise(EMAttention(8, **({"bases": 5} | options)), seed).double()


def image(size=(5, 6), batch=2, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 8, *size, generator=draw, dtype=torch.float64)


def test_counted_cost_at_the_reference_size():
    _, _, parameters, products = TestPaper.costs[0]
    assert (parameters, round(products / 1e9, 4)) == (525_824, 6.9458)


@settings(deadline=None, max_examples=15)
@given(bases=st.integers(1, 7), steps=st.integers(1, 4), size=SMALL, seed=st.integers(0, 99))
def test_any_options_equal_the_plain_version(bases, steps, size, seed):
    module, x = built(seed, bases=bases, steps=steps).eval(), image(size, 1, seed)
    torch.testing.assert_close(module(x), em_plain(module, x, steps)[0])


def test_gradients_equal_those_of_the_plain_version():
    module, x = built().eval(), image((3, 4)).requires_grad_()
    asked = (x, *module.parameters())
    fast = torch.autograd.grad(module(x).square().sum(), asked)
    slow = torch.autograd.grad(em_plain(module, x)[0].square().sum(), asked)
    torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-8)


def test_without_gradient_the_rebuilt_map_is_a_constant():
    torch.manual_seed(0)
    module, x = built(gradient="none").eval(), image().requires_grad_()
    full = built().eval()
    assert torch.equal(module(x), full(x))
    module(x).square().sum().backward()
    assert module.embed.weight.grad is None and module.embed.bias.grad is None
    assert module.out.weight.grad.abs().max() > 0
    y = module(x).detach()  # the gradient that arrives by the identity alone
    torch.testing.assert_close(x.grad, 2 * y)


def test_bases_have_unit_length_and_responsibilities_sum_to_one():
    module, x = built().eval(), image((7, 4))
    z, mu = module.iterate(module.embed(x))
    torch.testing.assert_close(mu.norm(dim=1), torch.ones(2, 5, dtype=torch.float64))
    torch.testing.assert_close(z.sum(-1), torch.ones(2, 28, dtype=torch.float64))
    maps = module.responsibilities(x)
    assert torch.equal(maps.flatten(2).mT, z) and not maps.requires_grad


def test_more_steps_fit_the_bases_to_the_pixels():
    """EM raises the likelihood of a mixture on the sphere, Σ_n log Σ_k exp(x_n · μ_k)."""
    module, x = built(bases=4).eval(), image((8, 8), 4)
    fits = []
    for steps in (1, 2, 4, 8):
        module.steps = steps
        features = module.embed(x)
        _, mu = module.iterate(features)
        fits.append(torch.einsum("bchw,bck->bhwk", features, mu).logsumexp(-1).sum((1, 2)))
    assert all((later >= sooner).all() for sooner, later in itertools.pairwise(fits))


def test_one_basis_is_the_mean_direction():
    module, x = built(bases=1, steps=2).eval(), image()
    _, mu = module.iterate(module.embed(x))
    torch.testing.assert_close(mu[..., 0], normalize(module.embed(x).mean((2, 3)), dim=1))


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("momentum", [0.9, 0.25, 1.0])
def test_training_moves_the_bases_by_the_momentum(momentum, renormalise):
    module, x = built(momentum=momentum, renormalise=renormalise), image(batch=3)
    first = module.bases.clone()
    last = em_plain(module, x)[1].mean(0)
    module.train()(x)
    expected = momentum * first + (1 - momentum) * last
    expected = normalize(expected, dim=0) if renormalise else expected
    torch.testing.assert_close(module.bases, expected)
    moved = module.bases.clone()
    module.eval()(x)
    assert torch.equal(module.bases, moved)


def test_backward_after_a_second_call_in_training():
    module, x = built().train(), image()
    loss = module(x).square().sum() + module(x).square().sum()
    loss.backward()
    assert torch.isfinite(module.embed.weight.grad).all()


def test_the_bases_are_saved_but_not_learned():
    module = built()
    assert "bases" in module.state_dict()
    assert "bases" not in dict(module.named_parameters())
    assert module.bases.norm(dim=0).allclose(torch.ones(5, dtype=torch.float64))


MISTAKES = {
    "no mistake": (None, None, True),
    "soft-max over the pixels": (
        "expectation",
        lambda x, mu: torch.softmax(torch.einsum("bcn,bck->bnk", x, mu), 1),
        False,
    ),
    "a temperature": (
        "expectation",
        lambda x, mu: torch.softmax(torch.einsum("bcn,bck->bnk", x, mu) / 8**0.5, -1),
        False,
    ),
    "bases of any length": (
        "maximisation",
        lambda x, z: torch.einsum("bcn,bnk->bck", x, z / z.sum(1, keepdim=True)),
        False,
    ),
    "length taken over the bases": (
        "maximisation",
        lambda x, z: normalize(torch.einsum("bcn,bnk->bck", x, z), dim=2),
        False,
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    name, replacement, right = MISTAKES[mistake]
    module, x = built().eval(), image()
    if name:
        monkeypatch.setattr(em_attention, name, replacement)
    assert torch.allclose(module(x), em_plain(module, x)[0]) == right


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_is_linear_in_the_pixels(backward):
    module = EMAttention(8, bases=4).eval().requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    large = peak(64)
    assert large < 4096**2 * 4 / 8  # a fraction of one affinity matrix of all pixels
    assert large < 5 * peak(32)  # 4 is linear, 16 would be quadratic
