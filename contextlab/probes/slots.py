"""What the slot of a network makes of one image, part by part."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from contextlab.modules import CBAM, GlobalContext, SqueezeExcite, SqueezeReasoning


def inside_slot(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """What the slot of a network makes of an image, as far as it can be looked at.

    Args:
        network: has ``features(x)`` and a ``slot`` that is SE, CBAM or a global context block.
        image: ``3 h w`` in [0, 1].

    Returns:
        "channel gate" ``c`` and "pixel gate" ``h w``, from 0 to 1, and "attention" ``h w``, which
        sums to 1: those that the slot has.

    Raises:
        ValueError: another slot.
    """
    slot = getattr(network, "slot", None)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            if isinstance(slot, SqueezeExcite):
                x = network.features(image[None])
                score = slot.expand(torch.relu(slot.squash(x.mean((2, 3)))))
                return {"channel gate": torch.sigmoid(score)[0]}
            if isinstance(slot, CBAM):
                x = network.features(image[None])
                gate = slot.channel_gate(x)
                pixel = slot.pixel_gate(x * gate)
                return {"channel gate": gate[0, :, 0, 0], "pixel gate": pixel[0, 0]}
            if isinstance(slot, GlobalContext):
                return {"attention": slot.attention(network.features(image[None]))[0]}
    finally:
        network.train(training)
    raise ValueError(f"expected a slot that squeezes or gates, got {type(slot).__name__}")


def inside_reasoning(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """What squeeze reasoning makes of an image, node by node.

    Args:
        network: has ``features(x)`` and a ``slot`` that is a :class:`SqueezeReasoning`.
        image: ``3 h w`` in [0, 1].

    Returns:
        "speak" ``k m h w``, what every pixel adds to a state: φ(x) ⊙ γ(x) (φ(x) where the squeeze
        is an average); "nodes" ``k m``, the pooled vector; "answer" ``k m``, the gate; and "gated"
        ``k m h w``, θ(x) times the gate.

    Raises:
        ValueError: another slot.
    """
    slot = getattr(network, "slot", None)
    if not isinstance(slot, SqueezeReasoning):
        raise ValueError(f"expected a slot that squeezes and reasons, got {type(slot).__name__}")
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            x = network.features(image[None])
            speak = slot.phi(x) if slot.gamma is None else slot.phi(x) * slot.gamma(x)
            g, answer = slot.squeeze(x), slot.gate(x)
            gated = slot.theta(x) * answer[..., None, None]
    finally:
        network.train(training)

    def nodes(t: Tensor, pattern: str) -> Tensor:
        vector, cut = pattern.split(" -> ")
        maps = " h w" * (t.ndim == 4)
        return rearrange(t, f"{vector}{maps} -> {cut}{maps}", k=slot.nodes)[0]

    back = " -> ".join(reversed(slot.join.split(" -> ")))
    return {
        "speak": nodes(speak, slot.split),
        "nodes": nodes(g, slot.split),
        "answer": nodes(answer, back),
        "gated": nodes(gated, back),
    }
