"""Coordinate attention."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import CoordinateAttention, coordinate_attention

from .base import ContextModuleTests, Options, macs, randomise
from .plain_pooled import coordinate_attention_plain


class TestCoordinateAttention(ContextModuleTests):
    module, name = CoordinateAttention, "coordinate_attention"
    rate = 0.1  # a large step closes the gates for good
    # the paper's: reduction 32, here 16 wide
    costs = (
        (512, 96, 25_648, 3 * 192 * 512 * 16 - 192 * 512 * 16),
        (64, 16, 3 * 64 * 8 + 3 * 8 + 2 * 64, 2 * 32 * 64 * 8),
    )
    refused = (
        ({"reduction": 0}, "expected reduction to be a whole number of at least 1, got 0"),
        ({"reduction": 2.0}, "expected reduction to be a whole number of at least 1, got 2.0"),
    )

    def oracle(self, module, x):
        return coordinate_attention_plain(module, x)


class TestWide(TestCoordinateAttention):
    channels = 12
    options = Options(reduction=1)
    costs = ((64, 16, 3 * 64 * 64 + 3 * 64 + 2 * 64, 2 * 32 * 64 * 64),)


def built(channels=8, **options):
    return randomise(CoordinateAttention(channels, **options)).double().eval()


def test_counted_cost_at_the_reference_size():
    with torch.device("meta"):
        module, x = CoordinateAttention(512), torch.empty(1, 512, 96, 96)
    assert round(macs(module, x) / 1e9, 4) == 0.0031


@pytest.mark.parametrize(
    "channels, reduction, width", [(64, 32, 8), (512, 32, 16), (64, 4, 16), (40, 3, 13), (8, 1, 8)]
)
def test_the_bottleneck_is_never_narrower_than_8(channels, reduction, width):
    module = CoordinateAttention(channels, reduction=reduction)
    assert module.squash.out_channels == module.norm.num_features == width


def test_the_gate_is_a_product_of_rank_1():
    x = torch.rand(2, 8, 5, 7, dtype=torch.float64) + 1
    gate = built()(x) / x
    assert (gate > 0).all() and (gate < 1).all()
    assert (torch.linalg.matrix_rank(gate, rtol=1e-9) == 1).all()


def test_a_pixel_changes_the_gate_in_its_row_and_column_alone():
    module, x = built(), torch.randn(1, 8, 5, 7, dtype=torch.float64)
    other = x.clone()
    other[..., 2, 3] += 5
    changed = [(b != a).any(1)[0].nonzero()[:, 0] for a, b in zip(module.gates(x), gates(other))]
    assert [c.tolist() for c in changed] == [[2], [3]]


def gates(x):
    return built().gates(x)


def test_exchanged_rows_exchange_their_gates():
    """Rows do not talk: rows may change places, whole, and so may columns."""
    module, x = built(), torch.randn(2, 8, 5, 7, dtype=torch.float64)
    rows, columns = torch.randperm(5), torch.randperm(7)
    moved = x[:, :, rows][..., columns]
    torch.testing.assert_close(module(moved), module(x)[:, :, rows][..., columns])


def test_exchanging_the_sides_and_the_layers_transposes_the_answer():
    module, x = built(), torch.randn(2, 8, 5, 7, dtype=torch.float64)
    y = module(x)
    module.row, module.column = module.column, module.row
    torch.testing.assert_close(module(x.mT), y.mT)


def test_a_single_pixel_trains_since_it_has_a_row_and_a_column():
    x = torch.randn(1, 8, 1, 1)
    assert CoordinateAttention(8).train()(x).shape == x.shape


def pool_of_the_other_axis(x, axes, by):
    axis = {"b c h w -> b c h": 3, "b c h w -> b c w": 2}[axes]
    return x.mean(axis) if by == "mean" else None


MISTAKES = {
    "no mistake": (pool_of_the_other_axis, True),
    "a sum for the mean": (lambda x, axes, _: x.sum(3 if axes.endswith("h") else 2), False),
    "a maximum for the mean": (lambda x, axes, _: x.amax(3 if axes.endswith("h") else 2), False),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    tests = TestCoordinateAttention()
    module, inputs = randomise(tests.build()).double().eval(), tests.inputs(dtype=torch.float64)
    replacement, right = MISTAKES[mistake]
    monkeypatch.setattr(coordinate_attention, "reduce", replacement)
    assert tests.agrees(module, inputs) == right


def test_a_sum_of_gates_and_layers_exchanged_are_told_apart():
    module, x = built(), torch.randn(2, 8, 4, 5, dtype=torch.float64)
    expected = coordinate_attention_plain(module, x)
    rows, columns = module.gates(x)
    assert not torch.allclose(x * (rows[..., None] + columns[:, :, None]), expected)
    module.row, module.column = module.column, module.row
    assert not torch.allclose(module(x), expected)
