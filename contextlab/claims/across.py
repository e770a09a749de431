"""What the sources say together, and the experiments that serve several of their claims."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import einsum, rearrange
from scipy.stats import kendalltau
from torch import nn

from contextlab import context
from contextlab.costs import lines
from contextlab.data import Tiled
from contextlab.probes.cooccurrence import HEADS
from contextlab.runs import FAIR, FAIR_NAME, Config, build_data, fair, far, find, streets

from . import looking
from .evidence import Paired, figure, paired
from .experiments import (
    FIVE,
    THREE,
    Experiment,
    Make,
    configs,
    on_camvid,
    on_camvid_local,
    on_streets,
    register,
)
from .times import Seconds
from .verdicts import (
    NOT,
    PARTLY,
    REPRODUCED,
    RIGHT,
    UNDECIDED,
    Finding,
    Part,
    alike,
    effect,
    judge,
)

SOLVED, UNSOLVED = 90.0, 75.0  # points of accuracy, as in the course's ruler


MODULES = {
    "non-local": "non_local",
    "SR": "squeeze_reasoning",
    "DGCNet": "dual_graph",
    "ASPP": "aspp",
}


def _quick(make: Callable[..., Config], *arguments, **options) -> Make:
    return lambda seed: make(*arguments, seed=seed, budget="quick", **options)


register(
    {
        "plain": Experiment(
            "what is a module worth beside a plain network that sees as far?",
            {
                FAIR_NAME: _quick(fair),
                "dilations 1, 2, 4": _quick(streets, backbone_options={"dilation": [1, 2, 4]}),
                "FCN": _quick(streets),
            }
            | {label: _quick(streets, module) for label, module in MODULES.items()},
            THREE,
        ),
        "far": Experiment(
            "which order is left where cues lie twice as far away?",
            {
                FAIR_NAME: _quick(fair, on=far),
                "dilations 2, 4, 8": _quick(far, backbone_options=dict(FAIR)),
                "FCN": _quick(far),
            }
            | {label: _quick(far, module) for label, module in MODULES.items()},
            THREE,
        ),
        "X4": Experiment(
            "what does a sum over the pixels bind a model to?",
            {
                pool: on_streets("squeeze_reasoning", variant="srnet", pool=pool)
                for pool in ("mean", "sum")
            },
            (0,),
        ),
        "CamVid": Experiment(
            "on real streets, over a frozen backbone?",
            {
                "FCN": on_camvid(None),
                "non-local": on_camvid("non_local"),
                "DGCNet": on_camvid("dual_graph"),
                "SR": on_camvid("squeeze_reasoning"),
            },
            FIVE,
        ),
        "CamVid, local": Experiment(
            "on real streets, over features that see a patch of 67 pixels?",
            {
                "FCN": on_camvid_local(None),
                "SR": on_camvid_local("squeeze_reasoning"),
                "coordinate": on_camvid_local("coordinate_graph"),
                "feature": on_camvid_local("feature_graph"),
                "DGCNet": on_camvid_local("dual_graph"),
            },
            THREE,
        ),
    }
)


def two_names_for_one() -> Finding:
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
    return Finding(
        RIGHT if max(first, second) < 1e-10 else NOT,
        f"GloRe against the feature branch with the same weights: {first.item():.0e}; SR without "
        f"its graph against CGNL with one channel a group: {second.item():.0e}",
    )


def ranks(seconds: Seconds) -> Finding:
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

    def tau(a: list[float], b: list[float]) -> float:
        return kendalltau(a, b).statistic

    rows = [x for x in lines("SRNet IV") if x.column == "FLOPs (G)" and x.row in names]
    printed, true = [x.published for x in rows], [x.true for x in rows]
    by_true = tau(printed, true)
    found = f"Kendall's tau of the {len(rows)} printed FLOPs with true MACs {by_true:.2f}"
    heads = [x for x in lines("CGRSeg heads") if x.grade != "not reproducible"]
    by_heads = tau([x.published for x in heads], [x.true for x in heads])
    found += f"; of CGRSeg's heads {by_heads:.2f}"
    side = max((s for _, s in seconds), default=0)
    times = [seconds.get((names[x.row], side)) for x in rows]
    if all(times):
        found += f"; with the time at {side}² {tau(printed, times):.2f}, and of true MACs with "
        found += f"it {tau(true, times):.2f}"
    verdict = REPRODUCED if min(by_true, by_heads) > 0.9 else PARTLY if by_true > 0.5 else NOT
    return Finding(verdict, found)


def which_cue() -> Finding:
    second = {"SR, Hadamard": "squeeze_reasoning", "CGNL": "compact_non_local",
              "bilinear": "bilinear_pooling"}  # fmt: skip
    matched, made = {}, 0
    for name, module in {**second, "non-local": "non_local"}.items():
        runs = [find(streets(module, seed=seed, budget="quick")) for seed in THREE]
        matched[name] = [figure(run, "P") for run in runs if run]
        made += len(matched[name])
    if made < 12:
        return Finding(UNDECIDED, f"{made} of 12 runs")

    def holds(values: list[float], wanted: bool) -> bool:
        return min(values) > SOLVED if wanted else max(values) < UNSOLVED

    met = {name: looking.head(name) for name in HEADS}
    cells = [holds(met[name], True) for name in second] + [holds(met["non-local"], False)]
    cells += [holds(matched[name], False) for name in second]
    cells += [holds(matched["non-local"], True)]

    def shown(scores: dict[str, list[float]]) -> str:
        ends = {name: (f"{min(v):.0f}", f"{max(v):.0f}") for name, v in scores.items()}
        return "; ".join(f"{n} {a}" if a == b else f"{n} {a} to {b}" for n, (a, b) in ends.items())

    return Finding(
        REPRODUCED if all(cells) else PARTLY if any(cells) else NOT,
        f"colours that meet: {shown(met)}. Matching (demand P): {shown(matched)}",
    )


def sum_or_mean() -> Finding:
    drops = {}
    for label, (config,) in configs("X4").items():
        model = looking.model_of(config)
        if model is None:
            return looking.without_weights("squeeze_reasoning with sum and mean")
        dataset = build_data(config)
        once, twice = (_by_image(model, each) for each in (dataset, Tiled(dataset)))
        drops[label] = [a - b for a, b in zip(once, twice)]
    apart, mean = paired(drops["sum"], drops["mean"]), Paired(tuple(drops["mean"]))
    parts = [
        Part("pixel accuracy lost on a map twice as wide, sum against mean", apart, effect(apart)),
        Part("lost by the mean", mean, alike(mean)),
    ]
    return judge(parts, "n counts images; one model of each")


def _by_image(model: nn.Module, dataset) -> list[float]:
    """Pixel accuracy of each of the first images, in points."""
    found = []
    with torch.inference_mode():
        for i in range(min(looking.IMAGES, len(dataset))):
            image, labels = dataset[i]
            right = model(image[None]).argmax(1)[0] == labels
            found.append(100 * right[labels != dataset.ignore_index].double().mean().item())
    return found


RULES = {"X1": which_cue, "X2": two_names_for_one, "X4": sum_or_mean}
TIMED = {"X5": ranks}
