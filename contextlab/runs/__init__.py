"""Training runs: load the one that is there, continue the one that was interrupted, or train.

A run is named by its configuration. Its figures lie in ``<name>.json``, or as a line of a file of
many runs, and its weights, in half precision, beside them; the runs that the lessons show come with
the repository and with the installed package.
"""

from __future__ import annotations

from contextlab.extras import need

need(__name__, "numpy")

import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import torch

from contextlab import training
from contextlab.costs import Table
from contextlab.home import home, usable
from contextlab.runs.build import build_data, build_network
from contextlab.runs.config import (
    COURSE_OPTIONS,
    FAIR,
    FAIR_NAME,
    KNOBS,
    Config,
    at_budget,
    camvid,
    fair,
    far,
    folder,
    streets,
)
from contextlab.runs.frozen import FrozenHead, StoredMaps
from contextlab.runs.loading import load, palette, stored
from contextlab.runs.store import (
    MANY,
    SHIPPED,
    Run,
    find,
    find_in,
    lines,
    named,
    need_shipped,
    read,
    shipped_folder,
    write,
)
from contextlab.training import checkpoints

__all__ = [
    "COURSE_OPTIONS",
    "FAIR",
    "FAIR_NAME",
    "KNOBS",
    "SHIPPED",
    "Config",
    "FrozenHead",
    "Run",
    "StoredMaps",
    "at_budget",
    "build_data",
    "build_network",
    "camvid",
    "fair",
    "far",
    "find",
    "find_in",
    "folder",
    "lines",
    "load",
    "load_or_train",
    "machine",
    "named",
    "need_shipped",
    "palette",
    "read",
    "shipped_folder",
    "stored",
    "streets",
    "train",
    "train_and_compare",
    "write",
]

SPOT = 32  # images of the spot check


def load_or_train(config: Config, *, retrain: bool = False, progress: bool | None = None) -> Run:
    """The finished run of a configuration; trained now where there is none.

    Own runs come first, then those shipped with the lessons. An interrupted training is continued.

    Args:
        config: what to train.
        retrain: train even if the run is there; the new one is the own one from then on.
        progress: draw a bar; ``None`` draws one where a person is watching.

    Returns:
        The run.

    Raises:
        ValueError: a stored run is not of the configuration that its name says, or is damaged.
    """
    if not retrain and (run := find(config)) is not None:
        return run
    return train(config, home() / "runs" / f"{config.name}.json", progress=progress)


def train_and_compare(
    config: Config, *, retrain: bool = False, progress: bool | None = None
) -> Table:
    """A run beside the one that is shipped for the same question: the training cell of a lesson.

    Before a training it says what is trained and for about how long: the shipped run's time, by
    the ratio of steps, images a step and pixels. At the budget "quick" the shipped run itself is
    the answer to most questions, so that nothing is trained unless asked for.

    Args:
        config: what to train; ``runs.streets("ocr")`` is at the budget in force.
        retrain: train even if the run is there.
        progress: draw a bar; ``None`` draws one where a person is watching.

    Returns:
        Two rows, this run and the shipped one at "quick" of the same data, module, options and
        seed: budget, steps, mIoU and accuracy by demand in per cent, machine, date. One row where
        no such run is shipped, or where it is the one that is asked for.

    Raises:
        ValueError: a stored run is damaged.
    """
    folder, quick = shipped_folder(), at_budget(config, "quick")
    shipped = None if folder is None else find_in(folder, quick, source="shipped")
    run = None if retrain else find(config)
    if run is None:
        print(_announcement(config, shipped))
        run = train(config, home() / "runs" / f"{config.name}.json", progress=progress)
    elif run.source == "shipped":
        print(f"{config.name} is shipped and shown as it is; retrain=True trains it here.")
    else:
        print(f"{config.name} was trained here before; retrain=True trains it again.")
    itself = run.source == "shipped" and config.hash == quick.hash
    rows = [] if itself else [_row(f"this run, {run.source}", run)]
    if shipped is not None:
        rows.append(_row("shipped, quick", shipped))
    else:
        print("No run of this question is shipped to compare with.")
    return Table(rows, digits=3)


def _announcement(config: Config, shipped: Run | None) -> str:
    recipe = config.train_recipe()
    text = f"Training {config.name}: {recipe.steps} steps of {recipe.batch} images"
    if shipped is None:
        return f"{text}."
    other = shipped.config.train_recipe()
    ratio = recipe.steps * recipe.batch / (other.steps * other.batch)
    if recipe.crop and other.crop:
        ratio *= math.prod(recipe.crop) / math.prod(other.crop)
    seconds = ratio * shipped.history.seconds
    time = f"{seconds / 60:.0f} min" if seconds > 100 else f"{math.ceil(seconds)} s"
    return f"{text}, about {time} on {shipped.machine.partition(',')[0]}, less on a GPU."


def _row(name: str, run: Run) -> dict:
    def percent(value: float) -> float | None:
        return None if math.isnan(value) else 100 * value

    return {
        "run": name,
        "budget": run.config.budget,
        "steps": run.config.recipe["steps"],
        "mIoU": percent(run.metrics.miou),
        **{demand: percent(value) for demand, value in run.metrics.demands.items()},
        "machine": run.machine,
        "date": run.date,
    }


def train(
    config: Config,
    path: str | Path,
    *,
    weights: str | Path | None = None,
    state: str | Path | None = None,
    half: bool = True,
    keep: bool = True,
    root: str | Path | Mapping | None = None,
    pretrained: str | Path | None = None,
    save_every: int = 100,
    workers: int = 0,
    progress: bool | None = None,
    order: Iterable[Config] = (),
) -> Run:
    """Train a configuration, or continue its training, and store the run.

    Args:
        config: what to train.
        path: the JSON file of the run, or one of many runs (``.jsonl``) that gets a line.
        weights: the file of its weights; beside ``path`` by default.
        state: the folder of the training state, gone once the run is stored.
        half: store the weights in half precision.
        keep: store the weights at all.
        root: where the data set lies, if it has files; see `data.build`.
        pretrained: a local file with the backbone's pretrained weights.
        save_every: steps between two saved states.
        workers: processes that load images; they change no result.
        progress: draw a bar; ``None`` draws one where a person is watching.
        order: of the lines in a file of many runs.

    Returns:
        The run.
    """
    path = Path(path)
    if weights is None:
        name = config.name if path.suffix == MANY else path.stem
        weights = path.with_name(f"{name}.safetensors")
    weights = Path(weights)
    state = home() / "states" / config.name if state is None else Path(state)
    usable(path.parent)  # before minutes of work, not after
    dataset = build_data(config, "train", root=root)
    scenes = build_data(config, root=root)
    model = build_network(config, len(dataset.classes), weights=pretrained)
    if config.frozen:
        store = partial(StoredMaps, network=model, folder=home() / "maps", progress=progress)
        dataset = store(dataset, name=f"{config.data}-train", mirrored=True, limit=config.pool)
        name = f"{config.data}-{config.split}"
        scenes = store(scenes, name=name, mirrored=False, limit=config.images)
        model = FrozenHead(model, dataset.size)
    history = training.fit(
        model,
        dataset,
        replace(config.train_recipe(), workers=workers),
        checkpoint=state,
        save_every=save_every,
        progress=progress,
        tag=config.hash,
    )
    metrics = training.evaluate(model, scenes, limit=config.images)
    main = training.processes()[0] == 0
    if keep and main:
        training.save_weights(weights, model, half=half)
    spot = None
    if half:
        _halve(model)
        spot = training.evaluate(model, scenes, limit=SPOT)
    run = Run(
        config=config,
        metrics=metrics,
        history=history,
        date=date.today().isoformat(),
        machine=machine(next(model.parameters()).device),
        source="trained now",
        spot_check=spot and _spot(spot),
        weights=weights if keep else None,
    )
    if main:
        write(run, path, order)
        checkpoints.remove(state)
    return run


def _halve(model: torch.nn.Module) -> None:
    """Round the weights as storing them in half precision does."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())


def _spot(metrics: training.Metrics) -> dict:
    return {
        "images": metrics.images,
        "miou": metrics.miou,
        "pixel_accuracy": metrics.pixel_accuracy,
    }


def machine(device: torch.device) -> str:
    """What a run was trained on, in words.

    Args:
        device: where the model is.

    Returns:
        For example ``2 threads (x86_64, Linux), torch 2.15.0``.
    """
    what = f"{torch.get_num_threads()} threads ({platform.machine()}, {platform.system()})"
    if device.type == "cuda":
        what = torch.cuda.get_device_name(device)
    return f"{what}, torch {torch.__version__.split('+')[0]}"
