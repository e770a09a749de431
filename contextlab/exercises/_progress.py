"""What the learner has solved: one small file in the course's home folder, written atomically.

Where there is no home, or it cannot be written to, it is kept in memory until the kernel stops.
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import date
from pathlib import Path

from contextlab.home import home, write_atomically

PARTS = ("exercises", "quizzes")
_kept: dict[str, dict] = {}  # what could not be saved, by the file that it should be in


def path() -> Path:
    """Where the progress is saved."""
    return home() / "progress.json"


def read() -> dict[str, dict]:
    """`{"exercises": {name: ...}, "quizzes": {number: ...}}`; empty when nothing can be read."""
    if (kept := _kept.get(_key())) is not None:
        return kept
    try:
        saved = json.loads(path().read_text(encoding="utf-8"))
    except OSError:  # none there, no home, or not to be read
        saved = {}
    except ValueError:
        saved = None
    if not isinstance(saved, dict):
        _set_aside()
        saved = {}
    return {key: saved.get(key) if isinstance(saved.get(key), dict) else {} for key in PARTS}


def record(name: str, state: str) -> str:
    """Note that an exercise was "solved" or answered "wrong"; what was solved once stays solved.

    Returns:
        An empty string, or a sentence that says why nothing could be saved.
    """
    saved = read()
    old = saved["exercises"].get(name, {})
    tries = old.get("tries", 0)
    if old.get("state") != "solved":
        saved["exercises"][name] = {
            "state": state,
            "tries": tries + 1,
            "date": date.today().isoformat(),
        }
        return _write(saved)
    return ""


def record_quiz(number: str, right: int, total: int) -> str:
    """Note the best result of a lesson's quiz; returns as `record` does."""
    saved = read()
    old = saved["quizzes"].get(number, {})
    if right > old.get("right", -1) or total != old.get("total"):
        saved["quizzes"][number] = {"right": right, "total": total}
        return _write(saved)
    return ""


def _key() -> str:
    try:
        return str(path())
    except OSError:
        return ""


def _write(saved: dict) -> str:
    try:
        target = path()
        if not _is_progress(target):
            raise FileExistsError(f"{target} is no progress of these exercises and is left alone")
        write_atomically(target, json.dumps(saved, indent=1, sort_keys=True))
    except OSError as error:
        _kept[_key()] = saved
        return f"The progress could not be saved: {error}. It is kept until the kernel stops."
    _kept.pop(_key(), None)
    return ""


def _is_progress(target: Path) -> bool:
    """Whether the file is ours to write: not there, or with what we write."""
    try:
        found = json.loads(target.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except ValueError:
        return False
    return isinstance(found, dict) and (not found or any(key in found for key in PARTS))


def _set_aside() -> None:
    # an unreadable file is kept for its owner, and a new one begun
    target = path()
    places = [target.with_suffix(f".unreadable{n or ''}") for n in range(100)]
    free = next((place for place in places if not place.exists()), None)
    if free is not None:
        with contextlib.suppress(OSError):
            os.replace(target, free)
