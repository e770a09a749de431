"""What a run's result depends on, and the settings of the course."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import torch

from contextlab import training

KNOBS = ("g", "l", "p", "c", "a")
# What the course's small setting needs to show a module's effect, where the papers' values suit
# 512 channels on a map of 96 x 96 and not 64 on 16 x 32. Scaled, a soft-max learns to match a
# little more completely (a run below is the paper's form). Of 64 channels the paper's sixteenth
# would leave a gate four units to decide with, its eighth two or eight channels to compare.
COURSE_OPTIONS = {
    "aspp": {"rates": [3, 6, 9], "width": 32},
    "bilinear_pooling": {"reduction": 2},
    "cbam": {"reduction": 4},
    "channel_attention": {"scale": True},
    "coordinate_graph": {"cell": 2},
    "criss_cross": {"reduction": 4, "scale": True},
    "dense_aspp": {"rates": [1, 2, 4, 6, 8]},
    "dual_attention": {"reduction": 4, "scale": True, "kernel": 1},
    "dual_graph": {"cell": 2},
    "dynamic_prototype": {"regions": 13},
    "gather_excite": {"reduction": 4},
    "gcnet": {"reduction": 4},
    "graph_guided": {
        "heads": ["LOCAL_2", "LOCAL_4", "LOCAL_6", "GRID_2", "GRID_4", "GRID_6"],
        "scale": True,
    },
    "hamburger": {"rank": 16},
    "non_local": {"scale": True},
    "ocr": {"regions": 13},
    "position_attention": {"reduction": 4, "scale": True},
    "self_attention": {"heads": 2, "reduction": 2, "scale": True},
    "squeeze_excite": {"reduction": 4},
    "squeeze_reasoning": {"nodes": 8},
}
# The fair plain network: dilations that take no parameter and no multiplication more than the usual
# ones, and a field of 7 + 8 * (2 + 4 + 8) = 119 pixels, which holds nearly every cue of a street.
FAIR_NAME = "fair plain"  # what it is called in every table
FAIR = {"dilation": [2, 4, 8]}
# The same on far streets: 7 + 8 * (4 + 8 + 16) = 231 pixels.
FAIR_FAR = {"dilation": [4, 8, 16]}
# fields that came after the first runs, whose names must not change
LATER = {"network": "fcn", "network_options": {}, "norm": "batch", "frozen": False}
# steps and batch by budget, over a frozen backbone
FROZEN = {"smoke": (2, 2), "quick": (600, 16), "full": (6000, 16)}
# steps, batch and crop by budget
CAMVID = {
    "smoke": (2, 2, (96, 128)),
    "quick": (400, 8, (240, 320)),
    "full": (12000, 16, (360, 480)),
}


@dataclass(frozen=True)
class Config:
    """All that a run's result depends on.

    Args:
        data: name of the data set.
        data_options: its options.
        backbone: name of the backbone.
        backbone_options: its options.
        context: name of the module in the slot; ``None`` is the FCN.
        context_options: its options.
        width: channels of the map that enters the slot.
        kernel: of the convolutions around the slot.
        auxiliary: whether the network has an auxiliary head.
        dropout: before the classifier.
        recipe: keyword arguments of `training.Recipe`, without the seed.
        pool: training images; ``None`` takes the whole split.
        split: what the run is evaluated on.
        images: how many images of that split; ``None`` takes them all.
        network: ``"fcn"``, the network with a slot; ``"realtime"``, ``"classifier"``,
            ``"segnext"`` or ``"cgrseg"``.
        network_options: what that network alone takes.
        norm: ``"batch"``, or ``"group"`` to put group norm in place of every batch norm.
        frozen: keep the backbone as it is, and train what stands on its last map.
        seed: of the first weights, the sample order, the augmentation and dropout.
        budget: the budget that chose the numbers.
    """

    data: str
    data_options: dict = field(default_factory=dict)
    backbone: str = "course"
    backbone_options: dict = field(default_factory=dict)
    context: str | None = None
    context_options: dict = field(default_factory=dict)
    width: int = 64
    kernel: int = 1
    auxiliary: bool = False
    dropout: float = 0.0
    recipe: dict = field(default_factory=dict)
    pool: int | None = None
    split: str = "val"
    images: int | None = None
    network: str = "fcn"
    network_options: dict = field(default_factory=dict)
    norm: str = "batch"
    frozen: bool = False
    seed: int = 0
    budget: str = "quick"

    def to_dict(self) -> dict:
        """The configuration as JSON holds it; what came later is left out where it is as before."""
        values = asdict(self)
        for name, usual in LATER.items():
            if values[name] == usual:
                del values[name]
        return json.loads(json.dumps(values))

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of the canonical JSON; another value anywhere, other digits."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """What a person calls the run, e.g. ``streets-non_local-glpca-quick-0-1f2e3d4c5b6a``."""
        words = [self.data, self.context or "fcn"]
        if self.network != "fcn":
            words[1:] = [self.network, self.context or "plain"]
        if self.data == "streets":
            words[0] = "far" if self.data_options.get("far") else self.data
            on = "".join(k for k in KNOBS if self.data_options.get(k, 1))
            words.append(on or "control")
        return "-".join([*words, self.budget, str(self.seed), self.hash])

    def train_recipe(self) -> training.Recipe:
        """The recipe with the seed in it."""
        return training.Recipe(**self.recipe, seed=self.seed)


def streets(
    context: str | None = None,
    *,
    knobs: dict[str, float] | None = None,
    control: bool = False,
    seed: int = 0,
    budget: str | None = None,
    **overrides,
) -> Config:
    """The course's setting on streets.

    At ``"full"`` it trains in bf16 where CUDA is, and in float32 elsewhere: precision is part of
    the recipe, so that the two are runs of two names.

    Args:
        context: name of a context module; ``None`` is the FCN.
        knobs: the demands that the images pose, by letter, e.g. ``{"g": 1}``; those not named are
            off. ``None`` poses all five.
        control: pose none, short for ``knobs={}``.
        seed: of training; the images are the same for all.
        budget: ``"smoke"``, ``"quick"`` or ``"full"``; ``None`` takes the one in force.
        overrides: fields of `Config`; ``recipe`` is merged into the setting's own.

    Returns:
        The configuration.

    Raises:
        ValueError: a knob or budget that does not exist.

    Example:
        >>> config = streets("non_local", knobs={"g": 1}, budget="quick")
        >>> config.recipe["steps"], config.data_options["g"], config.data_options["p"]
        (800, 1.0, 0.0)
    """
    knobs = {} if control else dict.fromkeys(KNOBS, 1.0) if knobs is None else knobs
    if unknown := knobs.keys() - set(KNOBS):
        raise ValueError(f"expected knobs of {', '.join(KNOBS)}, got {', '.join(sorted(unknown))}")
    numbers = training.budget(budget)
    recipe = training.Recipe(
        steps=numbers.steps,
        batch=16,
        lr=4e-3,
        weight_decay=1e-4,
        warmup=30,
        precision=_precision(numbers.name),
        channels_last=True,
    )
    config = Config(
        data="streets",
        data_options={knob: float(knobs.get(knob, 0.0)) for knob in KNOBS},
        context=context,
        context_options=dict(COURSE_OPTIONS.get(context, {})),
        recipe=_plain(recipe),
        pool=numbers.pool,
        images=numbers.images,
        seed=seed,
        budget=numbers.name,
    )
    return _override(config, overrides)


def far(context: str | None = None, **setting) -> Config:
    """The course's setting on streets that are drawn far apart, four times as many pixels.

    Args:
        context: name of a context module; ``None`` is the FCN.
        setting: as for `streets`.

    Returns:
        The configuration; everything but the data is as on streets.

    Example:
        >>> far("non_local", budget="quick").name
        'far-non_local-glpca-quick-0-76892b282059'
    """
    config = streets(context, **setting)
    return replace(config, data_options={**config.data_options, "far": True})


def fair(*, on: Callable[..., Config] = streets, **setting) -> Config:
    """The fair plain network: an FCN that sees as far as a module, without any parameter more.

    A context module must be better than this network before its mechanism is worth anything: the
    usual FCN sees 35 pixels, and whatever sees further is better than that.

    Args:
        on: `streets` or `far`.
        setting: what ``on`` takes besides the module and the backbone's options.

    Raises:
        ValueError: another setting than these two.

    Example:
        >>> fair(budget="quick").backbone_options, fair(on=far, budget="quick").backbone_options
        ({'dilation': [2, 4, 8]}, {'dilation': [4, 8, 16]})
    """
    options = {streets: FAIR, far: FAIR_FAR}
    if on not in options:
        raise ValueError(f"the fair plain network is known on streets and far streets, not on {on}")
    return on(None, backbone_options=dict(options[on]), **setting)


def camvid(
    context: str | None = None,
    *,
    backbone: str = "tf_efficientnet_lite0",
    output_stride: int = 16,
    frozen: bool = False,
    seed: int = 0,
    budget: str | None = None,
    **overrides,
) -> Config:
    """Training on CamVid, evaluated on the 233 whole test images; bf16 as for `streets`.

    Args:
        context: name of a context module; ``None`` is the FCN.
        backbone: a pretrained network.
        output_stride: of its last map.
        frozen: keep the pretrained network as it is. Its maps are computed once, and a head over
            them trains in about a minute on one core, where fine-tuning takes ten.
        seed: of training.
        budget: ``"smoke"``, ``"quick"`` or ``"full"``; ``None`` takes the one in force.
        overrides: fields of `Config`; ``recipe`` is merged into the setting's own.

    Returns:
        The configuration.

    Raises:
        ValueError: no such budget.

    Example:
        >>> camvid("non_local", budget="quick").recipe["crop"]
        [240, 320]
    """
    numbers = training.budget(budget)
    steps, batch, crop = CAMVID[numbers.name]
    recipe = training.Recipe(
        steps=steps,
        batch=batch,
        optimiser="adamw",
        lr=3e-4,
        weight_decay=1e-2,
        warmup=20,
        head_factor=10.0,
        scale=(0.5, 1.5),
        crop=crop,
        precision=_precision(numbers.name),
        channels_last=True,
    )
    if frozen:
        # Mirrored maps are stored beside the others; the maps themselves bear no crop or scale.
        steps, batch = FROZEN[numbers.name]
        recipe = training.Recipe(
            steps=steps,
            batch=batch,
            lr=2e-3,
            weight_decay=1e-2,
            warmup=20,
            flip=False,
            precision=_precision(numbers.name),
        )
    config = Config(
        data="camvid",
        backbone=backbone,
        backbone_options={"output_stride": output_stride},
        context=context,
        width=128,
        kernel=1 if frozen else 3,
        auxiliary=not frozen,  # an auxiliary head helps a backbone to learn
        dropout=0.1,
        recipe=_plain(recipe),
        # maps that two steps never use need not be computed
        pool=numbers.pool if frozen and numbers.name == "smoke" else None,
        split="test",
        images=numbers.images if numbers.name == "smoke" else None,
        frozen=frozen,
        seed=seed,
        budget=numbers.name,
    )
    return _override(config, overrides)


def folder(options: dict, context: str | None = None, **setting) -> Config:
    """Training on images of your own, as on CamVid, evaluated on those set apart as "val".

    Args:
        options: of `data.Folder`, as its ``settings`` has them. Where the files lie is no part of a
            configuration, so that a run can be given away; it is ``root`` of `train`.
        context: name of a context module; ``None`` is the FCN.
        setting: what `camvid` takes besides.

    Returns:
        The configuration.

    Raises:
        ValueError: no such budget, or a frozen backbone, whose stored maps are of one size.

    Example:
        >>> folder({"classes": [["field", 0, None], ["hedge", 1, None]]}, budget="smoke").split
        'val'
    """
    if setting.get("frozen"):
        raise ValueError(
            "a frozen backbone stores maps of images of one size and knows camvid's alone: train "
            "on a folder without it"
        )
    return camvid(context, **{"data": "folder", "data_options": options, "split": "val", **setting})


def at_budget(config: Config, budget: str | None = None) -> Config:
    """The same question at another budget: what the budget chose changes, all else stays.

    Args:
        config: of one of the settings here; numbers that differ from the setting's own are kept.
        budget: ``"smoke"``, ``"quick"`` or ``"full"``; ``None`` takes the one in force.

    Raises:
        ValueError: no such budget.

    Example:
        >>> at_budget(streets("ocr", seed=1, budget="smoke"), "quick") == streets(
        ...     "ocr", seed=1, budget="quick"
        ... )
        True
    """

    def usual(budget: str | None) -> Config:
        if config.data in ("camvid", "folder"):
            return camvid(frozen=config.frozen, budget=budget)
        return streets(budget=budget)

    before, after = usual(config.budget), usual(budget)
    recipe = {
        k: after.recipe[k] if v == before.recipe.get(k) else v for k, v in config.recipe.items()
    }
    if config.budget == "full":  # it may have been chosen on a machine with another device
        recipe["precision"] = after.recipe["precision"]
    sizes = {
        key: getattr(after, key)
        if getattr(config, key) == getattr(before, key)
        else getattr(config, key)
        for key in ("pool", "images")
    }
    return replace(config, recipe=recipe, budget=after.budget, **sizes)


def _precision(budget: str) -> str:
    """bf16 where the full budget meets a GPU; it is part of the recipe and so of the run's name."""
    return "bf16" if budget == "full" and torch.cuda.is_available() else "no"


def _plain(recipe: training.Recipe) -> dict:
    values = {k: v for k, v in recipe.to_dict().items() if k not in ("seed", "workers")}
    return json.loads(json.dumps(values))  # lists for tuples, as a stored configuration has them


def _override(config: Config, overrides: dict) -> Config:
    if "recipe" in overrides:
        merged = training.Recipe(**{**config.recipe, **overrides["recipe"]})
        overrides = {**overrides, "recipe": _plain(merged)}
    return replace(config, **overrides)
