"""Pixel-wise cross-entropy with ignored pixels and an auxiliary head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def segmentation_loss(
    output: Tensor | tuple[Tensor, Tensor],
    labels: Tensor,
    *,
    ignore_index: int = 255,
    auxiliary_weight: float = 0.4,
    valid: Tensor | float | None = None,
) -> Tensor:
    """Cross-entropy averaged over the valid pixels, plus the weighted one of the auxiliary head.

    ``L = CE(logits, labels) + w CE(auxiliary, labels)``

    A batch without any valid pixel costs 0, where the plain mean would be 0 / 0.

    Args:
        output: logits ``b k h w``, or the pair (logits, auxiliary logits).
        labels: int64 ``b h w`` with values 0..k-1 or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        auxiliary_weight: w.
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
    if isinstance(output, tuple):
        logits, auxiliary = output
    else:
        logits, auxiliary = output, None
    if valid is None:
        valid = (labels != ignore_index).sum().clamp(min=1)
    loss = _summed(logits, labels, ignore_index) / valid
    if auxiliary is not None and auxiliary_weight:
        loss = loss + auxiliary_weight * _summed(auxiliary, labels, ignore_index) / valid
    return loss


def _summed(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    if logits.shape[-2:] != labels.shape[-2:]:
        raise ValueError(
            f"expected logits of the labels' size {tuple(labels.shape[-2:])}, "
            f"got {tuple(logits.shape[-2:])}: upsample the logits before the loss"
        )
    return F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="sum")
