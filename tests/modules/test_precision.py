"""Sums in full precision inside lower-precision code."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import EMAttention, Encoding, Hamburger, em_attention, encoding, hamburger
from contextlab.modules._precision import exact, exactly, wide, widely, without_autocast


def test_autocast_is_off_inside_and_on_again_outside():
    x = torch.randn(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with without_autocast(x):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16


def test_devices_without_autocast_pass():
    x = torch.empty(3, 3, device="meta")
    with without_autocast(x):
        assert (x @ x).shape == (3, 3)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_exact_widens_only(given, found):
    assert exact(torch.ones(2, dtype=given)).dtype == found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_norm_of_half_weights_runs_and_learns_its_statistics_in_float32(dtype):
    norm, x = torch.nn.BatchNorm1d(3).to(dtype), 1e5 + 200 * torch.randn(64, 3)
    plain = torch.nn.BatchNorm1d(3)
    y = exactly(norm, x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, plain(x), rtol=1e-5, atol=1e-5)
    assert norm.running_mean.dtype == dtype and norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, plain.running_mean.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_only_float16_is_widened(dtype):
    half = dtype == torch.float16
    layer, x = torch.nn.Linear(3, 3).to(dtype), torch.ones(2, 3, dtype=dtype)
    assert wide(x).dtype == widely(layer, wide(x)).dtype == (torch.float32 if half else dtype)
    assert layer.weight.dtype == dtype


@pytest.mark.parametrize(
    ("module", "file", "name"),
    [
        (EMAttention, em_attention, "maximisation"),
        (Encoding, encoding, "assignment"),
        (Hamburger, hamburger, "update_atoms"),
    ],
)
@pytest.mark.parametrize("how", ["autocast", "half weights"])
def test_iterations_and_distances_run_in_float32(monkeypatch, module, file, name, how):
    seen, right = [], getattr(file, name)

    def spy(*args):
        result = right(*args)
        seen.extend(t.dtype for t in (*args, result))
        return result

    monkeypatch.setattr(file, name, spy)
    block, x = module(8), torch.randn(2, 8, 4, 5)
    if how == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            block(x)
    else:
        assert block.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    assert set(seen) == {torch.float32}
