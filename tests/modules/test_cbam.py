"""CBAM."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import CBAM, cbam

from .base import ContextModuleTests, Options, randomise
from .plain_pooled import cbam_plain


class TestCBAM(ContextModuleTests):
    module, name = CBAM, "cbam"
    options = Options(reduction=2)
    rate = 0.1  # a large step closes the gates for good
    costs = ((64, 16, 2 * 64 * 32 + 32 + 64 + 98 + 2, 4 * 64 * 32 + 98 * 256),)
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"reduction": 0}, "expected reduction to be a whole number of at least 1, got 0"),
        ({"kernel": 4}, "expected kernel to be odd, got 4"),
        ({"kernel": 0}, "expected kernel to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return cbam_plain(module, x)


class TestDefaults(TestCBAM):
    channels = 16
    options = Options()
    # the paper's: reduction 16, window 7
    costs = ((512, 96, 33_412, 4 * 512 * 32 + 98 * 9216),)
    refused = (({"reduction": 5}, "expected reduction to divide channels"),)


class TestEquation(TestCBAM):
    options = Options(reduction=2, norm=False, kernel=3)
    costs = ((64, 16, 2 * 64 * 32 + 32 + 64 + 18, 4 * 64 * 32 + 18 * 256),)


def built(**options):
    return randomise(CBAM(8, reduction=2, **options)).double().eval()


def test_a_gate_for_each_channel_times_a_gate_for_each_pixel():
    x = torch.rand(2, 8, 5, 7, dtype=torch.float64) + 1
    module = built()
    gate = module(x) / x
    assert (gate > 0).all() and (gate < 1).all()
    assert (torch.linalg.matrix_rank(gate.flatten(2), rtol=1e-9) == 1).all()
    torch.testing.assert_close(gate, module.channel_gate(x) * module.pixel_gate(x * gate_c(x)))


def gate_c(x):
    return built().channel_gate(x)


def test_the_channel_gate_does_not_see_the_order_of_the_pixels_and_the_pixel_gate_does():
    module, x = built(), torch.randn(1, 8, 5, 7, dtype=torch.float64)
    turned = x.flip(3).roll(1, 2)
    torch.testing.assert_close(module.channel_gate(turned), module.channel_gate(x))
    assert not torch.allclose(module.pixel_gate(turned), module.pixel_gate(x).flip(3).roll(1, 2))


def test_the_pixel_gate_does_not_see_the_order_of_the_channels():
    module, x = built(), torch.randn(1, 8, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(module.pixel_gate(x.flip(1)), module.pixel_gate(x))


@pytest.mark.parametrize("kernel, reach", [(3, 1), (5, 2), (7, 3)])
def test_the_pixel_gate_sees_a_window(kernel, reach):
    module = built(kernel=kernel)
    x = torch.randn(1, 8, 9, 11, dtype=torch.float64)
    other = x.clone()
    other[..., 4, 5] += 5
    changed = (module.pixel_gate(other) != module.pixel_gate(x))[0, 0].nonzero()
    assert changed.amin(0).tolist() == [4 - reach, 5 - reach]
    assert changed.amax(0).tolist() == [4 + reach, 5 + reach]


def test_norm_starts_slowly():
    assert CBAM(16).norm.momentum == 0.01


def test_training_on_a_single_value_says_what_is_missing():
    x = torch.randn(1, 16, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        CBAM(16).train()(x)
    assert CBAM(16, norm=False).train()(x).shape == x.shape


def exchanged(right):
    """Maximum where the mean belongs, and the mean where the maximum does."""
    return lambda x, axes, by: right(x, axes, {"max": "mean", "mean": "max"}[by])


MISTAKES = {
    "maximum and mean in the wrong order": exchanged,
    "a sum for the mean": lambda right: (
        lambda x, axes, by: right(x, axes, "sum" if by == "mean" else by)
    ),
    "twice the mean": lambda right: lambda x, axes, _: right(x, axes, "mean"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    tests = TestCBAM()
    module, inputs = randomise(tests.build()).double().eval(), tests.inputs(dtype=torch.float64)
    assert tests.agrees(module, inputs)
    monkeypatch.setattr(cbam, "reduce", MISTAKES[mistake](cbam.reduce))
    assert not tests.agrees(module, inputs)


def test_pixels_before_channels_are_told_apart():
    module, x = built(), torch.randn(2, 8, 4, 5, dtype=torch.float64)
    y = x * module.pixel_gate(x)
    y = y * module.channel_gate(y)
    assert not torch.allclose(y, cbam_plain(module, x))


def test_at_ties_all_that_are_largest_share_the_gradient():
    module = randomise(CBAM(16)).double().eval()
    flat = torch.ones(1, 16, 3, 4, dtype=torch.float64, requires_grad=True)
    module.channel_gate(flat).square().sum().backward()
    torch.testing.assert_close(flat.grad, flat.grad[..., :1, :1].expand_as(flat))
    maximum = torch.ones(1, 16, 3, 4, dtype=torch.float64, requires_grad=True)
    module.pixel_gate(maximum).square().sum().backward()
    torch.testing.assert_close(maximum.grad, maximum.grad[:, :1].expand_as(maximum))
