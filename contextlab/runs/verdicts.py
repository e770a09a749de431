"""Verdicts on a claim, by rules that were fixed before the runs were compared.

Every comparison is a paired difference with a 95 % interval (see `evidence`), and a claim of
several parts is judged by all of them together. No interval is corrected for their number. A claim
with a run missing is undecided. Published figures are of Cityscapes, one run each; ours of
generated streets and of CamVid, where a point is another point. So it is the direction that we
test, and the size only as far as half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from contextlab.costs import Claim
from contextlab.costs.claims import NOT, PARTLY, REPRODUCED, UNDECIDED
from contextlab.runs.config import Config
from contextlab.runs.evidence import Paired, difference

MARGIN = 1.0  # points: what differs by less is the same


def effect(d: Paired, published: float | None = None, *, margin: float = MARGIN) -> str:
    """Verdict on "a is better than b".

    What counts is half of the published difference, or, where no size was published, the margin.
    Reproduced: the interval lies above 0; in part if it also lies below what counts. Not
    reproduced: it reaches down to 0 and lies below what counts. Undecided: anything else, and
    whenever a pair is missing.

    Args:
        d: a - b.
        published: the difference that was claimed, above 0.
        margin: what is too small to count.
    """
    if d.missing or d.n < 2:
        return UNDECIDED
    half = margin if published is None else published / 2
    if d.low > 0:
        return REPRODUCED if d.high >= half else PARTLY
    return NOT if d.high < half else UNDECIDED


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

    All reproduced: reproduced. Some of them and some not: in part. None of them, and some not: not
    reproduced. Otherwise undecided.
    """
    found = list(verdicts)
    if not found:
        raise ValueError("expected at least one verdict, got none")
    if set(found) == {REPRODUCED}:
        return REPRODUCED
    right = REPRODUCED in found or PARTLY in found
    if NOT in found:
        return PARTLY if right else NOT
    return UNDECIDED if UNDECIDED in found else PARTLY


@dataclass(frozen=True)
class Part:
    """One comparison of a claim: what was compared, what came out, and the verdict on it."""

    words: str
    d: Paired
    verdict: str

    def __str__(self) -> str:
        if self.d.missing:
            so_far = f", so far {self.d}" if self.d.n > 1 else ""
            return f"{self.words}: {self.d.n} of {self.d.planned} pairs of runs{so_far}"
        if self.verdict == UNDECIDED and self.d.n > 1:
            return f"{self.words} {self.d}, {self.d.detectable:.1f} was detectable"
        return f"{self.words} {self.d}"


def judge(name: str, source: str, sentence: str, parts: list[Part], more: str = "") -> Claim:
    mixed = len({part.verdict for part in parts}) > 1
    words = [f"{part} ({part.verdict})" if mixed else str(part) for part in parts]
    found = "; ".join([*words, *([more] if more else [])])
    verdict = jointly(part.verdict for part in parts)
    if any(part.d.missing for part in parts):
        verdict = UNDECIDED
    return Claim(name, source, sentence, found, verdict)


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
    said = "" if published is None else f" (claimed {published:+.1f})"
    verdict = rule(d) if published is None else rule(d, published)
    return Part(f"{words}{a} against {b}{of}{said}", d, verdict)
