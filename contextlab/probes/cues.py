"""Two cues in one image, of which each pixel needs its own."""

from __future__ import annotations

import torch
from torch import Tensor

from contextlab.data.streets import DEMAND_WORDS, Streets


def two_cues(
    streets: Streets, letter: str, *, images: int = 100, stride: int = 4
) -> tuple[Tensor, Tensor]:
    """The two cues of a demand, and which of them each position of the map needs.

    Only images that pose the demand and show the cues of both classes are taken: in them a pixel
    has an own cue, with its own label, and another one that misleads.

    Args:
        streets: the images.
        letter: a demand whose cues carry the labels of its two classes: P, C or A.
        images: look at the first so many.
        stride: of the map.

    Returns:
        "cues" bool ``2 n H W``, the cue of either class, and "own" int64 ``n h w`` on the map: the
        index of the own cue, or -1 where the position's middle does not pose the demand.

    Raises:
        ValueError: a demand with another number of cues, as G or L.
    """
    group = DEMAND_WORDS[letter].classes if letter in DEMAND_WORDS else ()
    if len(group) != 2 or letter == "G":
        raise ValueError(f"expected a demand with two labelled cues (P, C or A), got {letter!r}")
    drawn = streets.batch(range(min(images, len(streets))))
    maps = {name: torch.from_numpy(drawn[name]) for name in ("label", "demand", "cue")}
    d = streets.demand_names.index(letter)
    numbers = [streets.classes.index(name) for name in group]
    marked = (maps["cue"] >> d & 1).bool()
    cues = torch.stack([marked & (maps["label"] == n) for n in numbers])
    both = cues.flatten(2).any(2).all(0)
    own = torch.full(maps["label"].shape, -1)
    for k, n in enumerate(numbers):
        own[(maps["label"] == n) & (maps["demand"] == d)] = k
    half = stride // 2
    return cues[:, both], own[both, half::stride, half::stride]
