"""Measured times of a forward pass, which two claims compare: those that come along, or others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

#: seconds of one forward pass by (module, side of the map)
Seconds = Mapping[tuple[str, int], float]

HERE = Path(__file__).parent
#: where ``benchmarks/modules.py`` leaves its figures, and where an installed package has them
SHIPPED = (HERE.parents[1] / "benchmarks" / "modules.json", HERE / "modules.json")


def read_times(path: str | Path | None = None) -> dict[tuple[str, int], float]:
    """Seconds by (name in the catalogue, side), all from one run of ``benchmarks/modules.py``.

    Args:
        path: its JSON file; the shipped one by default, and no times at all where there is none.

    Raises:
        ValueError: the file holds no such times.
    """
    if path is None:
        path = next(filter(Path.is_file, SHIPPED), None)
        if path is None:
            return {}
    try:
        return {
            (row["module"], row["side"]): row["ours (ms)"] / 1e3
            for row in json.loads(Path(path).read_text(encoding="utf-8"))["rows"]
            if row["pass"] == "forward"
        }
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{path} holds no measured times ({problem!r}): "
            f"python benchmarks/modules.py --json {path} writes them"
        ) from problem
