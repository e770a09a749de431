"""What a street is drawn with: numbered random decisions, numbered materials, a canvas."""

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np

HEIGHT, WIDTH = 64, 128  # of the usual canvas
SPLITS = {"train": 0, "val": 1, "test": 2}
LOCAL, G, L, P, C, A = range(6)

_WORD = np.uint64
_STEP = _WORD(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: the step of the SplitMix64 counter


class Material(IntEnum):
    """What a pixel is painted with; pairs and triples of one thing are neighbours in number."""

    CLEAR_SKY = 0
    CLOUD = auto()
    FACADE = auto()  # four facades
    FACADE_1 = auto()
    FACADE_2 = auto()
    FACADE_3 = auto()
    DARK_WINDOW = auto()
    LIT_WINDOW = auto()
    LEAVES = auto()
    LEAF_SHADOW = auto()
    SEGMENT_LEFT = auto()  # panel, its joints
    SEGMENT_LEFT_JOINT = auto()
    SEGMENT_RIGHT = auto()
    SEGMENT_RIGHT_JOINT = auto()
    MOTIF_LEFT = auto()  # ground, figure
    MOTIF_LEFT_FIGURE = auto()
    MOTIF_RIGHT = auto()
    MOTIF_RIGHT_FIGURE = auto()
    PILLAR = auto()
    VERGE = auto()
    VERGE_SPECK = auto()
    ASPHALT = auto()
    ASPHALT_GRAIN = auto()
    KERB = auto()
    LANE_MARKING = auto()
    ZONE_LEFT = auto()  # ground, paint
    ZONE_LEFT_PAINT = auto()
    ZONE_RIGHT = auto()
    ZONE_RIGHT_PAINT = auto()
    SIGN_LEFT = auto()  # key colour, ground, symbol
    SIGN_LEFT_GROUND = auto()
    SIGN_LEFT_SYMBOL = auto()
    SIGN_RIGHT = auto()
    SIGN_RIGHT_GROUND = auto()
    SIGN_RIGHT_SYMBOL = auto()
    POLE_LEFT = auto()
    POLE_RIGHT = auto()
    VEHICLE = auto()  # body, windows, skirt, nose, windscreen, lamp, wheels
    VEHICLE_WINDOW = auto()
    VEHICLE_SKIRT = auto()
    VEHICLE_NOSE = auto()
    VEHICLE_SCREEN = auto()
    VEHICLE_LAMP = auto()
    VEHICLE_WHEEL = auto()
    SECOND = auto()  # the same seven of the second vehicle
    SECOND_WINDOW = auto()
    SECOND_SKIRT = auto()
    SECOND_NOSE = auto()
    SECOND_SCREEN = auto()
    SECOND_LAMP = auto()
    SECOND_WHEEL = auto()
    CAR_BODY = auto()
    CAR_WINDOW = auto()


def _mix(word: np.ndarray) -> np.ndarray:
    """The SplitMix64 finaliser: 64 bits in, 64 well-stirred bits out."""
    word = (word ^ (word >> _WORD(30))) * _WORD(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> _WORD(27))) * _WORD(0x94D049BB133111EB)
    return word ^ (word >> _WORD(31))


class Draws:
    """The random decisions of a batch: one value per image and field number.

    ``spread`` is how many times as high and wide as usual the canvas is.
    """

    def __init__(self, seed: int, split: str, indices: np.ndarray, spread: int = 1):
        self.spread = spread
        with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
            stream = _mix(np.array([_WORD(seed) * _STEP + _WORD(SPLITS[split] + 1)]))
            self.key = _mix(stream + (indices.astype(_WORD) + _WORD(1)) * _STEP)

    def bits(self, field: int) -> np.ndarray:
        """64 bits per image."""
        with np.errstate(over="ignore"):
            return _mix(self.key + _WORD(field + 1) * _STEP)

    def integer(self, field: int, low: int, high) -> np.ndarray:
        """Uniform in [low, high); ``high`` may differ from image to image."""
        span = np.asarray(high - low).astype(_WORD)
        return ((self.bits(field) >> _WORD(32)) * span >> _WORD(32)).astype(np.int32) + low

    def extent(self, field: int, low: int, high) -> np.ndarray:
        """A place or a length, which spreads with the canvas: uniform in [low, high) at 1."""
        return self.integer(field, low * self.spread, high * self.spread)

    def chance(self, field: int, probability: float) -> np.ndarray:
        """True with the given probability, which is rounded to 24 bits."""
        return (self.bits(field) >> _WORD(40)).astype(np.int64) < round(probability * (1 << 24))

    def jitter(self, field: int, amplitude: int) -> np.ndarray:
        """A colour offset ``n 3``, each channel uniform in [-amplitude, amplitude]."""
        bits = self.bits(field)
        lanes = [((bits >> _WORD(s)) & _WORD(0xFFFF)).astype(np.int32) for s in (0, 16, 32)]
        return np.stack(lanes, -1) * (2 * amplitude + 1) // 65536 - amplitude

    def noise(self) -> np.ndarray:
        """Sensor noise ``n h w 3``, int16: sums of three draws, standard deviation about 8."""
        height, width = HEIGHT * self.spread, WIDTH * self.spread
        with np.errstate(over="ignore"):
            pixel = (np.arange(height * width, dtype=_WORD) + _WORD(1)) * _STEP
            bits = _mix(_mix(self.key ^ _WORD(0xA5A5A5A5))[:, None] + pixel)
        # the three channels live 21 bits apart; a sum of three 7-bit draws stays in its 21 bits
        each = _WORD(0x7F | 0x7F << 21 | 0x7F << 42)
        total = (bits & each) + (bits >> _WORD(7) & each) + (bits >> _WORD(14) & each)
        noise = np.empty((*bits.shape, 3), np.int16)
        for channel in range(3):
            noise[..., channel] = total >> _WORD(21 * channel) & _WORD(0x1FF)
        return ((noise - 190) >> 3).reshape(-1, height, width, 3)


class Canvas:
    """The material map of a batch and what each material means in each image.

    ``x`` (``1 1 w``) and ``y`` (``1 h 1``) are the coordinates of its pixels.
    """

    def __init__(self, n: int, spread: int = 1):
        self.spread, self.height, self.width = spread, HEIGHT * spread, WIDTH * spread
        self.x = np.arange(self.width, dtype=np.int32)[None, None, :]
        self.y = np.arange(self.height, dtype=np.int32)[None, :, None]
        self.material = np.zeros((n, self.height, self.width), np.uint8)
        self.colour = np.zeros((n, len(Material), 3), np.int32)
        self.label = np.zeros((n, len(Material)), np.uint8)
        self.demand = np.zeros((n, len(Material)), np.uint8)
        self.cue = np.zeros((n, len(Material)), np.uint8)  # bit d: a cue of demand d

    def paint(self, top: int, bottom: int, where, material) -> None:
        """Put a material on the rows top..bottom-1 where the mask (``n rows w``) is true."""
        np.copyto(self.material[:, top:bottom], np.asarray(material, np.uint8), where=where)

    def define(self, material: int, colour, label, *, jitter=0, demand=None, cue=None) -> None:
        """Say what a material is: colour ``3`` or ``n 3``, class, demand posed, demand told."""
        self.colour[:, material] = np.asarray(colour) + jitter
        self.label[:, material] = label
        if demand is not None:
            self.demand[:, material] = demand
        if cue is not None:
            self.cue[:, material] = np.where(cue == LOCAL, 0, 1 << np.asarray(cue))
