"""The one switch between a run that proves the code, one that shows the effect, and the real thing.

The code path is the same at every budget; only these numbers differ.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

VARIABLE = "CONTEXTLAB_BUDGET"


@dataclass(frozen=True)
class Budget:
    """How much a training run of the course's setting may spend.

    Args:
        name: ``"smoke"``, ``"quick"`` or ``"full"``.
        steps: optimiser steps.
        pool: training images to draw from.
        images: images to evaluate on.
    """

    name: str
    steps: int
    pool: int
    images: int


BUDGETS = {
    "smoke": Budget("smoke", steps=3, pool=16, images=8),  # seconds: proves that the code runs
    "quick": Budget("quick", steps=800, pool=4000, images=500),  # a minute or two on two cores
    "full": Budget("full", steps=4000, pool=16000, images=500),  # a GPU, in bf16
}


def current() -> str:
    """The name of the budget in force.

    Returns:
        The value of ``CONTEXTLAB_BUDGET``; where it is not set, ``"full"`` on a machine with CUDA
        and ``"quick"`` elsewhere.

    Raises:
        ValueError: the variable names no budget.
    """
    name = os.environ.get(VARIABLE, "").strip()
    if not name:
        return "full" if torch.cuda.is_available() else "quick"
    return budget(name).name


def budget(name: str | None = None) -> Budget:
    """Look a budget up by name.

    Args:
        name: ``"smoke"``, ``"quick"`` or ``"full"``; ``None`` takes the one in force.

    Returns:
        The numbers.

    Raises:
        ValueError: no such budget.

    Example:
        >>> budget("quick").steps
        800
    """
    name = current() if name is None else name
    if name not in BUDGETS:
        raise ValueError(f"expected a budget ({VARIABLE}) of {', '.join(BUDGETS)}, got {name!r}")
    return BUDGETS[name]
