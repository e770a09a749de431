"""The compact generalised non-local block, with both kernels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from contextlab.modules import CompactNonLocal

from .base import SMALL, ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain import conv1x1


def affinity_plain(theta: Tensor, phi: Tensor, options: dict) -> Tensor:
    """f_ij between all entries of two vectors, written out."""
    product = theta[:, None] * phi[None]
    if options.get("kernel", "dot_product") == "dot_product":
        return product
    gamma, order = options.get("gamma", 1e-4), options.get("order", 2)
    if options.get("beta", "exact") == "exact":
        beta = torch.exp(-gamma * (theta[:, None] ** 2 + phi[None] ** 2))
    else:
        beta = math.exp(-2 * gamma)
    series = sum((2 * gamma * product) ** p / math.factorial(p) for p in range(order + 1))
    return beta * series


def oracle(module, x: Tensor, options=None, affinity=affinity_plain) -> Tensor:
    """The block with every f_ij, group by group; grouped convolution and norm in loops too."""
    options = options or {}
    groups = options.get("groups", 8)
    theta, phi, g = (conv1x1(t, x) for t in (module.theta, module.phi, module.g))
    out = x.clone()
    for image in range(len(x)):
        for k in range(groups):
            t, p, v = (m[image].chunk(groups)[k] for m in (theta, phi, g))
            y = affinity(t.flatten(), p.flatten(), options) @ v.flatten()
            y = (y / v.numel() ** 0.5 if options.get("scale") else y).reshape(v.shape)
            z = torch.einsum("oc,chw->ohw", module.out.weight.chunk(groups)[k][:, :, 0, 0], y)
            mean = z.sum() / z.numel()
            var = ((z - mean) ** 2).sum() / z.numel()
            weight, bias = (t.chunk(groups)[k] for t in (module.norm.weight, module.norm.bias))
            z = (z - mean) / (var + module.norm.eps).sqrt()
            rows = slice(k * len(weight), (k + 1) * len(weight))
            out[image, rows] += z * weight[:, None, None] + bias[:, None, None]
    return out


def costs(channels, groups, side, terms=1, products=1):
    """Channels, side, parameters, MACs; element-wise products are not counted."""
    width = channels // 2
    layers = 3 * channels * width + channels * width // groups
    return (
        channels,
        side,
        layers + 2 * channels,
        side**2 * (layers + products * terms * width),
    )


class TestDotProduct(ContextModuleTests):
    module, name, channels = CompactNonLocal, "compact_non_local", 16
    identity_at_start = True
    permutation_equivariant = True
    costs = (costs(512, 8, 96), costs(64, 8, 9))
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3"),
        ({"groups": 3}, "expected groups to divide width, got groups=3 and width=8"),
        ({"kernel": "gaussian"}, r"expected kernel to be one of \('dot_product', 'rbf'\), got"),
        ({"beta": "one"}, r"expected beta to be one of \('exact', 'constant'\), got 'one'"),
        ({"order": 0}, "expected order to be a whole number of at least 1, got 0"),
        ({"gamma": 0.0}, "expected gamma above 0, got 0.0"),
    )

    def oracle(self, module, x):
        return oracle(module, x, self.options)


class TestRBF(TestDotProduct):
    options = Options(groups=2, kernel="rbf", gamma=0.1)
    costs = (costs(64, 2, 9, terms=3, products=2),)


def built(**options):
    torch.manual_seed(0)
    return randomise(CompactNonLocal(16, **options)).double().eval()


def some(h=4, w=5, batch=2):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, 16, h, w, generator=draw, dtype=torch.float64)


@st.composite
def any_options(draw):
    return {
        "reduction": draw(st.sampled_from([1, 2])),
        "groups": draw(st.sampled_from([1, 2, 4])),
        "kernel": draw(st.sampled_from(["dot_product", "rbf"])),
        "order": draw(st.integers(1, 4)),
        "gamma": draw(st.sampled_from([1e-4, 0.05, 0.5])),
        "beta": draw(st.sampled_from(["exact", "constant"])),
        "scale": draw(st.booleans()),
        "zero_init": draw(st.booleans()),
    }


@settings(deadline=None, max_examples=25)
@given(options=any_options(), size=SMALL)
def test_any_options_equal_the_written_out_affinity(options, size):
    module, x = built(**options), some(*size)
    torch.testing.assert_close(module(x), oracle(module, x, options), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("groups, parameters, giga", [(8, 410_624, 3.7796), (1, 525_312, 4.8366)])
def test_counts_of_the_reference(groups, parameters, giga):
    with torch.device("meta"):
        module, x = CompactNonLocal(512, groups=groups), torch.empty(1, 512, 96, 96)
    assert sum(p.numel() for p in module.parameters()) == parameters
    counted = macs(module, x) + 256 * 96 * 96  # the element-wise half: θ times the scalar
    assert round(counted / 1e9, 4) == giga


def test_without_zero_init_the_start_is_not_the_identity():
    x = torch.randn(2, 16, 4, 5)
    assert not torch.equal(CompactNonLocal(16, zero_init=False)(x), x)


@pytest.mark.parametrize("order, error", [(2, 1e-2), (4, 1e-4), (8, 1e-9)])
def test_the_series_approaches_the_gaussian(order, error):
    """Σ_p terms_p(θ_i) terms_p(φ_j) tends to exp(-γ (θ_i - φ_j)²) as terms are added."""
    gamma = 0.2
    module = CompactNonLocal(16, kernel="rbf", order=order, gamma=gamma)
    theta, phi = torch.linspace(-1, 1, 9, dtype=torch.float64).expand(2, 9)
    gaussian = torch.exp(-gamma * (theta[:, None] - phi[None]) ** 2)
    left, right = (module.terms(t.reshape(1, 1, -1))[0, 0] for t in (theta, phi))
    assert left.shape == (9, order + 1)
    found = (left @ right.T - gaussian).abs().max()
    assert error / 500 < found < error


def test_the_constant_beta_is_right_at_length_one_only():
    exact, constant = (
        CompactNonLocal(16, kernel="rbf", gamma=0.2, beta=beta) for beta in ("exact", "constant")
    )
    one, half = torch.ones(1, 1, 3), torch.full((1, 1, 3), 0.5)
    torch.testing.assert_close(exact.terms(one), constant.terms(one))
    assert not torch.allclose(exact.terms(half), constant.terms(half))


def groups_apart(theta, phi, options):
    """The mistake of asking one's own channel only: no affinity between channels."""
    n = 20
    channel = torch.arange(len(theta)) // n
    return affinity_plain(theta, phi, options) * (channel[:, None] == channel[None])


MISTAKES = {
    "a soft-max": lambda t, p, o: torch.softmax(affinity_plain(t, p, o), -1),
    "a Gaussian of order 1": lambda t, p, o: affinity_plain(t, p, o | {"order": 1}),
    "a wrong gamma": lambda t, p, o: affinity_plain(t, p, o | {"gamma": 0.15}),
    "the other beta": lambda t, p, o: affinity_plain(t, p, o | {"beta": "constant"}),
    "channels that do not meet": groups_apart,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(mistake):
    options = {"kernel": "rbf", "gamma": 0.3, "groups": 2}
    module, x = built(**options), some()
    torch.testing.assert_close(module(x), oracle(module, x, options))
    assert not torch.allclose(module(x), oracle(module, x, options, MISTAKES[mistake]))


def test_groups_do_not_meet():
    module, x = built(groups=4), some().requires_grad_()
    theta, phi, g = (t.weight for t in (module.theta, module.phi, module.g))
    module(x)[:, :4].sum().backward()  # the first of four groups
    for weight in (theta, phi, g):
        assert weight.grad[:2].abs().max() > 0 and weight.grad[2:].abs().max() == 0


def test_the_norm_leaves_only_the_sign_of_a_dot_product_scalar():
    """One scalar a group, then a norm over that group: its size is divided out again."""
    module, x = built(groups=2), some()
    module.norm.eps = 0.0
    before = module(x)
    with torch.no_grad():
        module.g.weight *= 3
    torch.testing.assert_close(module(x), before)
    with torch.no_grad():
        module.g.weight *= -1
    bias = module.norm.bias[:, None, None]
    torch.testing.assert_close(module(x) - x - bias, -(before - x - bias))


def test_the_norm_leaves_the_ratios_of_rbf_scalars():
    module, x = built(groups=2, kernel="rbf", gamma=0.3), some()
    before = module(x)
    with torch.no_grad():
        module.phi.weight *= 3
    assert not torch.allclose(module(x), before, rtol=0.05)


def test_every_pixel_reaches_every_pixel():
    module, x = built(groups=2, kernel="rbf", gamma=0.3), some().requires_grad_()
    module(x)[0, :, 1, 2].square().sum().backward()
    assert (x.grad[0].abs().sum(0) > 1e-9).all() and (x.grad[1] == 0).all()


def test_one_value_a_group_says_what_is_missing():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        CompactNonLocal(16, reduction=1, groups=16)(torch.randn(1, 16, 1, 1))


@pytest.mark.parametrize("kernel", ["dot_product", "rbf"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_is_linear_in_the_pixels(kernel, backward):
    module = CompactNonLocal(16, kernel=kernel).requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 16, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    large = peak(64)
    assert large < 4096**2 * 4 / 8  # a fraction of one n x n matrix, let alone (P n)²
    assert large < 5 * peak(32)
