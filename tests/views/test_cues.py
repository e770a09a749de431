"""Arrows to the cues: they start on the demand's pixels and end on the cue that tells."""

import pytest

from contextlab.data.streets import Streets
from contextlab.views import cue_figure, png

VAL = Streets("val", size=64)


@pytest.mark.parametrize("index, letters", [(22, "GLPC"), (0, "GLCA")])
def test_pixels_pose_the_demand_and_boxes_hold_their_own_cue(index, letters):
    figure, numbers = cue_figure(VAL, [index])
    labels, demand, cues = VAL[index][1], VAL.demand(index), VAL.cue(index)
    assert "".join(numbers[index]) == letters
    for letter, ask in numbers[index].items():
        d = VAL.demand_names.index(letter)
        (row, column), (top, left, bottom, right) = ask["pixel"], ask["cue"]
        assert demand[row, column] == d
        assert VAL.classes[labels[row, column]] == ask["class"]
        box = (slice(top, bottom + 1), slice(left, right + 1))
        assert cues[d][box].any()
        if letter != "G":  # the sky has no class of the group; the other cues carry their label
            assert (labels[box][cues[d][box]] == labels[row, column]).all()
        beyond = max(top - row, row - bottom, left - column, column - right, 0)
        assert ask["distance"] == beyond > 15
    assert png(figure)[:4] == b"\x89PNG"


def test_an_axial_arrow_stays_in_its_columns():
    ask = cue_figure(VAL, [0])[1][0]["A"]
    assert ask["cue"][1] <= ask["pixel"][1] <= ask["cue"][3]


def test_several_streets_stand_side_by_side():
    figure, numbers = cue_figure(VAL, [22, 0])
    assert list(numbers) == [22, 0]
    assert sum(bool(axes.images) for axes in figure.axes) == 2


def test_streets_that_would_mislead_are_refused():
    axial = [(i, VAL.demand(i) == 5) for i in range(64)]
    same = next(i for i, posed in axial if posed.any() and len(VAL[i][1][posed].unique()) == 1)
    with pytest.raises(ValueError, match=f"two signs differ, got image {same}"):
        cue_figure(VAL, [same])
    with pytest.raises(ValueError, match="poses a demand"):
        cue_figure(Streets("val", size=1, g=0, l=0, p=0, c=0, a=0), [0])
