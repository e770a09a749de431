"""Networks: a backbone, a slot for any context module, and a head."""

from ._shared import HeadNetwork
from .classification import Classifier, NodeGate, classifier
from .dgcnet import DGCNetHead, dgcnet, dgcnet_report
from .ggcf import GGCFHead, ggcf
from .realtime import DFSeg, realtime
from .segmentation import ContextFCN, network
from .srnet import SRNetHead, srnet

__all__ = [
    "Classifier",
    "ContextFCN",
    "DFSeg",
    "DGCNetHead",
    "GGCFHead",
    "HeadNetwork",
    "NodeGate",
    "SRNetHead",
    "classifier",
    "dgcnet",
    "dgcnet_report",
    "ggcf",
    "network",
    "realtime",
    "srnet",
]
