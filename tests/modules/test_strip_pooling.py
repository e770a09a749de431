"""Strip pooling."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import StripPooling, strip_pooling

from .base import ContextModuleTests, Options, randomise
from .plain_pooled import strip_pooling_plain


class TestStripPooling(ContextModuleTests):
    module, name = StripPooling, "strip_pooling"
    costs = ((512, 96, 7 * 512**2 + 5 * 512, 512**2 * (3 * 192 + 9216)),)
    refused = (
        ({"kernel": 2}, "expected kernel to be odd, got 2"),
        ({"kernel": 0}, "expected kernel to be a whole number of at least 1, got 0"),
    )
    rate = 0.1  # a large step closes the gates for good

    def oracle(self, module, x):
        return strip_pooling_plain(module, x)


class TestEquations(TestStripPooling):
    options = Options(norm=False, kernel=5)
    costs = ((64, 16, 11 * 64**2 + 3 * 64, 64**2 * (5 * 32 + 256)),)


def built(**options):
    return randomise(StripPooling(8, **options)).double().eval()


def logit(gate):
    return torch.log(gate / (1 - gate))


def test_gate_is_between_0_and_1():
    x = torch.rand(2, 8, 5, 7, dtype=torch.float64) + 1
    gate = built().gate(x)
    assert (gate > 0).all() and (gate < 1).all()
    torch.testing.assert_close(built()(x), gate * x)


@pytest.mark.parametrize("norm, rank", [(False, 2), (True, 5)])
def test_rows_plus_columns_have_rank_2_until_the_relu(norm, rank):
    module, x = built(norm=norm), torch.randn(1, 8, 9, 11, dtype=torch.float64)
    found = torch.linalg.matrix_rank(logit(module.gate(x)), rtol=1e-9)
    assert (found == 2).all() if rank == 2 else (found > 2).all()


def test_without_the_relu_the_last_layer_could_act_on_the_strips():
    """f(y^h + y^w) = f(y^h) + f(y^w) - f(0): no work at every pixel, and none of the mixing."""
    module, x = built(norm=False), torch.randn(2, 8, 5, 7, dtype=torch.float64)
    rows, columns = module.rows(x.mean(3)), module.columns(x.mean(2))
    weight, bias = module.mix.weight[:, :, 0, 0], module.mix.bias[:, None, None]
    expected = (weight @ rows)[..., None] + (weight @ columns)[:, :, None] + bias
    torch.testing.assert_close(logit(module.gate(x)), expected)


@pytest.mark.parametrize("kernel, reach", [(1, 0), (3, 1), (5, 2)])
def test_a_pixel_is_heard_in_a_cross(kernel, reach):
    module, x = built(kernel=kernel), torch.randn(1, 8, 9, 11, dtype=torch.float64)
    other = x.clone()
    other[..., 4, 5] += 50
    changed = (module.gate(other) != module.gate(x)).any(1)[0]
    expected = torch.zeros(9, 11, dtype=torch.bool)
    expected[4 - reach : 5 + reach] = True
    expected[:, 5 - reach : 6 + reach] = True
    assert torch.equal(changed, expected)


def test_exchanging_the_sides_and_the_layers_transposes_the_answer():
    module, x = built(), torch.randn(2, 8, 5, 7, dtype=torch.float64)
    y = module(x)
    module.rows, module.columns = module.columns, module.rows
    torch.testing.assert_close(module(x.mT), y.mT)


@pytest.mark.parametrize("size", [(1, 4), (4, 1), (1, 1)])
def test_training_on_a_single_row_or_column_says_what_is_missing(size):
    x = torch.randn(1, 8, *size)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        StripPooling(8).train()(x)
    assert StripPooling(8).train()(x.expand(2, -1, -1, -1)).shape == (2, 8, *size)
    assert StripPooling(8, norm=False).train()(x).shape == x.shape


MISTAKES = {
    "no mistake": (lambda x, axes, _: x.mean(3 if axes.endswith("h") else 2), True),
    "a sum for the mean": (lambda x, axes, _: x.sum(3 if axes.endswith("h") else 2), False),
    "a maximum for the mean": (lambda x, axes, _: x.amax(3 if axes.endswith("h") else 2), False),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    tests = TestStripPooling()
    module, inputs = randomise(tests.build()).double().eval(), tests.inputs(dtype=torch.float64)
    replacement, right = MISTAKES[mistake]
    monkeypatch.setattr(strip_pooling, "reduce", replacement)
    assert tests.agrees(module, inputs) == right


def test_a_product_of_strips_is_told_apart():
    module, x = built(), torch.randn(2, 8, 4, 5, dtype=torch.float64)
    rows, columns = module.rows(x.mean(3))[..., None], module.columns(x.mean(2))[:, :, None]
    wrong = x * torch.sigmoid(module.mix(torch.relu(rows * columns)))
    assert not torch.allclose(wrong, strip_pooling_plain(module, x))
