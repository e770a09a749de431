"""Squeeze-and-Excitation."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import SqueezeExcite

from .base import ContextModuleTests, Options, randomise
from .plain import squeeze_excite_plain


class TestSqueezeExcite(ContextModuleTests):
    module, name, channels = SqueezeExcite, "squeeze_excite", 16
    options = Options(reduction=4)
    permutation_equivariant = True
    costs = ((512, 96, 2 * 512 * 128 + 128 + 512, 2 * 512 * 128),)
    refused = (
        (
            {"reduction": 3},
            "expected reduction to divide channels, got reduction=3 and channels=16",
        ),
        ({"reduction": 0}, "expected reduction to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return squeeze_excite_plain(module, x)


class TestDefaults(TestSqueezeExcite):
    options = Options()
    # the paper's: reduction 16, biases on
    costs = ((512, 96, 33_312, 32_768),)


class TestWithoutBias(TestSqueezeExcite):
    options = Options(bias=False)
    costs = ((512, 96, 32_768, 32_768),)


def test_gate_is_the_same_at_every_pixel_and_between_0_and_1():
    module = randomise(SqueezeExcite(16, reduction=4))
    x = torch.rand(2, 16, 5, 7) + 1
    gate = module(x) / x
    assert (gate > 0).all() and (gate < 1).all()
    torch.testing.assert_close(gate, gate[:, :, :1, :1].expand_as(gate))


def test_zero_weights_halve_the_map():
    module = SqueezeExcite(16)
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 16, 3, 3)
    assert torch.equal(module(x), x / 2)


@pytest.mark.parametrize("wrong", ["sum", "max"])
def test_a_wrong_squeeze_is_told_apart(monkeypatch, wrong):
    from contextlab.modules import squeeze_excite

    right = squeeze_excite.reduce
    tests = TestSqueezeExcite()
    module = randomise(tests.build()).double()
    inputs = tests.inputs(dtype=torch.float64)
    assert tests.agrees(module, inputs)
    monkeypatch.setattr(squeeze_excite, "reduce", lambda x, axes, _: right(x, axes, wrong))
    assert not tests.agrees(module, inputs)
