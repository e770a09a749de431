"""Rectangular self-calibration: the attention, and the block around any mixer."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from contextlab.modules import RectangularAttention, RectangularCalibration, context
from contextlab.modules.rectangular import MIXERS, RowStrip

from .base import INHERITED, SIZES, ContextModuleTests, Options, macs, randomise
from .plain_cgrseg import (
    rectangular_attention_plain,
    rectangular_calibration_plain,
    region_plain,
)
from .plain_e import convnext_plain, inceptionnext_plain, token_attention_plain
from .plain_pooled import coordinate_attention_plain, gather_excite_plain


def attention_costs(c, h, w, strip, local):
    """With "add": the row strip runs along one line of w, and another for the borders."""
    return (2 * strip + 4) * c + (local**2 + 1) * c, c * (
        h * w * (strip + local**2) + 2 * w * strip
    )


class TestRectangularAttention(ContextModuleTests):
    module, name = RectangularAttention, "rectangular_attention"
    # from a large step on, a sigmoid is shut for good
    rate = 0.1
    costs = ((64, 16, *attention_costs(64, 16, 16, 11, 3)),)
    refused = (
        ({"gather": "sum"}, r"gather to be one of \('add', 'multiply', 'none'\), got 'sum'"),
        ({"strip": 4}, "expected strip to be odd or None, got 4"),
        ({"strip": 0}, "expected strip to be a whole number of at least 1, got 0"),
        ({"local": 2}, "expected local to be odd or None, got 2"),
        ({"local": 3.0}, "expected local to be a whole number of at least 1, got 3.0"),
    )

    def oracle(self, module, x):
        return rectangular_attention_plain(module, x, **self.options)


class TestMultiply(TestRectangularAttention):
    options = Options(gather="multiply", strip=5, local=1)
    costs = ((64, 16, 14 * 64 + 2 * 64, 64 * (256 * (5 + 1) + 16 * 5)),)


class TestOfTheMapItself(TestRectangularAttention):
    options = Options(gather="none", strip=3, local=5)
    costs = ((64, 16, 10 * 64 + 26 * 64, 64 * 256 * (6 + 25)),)


class TestWithoutStrips(TestRectangularAttention):
    options = Options(strip=None)
    costs = ((64, 16, 10 * 64, 64 * 256 * 9),)


class TestRectangularCalibration(ContextModuleTests):
    module, name = RectangularCalibration, "rectangular_calibration"
    # γ starts at 1e-6, and gradients as small are none for the test; with 1 they can be told
    options = Options(scale=1.0)
    rate = 0.01
    costs = (
        (
            64,
            16,
            4 * 64**2 + (2 * 11 + 20) * 64,
            attention_costs(64, 16, 16, 11, 3)[1] + 4 * 256 * 64**2,
        ),
    )
    refused = (
        ({"mixer": "non_local"}, "mixer to be one of .*'rectangular_attention'.*got 'non_local'"),
        ({"mixer_options": {"strips": 3}}, "option of 'rectangular_attention' one of .* 'strip'"),
        ({"mixer_options": {"strip": 2}}, "expected strip to be odd or None, got 2"),
        ({"expansion": 0}, "expected expansion to be a whole number of at least 1, got 0"),
        ({"drop_path": 1.0}, "expected drop_path from 0 to below 1, got 1.0"),
    )

    def oracle(self, module, x):
        return rectangular_calibration_plain(module, x, rectangular_attention_plain)


# the mixer's options, its plain version; parameters and MACs of the block at 64 x 16 x 16
PIXELS, BLOCK = 256, 4 * 64**2 + 6 * 64
MIXING = {
    "rectangular_attention": ({}, rectangular_attention_plain, attention_costs(64, 16, 16, 11, 3)),
    "convnext": ({"kernel": 3}, convnext_plain, (10 * 64, PIXELS * 9 * 64)),
    "inceptionnext": ({}, inceptionnext_plain, (8 * 34, PIXELS * 8 * 31)),
    "coordinate_attention": (
        {}, coordinate_attention_plain, (3 * 64 * 16 + 3 * 16 + 2 * 64, 2 * 32 * 64 * 16)
    ),
    "gather_excite": (
        {}, partial(gather_excite_plain, extent="global"), (2 * 64 * 65, 2 * 64**2)
    ),
    "self_attention": (
        {"heads": 2, "width": 6},
        partial(token_attention_plain, heads=2, width=6, expansion=1, residual=False),
        (4 * 64 * 6 + 6 * 6 + 2 * 64, PIXELS * 4 * 64 * 6 + 2 * PIXELS**2 * 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_block_around_every_mixer(mixer):
    options, mix, (parameters, products) = MIXING[mixer]
    build = partial(RectangularCalibration, mixer=mixer, mixer_options=options)
    module, x = randomise(build(8)).double().eval(), map_of(2, 8, 4, 3)
    expected = rectangular_calibration_plain(module, x, mix)
    torch.testing.assert_close(module(x), expected, rtol=1e-9, atol=1e-9)
    with torch.device("meta"):
        module, x = build(64).eval(), torch.empty(1, 64, 16, 16)
    assert sum(p.numel() for p in module.parameters()) == parameters + BLOCK
    assert macs(module, x) == products + 4 * PIXELS * 64**2


def map_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(channels=4, **options):
    return randomise(RectangularAttention(channels, **options)).double().eval()


@INHERITED
@given(
    size=SIZES,
    kernel=st.sampled_from([1, 3, 11, 15]),
    gather=st.sampled_from(["add", "multiply"]),
    last=st.booleans(),
)
def test_the_row_strip_without_a_map_is_the_convolution_of_the_map(size, kernel, gather, last):
    strip, x = randomise(RowStrip(4, kernel, gather)).double(), map_of(3, 4, *size)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    module = built(gather=gather)
    y = strip(*module.axes(x))
    expected = torch.nn.Conv2d.forward(strip, region_plain(x, gather))
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-11)
    aim = map_of(*y.shape, seed=1)
    grads = [torch.autograd.grad((t * aim).sum(), strip.parameters()) for t in (y, expected)]
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


def test_the_strip_is_a_convolution_for_those_who_count_layers():
    """A count of layers by their outputs finds the product over the map that papers count."""
    from contextlab.costs.published import layer_flops

    strip = RowStrip(8, 11, "add")
    rows, columns = torch.randn(1, 8, 5, 1), torch.randn(1, 8, 1, 7)
    assert layer_flops(strip, rows, strip(rows, columns)) == 8 * 5 * 7 * (11 + 1)


@pytest.mark.parametrize("last", [False, True])
def test_the_layout_stays_as_it_comes(last):
    layout = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, 16, 6, 5).contiguous(memory_format=layout)
    module = RectangularAttention(16)
    assert module.row_strip(*module.axes(x)).is_contiguous(memory_format=layout)
    assert module(x).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("gather, rank", [("add", 2), ("multiply", 1), ("none", 6)])
def test_the_rank_of_the_region_before_the_strips(gather, rank):
    a = built(gather=gather).region(map_of(2, 4, 6, 8))
    assert (torch.linalg.matrix_rank(a, rtol=1e-9) == rank).all()


def test_the_first_strip_keeps_the_rank_and_all_that_follows_need_not():
    """Padding with zeros does not raise it either: it scales r_i by a number of the column."""
    module, x = built(), map_of(2, 4, 9, 12)
    y = module.row_strip(*module.axes(x))
    assert (torch.linalg.matrix_rank(module.between[0](y), rtol=1e-9) == 2).all()
    inside = module.row_strip(*module.axes(x))[..., 5:7]  # no border is near
    torch.testing.assert_close(
        inside - inside[:, :, :1], (inside - inside[:, :, :1])[..., :1].expand_as(inside)
    )
    assert (torch.linalg.matrix_rank(module.gate(x), rtol=1e-6) > 2).any()


def test_the_gate_lies_between_0_and_1():
    gate = built().gate(map_of(2, 4, 9, 12))
    assert ((gate > 0) & (gate < 1)).all()


@pytest.mark.parametrize("gather", ["add", "multiply", "none"])
def test_with_nothing_to_learn_the_gate_is_of_the_region_alone(gather):
    module, x = RectangularAttention(4, gather=gather, strip=None, local=None), map_of(2, 4, 5, 7)
    assert not list(module.parameters())
    y = rectangular_attention_plain(module, x, gather=gather, strip=None, local=None)
    torch.testing.assert_close(module(x), y)


def test_exchanging_the_strips_and_the_sides_transposes_only_the_uncalibrated_gate():
    x = map_of(1, 4, 5, 7)
    module = RectangularAttention(4, strip=None, local=None)
    torch.testing.assert_close(module(x.mT), module(x).mT)
    assert not torch.allclose(built().gate(x.mT), built().gate(x).mT)


def test_the_block_starts_next_to_the_identity():
    x = map_of(2, 8, 5, 6)
    for mixer in MIXERS:
        torch.manual_seed(0)
        module = RectangularCalibration(8, mixer=mixer).double().eval()
        change = module(x) - x
        assert 0 < change.abs().max() < 1e-5
        with torch.no_grad():
            module.gamma.fill_(1)
        torch.testing.assert_close(1e-6 * (module(x) - x), change, rtol=1e-6, atol=1e-12)


def test_every_mixer_of_the_comparison_stands_in_the_block():
    """Also at the widths of CGRSeg-T, of which 8 heads divide none, and on one pixel."""
    for mixer, options in MIXERS.items():
        block = RectangularCalibration(48, mixer=mixer).eval()
        assert type(block.mixer) is type(context(mixer, 48, **options))
        for size in ((1, 1), (3, 8), (8, 3)):
            assert block(torch.randn(1, 48, *size)).shape == (1, 48, *size)


@pytest.mark.parametrize(
    "mixer, millions",
    [("rectangular_attention", 9.365), ("convnext", 9.398), ("inceptionnext", 9.290),
     ("coordinate_attention", 9.913), ("gather_excite", 10.955), ("self_attention", 9.890)],
)  # fmt: skip
def test_parameters_of_the_mixers_in_the_places_of_the_tiny_network(mixer, millions):
    def total(name):
        with torch.device("meta"):
            blocks = [RectangularCalibration(c, mixer=name) for c in (*[392] * 5, 224, 120, 48)]
        return sum(p.numel() for block in blocks for p in block.parameters())

    assert total("rectangular_attention") == sum(
        4 * c * c + 42 * c for c in (*[392] * 5, 224, 120, 48)
    )
    assert 9.365 + (total(mixer) - total("rectangular_attention")) / 1e6 == pytest.approx(
        millions, abs=0.0011
    )


def test_an_image_goes_past_the_block_whole_and_only_in_training():
    module, x = RectangularCalibration(4, scale=1.0, drop_path=0.5), torch.randn(64, 4, 3, 3)
    torch.manual_seed(0)
    kept = (module(x) != x).flatten(1)
    assert (kept.all(1) | ~kept.any(1)).all()
    assert 16 < kept.all(1).sum() < 48
    assert (module.eval()(x) != x).flatten(1).all()


def test_a_larger_answer_makes_up_for_what_is_dropped():
    torch.manual_seed(0)
    kept = RectangularCalibration(4, scale=1.0)
    dropped = RectangularCalibration(4, scale=1.0, drop_path=0.75)
    dropped.load_state_dict(kept.state_dict())
    x = torch.randn(32, 4, 3, 3)
    change, plain = dropped(x) - x, kept(x) - x
    some = change.flatten(1).any(1)
    torch.testing.assert_close(change[some], 4 * plain[some], rtol=1e-4, atol=1e-5)


def strip_of_rows_and_columns_exchanged(self, rows, columns):
    return right(self, columns.mT, rows.mT).mT


def strip_without_borders(self, rows, columns):
    along = right(self, torch.zeros_like(rows), columns)
    return along + rows * self.weight.sum(-1)


right = RowStrip.forward
MISTAKES = {
    "no mistake": right,
    "rows and columns exchanged": strip_of_rows_and_columns_exchanged,
    "borders as the middle": strip_without_borders,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    tests = TestRectangularAttention()
    module, inputs = randomise(tests.build()).double().eval(), tests.inputs(dtype=torch.float64)
    monkeypatch.setattr(RowStrip, "forward", MISTAKES[mistake])
    assert tests.agrees(module, inputs) == (mistake == "no mistake")
