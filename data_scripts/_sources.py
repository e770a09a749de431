"""Where files are taken from when a copy is at hand: a folder, or a zip or tar archive.

Nothing is ever unpacked by the names in an archive. A member is only read when its name ends in
the path of a file that the manifest lists, and it is written to the place that the manifest
says. An archive that holds absolute names, names that climb out, or links is refused as a whole.
"""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from _files import Manifest, Trouble

Openers = dict[str, Callable[[], BinaryIO]]
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError)


@contextmanager
def opened(path: Path, manifest: Manifest) -> Iterator[Openers]:
    """The files of the manifest found in a folder or archive: path -> function that opens it.

    They come in the order in which they are cheapest to read.

    Raises:
        Trouble: nothing there, nothing of the data set in it, or an archive that is damaged or
            would reach outside.
    """
    if path.is_dir():
        yield _folder(path, manifest)
    elif not path.exists():
        raise Trouble(f"there is no {path}; --from takes a folder or a .zip or .tar.gz archive")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _zip(path, archive, manifest)
    else:
        try:
            archive = tarfile.open(path, "r:*")  # noqa: SIM115  closed below
        except (*DAMAGE, OSError) as error:
            raise Trouble(
                f"{path} is cut or no .zip or .tar.gz archive ({error}); download it again"
            ) from error
        with archive:
            yield _tar(path, archive, manifest)


def _folder(path: Path, manifest: Manifest) -> Openers:
    folders = sorted({entry.folder for entry in manifest.entries.values()})
    names = [
        file.relative_to(path).as_posix()
        for above in ("", "*/", "*/*/")
        for folder in folders
        for file in sorted(path.glob(f"{above}{folder}/*.png"))
    ]
    chosen = _chosen(path, names, manifest)
    return {wanted: partial((path / name).open, "rb") for wanted, name in chosen.items()}


def _zip(path: Path, archive: zipfile.ZipFile, manifest: Manifest) -> Openers:
    members = {info.filename: info for info in archive.infolist()}
    for name, info in members.items():
        _refuse(path, name, link=stat.S_ISLNK(info.external_attr >> 16))
        if info.flag_bits & 1:
            raise Trouble(f"{path} is encrypted; unpack it and give the folder to --from")
    chosen = _chosen(path, members, manifest)
    return {wanted: partial(archive.open, members[name]) for wanted, name in chosen.items()}


def _tar(path: Path, archive: tarfile.TarFile, manifest: Manifest) -> Openers:
    try:
        members = {info.name: info for info in archive}
    except (*DAMAGE, OSError) as error:
        raise Trouble(f"{path} is cut or damaged ({error}); download it again") from error
    for name, info in members.items():
        _refuse(path, name, link=not (info.isfile() or info.isdir()))
    chosen = _chosen(path, members, manifest)
    # a compressed archive can only be read forwards
    order = sorted(chosen.items(), key=lambda item: members[item[1]].offset)
    return {wanted: partial(archive.extractfile, members[name]) for wanted, name in order}


def _refuse(path: Path, name: str, *, link: bool) -> None:
    parts = re.split(r"[/\\]", name)
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
        raise Trouble(
            f"{path} holds {name!r}, which would be written outside its folder: refused."
            f" Unpack a copy that you trust and give the folder to --from"
        )
    if link:
        raise Trouble(
            f"{path} holds {name!r}, a link or device: refused."
            f" Unpack a copy that you trust and give the folder to --from"
        )


def _chosen(path: Path, names: Iterable[str], manifest: Manifest) -> dict[str, str]:
    """Manifest path -> name in the source, below the folder that holds most of the data set."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        wanted = "/".join(re.split(r"[/\\]", name)[-2:])
        if wanted in manifest.entries:
            found.setdefault(name[: len(name) - len(wanted)], {})[wanted] = name
    if not found:
        folders = sorted({entry.folder for entry in manifest.entries.values()})
        raise Trouble(
            f"no file of the data set in {path}; expected the folders {', '.join(folders)}"
        )
    counts = Counter({above: len(files) for above, files in found.items()})
    return found[min(counts, key=lambda above: (-counts[above], len(above), above))]
