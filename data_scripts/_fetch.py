"""Fetching files with known checksums over HTTPS: resumed, retried, checked, then put in place."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from http.client import HTTPException
from pathlib import Path

from _files import Entry, Progress, Trouble, blocks, sha256

PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another one a moment later


class Fetcher:
    """Fetches files below one address into one folder.

    What has come of a file waits in ``NAME.part`` beside its place. A later run asks for the
    rest only, and the file takes its place when its checksum is right.

    Args:
        base: https address of the folder (http only on this machine itself).
        root: folder to lay the files out in.
        hint: what the user can do where the address cannot be reached.
        tries: attempts for a file in a row without a byte gained.
        pause: seconds before the second attempt; doubled for each further one.
        timeout: seconds without an answer.
    """

    def __init__(
        self,
        base: str,
        root: Path,
        *,
        hint: str,
        tries: int = 4,
        pause: float = 1.0,
        timeout: float = 30.0,
    ):
        parts = urllib.parse.urlsplit(base)
        here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        if parts.scheme != "https" and not here:
            raise Trouble(f"expected an https address, not {base}")
        self.base, self.root, self.hint = base.rstrip("/"), root, hint
        self.tries, self.pause, self.timeout = tries, pause, timeout
        self.stop = threading.Event()

    def fetch(self, entries: Sequence[Entry], progress: Progress, jobs: int = 8) -> None:
        """Fetch the files, several at a time; on trouble stop all, keeping what has come.

        Raises:
            Trouble: the address cannot be reached, or a file there is missing or another one.
        """
        if not entries:
            return
        self._one(entries[0], progress, tries=min(self.tries, 2))  # says soon that we are offline
        pool = ThreadPoolExecutor(jobs)
        try:
            running = [
                pool.submit(self._one, entry, progress, tries=self.tries) for entry in entries[1:]
            ]
            finished, _ = wait(running, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        finally:
            self.stop.set()
            pool.shutdown(cancel_futures=True)

    def _one(self, entry: Entry, progress: Progress, *, tries: int) -> None:
        target = self.root / entry.path
        part = target.with_name(f"{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        progress.add(_length(part))
        failures, reason = 0, ""
        while failures < tries:
            if self.stop.wait(self.pause * 2 ** (failures - 1) if failures else 0):
                return
            before = _length(part)
            try:
                if before < entry.bytes:
                    self._ask(entry, part, progress)
                reason = "the connection ended early"
            except urllib.error.HTTPError as error:
                if error.code == 416:  # our part is not a beginning of the server's file
                    _drop(part, progress)
                elif error.code not in PASSING:
                    raise Trouble(
                        f"{self.base}/{entry.path}: the server answers {error.code}"
                        f" {error.reason}. {self.hint}"
                    ) from error
                reason = f"the server answers {error.code} {error.reason}"
            except (OSError, HTTPException) as error:  # URLError, time-outs, broken connections
                reason = str(getattr(error, "reason", "") or error or type(error).__name__)
            if self.stop.is_set():
                return
            if _length(part) == entry.bytes:
                if sha256(part) == entry.sha256:
                    os.replace(part, target)
                    progress.file(entry.path)
                    return
                reason = "what comes has another checksum than the manifest says"
            if _length(part) >= entry.bytes:
                _drop(part, progress)
            failures = failures + 1 if _length(part) <= before else 1
        raise Trouble(
            f"cannot fetch {self.base}/{entry.path}: {reason}. What has come is kept; the same"
            f" command continues. {self.hint}"
        )

    def _ask(self, entry: Entry, part: Path, progress: Progress) -> None:
        """Ask for what is missing and write it as it comes."""
        have = _length(part)
        address = f"{self.base}/{urllib.parse.quote(entry.path)}"
        request = urllib.request.Request(address, headers={"User-Agent": "contextlab"})
        if have:
            request.add_header("Range", f"bytes={have}-")
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            resumed = answer.status == 206 and (answer.headers["Content-Range"] or "").startswith(
                f"bytes {have}-"
            )
            if have and not resumed:  # a server that knows no ranges sends the whole file
                _drop(part, progress)
                if answer.status == 206:
                    return
                have = 0
            with part.open("ab") as file:
                for block in blocks(answer):
                    file.write(block)
                    progress.add(len(block))
                    have += len(block)
                    if have > entry.bytes or self.stop.is_set():
                        return


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _drop(part: Path, progress: Progress) -> None:
    progress.add(-_length(part))
    part.unlink(missing_ok=True)
