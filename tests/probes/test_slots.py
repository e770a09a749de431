"""What is taken out of a slot is what it computes."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange

from contextlab import probes
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
    seen = probes.inside_slot(model, image)
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


def test_a_slot_without_gates_is_refused():
    with pytest.raises(ValueError, match="expected a slot that squeezes or gates, got NonLocal"):
        probes.inside_slot(small("non_local"), torch.rand(3, 32, 48))


def reasoning(**options):
    torch.manual_seed(0)
    options = {"nodes": 4, **options}
    sizes = {"width": 16, "kernel": 1, "auxiliary": False}
    return network(13, context="squeeze_reasoning", context_options=options, **sizes)


@pytest.mark.parametrize("grouping", ["contiguous", "strided", "official"])
@pytest.mark.parametrize("squeeze", ["hadamard", "average"])
def test_what_is_taken_out_of_squeeze_reasoning_makes_its_output(grouping, squeeze):
    model, image = reasoning(grouping=grouping, squeeze=squeeze), torch.rand(3, 32, 48)
    inside = probes.inside_reasoning(model, image)
    assert {name: tuple(v.shape) for name, v in inside.items()} == {
        "speak": (4, 2, 8, 12),
        "nodes": (4, 2),
        "answer": (4, 2),
        "gated": (4, 2, 8, 12),
    }
    assert model.training
    model.eval()
    assert torch.allclose(inside["speak"].mean((2, 3)), inside["nodes"], atol=1e-5)
    with torch.no_grad():
        x = model.features(image[None])
        assert torch.allclose(model.slot.talk(inside["nodes"][None])[0], inside["answer"])
        pattern = {"strided": "k m h w -> (m k) h w"}.get(grouping, "k m h w -> (k m) h w")
        gated = rearrange(inside["gated"], pattern)[None]
        want = x + model.slot.norm(model.slot.out(gated))
        assert torch.allclose(model.slot(x), want, atol=1e-5)


def test_a_slot_that_does_not_reason_is_refused():
    model = network(13, context="non_local", width=16, kernel=1)
    with pytest.raises(ValueError, match="expected a slot that squeezes and reasons, got NonLocal"):
        probes.inside_reasoning(model, torch.rand(3, 32, 48))
