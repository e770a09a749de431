"""Is one condition better than another? Paired differences over the same seeds, with intervals.

Two runs of one seed share their first weights where the networks agree, the order of the images and
their flips. So the difference of a pair varies less than the two figures do, and it is the
differences that are counted. All differences are in points, i.e. in hundredths.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from contextlab.costs import Table
from contextlab.runs import Config, Run, find

from . import experiments

LEVEL, POWER = 0.95, 0.80


@dataclass(frozen=True)
class Paired:
    """Differences d_1 .. d_n of two conditions over n pairs.

        mean = 1/n Σ d_i,    s² = 1/(n-1) Σ (d_i - mean)²
        95 % interval:  mean ± t(0.975, n-1) s / √n
        detectable:     (t(0.975, n-1) + t(0.80, n-1)) s / √n

    ``detectable`` is the true difference that a study of this size and spread finds, with its
    interval off 0, four times in five (the usual approximation by two central t quantiles). One
    pair has no spread: its interval is the whole line, and nothing is detectable.

    Args:
        differences: of each pair, in points.
        planned: pairs that there will be once all runs are made.

    Example:
        >>> print(Paired((1.0, 2.0, 3.0)))
        +2.0 [-0.5, +4.5] (n = 3)
    """

    differences: tuple[float, ...]
    planned: int | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(d) for d in self.differences):
            raise ValueError(f"expected finite differences, got {self.differences}")

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.differences)

    @property
    def missing(self) -> int:
        """Pairs of which a run is not there."""
        return max(0, (self.planned or self.n) - self.n)

    @property
    def mean(self) -> float:
        """Mean difference; nan without any pair."""
        return math.fsum(self.differences) / self.n if self.n else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation s of the differences; nan for fewer than two pairs."""
        if self.n < 2:
            return math.nan
        return math.sqrt(math.fsum((d - self.mean) ** 2 for d in self.differences) / (self.n - 1))

    def _margin(self, *probabilities: float) -> float:
        if self.n < 2:
            return math.inf
        t = sum(float(stdtrit(self.n - 1, p)) for p in probabilities)
        return t * self.deviation / math.sqrt(self.n)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean difference."""
        margin = self._margin((1 + LEVEL) / 2)
        if math.isinf(margin):
            return -math.inf, math.inf
        return self.mean - margin, self.mean + margin

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.interval[0]

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.interval[1]

    @property
    def detectable(self) -> float:
        """The smallest true difference that these data would probably have shown."""
        return self._margin((1 + LEVEL) / 2, POWER)

    def __str__(self) -> str:
        if not self.n:
            return "no pair"
        if self.n == 1:
            return f"{self.mean:+.1f} (n = 1, no interval)"
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}] (n = {self.n})"


def paired(a: Sequence[float], b: Sequence[float]) -> Paired:
    """The differences a - b of figures that belong together by their place.

    Args:
        a: figures of one condition, in points.
        b: of the other, in the same order.

    Raises:
        ValueError: unequal numbers of figures, or one that is not finite.

    Example:
        >>> paired([80.0, 82.0], [79.0, 80.0]).mean
        1.5
    """
    if len(a) != len(b):
        raise ValueError(f"expected as many figures of both conditions, got {len(a)} and {len(b)}")
    return Paired(tuple(float(x) - float(y) for x, y in zip(a, b)))


def figure(run: Run, metric: str = "miou") -> float:
    """One figure of a run in points.

    Args:
        run: a finished run.
        metric: "miou", "pixel_accuracy", a demand such as "P", or a class.

    Raises:
        ValueError: the run has no such figure.
    """
    metrics = run.metrics
    known = {"miou": metrics.miou, "pixel_accuracy": metrics.pixel_accuracy}
    known |= dict(zip(metrics.classes, metrics.iou)) | metrics.demands
    if metric not in known or math.isnan(known[metric]):
        raise ValueError(f"{run.config.name} has no figure {metric!r}: {', '.join(known)}")
    return 100 * known[metric]


def compare(experiment: str, a: str, b: str, metric: str = "miou") -> Paired:
    """How much better one condition of an experiment is than another, seed by seed.

    Only finished runs are read; nothing is trained. Pairs with a missing run are left out, and
    ``missing`` of the result counts them.

    Args:
        experiment: a name in `experiments.configs`, such as "D1".
        a: label of the condition that is thought better.
        b: label of the other.
        metric: "miou", "pixel_accuracy", a demand such as "P", or a class.

    Returns:
        the differences a - b, in points.

    Raises:
        ValueError: no such experiment, label or figure.
    """
    return difference(conditions(experiment), a, b, metric)


def difference(found: dict[str, list[Config]], a: str, b: str, metric: str = "miou") -> Paired:
    """As `compare`, for conditions that are given as configurations.

    Args:
        found: label to configurations over the seeds.
        a, b, metric: as in `compare`.
    """
    for label in (a, b):
        if label not in found:
            raise ValueError(f"expected one of {', '.join(found)}, got {label!r}")
    ours, theirs = ({c.seed: c for c in found[label]} for label in (a, b))
    seeds = sorted(ours.keys() & theirs.keys())
    pairs = [(find(ours[seed]), find(theirs[seed])) for seed in seeds]
    there = [(figure(x, metric), figure(y, metric)) for x, y in pairs if x and y]
    return Paired(tuple(x - y for x, y in there), planned=len(seeds))


def conditions(experiment: str) -> dict[str, list[Config]]:
    """The configurations of an experiment: label to one configuration a seed."""
    return experiments.configs(experiment)


def there(experiment: str) -> tuple[int, int]:
    """How many runs of an experiment are finished, and how many there will be."""
    wanted = {c.hash: c for found in conditions(experiment).values() for c in found}
    return sum(find(c) is not None for c in wanted.values()), len(wanted)


def summary(experiment: str, metrics: Iterable[str] = ("miou", "G", "L", "P", "C", "A")) -> Table:
    """Mean over the seeds of each condition, in points, with the spread of the mIoU.

    Args:
        experiment: a name in `experiments.configs`.
        metrics: the columns.

    Raises:
        ValueError: no run of the experiment is finished.
    """
    rows = []
    for label, configs in conditions(experiment).items():
        runs = [run for run in map(find, configs) if run]
        if not runs:
            continue
        row: dict = {"condition": label, "seeds": len(runs)}
        for metric in metrics:
            values = [figure(run, metric) for run in runs]
            row["mIoU" if metric == "miou" else metric] = math.fsum(values) / len(values)
            if metric == "miou":
                row["range"] = max(values) - min(values)
        rows.append(row)
    if not rows:
        raise ValueError(f"no run of {experiment} is finished: python -m contextlab runs")
    return Table(rows, digits=3)


def differences(
    experiment: str, pairs: Iterable[tuple[str, str]], metrics: Iterable[str] = ("miou",)
) -> Table:
    """Paired differences with interval and what was detectable, one row a pair and figure.

    Args:
        experiment: a name in `experiments.configs`.
        pairs: labels (a, b); the difference is a - b.
        metrics: of which figures.
    """
    metrics, rows = tuple(metrics), []
    for a, b in pairs:
        for metric in metrics:
            d = compare(experiment, a, b, metric)
            row: dict = {"difference": f"{a} - {b}"}
            if len(metrics) > 1:
                row["of"] = "mIoU" if metric == "miou" else metric
            rows.append(row | columns(d))
    return Table(rows)


def columns(d: Paired) -> dict[str, str | int]:
    """A paired difference as the columns of a table."""
    shown = {"n": d.n, "mean": "–", "95 % interval": "–", "detectable": "–"}
    if d.n:
        shown["mean"] = f"{d.mean:+.1f}"
    if d.n > 1:
        shown |= {
            "95 % interval": f"{d.low:+.1f} to {d.high:+.1f}",
            "detectable": f"{d.detectable:.1f}",
        }
    return shown
