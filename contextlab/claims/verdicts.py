"""Verdicts on a claim, by rules that were fixed before the runs were compared.

An effect is a paired difference with a 95 % interval (see `evidence`). It has a direction and a
size, and they are judged apart: published figures are of Cityscapes, one run each, ours of
generated streets and small networks, where a point is another point. So a difference far from the
published one keeps its direction and does not reproduce its size. A claim of several parts is
judged by all of them together; every part keeps its own verdict beside that of the whole. No
interval is corrected for their number. A claim with a run missing is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from contextlab.runs import Config

from .entries import Entry
from .evidence import Paired, difference

REPRODUCED, DIRECTION, PARTLY = "reproduced", "direction only", "in part"
NOT, UNDECIDED = "not reproduced", "undecided"
RIGHT, MISPRINT, OPEN = "right", "misprint", "open"
VERDICTS = (RIGHT, REPRODUCED, DIRECTION, PARTLY, NOT, MISPRINT, UNDECIDED, OPEN)
#: what each verdict says, for a legend
MEANING = {
    RIGHT: "the calculation or identity is right",
    REPRODUCED: "counted or found as claimed: the direction, and the size where one was printed",
    DIRECTION: "the direction holds; the size is another (less than half, or more than twice)",
    PARTLY: "some parts hold, others do not or are undecided",
    NOT: "the interval excludes what was claimed",
    MISPRINT: "a printed number does not follow from the numbers beside it",
    UNDECIDED: "the runs there are cannot tell, or no setting there is can decide",
    OPEN: "nothing here tests it yet",
}

MARGIN = 1.0  # points: what differs by less is the same


def effect(d: Paired, published: float | None = None, *, margin: float = MARGIN) -> str:
    """Verdict on "a is better than b".

    The direction holds if the interval lies above 0. Then the size holds if the interval meets
    the range from half the published difference to twice that; where no size was published, if it
    reaches the margin. Not reproduced: the interval reaches down to 0 and ends below half the
    published difference, or the margin. Undecided: anything else, and whenever a pair is missing.

    Args:
        d: a - b.
        published: the difference that was claimed, above 0.
        margin: what is too small to count.
    """
    if d.missing or d.n < 2:
        return UNDECIDED
    low, high = (margin, math.inf) if published is None else (published / 2, 2 * published)
    if d.low > 0:
        return REPRODUCED if d.high >= low and d.low <= high else DIRECTION
    return NOT if d.high < low else UNDECIDED


def alike(d: Paired, *, margin: float = MARGIN) -> str:
    """Verdict on "a and b are about the same".

    Reproduced: the interval lies within the margin on both sides of 0. Not reproduced: all of it
    lies beyond the margin on one side. Undecided: anything else.
    """
    if d.missing or d.n < 2:
        return UNDECIDED
    if -margin < d.low and d.high < margin:
        return REPRODUCED
    return NOT if d.low > margin or d.high < -margin else UNDECIDED


def no_worse(d: Paired, *, margin: float = MARGIN) -> str:
    """Verdict on "a is not worse than b": the interval lies above, or all below, minus a margin."""
    if d.missing or d.n < 2:
        return UNDECIDED
    return REPRODUCED if d.low > -margin else NOT if d.high < -margin else UNDECIDED


def jointly(verdicts: Iterable[str]) -> str:
    """Verdict on a claim of several parts.

    All alike: that. Reproduced and direction only: direction only. Otherwise, if any part holds,
    at least in its direction: in part. If none does: not reproduced if that is said of any, else
    undecided.
    """
    found = list(verdicts)
    if not found:
        raise ValueError("expected at least one verdict, got none")
    if len(set(found)) == 1:
        return found[0]
    if set(found) == {REPRODUCED, DIRECTION}:
        return DIRECTION
    if {REPRODUCED, DIRECTION, PARTLY} & set(found):
        return PARTLY
    return NOT if NOT in found else UNDECIDED


@dataclass(frozen=True)
class Part:
    """One comparison of a claim: what was compared, what came out, and the verdict on it.

    Args:
        words: what was compared.
        d: the difference.
        verdict: on this part alone.
        published: the claimed difference, if there is one.
    """

    words: str
    d: Paired
    verdict: str
    published: float | None = None

    def __str__(self) -> str:
        said = "" if self.published is None else f" (claimed {self.published:+.1f})"
        if self.d.missing:
            so_far = f", so far {self.d}" if self.d.n > 1 else ""
            return f"{self.words}{said}: {self.d.n} of {self.d.planned} pairs of runs{so_far}"
        seen = f", {self.d.detectable:.1f} was detectable" if self.d.n > 1 else ""
        return f"{self.words}{said} {self.d}{seen}"


@dataclass(frozen=True)
class Finding:
    """What came out for a claim.

    Args:
        verdict: one of `VERDICTS`.
        found: in words and numbers.
        parts: the comparisons that decided it, where runs did.
    """

    verdict: str
    found: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A claim as its source states it, and what became of it."""

    entry: Entry
    finding: Finding

    @property
    def name(self) -> str:
        """Short name, such as "S22"."""
        return self.entry.name

    @property
    def kind(self) -> str:
        """Whether it is arithmetic, a count or an effect."""
        return self.entry.kind

    @property
    def source(self) -> str:
        """Paper and place."""
        return self.entry.where

    @property
    def sentence(self) -> str:
        """What is claimed."""
        return self.entry.sentence

    @property
    def found(self) -> str:
        """What came out, in words and numbers."""
        return self.finding.found

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        return self.finding.verdict

    @property
    def parts(self) -> tuple[Part, ...]:
        """The comparisons that decided it, where runs did."""
        return self.finding.parts


def judge(parts: Iterable[Part], more: str = "") -> Finding:
    """The finding of several parts: their own verdicts are shown wherever they are not all alike.

    Args:
        parts: those that decide.
        more: what stands behind them and decides nothing.
    """
    parts = tuple(parts)
    if not parts:
        return Finding(UNDECIDED, more or "no setting there is can decide it")
    mixed = len({part.verdict for part in parts}) > 1
    words = [f"{part} ({part.verdict})" if mixed else str(part) for part in parts]
    verdict = jointly(part.verdict for part in parts)
    if any(part.d.missing for part in parts):
        verdict = UNDECIDED
    return Finding(verdict, "; ".join([*words, *filter(None, [more])]), parts)


def pair(
    found: dict[str, list[Config]],
    a: str,
    b: str,
    rule: Callable[..., str] = effect,
    published: float | None = None,
    *,
    metric: str = "miou",
    words: str = "",
) -> Part:
    """One part: a - b, judged by a rule."""
    d = difference(found, a, b, metric)
    of = "" if metric == "miou" else f" on {metric.replace('_', ' ')}"
    verdict = rule(d) if published is None else rule(d, published)
    return Part(f"{words}{a} against {b}{of}", d, verdict, published)
