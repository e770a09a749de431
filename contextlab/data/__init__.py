"""The data sets of the course under one contract, and what can be known about the generated one.

>>> streets = build("streets", "val", size=1)
>>> [tuple(part.shape) for part in streets[0]]
[(3, 64, 128), (64, 128)]
"""

from __future__ import annotations

from contextlab.extras import need

need(__name__, "numpy", "PIL")

import os
from collections.abc import Mapping
from pathlib import Path

from . import bounds
from ._contract import IGNORE_INDEX, SegmentationDataset, check
from .camvid import CamVid
from .class_table import ClassTable
from .folder import Folder
from .second_order import SecondOrderStreets
from .streets import Streets
from .survey import Survey, survey
from .tiled import Tiled
from .vehicles import Vehicles

__all__ = [
    "IGNORE_INDEX",
    "CamVid",
    "ClassTable",
    "Folder",
    "SecondOrderStreets",
    "SegmentationDataset",
    "Streets",
    "Survey",
    "Tiled",
    "Vehicles",
    "bounds",
    "build",
    "check",
    "survey",
]

NAMES = ("streets", "vehicles", "camvid", "folder")


def build(
    name: str, split: str, *, root: str | os.PathLike | Mapping | None = None, **options
) -> SegmentationDataset:
    """A data set by name.

    Args:
        name: "streets" (generated), "vehicles" (streets with one label an image), "camvid"
            (fetched once by ``data_scripts/camvid.py``) or "folder" (your own, see `Folder`).
        split: "train", "val" or "test".
        root: folder of a data set on disk; streets and vehicles have none. Of "folder" it holds
            ``images`` and ``masks``, or it maps images, masks and lists to their folders.
        options: those of the data set, for streets and vehicles size, seed, knobs and far.

    Raises:
        ValueError: an unknown name or split, or a root where there is none.
        FileNotFoundError: the data set is not on disk; the message says how to get it.

    Example:
        >>> len(build("streets", "train", g=0.5))
        4000
    """
    if name in ("streets", "vehicles"):
        if root is not None:
            raise ValueError(f"{name} are generated and have no root, but root={str(root)!r}")
        return {"streets": Streets, "vehicles": Vehicles}[name](split, **options)
    if name == "camvid":
        return CamVid(split, root, **options)
    if name == "folder":
        if isinstance(root, (str, os.PathLike)):
            root = {part: Path(root) / part for part in ("images", "masks")}
        options = {**(root or {}), **options}
        if missing := [part for part in ("images", "masks", "classes") if part not in options]:
            raise ValueError(
                f"a data set of your own needs {' and '.join(missing)}: name the folders of the "
                "images and the masks, and the file of the class table"
            )
        return Folder(split, **options)
    raise ValueError(f"data sets are {', '.join(NAMES)}, not {name!r}")
