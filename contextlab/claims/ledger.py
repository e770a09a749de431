"""The ledger: every claim with its verdict, computed when asked, kept until something changes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import torch

import contextlab
from contextlab import runs
from contextlab.costs import Table
from contextlab.home import home, write_atomically

from . import across, cgrseg, dgcnet, graph_guided, squeeze_reasoning
from .entries import entries, entry
from .evidence import Paired
from .times import read_times
from .verdicts import OPEN, VERDICTS, Claim, Finding, Part

PAPERS = (squeeze_reasoning, cgrseg, graph_guided, dgcnet, across)
#: rules by claim; those in `TIMED` take measured times
RULES: dict[str, Callable[..., Finding]] = {
    name: rule for paper in PAPERS for name, rule in paper.RULES.items()
}
TIMED: dict[str, Callable[..., Finding]] = {
    name: rule for paper in (squeeze_reasoning, across) for name, rule in paper.TIMED.items()
}


def claim(name: str, *, times: str | Path | None = None) -> Claim:
    """One claim and what becomes of it now; a few look into networks or train tiny ones.

    Args:
        name: such as "D1".
        times: a JSON file of ``benchmarks/modules.py``; the shipped one by default.

    Raises:
        ValueError: there is no such claim, or the file holds no measured times.
    """
    known = entry(name)
    if name in TIMED:
        return Claim(known, TIMED[name](read_times(times)))
    if name in RULES:
        return Claim(known, RULES[name]())
    return Claim(known, Finding(OPEN, f"would take {known.needs}"))


def settle(
    names: Iterable[str] | None = None,
    *,
    times: str | Path | None = None,
    cache: bool = True,
    told: Callable[[str], None] | None = None,
) -> list[Claim]:
    """Claims with their verdicts, in the order of the sources.

    What was found is kept in the home and used again until the package, torch, the runs or the
    times change.

    Args:
        names: which; all by default, which takes a minute or two the first time.
        times: as for `claim`.
        cache: use and keep what was found.
        told: called with the name of each claim that has to be computed.

    Raises:
        FileNotFoundError: no shipped runs are found, which all effects need.
        ValueError: there is no such claim.
    """
    wanted = [entry(name).name for name in (entries() if names is None else names)]
    if any(entry(name).kind == "effect" and name in RULES for name in wanted):
        runs.need_shipped()
    state = _state(times) if cache else ""
    file = home() / "claims.json"
    kept = _kept(file, state) if cache else {}
    found, before = [], len(kept)
    for name in wanted:
        if name not in kept:
            if told is not None and (name in RULES or name in TIMED):
                told(name)
            kept[name] = claim(name, times=times).finding
        found.append(Claim(entry(name), kept[name]))
    if cache and len(kept) > before:
        kept = {name: asdict(finding) for name, finding in kept.items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"state": state, "findings": kept}))
    return found


def table(found: Iterable[Claim]) -> Table:
    """Claims as a table: name, sentence, finding, verdict."""
    rows = [
        {"claim": c.name, "sentence": c.sentence, "found": c.found, "verdict": c.verdict}
        for c in found
    ]
    return Table(rows, title="Claims")


def totals(found: Iterable[Claim]) -> dict[str, int]:
    """How many claims have each verdict, in the order of `VERDICTS`."""
    counts = Counter(c.verdict for c in found)
    return {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}


def _state(times: str | Path | None) -> str:
    """Sixteen hexadecimal digits of all that a verdict depends on."""
    digest = hashlib.sha256(torch.__version__.encode())
    package = Path(contextlab.__file__).parent
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.toml")]):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    for folder in (runs.shipped_folder(), home() / "runs"):
        for path in sorted(folder.glob("*.json*")) if folder else ():
            seen = path.stat()
            digest.update(f"{path} {seen.st_size} {seen.st_mtime_ns}".encode())
    digest.update(repr(sorted(read_times(times).items())).encode())
    return digest.hexdigest()[:16]


def _kept(file: Path, state: str) -> dict[str, Finding]:
    """The findings that were kept in this state; none where they cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["state"] != state:
            return {}
        return {name: _finding(values) for name, values in found["findings"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _finding(values: dict) -> Finding:
    parts = [
        Part(**{**part, "d": Paired(tuple(part["d"]["differences"]), part["d"]["planned"])})
        for part in values["parts"]
    ]
    return Finding(values["verdict"], values["found"], tuple(parts))
