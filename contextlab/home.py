"""Where contextlab keeps what it makes and fetches, and how files get there: whole, or not at all.

A file is written beside its place and moved there in one operation of the file system, so a process
killed at any moment leaves the old version or the new one. What it was writing stays under a name
that tells which process it belonged to; the next start removes it when that process has gone.

What the program makes in a folder that is not its own it lists there in a small file, `MARK`. Only
what is listed is ever overwritten or removed.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import itertools
import os
import platform
import re
import shutil
import sys
import time
import uuid
from pathlib import Path

MARK = ".contextlab"
_TITLE = "contextlab made the files listed here; it overwrites and removes no others"
_PARTIAL = ".partial-"
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_OWN = uuid.uuid4().hex[:8]  # a process of the same number, after a restart, has another one
_COUNT = itertools.count()
_NAME = re.compile(r"\.partial-([0-9a-f]{6})-(\d+)-([0-9a-f]{8})[0-9a-f]+-.+")
_DAY = 24 * 3600


def home() -> Path:
    """Folder for runs, fetched data and saved progress; nothing is created by asking for it.

    ``$CONTEXTLAB_HOME`` if it is set, else ``contextlab`` in the platform's cache folder:
    ``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux, ``~/Library/Caches`` on macOS,
    ``%LOCALAPPDATA%`` on Windows.

    Returns:
        An absolute path.

    Raises:
        FileNotFoundError: there is no home folder to put it in; the message names the variable.

    Example:
        >>> home().is_absolute()
        True
    """
    try:
        if chosen := os.environ.get("CONTEXTLAB_HOME"):
            return Path(chosen).expanduser().absolute()
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            cache = Path(local) if local else Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            cache = Path.home() / "Library" / "Caches"
        else:
            # the XDG rule: a relative path there is invalid and must be ignored
            cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
            if not cache.is_absolute():
                cache = Path.home() / ".cache"
        return (cache / "contextlab").absolute()
    except (RuntimeError, OSError) as error:  # no such user, or no working folder
        raise FileNotFoundError(
            f"no home folder is known here ({str(error).rstrip('.')}): set CONTEXTLAB_HOME to a "
            "folder that you can write to"
        ) from error


def usable(folder: str | Path, need: int = 0) -> Path:
    """Make a folder and see that it can be written to, before any work is done for it.

    Args:
        folder: where something will be stored.
        need: bytes that must be free.

    Returns:
        The folder.

    Raises:
        OSError: a file is in the way, it cannot be written to, or the disk is full; one sentence
            that says so and names the remedy.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = partial(folder / "probe")
        try:
            probe.write_bytes(b"contextlab")
        finally:
            probe.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise blocked(folder, error) from error
    if free < need:
        few = f"{need / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        raise blocked(folder, OSError(errno.ENOSPC, few))
    return folder


def blocked(path: str | Path, error: OSError) -> OSError:
    """The same error as one sentence with its remedy.

    Args:
        path: what could not be read or written.
        error: what the operating system said.

    Returns:
        An error of the same kind.
    """
    path, reason = Path(path), error.strerror or str(error)
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        way = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), path)
        reason = f"the file {way} is in the way of a folder"
    try:
        inside = path.absolute().is_relative_to(home())
    except FileNotFoundError:
        inside = False
    full = "free some space, or " if error.errno == errno.ENOSPC else ""
    remedy = (
        "set CONTEXTLAB_HOME to a folder that you can write to"
        if inside
        else "choose a folder that you can write to"
    )
    found = type(error)(f"{path} cannot be written to ({reason}): {full}{remedy}")
    found.errno = error.errno
    return found


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write a file so that it is there whole, or as it was before.

    Of several processes that write the same file at once, the last one wins.

    Args:
        path: the file; its folder is made where it is missing.
        content: bytes, or text to be written as UTF-8.

    Returns:
        The path.

    Raises:
        OSError: it cannot be written; one sentence with the remedy.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    beside = partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise blocked(path, error) from error
    return path


def partial(path: str | Path) -> Path:
    """A name beside a file or folder for what is not yet whole; no two calls give the same."""
    path = Path(path)
    return path.with_name(f"{_PARTIAL}{_HOST}-{os.getpid()}-{_OWN}{next(_COUNT):x}-{path.name}")


def sweep(folder: str | Path, name: str | None = None) -> None:
    """Remove what processes that have gone left half written under names of `partial`.

    Args:
        folder: where to look.
        name: what they were writing; everything by default.
    """
    for path in Path(folder).glob(f"{_PARTIAL}*-{glob.escape(name) if name else '*'}"):
        if not _abandoned(path):
            continue
        if not path.is_dir():
            path.unlink(missing_ok=True)
        elif (path / MARK).is_file():  # whole or, after a kill, begun
            shutil.rmtree(path, ignore_errors=True)
        else:
            remove_empty(path)


def _abandoned(path: Path) -> bool:
    """Whether nobody is writing this any more."""
    if not (found := _NAME.fullmatch(path.name)):
        return False  # not a name of ours
    host, number, own = found[1], int(found[2]), found[3]
    if host == _HOST and number == os.getpid():
        return own != _OWN
    if host == _HOST and os.name == "posix":
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            pass
    # elsewhere, or a process of that number lives, which may be another one by now
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except FileNotFoundError:
        return False


def listed(folder: str | Path) -> list[str] | None:
    """The names of the files that the program made in a folder; ``None`` without its `MARK`."""
    try:
        title, *names = (Path(folder) / MARK).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return names if title == _TITLE else None


def mark(folder: str | Path, *names: str) -> None:
    """Lay a `MARK` into a folder that the program has just made itself.

    Args:
        folder: it is the program's own from then on.
        names: the files in it that are.
    """
    (Path(folder) / MARK).write_text("\n".join([_TITLE, *names, ""]), encoding="utf-8")


def made_here(path: str | Path) -> bool:
    """Whether the program can prove that it made a file or a folder.

    A file is its own when the `MARK` beside it lists it, a folder when a `MARK` lies in it.

    Args:
        path: what is to be overwritten or removed.

    Returns:
        False too where there is nothing.
    """
    path = Path(path)
    if path.is_dir():
        return listed(path) is not None and not path.is_symlink()
    return path.is_file() and path.name in (listed(path.parent) or [])


def claim(*paths: str | Path) -> None:
    """List files as the program's own, before it writes them; their folders are made.

    Args:
        paths: files that will be written.

    Raises:
        FileExistsError: one is there already, and somebody else made it. Nothing is listed then.
        OSError: the folder cannot be written to.
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if path.exists() and not made_here(path):
            raise FileExistsError(
                f"{path} is there already and was not made by contextlab, so it is left alone: "
                "choose another folder, or move it away"
            )
    folders = {path.parent for path in paths}
    for folder in folders:
        if (folder / MARK).exists() and listed(folder) is None:
            raise FileExistsError(
                f"{folder / MARK} was not made by contextlab: choose another folder"
            )
    for folder in folders:
        names = listed(folder) or []
        new = [path.name for path in paths if path.parent == folder and path.name not in names]
        if new:
            write_atomically(folder / MARK, "\n".join([_TITLE, *names, *new, ""]))


def discard(folder: str | Path) -> None:
    """Remove what the program made in a folder, and the folder if nothing else lies in it.

    Args:
        folder: one with a `MARK`; any other is left as it is.
    """
    folder = Path(folder)
    if not made_here(folder):
        return
    for name in listed(folder):
        path = folder / name
        if path.parent == folder and not path.is_dir():  # a name, not a way out of the folder
            path.unlink(missing_ok=True)
    (folder / MARK).unlink(missing_ok=True)
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder in which nothing lies, and leave any other."""
    with contextlib.suppress(OSError):  # gone already, or somebody keeps something there
        folder.rmdir()
