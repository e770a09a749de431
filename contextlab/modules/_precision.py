"""Full precision for the few sums that do not bear less."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(x: Tensor) -> AbstractContextManager:
    """Inside, autocast is off on the device of ``x``, where that device knows it."""
    kind = x.device.type
    known = torch.amp.is_autocast_available(kind) if kind != "meta" else False
    return torch.autocast(kind, enabled=False) if known else nullcontext()


def exact(x: Tensor) -> Tensor:
    """``x`` in float32, or float64 where it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
