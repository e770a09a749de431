"""Where the gradient of one class's loss goes: to its own pixels, or to those of a look-alike.

    share(A → B) = Σ_{j in B} ||∂ loss_A / ∂ x_j||  /  Σ_j ||∂ loss_A / ∂ x_j||

for loss_A the cross-entropy of the pixels of class A, and x the map that enters the context module.
Li et al., "Graph guided context fusion", section 1, claim that attention among look-alikes sends
the signal meant for A to where the backbone sees B.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .affinity import shrink
from .confusion import STREETS_PAIRS
from .layers import evaluating, layer_of

_TOLD = ("share", "own", "area", "conflict", "alike")


def leakage(
    network: nn.Module,
    dataset,
    pairs: Sequence[tuple[str, str]] = STREETS_PAIRS[:1],
    *,
    images: int | Iterable[int] = 100,
    demand: str | None = None,
    layer: str = "slot",
    smallest: int = 2,
) -> list[dict[str, object]]:
    """How much of the gradient of one class's loss arrives where another class stands.

    Images that show both classes of a pair count, each as much as any other. The network stays in
    evaluation mode, so that batch norm, which ties all pixels to each other in training, sends
    nothing. Positions of the map count for a class if it covers them wholly. An image costs one
    forward pass, and one backward pass from the loss to the map for each of its classes.

    Args:
        network: maps ``b 3 h w`` to logits.
        dataset: yields ``(image, labels)``, as large as a multiple of the layer's map.
        pairs: of class names; each is asked in both directions.
        images: look at the first so many, or which.
        demand: only pixels that pose this demand ("C", say): there the two classes have one
            texture on streets. All pixels by default.
        layer: the module whose input is differentiated.
        smallest: positions of the map that each class must have.

    Returns:
        rows with "loss at", "gradient at", "share" (of the gradient's size that lies on the other
        class), "own" (on the class itself), "area" (of the map that the other class covers, which
        an even spread would give), "conflict" (cosine, over the other class's positions, of this
        gradient and of that class's own loss's: below 0 they pull apart), "alike" (mean cosine of
        the two classes' features) and "images" (0 and nan for a pair that
        no image shows).

    Raises:
        ValueError: a class or demand that the data set lacks, or no image with any pair.

    Example:
        >>> from contextlab import data, networks
        >>> streets = data.Streets("val", size=4)
        >>> model = networks.network(13, context="non_local", width=16, kernel=1)
        >>> rows = leakage(model, streets, demand="C")
        >>> [(row["loss at"], row["gradient at"]) for row in rows]
        [('wall', 'fence'), ('fence', 'wall')]
    """
    chosen = list(range(min(images, len(dataset))) if isinstance(images, int) else images)
    names = list(dataset.classes)
    unknown = sorted({name for pair in pairs for name in pair} - set(names))
    if unknown:
        raise ValueError(f"expected pairs of {', '.join(names)}, got {', '.join(unknown)}")
    letters = list(getattr(dataset, "demand_names", ()))
    if demand is not None and demand not in letters:
        raise ValueError(
            f"expected a demand of {letters or 'a data set with demands'}, got {demand!r}"
        )
    sums: dict[tuple[str, str], list[list[float]]] = {
        (a, b): [] for p in pairs for a, b in (p, p[::-1])
    }
    with evaluating(network):
        for index in chosen:
            image, labels = dataset[index]
            asked = torch.ones_like(labels, dtype=torch.bool)
            if demand is not None:
                asked = dataset.demand(index) == letters.index(demand)
            masks = {n: asked & (labels == names.index(n)) for p in pairs for n in p}
            present = [p for p in pairs if masks[p[0]].any() and masks[p[1]].any()]
            if not present:
                continue
            logits, x = _answer(network, image, layer)
            shape = tuple(x.shape[2:])
            covered = {n: (shrink(mask, shape) > 0.99).to(x.device) for n, mask in masks.items()}
            present = [p for p in present if all(covered[n].sum() >= smallest for n in p)]
            wanted = dict.fromkeys(n for p in present for n in p)
            slopes = {n: _slope(logits, x, labels, masks[n]) for n in wanted}
            for a, b in (q for p in present for q in (p, p[::-1])):
                if slopes[a].any():
                    sums[a, b].append(_told(slopes[a], slopes[b], x[0], covered[a], covered[b]))
    if not any(sums.values()):
        raise ValueError(f"expected images with both classes of a pair, got none of {len(chosen)}")
    rows = []
    for (a, b), found in sums.items():
        means = np.mean(found, 0).tolist() if found else [float("nan")] * len(_TOLD)
        row = {"loss at": a, "gradient at": b, **dict(zip(_TOLD, means)), "images": len(found)}
        rows.append(row)
    return rows


def _told(a: Tensor, b: Tensor, x: Tensor, at_a: Tensor, at_b: Tensor) -> list[float]:
    """What the gradients ``c h w`` of two classes' losses tell, in the order of ``_TOLD``."""
    size, unit = a.norm(dim=0), F.normalize(x.detach(), dim=0)
    conflict = F.cosine_similarity(a[:, at_b].flatten(), b[:, at_b].flatten(), dim=0)
    alike = unit[:, at_a].mean(1) @ unit[:, at_b].mean(1)
    shares = (size[mask].sum() / size.sum() for mask in (at_b, at_a))
    return [float(v) for v in (*shares, at_b.double().mean(), conflict, alike)]


def _answer(network: nn.Module, image: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """The logits of an image, as a function of what enters a layer."""
    leaf: list[Tensor] = []

    def cut(module: nn.Module, inputs: tuple) -> tuple:
        leaf.append(inputs[0].detach().requires_grad_())
        return (leaf[-1], *inputs[1:])

    hook = layer_of(network, layer).register_forward_pre_hook(cut)
    try:
        with torch.enable_grad():
            logits = network(image[None].to(next(network.parameters()).device))
    finally:
        hook.remove()
    if not leaf:
        raise ValueError(f"expected a layer that runs, got {layer!r}, which does not")
    return logits, leaf[-1]


def _slope(logits: Tensor, x: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Gradient ``c h w`` of the mean loss over the pixels of a mask."""
    target = torch.where(mask, labels, -1)[None].to(logits.device)
    loss = F.cross_entropy(logits, target, ignore_index=-1)
    return torch.autograd.grad(loss, x, retain_graph=True)[0][0]
