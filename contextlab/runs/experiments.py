"""Experiments: named groups of runs that differ in one thing, each over the same seeds.

An experiment holds the runs that answer one claim of the sources; the claim's name is its name. Its
cells share data, recipe and seeds, so that two cells are compared seed by seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from contextlab.modules.dual_gcn import OFFICIAL
from contextlab.runs.config import (
    COURSE_OPTIONS,
    FAIR,
    FAIR_NAME,
    Config,
    camvid,
    fair,
    far,
    streets,
)

Make = Callable[[int], Config]
Cell = tuple[str | None, dict]  # a module and its options


@dataclass(frozen=True)
class Experiment:
    """A question, the conditions that are compared, and the seeds.

    Args:
        question: what is asked.
        cells: label to a function from the seed to its configuration; the first is the reference.
        seeds: the same for every cell.
        planned: its runs are not all made yet; `shipped` leaves them out.
    """

    question: str
    cells: dict[str, Make]
    seeds: tuple[int, ...]
    planned: bool = False

    def configs(self) -> dict[str, list[Config]]:
        """The configurations of every cell, in the order of the seeds."""
        return {label: [make(s) for s in self.seeds] for label, make in self.cells.items()}


def configs(name: str) -> dict[str, list[Config]]:
    """The configurations of an experiment, by cell.

    Args:
        name: of the experiment, such as "D1".

    Raises:
        ValueError: there is no such experiment.

    Example:
        >>> {label: len(runs) for label, runs in configs("D1").items()}
        {'none': 5, 'coordinate': 5, 'feature': 5, 'both': 5}
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"expected an experiment of {', '.join(EXPERIMENTS)}, got {name!r}")
    return EXPERIMENTS[name].configs()


def _street(context: str | None, seed: int, **options) -> Config:
    """The course's setting, with other options of the module where some are given."""
    options = {**COURSE_OPTIONS.get(context, {}), **options}
    return streets(context, seed=seed, budget="quick", context_options=options)


def _one(context: str | None, **options) -> Make:
    return partial(_street, context, **options)


def _sr(**options) -> Cell:
    """The module's own values are left out: one run is one configuration, in every experiment."""
    own = {"squeeze": "hadamard", "reason": "graph", "reduction": 2, "nodes": 16}
    return "squeeze_reasoning", {k: v for k, v in options.items() if own.get(k) != v}


def _on(make: Callable[..., Make], cells: dict[str, Cell]) -> dict[str, Make]:
    """The cells on one data set."""
    return {label: make(module, **options) for label, (module, options) in cells.items()}


def _real(context: str | None, **options) -> Make:
    """On CamVid, over a frozen backbone, with the modules' own values."""
    shared = {"budget": "quick", "frozen": True, "context_options": options}
    return lambda seed: camvid(context, seed=seed, **shared)


def _local(context: str | None, **options) -> Make:
    """The same over the backbone's first stages: stride 8, a window of 67 pixels."""
    stages = {"output_stride": 16, "out_indices": [2]}
    shared = {"budget": "quick", "frozen": True, "backbone_options": stages}
    return lambda seed: camvid(context, seed=seed, context_options=options, **shared)


def _small_batch(batch: int, norm: str) -> Make:
    """DGCNet on as many images whatever the batch, at one rate."""
    recipe = {"steps": 3200 // batch, "batch": batch, "lr": 1e-3}
    return lambda seed: streets("dual_graph", seed=seed, budget="quick", recipe=recipe, norm=norm)


def _small_df(context: str | None, **options) -> Make:
    """DF2 at a quarter of its width on streets, whose small images leave it a map of 4 x 8."""
    return lambda seed: streets(
        context,
        seed=seed,
        budget="quick",
        network="realtime",
        backbone="df2",
        backbone_options={"width": 0.25, "stem_stride": 2},
        context_options=options,
        width=32,
    )


def _vehicles(context: str | None, **options) -> Make:
    """The class of the long vehicle, by DF1 at a quarter of its width, below the ceiling."""
    return lambda seed: streets(
        context,
        seed=seed,
        budget="quick",
        data="vehicles",
        network="classifier",
        backbone="df1",
        backbone_options={"width": 0.25},
        context_options=options,
        recipe={"steps": 300},
        pool=1000,
    )


FIVE = (0, 1, 2, 3, 4)
SQUEEZES = ("average", "hadamard")
REASONS = ("none", "connected", "graph", "correlation")
# cells of one question, each a module and its options, that are compared on streets and on CamVid
QUESTIONS: dict[str, tuple[str, dict[str, Cell]]] = {
    "D1": (
        "what do coordinate space and feature space add, alone and together?",
        {
            "none": (None, {}),
            "coordinate": ("coordinate_graph", {}),
            "feature": ("feature_graph", {}),
            "both": ("dual_graph", {}),
        },
    ),
    "D2": (
        "cells by average pooling or by strided convolutions?",
        {
            "average": ("coordinate_graph", {}),
            "strided": ("coordinate_graph", {"project": "strided"}),
        },
    ),
    "D6": (
        "does the coordinate branch need batch norm and ReLU?",
        {"none": ("coordinate_graph", {}), "norm": ("coordinate_graph", {"norm": True})},
    ),
    "D7": (
        "does I - A help in feature space?",
        {
            "I - A": ("feature_graph", {}),
            "A": ("feature_graph", {"variant": "edges"}),
            "I": ("feature_graph", {"edges": "none"}),
        },
    ),
    "D8": (
        "sum the branches, gate and concatenate them, or apply one after the other?",
        {
            "sum": ("dual_graph", {}),
            "gated": ("dual_graph", {"fusion": "gated"}),
            "sequential": ("dual_graph", {"fusion": "sequential"}),
            "official": ("dual_graph", OFFICIAL),
        },
    ),
    "S5": (
        "average or Hadamard squeeze, and which reasoning?",
        {
            f"{squeeze}, {reason}": _sr(squeeze=squeeze, reason=reason)
            for squeeze in SQUEEZES
            for reason in REASONS
        },
    ),
    "S8": (
        "do the edges between the nodes matter?",
        {
            "learned": _sr(),
            "correlation": _sr(reason="correlation"),
            "random": _sr(edges="random"),
            "none": _sr(edges="none"),
        },
    ),
}
EXPERIMENTS = {
    name: Experiment(question, _on(_one, cells), FIVE)
    for name, (question, cells) in QUESTIONS.items()
}
EXPERIMENTS |= {
    f"{name}, CamVid": Experiment(f"{question[:-1]}, on real streets?", _on(_real, cells), FIVE)
    for name, (question, cells) in QUESTIONS.items()
}
EXPERIMENTS |= {
    "D3": Experiment(
        "how large may a cell be?",
        {f"d = {d}": _one("coordinate_graph", cell=d) for d in (2, 4, 8, 16)},
        FIVE,
    ),
    "S9": Experiment(
        "how many nodes?",
        _on(_one, {f"K = {k}": _sr(nodes=k) for k in (8, 1, 32)}),
        FIVE,
    ),
    "S9, CamVid": Experiment(
        "how many nodes, on real streets?",
        _on(_real, {f"K = {k}": _sr(nodes=k) for k in (16, 1, 32)}),
        FIVE,
    ),
    "S10": Experiment(
        "how many channels may the squeeze drop?",
        _on(_one, {f"P = C / {r}": _sr(reduction=r) for r in (2, 4, 8)}),
        FIVE,
    ),
    "D11": Experiment(
        "what does batch norm lose with one image a batch?",
        {
            "batch norm, 8": _small_batch(8, "batch"),
            "batch norm, 1": _small_batch(1, "batch"),
            "group norm, 1": _small_batch(1, "group"),
        },
        FIVE,
    ),
    "S17": Experiment(
        "pyramid pooling or SR in a small real-time network?",
        {
            "PPM": _small_df("pyramid_pooling"),
            "SR": _small_df("squeeze_reasoning", nodes=8),
            "none": _small_df(None),
        },
        FIVE,
    ),
    "S20": Experiment(
        "SE or SR in a small classifier?",
        {
            "SE": _vehicles("squeeze_excite", reduction=4),
            "SR": _vehicles("squeeze_reasoning", nodes=8),
            "SR, no edges": _vehicles("squeeze_reasoning", nodes=8, edges="none"),
            "none": _vehicles(None),
        },
        FIVE,
    ),
    "X4": Experiment(
        "what does a sum over the pixels bind a model to?",
        _on(_one, {pool: _sr(variant="srnet", pool=pool) for pool in ("mean", "sum")}),
        (0,),
    ),
    "CamVid": Experiment(
        "on real streets, over a frozen backbone?",
        {
            "FCN": _real(None),
            "non-local": _real("non_local"),
            "DGCNet": _real("dual_graph"),
            "SR": _real("squeeze_reasoning"),
        },
        FIVE,
    ),
    "CamVid, local": Experiment(
        "on real streets, over features that see a patch of 67 pixels?",
        {
            "FCN": _local(None),
            "SR": _local("squeeze_reasoning"),
            "coordinate": _local("coordinate_graph"),
            "feature": _local("feature_graph"),
            "DGCNet": _local("dual_graph"),
        },
        (0, 1, 2),
    ),
}  # fmt: skip

THREE = (0, 1, 2)
# What is asked there besides the questions above. A cell of 16 pixels would leave the map of 45 x
# 60 twelve nodes, and one node is no graph.
LOCAL_QUESTIONS: dict[str, tuple[str, dict[str, Cell]]] = QUESTIONS | {
    "D3": (
        "how large may a cell be?",
        {f"d = {d}": ("coordinate_graph", {} if d == 8 else {"cell": d}) for d in (8, 2, 4)},
    ),
    "S9": ("how many nodes?", {f"K = {k}": _sr(nodes=k) for k in (16, 8, 32)}),
    "S10": (
        "how many channels may the squeeze drop?",
        {f"P = C / {r}": _sr(reduction=r) for r in (2, 4, 8)},
    ),
}


def _with_fcn(cells: dict[str, Cell]) -> dict[str, Cell]:
    """The FCN behind the cells, where none is it: does the method gain anything here?"""
    has_it = any(module is None for module, _ in cells.values())
    return cells if has_it else {**cells, "FCN": (None, {})}


EXPERIMENTS |= {
    f"{name}, CamVid, local": Experiment(
        f"{question[:-1]}, over features that see a patch of 67 pixels?",
        _on(_local, _with_fcn(cells)),
        THREE,
        planned=True,
    )
    for name, (question, cells) in LOCAL_QUESTIONS.items()
}


def _on_streets(make: Callable[..., Config], *arguments, **options) -> Make:
    return lambda seed: make(*arguments, seed=seed, budget="quick", **options)


MODULES = {
    "non-local": "non_local",
    "SR": "squeeze_reasoning",
    "DGCNet": "dual_graph",
    "ASPP": "aspp",
}
EXPERIMENTS |= {
    "plain": Experiment(
        "what is a module worth beside a plain network that sees as far?",
        {
            FAIR_NAME: _on_streets(fair),
            "dilations 1, 2, 4": _on_streets(streets, backbone_options={"dilation": [1, 2, 4]}),
            "FCN": _on_streets(streets),
        }
        | {label: _on_streets(streets, module) for label, module in MODULES.items()},
        THREE,
    ),
    "far": Experiment(
        "which order is left where cues lie twice as far away?",
        {
            FAIR_NAME: _on_streets(fair, on=far),
            "dilations 2, 4, 8": _on_streets(far, backbone_options=dict(FAIR)),
            "FCN": _on_streets(far),
        }
        | {label: _on_streets(far, module) for label, module in MODULES.items()},
        THREE,
        planned=True,
    ),
}
