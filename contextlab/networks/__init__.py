"""Networks: a backbone, a slot for any context module, and a head."""

from .realtime import DFSeg, realtime
from .segmentation import ContextFCN, network

__all__ = ["ContextFCN", "DFSeg", "network", "realtime"]
