"""The published bounds, recomputed from the generator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from contextlab.data import Streets, bounds

# the tables are rounded to two and three places and were taken over other images
SHARE, MIOU = 0.006, 0.0015


@pytest.fixture(scope="module")
def streets() -> Streets:
    return Streets("val")


@pytest.mark.parametrize("window", bounds.KNOWN_SHARE)
def test_share_of_pixels_whose_window_holds_the_cue(streets, window):
    found = bounds.known_share(streets, window)
    assert found == pytest.approx(bounds.KNOWN_SHARE[window], abs=SHARE)


@pytest.mark.parametrize("solved", bounds.IDEAL_MIOU)
def test_miou_of_an_ideal_predictor_that_has_solved(streets, solved):
    found = bounds.ideal(streets, solved=solved)
    assert found.miou == pytest.approx(bounds.IDEAL_MIOU[solved], abs=MIOU)
    chance = {"G": 1 / 2, "L": 1 / 3, "P": 1 / 2, "C": 1 / 2, "A": 1 / 2}
    assert found.demands == pytest.approx(chance | dict.fromkeys(solved, 1.0))


@pytest.mark.parametrize("window", bounds.PATCH_MIOU)
def test_miou_of_an_ideal_patch(streets, window):
    found = bounds.ideal_miou(streets, window)
    assert found == pytest.approx(bounds.PATCH_MIOU[window], abs=MIOU)


def test_what_a_stride_of_four_costs(streets):
    found = bounds.stride_ceiling(streets, images=250)
    assert found.miou == pytest.approx(bounds.STRIDE_4_CEILING, abs=0.003)
    assert found.miou > bounds.stride_ceiling(streets, 8, images=250).miou + 0.05
    assert min(found.demands, key=found.demands.get) == "G"  # the verge is thin


def test_one_vector_lies_between_chance_and_matching(streets):
    guess = {"P": bounds.SQUEEZE_BOUND, "A": bounds.SQUEEZE_BOUND}
    squeezed = bounds.ideal(streets, solved="GL", guess=guess, images=100)
    assert squeezed.demands["P"] == squeezed.demands["A"] == bounds.SQUEEZE_BOUND
    low = bounds.ideal_miou(streets, solved="GL", images=100)
    high = bounds.ideal_miou(streets, solved="GLPA", images=100)
    assert low < squeezed.miou < high


def test_on_the_control_there_is_nothing_to_solve():
    control = Streets("val", size=20, g=0, l=0, p=0, c=0, a=0)
    assert bounds.known_share(control, 15) == {}
    assert bounds.ideal(control) == (1.0, {})


@settings(deadline=None, max_examples=25)
@given(arrays(bool, (2, 7, 9)), st.sampled_from([1, 3, 5, 15, 31]))
def test_the_window_is_counted_as_a_loop_would(marked, r):
    fast = bounds._window_holds(marked, r)
    half = r // 2
    for n, y, x in np.ndindex(marked.shape):
        window = marked[n, max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
        assert fast[n, y, x] == window.any()


def test_wrong_questions_are_refused_in_words():
    streets = Streets("val", size=1)
    with pytest.raises(ValueError, match="odd size of at least 1, not 30"):
        bounds.known_share(streets, 30)
    with pytest.raises(ValueError, match="demands are G, L, P, C, A, not X"):
        bounds.ideal(streets, solved="GX")
