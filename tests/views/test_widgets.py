"""Widgets: the callbacks are plain functions, and what they change is a picture and words."""

from __future__ import annotations

import io

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from contextlab import views
from contextlab.networks.segmentation import network


def size_of(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return network(13, context="non_local", width=64, kernel=1, auxiliary=False)


@pytest.fixture(scope="module")
def picker(model, streets):
    image, labels = streets[3]
    return views.affinity_picker(model, image, labels=labels, classes=streets.classes)


def test_the_mosaic_is_the_image(picker, streets):
    assert len(picker.buttons) == 16 * 32
    cells = torch.nn.functional.avg_pool2d(streets[3][0], 4).permute(1, 2, 0).reshape(-1, 3)
    shown = np.array(
        [[int(v) for v in b.style.button_color[4:-1].split(",")] for b in picker.buttons]
    )
    assert np.abs(shown / 255 - cells.numpy()).mean() < 0.03
    assert len({id(b.style) for b in picker.buttons}) <= 48, "styles are shared"
    assert picker.buttons[33].tooltip == "row 1, column 1"


def test_a_click_asks_for_that_pixel(picker):
    before = picker.picture.value
    picker.buttons[10 * 32 + 7].click()
    assert picker.query == (10, 7) and picker.picture.value != before
    assert picker.words.value.startswith("Row 10, column 7 (")
    marked = [i for i, b in enumerate(picker.buttons) if b.description]
    assert marked == [10 * 32 + 7]
    picker.update(0, 0)
    assert [i for i, b in enumerate(picker.buttons) if b.description] == [0]


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


def test_smoothing(streets):
    explorer = views.smoothing_explorer(streets[0][0])
    first = explorer.picture.value
    explorer.update(steps=8)
    second = explorer.picture.value
    explorer.update(rule="I - A", steps=1)
    assert len({first, second, explorer.picture.value}) == 3
    assert "0.0" in explorer.words.value and "at the start" in explorer.words.value
    with pytest.raises(ValueError, match="controls among"):
        explorer.update(step=3)


def test_receptive_fields():
    explorer = views.receptive_field_explorer()
    assert "<b>7 pixels</b>, 7 of them" in explorer.words.value
    explorer.update(dilation=4)
    assert "<b>25 pixels</b>, 7 of them" in explorer.words.value
    explorer.update(dilation=1, depth=4, grow=True)
    assert "<b>31 pixels</b>, 31 of them" in explorer.words.value


def test_streets_with_their_knobs():
    explorer = views.street_explorer(size=4)
    posed = explorer.words.value
    explorer.update(g=0.0, l=0.0, p=0.0, c=0.0, a=0.0)
    assert "<b>100%</b>" in explorer.words.value != posed
    assert size_of(explorer.picture.value)[0] <= 990


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
