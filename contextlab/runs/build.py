"""The data set and the network of a configuration."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from contextlab import data
from contextlab.networks.segmentation import network
from contextlab.runs.config import Config


def build_data(config: Config, split: str | None = None, *, root: str | Path | None = None):
    """The data set of a configuration.

    Args:
        config: which.
        split: ``"train"`` for the training pool; the evaluated split by default.
        root: where the files lie, for data sets that have files.

    Returns:
        A data set.
    """
    split = config.split if split is None else split
    size = {"train": config.pool, config.split: config.images}.get(split)
    options = dict(config.data_options)
    if config.data == "streets" and size is not None:
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
        weights: a local file for them.

    Returns:
        The network, in training mode.
    """
    options = dict(config.backbone_options)
    if config.backbone != "course":
        options["weights"] = str(weights or "imagenet") if pretrained else "random"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return network(
            classes,
            backbone=config.backbone,
            backbone_options=options,
            context=config.context,
            context_options=config.context_options,
            width=config.width,
            kernel=config.kernel,
            auxiliary=config.auxiliary,
            dropout=config.dropout,
        )
