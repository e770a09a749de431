"""GloRe."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import GloRe

from .base import ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain_e import glore_plain

PROJECTIONS = 96**2 * (512 * (128 + 2 * 256) + 2 * 128 * 256)
GRAPH = 128**2 * 256 + 128 * 256**2


class TestGloRe(ContextModuleTests):
    module, name = GloRe, "glore"
    identity_at_start = True
    permutation_equivariant = True
    # the paper's graph convolution has no bias: 128 parameters less than the code
    costs = ((512, 96, 411_136 - 128, PROJECTIONS + GRAPH),)
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3"),
        ({"expansion": 0}, "expected expansion to be a whole number of at least 1, got 0"),
        ({"variant": "gcn"}, "variant to be one of .*got 'gcn'"),
        ({"pool": "max"}, r"pool to be one of \('mean', 'sum'\), got 'max'"),
    )

    def oracle(self, module, x):
        return glore_plain(
            module,
            x,
            variant=self.options.get("variant", "paper"),
            pool=self.options.get("pool", "mean"),
        )


class TestOfficial(TestGloRe):
    options = Options(variant="glore", pool="sum")
    costs = ((512, 96, 411_136, PROJECTIONS + GRAPH),)


class TestOtherWidths(TestGloRe):
    options = Options(reduction=2, expansion=1, zero_init=False)
    identity_at_start = False
    costs = ((8, 2, 8 * 4 * 3 + 8 + 2 * 16 + 16, 4 * (8 * 12 + 2 * 16) + 2 * 64),)


def test_macs_of_the_reference_table():
    with torch.device("meta"):
        module, x = GloRe(512), torch.empty(1, 512, 96, 96)
    assert macs(module, x) / 1e9 == pytest.approx(3.6365, rel=1e-3)


def test_a_sum_and_a_mean_are_the_same_in_training():
    mean, total = GloRe(16, zero_init=False).double(), GloRe(16, pool="sum").double()
    total.load_state_dict(mean.state_dict())
    for module in (mean, total):
        module.norm.eps = 1e-30
    x = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(mean(x), total(x))
    mean.eval(), total.eval()
    assert not torch.allclose(mean(x), total(x))


def test_without_edges_and_weights_it_is_linear_attention():
    module = randomise(GloRe(8, reduction=2)).double().eval()
    torch.nn.init.zeros_(module.talk.adjacency[0].weight)
    module.talk.weight[0].weight.data = torch.eye(8, dtype=torch.float64)[..., None]
    module.norm, module.out = torch.nn.Identity(), torch.nn.Identity()
    x = torch.randn(1, 8, 3, 4, dtype=torch.float64)
    theta, phi = module.theta(x).flatten(2), module.phi(x).flatten(2)
    affinity = theta.mT @ theta / 12  # every pixel with every other, through the concepts
    torch.testing.assert_close(module(x) - x, (phi @ affinity).reshape(1, 8, 3, 4))


def test_memory_is_linear_in_the_pixels():
    module = GloRe(16)
    peak = [
        peak_bytes(lambda: module(torch.randn(1, 16, side, side)).sum().backward())  # noqa: B023
        for side in (32, 64)
    ]
    assert peak[1] < 5 * peak[0]


def test_half_precision_on_a_large_map():
    torch.manual_seed(0)
    module = GloRe(8, zero_init=False).eval()
    x = 20 * torch.rand(1, 8, 96, 96)
    expected = module(x)
    y = module.half()(x.half())
    assert torch.isfinite(y).all()
    torch.testing.assert_close(y.float(), expected, rtol=0, atol=0.02 * expected.abs().max().item())
