"""How each widget of the lessons is tried in the browser: what to click, and what must change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """One widget of a lesson.

    Args:
        lesson: two digits.
        widget: what it is, in a few words.
        operate: CSS selector of the element to operate, the first match after all cells have run.
        watch: CSS selector of the element that must change, the first match.
        keys: keys to press after a focus; empty means a click.
    """

    lesson: str
    widget: str
    operate: str
    watch: str
    keys: tuple[str, ...] = ()


# Every widget that a lesson shows has its row here (the lesson rules count them); quizzes are tried
# without one.
TRIALS: tuple[Trial, ...] = (
    Trial(
        "00",
        "the knobs of the streets",
        ".widget-slider .noUi-handle >> nth=0",
        ".contextlab-picture",
        ("ArrowRight",),
    ),
    Trial(
        "01",
        "receptive fields by kernel, depth and dilation",
        ".widget-slider .noUi-handle >> nth=1",
        ".contextlab-picture",
        ("ArrowRight",),
    ),
    Trial(
        "02",
        "an image, some steps of smoothing",
        ".widget-slider .noUi-handle",
        ".contextlab-picture",
        ("ArrowRight", "ArrowRight", "ArrowRight"),
    ),
    Trial(
        "03",
        "click a pixel and see whom it asks",
        'button[title="row 13, column 6"]',
        ".contextlab-picture",
    ),
    Trial(
        "04",
        "a street, and what a slot makes of it",
        ".widget-slider .noUi-handle",
        ".contextlab-picture",
        ("ArrowRight",),
    ),
    Trial(
        "05",
        "the taps of a dilated kernel",
        ".widget-slider .noUi-handle >> nth=0",
        ".contextlab-picture",
        ("ArrowRight",),
    ),
    Trial(
        "06",
        "click a pixel and see whom it asks",
        'button[title="row 13, column 6"]',
        ".contextlab-picture",
    ),
    Trial(
        "06",
        "choose another method",
        'button.widget-toggle-button:has-text("OCR")',
        ".contextlab-picture",
    ),
    Trial(
        "07",
        "click a place and see whom its cell hears",
        'button[title="row 13, column 6"]',
        ".contextlab-picture",
    ),
    Trial(
        "07",
        "slider of the cell",
        ".widget-slider .noUi-handle",
        ".contextlab-picture",
        ("ArrowRight",),
    ),
    Trial(
        "08",
        "a node, and what the pixels say into it",
        ".widget-slider .noUi-handle >> nth=0",
        ".contextlab-picture",
        ("ArrowRight",),
    ),
    Trial(
        "09",
        "click a pixel and see its graph",
        'button[title="row 13, column 6"]',
        ".contextlab-picture",
    ),
    Trial(
        "09",
        "the radius of a LOCAL head",
        ".widget-slider .noUi-handle >> nth=0",
        ".contextlab-picture",
        ("ArrowRight",),
    ),
    Trial(
        "10",
        "the share of its neighbours that a pixel keeps",
        ".widget-slider .noUi-handle",
        ".contextlab-picture",
        ("ArrowLeft",),
    ),
    Trial(
        "11",
        "the length of the strips",
        ".widget-slider .noUi-handle",
        ".contextlab-picture",
        ("ArrowLeft",),
    ),
    Trial(
        "11",
        "click an object and see what its shadows draw",
        'button[title="row 13, column 6"]',
        ".contextlab-picture",
    ),
    Trial(
        "11",
        "multiply the shadows",
        'button.widget-toggle-button:has-text("multiply")',
        ".contextlab-picture",
    ),
    Trial(
        "12",
        "the prototype of the data set in place of the image's",
        'button.widget-toggle-button:has-text("the data set")',
        ".contextlab-picture",
    ),
)
