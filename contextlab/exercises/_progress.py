"""What the learner has solved: one small file in the course's home folder, written atomically."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

from contextlab.home import home


def path() -> Path:
    """Where the progress is saved."""
    return home() / "progress.json"


def read() -> dict[str, dict]:
    """`{"exercises": {name: ...}, "quizzes": {number: ...}}`; empty when nothing can be read."""
    try:
        saved = json.loads(path().read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        saved = {}
    except (OSError, ValueError):
        saved = None
    if not isinstance(saved, dict):
        _set_aside()
        saved = {}
    return {
        key: saved.get(key) if isinstance(saved.get(key), dict) else {}
        for key in ("exercises", "quizzes")
    }


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


def _write(saved: dict) -> str:
    target = path()
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(saved, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(temporary, target)
    except OSError as error:
        return f"The progress could not be saved: {error.strerror or error}."
    return ""


def _set_aside() -> None:
    # an unreadable file is kept for its owner, and a new one begun
    try:
        os.replace(path(), path().with_suffix(".unreadable"))
    except OSError:
        return
