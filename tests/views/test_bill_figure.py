"""The bill as a picture."""

import pytest

from contextlab.costs import GRADES as MEANINGS
from contextlab.costs import Line, lines
from contextlab.views import bill_figure, bill_in_words
from contextlab.views.bill_figure import GRADES, TABLES


def test_a_dot_for_every_figure_that_has_a_ratio():
    figure, numbers = bill_figure(["SRNet V", "CGRSeg heads"])
    assert len(numbers["SRNet V"]) == 3
    ratio, grade, alike = numbers["CGRSeg heads"]["Non-local", "FLOPs (G)"]
    line = next(line for line in lines("CGRSeg heads") if line.row == "Non-local")
    assert ratio == line.ours / line.published and grade == "selected" and alike
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    drawn = [line.get_xdata()[0] for line in axes.lines if line.get_marker() not in ("", "None")]
    assert sorted(drawn) == sorted(
        ratio for table in numbers.values() for ratio, _, _ in table.values()
    )


def test_what_is_printed_as_zero_has_no_ratio(monkeypatch):
    rows = [Line(name, "FLOPs (G)", name, 0.5, None, "predicted") for name in ("0.0", "0.5")]
    monkeypatch.setitem(bill_figure.__wrapped__.__globals__, "lines", lambda table: rows)
    assert list(bill_figure(["made up"])[1]["made up"]) == [("0.5", "FLOPs (G)")]


def test_every_grade_has_its_own_colour():
    known = set(MEANINGS) - {"not printed"}
    assert set(GRADES) == known and len(set(GRADES.values())) == len(GRADES)
    found = {line.grade.partition(" (")[0] for table in TABLES for line in lines(table)}
    assert found <= known


def test_the_words_name_what_is_far_off():
    words = bill_in_words(bill_figure(["SRNet V", "SRNet IV"])[1])
    assert "SRNet V: 3 of 3 print alike (2 predicted, 1 selected)." in words
    assert "+Encoding, FLOPs (G): 0.22" in words and "+ASPP, FLOPs" not in words


@pytest.mark.parametrize("tables", [[], ["SRNet II"], ["SRNet VI"]])
def test_tables_without_single_figures_are_refused(tables):
    with pytest.raises(ValueError, match=r"expected (a table|tables) of"):
        bill_figure(tables)
