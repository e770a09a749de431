"""What both conventions know of torch's operators: products by vectors, and what is written."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

_ATEN = torch.ops.aten
# operator to the position of the argument whose number of elements is its MACs
VECTOR_PRODUCTS = {_ATEN.mv: 0, _ATEN.addmv: 1, _ATEN.dot: 0, _ATEN.vdot: 0}
# views that their schema calls new tensors
_VIEWS = (_ATEN._unsafe_view, _ATEN._reshape_alias)


def written(func, out: object) -> int:
    """Bytes of the outputs of an operator that are new tensors (by its schema)."""
    if func._overloadpacket in _VIEWS:
        return 0
    outputs = out if isinstance(out, (tuple, list)) else (out,)
    returns = func._schema.returns
    fresh = [t for t, r in zip(outputs, returns) if r.alias_info is None]
    return sum(t.numel() * t.element_size() for t in tree_leaves(fresh) if isinstance(t, Tensor))
