"""Layers: torchinfo's tree of a module, beside what we count."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from html import escape

import torch
from torch import nn

from .counting import Cost, _is_shape, count
from .table import Table


@dataclass(frozen=True)
class Summary:
    """The layers of a module; it prints and shows as its table with both totals below.

    Args:
        table: one row a layer: its name in its parent, output shape, parameters and MACs.
        parameters: of the module, as torchinfo finds them.
        macs: its total by torchinfo.
        cost: its total by :func:`~contextlab.costs.count`.
    """

    table: Table
    parameters: int
    macs: int
    cost: Cost

    @property
    def closing(self) -> str:
        """Both totals, in two lines."""
        return (
            f"torchinfo, layers alone: {self.macs:,} MACs, {self.parameters:,} parameters\n"
            f"costs.count, every product: {self.cost.macs:,} MACs, "
            f"{self.cost.parameters:,} parameters"
        )

    def __str__(self) -> str:
        return f"{self.table}\n{self.closing}"

    def _repr_html_(self) -> str:
        return f"{self.table._repr_html_()}<p>{escape(self.closing).replace(chr(10), '<br>')}</p>"


def summary(module: nn.Module, shape: tuple[int, ...], *, depth: int = 3) -> Summary:
    """The tree of a module's layers: output shapes, parameters and MACs, counted by torchinfo.

    torchinfo looks at layers as they are called. It sees no matrix product, einsum or fused
    attention between them, which is most of what many a context module computes; it counts a batch
    norm and every other layer with parameters at as many "MACs" as parameters (times the batch),
    and the bias of a convolution at one a pixel. :func:`~contextlab.costs.count` counts every
    product and nothing else. Both totals close the summary.

    Nothing is computed: a copy of the module without values runs on the device ``meta``, in
    evaluation mode.

    Args:
        module: a module; a layer that it calls repeatedly has one row for every call.
        shape: of its one input, float32.
        depth: levels of the tree that are shown; the module itself is the first.

    Raises:
        ValueError: no module, a shape that is none or does not suit the module, depth below 1.

    Example:
        >>> print(summary(nn.Conv2d(8, 4, 1, bias=False), (1, 8, 10, 10)))
        layer   output           parameters  MACs (M)
        Conv2d  1 x 4 x 10 x 10          32    0.0032
        torchinfo, layers alone: 3,200 MACs, 32 parameters
        costs.count, every product: 3,200 MACs, 32 parameters
    """
    from torchinfo import summary as layers_of

    if not isinstance(module, nn.Module):
        raise ValueError(f"expected a module, got {type(module).__name__}")
    if not _is_shape(shape) or min(shape, default=0) < 1:
        raise ValueError(f"expected a shape of positive numbers, got {shape!r}")
    if depth < 1:
        raise ValueError(f"expected a depth of 1 or more, got {depth}")
    hollow = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
        for p in module.parameters()
    }
    hollow |= {id(b): torch.empty_like(b, device="meta") for b in module.buffers()}
    shell = copy.deepcopy(module, hollow)
    try:
        found = layers_of(
            shell,
            input_data=torch.empty(shape, device="meta"),
            device="meta",
            mode="eval",
            depth=depth,
            verbose=0,
            cache_forward_pass=False,
        )
    except RuntimeError as error:
        raise ValueError(
            f"expected a shape that {type(module).__name__} takes, got {tuple(shape)}: "
            f"{error.__cause__ or error}"
        ) from error
    rows = []
    for place, layer in enumerate(found.summary_list):
        if layer.depth >= depth:
            continue
        kind = f"{layer.var_name}: {layer.class_name}" if layer.depth else layer.class_name
        size = layer.output_size
        rows.append(
            {
                "layer": "  " * layer.depth + kind,
                "output": " x ".join(map(str, size)) if size else None,
                "parameters": max(layer.num_params, 0),
                "MACs (M)": _macs(place, found.summary_list) / 1e6,
            }
        )
    return Summary(
        Table(rows), found.total_params, int(found.total_mult_adds), count(module, tuple(shape))
    )


def _macs(place: int, layers: list) -> int:
    """Of a layer, or of the leaves below it."""
    layer, below = layers[place], layers[place + 1 :]
    if layer.is_leaf_layer:
        return layer.macs
    mine = itertools.takewhile(lambda other: other.depth > layer.depth, below)
    return sum(other.macs for other in mine if other.is_leaf_layer)
