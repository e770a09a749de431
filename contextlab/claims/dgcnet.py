"""What is claimed of DGCNet: the experiments, the settings that may decide, and the rules.

Setting: the four cells none, coordinate, feature, both share backbone, recipe and seeds. Streets
decide, where the whole block gains many points over the same network without it, and CamVid over
features of 67 pixels. Over a frozen backbone that has seen the whole image the block gains nothing:
there only the gain itself is judged (D1), and nothing about the parts.

Control: the cell without the part in question; of the gain as a whole also the fair plain network,
as costly as the FCN, with a field as wide as the block's reach.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import einsum, rearrange
from torch import nn

from contextlab import context
from contextlab.costs import REPORT_IOU, count, fit_exponent
from contextlab.modules.dual_gcn import OFFICIAL
from contextlab.probes import inside, objects
from contextlab.probes.depth import reach
from contextlab.runs import FAIR_NAME, Config, build_data, streets

from . import looking
from .entries import entry
from .evidence import Paired, difference
from .experiments import (
    FIVE,
    Experiment,
    Make,
    Question,
    configs,
    locally,
    on_both,
    on_streets,
    register,
)
from .settings import compare_in, three
from .verdicts import (
    MISPRINT,
    NOT,
    PARTLY,
    REPRODUCED,
    RIGHT,
    UNDECIDED,
    Finding,
    alike,
    effect,
    jointly,
    judge,
    no_worse,
    pair,
)

QUESTIONS: dict[str, Question] = {
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
}


def _small_batch(batch: int, norm: str) -> Make:
    """DGCNet on as many images whatever the batch, at one rate."""
    recipe = {"steps": 3200 // batch, "batch": batch, "lr": 1e-3}
    return lambda seed: streets("dual_graph", seed=seed, budget="quick", recipe=recipe, norm=norm)


# A cell of 16 pixels would leave the map of 45 x 60 twelve nodes.
LOCAL_QUESTIONS: dict[str, Question] = QUESTIONS | {
    "D3": (
        "how large may a cell be?",
        {f"d = {d}": ("coordinate_graph", {} if d == 8 else {"cell": d}) for d in (8, 2, 4)},
    ),
}

register(
    on_both(QUESTIONS)
    | locally(LOCAL_QUESTIONS)
    | {
        "D3": Experiment(
            "how large may a cell be?",
            {f"d = {d}": on_streets("coordinate_graph", cell=d) for d in (2, 4, 8, 16)},
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
    }
)

SETTINGS = STREETS, CAMVID, LOCAL = three(("D1",), "both", "none")
#: cells that are not what they are called: 16 x 16 positions a cell leave a 16 x 32 map two nodes
EMPTY = {("", "d = 16"): "a graph of two nodes is none"}


def both_graphs() -> Finding:
    published = entry("D1").published
    gains = [("coordinate", "none"), ("feature", "none"), ("both", "none")]
    parts = [
        pair(setting.cells("D1"), a, b, effect, published[f"{a} - {b}"], words=setting.words)
        for setting in SETTINGS
        for a, b in gains
    ]
    fair = STREETS.cells("D1") | {FAIR_NAME: configs("plain")[FAIR_NAME]}
    parts.append(pair(fair, "both", FAIR_NAME, effect, published["both - none"]))
    one = compare_in(
        SETTINGS, ["D1"], [("both", "coordinate"), ("both", "feature")], published=published
    )
    alone = [difference(configs("D1"), a, "none") for a in ("both", "coordinate", "feature")]
    if not any(d.missing for d in alone):
        whole, *two = (np.array(d.differences) for d in alone)
        summed = Paired(tuple(whole - sum(two)))
        one.beside.append(f"both less the sum of the two {summed} (claimed -2.4)")
    return judge([*parts, *one.parts], one.more)


def projection() -> Finding:
    found = compare_in(SETTINGS, ["D2"], [("strided", "average")], alike)
    return found.finding()


def cell() -> Finding:
    pairs = [(f"d = {d}", "d = 2") for d in (4, 8, 16)]
    found = compare_in([STREETS], ["D3"], pairs, alike, empty=EMPTY)
    real = compare_in([LOCAL], ["D3"], pairs[:2], alike)
    return (found + real).finding()


def bare_branch() -> Finding:
    found = compare_in(SETTINGS, ["D6"], [("none", "norm")], no_worse)
    return found.finding()


def laplacian() -> Finding:
    found = compare_in(SETTINGS, ["D7"], [("I - A", "A"), ("I - A", "I")])
    return found.finding()


def fusion() -> Finding:
    further = [("sum", "sequential"), ("sum", "official")]
    found = compare_in(SETTINGS, ["D8"], [("sum", "gated")], alike, further=further)
    return found.finding()


def one_image() -> Finding:
    found = configs("D11")
    parts = [pair(found, "batch norm, 8", "batch norm, 1")]
    parts += [pair(found, "group norm, 1", "batch norm, 1")]
    return judge(parts)


def limits_of_an_fcn() -> Finding:
    depths = (2, 4, 8, 16)
    found = [reach(depth, samples=4) for depth in depths]
    seen = fit_exponent(depths, [r.theoretical for r in found]).exponent
    used = fit_exponent(depths, [r.effective for r in found]).exponent
    verdict = REPRODUCED if abs(seen - 1) < 0.1 and abs(used - 1) < 0.1 else NOT
    if verdict == NOT and abs(seen - 1) < 0.1:
        verdict = PARTLY
    words = f"reach grows with depth to the power {seen:.2f} in theory, {used:.2f} in effect"
    fcn, attentive = (_to_the_larger(streets(name, budget="quick")) for name in (None, "non_local"))
    if fcn is None or attentive is None:
        return looking.without_weights("the FCN and non_local", words)
    return Finding(
        jointly([verdict, effect(fcn)]),
        f"{words}; of 100 wrong pixels at a border so many more go to the larger neighbour than to "
        f"the smaller: {fcn}, with a non-local block {attentive}; n counts images, one model of "
        "each",
    )


def _to_the_larger(config: Config) -> Paired | None:
    model = looking.model_of(config)
    if model is None:
        return None
    counts = objects.taken_over(model, build_data(config), looking.IMAGES)
    counts = counts[counts.sum(1) > 0]
    return Paired(tuple(100 * (counts[:, 0] - counts[:, 1]) / counts.sum(1)))


def clusters() -> Finding:
    looked = looking.look(streets("feature_graph", budget="quick"))
    if looked is None:
        return looking.without_weights("feature_graph")
    network, _, maps = looked
    with torch.inference_mode():
        nodes = network.slot.nodes(maps.before)
    labels = maps.labels
    ours = inside.selectivity(nodes, labels, shuffles=5).explained
    control = []
    for seed in range(20):
        mixed = inside.projected(maps.before, nodes.shape[1], seed=seed)
        control.append(inside.selectivity(mixed, labels, shuffles=0).explained.mean().item())
    mean = ours.mean().item()
    verdict = REPRODUCED if mean > max(control) else UNDECIDED
    verdict = NOT if mean < float(np.median(control)) else verdict
    return Finding(
        verdict,
        f"classes explain {mean:.0%} of the variance of a node's map φ(x), {min(control):.0%} to "
        f"{max(control):.0%} of 20 random projections of the same map (one model)",
    )


class CellsFirst(nn.Module):
    """The coordinate graph in the order in which it is written: A_S first, then A_S ν(V_S)."""

    def __init__(self, graph: nn.Module, softmax: bool = False):
        super().__init__()
        self.graph, self.softmax = graph, softmax

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        graph, v = self.graph, self.graph.cells(x)
        delta, psi, nu = (
            rearrange(f(v), "b e y x -> b e (y x)") for f in (graph.delta, graph.psi, graph.nu)
        )
        a = einsum(delta, psi, "b e i, b e j -> b i j")
        a = torch.softmax(a, -1) if self.softmax else a / v.shape[2:].numel()
        m = einsum(a, nu, "b i j, b e j -> b e i")
        return graph.xi(graph.weight(rearrange(m, "b e (y x) -> b e y x", y=v.shape[2])))


def two_orders() -> Finding:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 24, 40, dtype=torch.float64)
    graph = context("coordinate_graph", 16, zero_init=False).double().eval()
    official = context("coordinate_graph", 16, zero_init=False, affinity="softmax").double().eval()
    official.load_state_dict(graph.state_dict())
    with torch.no_grad():
        ours, direct = graph.answer(graph.cells(x)), CellsFirst(graph)(x)
        apart = ((ours - direct).abs().max() / direct.abs().max()).item()
        direct = CellsFirst(graph, softmax=True)(x)
        other = (official.answer(official.cells(x)) - direct).abs().max() / direct.abs().max()
        other = other.item()
    sides = (128, 256, 512)
    wide, growth = context("coordinate_graph", 64), []
    for module in (CellsFirst(wide), wide):
        macs = [count(module, (1, 64, side, side)).macs for side in sides]
        growth.append(fit_exponent([side**2 for side in sides], macs).exponent)
    holds = apart < 1e-10 and round(growth[1], 2) == 1 and growth[0] > 1.5 and other > 0.1
    return Finding(
        REPRODUCED if holds else NOT,
        f"the two orders differ by {apart:.0e} of the answer; from {sides[0]}² to {sides[-1]}² "
        f"pixels MACs grow with HW to the power {growth[0]:.2f} and {growth[1]:.2f}; with a "
        f"soft-max in between by {other:.1f} of the answer",
    )


def size_of_cells() -> Finding:
    sizes, right = [], True
    for h, w, d in ((96, 96, 8), (96, 192, 8), (64, 64, 4)):
        graph = context("coordinate_graph", 8, cell=d)
        row = graph.affinity(torch.zeros(1, 8, h, w), query=(0, 0))
        sizes.append(row.numel() ** 2)
        right = right and row.numel() ** 2 == (h * w // d**2) ** 2
    found = f"{sizes[0]:,} numbers at 96 x 96 and d = 8, against {96**4:,} between all pixels"
    return Finding(REPRODUCED if right else NOT, found)


def mean_of_the_report() -> Finding:
    printed = entry("D12").published["mean"]
    mean = sum(REPORT_IOU.values()) / len(REPORT_IOU)
    found = f"the {len(REPORT_IOU)} classes have the mean {mean:.5f}"
    if round(mean, 4) == printed:
        return Finding(RIGHT, found)
    slack = 0.00005  # the classes are rounded to four digits, and so is the mean
    if abs(mean - printed) <= 2 * slack:
        more = "which rounds otherwise in the last digit, within what rounded classes leave open"
        return Finding(RIGHT, f"{found}, {more}")
    return Finding(MISPRINT, found)


RULES = {
    "D1": both_graphs,
    "D2": projection,
    "D3": cell,
    "D4": two_orders,
    "D5": size_of_cells,
    "D6": bare_branch,
    "D7": laplacian,
    "D8": fusion,
    "D9": limits_of_an_fcn,
    "D11": one_image,
    "D12": mean_of_the_report,
    "D14": clusters,
}
