"""Which runs come with the lessons, and which of them keep their weights."""

from __future__ import annotations

from contextlab.runs.config import COURSE_OPTIONS, KNOBS, Config, fair, streets
from contextlab.runs.experiments import EXPERIMENTS

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


def _with_weights() -> list[Config]:
    """Seed 0 of what the lessons look into."""
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
    return _once(found)


def _other(context: str, seed: int = 0, **options) -> Config:
    """The course's setting with other options of the module."""
    options = {**COURSE_OPTIONS.get(context, {}), **options}
    return streets(context, seed=seed, budget="quick", context_options=options)


def _figures_alone() -> list[Config]:
    """The rest of the family, the spread over seeds, and what single questions ask for."""

    def run(context: str | None, seed: int = 0, **overrides) -> Config:
        return streets(context, seed=seed, budget="quick", **overrides)

    found = [run(None, knobs={knob: 1.0}) for knob in KNOBS]
    found += [run("non_local", context_options={"scale": False}), run("non_local", control=True)]
    found += [run(context) for context in FAMILY if context not in LOOKED_INTO]
    for seed in (1, 2):
        found += [run(context, seed) for context in (None, "non_local", "squeeze_excite", *FAMILY)]
        found += [_other("graph_conv", seed, steps=4)]
    for seed in (0, 1, 2):
        # is it the gate, or the bottleneck, that loses something?
        found += [_other("gcnet", seed, fuse="scale"), _other("squeeze_excite", seed, reduction=1)]
    found += [_other("aspp", rates=[12, 24, 36])]
    found += [run("aspp", control=True), _other("criss_cross", recurrence=1)]
    found += [_other("ocnet", seed, form="pyramid") for seed in (0, 1, 2)]
    found += [_other("compact_non_local", kernel="rbf")]
    # what the claims of the sources ask for
    for experiment in EXPERIMENTS.values():
        if experiment.planned:
            continue
        for configs in experiment.configs().values():
            found += configs
    return found


def _once(configs: list[Config]) -> list[Config]:
    """Each run once, however many questions ask for it."""
    return list({config.hash: config for config in configs}.values())


def shipped() -> list[Config]:
    """The runs that the lessons show, all made at ``quick``; those that keep their weights first.

    Returns:
        Configurations for `load_or_train`.
    """
    return _once(_with_weights() + _figures_alone())


def planned() -> list[Config]:
    """The runs of experiments that are planned and not all made, without those that are shipped."""
    made = {config.hash for config in shipped()}
    found = [
        config
        for experiment in EXPERIMENTS.values()
        if experiment.planned
        for configs in experiment.configs().values()
        for config in configs
    ]
    return [config for config in _once(found) if config.hash not in made]


def keeps_weights(config: Config) -> bool:
    """Whether a shipped run comes with its weights; of most the figures are enough."""
    return config in _with_weights()
