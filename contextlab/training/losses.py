"""Pixel-wise cross-entropy with an auxiliary head, and the loss of the classes' presence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def segmentation_loss(
    output: Tensor | tuple[Tensor | None, ...],
    labels: Tensor,
    *,
    ignore_index: int = 255,
    auxiliary_weight: float = 0.4,
    presence_weight: float = 0.2,
    valid: Tensor | float | None = None,
) -> Tensor:
    """Cross-entropy over the valid pixels, plus the auxiliary head's and the presence loss.

    ``L = CE(logits, labels) + w CE(auxiliary, labels) + L_presence(presence, labels)``

    A batch without any valid pixel costs 0, where the plain mean would be 0 / 0.

    Args:
        output: logits ``b k h w``, or the tuple (logits, auxiliary logits or None), or (logits,
            auxiliary logits or None, presence logits ``b k``).
        labels: int64 ``b h w`` with values 0..k-1 or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        auxiliary_weight: w.
        presence_weight: of :func:`presence_loss`.
        valid: the count to divide by, where it is not that of this batch (one process of several
            divides by the mean count over all of them, so that averaged gradients are exact).

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: the logits are not of the labels' size.

    Example:
        >>> import torch
        >>> segmentation_loss(torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 8).long()).shape
        torch.Size([])
    """
    answers = output if isinstance(output, tuple) else (output,)
    logits, auxiliary, presence, *_ = *answers, None, None
    if valid is None:
        valid = (labels != ignore_index).sum().clamp(min=1)
    loss = _summed(logits, labels, ignore_index) / valid
    if auxiliary is not None and auxiliary_weight:
        loss = loss + auxiliary_weight * _summed(auxiliary, labels, ignore_index) / valid
    if presence is not None and presence_weight:
        said = presence_loss(presence, labels, ignore_index=ignore_index, weight=presence_weight)
        loss = loss + said
    return loss


def _summed(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    if logits.shape[-2:] != labels.shape[-2:]:
        raise ValueError(
            f"expected logits of the labels' size {tuple(labels.shape[-2:])}, "
            f"got {tuple(logits.shape[-2:])}: upsample the logits before the loss"
        )
    return F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="sum")


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
