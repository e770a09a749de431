"""Claims about what trained networks do, each with a verdict that finished runs decide.

The rules are those of `verdicts`; what wants a look inside a network is in `looks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from contextlab.costs import Claim, Table, count
from contextlab.networks.realtime import realtime
from contextlab.runs import looks
from contextlab.runs.config import Config, streets
from contextlab.runs.evidence import Paired, conditions, difference
from contextlab.runs.experiments import EXPERIMENTS
from contextlab.runs.verdicts import Part, alike, effect, judge, no_worse, pair


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


Pairs = dict[tuple[str, str], float | None]
PLACES = {"": "", ", CamVid": "CamVid, "}  # end of an experiment's name, words before a finding
Cells = dict[str, list[Config]]


def _places(*names: str) -> list[tuple[Cells, str]]:
    """The cells of experiments on streets and, where they have runs, on CamVid; and which it is."""
    found = []
    for where, words in PLACES.items():
        if all(name + where in EXPERIMENTS for name in names):
            cells: Cells = {}
            for name in names:
                cells |= conditions(name + where)
            found.append((cells, words))
    return found


def _compared(experiment: str, pairs: Pairs, rule: Callable[..., str] = effect) -> list[Part]:
    """Pairs (a, b) with the published a - b."""
    return [
        pair(cells, a, b, rule, published, words=words)
        for cells, words in _places(experiment)
        for (a, b), published in pairs.items()
    ]


def _to_first(experiment: str, rule: Callable[..., str] = alike) -> list[Part]:
    """All other cells of an experiment against its first."""
    return [
        pair(cells, label, next(iter(cells)), rule, words=words)
        for cells, words in _places(experiment)
        for label in list(cells)[1:]
    ]


def _further(experiment: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Differences that a claim says nothing about."""
    found = [part for a, b in pairs for part in _compared(experiment, {(a, b): None})]
    return "; ".join(f"{part.words} {part.d}" for part in found)


def _both_graphs() -> Claim:
    sizes: Pairs = {("coordinate", "none"): 3.6, ("feature", "none"): 4.1, ("both", "none"): 5.3,
                    ("both", "coordinate"): 1.7, ("both", "feature"): 1.2}  # fmt: skip
    alone = [difference(conditions("D1"), a, "none") for a in ("both", "coordinate", "feature")]
    more = ""
    if not any(d.missing for d in alone):
        whole, *two = (np.array(d.differences) for d in alone)
        more = f"both less the sum of the two {Paired(tuple(whole - sum(two)))} (claimed -2.4)"
    local = difference(conditions("CamVid, local"), "DGCNet", "FCN")
    more += f"{'; ' * bool(more)}CamVid over features of 67 pixels, both against none {local}"
    return judge(
        "D1", "DGCNet, results", "over 75.2: coordinate space +3.6, feature space +4.1, both +5.3",
        _compared("D1", sizes), more,
    )  # fmt: skip


def _projection() -> Claim:
    sentence = "average pooling and strided convolutions do about the same"
    return judge("D2", "DGCNet, results", sentence, _to_first("D2"))


def _cell() -> Claim:
    return judge(
        "D3",
        "DGCNet, results",
        "both projections are robust to the cell size d (averaging tested)",
        _to_first("D3"),
    )


def _bare_branch() -> Claim:
    sentence = "the coordinate branch needs no batch norm and no ReLU"
    parts = _compared("D6", {("none", "norm"): None}, no_worse)
    return judge("D6", "DGCNet, details", sentence, parts)


def _laplacian() -> Claim:
    parts = _compared("D7", {("I - A", "A"): None, ("I - A", "I"): None})
    sentence = "I - A helps (tested against A and against no edges)"
    return judge("D7", "DGCNet, feature space", sentence, parts)


def _fusion() -> Claim:
    return judge(
        "D8", "DGCNet, comment in the official code",
        "summing and concatenating the branches perform nearly the same",
        _compared("D8", {("sum", "gated"): None}, alike),
        _further("D8", [("sum", "sequential"), ("sum", "official")]),
    )  # fmt: skip


def _one_image() -> Claim:
    found = conditions("D11")
    parts = [pair(found, "batch norm, 8", "batch norm, 1")]
    parts += [pair(found, "group norm, 1", "batch norm, 1")]
    return judge(
        "D11", "DGCNet, reproduction report",
        "trained with one image a batch it reaches 64.4, not 80.5 (tested: batch norm on one image "
        "costs accuracy)", parts,
    )  # fmt: skip


def _any_vector() -> Claim:
    parts = [
        pair(
            cells | {"no gate": cells["none"]}, "average, none", "no gate", effect, 0.5, words=words
        )
        for cells, words in _places("S5", "D1")
    ]
    return judge("S5", "SRNet, Table III", "a global average as a gate: 75.3 over 74.8", parts)


def _second_order() -> Claim:
    sizes = {"none": 1.0, "connected": 0.2, "graph": 0.8}
    pairs: Pairs = {(f"hadamard, {r}", f"average, {r}"): size for r, size in sizes.items()}
    apart = [f"{name} {min(looks.head(name)):.0f}" for name in ("SR, average", "SR, Hadamard")]
    return judge(
        "S6", "SRNet, Table III",
        "Hadamard beats average pooling: none 76.3 over 75.3, connected 76.8 over 76.6, "
        "graph 79.9 over 79.1", _compared("S5", pairs),
        f"worst of {looks.HEAD_SEEDS} seeds where colours that meet are the only cue: "
        + "; ".join(apart),
    )  # fmt: skip


def _reasoning() -> Claim:
    pairs: Pairs = {("hadamard, graph", "hadamard, connected"): 3.1,
                    ("average, graph", "average, connected"): 2.5,
                    ("hadamard, correlation", "hadamard, connected"): 2.7}  # fmt: skip
    more = _further("S5", [("hadamard, graph", "hadamard, none")])
    for cells, words in _places("S5", "S9"):
        # one node: (1 - a) g W is a fully connected layer less its bias
        equal = difference(cells, "K = 1", "hadamard, connected")
        more += f"; {words}graph of one node, as many weights as connected, {equal}"
    return judge(
        "S7", "SRNet, Table III",
        "graph 79.9 and correlation 79.5 beat fully connected reasoning, 76.8",
        _compared("S5", pairs), more,
    )  # fmt: skip


def _which_edges() -> Claim:
    return judge(
        "S8", "SRNet, III-B", "not sensitive to the choice of A: learned 79.9, correlation 79.5",
        _compared("S8", {("correlation", "learned"): None}, alike),
        _further("S8", [("random", "learned"), ("none", "learned")]),
    )  # fmt: skip


def _how_many_nodes() -> Claim:
    sentence = "the number of nodes K does not influence too much"
    return judge("S9", "SRNet, figure 4a", sentence, _to_first("S9"))


def _reduction() -> Claim:
    pairs: Pairs = {("P = C / 2", f"P = C / {r}"): None for r in (4, 8)}
    sentence = "reducing the channels leads to inferior results"
    return judge("S10", "SRNet, figure 4b", sentence, _compared("S10", pairs))


ZOO = {"non-local": ("non_local", 1.9), "A2": ("double_attention", 1.8),
       "CGNL": ("compact_non_local", 1.7), "RCCA": ("criss_cross", 1.4), "Enc": ("encoding", 2.4),
       "ANN": ("asymmetric_non_local", 1.5), "EMAU": ("em_attention", 2.0)}  # fmt: skip


def _best_of_all() -> Claim:
    modules = {"SR": "squeeze_reasoning", "SE": "squeeze_excite", "FCN": None}
    modules |= {label: module for label, (module, _) in ZOO.items()}
    found = {
        label: [streets(module, seed=seed, budget="quick") for seed in range(3)]
        for label, module in modules.items()
    }
    parts = [pair(found, "SR", label, effect, size) for label, (_, size) in ZOO.items()]
    real = conditions("CamVid")
    parts += [pair(real, "SR", "non-local", effect, 1.9, words="CamVid, ")]
    se, sr = difference(found, "SE", "FCN"), difference(real, "SR", "FCN")
    local = difference(conditions("CamVid, local"), "SR", "FCN")
    return judge(
        "S11", "SRNet, Table IV",
        "SR 79.9 over non-local 78.0, A2 78.1, CGNL 78.2, RCCA 78.5, Enc 77.5, ANN 78.4, EMAU 77.9",
        parts, f"SE against FCN (claimed -0.2) {se}; CamVid, SR against FCN (claimed +5.1) {sr}, "
        f"over features of 67 pixels {local}",
    )  # fmt: skip


def _real_time() -> Claim:
    source = "SRNet, Table V"
    sentence = (
        "SR in the place of PPM in DFSeg: 77.5 over 74.8, with 0.04 M more parameters and 65 "
        "frames a second over 55"
    )
    found = conditions("S17")
    names = {"SR": "squeeze_reasoning", "PPM": "pyramid_pooling"}
    nets = {label: realtime(19, backbone="df2", context=name) for label, name in names.items()}
    more = {label: sum(p.numel() for p in net.parameters()) for label, net in nets.items()}
    # at 1024 x 2048, whose coarsest map is 32 x 64
    slot = {label: count(net.context, (1, 512, 32, 64)).macs / 1e9 for label, net in nets.items()}
    words = (
        f"with DF2 SR has {(more['SR'] - more['PPM']) / 1e6:+.2f} M parameters over PPM; of the "
    )
    words += (
        f"trunk's 74.14 GMACs SR adds {slot['SR'] / 74.14:.1%}, PPM {slot['PPM'] / 74.14:.1%}: "
    )
    words += "no frame rate hangs on that"
    words += f"; on streets SR against no context {difference(found, 'SR', 'none')}"
    return judge("S17", source, sentence, [pair(found, "SR", "PPM", effect, 2.7)], words)


def _classification() -> Claim:
    source, sentence = "SRNet, Table X", "SR 78.1 over SE 77.8, with 2.45 M fewer parameters"
    found = conditions("S20")
    parts = [pair(found, "SR", "SE", effect, 0.3, metric="pixel_accuracy")]
    gate = difference(found, "SR", "none", "pixel_accuracy")
    return judge(
        "S20",
        source,
        sentence,
        parts,
        f"SR against no gate {gate}; the parameters are settled by S21",
    )


CLAIMS: dict[str, Callable[[], Claim]] = {
    "D1": _both_graphs,
    "D2": _projection,
    "D3": _cell,
    "D6": _bare_branch,
    "D7": _laplacian,
    "D8": _fusion,
    "D9": looks.limits_of_an_fcn,
    "D11": _one_image,
    "D14": looks.clusters,
    "S5": _any_vector,
    "S6": _second_order,
    "S7": _reasoning,
    "S8": _which_edges,
    "S9": _how_many_nodes,
    "S10": _reduction,
    "S11": _best_of_all,
    "S12": looks.large_objects,
    "S14": looks.one_concept,
    "S15": looks.consistency,
    "S17": _real_time,
    "S20": _classification,
    "S24": looks.passing_on,
    "X1": looks.which_cue,
    "X4": looks.sum_or_mean,
}
