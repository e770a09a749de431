"""One pixel's lines to all others."""

from __future__ import annotations

import pytest
import torch

from contextlab import views


def test_a_line_to_every_pixel_the_thickest_to_the_peak(streets, readable):
    weights = torch.full((16, 32), 0.01)
    weights[2, 7] = 0.5
    figure, numbers = views.everyone_figure(streets[0][0], weights, (13, 20), title="whom?")
    assert numbers == {"lines": 512, "peak": (2, 7)}
    (lines,) = figure.axes[0].collections[:1]
    widths = lines.get_linewidths()
    assert len(widths) == 512 and widths[-1] == max(widths) > 2 * widths[-2]
    readable(figure)


def test_a_query_outside_the_map_is_refused(streets):
    with pytest.raises(ValueError, match="inside 16 x 32"):
        views.everyone_figure(streets[0][0], torch.ones(16, 32), (16, 0))
