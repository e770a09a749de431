"""The heading of a method, for each one that is there and for each kind to come."""

from __future__ import annotations

import pytest
from torch import nn

from contextlab import catalogue, views
from contextlab.modules import Entry
from contextlab.views.lesson_00 import TO_COME


@pytest.mark.parametrize("name", catalogue())
def test_every_method_has_its_heading(readable, name):
    entry = catalogue()[name]
    figure, words = views.method_figure(name)
    assert words == {
        "node": entry.node,
        "squeeze": entry.squeeze,
        "reason": entry.reason,
        "reconstruct": entry.reconstruct,
    }
    readable(figure)


@pytest.mark.parametrize("name", TO_COME)
def test_later_methods_will_have_theirs(readable, name):
    title, node, squeeze, reason, reconstruct, lesson = TO_COME[name]
    entry = Entry(name, title, nn.Identity, node, squeeze, reason, reconstruct, "a paper", lesson)
    figure, _ = views.method_figure(entry)
    readable(figure)
    steps = [
        t for t in figure.axes[0].texts if t.get_text() in ("squeeze", "reason", "reconstruct")
    ]
    assert len(steps) == 3


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="got 'nonlocal'"):
        views.method_figure("nonlocal")
