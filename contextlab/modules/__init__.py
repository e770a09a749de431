"""Context modules: each maps ``b c h w`` to ``b c h w`` and is one choice of three steps.

Squeeze (pixels to nodes), reason (nodes talk along a graph), reconstruct (nodes to pixels).
One file a method; ``context`` builds a module by name and ``catalogue`` lists them all.
"""

from ._registry import Entry, catalogue, context
from .aspp import ASPP
from .asymmetric_non_local import AsymmetricFusion, AsymmetricNonLocal
from .cbam import CBAM
from .compact_non_local import CompactNonLocal
from .convnext import ConvNeXtMixer
from .coordinate_attention import CoordinateAttention
from .criss_cross import CrissCross
from .dense_aspp import DenseASPP
from .double_attention import DoubleAttention
from .dual_attention import ChannelAttention, DualAttention, PositionAttention
from .dual_gcn import CoordinateGraph, DualGraph, FeatureGraph
from .dynamic_prototype import DynamicPrototype, DynamicPrototypeHead
from .em_attention import EMAttention
from .encoding import Encoding
from .gather_excite import GatherExcite
from .gcnet import GlobalContext
from .glore import GloRe
from .graph_conv import (
    GraphConv,
    GridGraphConv,
    LearnedGraphConv,
    grid_adjacency,
    laplacian_smoothing,
    normalised_adjacency,
)
from .graph_guided import GraphGuided
from .hamburger import Hamburger
from .inceptionnext import InceptionNeXtMixer
from .non_local import NonLocal
from .ocnet import ObjectContext
from .ocr import ObjectContextual
from .pooling import (
    GlobalAverage,
    GlobalBilinear,
    GlobalHadamard,
    average_pool,
    bilinear_pool,
    hadamard_pool,
)
from .pyramid_pooling import PyramidPooling
from .rectangular import RectangularAttention, RectangularCalibration
from .self_attention import TokenAttention
from .squeeze_excite import SqueezeExcite
from .squeeze_reasoning import SqueezeReasoning
from .strip_pooling import StripPooling

__all__ = [
    "ASPP",
    "CBAM",
    "AsymmetricFusion",
    "AsymmetricNonLocal",
    "ChannelAttention",
    "CompactNonLocal",
    "ConvNeXtMixer",
    "CoordinateAttention",
    "CoordinateGraph",
    "CrissCross",
    "DenseASPP",
    "DoubleAttention",
    "DualAttention",
    "DualGraph",
    "DynamicPrototype",
    "DynamicPrototypeHead",
    "EMAttention",
    "Encoding",
    "Entry",
    "FeatureGraph",
    "GatherExcite",
    "GloRe",
    "GlobalAverage",
    "GlobalBilinear",
    "GlobalContext",
    "GlobalHadamard",
    "GraphConv",
    "GraphGuided",
    "GridGraphConv",
    "Hamburger",
    "InceptionNeXtMixer",
    "LearnedGraphConv",
    "NonLocal",
    "ObjectContext",
    "ObjectContextual",
    "PositionAttention",
    "PyramidPooling",
    "RectangularAttention",
    "RectangularCalibration",
    "SqueezeExcite",
    "SqueezeReasoning",
    "StripPooling",
    "TokenAttention",
    "average_pool",
    "bilinear_pool",
    "catalogue",
    "context",
    "grid_adjacency",
    "hadamard_pool",
    "laplacian_smoothing",
    "normalised_adjacency",
]
