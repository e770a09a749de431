"""Where the answers stand: the cue that a pixel of a street needs, and who finds it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from contextlab.data.streets import DEMAND_WORDS, Streets

from .affinity import Asker, shrink


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


def asks_of(streets: Streets, index: int) -> dict[str, dict]:
    """For each demand that a street poses: a pixel that asks, and the box around its cue.

    Args:
        streets: the images.
        index: which of them.

    Returns:
        letter of the demand to "pixel" (row, column), "cue" (top, left, bottom, right), "distance"
        (pixels between them) and "class".

    Raises:
        ValueError: an image that poses no demand, or both of whose signs say the same, so that no
            arrow would show which one tells.
    """
    labels, demand = streets[index][1].numpy(), streets.demand(index).numpy()
    cues = streets.cue(index).numpy()
    found = {}
    for d, letter in enumerate(streets.demand_names):
        posed = demand == d
        if letter == "local" or not posed.any():
            continue
        shown = np.unique(labels[posed])
        if letter in "PA" and len(shown) < 2:
            raise ValueError(f"expected a street whose two signs differ, got image {index}")
        # of two classes in one image, the one that covers more pixels asks
        chosen = max(shown, key=lambda n: (posed & (labels == n)).sum())
        area = np.argwhere(posed & (labels == chosen))
        area = area[area[:, 0] == int(np.median(area[:, 0]))]  # along the middle of it
        if letter == "G":  # the whole sky tells: point at a piece of it
            pixel = area[np.abs(area[:, 1] - np.quantile(area[:, 1], 0.14)).argmin()]
            cue = _piece(cues[d], pixel[1])
        else:
            cue = np.argwhere(cues[d] & (labels == chosen))
            away = np.abs(area[:, 1] - cue[:, 1].mean())
            share = {"L": 0.8, "C": 0.8, "P": 0.5, "A": 0.1}[letter]
            pixel = area[np.abs(away - np.quantile(away, share)).argmin()]
        box = (*cue.min(0).tolist(), *cue.max(0).tolist())
        gap = np.maximum(np.maximum(box[:2] - pixel, pixel - box[2:]), 0)
        found[letter] = {
            "pixel": tuple(pixel.tolist()),
            "cue": box,
            "distance": int(gap.max()),
            "class": streets.classes[chosen],
        }
    if not found:
        raise ValueError(f"expected a street that poses a demand, got image {index}")
    return found


def _piece(sky: np.ndarray, column: int) -> np.ndarray:
    """The pixels of a piece of clear sky, as near to this column as there is one."""
    top, height, width = 3, 4, 7
    band = sky[top : top + height]
    clear = [c for c in range(2, sky.shape[1] - width - 1) if band[:, c : c + width].all()]
    left = min(clear, key=lambda c: abs(c + width // 2 - column), default=2)
    return np.array([(top, left), (top + height - 1, left + width - 1)])


def cue_shares(
    network: nn.Module,
    streets: Streets,
    *,
    demands: Sequence[str] = ("P", "A", "C"),
    images: int = 60,
    asks: int = 4,
) -> list[dict[str, object]]:
    """How much of their attention pixels give to their own cue, and to the one that misleads.

    Asked are pixels well inside an area of one demand and one class. A cue with the label of the
    area is its own; one with another label of the demand's group misleads. Images in which the
    group shows one label only say nothing about this and are left out.

    Args:
        network: has ``features(x)`` and a ``slot`` with ``affinity``; see :class:`Asker`.
        streets: the images.
        demands: letters of demands whose cues carry labels.
        images: look at the first so many.
        asks: pixels that ask in each area.

    Returns:
        A row for each demand and class: "demand", "class", "own cue", "other cue" (shares of the
        weight), "area" (share of the image that the own cue covers: what chance would give it),
        "asked" (how many pixels).

    Raises:
        ValueError: a demand whose cue carries no label of its group, as G.
    """
    sums: dict[tuple[str, str], np.ndarray] = {}
    for index in range(min(images, len(streets))):
        image, labels = streets[index]
        ask, cue, posed = Asker(network, image), streets.cue(index), streets.demand(index)
        for letter in demands:
            d, group = streets.demand_names.index(letter), DEMAND_WORDS[letter].classes
            numbers = [streets.classes.index(name) for name in group]
            if not torch.isin(labels[cue[d]], torch.tensor(numbers)).all():
                raise ValueError(f"expected demands whose cues carry their labels, got {letter!r}")
            shown = [n for n in numbers if (cue[d] & (labels == n)).any()]
            for n in shown if len(shown) > 1 else []:
                own = shrink(cue[d] & (labels == n), ask.shape)
                other = shrink(cue[d] & (labels != n), ask.shape)
                inside = shrink((posed == d) & (labels == n), ask.shape) > 0.99
                spots = inside.nonzero()
                chosen = spots[torch.linspace(0, len(spots) - 1, asks + 2).long()[1:-1]]
                for row, column in chosen.tolist() if len(spots) else []:
                    weights = ask(row, column).mean(0).double()
                    found = [(weights * own).sum(), (weights * other).sum(), own.mean(), 1.0]
                    key = (letter, streets.classes[n])
                    sums[key] = sums.get(key, 0) + np.array([float(v) for v in found])
    rows = []
    for (letter, name), (own, other, area, count) in sorted(sums.items(), key=_order(demands)):
        row = {"demand": letter, "class": name, "own cue": own / count, "other cue": other / count}
        rows.append(row | {"area": area / count, "asked": int(count)})
    return rows


def _order(demands: Sequence[str]):
    return lambda item: (list(demands).index(item[0][0]), item[0][1])
