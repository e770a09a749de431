"""The published bounds, recomputed from the generator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from contextlab.data import Streets, bounds
from contextlab.data.streets import DEMANDS

# the tables are rounded to two and three places and were taken over other images; of far streets,
# which are larger, only the first are looked at
SHARE, MIOU = 0.006, 0.0015
FIRST, SLACK = 250, 3


NEAR = bounds.Bounds(
    bounds.KNOWN_SHARE,
    bounds.IDEAL_MIOU,
    bounds.PATCH_MIOU,
    bounds.PIXEL_SHARE,
    bounds.STRIDE_4_CEILING,
)


class Drawn(Streets):
    """Streets that are drawn once for all tables."""

    kept = None

    def batch(self, indices):
        self.kept = super().batch(range(len(self))) if self.kept is None else self.kept
        return {name: maps[: len(indices)] for name, maps in self.kept.items()}


@pytest.fixture(scope="module", params=["near", "far"])
def ruled(request) -> tuple[Streets, bounds.Bounds, float]:
    """Streets, their tables, and how much further than usual the two may lie apart."""
    if request.param == "near":
        return Drawn("val"), NEAR, 1
    return Drawn("val", size=FIRST, far=True), bounds.FAR, SLACK


@pytest.fixture(scope="module")
def streets() -> Streets:
    return Drawn("val", size=100)


def test_share_of_pixels_whose_window_holds_the_cue(ruled):
    streets, table, slack = ruled
    for window, shares in table.known_share.items():
        assert bounds.known_share(streets, window) == pytest.approx(shares, abs=slack * SHARE), (
            window
        )


def test_miou_of_an_ideal_predictor_that_has_solved(ruled):
    streets, table, slack = ruled
    chance = {"G": 1 / 2, "L": 1 / 3, "P": 1 / 2, "C": 1 / 2, "A": 1 / 2}
    for solved, miou in table.ideal_miou.items():
        found = bounds.ideal(streets, solved=solved)
        assert found.miou == pytest.approx(miou, abs=slack * MIOU), solved
        assert found.demands == pytest.approx(chance | dict.fromkeys(solved, 1.0))


def test_miou_of_an_ideal_patch(ruled):
    streets, table, slack = ruled
    for window, miou in table.patch_miou.items():
        assert bounds.ideal_miou(streets, window) == pytest.approx(miou, abs=slack * MIOU), window


def test_share_of_pixels_that_pose_a_demand(ruled):
    streets, table, slack = ruled
    drawn = streets.batch(range(len(streets)))["demand"]
    found = dict(zip(DEMANDS, np.bincount(drawn.ravel(), minlength=6) / drawn.size))
    assert found == pytest.approx(table.pixel_share, abs=slack * 0.002)


def test_what_a_stride_of_four_costs(ruled):
    streets, table, _ = ruled
    found = bounds.stride_ceiling(streets, images=100)
    assert found.miou == pytest.approx(table.stride_4_ceiling, abs=0.004)
    assert found.miou > bounds.stride_ceiling(streets, 8, images=100).miou + 0.05
    assert min(found.demands, key=found.demands.get) == "G"  # the verge is thin


def test_far_streets_take_a_window_of_twice_the_size():
    for window, near in bounds.KNOWN_SHARE.items():
        if (far := bounds.FAR.known_share.get(2 * window + 1)) is not None:
            for demand in near:  # signs keep their size: P and A are farther still
                assert far[demand] <= near[demand] + 0.13, (window, demand)
    assert max(bounds.FAR.known_share[63].values()) < max(bounds.KNOWN_SHARE[63].values()) / 2


def test_one_vector_lies_between_chance_and_matching(streets):
    guess = {"P": bounds.SQUEEZE_BOUND, "A": bounds.SQUEEZE_BOUND}
    squeezed = bounds.ideal(streets, solved="GL", guess=guess)
    assert squeezed.demands["P"] == squeezed.demands["A"] == bounds.SQUEEZE_BOUND
    low = bounds.ideal_miou(streets, solved="GL")
    high = bounds.ideal_miou(streets, solved="GLPA")
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
