"""Looks into the networks of finished runs, and tiny ones that are trained when asked.

Of most networks one seed keeps its weights, so these figures vary over images, not over seeds.
"""

from __future__ import annotations

import functools

import torch

from contextlab.probes import inside
from contextlab.probes.cooccurrence import cooccurrence, skies
from contextlab.runs import Config, build_data, find

from .verdicts import UNDECIDED, Finding

IMAGES = 200  # for a look inside
HEAD_SEEDS = 3


def model_of(config: Config) -> torch.nn.Module | None:
    """The trained network of a run; None without weights."""
    run = find(config)
    return run.model() if run is not None and run.weights is not None else None


def look(config: Config):
    """The network of a run, its data set, and the maps at its slot; None without weights."""
    network = model_of(config)
    if network is None:
        return None
    dataset = build_data(config)
    return network, dataset, inside.slot_maps(network, dataset, range(min(IMAGES, len(dataset))))


def without_weights(which: str, so_far: str = "") -> Finding:
    """The finding where a network is not there to be looked into."""
    missing = f"the weights of {which} are not there"
    return Finding(UNDECIDED, "; ".join(filter(None, (so_far, missing))))


_skies = functools.cache(skies)


@functools.cache
def head(name: str) -> list[float]:
    """Accuracy of a tiny head on a task of co-occurrence, over the seeds; trained when asked."""
    return [cooccurrence(name, seed, sky=_skies()) for seed in range(HEAD_SEEDS)]
