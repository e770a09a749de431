"""What is claimed of CGRSeg: the experiments, the settings that may decide, and the rules.

Setting: the small CGRSeg on streets, over the course pyramid with maps of strides 4, 8 and 16. All
cells share backbone, recipe and seeds and differ from the whole network in one thing, so that its
runs are the reference of nearly every question. Streets decide if the whole gains something over
the paper's base, in which a 1x1 stands for the calibrated context, nothing is calibrated on the way
back, and a classifier alone is the head. The eight cells of the three parts are all there; the
paper prints five of them: the base, the prototypes, context with prototypes, context with
reconstruction, and the whole. Its strips of 11 pixels cross a map of 64 x 64, those of 7 here one
of 16 x 32. On CamVid both small decoders are fine-tuned on one backbone, and an FCN with them.

Control: the network without the part in question; for the context also that of another image, for
the classes a gate of the same layers that asks pixels (GC's), for the prototypes of an image those
of the data set. Heads and mixers are as wide as the paper's costs say; the heads' other options are
those with which the modules do best in the course's slot. Of the mixers, coordinate attention,
gather-excite and self-attention come once more with the parameters of RCA; with the other two the
network differs by 3 % as it is. Self-attention also runs with scaled logits; our mixer has no table
of positions. The rate is the course's, as the paper's needs more steps.

What is detectable: three seeds find differences of one to three points on streets. Where the paper
prints a point or less there are five, which find about one; below that only the direction can be
judged. Streets ask for pairwise matching more often than natural images do, and that favours heads
and mixers of affinities over the paper's.
"""

from __future__ import annotations

import functools
import math
from itertools import combinations

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import nn

from contextlab import context
from contextlab.costs import bill, lines
from contextlab.probes.confusion import STREETS_PAIRS, by_pair, confusions, mean_iou
from contextlab.probes.objects import components
from contextlab.probes.rectangular import calibrate, draw, rank, shapes
from contextlab.runs import COURSE_OPTIONS, Config, build_data, camvid, find, streets

from . import looking
from .entries import entry
from .evidence import Paired, difference, paired
from .experiments import FIVE, THREE, Experiment, Make, configs, on_streets, register
from .settings import Cells, Setting, compare_in
from .verdicts import (
    MISPRINT,
    NOT,
    PARTLY,
    REPRODUCED,
    RIGHT,
    Finding,
    Part,
    alike,
    effect,
    jointly,
    judge,
    no_worse,
)

DPG = "dynamic_prototype"
CLOSE = FIVE  # seeds where the paper prints a point or less
FLOPS, PARAMETERS = "FLOPs (G)", "parameters (M)"


def _small(head: str | None = DPG, options: dict | None = None, **changed) -> Make:
    """The small CGRSeg on streets; what is as usual is left out: one run is one configuration."""
    setting = {"budget": "quick", "network": "cgrseg", "backbone": "course_pyramid"}
    for name in ("backbone", "backbone_options"):
        if name in changed:
            setting[name] = changed.pop(name)
    options = {**COURSE_OPTIONS.get(head, {}), **(options or {})}
    network = {"variant": "small", **changed}
    return lambda seed: streets(
        head, seed=seed, context_options=options, network_options=network, **setting
    )


def _gather(gather: str) -> Make:
    return _small(mixer_options={"gather": gather})


def _segnext(**setting) -> Make:
    setting = {"backbone": "course_pyramid", **setting, "network": "segnext", "budget": "quick"}
    return lambda seed: streets("hamburger", seed=seed, **setting)


def _fine_tuned(context: str | None, **setting) -> Make:
    return lambda seed: camvid(context, seed=seed, budget="quick", **setting)


def _decoder(context: str, network: str, **options) -> Make:
    """On the maps of strides 8, 16 and 32; no auxiliary head."""
    setting = {"output_stride": 32, "auxiliary": False, "network": network}
    return _fine_tuned(context, network_options=options, **setting)


PARTS = ("context", "reconstruction", "prototypes")
ALL, BASE = " + ".join(PARTS), "base"


def named(parts: frozenset[str]) -> str:
    """Label of the cell with these parts."""
    return " + ".join(part for part in PARTS if part in parts) or BASE


def _with(parts: frozenset[str]) -> Make:
    changed: dict = {} if "context" in parts else {"pyramid": "convolution"}
    changed |= {} if "reconstruction" in parts else {"reconstruct": False}
    return _small(DPG if "prototypes" in parts else None, **changed)


SUBSETS = [frozenset(some) for size in (3, 0, 1, 2) for some in combinations(PARTS, size)]
#: the paper's width of queries and keys in the position attention, and no convolutions around
DUAL = {"reduction": 2, "kernel": None}
HEADS = {
    "DPG": _small(),
    "none": _small(None),
    "non-local": _small("non_local"),
    "DANet": _small("dual_attention", DUAL),
    "Hamburger": _small("hamburger"),
    "GC": _small("gcnet"),
    "SE": _small("squeeze_excite"),
}
MIXERS = {
    "RCA": _small(),
    "ConvNeXt": _small(mixer="convnext"),
    "InceptionNeXt": _small(mixer="inceptionnext"),
    "coordinate attention": _small(mixer="coordinate_attention"),
    "gather-excite": _small(mixer="gather_excite"),
    "self-attention": _small(mixer="self_attention"),
}
#: with as many parameters as RCA has, which strips of 7 give 28 c in each of the five places
EQUAL = {
    "RCA": _small(),
    "coordinate attention": _small(mixer="coordinate_attention", mixer_options={"reduction": 14}),
    "gather-excite": _small(mixer="gather_excite", mixer_options={"reduction": 8}),
    "self-attention": _small(mixer="self_attention", mixer_options={"heads": 1, "width": 7}),
}
DF2 = {"backbone": "df2", "backbone_options": {"width": 0.25, "stem_stride": 2}}

register(
    {
        "C7": Experiment(
            "what do calibrated context, reconstruction and prototypes add, alone and together?",
            {named(parts): _with(parts) for parts in SUBSETS},
            CLOSE,
            planned=True,
        ),
        "C9": Experiment(
            "which head stands best on one decoder?",
            HEADS,
            CLOSE,
            planned=True,
        ),
        "C11": Experiment(
            "which mixer stands best in the calibrating blocks, each as published?",
            MIXERS,
            THREE,
            planned=True,
        ),
        "C16": Experiment(
            "is it the decoder or the backbone?",
            {
                "CGRSeg": _small(),
                "SegNeXt": _segnext(),
                "CGRSeg, DF2": _small(**DF2),
                "SegNeXt, DF2": _segnext(**DF2),
            },
            THREE,
            planned=True,
        ),
        "C1": Experiment(
            "add rows and columns, multiply them, or do neither?",
            {gather: _small() if gather == "add" else _gather(gather)
             for gather in ("add", "multiply", "none")},
            CLOSE,
            planned=True,
        ),
        "C15": Experiment(
            "does the context of the image itself guide the reconstruction?",
            {
                "own": _small(),
                "shuffled": _small(pyramid="shuffled"),
                "none": _small(pyramid="none"),
            },
            THREE,
            planned=True,
        ),
        "C13": Experiment(
            "ask classes or pixels?",
            {"classes": _small(), "pixels": _small(options={"gather": "pixels"})},
            THREE,
            planned=True,
        ),
        "C19": Experiment(
            "do the coarse logits need a loss of their own?",
            {"unsupervised": _small(), "supervised": _small(supervise=True)},
            THREE,
            planned=True,
        ),
        "X3": Experiment(
            "over the same regions, ask them at each pixel or gate all pixels at once?",
            {
                "DPG": _small(supervise=True),
                "OCR": _small("ocr", supervise=True),
                "none": _small(None),
            },
            THREE,
            planned=True,
        ),
        "C11, equal": Experiment(
            "which mixer stands best with as many parameters as RCA?",
            EQUAL,
            THREE,
            planned=True,
        ),
        "C12": Experiment(
            "does self-attention miss the scale of its logits?",
            {
                "RCA": _small(),
                "self-attention": MIXERS["self-attention"],
                "scaled": _small(mixer="self_attention", mixer_options={"scale": True}),
            },
            THREE,
            planned=True,
        ),
        "C3": Experiment(
            "how long should the strips be?",
            {
                "k = 7": _small(),
                "none": _small(strip=None),
                **{f"k = {k}": _small(strip=k) for k in (3, 11, 15)},
            },
            THREE,
            planned=True,
        ),
        "C5": Experiment(
            "how large a window of its own does the gated map need?",
            {
                "3": _small(),
                "none": _small(mixer_options={"local": None}),
                **{str(k): _small(mixer_options={"local": k}) for k in (1, 5)},
            },
            CLOSE,
            planned=True,
        ),
        "C16, CamVid": Experiment(
            "on real streets, over a backbone that is fine-tuned?",
            {
                "CGRSeg": _decoder(DPG, "cgrseg", variant="small"),
                "SegNeXt": _decoder("hamburger", "segnext"),
                "FCN": _fine_tuned(None),
            },
            THREE,
            planned=True,
        ),
        "C, slot": Experiment(
            "what do rows and columns, and prototypes of classes, tell in the slot?",
            {
                "RCA": on_streets("rectangular_attention"),
                "RCM": on_streets("rectangular_calibration"),
                "DPG": on_streets(DPG),
            },
            THREE,
        ),
    }
)  # fmt: skip

STREETS = Setting("", "", ("C7",), ALL, BASE)
EQUALLY = Setting("", "with RCA's parameters, ", ("C7",), ALL, BASE)
CAMVID = Setting(", CamVid", "CamVid, ", ("C16",), "CGRSeg", "FCN")

# Tables 1 to 3: mIoU, GFLOPs, and in Table 1 images a second
TABLE_1 = {
    "SegNeXt-T": (41.1, 6.6, 123.5),
    "SeaFormer-L": (42.7, 6.5, 142.3),
    "CGRSeg-T": (43.6, 4.0, 138.4),
    "SegNeXt-S": (44.3, 15.9, 91.1),
    "SegFormer-B1": (42.2, 15.9, 96.0),
    "PEM-STDC2": (45.0, 19.3, None),
    "CGRSeg-B": (45.5, 7.6, 98.4),
    "SegFormer-B2": (46.5, 62.4, 70.4),
    "MaskFormer": (46.7, 55.0, None),
    "Mask2Former": (47.7, 74.0, None),
    "CGRSeg-L": (48.3, 14.9, 73.0),
}
# row: the other method, its mIoU and ours
MARGINS = (
    ("COCO-Stuff, T", "SegNeXt-T", 38.7, 42.2),
    ("COCO-Stuff, B", "SegNeXt-S", 42.2, 43.5),
    ("COCO-Stuff, L", "SegNeXt-B", 45.8, 46.0),
    ("Pascal Context, T", "SegNeXt-T", 53.3, 54.1),
    ("Pascal Context, B", "SegNeXt-S", 56.1, 56.5),
)
# what section 4.3 says of SenFormer, which Table 3 prints twice
SENFORMER = {"smaller": 54.3, "larger": 56.6}


def add_or_multiply() -> Finding:
    pairs = [("add", "multiply"), ("add", "none"), ("multiply", "none")]
    return compare_in([STREETS], ["C1"], pairs, published=entry("C1").published).finding()


def rectangles() -> Finding:
    """Ranks before any strip, and what both forms hold when vectors are free."""
    forms, ranks, ious = ("add", "multiply"), {}, {}
    for gather in forms:
        torch.manual_seed(0)
        block = context("rectangular_attention", 8, gather=gather)
        regions = block.region(torch.randn(4, 8, 24, 32)).flatten(0, 1)
        ranks[gather] = {rank(region) for region in regions.detach()}
    for name, shape in shapes().items():
        ious[name] = [draw(shape, gather=gather).iou for gather in forms]
    holds = [ranks["add"] == {2}, ranks["multiply"] == {1}]
    # the claim is that a rectangle needs the sum, and that the sum models rectangles
    holds.append(ious["rectangle"][0] > 0.99 > ious["rectangle"][1])
    told = ", ".join(f"{name} {a:.2f} and {b:.2f}" for name, (a, b) in ious.items())
    return Finding(
        RIGHT if all(holds) else PARTLY if any(holds) else NOT,
        f"the ranks are {max(ranks['add'])} and {max(ranks['multiply'])}, and yet a rectangle is "
        f"of rank {rank(shapes()['rectangle'])} and needs no sum; IoU of a sum's and of a "
        f"product's gate, vectors free: {told}",
    )


def strips() -> Finding:
    longest = {"k = 11 - none": entry("C3").published["11 - none"]}
    gains = [("k = 11", "none"), ("k = 11", "k = 3")]
    further = [("k = 7", "none"), ("k = 7", "k = 3")]
    found = compare_in([STREETS], ["C3"], gains, published=longest, further=further)
    return (found + compare_in([STREETS], ["C3"], [("k = 15", "k = 11")], alike)).finding()


def strips_cost() -> Finding:
    """What two pixels more cost a strip: nothing that anyone would see."""
    rows = {row["row"]: row for row in bill("CGRSeg 10").rows}
    step = rows["k = 13"][FLOPS] - rows["k = 11"][FLOPS]
    share = step / rows["k = 11"][FLOPS]
    return Finding(
        NOT if share < 0.01 else REPRODUCED,
        f"strips of 13 for 11 cost {step:.4f} G of {rows['k = 11'][FLOPS]:.3f} ({share:.2%}); from "
        f"3 to 11 they cost {rows['k = 11'][FLOPS] - rows['k = 3'][FLOPS]:.3f} G",
    )


def windows() -> Finding:
    sizes = entry("C5").published
    published = {"3 - none": sizes["3 - none"], "none - 1": -sizes["1 - none"]}
    pairs = [("3", "none"), ("none", "1"), ("3", "5")]
    return compare_in([STREETS], ["C5"], pairs, published=published).finding()


@functools.cache
def _bent() -> dict[str, tuple[float, float, float]]:
    """IoU of a shape's means, of one pair of strips on them, and of two modules."""
    chosen, found = ("disc", "L", "two rectangles", "diagonal"), {}
    for name in chosen:
        shape = shapes()[name]
        plain, strips = (draw(shape, vectors="means", strip=k).iou for k in (None, 11))
        found[name] = plain, strips, calibrate(shape, blocks=2).iou
    return found


def other_shapes() -> Finding:
    """Means of rows and columns cut at a threshold, and what strips of 11 make of them."""
    found = _bent()
    bent = [name for name, (plain, *_) in found.items() if plain < 0.9]
    verdicts = [
        REPRODUCED if found[name][k] > max(0.9, found[name][0]) else NOT
        for name in bent
        for k in (1, 2)
    ]
    told = "; ".join(f"{n} {a:.2f}, {b:.2f}, {c:.2f}" for n, (a, b, c) in found.items())
    return Finding(
        jointly(verdicts or [NOT]),
        f"IoU of the means alone, with one pair of strips, and after two whole modules: {told}; "
        "fits to one shape each, which zero padding helps",
    )


def _main(cells: Cells, part: str) -> Paired | None:
    """What a part adds on average over the four cells without it, seed by seed."""
    pairs = [(named(some | {part}), named(some)) for some in SUBSETS if part not in some]
    found = [difference(cells, a, b) for a, b in pairs]
    if any(d.missing for d in found):
        return None
    return Paired(tuple(math.fsum(d) / len(d) for d in zip(*(d.differences for d in found))))


def three_parts() -> Finding:
    gains = entry("C7").published
    with_prototypes, without = "context + prototypes", "context + reconstruction"
    published = {
        f"{with_prototypes} - prototypes": gains["context"],
        f"{ALL} - {with_prototypes}": gains["reconstruction"],
        f"prototypes - {BASE}": gains["prototypes"],
        f"{ALL} - {without}": 1.04,
    }
    pairs = [(with_prototypes, "prototypes"), (ALL, with_prototypes), ("prototypes", BASE)]
    pairs.append((ALL, without))
    found = compare_in([STREETS], ["C7"], pairs, published=published, further=[(ALL, BASE)])
    effects = {part: _main(STREETS.cells("C7"), part) for part in PARTS}
    if all(effects.values()):
        told = ", ".join(f"{part} {d}" for part, d in effects.items())
        found.beside.append(f"averaged over all cells of the other two: {told}")
    return found.finding()


def parts_cost() -> Finding:
    """The steps between the rows of Table 4, printed and counted."""
    found = {(x.row, x.column): x for x in lines("CGRSeg 4")}
    steps = {
        "context": ("DPG, RCM (PCE)", "DPG"),
        "reconstruction": ("all", "DPG, RCM (PCE)"),
        "prototypes": ("all", "RCM (SFR), RCM (PCE)"),
    }
    alike, told = [], []
    for part, (more, less) in steps.items():
        for column, unit in ((FLOPS, "G"), (PARAMETERS, "M")):
            a, b = found[more, column], found[less, column]
            alike.append(abs((a.ours - b.ours) - (a.published - b.published)) < 0.011)
            told.append(f"{a.ours - b.ours:.3f} {unit}")
        told[-2:] = [f"{part} {' and '.join(told[-2:])}"]
    exact = found["all", PARAMETERS].ours - found["RCM (SFR), RCM (PCE)", PARAMETERS].ours
    free = exact > 0  # printed as 0: rows without prototypes hold their module all the same
    return Finding(
        jointly(REPRODUCED if x else NOT for x in [*alike[:5], not free]),
        f"{'; '.join(told)}: the prototypes' FLOPs are a second pass of the classifier, and their "
        f"parameters {exact:.3f} M, which the rows without them must have held too",
    )


def best_head() -> Finding:
    pairs = [("DPG", label) for label in HEADS if label not in ("DPG", "none")]
    further = [("DPG", "none"), ("none", "non-local"), ("none", "Hamburger")]
    published = entry("C9").published
    return compare_in([STREETS], ["C9"], pairs, published=published, further=further).finding()


def heads_with_products() -> Finding:
    figures = {x.row: x for x in lines("CGRSeg heads") if x.grade != "not reproducible"}
    alike = all(x.prints_alike for x in figures.values())
    ours = [x.ours for x in figures.values()]
    nl, da = (figures[row].true - figures["GC"].true for row in ("Non-local", "DAHead"))
    verdict = NOT if not alike else PARTLY if max(nl, da) > 0.15 else REPRODUCED
    return Finding(
        verdict,
        f"without matrix products the heads differ by {max(ours) - min(ours):.2f} G at most; with "
        f"them the non-local head adds {nl:.2f} G and DANet's {da:.2f} G",
    )


def best_mixer() -> Finding:
    published = entry("C11").published
    pairs = [tuple(words.split(" - ")) for words in published]
    equal = [(a, b) for a, b in pairs if b in EQUAL]
    found = compare_in([STREETS], ["C11"], pairs, published=published)
    return (found + compare_in([EQUALLY], ["C11, equal"], equal, published=published)).finding()


def worst_mixer() -> Finding:
    worst, published = "self-attention", dict(entry("C12").published)
    published |= {"ConvNeXt - self-attention": 1.7, "InceptionNeXt - self-attention": 1.7,
                  "coordinate attention - self-attention": 1.6,
                  "gather-excite - self-attention": 1.8}  # fmt: skip
    pairs = [(label, worst) for label in MIXERS if label != worst]
    found = compare_in([STREETS], ["C11"], pairs, published=published)
    scaled = [("RCA", "scaled")]
    size = {"RCA - scaled": published["RCA - self-attention"]}
    further = [("scaled", worst)]
    found += compare_in([STREETS], ["C12"], scaled, published=size, further=further)
    return (found + compare_in([EQUALLY], ["C11, equal"], [("RCA", worst)])).finding()


def _swapped(config: Config) -> float | None:
    """Points of look-alikes' pixels that carry the other one's name, a mean over the pairs."""
    run = find(config)
    if run is None:
        return None
    rows = by_pair(np.array(run.metrics.confusion), run.metrics.classes, STREETS_PAIRS)
    return 100 * math.fsum(row["swapped"] for row in rows) / len(rows)


def classes_or_pixels() -> Finding:
    found = compare_in([STREETS], ["C13"], [("classes", "pixels")])
    cells = configs("C13")
    shares = {label: [_swapped(config) for config in cells[label]] for label in cells}
    there = [(a, b) for a, b in zip(shares["pixels"], shares["classes"]) if None not in (a, b)]
    d = Paired(tuple(a - b for a, b in there), planned=len(cells["pixels"]))
    if found.parts:
        words = "look-alikes taken for each other, pixels against classes"
        found.parts.append(Part(words, d, effect(d)))
    return found.finding()


class GivenPrototypes(nn.Module):
    """A CGRSeg whose head takes the prototypes of a data set, or of the image before.

    Args:
        network: with a prototype head.
        prototypes: ``1 c k`` for all images; None: each image gets those of the one before it.
    """

    def __init__(self, network: nn.Module, prototypes: torch.Tensor | None) -> None:
        super().__init__()
        self.network, self.given = network, prototypes

    def forward(self, x):
        y, given = self.network.features(x), self.given
        if given is None:
            given = self.network.head.prototypes(y).roll(1, 0)
        return self.network.answer(x, self.network.head(y, given))


@torch.inference_mode()
def mean_prototypes(network: nn.Module, dataset, images: int, *, batch: int = 16) -> torch.Tensor:
    """The prototypes of a network's head, a mean over the first images: ``1 c k``."""
    network.eval()
    numbers = range(min(images, len(dataset)))
    found = [
        network.head.prototypes(network.features(torch.stack([dataset[i][0] for i in part])))
        for part in (numbers[k : k + batch] for k in numbers[::batch])
    ]
    return torch.cat(found).mean(0, keepdim=True)


def own_prototypes() -> Finding:
    scores: dict[str, list[float]] = {"own": [], "data set": [], "another image": []}
    for config in configs("C16")["CGRSeg"]:
        network = looking.model_of(config)
        if network is None:
            return looking.without_weights("the small CGRSeg")
        dataset = build_data(config)
        mean = mean_prototypes(network, build_data(config, "train"), looking.IMAGES)
        given = [network, GivenPrototypes(network, mean), GivenPrototypes(network, None)]
        for label, model in zip(scores, given):
            found = confusions(model, dataset, looking.IMAGES)["all"]
            scores[label].append(100 * mean_iou(found))
    parts = []
    for label in ("data set", "another image"):
        d = paired(scores["own"], scores[label])
        parts.append(Part(f"own prototypes against those of the {label}", d, effect(d)))
    return judge(parts, "n counts models")


def context_guides() -> Finding:
    pairs = [("own", "none"), ("own", "shuffled")]
    return compare_in([STREETS], ["C15"], pairs, further=[("shuffled", "none")]).finding()


def other_backbones() -> Finding:
    size = entry("C16").published["CGRSeg - SegNeXt"]
    pairs = [("CGRSeg", "SegNeXt"), ("CGRSeg, DF2", "SegNeXt, DF2")]
    published = {f"{a} - {b}": size for a, b in pairs}
    found = compare_in([STREETS], ["C16"], pairs, published=published)
    real = compare_in([CAMVID], ["C16"], pairs[:1], published=published)
    return (found + real).finding()


def variants_cost() -> Finding:
    found = [x for x in lines("CGRSeg 1") if x.row.startswith("CGRSeg")]
    whole = [x for x in found if "6 modules" not in x.row]
    other = [x for x in found if "6 modules" in x.row]
    holds = [x.prints_alike for x in whole]
    told = ", ".join(f"{x.row} {x.ours:.3f} {x.column[-2]}" for x in whole)
    six = ", ".join(f"{x.ours:.3f}" for x in other)
    true = ", ".join(f"{x.true:.2f}" for x in whole if x.column == FLOPS)
    return Finding(
        REPRODUCED if all(holds) else PARTLY if any(holds) else NOT,
        f"{told}; B with the 6 modules of its configuration has {six}; with the products, which "
        f"the printed column leaves out, the networks take {true} GMACs",
    )


def fewer_flops() -> Finding:
    """The shares of the abstract and of section 4.3, from the rows of Table 1."""

    def share(ours: str, other: str) -> float:
        return 100 * TABLE_1[ours][1] / TABLE_1[other][1]

    said = {
        "less than SeaFormer-L": (38, 100 - share("CGRSeg-T", "SeaFormer-L")),
        "of PEM-STDC2": (39, share("CGRSeg-B", "PEM-STDC2")),
        "of MaskFormer": (27, share("CGRSeg-L", "MaskFormer")),
        "of Mask2Former": (20, share("CGRSeg-L", "Mask2Former")),
    }
    told = ", ".join(f"{ours:.1f} % {words}" for words, (_, ours) in said.items())
    return Finding(RIGHT if all(abs(a - b) < 1 for a, b in said.values()) else MISPRINT, told)


def without_supervision() -> Finding:
    pairs = [("unsupervised", "supervised")]
    return compare_in([STREETS], ["C19"], pairs, no_worse).finding()


def throughput() -> Finding:
    """Within each third of Table 1, who answers more images a second; a V100, as printed."""
    rivals = {
        "CGRSeg-T": ("SegNeXt-T", "SeaFormer-L"),
        "CGRSeg-B": ("SegNeXt-S", "SegFormer-B1"),
        "CGRSeg-L": ("SegFormer-B2",),
    }
    speed = {row: values[2] for row, values in TABLE_1.items()}
    slower = [
        f"{name} {speed[name]} against {rival}'s {speed[rival]}"
        for name, others in rivals.items()
        for rival in others
        if speed[name] < speed[rival]
    ]
    return Finding(
        PARTLY if slower else REPRODUCED,
        f"in print it fails for {'; '.join(slower)}" if slower else "it holds in print",
    )


def margins() -> Finding:
    gains = {row: ours - other for row, _, other, ours in MARGINS}
    ours = MARGINS[-1][3]  # B on Pascal Context
    told = ", ".join(f"{row} {gain:+.1f}" for row, gain in gains.items())
    senformer = ", ".join(f"{ours - other:+.1f}" for other in SENFORMER.values())
    return Finding(
        RIGHT if min(gains.values()) > 0 else MISPRINT,
        f"over SegNeXt: {told}; over the two SenFormers that the same table prints, B is "
        f"{senformer}",
    )


EDGE = 2  # pixels on either side of a border


def _masks(config: Config) -> tuple[float, float, float] | None:
    """Pieces a piece, and points of pixels that are wrong near borders and away from them."""
    network = looking.model_of(config)
    if network is None:
        return None
    dataset = build_data(config)
    pieces, wrong, seen = [0, 0], [0, 0], [0, 0]
    with torch.inference_mode():
        for i in range(min(looking.IMAGES, len(dataset))):
            image, labels = dataset[i]
            said = network.eval()(image[None]).argmax(1)[0]
            for k, each in enumerate((said, labels)):
                pieces[k] += int(components(each[None]).max()) + 1
            edge = near_borders(labels)
            for k, part in enumerate((edge, ~edge)):
                wrong[k] += int((said != labels)[part].sum())
                seen[k] += int(part.sum())
    return pieces[0] / pieces[1], *(100 * a / b for a, b in zip(wrong, seen))


def near_borders(labels: torch.Tensor) -> torch.Tensor:
    """Pixels of an ``h w`` of labels that lie within two pixels of another label."""
    border = torch.zeros_like(labels, dtype=torch.bool)
    for here, there in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        differ = here != there
        rows, columns = differ.shape
        border[-rows:, -columns:] |= differ
        border[:rows, :columns] |= differ
    return torch.from_numpy(binary_dilation(border.numpy(), iterations=EDGE - 1))


def complete_masks() -> Finding:
    cells = {label: configs("C16")[label] for label in ("SegNeXt", "CGRSeg")}
    found = {label: [_masks(config) for config in cells[label]] for label in cells}
    if any(each is None for values in found.values() for each in values):
        return looking.without_weights("the small CGRSeg and SegNeXt")
    theirs, ours = (list(zip(*values)) for values in found.values())
    near = f"wrong within {EDGE} pixels of a border"
    names = ("pieces in 100 true ones", near, "wrong elsewhere")
    parts = []
    for k, words in enumerate(names):
        scale = 1 if k else 100
        d = paired([scale * v for v in theirs[k]], [scale * v for v in ours[k]])
        parts.append(Part(f"{words}, SegNeXt against CGRSeg", d, effect(d)))
    return judge(parts, "n counts models")


def _same_regions() -> float:
    """The largest difference between OCR's and DPG's nodes over the same logits."""
    torch.manual_seed(0)
    x, logits = torch.randn(2, 8, 5, 7).double(), torch.randn(2, 3, 5, 7).double()
    regions = context("ocr", 8, regions=None).double().gather(x, logits)
    prototypes = context(DPG, 8, regions=None).double().prototypes(x, logits)
    return (regions.flatten(2) - prototypes).abs().max().item()


def pixel_or_gate() -> Finding:
    pairs = [("OCR", "none"), ("DPG", "none"), ("OCR", "DPG")]
    found = compare_in([STREETS], ["X3"], pairs)
    found.beside.append(f"nodes of both over the same logits differ by {_same_regions():.0e}")
    return found.finding()


RULES = {
    "C1": add_or_multiply,
    "C2": rectangles,
    "C3": strips,
    "C4": strips_cost,
    "C5": windows,
    "C6": other_shapes,
    "C7": three_parts,
    "C8": parts_cost,
    "C9": best_head,
    "C10": heads_with_products,
    "C11": best_mixer,
    "C12": worst_mixer,
    "C13": classes_or_pixels,
    "C14": own_prototypes,
    "C15": context_guides,
    "C16": other_backbones,
    "C17": variants_cost,
    "C18": fewer_flops,
    "C19": without_supervision,
    "C20": throughput,
    "C21": margins,
    "C22": complete_masks,
    "X3": pixel_or_gate,
}
