"""Networks: a backbone, a slot for any context module, and a head."""

from ._shared import HeadNetwork
from .cgrseg import CGRSeg, cgrseg
from .classification import Classifier, NodeGate, classifier
from .dgcnet import DGCNetHead, dgcnet, dgcnet_report
from .ggcf import GGCFHead, ggcf
from .realtime import DFSeg, realtime
from .segmentation import ContextFCN, network
from .segnext import LightHam, SegNeXt, segnext
from .srnet import SRNetHead, srnet

__all__ = [
    "CGRSeg",
    "Classifier",
    "ContextFCN",
    "DFSeg",
    "DGCNetHead",
    "GGCFHead",
    "HeadNetwork",
    "LightHam",
    "NodeGate",
    "SRNetHead",
    "SegNeXt",
    "cgrseg",
    "classifier",
    "dgcnet",
    "dgcnet_report",
    "ggcf",
    "network",
    "realtime",
    "segnext",
    "srnet",
]
