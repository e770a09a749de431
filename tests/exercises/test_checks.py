"""The helpers that checks are written with."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.exercises import Unsolved, Wrong, call, raises, same
from contextlab.exercises._checks import describe, explain


@settings(deadline=None, max_examples=25)
@given(shape=st.lists(st.integers(1, 4), max_size=4), data=st.data())
def test_same_finds_one_changed_value_and_says_where(shape, data):
    want = torch.randn(shape)
    same(want.clone(), want)
    place = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    got = want.clone()
    got[place] += 1
    with pytest.raises(Wrong) as caught:
        same(got, want)
    assert f"at {place} it is" in str(caught.value)
    assert f"1 of {want.numel()} values" in str(caught.value)


@pytest.mark.parametrize(
    ("got", "want", "message"),
    [
        (torch.ones(2, 3), torch.ones(3, 2), r"has shape \(2, 3\); expected shape \(3, 2\)"),
        ([1.0], torch.ones(1), "should be a tensor"),
        (torch.ones(2).long(), torch.ones(2), "dtype"),
        (torch.tensor([1.0, torch.nan]), torch.ones(2), "holds nan"),
        (torch.tensor([1.0, torch.inf]), torch.ones(2), r"at \(1,\) it is inf"),
        (2, 3, "the result is 2, and should be 3"),
        (1.0, 1.0003, r"is 1, and should be 1\.0003"),
        (float("nan"), 3.0, "is nan"),
        (torch.ones(2), 3, "should be a number"),
        ((1, 2), (1, 2, 3), "should be 3 values"),
        ((1, 5), (1, 2), "value 1 of the result is 5"),
        ("a", "b", "the result is 'a', and should be 'b'"),
    ],
)
def test_same_says_what_differs(got, want, message):
    with pytest.raises(Wrong, match=message):
        same(got, want)


def test_same_accepts_what_is_right():
    same(torch.tensor(3.0), 3)
    same([1, torch.ones(2)], (1.0, torch.ones(2)))
    same(torch.ones(2, requires_grad=True), torch.ones(2))
    same(torch.ones(2).double(), torch.ones(2))
    same(True, True)


def test_same_takes_dots_for_unsolved():
    with pytest.raises(Unsolved):
        same(..., 3)


def test_why_stands_at_the_end():
    with pytest.raises(Wrong, match=r"Look at the axes\.$"):
        same(torch.ones(1), torch.ones(2), why="Look at the axes.")


def test_call_passes_keyword_arguments_and_watches_them():
    assert call(lambda a, *, b: a + b, 1, b=2) == 3

    def spoil(*, x):
        x.zero_()
        return x

    with pytest.raises(Wrong, match=r"spoil\(x=tensor of shape \(2,\)\) changed its input"):
        call(spoil, x=torch.ones(2))


def test_a_bare_not_implemented_error_is_unsolved_but_torchs_own_is_not():
    def stub():
        raise NotImplementedError

    with pytest.raises(Unsolved):
        call(stub)
    with pytest.raises(Wrong, match="forward"):
        call(torch.nn.Module(), 1)


def test_raises_wants_the_right_kind():
    assert "no" in str(raises(ValueError, int, "no"))
    with pytest.raises(Wrong, match="should raise KeyError, but stopped with ValueError"):
        raises(KeyError, int, "no")
    with pytest.raises(Wrong, match=r"should raise KeyError, but did not\. Keys are names\."):
        raises(KeyError, str, 1, why="Keys are names.")


def test_a_keyboard_interrupt_is_not_swallowed():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(interrupt)


def test_an_error_names_the_learners_line_not_the_librarys():
    def mine(x):
        return torch.nn.functional.linear(x, torch.ones(3, 3))

    with pytest.raises(Wrong, match=r"in line \d+, `return torch\.nn\.functional\.linear"):
        call(mine, torch.ones(2))


def test_long_values_are_described_shortly():
    assert describe(list(range(100))) == "list of 100"
    assert len(describe("x" * 500)) == 60
    assert describe(torch.nn.Linear) == "the class Linear"
    assert explain(ValueError()) == "ValueError."
