"""A person's own images and masks, small, as the tests make and break them."""

import numpy as np
from PIL import Image

NAMES = ["field", "hedge", "path"]
COLOURS = [(10, 200, 30), (90, 60, 0), (255, 255, 255)]
TABLE = [[name, value, colour] for value, (name, colour) in enumerate(zip(NAMES, COLOURS))]


def numbers(seed: int, size=(6, 8), high: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, size, dtype=np.uint8)


def pixels(seed: int, size=(6, 8)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def pairs(folder):
    """Five pairs in folders that are nested differently."""
    for k, stem in enumerate("abcde"):
        image = folder / "images" / ("deep/er" if k % 2 else "") / f"{stem}.png"
        mask = folder / "masks" / f"{k // 2}" / f"{stem}.png"
        for path, array in ((image, pixels(k)), (mask, numbers(k))):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    return folder / "images", folder / "masks"


def save(path, array: np.ndarray, kind: str) -> None:
    """The same labels as a file of another kind."""
    if kind == "palette":
        picture = Image.fromarray(array, mode="P")
        picture.putpalette([part for colour in COLOURS for part in colour])
    elif kind == "colour":
        picture = Image.fromarray(np.array(COLOURS, np.uint8)[array])
    elif kind == "grey in three channels":
        picture = Image.fromarray(np.repeat(array[..., None], 3, 2))
    elif kind == "16 bit":
        picture = Image.fromarray(array.astype(np.uint16))
    else:
        picture = Image.fromarray(array)
    picture.save(path)
