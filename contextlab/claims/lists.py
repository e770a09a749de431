"""Which runs come with the lessons, where each lies, and which of them keep their weights."""

from __future__ import annotations

import re
from pathlib import Path

from contextlab.runs import COURSE_OPTIONS, KNOBS, MANY, Config, fair, lines, streets

from .experiments import EXPERIMENTS

# The family, in the order in which lessons 04 to 06 meet it; then what later lessons look into.
FAMILY = (
    "global_average",
    "cbam",
    "gcnet",
    "hadamard_pooling",
    "bilinear_pooling",
    "pyramid_pooling",
    "aspp",
    "dense_aspp",
    "double_attention",
    "compact_non_local",
    "criss_cross",
    "asymmetric_non_local",
    "asymmetric_fusion",
    "ocnet",
    "em_attention",
    "hamburger",
    "encoding",
    "ocr",
    "position_attention",
    "channel_attention",
    "dual_attention",
    "glore",
    "coordinate_graph",
    "feature_graph",
    "dual_graph",
    "squeeze_reasoning",
    "coordinate_attention",
    "gather_excite",
    "strip_pooling",
    "self_attention",
    "convnext",
    "inceptionnext",
)
# Those into which a lesson looks; of the others the figures are enough.
LOOKED_INTO = (
    "asymmetric_non_local",
    "aspp",
    "cbam",
    "coordinate_graph",
    "criss_cross",
    "double_attention",
    "dual_graph",
    "em_attention",
    "feature_graph",
    "gcnet",
    "ocr",
    "pyramid_pooling",
    "squeeze_reasoning",
)

# Of these experiments the cells that keep the weights of seed 0, because a lesson looks into them.
OF_FIRST_SEED = {"G, learned": ("learned", "table"), "C, slot": ("RCA", "DPG")}
# What claims look into: of these experiments the cells that keep the weights of every seed.
OF_EVERY_SEED = {"G, heads": ("FULL", "LOCAL + GRID"), "C16": ("CGRSeg", "SegNeXt")}


def _with_weights(*, planned: bool = False) -> list[Config]:
    """Seed 0 of what the lessons look into, and what claims do; also where that is planned."""
    quick = {"budget": "quick"}
    found = [streets(context, **quick) for context in (None, "non_local", "squeeze_excite")]
    found += [streets(control=True, **quick)]
    # the same parameters, spread wider: 63 pixels instead of 31
    found += [streets(backbone_options={"dilation": [1, 2, 4]}, **quick)]
    found += [fair(**quick)]
    # four steps along the pixel grid reach 63 pixels too, but only by averaging
    found += [streets("graph_conv", context_options={"steps": 4}, **quick)]
    found += [streets(context, **quick) for context in LOOKED_INTO]
    found += [_other("aspp", image_pool=False)]
    # a sum over the pixels, and a mean, on maps of another size; and other numbers of nodes
    for name in ("X4", "S9"):
        found += [make(0) for make in EXPERIMENTS[name].cells.values()]
    # what pruning or the prototypes do is asked of every seed, what learned graphs are of one
    for name, labels in OF_EVERY_SEED.items():
        experiment = EXPERIMENTS[name]
        if planned or not experiment.planned:
            found += [experiment.cells[label](s) for label in labels for s in experiment.seeds]
    for name, labels in OF_FIRST_SEED.items():
        experiment = EXPERIMENTS[name]
        if planned or not experiment.planned:
            found += [experiment.cells[label](0) for label in labels]
    return _once(found)


def _other(context: str, seed: int = 0, **options) -> Config:
    """The course's setting with other options of the module."""
    options = {**COURSE_OPTIONS.get(context, {}), **options}
    return streets(context, seed=seed, budget="quick", context_options=options)


def _lessons() -> dict[str, list[Config]]:
    """What the lessons ask for beyond the experiments: the file's name to its runs."""

    def run(context: str | None, seed: int = 0, **overrides) -> Config:
        return streets(context, seed=seed, budget="quick", **overrides)

    everyone = (None, "non_local", "squeeze_excite", *FAMILY)
    demands = [run(None, control=True), *(run(None, knobs={knob: 1.0}) for knob in KNOBS)]
    demands += [run(context, control=True) for context in ("non_local", "aspp")]
    # the same parameters, spread wider: 63 pixels instead of 31
    options = [run(None, backbone_options={"dilation": [1, 2, 4]})]
    # four steps along the pixel grid reach 63 pixels too, but only by averaging
    options += [_other("graph_conv", seed, steps=4) for seed in (0, 1, 2)]
    options += [run("non_local", context_options={"scale": False})]
    # is it the gate, or the bottleneck, that loses something?
    options += [_other("gcnet", seed, fuse="scale") for seed in (0, 1, 2)]
    options += [_other("squeeze_excite", seed, reduction=1) for seed in (0, 1, 2)]
    options += [_other("aspp", image_pool=False), _other("aspp", rates=[12, 24, 36])]
    options += [_other("criss_cross", recurrence=1)]
    options += [_other("ocnet", seed, form="pyramid") for seed in (0, 1, 2)]
    options += [_other("compact_non_local", kernel="rbf")]
    return {
        "family": [run(context, seed) for context in everyone for seed in (0, 1, 2)],
        "demands": demands,
        "options": options,
    }


def _groups(*, planned: bool = False) -> dict[str, list[Config]]:
    """The lessons' lists, then what the claims of the sources ask for."""
    found = _lessons()
    # those whose runs are not all made come last: what is shipped lies where it did
    for name, experiment in sorted(EXPERIMENTS.items(), key=lambda item: item[1].planned):
        if experiment.planned and not planned:
            continue
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        found[slug] = [config for configs in experiment.configs().values() for config in configs]
    return found


def _once(configs: list[Config]) -> list[Config]:
    """Each run once, however many questions ask for it."""
    return list({config.hash: config for config in configs}.values())


def shipped() -> list[Config]:
    """The runs that the lessons show, all made at ``quick``; those that keep their weights first.

    Returns:
        Configurations for `load_or_train`.
    """
    return _once(_with_weights() + [config for group in _groups().values() for config in group])


def shipped_files(*, planned: bool = False) -> dict[str, list[Config]]:
    """Which runs lie together: the lessons' lists, and one file an experiment.

    Args:
        planned: those of experiments that are planned, too.

    Returns:
        The file's name without its suffix, such as ``"d1-camvid"``, to its runs in their order. A
        run for which several ask lies with the first.
    """
    seen: set[str] = set()
    files = {}
    for name, group in _groups(planned=planned).items():
        if own := [config for config in _once(group) if config.hash not in seen]:
            files[name] = own
            seen |= {config.hash for config in own}
    return files


def misplaced(folder: str | Path) -> list[str]:
    """What lies in a folder of shipped runs and does not belong there, each in a sentence.

    Args:
        folder: where the runs lie; it need not exist.
    """
    folder = Path(folder)
    file_of = {
        c.hash: f"{name}{MANY}"
        for name, group in shipped_files(planned=True).items()
        for c in group
    }
    found, seen = [], {}
    for line in lines(folder):
        if line.name is None:
            found.append(f"{line} is no run: delete it")
        elif line.hash not in file_of:
            found.append(
                f"{line}: {line.name} is of no shipped configuration any more: delete the line "
                "and its weights"
            )
        elif line.hash in seen:
            found.append(f"{line}: {line.name} stands in {seen[line.hash]} as well: delete one")
        elif line.path.name != file_of[line.hash]:
            found.append(f"{line}: {line.name} belongs to {file_of[line.hash]}: move the line")
        seen.setdefault(line.hash, line)
    known = {config.name for config in shipped() + planned()}
    for path in sorted(folder.glob("*")):
        if path.suffix != MANY and not (path.suffix == ".safetensors" and path.stem in known):
            found.append(f"{path} is of no shipped configuration: it does not belong here")
    return found


def planned() -> list[Config]:
    """The runs of experiments that are planned and not all made, without those that are shipped."""
    made = {config.hash for config in shipped()}
    every = _once([config for group in _groups(planned=True).values() for config in group])
    return [config for config in every if config.hash not in made]


def keeps_weights(config: Config) -> bool:
    """Whether a run comes with its weights; of most the figures are enough."""
    return config in _with_weights(planned=True)
