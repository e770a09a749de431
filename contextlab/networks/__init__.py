"""Networks: a backbone, a slot for any context module, and a head."""

from .segmentation import ContextFCN, network

__all__ = ["ContextFCN", "network"]
