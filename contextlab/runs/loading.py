"""A finished run by its folder or name, and its network in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch import nn

from contextlab import data
from contextlab.runs.config import Config
from contextlab.runs.store import Run, named, read

MEANT = "give the folder of `train`, the JSON file of a run, or the name of a shipped run"


def load(run: str | Path | Run, *, weights: str | Path | None = None) -> nn.Module:
    """The network of a finished run, ready to be asked.

    Args:
        run: the folder of `train`, the JSON file of a run, or the name of an own or a shipped one.
        weights: of the backbone under a head that was trained on a frozen one: a local file, or
            "random"; those that the run was trained with by default.

    Returns:
        The network with the run's weights, in evaluation mode on the CPU. It carries
        ``class_names``, in the order of its logits, and ``palette``, bytes ``k 3``.

    Raises:
        FileNotFoundError: there is no such run, or it came without weights.
        ValueError: what is there is damaged or no run.
    """
    if not isinstance(run, Run):
        run = stored(run)
    usual = run.config.backbone_options.get("weights", "imagenet")
    network = run.model(backbone=(weights or usual) if run.config.frozen else None)
    network.class_names = run.metrics.classes
    network.palette = palette(run.config, len(run.metrics.classes))
    return network


def stored(path: str | Path) -> Run:
    """The run in a folder or a file, or an own or a shipped one by its name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file holds something else, or its weights are not those of the run.
    """
    path = given = Path(path)
    if path.is_dir():
        path = path / "metrics.json"
        if not path.is_file():
            raise FileNotFoundError(f"{given} holds no metrics.json, so no finished run: {MEANT}")
    elif not path.exists():
        if (run := named(str(given))) is not None:
            return run
        raise FileNotFoundError(f"no run at {path}, and none is called so: {MEANT}")
    elif path.suffix == ".safetensors":
        beside = path.with_suffix(".json"), path.with_name("metrics.json")
        run = next((file for file in beside if file.is_file()), None)
        meant = f"the run that they belong to is {run}" if run else MEANT
        raise ValueError(f"{path} holds weights: {meant}")
    found = _json(path)
    try:
        return read(path)
    except (ValueError, KeyError, AttributeError) as error:
        entry = found.get("weights") or {}
        weights = path.with_name(str(entry["file"])) if "file" in entry else None
        if weights is not None and not weights.is_file():
            said = f"{path} names the weights {weights.name}, which are missing beside it"
        elif weights is not None and "is missing or not what" in str(error):
            said = f"{weights} is not the file that {path.name} was written with (other SHA-256)"
        else:
            said = f"{path} is damaged or was written by another version ({error.__cause__!r})"
        raise ValueError(f"{said}: train the run anew, in another folder") from error


def _json(path: Path) -> dict:
    """What the file holds, if it looks like a run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        found = None
    if not isinstance(found, dict) or not {"config", "metrics"} <= found.keys():
        raise ValueError(f"{path} is no run of contextlab: {MEANT}")
    return found


def palette(config: Config, classes: int) -> np.ndarray:
    """The colours of a run's classes, bytes ``k 3``.

    Args:
        config: of the run.
        classes: how many there are.

    Returns:
        Those of the data set, or as many of Pascal VOC's as are needed where they are not known
        without its files.
    """
    known = {"streets": data.Streets, "vehicles": data.Vehicles, "camvid": data.CamVid}
    if config.data in known:
        return known[config.data].palette
    if config.data == "folder":
        return data.ClassTable(config.data_options["classes"]).palette
    numbers = np.arange(1, classes + 1)  # from 1: Pascal's first colour, black, is its background
    colours = np.zeros((classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            place = numbers >> (3 * bit + channel) & 1
            colours[:, channel] |= (place << (7 - bit)).astype(np.uint8)
    return colours
