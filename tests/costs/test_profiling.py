"""A profile names the operators that ran, apart by pass; times are never tested."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from contextlab import context, costs

SHAPE = (1, 16, 12, 10)


@pytest.fixture(scope="module")
def found():
    return costs.profile(context("non_local", 16), SHAPE, repeats=2)


def test_operators_calls_and_passes(found):
    calls = {(o.direction, o.name): o.calls for o in found.operators}
    assert calls["forward", "convolution"] == 4 and calls["forward", "native_batch_norm"] == 1
    assert calls["backward", "convolution_backward"] == 4
    assert ("backward", "convolution") not in calls
    assert not any(name.endswith("_backward") for way, name in calls if way == "forward")
    attention = [key for key in calls if "dot_product" in key[1] and "attention" in key[1]]
    assert {way for way, _ in attention} == {"forward", "backward"}
    assert calls["backward", "autograd engine"] > 0
    assert not any(name.startswith(("empty", "resize")) for _, name in calls)


def test_shares_and_memory(found):
    assert sum(map(found.share, found.operators)) == pytest.approx(1)
    assert all(o.seconds >= 0 for o in found.operators)
    convolution = context("non_local", 16).theta
    alone = costs.profile(convolution, SHAPE, backward=False, repeats=1)
    # what a convolution answers is held by it, not by the "empty" that found it
    assert alone.total("forward").bytes >= 4 * 12 * 10 * convolution.out_channels
    assert found.total("backward").bytes > 0


def test_memory_is_that_of_the_operator():
    made = costs.profile(lambda x: x.sin().sin(), (256, 1024), repeats=2)
    (sin,) = (o for o in made.operators if o.name == "sin")
    assert (sin.direction, sin.calls, sin.bytes) == ("forward", 2, 2 * 2**20)
    assert {o.name for o in made.operators if o.direction == "backward"} >= {"cos", "mul"}


def test_the_table_has_totals_and_the_rest(found):
    table = found.table(3)
    rows = [row for row in table.rows if row["operator"] == "total"]
    assert [row["pass"] for row in rows] == ["forward", "backward"]
    assert sum(row["time share"] for row in rows) == pytest.approx(1)
    assert len(table) == 2 * (3 + 1 + 1) and "others" in str(table)
    assert sum(r["calls"] for r in table.rows[:4]) == table.rows[4]["calls"]
    assert len(found.table(None)) == len(found.operators) + 2
    assert "<table>" in found._repr_html_() and str(found).startswith(found.table().title)


def test_forward_alone():
    alone = costs.profile(nn.Linear(8, 4), (2, 8), backward=False)
    assert {o.direction for o in alone.operators} == {"forward"}
    with pytest.raises(ValueError, match="expected a pass of"):
        alone.total("backward")


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    random = torch.get_rng_state()
    costs.profile(module, (2, 3, 4, 4), repeats=1)
    assert all(m.training for m in module.modules())
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())
    assert torch.equal(random, torch.get_rng_state())
    x = torch.zeros(2, 3, 4, 4)
    costs.profile(module, x, repeats=1)
    assert not x.requires_grad


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"repeats": 0}, "expected repeats of 1 or more, got 0"),
        ({"device": "meta"}, "expected a module on, or as device, cpu or cuda, got meta"),
        ({"inputs": ("8",)}, "expected input 0 to be a tensor or a shape, got str"),
        ({"module": lambda x: x.detach()}, "pass backward=False"),
    ],
)
def test_what_cannot_be_profiled_is_said(how, message):
    how = {"module": nn.Linear(8, 4), "inputs": ((2, 8),), **how}
    with pytest.raises(ValueError, match=message):
        costs.profile(how.pop("module"), *how.pop("inputs"), **how)
    with pytest.raises(ValueError, match="expected most of 1 or more"):
        costs.profile(nn.Linear(2, 2), (1, 2), repeats=1).table(0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA")
def test_no_cuda_is_said():
    with pytest.raises(ValueError, match="machine without CUDA"):
        costs.profile(nn.Linear(8, 4), (2, 8), device="cuda")


def test_nothing_is_written_to_the_console():
    code = "from contextlab import context, costs as c; c.profile(context('ocr', 8), (1, 8, 8, 8))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_profile_on_cuda_has_the_kernels_time():
    module = context("non_local", 16)
    found = costs.profile(module, SHAPE, device="cuda")
    assert found.device == "cuda" and next(module.parameters()).device.type == "cpu"
    assert sum(map(found.share, found.operators)) == pytest.approx(1)
    for direction in ("forward", "backward"):
        assert found.total(direction).seconds > 0 and found.total(direction).bytes > 0
