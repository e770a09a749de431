"""Criss-cross attention and its recurrence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from contextlab.modules import CrissCross, criss_cross

from .base import ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain import conv1x1


def hop_plain(module, x: Tensor, scale: bool = False, centre: int = 1, axes="both") -> Tensor:
    """γ Σ_i A_iu V_i + H_u, pixel by pixel; the centre stands in the cross ``centre`` times."""
    q, k, v = (conv1x1(layer, x) for layer in (module.query, module.key, module.value))
    h, w = x.shape[2:]
    out = x.clone()
    for b in range(len(x)):
        for y in range(h):
            for z in range(w):
                cross = [(y, z)] * centre
                cross += [(y, j) for j in range(w) if j != z]
                cross += [(j, z) for j in range(h) if j != y]
                d = torch.stack([q[b, :, y, z] @ k[b, :, i, j] for i, j in cross])
                d = d / q.shape[1] ** 0.5 if scale else d
                a = (d - d.max()).exp()
                a = a / a.sum()
                mean = sum(a_i * v[b, :, i, j] for a_i, (i, j) in zip(a, cross))
                out[b, :, y, z] = out[b, :, y, z] + module.gamma * mean
    return out


def oracle(module, x: Tensor, options=None, **wrong) -> Tensor:
    options = options or {}
    for _ in range(options.get("recurrence", 2)):
        x = hop_plain(module, x, options.get("scale", False), **wrong)
    return x


def costs(channels, d, side, hops):
    """Channels, side, parameters and MACs at d = channels / reduction."""
    products = channels**2 + 2 * channels * d + 2 * side * (channels + d)
    parameters = channels**2 + 2 * channels * d + channels + 2 * d + 1
    return (channels, side, parameters, hops * side**2 * products)


class TestCrissCross(ContextModuleTests):
    module, name, channels = CrissCross, "criss_cross", 8
    identity_at_start = True
    rate = 0.1  # the second hop asks with what the first answered: long steps saturate it
    # a bias of the key adds the same to all logits of a query, which a soft-max does not see
    dead = frozenset({"key.bias"})
    # the first is the reference: 328,321 parameters, 8.0782 GMACs
    costs = (costs(512, 64, 96, 2), costs(64, 8, 9, 2))
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"recurrence": 0}, "expected recurrence to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return oracle(module, x, self.options)


class TestOneHopScaled(TestCrissCross):
    options = Options(reduction=4, recurrence=1, scale=True)
    costs = (costs(64, 16, 9, 1),)


def built(**options):
    torch.manual_seed(0)
    return randomise(CrissCross(8, **({"reduction": 2} | options))).double().eval()


def some(h=4, w=5, batch=2):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, 8, h, w, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("reduction", [1, 2, 8])
@pytest.mark.parametrize("recurrence", [1, 2, 3])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (3, 1), (1, 1)])
def test_any_options_equal_the_plain_version(reduction, recurrence, scale, size):
    module, x = built(reduction=reduction, recurrence=recurrence, scale=scale), some(*size)
    expected = oracle(module, x, {"recurrence": recurrence, "scale": scale})
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("hops, giga", [(1, 4.0391), (2, 8.0782)])
def test_counts_of_the_reference(hops, giga):
    with torch.device("meta"):
        module, x = CrissCross(512, recurrence=hops), torch.empty(1, 512, 96, 96)
    assert sum(p.numel() for p in module.parameters()) == 328_321
    assert round(macs(module, x) / 1e9, 4) == giga


@pytest.mark.parametrize(
    "mistake",
    [{"centre": 2}, {"centre": 0}, {"scale": True}],
    ids=["centre twice", "no centre", "scaled"],
)
def test_a_mistake_is_told_apart(mistake):
    module, x = built(recurrence=1), some()
    torch.testing.assert_close(module(x), hop_plain(module, x))
    assert not torch.allclose(module(x), hop_plain(module, x, **mistake))


@pytest.mark.parametrize("what", ["two soft-maxes", "no mask"])
def test_a_mistake_in_the_soft_max_is_told_apart(monkeypatch, what):
    module, x = built(recurrence=1), some()
    right = torch.softmax

    def apart(t, axis):
        return torch.cat([right(part, axis) / 2 for part in t.split([4, 5], axis)], axis)

    if what == "no mask":
        monkeypatch.setattr(torch.Tensor, "masked_fill", lambda t, mask, value: t)
        torch.testing.assert_close(module(x), hop_plain(module, x, centre=2))
    else:
        monkeypatch.setattr(criss_cross.torch, "softmax", apart)
    assert not torch.allclose(module(x), hop_plain(module, x))


@pytest.mark.parametrize("hops", [1, 2])
def test_reach_after_one_and_two_hops(hops):
    """One hop reaches exactly h + w - 1 pixels, two reach all."""
    module, x = built(recurrence=hops), some(5, 6, 1).requires_grad_()
    module(x)[0, :, 1, 2].sum().backward()
    reached = x.grad[0].abs().sum(0) > 0
    cross = torch.zeros(5, 6, dtype=torch.bool)
    cross[1], cross[:, 2] = True, True
    assert cross.sum() == 5 + 6 - 1
    assert torch.equal(reached, cross) if hops == 1 else reached.all()


def test_two_hops_are_one_hop_twice():
    module, x = built(recurrence=2), some()
    once = built(recurrence=1)
    once.load_state_dict(module.state_dict())
    torch.testing.assert_close(module(x), once(once(x)))


def test_transposed_map_gives_the_transposed_answer():
    module, x = built(), some()
    torch.testing.assert_close(module(x.mT), module(x).mT)


def test_permuted_rows_and_columns():
    module, x = built(), some()
    rows, columns = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    torch.testing.assert_close(module(x[:, :, rows]), module(x)[:, :, rows])
    torch.testing.assert_close(module(x[..., columns]), module(x)[..., columns])


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("size", [(5, 6), (1, 6), (5, 1), (1, 1)])
def test_affinity_gives_the_weights_of_one_query(scale, size):
    module, x = built(recurrence=1, scale=scale), some(*size)
    row, column = size[0] // 2, size[1] // 3
    weights = module.affinity(x, query=(row, column))
    assert weights.shape == (2, 1, *size)
    torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))
    off = torch.ones(size, dtype=torch.bool)
    off[row], off[:, column] = False, False
    assert (weights[..., off] == 0).all() and (weights[..., ~off] > 0).all()
    mean = torch.einsum("bkyx,bcyx->bc", weights, module.value(x))
    pixel = x[:, :, row, column] + module.gamma * mean
    torch.testing.assert_close(module(x)[:, :, row, column], pixel)


def test_affinity_of_a_pixel_outside_is_refused():
    with pytest.raises(ValueError, match="expected query inside 4 x 5, got row 4, column 0"):
        built().affinity(some(), query=(4, 0))


def test_a_constant_map_is_answered_by_one_value():
    module, x = built(recurrence=1), torch.ones(1, 8, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(module(x), x + module.gamma * module.value(x))


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_grows_with_the_cross_and_not_with_the_map(backward):
    module = CrissCross(8, recurrence=1).requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    large = peak(64)
    assert large < 4096**2 * 4 / 4  # a fraction of one n x n matrix
    assert large < 9 * peak(32)  # n (h + w): 8 times; n x n: 16 times
