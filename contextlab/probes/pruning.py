"""What a trained module loses, or gains, when every pixel may keep fewer of its neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from contextlab.modules.graph_guided import GraphGuided, parse_heads, support

from .affinity import Asker
from .confusion import counted, mean_iou
from .layers import evaluating

Keep = int | float | None
RULES = ("top", "random", "lowest")


@dataclass(frozen=True)
class Pruned:
    """A network's score with one rule of pruning.

    Args:
        rule: "top", "random" or "lowest".
        keep: the module's option: a count, a share, or None for all.
        kept: neighbours that a position keeps, on average, all heads together.
        share: of the neighbours that the graphs give it, from 0 to 1.
        confusions: of every other image from the first on, and of the rest, ``2 k k``.
    """

    rule: str
    keep: Keep
    kept: float
    share: float
    confusions: np.ndarray

    @property
    def miou(self) -> float:
        """Over all images, from 0 to 1."""
        return mean_iou(self.confusions.sum(0))

    def half(self, which: int) -> float:
        """Mean IoU over one half of the images, 0 or 1."""
        return mean_iou(self.confusions[which])


def graph_guided_of(network: nn.Module) -> GraphGuided:
    """The graph-guided module of a network.

    Raises:
        ValueError: it has none, or several.
    """
    found = [m for m in network.modules() if isinstance(m, GraphGuided)]
    if len(found) != 1:
        kind = type(network).__name__
        raise ValueError(
            f"expected a network with one graph-guided module, got {kind} with {len(found)}"
        )
    return found[0]


def supports(head: str, h: int, w: int) -> np.ndarray:
    """How many positions each position of a map asks in one head, itself among them, ``h w``.

    Example:
        >>> supports("LOCAL_1", 2, 4).tolist(), supports("GRID_2", 1, 5).tolist()
        ([[4, 6, 6, 4], [4, 6, 6, 4]], [[3, 2, 3, 2, 3]])
    """
    (graph,) = parse_heads([head])

    def asked(n: int) -> np.ndarray:  # along one axis; the two axes do not know of each other
        gap = np.abs(np.arange(n)[:, None] - np.arange(n))
        reach = n if graph.reach is None else graph.reach
        return ((gap % graph.step == 0) & (gap <= reach)).sum(1)

    return np.outer(asked(h), asked(w))


def kept_by(heads: Sequence[str], h: int, w: int, keep: Keep) -> tuple[float, float]:
    """Neighbours that a position keeps on average, all heads together, and their share of all.

    Args:
        heads: names of the heads.
        h, w: of the map.
        keep: None, a count, or a share of each position's support, rounded up.

    Example:
        >>> kept_by(["LOCAL_1", "GRID_2"], 4, 4, None), kept_by(["FULL"], 4, 4, 0.5)
        ((10.25, 1.0), (8.0, 0.5))
    """
    all_, kept = 0, 0
    for head in heads:
        support = supports(head, h, w)
        all_ += support.sum()
        if keep is None:
            kept += support.sum()
        elif isinstance(keep, int):
            kept += np.minimum(support, keep).sum()
        else:
            kept += np.ceil(support * keep - 1e-9).sum()  # as the module rounds
    return float(kept / (h * w)), float(kept / all_)


@torch.inference_mode()
def pruning(
    network: nn.Module,
    dataset,
    keeps: Sequence[Keep] = (0.9, 0.7, 0.5, 0.3, 0.1, 0.03),
    *,
    rules: Sequence[str] = RULES,
    images: int | Iterable[int] = 200,
    batch: int = 32,
) -> list[Pruned]:
    """Scores of a trained network under each rule and amount of pruning.

    The network looks at all images once for each rule and amount, and once unpruned.

    Args:
        network: with one graph-guided module; its ``keep`` and ``prune`` are put back afterwards.
        dataset: yields ``(image, labels)`` of one size.
        keeps: counts and shares, in any order; the unpruned network is looked at in any case.
        rules: some of "top", "random" and "lowest".
        images: how many of the first images, or which.
        batch: images a forward pass.

    Returns:
        for each rule the unpruned score first, then one for each of ``keeps``.

    Example:
        >>> from contextlab import data, networks
        >>> heads = {"heads": ["LOCAL_1", "GRID_4"]}
        >>> model = networks.network(13, context="graph_guided", context_options=heads, width=16)
        >>> scores = pruning(model, data.Streets("val", size=2), (1,), rules=("top",))
        >>> [(score.keep, score.kept) for score in scores]
        [(None, 40.4453125), (1, 2.0)]
    """
    chosen = list(range(min(images, len(dataset))) if isinstance(images, int) else images)
    if len(chosen) < 2:
        raise ValueError(f"expected at least two images, one for each half, got {len(chosen)}")
    unknown = sorted(set(rules) - set(RULES))
    if unknown or not rules:
        raise ValueError(f"expected rules of {', '.join(RULES)}, got {unknown or 'none'}")
    module, shape = graph_guided_of(network), []
    before = module.keep, module.prune
    hook = module.register_forward_pre_hook(lambda m, x: shape.append(tuple(x[0].shape[2:])))
    scores = []
    try:
        whole = None
        for rule in rules:
            for keep in (None, *(k for k in keeps if k is not None)):
                module.keep, module.prune = keep, rule
                if keep is not None or whole is None:
                    confusions = _halves(network, dataset, chosen, batch)
                    whole = confusions if keep is None else whole
                kept = kept_by([head.name for head in module.heads], *shape[-1], keep)
                found = whole if keep is None else confusions
                scores.append(Pruned(rule, keep, *kept, found))
    finally:
        hook.remove()
        module.keep, module.prune = before
    return scores


def _halves(network: nn.Module, dataset, chosen: list[int], batch: int) -> np.ndarray:
    k, device = len(dataset.classes), next(network.parameters()).device
    halves = np.zeros((2, k, k), np.int64)
    with evaluating(network):
        for start in range(0, len(chosen), batch):
            pixels, labels = map(
                torch.stack, zip(*(dataset[i] for i in chosen[start : start + batch]))
            )
            said = network(pixels.to(device)).argmax(1).cpu()
            for j, (label, answer) in enumerate(zip(labels, said)):
                known = label != dataset.ignore_index
                halves[(start + j) % 2] += counted(label[known], answer[known], k)
    return halves


def judged(scores: Sequence[Pruned], rule: str = "top") -> dict[str, object]:
    """What pruning gains where the amount is chosen on one half and judged on the other.

    The largest of several noisy scores is too high where it is chosen; the other half knows
    nothing of the choice. Both halves choose and judge in turn, and the gains are averaged.

    Args:
        scores: of :func:`pruning`.
        rule: whose.

    Returns:
        "chosen" (the amount that either half chose; None is no pruning), "where chosen" and
        "judged" (gain in points of mIoU over the unpruned network).

    Raises:
        ValueError: no scores of that rule.
    """
    own = [s for s in scores if s.rule == rule]
    whole = next((s for s in own if s.keep is None), None)
    if whole is None:
        raise ValueError(f"expected scores of the rule {rule!r} with the unpruned one, got none")
    best = [max(own, key=lambda s, half=half: s.half(half)) for half in (0, 1)]
    gains = [
        [100 * (b.half(i) - whole.half(i)) for i in (half, 1 - half)] for half, b in enumerate(best)
    ]
    there, other = np.mean(gains, 0).tolist()
    return {"chosen": tuple(b.keep for b in best), "where chosen": there, "judged": other}


def rows(scores: Sequence[Pruned], **label: object) -> list[dict[str, object]]:
    """Scores as rows of a table, mIoU and share as they are read: in per cent and from 0 to 1.

    Args:
        scores: of :func:`pruning`.
        label: further columns, in front: ``network="FULL", seed=0``.
    """
    return [
        {
            **label,
            "rule": score.rule,
            "share": round(score.share, 4),
            "kept": round(score.kept, 2),
            "mIoU": round(100 * score.miou, 3),
        }
        for score in scores
    ]


@torch.no_grad()
def held(
    network: nn.Module,
    dataset,
    shares: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0),
    *,
    images: int = 20,
    queries: int = 20,
    seed: int = 0,
) -> list[dict[str, float]]:
    """What the largest affinities hold: which part of the weight, and how many of one's own label.

    Args:
        network: with one graph-guided module in its slot.
        dataset: yields ``(image, labels)``.
        shares: of each head's support, rounded up, as the module keeps them.
        images: how many of the first images.
        queries: positions drawn in each image.
        seed: of the draw.

    Returns:
        a row for each share: "share", "weight" (of the kept, before it is divided by its sum) and
        "own label" (part of the kept positions that carry the label of the one that asks), both
        from 0 to 1 and averaged over images, positions and heads.
    """
    module, draw = graph_guided_of(network), torch.Generator().manual_seed(seed)
    before, module.keep = module.keep, None
    weight, own = torch.zeros(2, len(shares), dtype=torch.float64)
    count = 0
    try:
        for i in range(min(images, len(dataset))):
            image, labels = dataset[i]
            ask = Asker(network, image)
            h, w = ask.shape
            rows, columns = (
                torch.arange(n) * side // n + side // n // 2
                for n, side in zip((h, w), labels.shape)
            )
            small = labels[rows][:, columns].flatten()  # what stands in the middle of a position
            for place in torch.randperm(h * w, generator=draw)[:queries].tolist():
                if small[place] == dataset.ignore_index:
                    continue
                for head, weights in zip(module.heads, ask(*divmod(place, w))):
                    joined = support(head, h, w, divmod(place, w)).flatten()
                    best = weights.flatten()[joined].double().sort(descending=True)
                    same = small[joined][best.indices] == small[place]
                    n = [math.ceil(share * len(same) - 1e-9) for share in shares]
                    weight += torch.stack([best.values[:k].sum() for k in n])
                    own += torch.stack([same[:k].double().mean() for k in n])
                    count += 1
    finally:
        module.keep = before
    columns = shares, (weight / count).tolist(), (own / count).tolist()
    return [dict(zip(("share", "weight", "own label"), row)) for row in zip(*columns)]
