"""Which stored run is meant, and what is wrong with what was given in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlab.runs import Config, Run

MEANT = "give the folder of `train`, the JSON file of a run, or the name of a shipped run"


def stored(path: Path) -> Run:
    """The run in a folder or a file, or a shipped one by its name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file holds something else, or its weights are not those of the run.
    """
    from contextlab import runs

    given = path
    if path.is_dir():
        path = path / "metrics.json"
        if not path.is_file():
            raise FileNotFoundError(f"{given} holds no metrics.json, so no finished run: {MEANT}")
    elif not path.exists():
        if (run := runs.named(str(path))) is not None:
            return run
        raise FileNotFoundError(f"no run at {path}, and none is called so: {MEANT}")
    elif path.suffix == ".safetensors":
        beside = path.with_suffix(".json"), path.with_name("metrics.json")
        run = next((file for file in beside if file.is_file()), None)
        meant = f"the run that they belong to is {run}" if run else MEANT
        raise ValueError(f"{path} holds weights: {meant}")
    found = _json(path)
    try:
        return runs.read(path)
    except (ValueError, KeyError, AttributeError) as error:
        named = found.get("weights") or {}
        weights = path.with_name(str(named["file"])) if "file" in named else None
        if weights is not None and not weights.is_file():
            said = f"{path} names the weights {weights.name}, which are missing beside it"
        elif weights is not None and "is missing or not what" in str(error):
            said = f"{weights} is not the file that {path.name} was written with (other SHA-256)"
        else:
            said = f"{path} is damaged or was written by another version ({error.__cause__!r})"
        raise ValueError(f"{said}; another --out trains the run anew") from error


def _json(path: Path) -> dict:
    """What the file holds, if it looks like a run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        found = None
    if not isinstance(found, dict) or not {"config", "metrics"} <= found.keys():
        raise ValueError(f"{path} is no run of contextlab: {MEANT}")
    return found


def other(one: Config, wanted: Config) -> str:
    """The settings in which two configurations differ, in words; nothing if they are the same."""
    if one.hash == wanted.hash:
        return ""
    have, want = one.to_dict(), wanted.to_dict()
    return ", ".join(key for key in have | want if have.get(key) != want.get(key))
