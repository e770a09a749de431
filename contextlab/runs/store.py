"""A finished run on disk: figures and losses as JSON, weights beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from contextlab import training
from contextlab.home import home
from contextlab.runs.build import build_network
from contextlab.runs.config import Config
from contextlab.runs.frozen import SIZES, FrozenHead
from contextlab.training import checkpoints

SHIPPED = Path("lessons") / "runs"
EVERY = 10  # losses of a run of figures alone are kept as means over so many steps


@dataclass
class Run:
    """A finished training run.

    Args:
        config: what was trained.
        metrics: of the float32 weights on ``config.split``.
        history: losses and rates of every step; read from a run without weights, the losses are
            means over ten steps, each given ten times.
        date: when it was finished, ISO 8601.
        machine: what it was trained on, in words.
        source: ``"shipped"``, ``"own"`` or ``"trained now"``.
        spot_check: figures of the stored half-precision weights on the first images, which a test
            recomputes; ``None`` for a run without weights.
        weights: the file of the weights; ``None`` for a run that was shipped without.
    """

    config: Config
    metrics: training.Metrics
    history: training.History
    date: str
    machine: str
    source: str
    spot_check: dict | None = None
    weights: Path | None = None

    def model(self, *, backbone: str | Path | None = None) -> nn.Module:
        """The trained network, in evaluation mode on the CPU.

        Args:
            backbone: of a frozen run: the pretrained weights that it stood on, "imagenet" or a
                file, for the whole network; ``None`` gives the head over the stored maps alone.

        Returns:
            The network of the configuration with the stored weights.

        Raises:
            FileNotFoundError: the run was shipped without weights; the message says how to train.
            ValueError: the file is damaged or belongs to another network.
        """
        if self.weights is None:
            raise FileNotFoundError(
                f"the run {self.config.name} is shipped with its figures alone; "
                "load_or_train(config, retrain=True) trains it and keeps the weights"
            )
        frozen, classes = self.config.frozen, len(self.metrics.classes)
        whole = build_network(
            self.config, classes, pretrained=frozen and backbone is not None, weights=backbone
        )
        if not frozen:
            return training.load_weights(self.weights, whole).eval()
        head = FrozenHead(whole, SIZES[self.config.data])
        training.load_weights(self.weights, head)  # they are parts of the whole network as well
        return (head if backbone is None else whole).eval()


def write(run: Run, path: str | Path) -> None:
    """Store all of a run but its weights, which must lie there already.

    Args:
        run: what to store.
        path: the JSON file, written last: a run whose file is there is complete.
    """
    # without weights nobody continues from here: the losses are drawn, no more
    digits, every = (7, 1) if run.weights else (3, EVERY)
    loss = run.history.loss
    parts = [loss[i : i + every] for i in range(0, len(loss), every)]
    entries = {
        "config": run.config.to_dict(),
        "metrics": run.metrics.to_dict(),
        "loss": [float(f"{sum(part) / len(part):.{digits}g}") for part in parts],
        "loss_every": every,
        "seconds": round(run.history.seconds, 1),
        "date": run.date,
        "machine": run.machine,
        "spot_check": run.spot_check,
        "weights": run.weights and {"file": run.weights.name, "sha256": _sha256(run.weights)},
    }
    values = {key: json.dumps(value, separators=(",", ":")) for key, value in entries.items()}
    lines = ",\n".join(f'"{key}": {value}' for key, value in values.items())
    checkpoints.write_atomically(path, f"{{\n{lines}\n}}\n")


def read(path: str | Path, config: Config | None = None, *, source: str = "own") -> Run:
    """Read a stored run.

    Args:
        path: its JSON file.
        config: what it should be a run of; any configuration by default.
        source: where it comes from.

    Returns:
        The run.

    Raises:
        ValueError: the file is damaged, or is of another configuration; its weights are not those
            that the run ended with.
    """
    path = Path(path)
    remedy = "delete it and train the run anew"
    try:
        found = json.loads(path.read_text())
        stored = Config(**found["config"])
        recipe, metrics = stored.train_recipe(), training.Metrics.from_dict(found["metrics"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a whole run of this version ({error!r}): {remedy}") from (
            error
        )
    if config is not None and stored.hash != config.hash:
        wanted, have = config.to_dict(), stored.to_dict()
        other = [key for key in wanted if wanted[key] != have.get(key)]
        raise ValueError(f"{path} is a run of another configuration ({', '.join(other)}): {remedy}")
    weights = None
    if found["weights"]:
        weights = path.with_name(found["weights"]["file"])
        if not weights.is_file() or _sha256(weights) != found["weights"]["sha256"]:
            raise ValueError(
                f"{weights} is missing or not what {path.name} was made with: {remedy}"
            )
    loss = [mean for mean in found["loss"] for _ in range(found.get("loss_every", 1))]
    loss = loss[: recipe.steps]  # the last mean may be of fewer steps
    rates = [
        recipe.lr * training.poly(step, recipe.steps, power=recipe.power, warmup=recipe.warmup)
        for step in range(len(loss))
    ]
    return Run(
        config=stored,
        metrics=metrics,
        history=training.History(loss, rates, found["seconds"], recipe.steps),
        date=found["date"],
        machine=found["machine"],
        source=source,
        spot_check=found["spot_check"],
        weights=weights,
    )


def find(config: Config) -> Run | None:
    """The finished run of a configuration if there is one; nothing is trained.

    Own runs come first, then those shipped with the lessons.

    Raises:
        ValueError: the stored run is not of the configuration that its name says, or is damaged.
    """
    for place, source in _places():
        if (path := place / f"{config.name}.json").is_file():
            return read(path, config, source=source)
    return None


def shipped_folder() -> Path | None:
    """Where the shipped runs lie: ``$CONTEXTLAB_RUNS``, or ``lessons/runs`` here or further up."""
    if chosen := os.environ.get("CONTEXTLAB_RUNS"):
        return Path(chosen)
    here = Path.cwd()
    return next((p / SHIPPED for p in (here, *here.parents) if (p / SHIPPED).is_dir()), None)


def _places() -> Iterator[tuple[Path, str]]:
    yield home() / "runs", "own"
    if (folder := shipped_folder()) is not None:
        yield folder, "shipped"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
