"""The learning rate as a function of the step."""

from __future__ import annotations


def poly(step: int, steps: int, *, power: float = 0.9, warmup: int = 0) -> float:
    """The poly schedule with a linear warm-up, as a factor of the base rate.

    ``(1 - t / T)^p``, times ``(t + 1) / warmup`` over the first ``warmup`` steps.

    Args:
        step: t, counted from 0.
        steps: T, the length of the schedule.
        power: p.
        warmup: steps until the full rate.

    Returns:
        The factor, from 0 to 1.

    Raises:
        ValueError: the step lies outside the schedule.

    Example:
        >>> [round(poly(t, 4), 2) for t in range(4)]
        [1.0, 0.77, 0.54, 0.29]
    """
    if not 0 <= step < steps:
        raise ValueError(f"expected a step in 0..{steps - 1}, got {step}")
    rise = min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0
    return rise * (1 - step / steps) ** power
