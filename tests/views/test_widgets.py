"""Widgets: the callbacks are plain functions, and what they change is a picture and words."""

from __future__ import annotations

import re

import ipywidgets
import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.networks.segmentation import network


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return network(13, context="non_local", width=64, kernel=1, auxiliary=False)


@pytest.fixture(scope="module")
def picker(model, streets):
    image, labels = streets[3]
    return views.affinity_picker(model, image, labels=labels, classes=streets.classes)


def test_the_mosaic_is_the_image(picker, streets):
    cells = torch.nn.functional.avg_pool2d(streets[3][0], 4).permute(1, 2, 0).reshape(-1, 3)
    style = picker.children[0].value
    colours = re.findall(r"nth-child\((\d+)\)\{background:#(\w{6})", style)
    assert [int(i) for i, _ in colours] == list(range(1, 16 * 32 + 1))
    shown = np.array([list(bytes.fromhex(colour)) for _, colour in colours])
    assert np.abs(shown / 255 - cells.numpy()).max() < 0.01
    assert picker.mosaic.options[33] == picker.mosaic.tooltips[33] == "row 1, column 1"
    (name,) = (c for c in picker.mosaic._dom_classes if c.startswith("mosaic-"))
    assert f".{name} button" in style and ".mosaic " not in style


def test_a_click_asks_for_that_pixel(picker):
    before = picker.picture.value
    picker.mosaic.index = 10 * 32 + 7
    assert picker.query == (10, 7) and picker.picture.value != before
    assert picker.words.value.startswith("Row 10, column 7 (")
    picker.update(0, 3)
    assert picker.mosaic.index == 3 and picker.words.value.startswith("Row 0, column 3 (")
    with pytest.raises(ValueError, match=r"inside \(16, 32\), got \(16, 0\)"):
        picker.update(16, 0)


def test_the_page_stays_light(picker):
    """A handful of widgets and a small style sheet, whatever the number of squares."""
    assert len(picker.children) == 4
    assert len(picker.children[0].value) < 40_000


def test_words_name_the_classes_that_are_asked():
    weights = torch.zeros(1, 2, 2)
    weights[0, 0, 0], weights[0, 1, 1] = 0.75, 0.25
    labels = np.array([[0, 1], [1, 1]])
    words = views.whom(weights, (0, 0), labels=labels, classes=["sky", "a < b"])
    assert "(sky)" in words and "sky 75%, a &lt; b 25%" in words
    assert "by class" not in views.whom(weights, (0, 0))


def test_a_map_too_large_for_buttons_is_refused(model):
    with pytest.raises(ValueError, match="at most 1024 positions"):
        views.affinity_picker(model, torch.rand(3, 256, 256))


def test_only_plain_widgets_are_used(picker):
    seen = [picker, views.receptive_field_explorer()]
    while seen:
        widget = seen.pop()
        assert not isinstance(widget, ipywidgets.Output)
        seen.extend(getattr(widget, "children", ()))


def test_the_plain_text_of_a_widget_is_short(picker):
    """It is stored in the notebook, and compared."""
    for widget in (picker, views.receptive_field_explorer()):
        words = widget._repr_mimebundle_()["text/plain"]
        assert len(words) < 200 and "children=" not in words and widget.alt in words
