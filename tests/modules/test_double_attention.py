"""Double attention (A²-Nets)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from contextlab.modules import DoubleAttention, double_attention

from .base import ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain import conv1x1, norm


def oracle(module, x: Tensor, axes=("pixels", "descriptors")) -> Tensor:
    """Gather and distribute, descriptor by descriptor and pixel by pixel."""
    a, b, v = (conv1x1(t, x).flatten(2) for t in (module.feature, module.gather, module.distribute))
    z = torch.zeros_like(a)
    for image in range(len(x)):
        b_i, v_i = b[image], v[image]
        if axes[0] == "pixels":
            b_i = torch.stack([row.exp() / row.exp().sum() for row in b_i])
        if axes[0] == "descriptors":
            b_i = torch.stack([column.exp() / column.exp().sum() for column in b_i.T], 1)
        if axes[1] == "descriptors":
            v_i = torch.stack([column.exp() / column.exp().sum() for column in v_i.T], 1)
        if axes[1] == "pixels":
            v_i = torch.stack([row.exp() / row.exp().sum() for row in v_i])
        descriptors = [sum(w * pixel for w, pixel in zip(row, a[image].T)) for row in b_i]
        pixels = [sum(w * g for w, g in zip(column, descriptors)) for column in v_i.T]
        z[image] = torch.stack(pixels, 1)
    return x + norm(module.norm, conv1x1(module.out, z.unflatten(2, x.shape[2:])))


def costs(channels, m, n, side, normed=True):
    """Channels, side, parameters and MACs."""
    parameters = 2 * channels * m + 2 * channels * n + m + 2 * n + 2 * channels * normed
    return (channels, side, parameters, side**2 * (2 * channels * (m + n) + 2 * m * n))


class TestDoubleAttention(ContextModuleTests):
    module, name = DoubleAttention, "double_attention"
    identity_at_start = True
    permutation_equivariant = True
    # a bias of B adds the same at all pixels, which a soft-max over the pixels does not see
    dead = frozenset({"gather.bias"})
    costs = (costs(512, 256, 256, 96), costs(64, 32, 32, 9))
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"descriptors": 0}, "expected descriptors to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return oracle(module, x)


class TestBareEquation(TestDoubleAttention):
    options = Options(reduction=4, descriptors=3, norm=False, zero_init=False)
    identity_at_start = False
    rate = 0.1
    costs = (costs(64, 16, 3, 9, normed=False),)


def built(**options):
    torch.manual_seed(0)
    return randomise(DoubleAttention(8, **options)).double().eval()


def some(h=4, w=5, batch=2):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, 8, h, w, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("reduction", [1, 2, 8])
@pytest.mark.parametrize("descriptors", [None, 1, 5])
@pytest.mark.parametrize("norm", [False, True])
def test_any_options_equal_the_plain_version(reduction, descriptors, norm):
    module, x = built(reduction=reduction, descriptors=descriptors, norm=norm), some()
    torch.testing.assert_close(module(x), oracle(module, x))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("zero_init", [False, True])
def test_zero_init_starts_as_the_identity(norm, zero_init):
    x = torch.randn(2, 8, 5, 6)
    assert torch.equal(DoubleAttention(8, norm=norm, zero_init=zero_init)(x), x) == zero_init


@pytest.mark.parametrize(
    "reduction, parameters, giga", [(2, 526_080, 6.0398), (4, 263_552, 2.7179)]
)
def test_counts_of_the_reference(reduction, parameters, giga):
    with torch.device("meta"):
        module, x = DoubleAttention(512, reduction=reduction), torch.empty(1, 512, 96, 96)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert round(macs(module, x) / 1e9, 4) == giga


def test_the_two_attentions_sum_to_one_along_different_axes():
    b, v = built(descriptors=3).attentions(some())
    assert b.shape == v.shape == (2, 3, 20)
    torch.testing.assert_close(b.sum(2), torch.ones_like(b[..., 0]))
    torch.testing.assert_close(v.sum(1), torch.ones_like(v[:, 0]))
    assert not torch.allclose(b.sum(1), torch.ones_like(b[:, 0]))
    assert not torch.allclose(v.sum(2), torch.ones_like(v[..., 0]))


@pytest.mark.parametrize("axes", [("descriptors", "descriptors"), ("pixels", "pixels"), ("", "")])
def test_wrong_axes_are_told_apart(axes):
    module, x = built(descriptors=3), some()
    assert not torch.allclose(module(x), oracle(module, x, axes))


def test_a_batch_soft_max_is_told_apart(monkeypatch):
    module, x = built(), some(batch=3)
    torch.testing.assert_close(module(x), oracle(module, x))
    right = torch.softmax
    monkeypatch.setattr(double_attention.torch, "softmax", lambda t, axis: right(t, 0))
    assert not torch.allclose(module(x), oracle(module, x))


def test_it_equals_full_attention_with_the_affinity_written_out():
    """(A Bᵀ) V = A (Bᵀ V), and the affinity's rank is at most n."""
    module, x = built(descriptors=3), some()
    b, v = module.attentions(x)
    affinity = v.mT @ b
    torch.testing.assert_close(affinity.sum(2), torch.ones_like(affinity[..., 0]))
    assert torch.linalg.matrix_rank(affinity[0]) == 3
    z = module.feature(x).flatten(2) @ affinity.mT
    y = x + module.norm(module.out(z.unflatten(2, (4, 5))))
    torch.testing.assert_close(module(x), y)


@pytest.mark.parametrize("query", [(0, 0), (3, 2)])
def test_affinity_gives_the_weights_of_one_query(query):
    module, x = built(norm=False), some()
    weights = module.affinity(x, query=query)
    assert weights.shape == (2, 1, 4, 5)
    torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))
    z = torch.einsum("bkyx,bmyx->bm", weights, module.feature(x))
    y = x[:, :, *query] + z @ module.out.weight[:, :, 0, 0].T
    torch.testing.assert_close(module(x)[:, :, *query], y)


def test_affinity_of_a_pixel_outside_is_refused():
    with pytest.raises(ValueError, match="expected query inside 4 x 5, got row 0, column 5"):
        built().affinity(some(), query=(0, 5))


def test_one_descriptor_gives_every_pixel_the_same():
    module, x = built(descriptors=1, norm=False), some()
    change = module(x) - x
    torch.testing.assert_close(change, change[:, :, :1, :1].expand_as(change))


def test_training_on_a_single_value_says_what_is_missing():
    x = torch.randn(1, 8, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        DoubleAttention(8).train()(x)
    assert torch.equal(DoubleAttention(8, norm=False).train()(x), x)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_is_linear_in_the_pixels(backward):
    module = DoubleAttention(8).eval().requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    large = peak(64)
    assert large < 4096**2 * 4 / 16
    assert large < 5 * peak(32)  # 4 is linear, 16 would be quadratic
