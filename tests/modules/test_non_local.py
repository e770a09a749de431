"""The non-local block, in every form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import NonLocal, non_local

from .base import SMALL, ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain import non_local_plain

MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")
FORMS = {
    "embedded_gaussian": {},
    "gaussian": {"mode": "gaussian"},
    "dot_product": {"mode": "dot_product"},
    "concatenation": {"mode": "concatenation"},
    "scaled": {"scale": True},
    "heads": {"heads": 2},
    "shared_value": {"heads": 2, "shared_value": True},
    "waves": {"waves": 3},
    "subsample": {"subsample": 2},
    "subsampled gaussian": {"mode": "gaussian", "subsample": 2, "heads": 4},
    "subsampled dot product": {"mode": "dot_product", "subsample": 3, "heads": 2},
    "subsampled concatenation": {"mode": "concatenation", "subsample": 2, "heads": 2},
}


def oracle(module, x, options):
    known = ("mode", "subsample", "shared_value", "scale", "waves")
    options = {"mode": "embedded_gaussian"} | options
    return non_local_plain(module, x, **{k: v for k, v in options.items() if k in known})


class NonLocalTests(ContextModuleTests):
    module, name = NonLocal, "non_local"
    identity_at_start = True
    permutation_equivariant = True
    # a bias of phi adds the same to all logits of a query, which a soft-max does not see
    dead = frozenset({"phi.bias"})
    refused = (
        ({"mode": "softmax"}, r"expected mode to be one of \('embedded_gaussian', .*got 'softmax'"),
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"reduction": 1.5}, "expected reduction to be a whole number of at least 1, got 1.5"),
        ({"heads": 3, "shared_value": False}, "expected heads to divide width, got heads=3"),
        ({"heads": 0}, "expected heads to be a whole number of at least 1, got 0"),
        ({"subsample": 0}, "expected subsample to be a whole number of at least 1, got 0"),
        ({"mode": "dot_product", "scale": True}, "expected a soft-max mode .*got 'dot_product'"),
        ({"mode": "gaussian", "scale": False, "shared_value": True}, "theta and phi.*'gaussian'"),
        ({"waves": 0}, "expected waves to be a whole number of at least 1, got 0"),
        (
            {"mode": "gaussian", "scale": False, "shared_value": False, "waves": 2},
            "theta and phi for waves, got 'gaussian'",
        ),
    )

    def oracle(self, module, x):
        return oracle(module, x, self.options)


class TestEmbeddedGaussian(NonLocalTests):
    # 4 c d for the projections and 2 N^2 d for the affinities, at 96 x 96: 48.3184 GMACs
    costs = (
        (512, 96, 526_592, 9216 * 4 * 512 * 256 + 2 * 9216**2 * 256),
        (64, 40, 4 * 64 * 32 + 3 * 32 + 3 * 64, 1600 * 4 * 64 * 32 + 2 * 1600**2 * 32),
    )


class TestGaussian(NonLocalTests):
    options = FORMS["gaussian"]
    dead = frozenset()
    # the value is widened to x, since the fused kernels want all three equally wide
    costs = ((64, 40, 2 * 64 * 32 + 32 + 3 * 64, 1600 * 2 * 64 * 32 + 2 * 1600**2 * 64),)


class TestDotProduct(NonLocalTests):
    options = FORMS["dot_product"]
    dead = frozenset()
    costs = ((64, 40, 4 * 64 * 32 + 3 * 32 + 3 * 64, 1600 * (4 * 64 * 32 + 2 * 32**2)),)


class TestConcatenation(NonLocalTests):
    options = FORMS["concatenation"]
    dead = frozenset()
    costs = ((64, 40, 4 * 64 * 32 + 5 * 32 + 3 * 64, 1600 * (4 * 64 * 32 + 2 * 32)),)


class TestScaledHeads(NonLocalTests):
    options = Options(heads=2, scale=True)
    costs = ((512, 96, 526_592, 9216 * 4 * 512 * 256 + 2 * 9216**2 * 256),)


class TestSharedValue(NonLocalTests):
    options = FORMS["shared_value"]
    # theta, phi and W of both heads, one g; the published count has one more bias of W
    costs = ((512, 96, 919_808 - 512 + 1024, 9216 * 7 * 512 * 256 + 4 * 9216**2 * 256),)


class TestWaves(NonLocalTests):
    options = Options(waves=2)
    permutation_equivariant = False
    costs = (
        (
            64,
            40,
            4 * 64 * 32 + 3 * 32 + 3 * 64 + 2 * 8 * 32,
            1600 * (4 * 64 * 32 + 2 * 8 * 32) + 2 * 1600**2 * 32,
        ),
    )


class TestSubsampled(NonLocalTests):
    options = FORMS["subsample"]
    pools = True
    permutation_equivariant = False
    costs = ((512, 96, 526_592, 9216 * 4 * 512 * 256 + 2 * 9216 * 2304 * 256),)


class TestSubsampledConcatenation(NonLocalTests):
    options = FORMS["subsampled concatenation"]
    pools = True
    permutation_equivariant = False
    dead = frozenset()
    costs = ((64, 39, 4 * 64 * 32 + 5 * 32 + 3 * 64, 1521 * (4 * 64 * 32 + 32) + 400 * 32),)


class TestWithoutNorm(NonLocalTests):
    options = Options(norm=False)
    costs = ((512, 96, 526_592 - 1024, 9216 * 4 * 512 * 256 + 2 * 9216**2 * 256),)


def built(options, channels=8, seed=0):
    torch.manual_seed(seed)
    return randomise(NonLocal(channels, **options), seed).double().eval()


@st.composite
def any_options(draw):
    """Any options that go together, for 8 channels."""
    mode = draw(st.sampled_from(MODES))
    return {
        "mode": mode,
        "reduction": draw(st.sampled_from([1, 2])),
        "heads": draw(st.sampled_from([1, 2, 4])),
        "shared_value": mode != "gaussian" and draw(st.booleans()),
        "subsample": draw(st.integers(1, 3)),
        "scale": mode in MODES[:2] and draw(st.booleans()),
        "waves": None if mode == "gaussian" else draw(st.sampled_from([None, 1, 3])),
        "norm": draw(st.booleans()),
        "zero_init": draw(st.booleans()),
    }


@settings(deadline=None, max_examples=30)
@given(options=any_options(), size=SMALL, seed=st.integers(0, 99))
def test_any_options_equal_the_double_sum(options, size, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 8, *size, generator=draw, dtype=torch.float64)
    module = built(options, seed=seed)
    torch.testing.assert_close(module(x), oracle(module, x, options), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", [True, False])
def test_without_zero_init_the_start_is_not_the_identity(norm):
    x = torch.randn(2, 8, 5, 6)
    assert not torch.equal(NonLocal(8, zero_init=False, norm=norm)(x), x)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_those_of_the_double_sum(form):
    module = built(FORMS[form])
    x = torch.randn(2, 8, 4, 5, dtype=torch.float64, requires_grad=True)
    asked = (x, *module.parameters())
    fast = torch.autograd.grad(module(x).square().sum(), asked)
    slow = torch.autograd.grad(oracle(module, x, FORMS[form]).square().sum(), asked)
    torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-8)


def sdpa(query, key, value, *, scale, axis=-1, wrong=1.0):
    return torch.softmax(query @ key.mT * scale * wrong, axis) @ value


MUTATIONS = {
    "no mistake": ({}, "F.scaled_dot_product_attention", sdpa, True),
    "a wrong scale": (
        {},
        "F.scaled_dot_product_attention",
        lambda q, k, v, scale: sdpa(q, k, v, scale=scale, wrong=q.shape[-1] ** -0.5),
        False,
    ),
    "soft-max over the queries": (
        {},
        "F.scaled_dot_product_attention",
        lambda q, k, v, scale: sdpa(q, k, v, scale=scale, axis=-2),
        False,
    ),
    "query and key exchanged": (
        {},
        "F.scaled_dot_product_attention",
        lambda q, k, v, scale: sdpa(k, q, v, scale=scale),
        False,
    ),
    "a dot product that is not divided": (
        {"mode": "dot_product"},
        "dot_product_attention",
        lambda q, k, v: q @ k.mT @ v,
        False,
    ),
    "a concatenation without ReLU": (
        {"mode": "concatenation"},
        "concatenation_attention",
        lambda a, b, v: (a[..., None] + b[:, :, None]) @ v / b.shape[-1],
        False,
    ),
    "a concatenation with ReLU on each part": (
        {"mode": "concatenation"},
        "concatenation_attention",
        lambda a, b, v: (a.relu()[..., None] + b.relu()[:, :, None]) @ v / b.shape[-1],
        False,
    ),
}


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    options, target, replacement, right = MUTATIONS[mistake]
    owner, _, name = target.rpartition(".")
    monkeypatch.setattr(F if owner else non_local, name, replacement)
    module, x = built(options), torch.randn(2, 8, 4, 5, dtype=torch.float64)
    assert torch.allclose(module(x), oracle(module, x, options)) == right


@pytest.mark.parametrize("form", FORMS)
def test_affinity_gives_the_weights_of_one_query(form):
    options = FORMS[form]
    module = built(options | {"norm": False})
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    row, column = 3, 1
    weights = module.affinity(x, query=(row, column))
    value = module.project(x)[2]
    side = options.get("subsample", 1)
    assert weights.shape == (2, module.heads, -(-5 // side), -(-6 // side))
    if options.get("mode", "embedded_gaussian") in MODES[:2]:
        torch.testing.assert_close(weights.sum((2, 3)), torch.ones_like(weights[:, :, 0, 0]))
    y = torch.einsum("bkn,bknd->bkd", weights.flatten(2), value).flatten(1)
    z = x[:, :, row, column] + F.linear(y, module.out.weight[:, :, 0, 0], module.out.bias)
    torch.testing.assert_close(module(x)[:, :, row, column], z)


@pytest.mark.parametrize("query", [(-1, 0), (5, 0), (0, 6)])
def test_affinity_of_a_pixel_outside_is_refused(query):
    with pytest.raises(ValueError, match=r"expected query inside 5 x 6, got row"):
        NonLocal(8).affinity(torch.randn(1, 8, 5, 6), query=query)


def test_a_pixel_asks_itself_the_most_when_it_stands_out():
    x = torch.zeros(1, 8, 5, 5)
    x[0, :, 2, 3] = 4
    weights = NonLocal(8, mode="gaussian").affinity(x, query=(2, 3))
    assert weights[0, 0].argmax() == 2 * 5 + 3


def test_a_constant_map_is_answered_by_one_value():
    module = built({"norm": False})
    x = torch.ones(1, 8, 4, 6, dtype=torch.float64)
    expected = x + module.out(module.g(x))
    torch.testing.assert_close(module(x), expected)


def test_large_float16_logits_stay_finite():
    module = NonLocal(64, mode="gaussian", norm=False, zero_init=False).half()
    x = torch.full((1, 64, 4, 4), 60.0).half()  # x . x is 230400, float16 ends at 65504
    x[..., 0, 0] = -60
    assert torch.isfinite(module(x)).all()


def test_training_on_a_single_value_says_what_is_missing():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        NonLocal(8).train()(torch.randn(1, 8, 1, 1))
    x = torch.randn(1, 8, 1, 1)
    assert torch.equal(NonLocal(8, norm=False).train()(x), x)


def test_counted_cost_at_the_reference_size():
    with torch.device("meta"):
        module, x = NonLocal(512), torch.empty(1, 512, 96, 96)
    assert round(macs(module, x) / 1e9, 4) == 48.3184


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("form", FORMS)
def test_memory_is_linear_in_the_pixels(form, backward):
    module = NonLocal(8, **FORMS[form]).eval().requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    keys = (-(-64 // FORMS[form].get("subsample", 1))) ** 2
    large = peak(64)
    assert large < 4096 * keys * 4 / 4  # a fraction of one affinity matrix
    assert large < 5 * peak(32)  # 4 is linear, 16 would be quadratic


def test_the_plain_block_does_hold_the_matrix():
    q = torch.randn(1, 4096, 8, requires_grad=True)
    peak = peak_bytes(lambda: (torch.softmax(q @ q.mT, -1) @ q).sum().backward())
    assert peak > 2 * 4096**2 * 4


def test_backward_in_half_precision_matches_float32():
    torch.manual_seed(0)
    module = NonLocal(32, zero_init=False, norm=False)
    x = torch.randn(1, 32, 6, 7)
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        module.to(dtype).zero_grad()
        module(x.to(dtype)).float().square().sum().backward()
        grads.append(module.g.weight.grad.float())
    assert F.cosine_similarity(*(g.flatten() for g in grads), dim=0) > 0.99
