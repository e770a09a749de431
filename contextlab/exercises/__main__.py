"""Commands for those who write lessons.

sync      write the generated cells (exercises, quiz, navigation) from their source
refresh   the same, then execute the lesson and store its outputs, the figures in few bytes
shrink    make the stored figures small, and execute nothing
check     change nothing; say which generated cells differ from their source, and with --run
          which stored outputs differ from a new execution
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from contextlab.exercises import _notebook


def main(arguments: list[str] | None = None) -> int:
    """Run one command over lessons; 1 when a lesson failed or is not up to date."""
    parser = argparse.ArgumentParser(
        prog="python -m contextlab.exercises",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("sync", "refresh", "shrink", "check"))
    parser.add_argument(
        "lessons", nargs="*", help="notebooks or patterns (default: lessons/*.ipynb)"
    )
    parser.add_argument(
        "--run", action="store_true", help="with check: execute the lessons as well"
    )
    options = parser.parse_intermixed_args(arguments)
    failed = False
    for path in _paths(options.lessons or ["lessons/*.ipynb"]):
        begin = time.perf_counter()
        try:
            word, fine = _one(options.command, path, options.run)
        except (OSError, RuntimeError, ValueError) as error:
            word, fine = str(error), False
        print(f"{path.name}: {word} ({time.perf_counter() - begin:.0f} s)", flush=True)
        failed |= not fine
    return int(failed)


def _one(command: str, path: Path, run: bool) -> tuple[str, bool]:
    if command == "check":
        old = _notebook.read(path)
        new = _notebook.refresh(path) if run else _notebook.sync(old, path)
        places = _notebook.stale(old, new)
        return (f"cells {places} are not up to date", False) if places else ("up to date", True)
    if command == "refresh":
        new = _notebook.refresh(path)
    elif command == "shrink":
        new = _notebook.shrink(_notebook.read(path))
    else:
        new = _notebook.sync(_notebook.read(path), path)
    return ("written" if _notebook.write(new, path) else "unchanged"), True


def _paths(patterns: list[str]) -> list[Path]:
    # a shell on Windows hands patterns over as they are
    found = [
        path
        for pattern in patterns
        for path in (sorted(Path().glob(pattern)) if "*" in pattern else [Path(pattern)])
    ]
    if not found:
        raise SystemExit(
            f"no lessons match {', '.join(patterns)}; run this in the project's folder"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
