import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextlab.training import poly


@given(steps=st.integers(1, 500), power=st.floats(0.1, 3), data=st.data())
def test_poly_falls_from_one_and_stays_positive(steps, power, data):
    step = data.draw(st.integers(0, steps - 1))
    assert poly(0, steps, power=power) == 1
    assert 0 < poly(step, steps, power=power) <= 1
    assert step == 0 or poly(step, steps, power=power) < poly(step - 1, steps, power=power)


def test_against_the_formula():
    assert poly(300, 1200) == pytest.approx(0.75**0.9)
    assert poly(9, 1000, warmup=30) == pytest.approx(10 / 30 * 0.991**0.9)
    assert poly(30, 1000, warmup=30) == poly(30, 1000)


@pytest.mark.parametrize("step", [-1, 10])
def test_a_step_outside_the_schedule_is_refused(step):
    with pytest.raises(ValueError, match=rf"a step in 0\.\.9, got {step}"):
        poly(step, 10)
