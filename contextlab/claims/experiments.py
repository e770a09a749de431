"""Experiments: named groups of runs that differ in one thing, each over the same seeds.

An experiment holds the runs that answer one claim of the sources; the claim's name is its name. Its
cells share data, recipe and seeds, so that two cells are compared seed by seed. The papers' own are
in their files; here is what they are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contextlab.runs import COURSE_OPTIONS, Config, camvid, streets

Make = Callable[[int], Config]
Cell = tuple[str | None, dict]  # a module and its options
Question = tuple[str, dict[str, Cell]]  # what is asked, and the cells that are compared

THREE, FIVE = (0, 1, 2), (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Experiment:
    """A question, the conditions that are compared, and the seeds.

    Args:
        question: what is asked.
        cells: label to a function from the seed to its configuration; the first is the reference.
        seeds: the same for every cell.
        planned: its runs are not all made yet; `shipped` leaves them out.
    """

    question: str
    cells: dict[str, Make]
    seeds: tuple[int, ...]
    planned: bool = False

    def configs(self) -> dict[str, list[Config]]:
        """The configurations of every cell, in the order of the seeds."""
        return {label: [make(s) for s in self.seeds] for label, make in self.cells.items()}


#: all experiments by name; the papers' files add theirs
EXPERIMENTS: dict[str, Experiment] = {}


def register(found: dict[str, Experiment]) -> None:
    """Add experiments to those that there are.

    Raises:
        ValueError: the name of one is taken.
    """
    if taken := found.keys() & EXPERIMENTS.keys():
        raise ValueError(f"expected new names of experiments, got {', '.join(sorted(taken))}")
    EXPERIMENTS.update(found)


def configs(name: str) -> dict[str, list[Config]]:
    """The configurations of an experiment, by cell.

    Args:
        name: of the experiment, such as "D1".

    Raises:
        ValueError: there is no such experiment.

    Example:
        >>> {label: len(runs) for label, runs in configs("D1").items()}
        {'none': 5, 'coordinate': 5, 'feature': 5, 'both': 5}
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"expected an experiment of {', '.join(EXPERIMENTS)}, got {name!r}")
    return EXPERIMENTS[name].configs()


def on_streets(context: str | None, **options) -> Make:
    """The course's setting, with other options of the module where some are given."""
    options = {**COURSE_OPTIONS.get(context, {}), **options}
    return lambda seed: streets(context, seed=seed, budget="quick", context_options=options)


def on_camvid(context: str | None, **options) -> Make:
    """CamVid over a frozen backbone that has seen the whole image; the modules' own values."""
    shared = {"budget": "quick", "frozen": True, "context_options": options}
    return lambda seed: camvid(context, seed=seed, **shared)


def on_camvid_local(context: str | None, **options) -> Make:
    """CamVid over the backbone's first stages: stride 8, a window of 67 pixels."""
    stages = {"output_stride": 16, "out_indices": [2]}
    shared = {"budget": "quick", "frozen": True, "backbone_options": stages}
    return lambda seed: camvid(context, seed=seed, context_options=options, **shared)


def cells_on(make: Callable[..., Make], cells: dict[str, Cell]) -> dict[str, Make]:
    """The cells of a question in one setting."""
    return {label: make(module, **options) for label, (module, options) in cells.items()}


def on_both(questions: dict[str, Question]) -> dict[str, Experiment]:
    """Each question on streets, and on CamVid over features that have seen the whole image."""
    asked = {
        n: Experiment(q, cells_on(on_streets, cells), FIVE) for n, (q, cells) in questions.items()
    }
    return asked | {
        f"{name}, CamVid": Experiment(
            f"{question[:-1]}, on real streets?", cells_on(on_camvid, cells), FIVE
        )
        for name, (question, cells) in questions.items()
    }


def locally(questions: dict[str, Question]) -> dict[str, Experiment]:
    """Each question on CamVid over features of 67 pixels, with the FCN behind its cells."""
    found = {}
    for name, (question, cells) in questions.items():
        if all(module is not None for module, _ in cells.values()):
            cells = {**cells, "FCN": (None, {})}
        found[f"{name}, CamVid, local"] = Experiment(
            f"{question[:-1]}, over features that see a patch of 67 pixels?",
            cells_on(on_camvid_local, cells),
            THREE,
            planned=True,
        )
    return found
