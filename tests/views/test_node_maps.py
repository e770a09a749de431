"""Maps of either sign over an image."""

from __future__ import annotations

import numpy as np
import torch

from contextlab import views

IMAGE = torch.rand(3, 32, 64, generator=torch.Generator().manual_seed(0))


def test_node_maps_tell_the_positive_share():
    maps = {"half": torch.tensor([[1.0, -1.0]]), "all": torch.ones(2, 2), "none": torch.zeros(1, 1)}
    figure, numbers = views.node_maps_figure(IMAGE, maps, columns=2)
    assert numbers == {"half": 0.5, "all": 1.0, "none": 0.0}
    shown = figure.axes[1].images[0].get_array()
    assert np.ptp(shown[:, :32].mean((0, 1)) - shown[:, 32:].mean((0, 1))) > 0.1, "two colours"
