"""Context modules: each maps ``b c h w`` to ``b c h w`` and is one choice of three steps.

Squeeze (pixels to nodes), reason (nodes talk along a graph), reconstruct (nodes to pixels).
One file a method; ``context`` builds a module by name and ``catalogue`` lists them all.
"""

from ._registry import Entry, catalogue, context
from .asymmetric_non_local import AsymmetricFusion, AsymmetricNonLocal
from .compact_non_local import CompactNonLocal
from .convnext import ConvNeXtMixer
from .criss_cross import CrissCross
from .double_attention import DoubleAttention
from .dual_attention import ChannelAttention, DualAttention, PositionAttention
from .em_attention import EMAttention
from .encoding import Encoding
from .glore import GloRe
from .graph_conv import (
    GraphConv,
    GridGraphConv,
    LearnedGraphConv,
    grid_adjacency,
    laplacian_smoothing,
    normalised_adjacency,
)
from .hamburger import Hamburger
from .inceptionnext import InceptionNeXtMixer
from .non_local import NonLocal
from .self_attention import TokenAttention
from .squeeze_excite import SqueezeExcite
from .squeeze_reasoning import SqueezeReasoning

__all__ = [
    "AsymmetricFusion",
    "AsymmetricNonLocal",
    "ChannelAttention",
    "CompactNonLocal",
    "ConvNeXtMixer",
    "CrissCross",
    "DoubleAttention",
    "DualAttention",
    "EMAttention",
    "Encoding",
    "Entry",
    "GloRe",
    "GraphConv",
    "GridGraphConv",
    "Hamburger",
    "InceptionNeXtMixer",
    "LearnedGraphConv",
    "NonLocal",
    "PositionAttention",
    "SqueezeExcite",
    "SqueezeReasoning",
    "TokenAttention",
    "catalogue",
    "context",
    "grid_adjacency",
    "laplacian_smoothing",
    "normalised_adjacency",
]
