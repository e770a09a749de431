"""Claims about what trained networks do, each with a verdict that finished runs decide.

The rules were written before the results. Every comparison is a paired difference with a 95 %
interval (see `evidence`), and a claim of several parts is judged by all of them together. No
interval is corrected for their number. A claim with a run missing is undecided. Published figures
are of Cityscapes, one run each; ours of generated streets and of CamVid, where a point is another
point. So it is the direction that we test, and the size only as far as half of it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from contextlab.costs import Claim, Table, fit_exponent, inside, objects
from contextlab.costs.claims import NOT, PARTLY, REPRODUCED, UNDECIDED
from contextlab.costs.cooccurrence import HEADS, cooccurrence, skies
from contextlab.costs.depth import propagation, reach
from contextlab.data import Tiled
from contextlab.networks.realtime import realtime
from contextlab.runs.build import build_data
from contextlab.runs.config import Config, streets
from contextlab.runs.evidence import Paired, conditions, difference, figure, find, paired

MARGIN = 1.0  # points: what differs by less is the same
SOLVED, UNSOLVED = 90.0, 75.0  # points of accuracy, as in the course's ruler
IMAGES = 200  # for a look inside
SEEDS, HEAD_SEEDS = 5, 3  # of what is trained here


def effect(d: Paired, published: float | None = None, *, margin: float = MARGIN) -> str:
    """Verdict on "a is better than b".

    What counts is half of the published difference, or, where no size was published, the margin.
    Reproduced: the interval lies above 0; in part if it also lies below what counts. Not
    reproduced: it reaches down to 0 and lies below what counts. Undecided: anything else, and
    whenever a pair is missing.

    Args:
        d: a - b.
        published: the difference that was claimed, above 0.
        margin: what is too small to count.
    """
    if d.missing or d.n < 2:
        return UNDECIDED
    half = margin if published is None else published / 2
    if d.low > 0:
        return REPRODUCED if d.high >= half else PARTLY
    return NOT if d.high < half else UNDECIDED


def alike(d: Paired, *, margin: float = MARGIN) -> str:
    """Verdict on "a and b are about the same".

    Reproduced: the interval lies within the margin on both sides of 0. Not reproduced: all of it
    lies beyond the margin on one side. Undecided: anything else.
    """
    if d.missing or d.n < 2:
        return UNDECIDED
    if -margin < d.low and d.high < margin:
        return REPRODUCED
    return NOT if d.low > margin or d.high < -margin else UNDECIDED


def no_worse(d: Paired, *, margin: float = MARGIN) -> str:
    """Verdict on "a is not worse than b": the interval lies above, or all below, minus a margin."""
    if d.missing or d.n < 2:
        return UNDECIDED
    return REPRODUCED if d.low > -margin else NOT if d.high < -margin else UNDECIDED


def jointly(verdicts: Iterable[str]) -> str:
    """Verdict on a claim of several parts.

    All reproduced: reproduced. Some of them and some not: in part. None of them, and some not: not
    reproduced. Otherwise undecided.
    """
    found = list(verdicts)
    if not found:
        raise ValueError("expected at least one verdict, got none")
    if set(found) == {REPRODUCED}:
        return REPRODUCED
    right = REPRODUCED in found or PARTLY in found
    if NOT in found:
        return PARTLY if right else NOT
    return UNDECIDED if UNDECIDED in found else PARTLY


@dataclass(frozen=True)
class Part:
    """One comparison of a claim: what was compared, what came out, and the verdict on it."""

    words: str
    d: Paired
    verdict: str

    def __str__(self) -> str:
        if self.d.missing:
            return f"{self.words}: {self.d.n} of {self.d.planned} pairs of runs"
        if self.verdict == UNDECIDED and self.d.n > 1:
            return f"{self.words} {self.d}, {self.d.detectable:.1f} was detectable"
        return f"{self.words} {self.d}"


def claim(name: str) -> Claim:
    """One claim and what became of it.

    Args:
        name: such as "D1".

    Raises:
        ValueError: there is no such claim here.
    """
    if name not in CLAIMS:
        raise ValueError(f"expected a claim of {', '.join(CLAIMS)}, got {name!r}")
    return CLAIMS[name]()


def ledger(names: Iterable[str] | None = None) -> Table:
    """Claims as a table: name, sentence, finding, verdict.

    Args:
        names: which; all by default, some of which train tiny networks for a minute.
    """
    made = [claim(name) for name in (CLAIMS if names is None else names)]
    rows = [
        {"claim": c.name, "sentence": c.sentence, "found": c.found, "verdict": c.verdict}
        for c in made
    ]
    return Table(rows, title="Claims about trained networks")


def _judge(name: str, source: str, sentence: str, parts: list[Part], more: str = "") -> Claim:
    mixed = len({part.verdict for part in parts}) > 1
    words = [f"{part} ({part.verdict})" if mixed else str(part) for part in parts]
    found = "; ".join([*words, *([more] if more else [])])
    verdict = jointly(part.verdict for part in parts)
    if any(part.d.missing for part in parts):
        verdict = UNDECIDED
    return Claim(name, source, sentence, found, verdict)


def _pair(
    found: dict[str, list[Config]],
    a: str,
    b: str,
    rule: Callable[..., str] = effect,
    published: float | None = None,
    *,
    metric: str = "miou",
    words: str = "",
) -> Part:
    """One part: a - b, judged by a rule."""
    d = difference(found, a, b, metric)
    of = "" if metric == "miou" else f" on {metric}"
    said = "" if published is None else f" (claimed {published:+.1f})"
    verdict = rule(d) if published is None else rule(d, published)
    return Part(f"{words}{a} - {b}{of}{said}", d, verdict)


def _both_graphs() -> Claim:
    street, real = conditions("D1"), conditions("CamVid")
    sizes = {("coordinate", "none"): 3.6, ("feature", "none"): 4.1, ("both", "none"): 5.3,
             ("both", "coordinate"): 1.7, ("both", "feature"): 1.2}  # fmt: skip
    parts = [_pair(street, a, b, effect, size) for (a, b), size in sizes.items()]
    parts += [_pair(real, "DGCNet", "FCN", effect, 5.3, words="CamVid, ")]
    alone = [difference(street, a, "none") for a in ("both", "coordinate", "feature")]
    more = ""
    if not any(d.missing for d in alone):
        whole, *two = (np.array(d.differences) for d in alone)
        more = f"both less the sum of the two {Paired(tuple(whole - sum(two)))} (claimed -2.4)"
    return _judge(
        "D1", "DGCNet, results", "over 75.2: coordinate space +3.6, feature space +4.1, both +5.3",
        parts, more,
    )  # fmt: skip


def _projection() -> Claim:
    parts = [_pair(conditions("D2"), "strided", "average", alike)]
    return _judge(
        "D2", "DGCNet, results", "average pooling and strided convolutions do about the same", parts
    )


def _cell() -> Claim:
    found = conditions("D3")
    first, *rest = found
    parts = [_pair(found, label, first, alike) for label in rest]
    return _judge("D3", "DGCNet, results", "both are robust to the cell size d", parts)


def _bare_branch() -> Claim:
    parts = [_pair(conditions("D6"), "none", "norm", no_worse)]
    return _judge(
        "D6", "DGCNet, details", "the coordinate branch needs no batch norm and no ReLU", parts
    )


def _laplacian() -> Claim:
    found = conditions("D7")
    parts = [_pair(found, "I - A", label) for label in ("A", "I")]
    return _judge(
        "D7", "DGCNet, feature space", "I - A helps (tested against A and against no edges)", parts
    )


def _fusion() -> Claim:
    found = conditions("D8")
    parts = [_pair(found, "sum", "gated", alike)]
    others = [
        f"sum - {b} {difference(found, 'sum', b)}" for b in found if b not in ("sum", "gated")
    ]
    return _judge(
        "D8", "DGCNet, comment in the official code",
        "summing and concatenating the branches perform nearly the same", parts, "; ".join(others),
    )  # fmt: skip


def _linear_growth() -> Claim:
    depths = (2, 4, 8, 16)
    found = [reach(depth, samples=4) for depth in depths]
    seen = fit_exponent(depths, [r.theoretical for r in found]).exponent
    used = fit_exponent(depths, [r.effective for r in found]).exponent
    verdict = REPRODUCED if abs(seen - 1) < 0.1 and abs(used - 1) < 0.1 else NOT
    if verdict == NOT and abs(seen - 1) < 0.1:
        verdict = PARTLY
    return Claim(
        "D9", "DGCNet, limits of an FCN", "the receptive field grows only linearly with depth",
        f"theoretical reach grows with depth to the power {seen:.2f}, effective reach {used:.2f}",
        verdict,
    )  # fmt: skip


def _one_image() -> Claim:
    found = conditions("D11")
    parts = [_pair(found, "batch norm, 8", "batch norm, 1")]
    parts += [_pair(found, "group norm, 1", "batch norm, 1")]
    return _judge(
        "D11", "DGCNet, reproduction report",
        "trained with one image a batch it reaches 64.4, not 80.5 (tested: batch norm on one image "
        "costs accuracy)", parts,
    )  # fmt: skip


def _clusters() -> Claim:
    sentence = "the nodes of feature space work like semantic clusters"
    source = "DGCNet, feature space"
    looked = _look(streets("feature_graph", budget="quick"))
    if looked is None:
        return _without_weights("D14", source, sentence, "feature_graph")
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
    return Claim(
        "D14", source, sentence,
        f"classes explain {mean:.0%} of the variance of a node's map φ(x), {min(control):.0%} to "
        f"{max(control):.0%} of 20 random projections of the same map (one model)", verdict,
    )  # fmt: skip


def _any_vector() -> Claim:
    found = conditions("S5") | {"none": conditions("D1")["none"]}
    parts = [_pair(found, "average, none", "none", effect, 0.5)]
    return _judge("S5", "SRNet, Table III", "a global average as a gate: 75.3 over 74.8", parts)


def _second_order() -> Claim:
    found = conditions("S5")
    sizes = {"none": 1.0, "connected": 0.2, "graph": 0.8}
    parts = [
        _pair(found, f"hadamard, {reason}", f"average, {reason}", effect, size)
        for reason, size in sizes.items()
    ]
    apart = [f"{name} {min(head(name)):.0f}" for name in ("SR, average", "SR, Hadamard")]
    return _judge(
        "S6", "SRNet, Table III",
        "Hadamard beats average pooling: none 76.3 over 75.3, connected 76.8 over 76.6, "
        "graph 79.9 over 79.1", parts,
        f"where colours that meet are the only cue, points of the worst of {HEAD_SEEDS} seeds: "
        + ", ".join(apart),
    )  # fmt: skip


def _reasoning() -> Claim:
    found = conditions("S5")
    sizes = {("hadamard, graph", "hadamard, connected"): 3.1,
             ("average, graph", "average, connected"): 2.5,
             ("hadamard, correlation", "hadamard, connected"): 2.7}  # fmt: skip
    parts = [_pair(found, a, b, effect, size) for (a, b), size in sizes.items()]
    nothing = difference(found, "hadamard, graph", "hadamard, none")
    return _judge(
        "S7", "SRNet, Table III",
        "graph 79.9 and correlation 79.5 beat fully connected reasoning, 76.8",
        parts, "" if nothing.missing else f"graph against no reasoning {nothing}",
    )  # fmt: skip


def _which_edges() -> Claim:
    found = conditions("S8")
    parts = [_pair(found, "correlation", "learned", alike)]
    others = [f"{b} - learned {difference(found, b, 'learned')}" for b in ("random", "none")]
    return _judge(
        "S8", "SRNet, III-B", "not sensitive to the choice of A: learned 79.9, correlation 79.5",
        parts, "; ".join(others),
    )  # fmt: skip


def _how_many_nodes() -> Claim:
    found = conditions("S9")
    first, *rest = found
    parts = [_pair(found, label, first, alike) for label in rest]
    return _judge(
        "S9", "SRNet, figure 4a", "the number of nodes K does not influence too much", parts
    )


def _reduction() -> Claim:
    found = conditions("S10")
    parts = [_pair(found, "P = C / 2", label) for label in ("P = C / 4", "P = C / 8")]
    wide = difference(found, "P = C", "P = C / 2")
    return _judge(
        "S10", "SRNet, figure 4b", "reducing the channels leads to inferior results", parts,
        "" if wide.missing else f"P = C - P = C / 2 {wide}",
    )  # fmt: skip


ZOO = {"non_local": 1.9, "double_attention": 1.8, "compact_non_local": 1.7, "criss_cross": 1.4,
       "encoding": 2.4, "asymmetric_non_local": 1.5, "em_attention": 2.0}  # fmt: skip


def _best_of_all() -> Claim:
    names = ("squeeze_reasoning", "squeeze_excite", *ZOO)
    found = {n: [streets(n, seed=s, budget="quick") for s in range(3)] for n in names}
    found["FCN"] = [streets(seed=s, budget="quick") for s in range(3)]
    parts = [_pair(found, "squeeze_reasoning", name, effect, size) for name, size in ZOO.items()]
    parts += [_pair(conditions("CamVid"), "SR", "non-local", effect, 1.9, words="CamVid, ")]
    se, sr = (
        difference(found, "squeeze_excite", "FCN"),
        difference(conditions("CamVid"), "SR", "FCN"),
    )
    return _judge(
        "S11", "SRNet, Table IV",
        "SR 79.9 over non-local 78.0, A2 78.1, CGNL 78.2, RCCA 78.5, Enc 77.5, ANN 78.4, EMAU 77.9",
        parts, f"SE - FCN (claimed -0.2) {se}; CamVid, SR - FCN (claimed +5.1) {sr}",
    )  # fmt: skip


def _large_objects() -> Claim:
    source, sentence = "SRNet, Table I", "gains are largest on large objects: train, truck, bus"
    ours, plain = (streets(name, budget="quick") for name in ("squeeze_reasoning", None))
    models = [_model(config) for config in (ours, plain)]
    if None in models:
        return _without_weights("S12", source, sentence, "squeeze_reasoning and the FCN")
    found = objects.by_area(*models, build_data(ours), ours.images)
    parts = []
    groups = {
        "of all objects": found,
        "of objects that pose a demand": found.where(found.demand > 0),
    }
    for words, group in groups.items():
        d = Paired(tuple(group.slopes()))
        parts.append(Part(f"points gained a doubling of the area, {words}", d, effect(d)))
    return _judge("S12", source, sentence, parts, "n counts images; one model of each")


def _one_concept() -> Claim:
    source = "SRNet, figures 1a and 6"
    sentence = "each channel group responds to one concept, each node gate to the scene"
    looked = _look(streets("squeeze_reasoning", budget="quick"))
    if looked is None:
        return _without_weights("S14", source, sentence, "squeeze_reasoning")
    network, dataset, maps = looked
    with torch.inference_mode():
        theta = network.slot.theta(maps.before)
    ours = inside.selectivity(theta, maps.labels)
    turned = [
        inside.selectivity(inside.projected(theta, seed=seed), maps.labels, shuffles=0)
        for seed in range(20)
    ]
    purity = ours.purity.mean().item()
    others = [t.purity.mean().item() for t in turned]
    scene = {
        demand: inside.selectivity(
            inside.gates(network, maps.before), inside.answer_of(dataset, maps.images, demand)
        )
        for demand in ("G", "L")
    }
    known = [s.above_control for s in scene.values()]
    verdicts = [
        REPRODUCED if ours.above_control > 0.5 else NOT,
        {2: REPRODUCED, 1: PARTLY, 0: NOT}[(purity > max(others)) + (purity > 0.5)],
        REPRODUCED if max(known) > 0.5 else NOT,
    ]
    return Claim(
        "S14", source, sentence,
        f"classes explain {ours.explained.mean():.0%} of a channel of θ(x), with the labels of "
        f"another image {ours.control.mean():.0%}; {ours.above_control:.0%} of the channels beat "
        f"all 20 shuffles. One class alone makes up {purity:.0%} of it, "
        f"{min(others):.0%} to {max(others):.0%} after a rotation of the channels. Of the gates "
        f"{known[0]:.0%} beat the shuffles on the time of day, {known[1]:.0%} on the vehicle "
        "(one model)", jointly(verdicts),
    )  # fmt: skip


def _consistency() -> Claim:
    source = "SRNet, figure 8"
    sentence = "SR makes the features within an object more consistent"
    ours = _look(streets("squeeze_reasoning", budget="quick"))
    plain = _look(streets(budget="quick"))
    if ours is None or plain is None:
        return _without_weights("S15", source, sentence, "squeeze_reasoning and the FCN")
    segments = objects.components(ours[2].labels)
    logs = {
        name: 100 * torch.log(inside.unevenness(m, segments))
        for name, m in (("before", ours[2].before), ("after", ours[2].after),
                        ("SR", ours[2].fused), ("FCN", plain[2].fused))
    }  # fmt: skip
    parts = []
    for words, a, b in (("before - after the slot", "before", "after"),
                        ("FCN - SR, a layer later", "FCN", "SR")):  # fmt: skip
        d = paired(logs[a].tolist(), logs[b].tolist())
        parts.append(Part(words, d, effect(d, margin=100 * math.log(1.1))))
    return _judge(
        "S15", source, sentence, parts,
        "in 100 ln(variance within objects / variance between them), about per cent; n counts "
        "images; one model of each",
    )  # fmt: skip


def _real_time() -> Claim:
    source = "SRNet, Table V"
    sentence = "SR in the place of PPM in DFSeg: 77.5 over 74.8, with 0.04 M more parameters"
    found = conditions("S17")
    more = {
        name: sum(p.numel() for p in realtime(19, backbone="df2", context=module).parameters())
        for name, module in (("SR", "squeeze_reasoning"), ("PPM", "pyramid_pooling"))
    }
    words = f"with DF2 SR has {(more['SR'] - more['PPM']) / 1e6:+.2f} M parameters over PPM"
    if not found:
        return Claim("S17", source, sentence, f"no runs; {words}", UNDECIDED)
    words += f"; on streets SR against no context {difference(found, 'SR', 'none')}"
    return _judge("S17", source, sentence, [_pair(found, "SR", "PPM", effect, 2.7)], words)


def _classification() -> Claim:
    source, sentence = "SRNet, Table X", "SR 78.1 over SE 77.8, with 2.45 M fewer parameters"
    found = conditions("S20")
    if not found:
        return Claim("S20", source, sentence, "no runs", UNDECIDED)
    parts = [_pair(found, "SR", "SE", effect, 0.3, metric="pixel_accuracy")]
    gate = difference(found, "SR", "none", "pixel_accuracy")
    return _judge("S20", source, sentence, parts, f"SR against no gate {gate}")


def _propagation() -> Claim:
    errors = _errors()
    parts = []
    for depth in (1, 8):
        a, b = errors["A", depth], errors["I - A", depth]
        d = paired(a, b)
        words = f"error of A less that of I - A, {depth} layer{'s' * (depth > 1)}"
        parts.append(Part(words, d, effect(d)))
    third = sum(errors["I + BN/ReLU(A)", 8]) / SEEDS
    return _judge(
        "S24", "SRNet, eq. 5", "the residual in I - A helps nodes to pass messages on", parts,
        f"with I + BN/ReLU(A) {third:.1f} remain of 100, n counts seeds",
    )  # fmt: skip


@functools.cache
def _errors() -> dict[tuple[str, int], list[float]]:
    cells = [("A", 1), ("I - A", 1), ("A", 8), ("I - A", 8), ("I + BN/ReLU(A)", 8)]
    return {cell: [propagation(*cell, seed) for seed in range(SEEDS)] for cell in cells}


_skies = functools.cache(skies)


@functools.cache
def head(name: str) -> list[float]:
    """Accuracy of a tiny head on a task of co-occurrence, over the seeds; trained when asked."""
    return [cooccurrence(name, seed, sky=_skies()) for seed in range(HEAD_SEEDS)]


def _which_cue() -> Claim:
    sentence = "second order reads what occurs together, spatial affinity which positions match"
    source = "across the sources"
    second = {"SR, Hadamard": "squeeze_reasoning", "CGNL": "compact_non_local",
              "bilinear": "bilinear_pooling"}  # fmt: skip
    matched, made = {}, 0
    for name, module in {**second, "non-local": "non_local"}.items():
        runs = [find(streets(module, seed=seed, budget="quick")) for seed in range(3)]
        matched[name] = [figure(run, "P") for run in runs if run]
        made += len(matched[name])
    if made < 12:
        return Claim("X1", source, sentence, f"{made} of 12 runs", UNDECIDED)

    def holds(values: list[float], wanted: bool) -> bool:
        return min(values) > SOLVED if wanted else max(values) < UNSOLVED

    met = {name: head(name) for name in HEADS}
    cells = [holds(met[name], True) for name in second] + [holds(met["non-local"], False)]
    cells += [holds(matched[name], False) for name in second]
    cells += [holds(matched["non-local"], True)]

    def shown(scores: dict[str, list[float]]) -> str:
        return ", ".join(f"{n} {min(v):.0f} to {max(v):.0f}" for n, v in scores.items())

    verdict = REPRODUCED if all(cells) else PARTLY if any(cells) else NOT
    return Claim(
        "X1", source, sentence,
        f"colours that meet: {shown(met)}; matching (demand P): {shown(matched)}", verdict,
    )  # fmt: skip


def _sum_or_mean() -> Claim:
    source = "across the sources"
    sentence = "a sum over the pixels binds a model to one size, a mean does not"
    drops = {}
    for label, (config,) in conditions("X4").items():
        model = _model(config)
        if model is None:
            return _without_weights("X4", source, sentence, "squeeze_reasoning with sum and mean")
        dataset = build_data(config)
        once, twice = (_by_image(model, each) for each in (dataset, Tiled(dataset)))
        drops[label] = [a - b for a, b in zip(once, twice)]
    apart, mean = paired(drops["sum"], drops["mean"]), Paired(tuple(drops["mean"]))
    parts = [
        Part("pixel accuracy lost on a map twice as wide, sum - mean", apart, effect(apart)),
        Part("lost by the mean", mean, alike(mean)),
    ]
    return _judge("X4", source, sentence, parts, "n counts images; one model of each")


def _by_image(model: torch.nn.Module, dataset) -> list[float]:
    """Pixel accuracy of each of the first images, in points."""
    found = []
    with torch.inference_mode():
        for i in range(min(IMAGES, len(dataset))):
            image, labels = dataset[i]
            right = model(image[None]).argmax(1)[0] == labels
            found.append(100 * right[labels != dataset.ignore_index].double().mean().item())
    return found


def _model(config: Config) -> torch.nn.Module | None:
    run = find(config)
    return run.model() if run is not None and run.weights is not None else None


def _look(config: Config):
    """The network of a run, its data set, and the maps at its slot; None without weights."""
    network = _model(config)
    if network is None:
        return None
    dataset = build_data(config)
    return network, dataset, inside.slot_maps(network, dataset, range(min(IMAGES, len(dataset))))


def _without_weights(name: str, source: str, sentence: str, which: str) -> Claim:
    return Claim(name, source, sentence, f"the weights of {which} are not there", UNDECIDED)


CLAIMS: dict[str, Callable[[], Claim]] = {
    "D1": _both_graphs,
    "D2": _projection,
    "D3": _cell,
    "D6": _bare_branch,
    "D7": _laplacian,
    "D8": _fusion,
    "D9": _linear_growth,
    "D11": _one_image,
    "D14": _clusters,
    "S5": _any_vector,
    "S6": _second_order,
    "S7": _reasoning,
    "S8": _which_edges,
    "S9": _how_many_nodes,
    "S10": _reduction,
    "S11": _best_of_all,
    "S12": _large_objects,
    "S14": _one_concept,
    "S15": _consistency,
    "S17": _real_time,
    "S20": _classification,
    "S24": _propagation,
    "X1": _which_cue,
    "X4": _sum_or_mean,
}
