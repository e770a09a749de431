"""Answers of several networks, row by row."""

from __future__ import annotations

import pytest
import torch

from contextlab import views


def test_rows_of_answers_tell_what_is_right(readable, streets):
    images, labels = zip(*(streets[i] for i in (0, 1)))
    wrong = [truth.clone() for truth in labels]
    wrong[0][:32] = 12  # half of the first image
    ignored = [truth.clone() for truth in labels]
    ignored[1][:, :16] = 255
    said = {"right": labels, "half": wrong, "a much longer name": labels}
    palette = {"classes": streets.classes, "palette": streets.palette}
    figure, numbers = views.answers_figure(images, ignored, said, **palette)
    readable(figure)
    assert numbers["right"] == [1, 1]
    assert numbers["half"] == [pytest.approx(1 - (wrong[0] != labels[0]).float().mean().item()), 1]
    assert len(figure.axes) == 2 * 5 + 1
    words = [t.get_text() for t in figure.axes[-1].get_legend().get_texts()]
    assert words[-1] == "ignored" and "sky" in words
    outlined = [len(axes.collections) for axes in figure.axes]
    assert outlined[3] == 1 and outlined[2] == outlined[4] == 0, "errors are outlined"


def test_a_single_pixel_is_not_outlined(streets):
    image, labels = streets[0]
    said = labels.clone()
    said[5, 5] = (said[5, 5] + 1) % 13
    options = {"classes": streets.classes, "palette": streets.palette}
    figure, numbers = views.answers_figure([image], [labels], {"net": [said]}, **options)
    assert not figure.axes[2].collections and numbers["net"][0] < 1


def test_as_many_answers_as_images(streets):
    image, labels = streets[0]
    options = {"classes": streets.classes, "palette": streets.palette}
    with pytest.raises(ValueError, match=r"as many .* as images, got \[1, 2\]"):
        views.answers_figure([image], [labels], {"net": [labels, labels]}, **options)
    with pytest.raises(ValueError, match=r"got \[0\]"):
        views.answers_figure([], [], {"net": torch.zeros(0, 4, 4)}, **options)
