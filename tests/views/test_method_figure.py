"""The heading of a method, for each one that is there and for each kind to come."""

from __future__ import annotations

import pytest

from contextlab import catalogue, views


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


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="got 'nonlocal'"):
        views.method_figure("nonlocal")
