"""The map holds every method once, the catalogue's words included."""

from __future__ import annotations

import pytest

from contextlab import catalogue, views
from contextlab.views.lesson_00 import TO_COME

PARTS = (("02", "05"), ("06", "06"), ("07", "12"))  # as lesson 00 shows it


def test_every_entry_and_every_method_to_come_is_on_the_map(readable):
    entries, ready, to_come = catalogue(), [], []
    for part in PARTS:
        figure, numbers = views.course_map(*part)
        ready += numbers["ready"]
        to_come += numbers["to come"]
        drawn = {"".join(t.get_text().split()) for t in figure.axes[0].texts}  # lines are wrapped
        for row in views.course_rows(*part):
            for cell in (row.title, row.node, row.squeeze, row.reason, row.reconstruct):
                assert "".join(cell.replace("none", "–").split()) in drawn
        readable(figure)
    assert ready == [e.title for e in entries.values()]
    expected = [row[0] for name, row in TO_COME.items() if name not in entries]
    assert sorted(to_come) == sorted(expected)
    with pytest.raises(ValueError, match="expected lessons that have methods, got '00' to '01'"):
        views.course_map("00", "01")


def test_rows_follow_the_lessons():
    rows = views.course_rows()
    assert [row.lesson for row in rows] == sorted(row.lesson for row in rows)
    assert len({row.title for row in rows}) == len(rows)


def test_cells_of_the_map_do_not_overlap():
    figure, _ = views.course_map()
    views.png(figure)
    texts = [t for t in figure.axes[0].texts if t.get_text() != "–"]
    boxes = [t.get_window_extent().padded(-0.5) for t in texts]
    clashes = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not clashes


def test_the_same_as_words():
    text = str(views.course_table())
    for entry in catalogue().values():
        assert entry.title in text and entry.reason in text
    assert "09 (to come)" in text or "guided_fusion" in catalogue()
