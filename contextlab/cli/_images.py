"""Image files as a network sees them, and the files that its answers become."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
KINDS = ("labels", "overlay")


class Job(NamedTuple):
    """An image file, and the files that its answer becomes."""

    image: Path
    labels: Path
    overlay: Path


def jobs(given: Iterable[Path], out: Path, made_here) -> list[Job]:
    """What is to be done: every image that is given, and every one in a folder that is.

    A folder's own folders are kept below ``out``. Where two images would become the same files,
    such as a.jpg and a.png, the files keep the ending in their names.

    Args:
        given: files and folders.
        out: the folder of the answers.
        made_here: whether a file is an answer of an earlier call, which is no image to look at.

    Raises:
        FileNotFoundError: there is no such file, or no image in a folder.
        ValueError: two images of one name come from two folders.
    """
    found: dict[Path, Path] = {}  # image to its name below `out`
    for path in given:
        if path.is_dir():
            inside = [
                file
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
                if file.is_file() and not (_answer(file) and made_here(file))
            ]
            if not inside:
                raise FileNotFoundError(
                    f"{path} holds no image ({' '.join(SUFFIXES)}): name a folder of images"
                )
            found |= {file: file.relative_to(path) for file in inside}
        elif path.exists():
            found[path] = Path(path.name)
        else:
            raise FileNotFoundError(f"{path} is not there: name an image or a folder of images")
    found = {path: found[path] for path in {p.resolve(): p for p in found}.values()}
    alike: dict[str, list[Path]] = {}
    for path, name in found.items():
        alike.setdefault(_key(name.with_suffix("")), []).append(path)
    taken: dict[str, Path] = {}
    planned = []
    for path, name in found.items():
        stem = name.name if len(alike[_key(name.with_suffix(""))]) > 1 else name.stem
        if (other := taken.setdefault(_key(name.with_name(stem)), path)) is not path:
            raise ValueError(
                f"{other} and {path} would become the same files in {out}: "
                "label them one after the other, with an --out for each"
            )
        files = (out / name.with_name(f"{stem}.{kind}.png") for kind in KINDS)
        planned.append(Job(path, *files))
    return planned


def _key(path: Path) -> str:
    """The same for names that some file systems take for one."""
    return path.as_posix().lower()


def _answer(path: Path) -> bool:
    return path.name.endswith(tuple(f".{kind}.png" for kind in KINDS))


def read(path: Path) -> np.ndarray:
    """An image as bytes ``h w 3``, the way up that its camera says.

    Raises:
        ValueError: it is no image, or damaged; the message names it and the remedy.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; of a bomb below
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture)
                if upright.mode.startswith(("I", "F")):  # 16 bits or more, which RGB would cut off
                    return np.repeat(_bytes(np.asarray(upright))[..., None], 3, axis=2)
                if "transparency" in upright.info:
                    upright = upright.convert("RGBA")
                return np.array(upright.convert("RGB"))
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): look at its rights") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{path} has more pixels than Pillow opens without being told to: cut it to pieces"
        ) from error
    except Exception as error:  # Pillow reports damage as nearly anything
        raise ValueError(
            f"{path} is no image that Pillow can read, or a damaged one ({error}): "
            "save it anew as PNG or JPEG"
        ) from error


def _bytes(values: np.ndarray) -> np.ndarray:
    import numpy as np

    if values.dtype.kind == "f":
        raise ValueError("it holds floats, whose range nobody says")
    high = int(values.max())
    if values.min() < 0 or high > 65535:
        raise ValueError(f"it holds numbers from {values.min()} to {high}, expected 0 to 65535")
    return np.round(values / 257 if high > 255 else values).astype(np.uint8)


def label_file(labels: np.ndarray, palette: np.ndarray) -> bytes:
    """Class numbers as a PNG that is shown in the classes' colours, and read as their numbers."""
    import numpy as np
    from PIL import Image

    if labels.max() > 255:
        raise ValueError(f"expected class numbers up to 255 in a PNG, got {labels.max()}")
    picture = Image.fromarray(labels.astype(np.uint8), "P")
    picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    return _png(picture)


def overlay_file(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, opacity: float
) -> bytes:
    """The image with its classes' colours over it."""
    import numpy as np
    from PIL import Image

    colours = np.asarray(palette, np.uint8)[labels].astype(np.float32)
    mixed = (1 - opacity) * image + opacity * colours
    return _png(Image.fromarray(np.round(mixed).astype(np.uint8)))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def shares(counts: np.ndarray, names: Iterable[str]) -> Iterator[str]:
    """A line for each class that was seen: its number, its name, its share of the pixels."""
    total = counts.sum()
    for number, (count, name) in enumerate(zip(counts, names)):
        if count:
            yield f"{number:4} {name}: {100 * count / total:.1f} %"
