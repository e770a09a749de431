"""Claims about costs and identities, settled by counting, by arithmetic, or by comparing outputs.

Nothing here is trained. Every verdict is computed from the numbers beside it when it is asked for,
so it changes if a module changes. Claims about speed want measurements, which ``benchmarks`` makes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import nn

from contextlab import context
from contextlab.modules.pooling import bilinear_pool, hadamard_pool
from contextlab.networks import SRNetHead

from .bill import bill, lines
from .counting import count
from .fitting import fit_exponent
from .report import REPORT_IOU, REPORT_MIOU
from .table import Table

REPRODUCED, NOT, PARTLY, UNDECIDED = "reproduced", "not reproduced", "in part", "undecided"
VERDICTS = (REPRODUCED, NOT, PARTLY, UNDECIDED)
# SRNet Table I: the dilated FCN and the same with the SR head, class by class
FCN_IOU = (97.9, 83.8, 92.3, 49.2, 58.7, 65.3, 72.4, 79.7, 92.1, 61.3, 94.5, 82.5, 62.5, 93.9, 66.0,
           71.1, 51.0, 66.0, 77.8)  # fmt: skip
SR_IOU = (98.3, 85.9, 93.2, 62.2, 62.4, 66.4, 73.2, 81.1, 92.8, 66.3, 94.8, 83.2, 65.0, 95.7, 84.1,
          89.6, 75.1, 67.7, 78.8)  # fmt: skip
TRUCK, BUS, TRAIN = 14, 15, 16
#: seconds of one forward pass by (module, side of the map)
Seconds = Mapping[tuple[str, int], float]


@dataclass(frozen=True)
class Claim:
    """A sentence of a source and what became of it.

    Args:
        name: short name, such as "S22".
        source: paper and place.
        sentence: what is claimed, with its numbers.
        found: what we count or compute.
        verdict: one of `VERDICTS`.
    """

    name: str
    source: str
    sentence: str
    found: str
    verdict: str


def claims(seconds: Seconds | None = None) -> list[Claim]:
    """All claims that counting can settle, and two that need measured times.

    Args:
        seconds: forward times by (name in the catalogue, side), all from one run of
            ``benchmarks/modules.py``; without them S16 is undecided and X5 leaves time out.

    Returns:
        the claims in the order of the sources.

    Example:
        >>> [claim.name for claim in claims() if claim.verdict == "undecided"]
        ['S16']
    """
    return [make(seconds) for make in _CLAIMS]


def ledger(seconds: Seconds | None = None) -> Table:
    """The claims as a table: name, sentence, finding, verdict."""
    rows = [
        {"claim": c.name, "sentence": c.sentence, "found": c.found, "verdict": c.verdict}
        for c in claims(seconds)
    ]
    return Table(rows, title="Claims about costs and identities")


def kendall(a: list[float], b: list[float]) -> float:
    """Kendall's tau-a: the share of pairs in the same order minus that in the opposite order."""
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"expected two lists of one length of at least 2, got {len(a)}, {len(b)}")
    pairs = list(itertools.combinations(range(len(a)), 2))

    def sign(v: float) -> int:
        return (v > 0) - (v < 0)

    return sum(sign(a[i] - a[j]) * sign(b[i] - b[j]) for i, j in pairs) / len(pairs)


def _growth_of_two(seconds: Seconds | None) -> Claim:
    growth = {row["module"]: row for row in bill("SRNet II").rows}
    pixels, vector = growth["non_local"], growth["squeeze_reasoning"]
    a, b = pixels["exponent of N"], vector["exponent of N"]
    edges = [vector[f"edges at {side}²"] for side in (48, 96)]
    holds = round(a, 2) == 2 and round(b, 2) == 1 and edges[0] == edges[1]
    found = f"exponents of N {a:.2f} and {b:.2f}; SR keeps {edges[1]:,} edges at 48² and at 96²"
    return Claim(
        "S1",
        "SRNet, Table II",
        "a non-local block costs O(C N²), SR O(C N) with affinities O(K² + M²)",
        found,
        REPRODUCED if holds else NOT,
    )


def _growth_of_all(seconds: Seconds | None) -> Claim:
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
    verdict = PARTLY if right == 4 and mixed and constant else NOT
    return Claim("S2", "SRNet, Table II", "the growth of all six methods", found, verdict)


def _share_of_the_head(seconds: Seconds | None) -> Claim:
    figures = {(x.row, x.column): x.ours for x in lines("SRNet IV")}
    module, backbone = figures["+SR (GHP)", "FLOPs (G)"], figures["dilated FCN", "FLOPs (G)"]
    head = SRNetHead(2048, 19)
    head.context = nn.Identity()
    rest = count(head, (1, 2048, 96, 96)).macs / 1e9
    found = (
        f"module {module:.2f} G = {module / backbone:.1%}; its head with two 3x3 convolutions and "
        f"the classifier {module + rest:.1f} G = {(module + rest) / backbone:.1%}"
    )
    holds = f"{module:.2f}" == "3.64" and f"{module / backbone:.1%}" == "1.5%"
    small = (module + rest) / backbone < 0.05
    verdict = REPRODUCED if holds and small else PARTLY if holds else NOT
    return Claim(
        "S3", "SRNet, Table I", "the SR head adds 3.64 G, 1.5 % of 241.05 G", found, verdict
    )


def _columns_of_table_iv(seconds: Seconds | None) -> Claim:
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
    return Claim("S4", "SRNet, Table IV", "FLOPs, parameters and memory", found, verdict)


def _arithmetic_of_table_i(seconds: Seconds | None) -> Claim:
    bus = SR_IOU[BUS] - FCN_IOU[BUS]
    means = [sum(values) / len(values) for values in (FCN_IOU, SR_IOU)]
    found = f"bus {bus:.1f} points; class means {means[0]:.2f} and {means[1]:.2f}"
    holds = round(bus, 1) == 17.4 and round(means[0], 1) == 74.8 and round(means[1], 1) == 79.9
    return Claim(
        "S13", "SRNet, Table I", "bus gains 17.4; means 74.8 and 79.9", found,
        REPRODUCED if holds else NOT,
    )  # fmt: skip


def _speed(seconds: Seconds | None) -> Claim:
    sentence = "SR is faster than a non-local block at high resolution"
    names = ("non_local", "squeeze_reasoning")
    sides = sorted(
        side for name, side in seconds or () if name == names[0] and (names[1], side) in seconds
    )
    if len(sides) < 2:
        return Claim("S16", "SRNet, figure 5a", sentence, "needs measured times", UNDECIDED)
    n = [side**2 for side in sides]
    slopes = [fit_exponent(n, [seconds[name, side] for side in sides]).exponent for name in names]
    ratio = seconds[names[0], sides[-1]] / seconds[names[1], sides[-1]]
    found = (
        f"at {sides[-1]}² the non-local block takes {ratio:.0f} times as long; "
        f"exponents of N {slopes[0]:.2f} and {slopes[1]:.2f}"
    )
    verdict = REPRODUCED if ratio > 1 and slopes[0] > slopes[1] else NOT
    return Claim("S16", "SRNet, figure 5a", sentence, found, verdict)


def _columns_of_table_x(seconds: Seconds | None) -> Claim:
    figures = lines("SRNet X")
    alike = sum(x.prints_alike for x in figures)
    found = f"{alike} of {len(figures)} figures print alike"
    verdict = REPRODUCED if alike == len(figures) else PARTLY if alike else NOT
    return Claim("S21", "SRNet, Table X", "parameters and GFLOPs", found, verdict)


def _diagonal(seconds: Seconds | None) -> Claim:
    draw = torch.Generator().manual_seed(0)
    b, c = torch.randn(2, 3, 16, 7, 9, generator=draw, dtype=torch.float64)
    whole = bilinear_pool(b, c, pool="sum")
    apart = (torch.diagonal(whole, dim1=1, dim2=2) - hadamard_pool(b, c, pool="sum")).abs().max()
    found = f"largest difference from the diagonal of B Cᵀ: {apart.item():.0e}"
    return Claim(
        "S22", "SRNet, eq. 3 and 4", "Hadamard pooling is a compact bilinear pooling", found,
        REPRODUCED if apart < 1e-12 else NOT,
    )  # fmt: skip


class _CellsFirst(nn.Module):
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


def _two_orders(seconds: Seconds | None) -> Claim:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 24, 40, dtype=torch.float64)
    graph = context("coordinate_graph", 16, zero_init=False).double().eval()
    official = context("coordinate_graph", 16, zero_init=False, affinity="softmax").double().eval()
    official.load_state_dict(graph.state_dict())
    with torch.no_grad():
        ours, direct = graph.answer(graph.cells(x)), _CellsFirst(graph)(x)
        apart = ((ours - direct).abs().max() / direct.abs().max()).item()
        direct = _CellsFirst(graph, softmax=True)(x)
        other = (official.answer(official.cells(x)) - direct).abs().max() / direct.abs().max()
        other = other.item()
    sides = (128, 256, 512)
    wide, growth = context("coordinate_graph", 64), []
    for module in (_CellsFirst(wide), wide):
        macs = [count(module, (1, 64, side, side)).macs for side in sides]
        growth.append(fit_exponent([side**2 for side in sides], macs).exponent)
    found = (
        f"the two orders differ by {apart:.0e} of the answer; from {sides[0]}² to {sides[-1]}² "
        f"pixels MACs grow with HW to the power {growth[0]:.2f} and {growth[1]:.2f}; with a "
        f"soft-max in between by {other:.1f} of the answer"
    )
    holds = apart < 1e-10 and round(growth[1], 2) == 1 and growth[0] > 1.5 and other > 0.1
    return Claim(
        "D4", "DGCNet, coordinate space", "another order turns O((HW)²) into O(HW)", found,
        REPRODUCED if holds else NOT,
    )  # fmt: skip


def _size_of_cells(seconds: Seconds | None) -> Claim:
    sizes, right = [], True
    for h, w, d in ((96, 96, 8), (96, 192, 8), (64, 64, 4)):
        graph = context("coordinate_graph", 8, cell=d)
        row = graph.affinity(torch.zeros(1, 8, h, w), query=(0, 0))
        sizes.append(row.numel() ** 2)
        right = right and row.numel() ** 2 == (h * w // d**2) ** 2
    found = f"{sizes[0]:,} numbers at 96 x 96 and d = 8, against {96**4:,} between all pixels"
    return Claim(
        "D5", "DGCNet, coordinate space", "A_S has (HW / d²)² entries", found,
        REPRODUCED if right else NOT,
    )  # fmt: skip


def _mean_of_the_report(seconds: Seconds | None) -> Claim:
    mean = sum(REPORT_IOU.values()) / len(REPORT_IOU)
    slack = 0.00005  # the classes are rounded to four digits
    found = f"the {len(REPORT_IOU)} classes have the mean {mean:.5f}"
    if round(mean, 4) == REPORT_MIOU:
        verdict = REPRODUCED
    else:  # within what rounding the classes can do?
        verdict = PARTLY if abs(mean - REPORT_MIOU) < 2 * slack else NOT
        found += ", which rounds otherwise in the last digit"
    return Claim(
        "D12", "DGCNet, reproduction report", f"the mean IoU of its table is {REPORT_MIOU:.4f}",
        found, verdict,
    )  # fmt: skip


def _heads_with_products(seconds: Seconds | None) -> Claim:
    figures = {x.row: x for x in lines("CGRSeg heads")}
    alike = all(x.prints_alike for x in figures.values())
    nl, da = figures["Non-local"].true, figures["DAHead"].true
    largest = max(x.ours for x in figures.values())
    found = (
        f"without matrix products the heads differ by {largest:.2f} G at most; with them the "
        f"non-local head adds {nl:.2f} G and DANet's {da:.2f} G"
    )
    verdict = NOT if not alike else PARTLY if max(nl, da) > 0.15 else REPRODUCED
    return Claim(
        "C10", "CGRSeg, Table 6", "all heads cost between 3.9 and 4.05 GFLOPs", found, verdict
    )


def _two_names_for_one(seconds: Seconds | None) -> Claim:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    glore = context("glore", 16, zero_init=False).double().eval()
    glore.norm = nn.Identity()
    with torch.no_grad():
        # DGCNet, feature space: V = φ(X) θ(X), M = (I - A) V W, and back with φ
        phi, theta = (rearrange(f(x), "b d h w -> b d (h w)") for f in (glore.theta, glore.phi))
        v = einsum(phi, theta, "b n i, b d i -> b n d") / phi.shape[2]
        y = einsum(glore.talk(v), phi, "b n d, b n i -> b d i")
        y = glore.out(rearrange(y, "b d (h w) -> b d h w", h=5))
        first = (glore(x) - x - y).abs().max()

        sr = context("squeeze_reasoning", 16, nodes=4, reason="none", pool="sum", norm=True)
        compact = context("compact_non_local", 16, groups=8, zero_init=False)
        compact.theta, compact.phi, compact.g = sr.theta, sr.phi, sr.gamma
        compact.out, compact.norm = sr.out, sr.norm
        second = (sr.double()(x) - compact.double()(x)).abs().max()
    found = (
        f"GloRe against the feature branch with the same weights: {first.item():.0e}; SR without "
        f"its graph against CGNL with one channel a group: {second.item():.0e}"
    )
    return Claim(
        "X2", "across the sources",
        "DGCNet's feature space is GloRe; SR's Hadamard squeeze is CGNL, channel by channel", found,
        REPRODUCED if max(first, second) < 1e-10 else NOT,
    )  # fmt: skip


def _ranks(seconds: Seconds | None) -> Claim:
    names = {
        "+SE": "squeeze_excite",
        "+NL": "non_local",
        "+A2Net": "double_attention",
        "+CGNL": "compact_non_local",
        "+RCCA": "criss_cross",
        "+Encoding": "encoding",
        "+ANN": "asymmetric_non_local",
        "+EMAU": "em_attention",
        "+SR (GHP)": "squeeze_reasoning",
    }
    rows = [x for x in lines("SRNet IV") if x.column == "FLOPs (G)" and x.row in names]
    printed, true = [x.published for x in rows], [x.true for x in rows]
    by_true = kendall(printed, true)
    found = f"Kendall's tau of the {len(rows)} printed FLOPs with true MACs {by_true:.2f}"
    heads = lines("CGRSeg heads")
    by_heads = kendall([x.published for x in heads], [x.true for x in heads])
    found += f"; of CGRSeg's heads {by_heads:.2f}"
    side = max((s for _, s in seconds or ()), default=0)
    times = [(seconds or {}).get((names[x.row], side)) for x in rows]
    if all(times):
        found += f"; with the time at {side}² {kendall(printed, times):.2f}, and of true MACs with "
        found += f"it {kendall(true, times):.2f}"
    verdict = REPRODUCED if min(by_true, by_heads) > 0.9 else PARTLY if by_true > 0.5 else NOT
    return Claim(
        "X5", "across the sources", "printed FLOPs rank the modules as their true cost does", found,
        verdict,
    )  # fmt: skip


_CLAIMS: tuple[Callable[[Seconds | None], Claim], ...] = (
    _growth_of_two,
    _growth_of_all,
    _share_of_the_head,
    _columns_of_table_iv,
    _arithmetic_of_table_i,
    _speed,
    _columns_of_table_x,
    _diagonal,
    _heads_with_products,
    _two_orders,
    _size_of_cells,
    _mean_of_the_report,
    _two_names_for_one,
    _ranks,
)
