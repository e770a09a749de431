"""The claims as data: what each source says, and where. The rules that judge them are elsewhere."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, field
from importlib import resources

KINDS = ("arithmetic", "count", "effect")


@dataclass(frozen=True)
class Entry:
    """A sentence of a source that can be tested.

    Args:
        name: short name, such as "S22".
        kind: "arithmetic" is right or a misprint, a "count" is made again, an "effect" wants an
            experiment.
        source: the paper.
        sentence: what is claimed, with its numbers.
        lesson: number of the lesson that treats it, or will.
        place: where in the paper.
        published: the numbers that a rule compares with, by what they are of.
        needs: of a claim that nothing here tests yet, what it would take.
    """

    name: str
    kind: str
    source: str
    sentence: str
    lesson: int
    place: str = ""
    published: dict[str, float] = field(default_factory=dict)
    needs: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"{self.name}: expected a kind of {', '.join(KINDS)}, got {self.kind!r}"
            )

    @property
    def where(self) -> str:
        """Paper and place."""
        return ", ".join(filter(None, (self.source, self.place)))


@functools.cache
def entries() -> dict[str, Entry]:
    """All claims by name, in the order of the sources.

    Example:
        >>> entries()["S13"].kind, entries()["S13"].where
        ('arithmetic', 'SRNet, Table I')
    """
    text = resources.files(__package__).joinpath("claims.toml").read_text(encoding="utf-8")
    return {name: Entry(name, **values) for name, values in tomllib.loads(text).items()}


def entry(name: str) -> Entry:
    """One claim as its source states it.

    Raises:
        ValueError: there is no such claim.
    """
    if name not in entries():
        raise ValueError(f"expected a claim of {', '.join(entries())}, got {name!r}")
    return entries()[name]
