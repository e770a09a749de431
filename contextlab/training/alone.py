"""One accelerator of our own for one training run, untouched by what else is set in the process.

accelerate reads its settings from the environment, even before its arguments, and keeps them in
one place for the whole process. A training run is to depend on its recipe alone, so it gets a fresh
place, and everything is put back afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

#: which device to take and how much to say, neither of which is part of a result
KEPT = {f"ACCELERATE_{n}" for n in ("USE_CPU", "TORCH_DEVICE", "DEBUG_MODE", "LOG_LEVEL")}
#: what accelerate leaves on a network that it prepared
LEFT = ("forward", "_original_forward", "_is_accelerate_prepared")


@contextmanager
def accelerator(model: nn.Module) -> Iterator:
    """An `Accelerator` in full precision that takes a step a batch, whatever else is in force.

    Ignored while it lasts: the precision, the accumulation of gradients and whatever else
    ``ACCELERATE_...`` variables or ``accelerate launch`` set but the device and the number of
    processes; another `Accelerator` of this process; and the forward that it gave the model.

    Args:
        model: what will be prepared; it is left as it was found.

    Returns:
        A context that yields the accelerator.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    places = [kind._shared_state for kind in (PartialState, AcceleratorState, GradientState)]
    kept = [dict(place) for place in places]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("ACCELERATE_") and name not in KEPT
    }
    marks = {name: model.__dict__[name] for name in LEFT if name in model.__dict__}
    try:
        for place in places:
            place.clear()
        for name in environment:
            del os.environ[name]
        if "_original_forward" in marks:
            _restore(model, {"forward": marks["_original_forward"]})
        model.__dict__.pop("_is_accelerate_prepared", None)
        # Without a GPU accelerate has to be told, or every process of torchrun would train alone.
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        cpu = several and not torch.cuda.is_available()
        yield Accelerator(cpu=cpu, mixed_precision="no", gradient_accumulation_steps=1)
    finally:
        _restore(model, marks)
        os.environ.update(environment)
        for place, before in zip(places, kept):
            place.clear()
            place.update(before)


def _restore(model: nn.Module, marks: dict) -> None:
    for name in LEFT:
        model.__dict__.pop(name, None)
    model.__dict__.update(marks)
