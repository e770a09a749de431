"""The asymmetric non-local blocks: pixels ask pooled bins."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import AsymmetricFusion, AsymmetricNonLocal, asymmetric_non_local

from .base import SMALL, ContextModuleTests, ModuleTests, Options, macs, peak_bytes, randomise
from .plain import conv1x1, norm

BINS = (1, 3, 6, 8)
ANCHORS = 110


def bins_plain(x, bins):
    """The mean of every cell of every grid; a cell holds each pixel that it touches."""
    h, w = x.shape[1:]
    cells = []
    for s in bins:
        for i in range(s):
            for j in range(s):
                rows = range(i * h // s, -(-(i + 1) * h // s))
                columns = range(j * w // s, -(-(j + 1) * w // s))
                inside = [x[:, r, q] for r in rows for q in columns]
                cells.append(sum(inside) / len(inside))
    return cells


def embed_plain(layers, x):
    return norm(layers[1], conv1x1(layers[0], x)).clamp(min=0)


def block_plain(module, x, low, *, query, key, relu, bins=BINS, scale=True):
    """The equations, pixel by pixel and bin by bin."""
    asks, keys = embed_plain(query, x), embed_plain(key, low)
    values = conv1x1(module.value, low)
    root = asks.shape[1] ** 0.5 if scale else 1
    answers = []
    for image in range(len(x)):
        k, v = bins_plain(keys[image], bins), bins_plain(values[image], bins)
        rows = []
        for q in asks[image].flatten(1).T:
            a = torch.stack([(q @ k_s / root) for k_s in k])
            a = (a - a.max()).exp()
            rows.append(sum(a_s * v_s for a_s, v_s in zip(a, v)) / a.sum())
        answers.append(torch.stack(rows, 1).reshape(-1, *x.shape[2:]))
    y = conv1x1(module.out, torch.stack(answers))
    z = norm(module.fuse[1], conv1x1(module.fuse[0], torch.cat([y, x], 1)))
    return z.clamp(min=0) if relu else z


def pyramid_plain(module, x, **options):
    return block_plain(module, x, x, query=module.phi, key=module.phi, relu=True, **options)


def fusion_plain(module, x, low=None, **options):
    low = x if low is None else low
    return block_plain(module, x, low, query=module.query, key=module.key, relu=False, **options)


def known(options):
    return {k: v for k, v in options.items() if k in ("bins", "scale")}


REFUSED = (
    ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
    ({"reduction": 0}, "expected reduction to be a whole number of at least 1, got 0"),
    ({"bins": (1, 0)}, "expected bins to be a whole number of at least 1, got 0"),
    ({"bins": ()}, "expected at least one side in bins, got none"),
    ({"dropout": 1.0}, r"expected dropout in \[0, 1\), got 1.0"),
)


class TestAsymmetricNonLocal(ContextModuleTests):
    module, name = AsymmetricNonLocal, "asymmetric_non_local"
    options = Options(bins=(1, 2, 3))
    refused = REFUSED
    costs = ((64, 40, 3 * 64 * 32 + 2 * 64**2 + 4 * 32 + 4 * 64, 1600 * 14336 + 1600 * 28 * 32),)

    def oracle(self, module, x):
        return pyramid_plain(module, x, **known(self.options))


class TestPaper(TestAsymmetricNonLocal):
    options = Options()
    # the table counts phi twice, as the official code runs it: 10.1827 GMACs
    costs = ((512, 96, 920_576, 9216 * (3 * 512 * 256 + 2 * 512**2 + 2 * ANCHORS * 256)),)


class TestFusionOfOneMap(ContextModuleTests):
    module, name = AsymmetricFusion, "asymmetric_fusion"
    options = Options(bins=(1, 3), reduction=2)
    refused = (*REFUSED, ({"low_channels": 0}, "expected low_channels to be a whole number"))
    costs = ((64, 40, 4 * 64 * 32 + 2 * 64**2 + 7 * 32 + 4 * 64, 1600 * (16384 + 2 * 10 * 32)),)

    def oracle(self, module, x):
        return fusion_plain(module, x, **known(self.options))


class TestFusionOfTwoMaps(ModuleTests):
    module, arguments = AsymmetricFusion, (8,)
    options = Options(low_channels=4, reduction=2, bins=(1, 3))
    refused = TestFusionOfOneMap.refused
    refused_inputs = (
        ((torch.zeros(1, 9, 4, 4), torch.zeros(1, 4, 4, 4)), r"expected a map \(b, 8, h, w\)"),
        ((torch.zeros(2, 8, 4, 4), torch.zeros(2, 8, 4, 4)), r"low-level map \(2, 4, y, x\), got"),
        ((torch.zeros(2, 8, 4, 4), torch.zeros(1, 4, 4, 4)), r"map \(2, 4, y, x\), got \(1, 4"),
        ((torch.zeros(2, 8, 4, 4),), r"low-level map \(2, 4, y, x\), got \(2, 8, 4, 4\)"),
    )

    def inputs(self, size=(5, 6), batch=2, dtype=torch.float32, seed=1):
        draw = torch.Generator().manual_seed(seed)
        x = torch.randn(batch, 8, *size, generator=draw)
        low = torch.randn(batch, 4, size[0] + 2, 2 * size[1], generator=draw)
        return x.to(dtype), low.to(dtype)

    def test_images_do_not_see_each_other(self):
        module = randomise(self.build()).double().eval()
        x, low = self.inputs(batch=3, dtype=torch.float64)
        alone = [module(a, b) for a, b in zip(x.split(1), low.split(1))]
        torch.testing.assert_close(module(x, low), torch.cat(alone))

    def oracle(self, module, x, low):
        return fusion_plain(module, x, low, **known(self.options))


def test_the_cost_of_the_fusion_at_the_reference_size():
    with torch.device("meta"):
        module = AsymmetricFusion(2048, low_channels=1024)
        maps = torch.empty(1, 2048, 96, 96), torch.empty(1, 1024, 96, 96)
        assert sum(p.numel() for p in module.parameters()) == 9_971_456
        assert round(macs(module, *maps) / 1e9, 4) == 92.3240


def test_the_cost_of_the_pyramid_block_with_phi_run_twice_is_the_tables():
    with torch.device("meta"):
        module, x = AsymmetricNonLocal(512), torch.empty(1, 512, 96, 96)
        assert round((macs(module, x) + 9216 * 512 * 256) / 1e9, 4) == 10.1827


@settings(deadline=None, max_examples=15)
@given(
    bins=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    scale=st.booleans(),
    reduction=st.sampled_from([1, 2, 4]),
    size=SMALL,
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize(
    ("module", "plain"), [(AsymmetricNonLocal, pyramid_plain), (AsymmetricFusion, fusion_plain)]
)
def test_any_options_equal_the_plain_version(module, plain, bins, scale, reduction, size, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 8, *size, generator=draw, dtype=torch.float64)
    block = randomise(module(8, bins=bins, scale=scale, reduction=reduction), seed)
    block = block.double().eval()
    torch.testing.assert_close(block(x), plain(block, x, bins=bins, scale=scale))


def built(module=AsymmetricNonLocal, **options):
    return randomise(module(8, **options)).double().eval()


@pytest.mark.parametrize("module", [AsymmetricNonLocal, AsymmetricFusion])
def test_the_context_has_no_say_at_first(module):
    block, x = module(16).eval(), torch.randn(2, 16, 5, 6)
    nothing = torch.cat([torch.zeros_like(x), x], 1)
    expected = block.fuse(nothing)
    expected = torch.relu(expected) if module is AsymmetricNonLocal else expected
    torch.testing.assert_close(block(x), expected)
    other = module(16, zero_init=False).eval()
    assert not torch.allclose(other(x), other.fuse(nothing).relu())


def test_the_weights_of_the_bins_sum_to_one():
    """A bias of the values passes through any soft-max over the bins unchanged."""
    module, x = built(), torch.randn(2, 8, 7, 9, dtype=torch.float64)
    phi, zero = module.phi(x), torch.zeros(2, 4, 7, 9, dtype=torch.float64)
    ones = module.attend(phi, phi, zero + 1) - module.attend(phi, phi, zero)
    expected = module.out.weight.sum((1, 2, 3))[None, :, None, None].expand_as(ones)
    torch.testing.assert_close(ones, expected)


@pytest.mark.parametrize("low_channels", [None, 8, 4])
def test_affinity_gives_the_weights_of_one_query(low_channels):
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    low = None if low_channels is None else torch.randn(2, low_channels, 7, 3).double()
    if low is None:
        module = built()
        weights, query, key = module.affinity(x, (3, 1)), module.phi(x), module.phi(x)
    else:
        module = built(AsymmetricFusion, low_channels=low_channels, reduction=2)
        weights, query, key = module.affinity(x, (3, 1), low), module.query(x), module.key(low)
    asked = x if low is None else low
    assert weights.shape == (2, 1, *asked.shape[2:])
    torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(2).double())
    value = module.value(asked)
    answer = module.out((weights * value).sum((2, 3), keepdim=True))[:, :, 0, 0]
    torch.testing.assert_close(module.attend(query, key, value)[:, :, 3, 1], answer)


@pytest.mark.parametrize("module", [AsymmetricNonLocal, AsymmetricFusion])
def test_affinity_of_a_pixel_outside_is_refused(module):
    with pytest.raises(ValueError, match="expected query inside 5 x 6, got row 5, column 0"):
        module(8).affinity(torch.randn(1, 8, 5, 6), query=(5, 0))


def test_a_single_bin_gives_every_pixel_the_average():
    module, x = built(bins=(1,)), torch.randn(2, 8, 7, 9, dtype=torch.float64)
    phi = module.phi(x)
    mean = module.value(x).mean((2, 3), keepdim=True)
    y = module.attend(phi, phi, module.value(x))
    torch.testing.assert_close(y, module.out(mean).expand_as(y))


def test_bins_as_many_as_pixels_are_full_attention():
    module, x = built(bins=(5,)), torch.randn(1, 8, 5, 5, dtype=torch.float64)
    phi, value = module.phi(x), module.value(x)
    q, v = phi[0].flatten(1).T, value[0].flatten(1).T
    full = torch.softmax(q @ q.T / 2, -1) @ v
    expected = module.out(full.T.reshape(1, 4, 5, 5))
    torch.testing.assert_close(module.attend(phi, phi, value), expected)


def test_dropout_only_in_training():
    torch.manual_seed(0)
    block, x = AsymmetricNonLocal(16, dropout=0.5), torch.randn(8, 16, 5, 6)
    dropped = (block(x).flatten(2) == 0).all(-1).float().mean()
    assert 0.3 < dropped < 0.7
    assert torch.equal(block.eval()(x), block(x))


def sdpa(query, key, value, *, scale, axis=-1, wrong=1.0):
    return torch.softmax(query @ key.mT * scale * wrong, axis) @ value


MISTAKES = {
    "no mistake": ("F.scaled_dot_product_attention", sdpa, True),
    "a missing scale": (
        "F.scaled_dot_product_attention",
        lambda q, k, v, scale: sdpa(q, k, v, scale=1.0),
        False,
    ),
    "soft-max over the pixels": (
        "F.scaled_dot_product_attention",
        lambda q, k, v, scale: sdpa(q, k, v, scale=scale, axis=-2),
        False,
    ),
    "max pooling": ("F.adaptive_avg_pool2d", F.adaptive_max_pool2d, False),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize(
    ("module", "plain"), [(AsymmetricNonLocal, pyramid_plain), (AsymmetricFusion, fusion_plain)]
)
def test_a_mistake_is_told_apart(monkeypatch, module, plain, mistake):
    target, replacement, right = MISTAKES[mistake]
    block, x = built(module, bins=(1, 3), reduction=2), torch.randn(2, 8, 5, 6).double()
    expected = plain(block, x, bins=(1, 3))
    monkeypatch.setattr(asymmetric_non_local.F, target.removeprefix("F."), replacement)
    assert torch.allclose(block(x), expected) == right


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_is_linear_in_the_pixels(backward):
    module = AsymmetricNonLocal(8).eval().requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    large = peak(64)
    assert large < 4096**2 * 4 / 8  # a fraction of one affinity matrix of all pixels
    assert large < 5 * peak(32)  # 4 is linear, 16 would be quadratic
