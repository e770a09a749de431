"""Context modules: each maps ``b c h w`` to ``b c h w`` and is one choice of three steps.

Squeeze (pixels to nodes), reason (nodes talk along a graph), reconstruct (nodes to pixels).
One file a method; ``context`` builds a module by name and ``catalogue`` lists them all.
"""

from ._registry import Entry, catalogue, context
from .graph_conv import (
    GraphConv,
    GridGraphConv,
    LearnedGraphConv,
    grid_adjacency,
    laplacian_smoothing,
    normalised_adjacency,
)
from .non_local import NonLocal
from .squeeze_excite import SqueezeExcite

__all__ = [
    "Entry",
    "GraphConv",
    "GridGraphConv",
    "LearnedGraphConv",
    "NonLocal",
    "SqueezeExcite",
    "catalogue",
    "context",
    "grid_adjacency",
    "laplacian_smoothing",
    "normalised_adjacency",
]
