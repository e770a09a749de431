"""The course map, arrows to the cues, overlaps, and streets with their knobs."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from contextlab import catalogue, probes, training, views
from contextlab.data.streets import Streets
from contextlab.views import cue_figure, overlap_figure, png

PARTS = (("02", "05"), ("06", "06"), ("07", "12"))  # as lesson 00 shows it


def test_every_entry_is_on_the_map(readable):
    found = []
    for part in PARTS:
        figure, titles = views.course_map(*part)
        found += titles
        drawn = {"".join(t.get_text().split()) for t in figure.axes[0].texts}  # lines are wrapped
        for row in views.course_rows(*part):
            for cell in (row.title, row.node, row.squeeze, row.reason, row.reconstruct):
                assert "".join(cell.replace("none", "–").split()) in drawn
        readable(figure)
    assert found == [e.title for e in catalogue().values()]
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
    assert "11 (to come)" in text or "rectangular_calibration" in catalogue()


VAL = Streets("val", size=64)


def test_several_streets_stand_side_by_side():
    figure, numbers = cue_figure(VAL, [22, 0])
    assert numbers == {index: probes.asks_of(VAL, index) for index in (22, 0)}
    assert png(figure)[:4] == b"\x89PNG"
    assert sum(bool(axes.images) for axes in figure.axes) == 2


NAMES = ("sky", "road", "car")


def test_counts_are_those_of_the_metric():
    labels, said = torch.randint(3, (2, 5, 4))
    figure, numbers = overlap_figure(labels, said, classes=NAMES)
    confusion = torch.bincount(3 * labels.flatten() + said.flatten(), minlength=9).reshape(3, 3)
    want = training.from_confusion(confusion.numpy(), NAMES).iou
    assert [both / either for both, either in numbers.values()] == pytest.approx(want)
    assert png(figure)[:4] == b"\x89PNG"


def test_each_class_has_its_panel_with_its_count():
    figure, numbers = overlap_figure(
        torch.tensor([[0, 1, 1]]), torch.tensor([[0, 1, 2]]), classes=NAMES
    )
    assert numbers == {"sky": (1, 1), "road": (1, 2), "car": (0, 1)}
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["labels", "prediction", "IoU of sky: 1/1"]
    signs = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert signs[3] == ["", "✓", "L"] and signs[4] == ["", "", "P"]


def test_maps_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(1, 2\), \(2, 1\)"):
        overlap_figure(torch.zeros(1, 2).long(), torch.zeros(2, 1).long(), classes=NAMES)


def test_streets_with_their_knobs():
    explorer = views.street_explorer(size=4)
    posed = explorer.words.value
    explorer.update(g=0.0, l=0.0, p=0.0, c=0.0, a=0.0)
    assert "<b>100%</b>" in explorer.words.value != posed
    assert Image.open(io.BytesIO(explorer.picture.value)).width <= 990
