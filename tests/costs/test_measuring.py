"""Peak memory is exact; a median of times is a time."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F

from contextlab.costs import measure

MIB = 2**20


def test_the_peak_is_exact_and_counts_what_lived_at_once():
    x = torch.zeros(256, 1024)  # 1 MiB

    def chain():
        return x.sin().sin().sin()  # never more than two at once

    def hoard():
        kept = [x.sin() for _ in range(5)]
        return kept[0]

    assert measure(chain, repeats=1).peak_bytes == 2 * MIB
    assert measure(hoard, repeats=1).peak_bytes == 5 * MIB


def test_fused_attention_does_not_hold_the_affinity():
    n, d = 1024, 32
    q = torch.randn(1, 1, n, d)
    plain = measure(lambda: torch.softmax(q @ q.transpose(-1, -2), -1) @ q, repeats=1)
    fused = measure(lambda: F.scaled_dot_product_attention(q, q, q), repeats=1)
    assert plain.peak_bytes >= 2 * 4 * n * n
    assert fused.peak_bytes < 4 * n * n / 2


def test_the_backward_pass_is_part_of_the_call():
    x = torch.zeros(256, 1024, requires_grad=True)

    # the inner sine is kept for the backward pass, which makes a cosine and a product
    peak = measure(lambda: torch.autograd.grad(x.sin().sin().sum(), x), repeats=1).peak_bytes
    assert peak >= 3 * MIB


def test_seconds_are_a_median_with_its_spread():
    naps = iter([0.0, 0.05, 0.01, 0.01, 0.01, 0.01])  # the warm-up, then one outlier
    result = measure(lambda: time.sleep(next(naps)), repeats=5, memory=False)
    assert 0.01 <= result.seconds < 0.04
    assert 0 <= result.spread < 0.04
    assert result.peak_bytes is None and result.repeats == 5
    assert "peak" not in str(result)


def test_arguments_are_handed_on_and_rows_made():
    result = measure(torch.sin, torch.zeros(4), repeats=2)
    row = result.row(block="sin")
    assert list(row) == ["block", "time (ms)", "peak (MiB)"]
    assert row["peak (MiB)"] == 16 / MIB


@pytest.mark.parametrize("options", [{"repeats": 0}, {"warmup": -1}])
def test_wrong_numbers_of_calls(options):
    with pytest.raises(ValueError, match="repeats >= 1 and warmup >= 0"):
        measure(lambda: None, **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_peak_on_a_gpu():
    x = torch.zeros(256, 1024, device="cuda")
    assert measure(lambda: x.sin().sin(), repeats=2).peak_bytes == 2 * MIB


def test_a_module_takes_shapes_and_a_function_its_tuple():
    given = []
    module = torch.nn.Conv2d(3, 5, 1).double()
    module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    measure(module, (2, 3, 8, 8), repeats=2)
    assert {(tuple(x.shape), x.dtype) for x in given} == {((2, 3, 8, 8), torch.float64)}
    assert given[0].std() > 0
    measure(lambda sides: given.append(sides), (2, 3), repeats=2)
    assert given[-1] == (2, 3)
