"""The fitted exponent of exact and of noisy power laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.costs import count, fit_exponent
from contextlab.modules import NonLocal


@settings(deadline=None, max_examples=25)
@given(
    exponent=st.floats(-3, 3),
    coefficient=st.floats(1e-6, 1e6),
    sizes=st.lists(st.integers(1, 10_000), min_size=2, max_size=8, unique=True),
)
def test_an_exact_law_is_found(exponent, coefficient, sizes):
    values = [coefficient * n**exponent for n in sizes]
    fit = fit_exponent(sizes, values)
    assert fit.exponent == pytest.approx(exponent, abs=1e-6)
    assert fit.coefficient == pytest.approx(coefficient, rel=1e-4)
    assert fit.r2 == pytest.approx(1, abs=1e-6)
    assert fit(sizes[0]) == pytest.approx(values[0], rel=1e-4)


def test_noise_lowers_r2():
    sizes = np.array([8, 16, 32, 64, 128])
    noise = np.exp([0.4, -0.5, 0.3, -0.4, 0.5])
    fit = fit_exponent(sizes, sizes * noise)
    line = np.polyfit(np.log(sizes), np.log(sizes * noise), 1)
    assert fit.exponent == pytest.approx(line[0])
    assert 0.7 < fit.r2 < 0.97


def test_the_attention_of_a_non_local_block_is_quadratic_in_pixels():
    sides = [32, 64, 96]
    costs = [count(NonLocal(64), (1, 64, s, s)).operators["attention"] for s in sides]
    fit = fit_exponent([s * s for s in sides], costs)
    assert fit.exponent == pytest.approx(2, abs=1e-9)
    assert str(fit) == "exponent 2.00 (r² 1.000)"


@pytest.mark.parametrize(
    "sizes, values, message",
    [
        ([1, 2, 3], [1, 2], "as many values as sizes"),
        ([4, 4], [1, 2], "two different sizes"),
        ([1, 2], [0, 2], "positive values"),
        ([-1, 2], [1, 2], "positive sizes"),
        ([1, 2], [1, float("nan")], "positive values"),
    ],
)
def test_what_has_no_logarithm_is_refused(sizes, values, message):
    with pytest.raises(ValueError, match=message):
        fit_exponent(sizes, values)
