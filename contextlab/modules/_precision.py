"""Full precision for the few sums that do not bear less, and room for those that grow.

Sums over the pixels leave float16, which ends at 65504, long before a norm or a gate brings them
back. What lies between is computed in float32 there; bfloat16 reaches as far as float32.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def without_autocast(x: Tensor) -> AbstractContextManager:
    """Inside, autocast is off on the device of ``x``, where that device knows it."""
    kind = x.device.type
    known = torch.amp.is_autocast_available(kind) if kind != "meta" else False
    return torch.autocast(kind, enabled=False) if known else nullcontext()


def exact(x: Tensor) -> Tensor:
    """``x`` in float32, or float64 where it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def exactly(layer: nn.Module, x: Tensor) -> Tensor:
    """``layer(x)`` in full precision, whatever its weights have, for use without autocast."""
    state = dict((*layer.named_parameters(), *layer.named_buffers()))
    if not any(t.dtype in (torch.float16, torch.bfloat16) for t in state.values()):
        return layer(exact(x))
    full = {name: exact(t) if t.is_floating_point() else t for name, t in state.items()}
    y = torch.func.functional_call(layer, full, (exact(x),))
    with torch.no_grad():
        for name, buffer in layer.named_buffers():  # statistics of norms
            buffer.copy_(full[name])
    return y


def wide(x: Tensor) -> Tensor:
    """``x``, as float32 where it is float16."""
    return x.float() if x.dtype == torch.float16 else x


def widely(layer: nn.Module, x: Tensor) -> Tensor:
    """``layer(x)``, in float32 where the weights are float16."""
    narrow = any(t.dtype == torch.float16 for t in layer.parameters())
    return exactly(layer, x) if narrow else layer(x)


def staying_wide(x: Tensor) -> AbstractContextManager:
    """Inside, autocast does not make float16 again of what was ``x`` and is wide now."""
    return without_autocast(x) if x.dtype == torch.float16 else nullcontext()
