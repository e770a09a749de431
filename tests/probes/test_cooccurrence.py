"""A cue of co-occurrence alone: right half the time to first order, seen to second order."""

import pytest
import torch

from contextlab.probes.cooccurrence import HEADS, Head, cooccurrence, skies


@pytest.fixture(scope="module")
def sky():
    return skies(train=128, val=16)


def test_twins_have_equal_means_and_other_answers(sky):
    assert sky.known.shape == (128, 3, 6, 32) and sky.new.shape == (32, 3, 24, 128)
    one, other = sky.new.double().mean((2, 3)).split(16)
    torch.testing.assert_close(one, other)
    assert torch.equal(sky.answers[:16], 1 - sky.answers[16:])
    assert sky.noon.unique().tolist() == [0, 1]


@pytest.mark.parametrize("name", ["average", "squeeze_excite", "SR, average"])
def test_first_order_is_right_on_one_of_two_twins(name, sky):
    assert cooccurrence(name, sky=sky, steps=10) == pytest.approx(50, abs=3.2)  # ties by rounding


@pytest.mark.parametrize("name", ["SR, Hadamard", "bilinear"])
def test_second_order_sees_it(name, sky):
    assert cooccurrence(name, sky=sky, steps=80) > 90


@pytest.mark.parametrize("name", HEADS)
def test_no_head_bends_single_pixels(name, sky):
    """Were a pixel bent before the pool, an average would know as well: the control would fail."""
    torch.manual_seed(0)
    head = Head(name).double().eval()
    assert head(sky.known[:3].double()).shape == (3,)
    with pytest.raises(ValueError, match="expected a head of average"):
        Head("maximum")
