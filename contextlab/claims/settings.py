"""Which setting may decide a claim: one in which the method, as a whole, gains something.

Where the whole method is no better than the same network without it, its parts have nothing to
divide: "alike" found there is empty, and "no gain" says nothing of a part. Such differences are
shown, but do not count. So are cells in which the method is not what it is, such as a graph of two
nodes; the papers' files name them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from contextlab.runs import Config

from .evidence import Paired, difference
from .experiments import EXPERIMENTS, configs
from .verdicts import Finding, Part, effect, judge, pair

Cells = dict[str, list[Config]]
Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Setting:
    """A place where experiments are made, and the pair that says whether the method gains there.

    Args:
        suffix: end of an experiment's name there.
        words: what stands before a finding of it.
        names: the experiments that hold the two cells.
        whole: label of the cell with the whole method.
        without: label of the cell without.
    """

    suffix: str
    words: str
    names: tuple[str, ...]
    whole: str
    without: str

    def gain(self, metric: str = "miou") -> Paired:
        """What the whole method gains here."""
        return difference(self.cells(*self.names), self.whole, self.without, metric)

    def cells(self, *names: str) -> Cells | None:
        """The cells of experiments here, together; None if one of them is not made here."""
        if not all(name + self.suffix in EXPERIMENTS for name in names):
            return None
        return {k: v for name in names for k, v in configs(name + self.suffix).items()}


def three(names: tuple[str, ...], whole: str, without: str) -> tuple[Setting, Setting, Setting]:
    """Streets, CamVid over features that have seen the image, and over features of 67 pixels.

    Args:
        names, whole, without: as for `Setting`.
    """
    places = {
        "": "",
        ", CamVid": "CamVid, ",
        ", CamVid, local": "CamVid over features of 67 pixels, ",
    }
    streets, real, local = (Setting(*place, names, whole, without) for place in places.items())
    return streets, real, local


@dataclass
class Comparison:
    """The parts that decide, and in words what was seen beside them."""

    parts: list[Part]
    beside: list[str]

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(self.parts + other.parts, self.beside + other.beside)

    @property
    def more(self) -> str:
        """What was seen beside the parts."""
        return "; ".join(self.beside)

    def finding(self) -> Finding:
        """The parts judged together."""
        return judge(self.parts, self.more)


def compare_in(
    settings: Iterable[Setting],
    names: Iterable[str],
    pairs: Pairs,
    rule: Callable[..., str] = effect,
    *,
    published: Mapping[str, float] | None = None,
    metric: str = "miou",
    further: Pairs = (),
    empty: Mapping[tuple[str, str], str] | None = None,
) -> Comparison:
    """Compare pairs of cells wherever that can decide something.

    Args:
        settings: where.
        names: of the experiments whose cells are taken together.
        pairs: labels (a, b); the difference is a - b.
        rule: the verdict on a difference.
        published: claimed differences, by "a - b".
        metric: of which figure.
        further: pairs that the claim says nothing about, shown beside the parts.
        empty: (suffix of a setting, label) of a cell that is not what it is called there, and why.

    Returns:
        the parts, and what stands beside them.
    """
    found, pairs, published, empty = Comparison([], []), list(pairs), published or {}, empty or {}
    for setting in settings:
        cells = setting.cells(*names)
        if cells is None:
            continue
        told = {"metric": metric, "words": setting.words}
        made = [pair(cells, a, b, rule, published.get(f"{a} - {b}"), **told) for a, b in pairs]
        planned = any(EXPERIMENTS[name + setting.suffix].planned for name in names)
        if planned and not any(part.d.n for part in made):
            found.beside.append(f"{setting.words}not run yet")
            continue
        gain = setting.gain(metric)
        if gain.n > 1 and gain.low <= 0:
            shown = "; ".join(str(part) for part in made)
            found.beside.append(f"not used, since the whole gains {gain} there: {shown}")
            continue
        for (a, b), part in zip(pairs, made):
            why = [empty.get((setting.suffix, label)) for label in (a, b)]
            if any(why):
                found.beside.append(f"not used, since {next(filter(None, why))}: {part}")
            else:
                found.parts.append(part)
        found.beside += [str(pair(cells, a, b, **told)) for a, b in further]
    return found
