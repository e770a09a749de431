"""Finished runs on disk: figures and losses as JSON, weights beside them.

A run of the reader's own is one JSON file. The runs that come with the lessons lie together, one
line a run, in ``<experiment>.jsonl``; a line starts with the run's name, so that a run is found
without reading the others. Which file a configuration belongs to is not known here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import nn

from contextlab import training
from contextlab.home import home
from contextlab.runs.build import build_network
from contextlab.runs.config import Config
from contextlab.runs.frozen import SIZES, FrozenHead
from contextlab.training import checkpoints

SHIPPED = Path("lessons") / "runs"
MANY = ".jsonl"  # a file of many runs, one a line
BEGINNING = re.compile(r'\{"name":"([^"\\]+-[0-9a-f]{12})",')  # of such a line
PATIENCE = 60.0  # seconds that a process waits for another one which stores a run
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


@dataclass(frozen=True)
class Line:
    """One line of a file of many runs.

    Args:
        path: the file.
        number: of the line, from 1.
        text: what stands there.
    """

    path: Path
    number: int
    text: str

    @property
    def name(self) -> str | None:
        """What the run is called; ``None`` where the line's beginning is damaged."""
        found = BEGINNING.match(self.text)
        return found and found[1]

    @property
    def hash(self) -> str | None:
        """Of the run's configuration."""
        return self.name and _last(self.name)

    def __str__(self) -> str:
        return f"line {self.number} of {self.path}"


def lines(folder: str | Path) -> tuple[Line, ...]:
    """The lines of every file of many runs in a folder.

    Args:
        folder: it need not exist.

    Returns:
        File after file, empty lines left out, damaged ones among them.
    """
    return _lines(_stamps(Path(folder).glob(f"*{MANY}")))


def write(run: Run, path: str | Path, order: Iterable[Config] = ()) -> None:
    """Store all of a run but its weights, which must lie there already.

    Args:
        run: what to store.
        path: a file of this run alone, written last: a run whose file is there is complete. Or one
            of many runs, ``.jsonl``, in which the run's line takes the place of the one before.
        order: of the runs in that file; a run that is not among them stands at the end.

    Raises:
        ValueError: the run stands in two lines of the file, or another process holds it.
    """
    # without weights nobody continues from here: the losses are drawn, no more
    digits, every = (7, 1) if run.weights else (3, EVERY)
    loss = run.history.loss
    parts = [loss[i : i + every] for i in range(0, len(loss), every)]
    entries = {
        "name": run.config.name,
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
    path = Path(path)
    if path.suffix == MANY:
        _write_line(path, json.dumps(entries, separators=(",", ":")), run.config, order)
        return
    values = {key: json.dumps(value, separators=(",", ":")) for key, value in entries.items()}
    text = ",\n".join(f'"{key}": {value}' for key, value in values.items())
    checkpoints.write_atomically(path, f"{{\n{text}\n}}\n")


def _write_line(path: Path, text: str, config: Config, order: Iterable[Config]) -> None:
    places = {config.hash: place for place, config in enumerate(order)}
    with _alone(path):
        stamps = _stamps([path])
        known = _index(stamps).get(config.hash, ())
        rows = [(line.hash, line.text) for line in _lines(stamps)]
        if known:
            rows[rows.index((config.hash, _only(known).text))] = config.hash, text
        else:
            rows.append((config.hash, text))
        if places:  # stable: what has no place there stands behind the others as before
            rows.sort(key=lambda row: places.get(row[0], len(places)))
        whole = "".join(f"{row}\n" for _, row in rows)
        checkpoints.write_atomically(path, whole.encode(errors="surrogateescape"))
        _lines.cache_clear()  # a clock may be too coarse to tell the two files apart
        _index.cache_clear()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time: two that store a run each would lose one of them."""
    lock = path.with_name(f".lock-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    patience = time.monotonic() + PATIENCE
    while True:
        try:
            lock.mkdir()
            break
        except FileExistsError:
            if time.monotonic() > patience:
                raise ValueError(
                    f"{lock} has been there for {PATIENCE:.0f} s: if nothing else writes to "
                    f"{path.name}, delete this folder and give the same command again"
                ) from None
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.rmdir()


def read(path: str | Path, config: Config | None = None, *, source: str = "own") -> Run:
    """Read a stored run.

    Args:
        path: its JSON file, or one of many runs.
        config: what it should be a run of; any configuration by default.
        source: where it comes from.

    Returns:
        The run.

    Raises:
        ValueError: the file or the line is damaged, or is of another configuration; its weights are
            not those that the run ended with; of many runs, the file has not the one asked for.
    """
    path = Path(path)
    if path.suffix != MANY:
        try:
            text = path.read_text()
        except (OSError, ValueError) as error:
            raise _not_whole(path, error) from error
        return _parse(text, path, path, config, source)
    stamps = _stamps([path])
    there = _lines(stamps) if config is None else _index(stamps).get(config.hash, ())
    if not there or (config is None and len(there) > 1):
        wanted = "a file of one run" if config is None else f"the run {config.name}"
        raise ValueError(f"expected {wanted}, got {path} of {len(_lines(stamps))} others")
    line = _only(there)
    return _parse(line.text, line, path, config, source)


def _not_whole(what: Path | Line, error: Exception | str) -> ValueError:
    return ValueError(f"{what} is not a whole run of this version ({error}): {_remedy(what)}")


def _remedy(what: Path | Line) -> str:
    return f"move {'this line' if isinstance(what, Line) else 'it'} away and train the run anew"


def _parse(text: str, what: Path | Line, path: Path, config: Config | None, source: str) -> Run:
    remedy = _remedy(what)
    try:
        found = json.loads(text)
        stored = Config(**found["config"])
        recipe, metrics = stored.train_recipe(), training.Metrics.from_dict(found["metrics"])
    except (ValueError, KeyError, TypeError) as error:
        raise _not_whole(what, repr(error)) from error
    if config is not None and stored.hash != config.hash:
        wanted, have = config.to_dict(), stored.to_dict()
        other = [key for key in wanted if wanted[key] != have.get(key)]
        raise ValueError(f"{what} is a run of another configuration ({', '.join(other)}): {remedy}")
    weights = None
    if found["weights"]:
        weights = path.with_name(found["weights"]["file"])
        if not weights.is_file() or _sha256(weights) != found["weights"]["sha256"]:
            raise ValueError(f"{weights} is missing or not what {what} was made with: {remedy}")
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
    for folder, source in _places():
        if (run := find_in(folder, config, source=source)) is not None:
            return run
    return None


def find_in(folder: str | Path, config: Config, *, source: str = "own") -> Run | None:
    """The run of a configuration in one folder, from a file of its own or a line of another.

    Args:
        folder: it need not exist.
        config: what to find the run of.
        source: where it comes from.

    Raises:
        ValueError: the run is damaged or not of this configuration; two lines hold it; or no line
            does, and one is so damaged that it may be the one.
    """
    return _look(Path(folder), config.name, config, source)


def named(name: str) -> Run | None:
    """As `find`, by the name of the run.

    Args:
        name: such as ``streets-non_local-glpca-quick-0-1f2e3d4c5b6a``.
    """
    found = (_look(folder, name, None, source) for folder, source in _places())
    return next(filter(None, found), None)


def _look(folder: Path, name: str, config: Config | None, source: str) -> Run | None:
    if (path := folder / f"{name}.json").is_file():
        return read(path, config, source=source)
    index = _index(_stamps(folder.glob(f"*{MANY}")))
    if there := index.get(_last(name)):
        line = _only(there)
        return _parse(line.text, line, line.path, config, source)
    if damaged := index.get(None):
        raise _not_whole(damaged[0], f"and no other line holds {name}")
    return None


def shipped_folder() -> Path | None:
    """Where the shipped runs lie, from whatever folder one works in.

    ``$CONTEXTLAB_RUNS`` if it is set; else ``lessons/runs`` in the checkout that this package is
    part of; else the copy that an installed package brings; else ``lessons/runs`` in the working
    folder or further up.
    """
    if chosen := os.environ.get("CONTEXTLAB_RUNS"):
        return Path(chosen)
    here = Path.cwd()
    package = Path(__file__).resolve().parents[1]
    places = [package.parent / SHIPPED, package / "runs" / "shipped"]
    places += [folder / SHIPPED for folder in (here, *here.parents)]
    return next((place for place in places if place.is_dir()), None)


def need_shipped() -> Path:
    """As `shipped_folder`, for what says nothing without the shipped runs.

    Raises:
        FileNotFoundError: they are not there; the message says how to get them.
    """
    folder = shipped_folder()
    if folder is None:
        raise FileNotFoundError(
            "the runs that come with the lessons are not here: work in a checkout of contextlab, "
            "or let CONTEXTLAB_RUNS name its folder lessons/runs"
        )
    if not any(lines(folder)) and not any(folder.glob("*.json")):
        raise FileNotFoundError(
            f"{folder} holds no run: let CONTEXTLAB_RUNS name the folder lessons/runs of a "
            "checkout of contextlab, or train them: python -m contextlab runs"
        )
    return folder


def _places() -> Iterator[tuple[Path, str]]:
    with suppress(FileNotFoundError):  # nobody's home: the shipped runs are read all the same
        yield home() / "runs", "own"
    if (folder := shipped_folder()) is not None:
        yield folder, "shipped"


def _last(name: str) -> str:
    """The last word of a run's name is the hash of its configuration."""
    return name.rpartition("-")[2]


Stamp = tuple[Path, int, int]  # a file, when it was written and how long it is


def _stamps(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    found = []
    for path in sorted(paths):
        if not path.name.startswith(".") and path.is_file():  # not one that is being written
            stat = path.stat()
            found.append((path, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


@lru_cache(maxsize=16)
def _lines(stamps: tuple[Stamp, ...]) -> tuple[Line, ...]:
    return tuple(
        Line(path, number, text)
        for path, *_ in stamps
        # one damaged byte must not hide the other lines
        for number, text in enumerate(
            path.read_text(encoding="utf-8", errors="surrogateescape").split("\n"), 1
        )
        if text.strip()
    )


@lru_cache(maxsize=16)
def _index(stamps: tuple[Stamp, ...]) -> dict[str | None, list[Line]]:
    """Lines by the configuration's hash; those whose beginning is damaged under ``None``."""
    index: dict[str | None, list[Line]] = {}
    for line in _lines(stamps):
        index.setdefault(line.hash, []).append(line)
    return index


def _only(there: Sequence[Line]) -> Line:
    if len(there) > 1:
        places = " and ".join(map(str, there))
        raise ValueError(f"{there[0].name} stands in {places}: delete one of these lines")
    return there[0]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
