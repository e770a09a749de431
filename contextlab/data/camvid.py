"""CamVid: 701 frames of real streets, 480 x 360, with 11 classes and void.

Brostow, Fauqueur and Cipolla, "Semantic object classes in video: a high-definition ground truth
database", Pattern Recognition Letters 2009, in the split and the 11 classes of SegNet
(Badrinarayanan et al., PAMI 2017). ``python data_scripts/camvid.py`` fetches and verifies it.
"""

from __future__ import annotations

import operator
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..home import home
from ._contract import IGNORE_INDEX

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree",
    "sign or symbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip

PALETTE = np.array(
    [
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ],
    np.uint8,
)  # fmt: skip
"""SegNet's colours, as in published figures; they are not safe for colour-blind readers."""

VOID = 11
"""Label of unlabelled pixels in the files; a data set gives ``ignore_index`` instead."""

COUNTS = {"train": 367, "val": 101, "test": 233}
"""Number of frames of each split."""


def _remedy(script: Path) -> str:
    """How to get the data set; the script lies in the repository alone."""
    if script.is_file():
        return "python data_scripts/camvid.py fetches it (187 MB); with --from it takes a copy"
    return (
        "the script data_scripts/camvid.py of contextlab's repository fetches it (the installed "
        "package does not bring it); where a copy is at hand, name its folder: root"
    )


REMEDY = _remedy(Path(__file__).parents[2] / "data_scripts" / "camvid.py")


def default_root() -> Path:
    """Where CamVid is looked for: ``$CONTEXTLAB_CAMVID``, else ``data/camvid`` in ``home()``."""
    chosen = os.environ.get("CONTEXTLAB_CAMVID")
    return Path(chosen).expanduser() if chosen else home() / "data" / "camvid"


class CamVid:
    """One split of CamVid, in order of file names.

    The split is by video, so the classes are spread unevenly: bicyclists are 0.3 % of the
    labelled training pixels and 2.2 % of the validation pixels.

    Args:
        split: "train" (367 frames), "val" (101) or "test" (233).
        root: the folder that holds train/, trainannot/ and so on; ``default_root()`` unless given.

    Raises:
        ValueError: an unknown split.
        FileNotFoundError: frames or labels are missing; the message says how to get them.
    """

    classes = CLASSES
    palette = PALETTE
    ignore_index = IGNORE_INDEX

    def __init__(self, split: str, root: str | os.PathLike | None = None):
        if split not in COUNTS:
            raise ValueError(f"split is one of {', '.join(COUNTS)}, not {split!r}")
        self.split, self.root = split, Path(root) if root is not None else default_root()
        names = [
            {path.name for path in (self.root / folder).glob("*.png")}
            for folder in (split, f"{split}annot")
        ]
        if not names[0]:
            raise FileNotFoundError(f"no CamVid frames in {self.root / split}: {REMEDY}")
        if odd := sorted(names[0] ^ names[1]):
            which = "labels" if odd[0] in names[0] else "frame"
            raise FileNotFoundError(
                f"{len(odd)} files of {split} lack their partner in {self.root}, such as the"
                f" {which} of {odd[0]}: {REMEDY}"
            )
        if len(names[0]) != COUNTS[split]:
            raise FileNotFoundError(
                f"expected {COUNTS[split]} frames in {self.root / split},"
                f" found {len(names[0])}: {REMEDY}"
            )
        self.names = tuple(sorted(names[0]))

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"CamVid({self.split!r}, {str(self.root)!r})"

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 ``3 360 480`` in [0, 1] and labels int64 ``360 480``, void as 255.

        Raises:
            ValueError: a file is cut, damaged or not CamVid's; it is named with the remedy.
        """
        name = self.names[operator.index(index)]
        image = _read(self.root / self.split / name, "RGB")
        path = self.root / f"{self.split}annot" / name
        label = _read(path, "L")
        if label.shape != image.shape[:2] or label.max() > VOID:
            raise ValueError(
                f"{path}: expected labels 0..{VOID} of {image.shape[:2]} pixels, found up to"
                f" {label.max()} of {label.shape}; not CamVid's: {REMEDY}"
            )
        labels = torch.from_numpy(label.astype(np.int64))
        labels[labels == VOID] = IGNORE_INDEX
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return pixels.float().div_(255), labels


def _read(path: Path, mode: str) -> np.ndarray:
    try:
        # what warns of a decompression bomb, and does not raise, is still no frame of CamVid
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                found, pixels = picture.mode, np.asarray(picture)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} has gone: {REMEDY}") from None
    except PermissionError as error:
        raise PermissionError(
            f"{path} cannot be read ({error.strerror}): look at its rights"
        ) from (error)
    except Exception as error:  # Pillow reports damage as nearly anything
        raise ValueError(
            f"{path} is cut, damaged or no frame of CamVid ({error}): {REMEDY}"
        ) from error
    if found != mode:
        raise ValueError(f"{path} is of mode {found}, expected {mode}: {REMEDY}")
    return pixels
