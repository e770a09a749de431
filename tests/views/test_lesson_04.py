"""Where a slot looks: what is taken out of it, what is drawn, and what the widget does."""

import pytest
import torch

from contextlab import views
from contextlab.networks.segmentation import network


def small(context, **options):
    torch.manual_seed(0)
    sizes = {"width": 16, "kernel": 1, "auxiliary": False}
    return network(13, context=context, context_options=options, **sizes)


@pytest.mark.parametrize(
    "context, names",
    [
        ("squeeze_excite", {"channel gate": (16,)}),
        ("cbam", {"channel gate": (16,), "pixel gate": (8, 12)}),
        ("gcnet", {"attention": (8, 12)}),
    ],
)
def test_what_is_taken_out_makes_the_slots_output(context, names):
    model, image = small(context, reduction=4), torch.rand(3, 32, 48)
    seen = views.inside_slot(model, image)
    assert {name: tuple(v.shape) for name, v in seen.items()} == names
    assert model.training
    model.eval()
    with torch.no_grad():
        x = model.features(image[None])
        want = model.slot(x)[0]
    if context == "gcnet":
        assert seen["attention"].sum().item() == pytest.approx(1, abs=1e-5)
        return
    got = x[0] * seen["channel gate"][:, None, None] * seen.get("pixel gate", torch.tensor(1.0))
    assert torch.allclose(got, want, atol=1e-6)


def test_another_slot_is_refused():
    with pytest.raises(ValueError, match="expected a slot that squeezes or gates, got NonLocal"):
        views.inside_slot(small("non_local"), torch.rand(3, 32, 48))


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
