"""One vector: what is drawn of a slot, and what the widget does."""

from __future__ import annotations

import pytest
import torch

from contextlab import views
from contextlab.networks.segmentation import network


def small(context, **options):
    torch.manual_seed(0)
    sizes = {"width": 16, "kernel": 1, "auxiliary": False}
    return network(13, context=context, context_options=options, **sizes)


def test_the_figure_draws_maps_and_vectors_and_says_their_range():
    flat = torch.full((4, 8), 1 / 32)
    seen = {"attention": flat, "pixel gate": torch.rand(4, 8), "gate": torch.linspace(0, 1, 5)}
    figure, numbers = views.squeeze_figure(torch.rand(3, 16, 32), seen)
    assert len(figure.axes) == 4
    assert numbers["gate"] == {"low": 0.0, "mean": 0.5, "high": 1.0}
    assert numbers["attention"]["high"] == pytest.approx(1 / 32)
    for wrong in ({}, {"x": torch.rand(2, 3, 4)}):
        with pytest.raises(ValueError, match="expected maps h w or vectors c"):
            views.squeeze_figure(torch.rand(3, 16, 32), wrong)


def test_one_vector_goes_in_and_out():
    figure, numbers = views.one_vector_figure(torch.rand(3, 16, 32), torch.rand(12))
    assert numbers == {"channels": 12} and len(figure.axes) == 3
    assert len(figure.artists) == 5 * 4


def test_the_explorer_draws_anew_for_another_image_and_another_network():
    models = {"SE": small("squeeze_excite", reduction=4), "CBAM": small("cbam", reduction=4)}
    scenes = [(torch.rand(3, 32, 48), None) for _ in range(3)]
    widget = views.squeeze_explorer(models, scenes)
    seen = [bytes(widget.picture.value)]
    for choice in ({"index": 2}, {"network": "CBAM"}):
        widget.update(**choice)
        seen.append(bytes(widget.picture.value))
        assert bytes(widget.picture.value).startswith(b"\x89PNG")
    assert len(set(seen)) == 3
    assert "CBAM" in widget.words.value and "pixel gate: from 0." in widget.words.value
