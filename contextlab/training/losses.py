"""Cross-entropy of all pixels or of the hard ones, with an auxiliary head, and of the classes'
presence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

#: threshold and least number of kept pixels, as in the official code of each
OHEM = {"dgcnet": (0.7, 100_000), "srnet": (0.7, 10_000), "ccnet": (0.6, 200_000)}


def answers(output: object) -> tuple[Tensor | None, ...]:
    """What a model gave, as (logits, auxiliary logits, presence logits), as far as it gave them.

    Args:
        output: logits, a tuple that begins with them, or a dict of them under "out" and perhaps
            "aux", as torchvision's segmentation models give.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> [x.shape for x in answers({"out": torch.zeros(1, 3, 8, 8)})]
        [torch.Size([1, 3, 8, 8])]
    """
    if isinstance(output, Mapping) and "out" in output:
        output = (output["out"], output["aux"]) if "aux" in output else (output["out"],)
    found = tuple(output) if isinstance(output, (tuple, list)) else (output,)
    if not found or not isinstance(found[0], Tensor):
        kind = type(output).__name__
        kind += f" of {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        raise ValueError(
            "expected a model that gives logits b k h w, a tuple that begins with them, or a dict "
            f"with 'out', got a {kind}: wrap the model in one whose forward gives the logits"
        )
    return found


def segmentation_loss(
    output: Tensor | tuple[Tensor | None, ...] | Mapping[str, Tensor],
    labels: Tensor,
    *,
    ignore_index: int = 255,
    auxiliary_weight: float = 0.4,
    presence_weight: float = 0.2,
    ohem: tuple[float, int] | None = None,
    ohem_auxiliary: bool = False,
    valid: Tensor | float | None = None,
    gather: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Cross-entropy over the valid pixels, plus the auxiliary head's and the presence loss.

    ``L = CE(logits, labels) + w CE(auxiliary, labels) + L_presence(presence, labels)``

    A batch without any valid pixel costs 0, where the plain mean would be 0 / 0. With ``ohem`` the
    first term is :func:`ohem_loss`.

    Args:
        output: logits ``b k h w``, or the tuple (logits, auxiliary logits or None), or (logits,
            auxiliary logits or None, presence logits ``b k``); or torchvision's dict, see
            :func:`answers`.
        labels: int64 ``b h w`` with values 0..k-1 or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        auxiliary_weight: w.
        presence_weight: of :func:`presence_loss`.
        ohem: threshold and least number of kept pixels, see `OHEM`; None keeps them all.
        ohem_auxiliary: choose hard pixels for the auxiliary logits too, by these logits (official
            code of SRNet), or leave them the plain mean (of DGCNet and CCNet).
        valid: the count to divide a plain mean by, where it is not that of this batch (one process
            of several divides by the mean count over all of them, so that averaged gradients are
            exact).
        gather: of :func:`ohem_loss`.

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: the logits are not of the labels' size.

    Example:
        >>> import torch
        >>> segmentation_loss(torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 8).long()).shape
        torch.Size([])
    """
    logits, auxiliary, presence, *_ = *answers(output), None, None
    if valid is None:
        valid = (labels != ignore_index).sum().clamp(min=1)

    def pixels(logits: Tensor, hard: tuple[float, int] | None) -> Tensor:
        if hard is None:
            return _entropy(logits, labels, ignore_index, "sum") / valid
        threshold, kept = hard
        options = {"ignore_index": ignore_index, "gather": gather}
        return ohem_loss(logits, labels, threshold=threshold, min_kept=kept, **options)

    loss = pixels(logits, ohem)
    if auxiliary is not None and auxiliary_weight:
        loss = loss + auxiliary_weight * pixels(auxiliary, ohem if ohem_auxiliary else None)
    if presence is not None and presence_weight:
        said = presence_loss(presence, labels, ignore_index=ignore_index, weight=presence_weight)
        loss = loss + said
    return loss


def ohem_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.7,
    min_kept: int = 100_000,
    ignore_index: int = 255,
    gather: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Cross-entropy of the hard pixels alone: online hard example mining.

    ``L = mean of -log p_i over {valid i : p_i <= t},   t = max(threshold, p_(min_kept))``

    with p_i the probability that pixel i gives to its true class, and p_(k) the k-th smallest of
    all images of the batch together. So every pixel below the threshold counts, and at least
    ``min_kept`` do: the hardest. Where no more than these are valid it is the plain mean.

    Args:
        logits: ``b k h w``; half precision is computed in float32.
        labels: int64 ``b h w`` with values 0..k-1 or ``ignore_index``.
        threshold: probability up to which a pixel is hard, in (0, 1]; 1 is the plain mean.
        min_kept: pixels that count at least. As a share of the pixels it hangs on the crop and the
            batch: of eight crops of 832 x 832, 100,000 are 2 %.
        ignore_index: the label of pixels that do not count.
        gather: concatenates what all processes hold. With it the batch is that of all of them:
            one threshold, and each sum divided by the mean count that was kept, so that averaged
            gradients are those of one process with all images. Each hands round its ``min_kept``
            hardest losses, nothing more. Without it each process chooses among its own images, as
            the official codes do: there 100,000 pixels are meant for each GPU.

    Returns:
        The loss, a scalar; 0 where no pixel is valid.

    Raises:
        ValueError: an option is out of range, or the logits are not of the labels' size.

    Example:
        >>> logits = torch.tensor([[9.0, 0.0, -1.0]]).reshape(1, 1, 1, 3)
        >>> logits = torch.cat([logits, torch.zeros_like(logits)], 1)  # p = 0.9999, 0.5, 0.27
        >>> ohem_loss(logits, torch.zeros(1, 1, 3).long(), min_kept=1)  # of the last two
        tensor(1.0032)
    """
    if not 0 < threshold <= 1 or min_kept < 1:
        raise ValueError(
            "expected a threshold in (0, 1] and min_kept of at least 1, "
            f"got {threshold} and {min_kept}"
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    each = _entropy(logits, labels, ignore_index, "none")  # 0, or p = 1, where a label is ignored
    with torch.no_grad():
        # p_i <= t says the same as -log p_i >= -log t, and the order is turned round
        hardest, processes = each.flatten(), 1
        if gather is not None:
            hardest = hardest.topk(min(min_kept, len(hardest)), sorted=False).values
            hardest = gather(F.pad(hardest, (0, min_kept - len(hardest))))
            processes = len(hardest) // min_kept
        easier = len(hardest) - min_kept
        least = hardest.kthvalue(easier + 1).values if easier >= 0 else each.new_zeros(())
        least = least.clamp(max=-math.log(threshold))
        # not "at least as hard", so that a loss that is no number stays in, and is seen
        kept = (labels != ignore_index) & ~(each < least)
        count = kept.sum()
        if gather is not None:
            count = gather(count[None]).sum()
    return torch.where(kept, each, 0).sum() * processes / count.clamp(min=1)


def _entropy(logits: Tensor, labels: Tensor, ignore_index: int, reduction: str) -> Tensor:
    if logits.shape[-2:] != labels.shape[-2:]:
        raise ValueError(
            f"expected logits of the labels' size {tuple(labels.shape[-2:])}, "
            f"got {tuple(logits.shape[-2:])}: upsample the logits before the loss"
        )
    return F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction=reduction)


def presence_targets(labels: Tensor, classes: int, *, ignore_index: int = 255) -> Tensor:
    """Which classes are in each image, whatever their size there; ignored pixels do not count.

    Args:
        labels: int64 ``b h w`` with values 0..classes-1 or ``ignore_index``.
        classes: their number.
        ignore_index: the label of pixels that do not count.

    Returns:
        float32 ``b classes``, 1 where at least one pixel has the class, else 0.

    Example:
        >>> presence_targets(torch.tensor([[[2, 255, 0]]]), 4)
        tensor([[1., 0., 1., 0.]])
    """
    there = torch.zeros(len(labels), classes + 1, device=labels.device)
    index = torch.where(labels == ignore_index, classes, labels)
    return there.scatter_(1, index.flatten(1), 1.0)[:, :classes]


def presence_loss(
    logits: Tensor, labels: Tensor, *, ignore_index: int = 255, weight: float = 0.2
) -> Tensor:
    """Binary cross-entropy of the classes' presence: EncNet's semantic encoding loss.

    ``L = w mean_bk BCE(sigmoid(logits_bk), 1 if class k is in image b else 0)``

    Small classes weigh as much as large ones here, unlike in a loss of pixels. An image without
    any valid pixel says nothing of what is there and does not count.

    Args:
        logits: ``b classes``, such as ``context("encoding", c, classes=k)(x, presence=True)[1]``.
        labels: int64 ``b h w`` with values 0..classes-1 or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        weight: w.

    Returns:
        The loss, a scalar, to be added to :func:`segmentation_loss`.

    Raises:
        ValueError: the logits are no ``b classes`` of the labels' batch.

    Example:
        >>> presence_loss(torch.zeros(2, 4), torch.zeros(2, 8, 8).long()).shape
        torch.Size([])
    """
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(
            f"expected presence logits ({len(labels)}, classes), got {tuple(logits.shape)}"
        )
    targets = presence_targets(labels, logits.shape[1], ignore_index=ignore_index)
    known = (targets.sum(1, keepdim=True) > 0).to(targets)
    each = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return weight * (each * known).sum() / (known.sum().clamp(min=1) * logits.shape[1])
