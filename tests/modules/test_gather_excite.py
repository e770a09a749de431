"""Gather-excite, in every form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import GatherExcite, SqueezeExcite, gather_excite

from .base import SMALL, ContextModuleTests, Options, macs, randomise
from .plain_pooled import gather_excite_plain

REFUSED = (
    ({"gather": "max"}, r"expected gather to be one of \('depthwise', 'average'\), got 'max'"),
    ({"excite": None}, r"expected excite to be one of \('mlp', 'none'\), got None"),
    ({"extent": 3}, "expected extent to be a power of two or 'global', got 3"),
    ({"extent": 1}, "expected extent to be a power of two or 'global', got 1"),
    ({"extent": "all"}, "expected extent to be a power of two or 'global', got 'all'"),
    ({"extent": True}, "expected extent to be a power of two or 'global', got True"),
    (
        {"gather": "depthwise", "extent": "global"},
        r"expected size to be \(h, w\), got None",
    ),
    ({"extent": 2, "size": (4, 4)}, r"expected size to be None unless .*, got \(4, 4\)"),
    (
        {"gather": "depthwise", "extent": "global", "size": (4, 0)},
        "expected w to be a whole number of at least 1, got 0",
    ),
    (
        {"excite": "mlp", "reduction": 3},
        "expected reduction to divide channels, got reduction=3 and channels=8",
    ),
)


class TestThetaPlus(ContextModuleTests):
    module, name = GatherExcite, "gather_excite"
    options = Options(reduction=2, extent=2)
    refused = REFUSED
    pools = True
    costs = ((64, 16, 2 * 64 * 32 + 32 + 64 + 11 * 64, 64 * (9 * 64 + 2 * 64 * 32)),)

    def oracle(self, module, x):
        return gather_excite_plain(module, x, **self.options)

    def test_exports(self):
        """torch takes one cell for a constant, so sizes are free from two cells a side."""
        if torch.__version__ < "2.10":
            pytest.skip("before 2.10, torch exports a pooled map for sizes of one parity only")
        e, module = self.options.get("extent", 8), randomise(self.build()).eval()
        shapes = self.dynamic_shapes()
        program = torch.export.export(module, self.inputs((e + 3, e + 4)), dynamic_shapes=shapes)
        for size in [(e + 3, e + 4), (2 * e + 1, e + 1), (2 * e, 3 * e)]:
            inputs = self.inputs(size, seed=3)
            torch.testing.assert_close(program.module()(*inputs), module(*inputs))
        fixed = torch.export.export(module, self.inputs((1, 1))).module()
        torch.testing.assert_close(fixed(*self.inputs((1, 1))), module(*self.inputs((1, 1))))


class TestDefaults(TestThetaPlus):
    channels = 32
    options = Options()
    refused = ()
    # three strided steps of 9 taps: 48^2 + 24^2 + 12^2 pixels; the MLP at 12^2 cells
    costs = (
        (
            512,
            96,
            2 * 512 * 32 + 32 + 512 + 3 * 11 * 512,
            3024 * 9 * 512 + 144 * 2 * 512 * 32,
        ),
    )

    def test_wrong_options_are_refused(self):
        with pytest.raises(ValueError, match="expected reduction to divide channels"):
            GatherExcite(24)


class TestTheta(TestThetaPlus):
    options = Options(extent=4, excite="none")
    costs = ((64, 16, 2 * 11 * 64, (64 + 16) * 9 * 64),)


class TestAverage(TestThetaPlus):
    """Average and MLP, as in common ports."""

    options = Options(gather="average", extent=4, reduction=2)
    costs = ((64, 16, 2 * 64 * 32 + 32 + 64, 16 * 2 * 64 * 32),)
    refused = ()

    def test_wrong_options_are_refused(self):
        with pytest.raises(ValueError, match="expected size to be None"):
            self.build(extent="global", size=(5, 6))


FORMS = {
    "minus 2": {"gather": "average", "extent": 2, "excite": "none"},
    "minus 8": {"gather": "average", "extent": 8, "excite": "none"},
    "minus global": {"gather": "average", "extent": "global", "excite": "none"},
    "theta 2": {"extent": 2, "excite": "none"},
    "theta 8": {"extent": 8, "excite": "none"},
    "plus 4": {"extent": 4, "reduction": 4},
    "average mlp 2": {"gather": "average", "extent": 2, "reduction": 4},
    "average mlp global": {"gather": "average", "extent": "global", "reduction": 2},
}


def built(seed=0, channels=8, **options):
    torch.manual_seed(seed)
    return randomise(GatherExcite(channels, **options), seed).double().eval()


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=5)
@given(size=st.tuples(st.integers(1, 11), st.integers(1, 11)), seed=st.integers(0, 99))
def test_every_form_equals_the_plain_version(form, size, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 8, *size, generator=draw, dtype=torch.float64)
    module = built(seed, **FORMS[form])
    torch.testing.assert_close(module(x), gather_excite_plain(module, x, **FORMS[form]))


@settings(deadline=None, max_examples=10)
@given(size=SMALL, seed=st.integers(0, 99), excite=st.sampled_from(["mlp", "none"]))
def test_a_kernel_as_large_as_the_map_equals_the_plain_version(size, seed, excite):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 8, *size, generator=draw, dtype=torch.float64)
    options = {"extent": "global", "excite": excite, "reduction": 2}
    module = built(seed, size=size, **options)
    torch.testing.assert_close(module(x), gather_excite_plain(module, x, **options))


def test_a_kernel_as_large_as_the_map_is_a_depthwise_convolution():
    module, x = built(extent="global", size=(5, 6), reduction=2), torch.randn(2, 8, 5, 6).double()
    kernel = module.gather[0].weight
    expected = F.conv2d(x, kernel[:, None], groups=8)
    torch.testing.assert_close(module.gather[0](x), expected)


def test_a_kernel_as_large_as_the_map_takes_no_other_map():
    module = GatherExcite(8, extent="global", size=(5, 6), reduction=2)
    with pytest.raises(ValueError, match=r"expected a map of size \(5, 6\), got \(6, 5\)"):
        module(torch.zeros(2, 8, 6, 5))


@pytest.mark.parametrize("excite", ["mlp", "none"])
def test_cost_of_a_kernel_as_large_as_the_map(excite):
    with torch.device("meta"):
        module = GatherExcite(64, extent="global", size=(16, 32), excite=excite, reduction=4).eval()
        x = torch.empty(1, 64, 16, 32)
    mlp = excite == "mlp"
    parameters = 64 * (512 + 2) + mlp * (2 * 64 * 16 + 16 + 64)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert macs(module, x) == 512 * 64 + mlp * 2 * 64 * 16


def test_theta_minus_has_no_parameters():
    assert not list(GatherExcite(8, gather="average", excite="none").parameters())


def test_average_and_mlp_over_the_whole_map_is_squeeze_and_excitation():
    module, x = built(gather="average", extent="global", reduction=2), torch.randn(2, 8, 5, 6)
    twin = SqueezeExcite(8, reduction=2).double()
    for layer, conv in ((twin.squash, module.excite[1]), (twin.expand, module.excite[3])):
        layer.weight.data, layer.bias.data = conv.weight.data.flatten(1), conv.bias.data
    torch.testing.assert_close(module(x.double()), twin(x.double()))


@pytest.mark.parametrize("gather", ["average", "depthwise"])
@pytest.mark.parametrize("extent", [2, 4, 8])
def test_a_cell_hears_a_window_of_twice_the_extent_less_one(gather, extent):
    """So that strided steps of 3 and one average over 2 e - 1 see the same pixels."""
    module = built(gather=gather, extent=extent, excite="none")
    if gather == "depthwise":  # all taps positive, so that no ReLU closes
        for parameter in module.parameters():
            parameter.data.abs_()
    x = torch.rand(1, 8, 40, 40, dtype=torch.float64) + 10
    x.requires_grad_()
    s = module.average(x) if gather == "average" else module.gather(x)
    cell = s.shape[2] // 2
    s[0, 0, cell, cell].backward()
    heard = x.grad[0].abs().sum(0).nonzero()
    first = cell * extent
    assert heard.amin(0).tolist() == [first - extent + 1] * 2
    assert heard.amax(0).tolist() == [first + extent - 1] * 2


@pytest.mark.parametrize("form", ["minus 2", "theta 2"])
def test_the_gate_is_the_same_in_a_cell(form):
    x = torch.rand(2, 8, 6, 10, dtype=torch.float64) + 1
    gate = built(**FORMS[form])(x) / x
    assert (gate > 0).all() and (gate < 1).all()
    cells = gate.unflatten(2, (3, 2)).unflatten(4, (5, 2))
    torch.testing.assert_close(cells, cells[:, :, :, :1, :, :1].expand_as(cells))


@pytest.mark.parametrize(
    "options, size", [({"extent": 8}, (4, 8)), ({"extent": "global", "size": (4, 8)}, (4, 8))]
)
def test_training_with_a_single_cell_says_what_is_missing(options, size):
    x = torch.randn(2, 16, *size)
    module = GatherExcite(16, **options).train()
    assert module(x).shape == x.shape
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        module(x[:1])
    assert GatherExcite(16, gather="average").train()(x[:1]).shape == (1, 16, *size)


def average(x, side, step, padding, count_include_pad):
    return F.avg_pool2d(x, side, step, padding, count_include_pad=count_include_pad)


MISTAKES = {
    "no mistake": ("avg_pool2d", average, True),
    "zeros outside the map counted": (
        "avg_pool2d",
        lambda x, side, step, padding, count_include_pad: F.avg_pool2d(x, side, step, padding),
        False,
    ),
    "cells that do not overlap": (
        "avg_pool2d",
        lambda x, side, step, padding, count_include_pad: F.avg_pool2d(
            x, step, step, ceil_mode=True
        ),
        False,
    ),
    "a bilinear gate": (
        "interpolate",
        lambda gate, size, mode: F.interpolate(gate, size=size, mode="bilinear"),
        False,
    ),
}


class Shadow:
    """torch.nn.functional with one function replaced."""

    def __init__(self, name, function):
        setattr(self, name, function)

    def __getattr__(self, name):
        return getattr(F, name)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    name, function, right = MISTAKES[mistake]
    tests = TestAverage()
    module, inputs = randomise(tests.build()).double().eval(), tests.inputs(dtype=torch.float64)
    assert tests.agrees(module, inputs)
    monkeypatch.setattr(gather_excite, "F", Shadow(name, function))
    assert tests.agrees(module, inputs) == right
