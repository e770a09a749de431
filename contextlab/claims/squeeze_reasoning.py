"""What is claimed of SRNet: the experiments, the settings that may decide, and the rules.

Setting: the block, its squeezes and its reasonings share backbone, recipe and seeds. Streets may
decide, where the whole block gains 25 points over the same network without it, and CamVid over
features of 67 pixels, where it gains 3.5. Over a frozen backbone that has seen the whole image it
gains nothing, so nothing found there about its parts counts.

Control: the cell without the part in question (no reasoning, no edges, random edges), and a graph
of a single node, which has as many weights as a fully connected layer; of the gain as a whole also
the fair plain network.

Two rules were made stricter after a first look: a channel of one concept owes it more than half of
what the classes explain (S14), and what is below the margin has its direction only (S15).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import nn

from contextlab.costs import bill, count, fit_exponent, lines
from contextlab.modules.pooling import bilinear_pool, hadamard_pool
from contextlab.networks import SRNetHead
from contextlab.networks.realtime import realtime
from contextlab.probes import inside, objects
from contextlab.probes.depth import FORMS, over_smoothing, propagation
from contextlab.runs import FAIR_NAME, build_data, streets

from . import looking
from .entries import entry
from .evidence import Paired, difference, paired
from .experiments import (
    FIVE,
    THREE,
    Cell,
    Experiment,
    Make,
    Question,
    cells_on,
    configs,
    locally,
    on_both,
    on_camvid,
    on_streets,
    register,
)
from .settings import Setting, compare_in, three
from .times import Seconds
from .verdicts import (
    MISPRINT,
    NOT,
    PARTLY,
    REPRODUCED,
    RIGHT,
    UNDECIDED,
    Finding,
    Part,
    alike,
    effect,
    jointly,
    judge,
    pair,
)

SEEDS = 5  # of what is trained here
# Table I: the dilated FCN and the same with the SR head, class by class
FCN_IOU = (97.9, 83.8, 92.3, 49.2, 58.7, 65.3, 72.4, 79.7, 92.1, 61.3, 94.5, 82.5, 62.5, 93.9, 66.0,
           71.1, 51.0, 66.0, 77.8)  # fmt: skip
SR_IOU = (98.3, 85.9, 93.2, 62.2, 62.4, 66.4, 73.2, 81.1, 92.8, 66.3, 94.8, 83.2, 65.0, 95.7, 84.1,
          89.6, 75.1, 67.7, 78.8)  # fmt: skip
BUS = 15


def _sr(**options) -> Cell:
    """The module's own values are left out: one run is one configuration, in every experiment."""
    own = {"squeeze": "hadamard", "reason": "graph", "reduction": 2, "nodes": 16}
    return "squeeze_reasoning", {k: v for k, v in options.items() if own.get(k) != v}


QUESTIONS: dict[str, Question] = {
    "S5": (
        "average or Hadamard squeeze, and which reasoning?",
        {
            f"{squeeze}, {reason}": _sr(squeeze=squeeze, reason=reason)
            for squeeze in ("average", "hadamard")
            for reason in ("none", "connected", "graph", "correlation")
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


LOCAL_QUESTIONS: dict[str, Question] = QUESTIONS | {
    "S9": ("how many nodes?", {f"K = {k}": _sr(nodes=k) for k in (16, 8, 32)}),
    "S10": (
        "how many channels may the squeeze drop?",
        {f"P = C / {r}": _sr(reduction=r) for r in (2, 4, 8)},
    ),
}

register(
    on_both(QUESTIONS)
    | locally(LOCAL_QUESTIONS)
    | {
        "S9": Experiment(
            "how many nodes?",
            cells_on(on_streets, {f"K = {k}": _sr(nodes=k) for k in (8, 1, 32)}),
            FIVE,
        ),
        "S9, CamVid": Experiment(
            "how many nodes, on real streets?",
            cells_on(on_camvid, {f"K = {k}": _sr(nodes=k) for k in (16, 1, 32)}),
            FIVE,
        ),
        "S10": Experiment(
            "how many channels may the squeeze drop?",
            cells_on(on_streets, {f"P = C / {r}": _sr(reduction=r) for r in (2, 4, 8)}),
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
    }
)

CELLS = ("S5", "D1")  # D1 has the network without a module
SETTINGS = STREETS, CAMVID, LOCAL = three(CELLS, "hadamard, graph", "none")
ZOO_ON_CAMVID = Setting("", "CamVid, ", ("CamVid",), "SR", "FCN")
REAL_TIME = Setting("", "", ("S17",), "SR", "none")
CLASSIFIER = Setting("", "", ("S20",), "SR", "none")
#: cells that are not what they are called, by setting and label
EMPTY = {
    ("", "K = 1"): "one node has no neighbour",
    ("", "K = 32"): "of 32 channels 32 nodes hold one each",
    ("", "P = C / 8"): "of 8 channels 8 nodes hold one each",
}


# ---- counts and calculations


def growth_of_two() -> Finding:
    growth = {row["module"]: row for row in bill("SRNet II").rows}
    pixels, vector = growth["non_local"], growth["squeeze_reasoning"]
    a, b = pixels["exponent of N"], vector["exponent of N"]
    edges = [vector[f"edges at {side}²"] for side in (48, 96)]
    holds = round(a, 2) == 2 and round(b, 2) == 1 and edges[0] == edges[1]
    found = f"exponents of N {a:.2f} and {b:.2f}; SR keeps {edges[1]:,} edges at 48² and at 96²"
    return Finding(REPRODUCED if holds else NOT, found)


def growth_of_all() -> Finding:
    expected = {
        "non_local": (2, 2),
        "double_attention": (1, 0),
        "criss_cross": (1.5, 1.5),
        "squeeze_reasoning": (1, 0),
    }
    rows = {row["module"]: row for row in bill("SRNet II").rows}

    def edges(name: str) -> float:
        counts = [rows[name][f"edges at {side}²"] for side in (48, 96)]
        return fit_exponent([48**2, 96**2], counts).exponent

    right = sum(
        abs(rows[name]["exponent of N"] - c) < 0.02 and abs(edges(name) - e) < 0.02
        for name, (c, e) in expected.items()
    )
    mixed = 1 < rows["dual_attention"]["exponent of N"] < 2
    constant = edges("compact_non_local") == 0
    found = (
        f"{right} of 4 rows have one exponent and show it; DANet mixes 1 and 2 "
        f"({rows['dual_attention']['exponent of N']:.2f}); CGNL's affinity is "
        f"{rows['compact_non_local']['edges at 96²']} numbers, G (P + 1) and not P²"
    )
    return Finding(PARTLY if right == 4 and mixed and constant else NOT, found)


def share_of_the_head() -> Finding:
    figures = {(x.row, x.column): x.ours for x in lines("SRNet IV")}
    module, backbone = figures["+SR (GHP)", "FLOPs (G)"], figures["dilated FCN", "FLOPs (G)"]
    head = SRNetHead(2048, 19)
    head.context = nn.Identity()
    rest = count(head, (1, 2048, 96, 96)).macs / 1e9
    found = (
        f"module {module:.2f} G = {module / backbone:.1%}; its head with two 3x3 convolutions and "
        f"the classifier {module + rest:.1f} G = {(module + rest) / backbone:.1%}"
    )
    holds = f"{module:.2f}" == f"{entry('S3').published['module, G']:.2f}"
    holds = holds and f"{module / backbone:.1%}" == "1.5%"
    small = (module + rest) / backbone < 0.05
    return Finding(REPRODUCED if holds and small else PARTLY if holds else NOT, found)


def columns_of_table_iv() -> Finding:
    figures = lines("SRNet IV")
    alike = [x for x in figures if x.prints_alike]
    predicted = [x for x in alike if x.grade == "predicted"]
    apart = [x for x in figures if x.error is not None and abs(x.error) > 0.05]
    apart = [x for x in apart if not x.prints_alike]
    found = (
        f"{len(alike)} of {len(figures)} figures print alike, {len(predicted)} of them predicted; "
        f"{len(apart)} are more than 5 % off"
    )
    verdict = REPRODUCED if len(alike) == len(figures) else PARTLY if predicted else NOT
    return Finding(verdict, found)


def arithmetic_of_table_i() -> Finding:
    printed = entry("S13").published
    bus = SR_IOU[BUS] - FCN_IOU[BUS]
    means = [sum(values) / len(values) for values in (FCN_IOU, SR_IOU)]
    ours = {"bus": bus, "mean, FCN": means[0], "mean, SR": means[1]}
    holds = all(round(value, 1) == printed[name] for name, value in ours.items())
    found = f"bus {bus:.1f} points; class means {means[0]:.2f} and {means[1]:.2f}"
    return Finding(RIGHT if holds else MISPRINT, found)


def speed(seconds: Seconds) -> Finding:
    names = ("non_local", "squeeze_reasoning")
    sides = sorted(
        side for name, side in seconds if name == names[0] and (names[1], side) in seconds
    )
    if len(sides) < 2:
        return Finding(UNDECIDED, "needs measured times")
    n = [side**2 for side in sides]
    slopes = [fit_exponent(n, [seconds[name, side] for side in sides]).exponent for name in names]
    ratio = seconds[names[0], sides[-1]] / seconds[names[1], sides[-1]]
    found = (
        f"at {sides[-1]}² the non-local block takes {ratio:.0f} times as long; "
        f"exponents of N {slopes[0]:.2f} and {slopes[1]:.2f}"
    )
    return Finding(REPRODUCED if ratio > 1 and slopes[0] > slopes[1] else NOT, found)


def columns_of_table_x() -> Finding:
    figures = lines("SRNet X")
    alike = sum(x.prints_alike for x in figures)
    verdict = REPRODUCED if alike == len(figures) else PARTLY if alike else NOT
    return Finding(verdict, f"{alike} of {len(figures)} figures print alike")


def diagonal() -> Finding:
    draw = torch.Generator().manual_seed(0)
    b, c = torch.randn(2, 3, 16, 7, 9, generator=draw, dtype=torch.float64)
    whole = bilinear_pool(b, c, pool="sum")
    apart = (torch.diagonal(whole, dim1=1, dim2=2) - hadamard_pool(b, c, pool="sum")).abs().max()
    found = f"largest difference from the diagonal of B Cᵀ: {apart.item():.0e}"
    return Finding(RIGHT if apart < 1e-12 else NOT, found)


# ---- effects, by finished runs


def any_vector() -> Finding:
    a, b = "average, none", "no gate"
    published = entry("S5").published[f"{a} - {b}"]
    parts, beside = [], ""
    for setting in SETTINGS:
        cells = setting.cells(*CELLS)
        part = pair(cells | {b: cells["none"]}, a, b, effect, published, words=setting.words)
        if part.d.n or setting is not LOCAL:
            parts.append(part)
        else:
            beside = f"{setting.words}not run yet"
    fair = configs("S5") | {FAIR_NAME: configs("plain")[FAIR_NAME]}
    parts.append(pair(fair, a, FAIR_NAME, effect, published))
    return judge(parts, beside)


def second_order() -> Finding:
    pairs = [(f"hadamard, {r}", f"average, {r}") for r in ("none", "connected", "graph")]
    found = compare_in(SETTINGS, CELLS, pairs, published=entry("S6").published)
    apart = [f"{name} {min(looking.head(name)):.0f}" for name in ("SR, average", "SR, Hadamard")]
    found.beside.append(
        f"worst of {looking.HEAD_SEEDS} seeds where colours that meet are the only cue: "
        + "; ".join(apart)
    )
    return found.finding()


def reasoning() -> Finding:
    pairs = [("hadamard, graph", "hadamard, connected"), ("average, graph", "average, connected"),
             ("hadamard, correlation", "hadamard, connected")]  # fmt: skip
    further = [("hadamard, graph", "hadamard, none")]
    found = compare_in(SETTINGS, CELLS, pairs, published=entry("S7").published, further=further)
    # one node: (1 - a) g W is a fully connected layer less its bias
    for setting in (STREETS, CAMVID):
        equal = difference(setting.cells("S5", "S9"), "K = 1", "hadamard, connected")
        found.beside.append(
            f"{setting.words}graph of one node, as many weights as connected, {equal}"
        )
    return found.finding()


def which_edges() -> Finding:
    further = [("random", "learned"), ("none", "learned")]
    found = compare_in(SETTINGS, ["S8"], [("correlation", "learned")], alike, further=further)
    return found.finding()


def how_many_nodes() -> Finding:
    found = compare_in([STREETS], ["S9"], [("K = 1", "K = 8"), ("K = 32", "K = 8")], alike,
                       empty=EMPTY)  # fmt: skip
    real = compare_in([CAMVID], ["S9"], [("K = 1", "K = 16"), ("K = 32", "K = 16")], alike)
    local = compare_in([LOCAL], ["S9"], [("K = 8", "K = 16"), ("K = 32", "K = 16")], alike)
    return (found + real + local).finding()


def reduction() -> Finding:
    pairs = [("P = C / 2", f"P = C / {r}") for r in (4, 8)]
    found = compare_in([STREETS, LOCAL], ["S10"], pairs, empty=EMPTY)
    return found.finding()


ZOO = {"non-local": "non_local", "A2": "double_attention", "CGNL": "compact_non_local",
       "RCCA": "criss_cross", "Enc": "encoding", "ANN": "asymmetric_non_local",
       "EMAU": "em_attention"}  # fmt: skip


def best_of_all() -> Finding:
    modules = {"SR": "squeeze_reasoning", "SE": "squeeze_excite", "FCN": None, **ZOO}
    found = {
        label: [streets(module, seed=seed, budget="quick") for seed in THREE]
        for label, module in modules.items()
    }
    published = entry("S11").published
    parts = [pair(found, "SR", label, effect, published[f"SR - {label}"]) for label in ZOO]
    real = compare_in([ZOO_ON_CAMVID], ["CamVid"], [("SR", "non-local")], published=published)
    local = difference(configs("CamVid, local"), "SR", "FCN")
    fair = found | {FAIR_NAME: configs("plain")[FAIR_NAME]}
    real.beside += [
        f"SE against FCN (claimed -0.2) {difference(found, 'SE', 'FCN')}",
        f"CamVid over features of 67 pixels, SR against FCN (claimed +5.1) {local}",
        str(pair(fair, "SR", FAIR_NAME)),
    ]
    return judge(parts + real.parts, real.more)


def real_time() -> Finding:
    names = {"SR": "squeeze_reasoning", "PPM": "pyramid_pooling"}
    nets = {label: realtime(19, backbone="df2", context=name) for label, name in names.items()}
    more = {label: sum(p.numel() for p in net.parameters()) for label, net in nets.items()}
    # at 1024 x 2048, whose coarsest map is 32 x 64
    slot = {label: count(net.context, (1, 512, 32, 64)).macs / 1e9 for label, net in nets.items()}
    found = compare_in([REAL_TIME], ["S17"], [("SR", "PPM")], published=entry("S17").published)
    found.beside.append(
        f"with DF2 SR has {(more['SR'] - more['PPM']) / 1e6:+.2f} M parameters over PPM; of the "
        f"trunk's 74.14 GMACs SR adds {slot['SR'] / 74.14:.1%}, PPM {slot['PPM'] / 74.14:.1%}: "
        "no frame rate hangs on that"
    )
    return found.finding()


def classification() -> Finding:
    found = compare_in([CLASSIFIER], ["S20"], [("SR", "SE")], published=entry("S20").published,
                       metric="pixel_accuracy")  # fmt: skip
    found.beside.append("the parameters are settled by S21")
    return found.finding()


# ---- effects that want a look into a network, or a small training
def large_objects() -> Finding:
    ours, plain = (streets(name, budget="quick") for name in ("squeeze_reasoning", None))
    models = [looking.model_of(config) for config in (ours, plain)]
    if None in models:
        return looking.without_weights("squeeze_reasoning and the FCN")
    found = objects.by_area(*models, build_data(ours), ours.images)
    parts = []
    groups = {
        "of all objects": found,
        "of objects that pose a demand": found.where(found.demand > 0),
    }
    for words, group in groups.items():
        d = Paired(tuple(group.slopes()))
        parts.append(Part(f"points gained a doubling of the area, {words}", d, effect(d)))
    return judge(parts, "n counts images; one model of each")


def one_concept() -> Finding:
    looked = looking.look(streets("squeeze_reasoning", budget="quick"))
    if looked is None:
        return looking.without_weights("squeeze_reasoning")
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
    return Finding(
        jointly(verdicts),
        f"classes explain {ours.explained.mean():.0%} of a channel of θ(x), with the labels of "
        f"another image {ours.control.mean():.0%}; {ours.above_control:.0%} of the channels beat "
        f"all 20 shuffles. One class alone makes up {purity:.0%} of it, "
        f"{min(others):.0%} to {max(others):.0%} after a rotation of the channels. Of the gates "
        f"{known[0]:.0%} beat the shuffles on the time of day, {known[1]:.0%} on the vehicle "
        "(one model)",
    )


def consistency() -> Finding:
    ours = looking.look(streets("squeeze_reasoning", budget="quick"))
    plain = looking.look(streets(budget="quick"))
    if ours is None or plain is None:
        return looking.without_weights("squeeze_reasoning and the FCN")
    segments = objects.components(ours[2].labels)
    logs = {
        name: 100 * torch.log(inside.unevenness(m, segments))
        for name, m in (("before", ours[2].before), ("after", ours[2].after),
                        ("SR", ours[2].fused), ("FCN", plain[2].fused))
    }  # fmt: skip
    parts = []
    for words, a, b in (("before against after the slot", "before", "after"),
                        ("FCN against SR, a layer later", "FCN", "SR")):  # fmt: skip
        d = paired(logs[a].tolist(), logs[b].tolist())
        parts.append(Part(words, d, effect(d, margin=100 * math.log(1.1))))
    return judge(
        parts,
        "in 100 ln(variance within objects / variance between them), about per cent; n counts "
        "images; one model of each",
    )  # fmt: skip


def passing_on() -> Finding:
    errors = _errors()
    parts = []
    for depth in (1, 8):
        a, b = errors["A", depth], errors["I - A", depth]
        d = paired(a, b)
        words = f"error of A less that of I - A, {depth} layer{'s' * (depth > 1)}"
        parts.append(Part(words, d, effect(d)))
    start = over_smoothing("A", (0,))[0]
    ends = [f"{form} {over_smoothing(form, (8,))[0]:.2f}" for form in FORMS]
    third = sum(errors["I + BN/ReLU(A)", 8]) / SEEDS
    return judge(
        parts,
        f"with I + BN/ReLU(A) {third:.1f} remain of 100 after 8; n counts seeds; squared cosine of "
        f"two nodes, {start:.2f} at first, after 8 untrained layers {', '.join(ends)}",
    )  # fmt: skip


@functools.cache
def _errors() -> dict[tuple[str, int], list[float]]:
    cells = [("A", 1), ("I - A", 1), ("A", 8), ("I - A", 8), ("I + BN/ReLU(A)", 8)]
    return {cell: [propagation(*cell, seed) for seed in range(SEEDS)] for cell in cells}


RULES = {
    "S1": growth_of_two,
    "S2": growth_of_all,
    "S3": share_of_the_head,
    "S4": columns_of_table_iv,
    "S5": any_vector,
    "S6": second_order,
    "S7": reasoning,
    "S8": which_edges,
    "S9": how_many_nodes,
    "S10": reduction,
    "S11": best_of_all,
    "S12": large_objects,
    "S13": arithmetic_of_table_i,
    "S14": one_concept,
    "S15": consistency,
    "S17": real_time,
    "S20": classification,
    "S21": columns_of_table_x,
    "S22": diagonal,
    "S24": passing_on,
}
TIMED = {"S16": speed}
