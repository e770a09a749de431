"""Squeeze Reasoning."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import SqueezeReasoning, squeeze_reasoning

from .base import ContextModuleTests, Options, macs, randomise
from .plain_e import squeeze_plain, squeeze_reasoning_plain

N, C, P = 96 * 96, 512, 256


class TestSqueezeReasoning(ContextModuleTests):
    module, name = SqueezeReasoning, "squeeze_reasoning"
    options = Options(nodes=2)
    permutation_equivariant = True
    reasoning = 2**2 * 128 + 2 * 128**2
    costs = ((C, 96, 3 * P * C + C + 2**2 + 128**2, N * (3 * P * C + C) + reasoning),)
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3"),
        ({"nodes": 3}, "expected nodes to divide width, got nodes=3 and width=4"),
        ({"nodes": 0}, "expected nodes to be a whole number of at least 1, got 0"),
        ({"squeeze": "max"}, r"squeeze to be one of \('hadamard', 'average'\), got 'max'"),
        ({"pool": "max"}, r"pool to be one of \('mean', 'sum'\), got 'max'"),
        ({"squeeze": "average", "pool": "sum"}, "expected pool='mean' with squeeze='average'"),
        ({"reason": "gcn"}, "reason to be one of .*got 'gcn'"),
        ({"reason": "graph", "variant": "gcn"}, "variant to be one of .*got 'gcn'"),
        ({"reason": "graph", "edges": "fixed"}, "edges to be one of .*got 'fixed'"),
        ({"edges": "none", "reason": "none"}, "expected edges='learned' with reason='none', got"),
        ({"grouping": "random"}, "grouping to be one of .*got 'random'"),
        ({"reconstruct": "full"}, r"reconstruct to be one of \('grouped', 'dense'\)"),
        ({"norm": True, "reduction": 1}, "expected reduction of at least 2 with norm, got 1"),
    )

    def oracle(self, module, x):
        return squeeze_reasoning_plain(module, x, **self.options)


class TestAverage(TestSqueezeReasoning):
    options = Options(nodes=2, squeeze="average", reconstruct="dense")
    reasoning = 2**2 * 128 + 2 * 128**2
    costs = ((C, 96, 3 * P * C + 2**2 + 128**2, N * 3 * P * C + reasoning),)


class TestOfficial(TestSqueezeReasoning):
    options = Options(nodes=2, variant="srnet", grouping="official", pool="sum", norm=True)
    rate = 0.01  # one long step would leave no gate above zero
    norms = 2 * C + 2 * 2 + 2 * 128
    reasoning = 2**2 * 128 + 2 * 128**2
    costs = ((C, 96, 3 * P * C + C + 2**2 + 128**2 + norms, N * (3 * P * C + C) + reasoning),)


class TestConnected(TestSqueezeReasoning):
    options = Options(nodes=2, reason="connected")
    costs = ((C, 96, 3 * P * C + C + P**2 + P, N * (3 * P * C + C) + P**2),)


class TestCorrelation(TestSqueezeReasoning):
    options = Options(nodes=2, reason="correlation", grouping="strided")
    reasoning = 3 * 2 * 128**2 + 2 * 2**2 * 128
    costs = ((C, 96, 3 * P * C + C + 3 * 128**2, N * (3 * P * C + C) + reasoning),)


class TestWithoutReasoning(TestSqueezeReasoning):
    options = Options(nodes=2, reason="none")
    costs = ((C, 96, 3 * P * C + C, N * (3 * P * C + C)),)


class TestRandomEdges(TestSqueezeReasoning):
    options = Options(nodes=2, edges="random")
    costs = ((C, 96, 3 * P * C + C + 128**2, N * (3 * P * C + C) + 2**2 * 128 + 2 * 128**2),)


class TestWithoutEdges(TestSqueezeReasoning):
    options = Options(nodes=2, edges="none")
    costs = ((C, 96, 3 * P * C + C + 128**2, N * (3 * P * C + C) + 2 * 128**2),)


@pytest.mark.parametrize(
    ("options", "parameters", "products"),
    [
        ({"squeeze": "average"}, 264_256, 2.4206),
        ({}, 395_328, 3.6286),
        ({"nodes": 32}, 395_920, 3.6286),
        ({"reason": "connected"}, 460_544, 3.6287),
        ({"reason": "correlation"}, 395_520, 3.6286),
        ({"reconstruct": "dense"}, 525_888, 4.8318),
    ],
)
def test_counts_of_the_code(options, parameters, products):
    with torch.device("meta"):
        module = SqueezeReasoning(512, variant="srnet", norm=True, **options)
        x = torch.empty(1, 512, 96, 96)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert macs(module, x) / 1e9 == pytest.approx(products, rel=1e-3)


@pytest.mark.parametrize("squeeze", ["hadamard", "average"])
@pytest.mark.parametrize("reason", ["graph", "connected", "correlation", "none"])
@pytest.mark.parametrize("grouping", ["contiguous", "strided", "official"])
def test_every_form_equals_the_plain_version(squeeze, reason, grouping):
    options = {"nodes": 3, "squeeze": squeeze, "reason": reason, "grouping": grouping}
    module = randomise(SqueezeReasoning(12, **options)).double().eval()
    x = torch.randn(2, 12, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(module(x), squeeze_reasoning_plain(module, x, **options))
    for name, wrong in (
        ("squeeze", "average" if squeeze == "hadamard" else None),
        ("grouping", "strided" if grouping != "strided" else "contiguous"),
    ):
        if wrong and not (name == "grouping" and reason in ("connected", "none")):
            mistaken = squeeze_reasoning_plain(module, x, **(options | {name: wrong}))
            assert not torch.allclose(module(x), mistaken)


def test_grouping_without_reasoning_matters_only_where_it_is_not_undone():
    x = torch.randn(1, 12, 4, 4)
    module = SqueezeReasoning(12, nodes=3, reason="none", grouping="strided")
    torch.testing.assert_close(module.gate(x), module.squeeze(x))
    module.split, module.join = squeeze_reasoning.GROUPINGS["official"]
    assert not torch.allclose(module.gate(x), module.squeeze(x))


def test_the_code_returns_two_of_256_answers_to_their_own_channel():
    split, join = squeeze_reasoning.GROUPINGS["official"]
    channel = torch.arange(256)[None]
    back = squeeze_reasoning.rearrange(squeeze_reasoning.rearrange(channel, split, k=32), join)
    assert (back == channel).sum() == 2


def test_hadamard_pooling_is_the_diagonal_of_bilinear_pooling():
    module = randomise(SqueezeReasoning(8, nodes=2)).double()
    x = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    b, c = module.phi(x).flatten(2), module.gamma(x).flatten(2)
    torch.testing.assert_close(module.squeeze(x), torch.diagonal(b @ c.mT, 0, 1, 2) / 20)
    torch.testing.assert_close(module.squeeze(x), squeeze_plain(module, x))


def test_a_mean_does_not_grow_with_the_map_and_a_sum_does():
    x = torch.randn(1, 8, 4, 4)
    mean, total = SqueezeReasoning(8, nodes=2), SqueezeReasoning(8, nodes=2, pool="sum")
    total.load_state_dict(mean.state_dict())
    tiled = x.repeat(1, 1, 2, 3)
    torch.testing.assert_close(mean.squeeze(tiled), mean.squeeze(x))
    torch.testing.assert_close(total.squeeze(tiled), 6 * total.squeeze(x))


def test_a_long_mean_stays_inside_float16():
    module = SqueezeReasoning(8, nodes=2)
    for layer in (module.phi, module.gamma):
        torch.nn.init.constant_(layer.weight, 1 / 8)
    x = torch.full((1, 8, 64, 64), 8.0, dtype=torch.float16)  # the sum is 262,144
    torch.testing.assert_close(module.half().squeeze(x), torch.full((1, 4), 64.0))


def test_the_norm_of_the_code_takes_the_gate_out_again():
    torch.manual_seed(0)
    x = torch.randn(1, 16, 9, 8, dtype=torch.float64)
    for norm in (False, True):
        module = SqueezeReasoning(16, nodes=2, norm=norm).double()
        torch.nn.init.constant_(module.out.weight, 1.0)
        gate = torch.tensor([[0.0, 1, 2, 3, 4, 5, 6, 7]], dtype=torch.float64)
        module.gate = lambda x, gate=gate: gate
        y = module(x)
        module.gate = lambda x, gate=gate: (gate > 0).double()
        assert torch.allclose(module(x), y, atol=1e-3) == norm


def test_the_gate_is_one_number_a_channel():
    module = randomise(SqueezeReasoning(8, nodes=2)).double()
    x = torch.randn(1, 8, 5, 4, dtype=torch.float64)
    theta, gate = module.theta(x), module.gate(x)
    assert (gate >= 0).all()
    weight = module.out.weight.flatten()
    gated = (theta * gate[..., None, None]).repeat_interleave(2, 1)
    torch.testing.assert_close(module(x) - x, gated * weight[:, None, None])


def kept_in_training(module, x):
    """Channels and bytes of every full-size tensor that waits for the backward pass."""
    kept, pixels = {}, x.shape[0] * x.shape[2] * x.shape[3]

    def pack(t):
        storage = t.untyped_storage()
        if t.numel() >= pixels:
            kept[storage.data_ptr()] = (t.numel() // pixels, storage.nbytes() // pixels, t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = module(x)
    y.float().sum().backward()
    return sorted((channels, size) for channels, size, _ in kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("options", "maps"),
    [
        ({}, [8, 8, 8, 8, 16]),  # θ, φ, γ, what W_R takes, and x
        ({"squeeze": "average"}, [8, 8, 16]),  # a mean needs nothing of φ
        ({"reason": "none", "reconstruct": "dense"}, [8, 8, 8, 8, 16]),
        ({"norm": True, "variant": "srnet"}, [8, 8, 8, 8, 16, 16]),  # and what the norm takes
    ],
)
def test_training_keeps_no_more_maps_than_the_gradient_needs(options, maps, dtype):
    module = SqueezeReasoning(16, nodes=2, **options).to(dtype)
    x = torch.randn(2, 16, 12, 11).to(dtype).requires_grad_()
    assert kept_in_training(module, x) == [(c, c * dtype.itemsize) for c in maps]


@pytest.mark.parametrize(
    "wasteful",
    [
        lambda b, c, pool: (b.float() * c.float()).mean((2, 3)).to(b.dtype),  # copies of both
        lambda b, c, pool: ((b + c) ** 2 - b**2 - c**2).mean((2, 3)) / 2,  # products besides
    ],
)
def test_a_squeeze_that_keeps_more_is_told_apart(monkeypatch, wasteful):
    monkeypatch.setattr(squeeze_reasoning, "hadamard_pool", wasteful)
    module = SqueezeReasoning(16, nodes=2).bfloat16()
    x = torch.randn(2, 16, 12, 11).bfloat16().requires_grad_()
    assert sum(size for _, size in kept_in_training(module, x)) > 2 * (4 * 8 + 16)


@pytest.mark.parametrize("edges", ["learned", "random", "none"])
def test_edges_of_the_graph(edges):
    torch.manual_seed(0)
    module = SqueezeReasoning(8, nodes=2, edges=edges).double()
    x = torch.randn(3, 8, 5, 4, generator=torch.Generator().manual_seed(1)).double()
    module.out.weight.data += 1
    before = module.gate(x)
    if module.talk.adjacency is not None:
        torch.nn.init.zeros_(module.talk.adjacency[0].weight)
    assert torch.allclose(module.gate(x), before) == (edges == "none")
    names = {name for name, _ in module.named_parameters()}
    assert ("talk.adjacency.0.weight" in names) == (edges == "learned")
    assert ("talk.adjacency.0.weight" in module.state_dict()) == (edges != "none")
