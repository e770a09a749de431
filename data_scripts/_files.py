"""Files with known checksums: the list of them, putting one in place safely, and progress."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Trouble(Exception):
    """Something the user can put right; the message says what and how."""


@dataclass(frozen=True)
class Entry:
    """One file of a data set: its place, its length and its content's sha256."""

    path: str
    bytes: int
    sha256: str

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]


@dataclass(frozen=True)
class Manifest:
    """All files of a data set, the size of its images and the highest value of its labels."""

    size: tuple[int, int]
    highest: int
    entries: dict[str, Entry]

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """From lines ``sha256 bytes path`` after ``size WIDTH HEIGHT`` and ``labels HIGHEST``."""
        size, highest, entries = (0, 0), 0, {}
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if not words or words[0] == "#":
                continue
            if words[0] == "size":
                size = (int(words[1]), int(words[2]))
            elif words[0] == "labels":
                highest = int(words[1])
            else:
                entries[words[2]] = Entry(words[2], int(words[1]), words[0])
        return cls(size, highest, entries)

    def text(self) -> str:
        """The lines that ``read`` reads."""
        head = [f"size {self.size[0]} {self.size[1]}", f"labels {self.highest}"]
        return "\n".join(
            head + [f"{e.sha256} {e.bytes} {e.path}" for e in self.entries.values()] + [""]
        )


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold a folder for this process; what is half fetched there can have only one writer.

    Raises:
        Trouble: another process holds it.
    """
    new, lock = not root.exists(), root / ".fetching"
    root.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Trouble(
                    f"another process is at work in {root}: wait until it is done, or end it"
                ) from None
            except OSError:  # a file system without locks
                pass
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            if new and not any(root.iterdir()):
                root.rmdir()


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def blocks(file: BinaryIO, size: int = 1 << 16) -> Iterator[bytes]:
    """The rest of a file in pieces."""
    while block := file.read(size):
        yield block


def put(source: BinaryIO, entry: Entry, target: Path) -> str | None:
    """Copy a file to its place, if it is the right one.

    It is written beside the target, checked, and renamed over it, so at every moment the target
    is absent, what it was, or whole. At most one byte more than the entry's length is read.

    Returns:
        None, or what is wrong with the source.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.name}.{os.getpid()}.new")
    digest, length = hashlib.sha256(), 0
    try:
        with beside.open("wb") as file:
            while block := source.read(min(1 << 16, entry.bytes + 1 - length)):
                digest.update(block)
                length += len(block)
                file.write(block)
        if length != entry.bytes:
            more = "more than " if length > entry.bytes else f"{length:,} of "
            return f"{more}{entry.bytes:,} bytes"
        if digest.hexdigest() != entry.sha256:
            return "another checksum"
        os.replace(beside, target)
        return None
    finally:
        beside.unlink(missing_ok=True)


class Progress:
    """Files and megabytes done: one line kept up to date on a terminal, else a line every 10 %."""

    def __init__(self, what: str, files: int, size: int, stream: TextIO | None = None):
        self.what, self.files, self.size = what, files, size
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.done, self.bytes, self.start, self.shown, self.name = 0, 0, time.monotonic(), 0.0, ""
        self.lock = threading.Lock()

    def add(self, size: int) -> None:
        """So many bytes more, or fewer when a file has to start again."""
        with self.lock:
            self.bytes += size
            self._show()

    def file(self, name: str) -> None:
        """One file is done."""
        with self.lock:
            self.done, self.name = self.done + 1, name
            self._show(last=self.done == self.files)

    def close(self) -> None:
        """Leave the line that stands."""
        if self.live and self.shown:
            self.stream.write("\n")

    def _show(self, last: bool = False) -> None:
        now = time.monotonic()
        if self.live:
            if not last and now - self.shown < 0.1:
                return
            self.shown = now
        else:
            tenth = 10 * self.done // max(self.files, 1)
            if tenth <= self.shown:
                return
            self.shown = tenth
        rate = self.bytes / max(now - self.start, 1e-3)
        line = (
            f"{self.what} {self.done}/{self.files} files, {self.bytes / 1e6:.1f} of"
            f" {self.size / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s  {self.name}"
        )
        self.stream.write(f"\r{line:<100}" if self.live else f"{line}\n")
        self.stream.flush()
