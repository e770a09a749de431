"""What a training run does, as plain numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

OPTIMISERS = ("adamw", "sgd")
PRECISIONS = ("no", "bf16")


@dataclass(frozen=True)
class Recipe:
    """How to train: with the model, the data and the seed it fixes every weight of the result.

    Args:
        steps: optimiser steps.
        batch: images a step, over all processes together.
        optimiser: ``"adamw"`` or ``"sgd"``.
        lr: base learning rate.
        weight_decay: on every parameter for SGD, on those of two and more dimensions for AdamW.
        momentum: of SGD.
        warmup: steps of linear warm-up.
        power: of the poly schedule.
        head_factor: rate of everything outside ``model.backbone``, as a multiple of ``lr``.
        auxiliary_weight: weight of the auxiliary head's loss.
        ohem: threshold and least number of pixels kept, over all processes together, for online
            hard example mining (`training.OHEM` has the published ones); ``None`` keeps them all.
        ohem_auxiliary: mine for the auxiliary head's loss too.
        flip: mirror half of the images.
        scale: resize by a factor drawn from this range, e.g. ``(0.5, 2.0)``; ``None`` leaves it.
        aspect: stretch at the same area: width over height times a factor drawn from this range,
            e.g. ``(0.9, 1.1)``; ``None`` leaves it.
        crop: then cut a random window (height, width), padded with 255 where the image is smaller.
        class_cap: draw the window anew, ten times at most, until every class covers less than this
            share of its labelled pixels, e.g. 0.75; ``None`` takes the first.
        precision: ``"no"`` (float32) or ``"bf16"`` (autocast).
        channels_last: memory format of the convolutions.
        seed: of the sample order, the augmentation and dropout.
        workers: processes that load images (0: the training process itself); changes no result.

    Raises:
        ValueError: a value out of range, named.

    Example:
        >>> Recipe(steps=10, crop=[32, 64]).crop
        (32, 64)
    """

    steps: int
    batch: int = 16
    optimiser: str = "adamw"
    lr: float = 4e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    warmup: int = 0
    power: float = 0.9
    head_factor: float = 1.0
    auxiliary_weight: float = 0.4
    ohem: tuple[float, int] | None = None
    ohem_auxiliary: bool = False
    flip: bool = True
    scale: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    crop: tuple[int, int] | None = None
    class_cap: float | None = None
    precision: str = "no"
    channels_last: bool = False
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        pairs = {"scale": (float, float), "aspect": (float, float)}
        pairs |= {"crop": (int, int), "ohem": (float, int)}
        for name, kinds in pairs.items():
            value = getattr(self, name)
            if value is not None:
                if len(value) != 2:
                    raise ValueError(f"expected {name} as a pair, got {value!r}")
                object.__setattr__(self, name, tuple(kind(v) for kind, v in zip(kinds, value)))
        _check(self.steps >= 1, "steps of 1 or more", self.steps)
        _check(self.batch >= 1, "a batch of 1 or more", self.batch)
        _check(self.optimiser in OPTIMISERS, f"an optimiser of {OPTIMISERS}", self.optimiser)
        _check(self.lr > 0, "a positive learning rate", self.lr)
        _check(self.precision in PRECISIONS, f"a precision of {PRECISIONS}", self.precision)
        _check(self.seed >= 0, "a seed of 0 or more", self.seed)
        _check(self.workers >= 0, "workers of 0 or more", self.workers)
        scale, aspect, crop, ohem = self.scale, self.aspect, self.crop, self.ohem
        _check(
            ohem is None or (0 < ohem[0] <= 1 <= ohem[1]),
            "ohem as (threshold in (0, 1], pixels kept, 1 or more)",
            ohem,
        )
        _check(ohem is not None or not self.ohem_auxiliary, "ohem beside ohem_auxiliary", ohem)
        _check(scale is None or 0 < scale[0] <= scale[1], "scale as (low, high), 0 < low", scale)
        _check(
            aspect is None or 0 < aspect[0] <= aspect[1], "aspect as (low, high), 0 < low", aspect
        )
        _check(crop is None or min(crop) >= 1, "crop as (height, width) in pixels", crop)
        cap = self.class_cap
        _check(cap is None or 0 < cap <= 1, "class_cap as a share in (0, 1]", cap)
        _check(cap is None or crop is not None, "a crop beside class_cap", crop)
        for name, value in (("scale", scale), ("aspect", aspect)):
            _check(
                value is None or crop is not None,
                f"a crop beside {name} (images of one batch must end in one size)",
                crop,
            )

    def to_dict(self) -> dict:
        """The numbers by name; mining, stretching and capping only where they are done: older
        recipes do not know of them."""
        absent = () if self.ohem is not None else ("ohem", "ohem_auxiliary")
        absent += tuple(name for name in ("aspect", "class_cap") if getattr(self, name) is None)
        return {name: value for name, value in asdict(self).items() if name not in absent}

    def hash(self, *more: str) -> str:
        """Twelve hexadecimal digits that change with anything that changes the result.

        Args:
            more: further words that the result depends on.

        Returns:
            The first twelve digits of a SHA-256.
        """
        values = {k: v for k, v in self.to_dict().items() if k != "workers"}
        text = json.dumps([values, *more], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check(right: bool, expected: str, got: object) -> None:
    if not right:
        raise ValueError(f"expected {expected}, got {got!r}")
