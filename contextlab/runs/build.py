"""The data set and the network of a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from contextlab import data
from contextlab.backbones.df import DFNETS
from contextlab.backbones.mscan import MSCANS
from contextlab.networks.cgrseg import cgrseg
from contextlab.networks.classification import classifier
from contextlab.networks.realtime import realtime
from contextlab.networks.segmentation import network
from contextlab.networks.segnext import segnext
from contextlab.runs.config import Config

UNTRAINED = ("course", "course_pyramid", *DFNETS)  # backbones that have no pretrained weights
NORMS = ("batch", "group")
NETWORKS = {
    "fcn": network,
    "realtime": realtime,
    "classifier": classifier,
    "segnext": segnext,
    "cgrseg": cgrseg,
}


def build_data(
    config: Config, split: str | None = None, *, root: str | Path | Mapping | None = None
):
    """The data set of a configuration.

    Args:
        config: which.
        split: ``"train"`` for the training pool; the evaluated split by default.
        root: where the files lie, for data sets that have files; see `data.build`.

    Returns:
        A data set.
    """
    split = config.split if split is None else split
    size = {"train": config.pool, config.split: config.images}.get(split)
    options = dict(config.data_options)
    options.pop("fingerprint", None)  # it tells the run of one folder from that of another
    if config.data not in ("camvid", "folder") and size is not None:
        options["size"] = size
    return data.build(config.data, split, root=root, **options)


def build_network(
    config: Config,
    classes: int,
    *,
    pretrained: bool = True,
    weights: str | Path | None = None,
) -> nn.Module:
    """The network of a configuration; equal seeds give equal first weights.

    Args:
        config: which.
        classes: number of classes.
        pretrained: start from the backbone's pretrained weights, where it has some.
        weights: a local file for them; an MSCAN has no others.

    Returns:
        The network, in training mode.
    """
    for name, known in (("norm", NORMS), ("network", NETWORKS)):
        if (found := getattr(config, name)) not in known:
            raise ValueError(f"expected a {name} of {', '.join(known)}, got {found!r}")
    options = dict(config.backbone_options)
    if config.backbone not in UNTRAINED:
        usual = "random" if config.backbone in MSCANS else "imagenet"
        options["weights"] = str(weights or usual) if pretrained else "random"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        shared = {
            "backbone": config.backbone,
            "backbone_options": options,
            "context": config.context,
            "context_options": config.context_options,
            "dropout": config.dropout,
        }
        if config.network != "classifier":
            shared["width"] = config.width
        if config.network == "fcn":
            shared |= {"kernel": config.kernel, "auxiliary": config.auxiliary}
        model = NETWORKS[config.network](classes, **shared | config.network_options)
        return model if config.norm == "batch" else group_norm(model)


def group_norm(model: nn.Module) -> nn.Module:
    """Put group norm (8 groups, or as many as divide the channels) where batch norm stands."""
    for name, child in model.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            norm = nn.GroupNorm(math.gcd(8, child.num_features), child.num_features, eps=child.eps)
            norm.load_state_dict({"weight": child.weight.data, "bias": child.bias.data})
            setattr(model, name, norm)
        else:
            group_norm(child)
    return model
