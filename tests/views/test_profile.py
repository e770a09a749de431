"""The bars of a profile are its table's shares."""

from __future__ import annotations

import pytest

from contextlab import context, costs, views
from contextlab.views.palette import SERIES


def test_bars_of_both_passes(readable):
    found = costs.profile(context("non_local", 16), (1, 16, 12, 12), repeats=1)
    figure, shares = views.profile_figure(found, most=4, title="The non-local block")
    assert list(shares) == ["forward", "backward"] and all(len(s) == 5 for s in shares.values())
    assert sum(v for mine in shares.values() for v in mine.values()) == pytest.approx(1)
    bars = figure.axes[0].patches
    assert [100 * v for mine in shares.values() for v in mine.values()] == pytest.approx(
        [bar.get_width() for bar in bars]
    )
    from matplotlib.colors import to_hex

    assert {to_hex(bar.get_facecolor()).upper() for bar in bars} == set(SERIES[:2])
    assert bars[0].get_hatch() != bars[-1].get_hatch()
    readable(figure)


def test_the_forward_pass_alone(readable):
    found = costs.profile(context("squeeze_excite", 16), (1, 16, 12, 12), backward=False, repeats=1)
    figure, shares = views.profile_figure(found)
    assert list(shares) == ["forward"]
    readable(figure)
