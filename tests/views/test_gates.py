"""Gates of two groups, on channels whose answer is known."""

from __future__ import annotations

import pytest
import torch

from contextlab import views


def test_gates_find_the_channel_that_tells_two_groups_apart():
    torch.manual_seed(0)
    one, other = (0.5 + 0.01 * torch.randn(6, 9) for _ in range(2))
    one[:, 4], other[:, 4] = 0.9, 0.1
    figure, numbers = views.gates_figure({"noon": list(one), "dusk": list(other)})
    assert numbers["channels"] == 1 and numbers["apart"] == 1
    assert numbers["difference"] == pytest.approx(0.8)
    shown = figure.axes[0].images[0].get_array()
    assert (shown[:, -1] > 0.89).all()  # the largest difference stands last
    _, none = views.gates_figure({"noon": list(one[:, :4]), "dusk": list(one[:, :4])})
    assert none["channels"] == 0 and none["difference"] == 0
    with pytest.raises(ValueError, match="expected two groups, got 1"):
        views.gates_figure({"noon": list(one)})
