"""Intersection and union of small maps: the counts, and every cell in its colour."""

import pytest
import torch

from contextlab import training
from contextlab.views import overlap_figure, png

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
