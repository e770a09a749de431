"""How a street is drawn: every pixel of image i of a split is a pure function of (seed, split, i).

There is no generator state. Each decision has a field number, and its value is a 64-bit hash of
(seed, split, i, field). Images, labels and demand maps use integer arithmetic alone, so they are
the same to the last bit on every machine. All functions work on a batch of ``n`` images at once.

The scene is painted with *materials*, back to front, into one map ``n h w`` of material numbers.
What a material means is said once per image: its colour, its class, the demand that its pixels
pose, and the demands that it is a cue of. A demand is posed by giving a material the same look
for all classes of a group; the field numbers below never change, so the same street comes back
with the demand on or off.

On a canvas that is ``spread`` times as high and wide, the same decisions put the same things
``spread`` times as far apart: bands, clouds, houses, segments, zones, signs, a vehicle's two ends.
What a thing looks like (texture, motif, sign, nose, wheel, stroke, tree, car) keeps its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ._street_canvas import LOCAL, A, C, Canvas, Draws, G, L, P
from ._street_canvas import Material as M

SKY, BUILDING, WALL, FENCE, VEGETATION, SIDEWALK, ROAD, BUS_ZONE, BIKE_ZONE, CAR, BUS = range(11)

# first row of each horizontal band on the usual canvas, before the whole scene moves up or down by
# at most two rows; a larger canvas spreads them
SIGN_TOP, ROOF_TOP, STRIP_TOP, VERGE_TOP, ROAD_TOP = 2, 8, 22, 32, 38
VEHICLE_TOP, MARKING, ZONE_TOP, ZONE_END = 34, 50, 52, 62
VEHICLE_HEIGHT, CAR_HEIGHT = 15, 9


def _pixel(value: np.ndarray) -> np.ndarray:
    """One value per image, ready to meet the pixel coordinates of a canvas."""
    return np.asarray(value)[:, None, None]


def _choose(condition: np.ndarray, yes: Sequence, no: Sequence) -> np.ndarray:
    """A colour ``n 3`` per image."""
    return np.where(condition[:, None], yes, no)


def _saturated(hue: np.ndarray) -> np.ndarray:
    """Hue 0..191 on the colour circle -> ``n 3``, by integer ramps."""
    ramp = np.abs((hue[:, None] + np.array([0, 128, 64])) % 192 - 96) - 32
    return 55 + np.clip(ramp, 0, 32) * 6


def _sky(canvas: Canvas, d: Draws, global_on: np.ndarray) -> np.ndarray:
    """Sky and two clouds. Noon (blue) or dusk (orange) is the cue of G. Returns: noon?"""
    noon = d.integer(1, 0, 2) == 0
    colour = _choose(noon, [120, 172, 226], [232, 170, 118])
    cue = np.where(global_on, G, LOCAL)
    canvas.define(M.CLEAR_SKY, colour + d.jitter(3, 10), SKY, cue=cue)
    canvas.define(M.CLOUD, colour * 2 // 5 + 146 + d.jitter(4, 5), SKY, cue=cue)
    canvas.material[:] = M.CLEAR_SKY
    end = 18 * canvas.spread  # houses hide what is below
    for f in (5, 8):
        x, y, r = d.extent(f, 4, 124), d.extent(f + 1, 2, 12), d.extent(f + 2, 8, 17)
        y = canvas.y[:, :end] - _pixel(y)
        inside = (canvas.x - _pixel(x)) ** 2 + 12 * y**2 < _pixel(r * r)
        canvas.paint(0, end, inside, M.CLOUD)
    return noon


def _skyline(canvas: Canvas, d: Draws) -> None:
    """Up to eleven houses side by side, with windows, some of them lit. Read locally."""
    roofs, ground = ROOF_TOP * canvas.spread, STRIP_TOP * canvas.spread
    widths = np.stack([d.extent(20 + j, 11, 24) for j in range(10)], 1)
    ends = np.cumsum(widths, 1) - d.extent(30, 0, 12)[:, None]
    starts = np.concatenate([np.full((len(ends), 1), -3), ends], 1)
    house = (canvas.x[0, :, :, None] >= ends[:, None, :]).sum(-1)  # n w: which house a column cuts
    tops = np.stack([d.extent(31 + j, ROOF_TOP, 14) for j in range(11)], 1)
    top = np.take_along_axis(tops, house, 1)[:, None, :]
    x = canvas.x - np.take_along_axis(starts, house, 1)[:, None, :]  # columns from the house's edge
    below = canvas.y[:, roofs:ground]
    y = below - top  # rows from the roof
    house = house[:, None, :]
    inside = y >= 0
    canvas.paint(roofs, ground, inside, M.FACADE + (house + _pixel(d.integer(45, 0, 4))) % 4)
    columns, rows = (x % 5 >= 2) & (x % 5 < 4), (y % 4 >= 1) & (y % 4 < 3) & (below < ground - 1)
    window = inside & columns & rows
    lit = (x // 5 * 7 + y // 4 * 5 + house * 3) % 4 == 0
    canvas.paint(roofs, ground, window, M.DARK_WINDOW)
    canvas.paint(roofs, ground, window & lit, M.LIT_WINDOW)
    facades = [(186, 158, 130), (150, 140, 142), (170, 120, 100), (198, 186, 160)]
    for j, colour in enumerate(facades):
        canvas.define(M.FACADE + j, colour, BUILDING, jitter=d.jitter(46 + j, 12))
    canvas.define(M.DARK_WINDOW, (84, 94, 112), BUILDING, jitter=d.jitter(50, 8))
    canvas.define(M.LIT_WINDOW, (244, 222, 150), BUILDING, jitter=d.jitter(51, 8))


def _trees(canvas: Canvas, d: Draws) -> None:
    """At most two round trees behind the strip. Read locally."""
    ground = STRIP_TOP * canvas.spread
    above = ground - 16  # no crown reaches higher
    y = canvas.y[:, above:ground]
    for f in (60, 64):
        there, r = d.chance(f, 0.7), d.integer(f + 3, 5, 9)
        cx, cy = d.extent(f + 1, 0, 128), d.integer(f + 2, 15, 19) + ground - STRIP_TOP
        crown = (canvas.x - _pixel(cx)) ** 2 + (y - _pixel(cy)) ** 2 < _pixel(r * r)
        crown &= _pixel(there)
        canvas.paint(above, ground, crown, M.LEAVES)
        canvas.paint(above, ground, crown & ((canvas.x * 3 + y * 5) % 7 < 2), M.LEAF_SHADOW)
    canvas.define(M.LEAVES, (66, 122, 62), VEGETATION, jitter=d.jitter(68, 10))
    canvas.define(M.LEAF_SHADOW, (44, 92, 48), VEGETATION, jitter=d.jitter(69, 8))


def _strip(canvas: Canvas, d: Draws, c: float) -> None:
    """One wall and one fence, parted by a pillar: demand C.

    Posed, both segments show the same neutral panels, and only a motif of six columns at one end
    of the segment (bricks or bars) tells which it is. The other segment's motif misleads.
    """
    posed = d.chance(80, c)
    top, end = STRIP_TOP * canvas.spread, VERGE_TOP * canvas.spread
    pillar = d.extent(81, 50, 79)
    left_is_wall = d.chance(82, 0.5)
    phase = _pixel(d.integer(83, 0, 5))
    panel_jitter = d.jitter(89, 8)
    y = canvas.y[:, top:end]
    neutral = ((canvas.x + phase) % 10 == 0) | (y == top + 2)
    bricks = (y % 3 == 0) | ((canvas.x + y // 3 * 2) % 5 == 0)
    bars = (canvas.x + phase) % 3 == 0
    from_pillar = canvas.x - _pixel(pillar)
    sides = [
        (from_pillar < 0, left_is_wall, M.SEGMENT_LEFT, M.MOTIF_LEFT, (pillar - 8, 1)),
        (
            from_pillar >= 0,
            ~left_is_wall,
            M.SEGMENT_RIGHT,
            M.MOTIF_RIGHT,
            (pillar + 4, canvas.width - 7),
        ),
    ]
    for s, (side, is_wall, segment, motif, (inner, outer)) in enumerate(sides):
        own = np.where(_pixel(is_wall), bricks, bars)
        joints = np.where(_pixel(posed), neutral, own)
        canvas.paint(top, end, side, segment)
        canvas.paint(top, end, joints & side, segment + 1)
        x = canvas.x - _pixel(np.where(d.chance(84 + s, 0.5), inner, outer))
        box = (x >= 0) & (x < 6)
        figure = np.where(_pixel(is_wall), bricks, x % 2 == 0)
        canvas.paint(top, end, box, motif)
        canvas.paint(top, end, figure & box, motif + 1)
        label = np.where(is_wall, WALL, FENCE)
        role = np.where(posed, C, LOCAL)
        jitter = d.jitter(86 + s, 8)
        plain = _choose(is_wall, [164, 110, 92], [112, 122, 130])
        plain_joint = _choose(is_wall, [206, 190, 172], [58, 62, 70])
        hidden = _choose(posed, panel_jitter, jitter)
        ground = _choose(posed, [140, 132, 122], plain) + hidden
        canvas.define(segment, ground, label, demand=role)
        ground = _choose(posed, [116, 108, 100], plain_joint) + hidden
        canvas.define(segment + 1, ground, label, demand=role)
        ground = _choose(is_wall, [168, 84, 66], [206, 206, 200])
        canvas.define(motif, ground + jitter, label, cue=role)
        ground = _choose(is_wall, [214, 190, 170], [46, 48, 54])
        canvas.define(motif + 1, ground + jitter, label, cue=role)
    canvas.paint(top, end, (from_pillar >= 0) & (from_pillar < 3), M.PILLAR)
    canvas.define(M.PILLAR, (222, 216, 204), BUILDING, jitter=d.jitter(88, 6))


def _verge(canvas: Canvas, d: Draws, posed: np.ndarray, noon: np.ndarray) -> None:
    """Sidewalk at noon, vegetation at dusk: demand G. Posed, both are the same speckle."""
    top, end = VERGE_TOP * canvas.spread, ROAD_TOP * canvas.spread
    y = canvas.y[:, top:end]
    phase = _pixel(d.integer(90, 0, 7))
    speckle = (canvas.x * 5 + y * 3 + phase) % 7 == 0
    tiles = ((canvas.x + phase) % 6 == 0) | (y == top + 3)
    grass = (canvas.x + y * 2 + phase) % 3 == 0
    dark = np.where(_pixel(posed), speckle, np.where(_pixel(noon), tiles, grass))
    canvas.paint(top, end, True, M.VERGE)
    canvas.paint(top, end, dark, M.VERGE_SPECK)
    label = np.where(noon, SIDEWALK, VEGETATION)
    role = np.where(posed, G, LOCAL)
    colour = _choose(posed, [172, 168, 140], _choose(noon, [196, 188, 184], [110, 160, 84]))
    canvas.define(M.VERGE, colour + d.jitter(91, 8), label, demand=role)
    colour = _choose(posed, [146, 142, 112], _choose(noon, [158, 150, 148], [82, 130, 62]))
    canvas.define(M.VERGE_SPECK, colour + d.jitter(92, 8), label, demand=role)


def _road(canvas: Canvas, d: Draws) -> None:
    """Kerb, grainy asphalt and a dashed line. Read locally."""
    top, line = ROAD_TOP * canvas.spread, MARKING * canvas.spread
    x, y = canvas.x, canvas.y[:, top + 1 :]
    canvas.paint(top, canvas.height, True, M.ASPHALT)
    canvas.paint(top, top + 1, True, M.KERB)
    grain = (x * 7 + y * 11 + x * y // 5) % 13 == 0
    canvas.paint(top + 1, canvas.height, grain, M.ASPHALT_GRAIN)
    canvas.paint(line, line + 1, (x + _pixel(d.integer(95, 0, 12))) % 12 < 7, M.LANE_MARKING)
    canvas.define(M.ASPHALT, (96, 98, 104), ROAD, jitter=d.jitter(96, 8))
    canvas.define(M.ASPHALT_GRAIN, (84, 86, 92), ROAD)
    canvas.define(M.KERB, (150, 150, 150), ROAD)
    canvas.define(M.LANE_MARKING, (226, 226, 220), ROAD)


def _zones_and_signs(canvas: Canvas, d: Draws, knobs: Mapping) -> None:
    """Two painted zones below, two signs above: demand P or demand A, never both.

    Colour rule (P): a zone belongs to the sign of its own key colour, and the signs stand at
    unrelated places. Column rule (A): all paint is grey, and a zone belongs to the sign in its
    own columns. Posed, both zones are hatched; otherwise the paint itself tells bus from bike.
    """
    colour_rule = d.chance(100, knobs["share"])
    posed = np.where(colour_rule, d.chance(101, knobs["p"]), d.chance(102, knobs["a"]))
    top, end = ZONE_TOP * canvas.spread, ZONE_END * canvas.spread
    sign_top, foot = SIGN_TOP * canvas.spread, STRIP_TOP * canvas.spread
    starts = d.extent(103, 3, 15), d.extent(104, 67, 79)
    widths = d.extent(105, 34, 45), d.extent(106, 34, 45)
    first_is_bus = d.chance(107, 0.5)
    is_bus = first_is_bus, first_is_bus ^ ~d.chance(115, knobs["same"])
    if knobs["hues"]:
        count, first = knobs["hues"], d.integer(116, 0, knobs["hues"])
        second = (first + 1 + d.integer(117, 0, count - 1)) % count
        hues = first * (192 // count), second * (192 // count)
    else:
        first = d.integer(108, 0, 192)
        hues = first, (first + d.integer(109, 56, 137)) % 192
    swapped = d.chance(110, 0.5) & colour_rule
    free_places = d.extent(111, 4, 50), d.extent(112, 66, 112)
    role = np.where(posed, np.where(colour_rule, P, A), LOCAL)
    for s in range(2):
        zone, sign, pole = M.ZONE_LEFT + 2 * s, M.SIGN_LEFT + 3 * s, M.POLE_LEFT + s
        key = _choose(colour_rule, _saturated(hues[s]), [214, 214, 210])
        label = np.where(is_bus[s], BUS_ZONE, BIKE_ZONE)
        bus = _pixel(is_bus[s])
        # the zone
        x, y = canvas.x - _pixel(starts[s]), canvas.y[:, top:end]
        box = (x >= 0) & (x < _pixel(widths[s]))
        hatched, striped = (x + y) % 8 == 0, y % 4 == 0
        dotted = (x % 4 < 2) & (y % 4 < 2)
        paint = np.where(_pixel(posed), hatched, np.where(bus, striped, dotted))
        canvas.paint(top, end, box, zone)
        canvas.paint(top, end, box & paint, zone + 1)
        canvas.define(zone, key * 5 // 8 + 40, label, demand=role)
        canvas.define(zone + 1, key * 3 // 8 + 20, label, demand=role)
        # its sign: eleven pixels square, seven inside the coloured rim
        free = np.where(swapped, free_places[1 - s], free_places[s])
        above = starts[s] + widths[s] // 2 - 5 + d.extent(113 + s, -6, 7)
        x = canvas.x - _pixel(np.where(colour_rule, free, above))
        canvas.paint(sign_top, foot, x == 5, pole)
        canvas.paint(sign_top, sign_top + 11, (x >= 0) & (x < 11), sign)
        x, y = x - 2, np.arange(7)[None, :, None]
        inside = (x >= 0) & (x < 7)
        square = (x >= 1) & (x < 6) & (y >= 1) & (y < 6)
        wheels = (x != 3) & (y >= 3) & (y < 6)
        rows = sign_top + 2, sign_top + 9
        canvas.paint(*rows, inside, sign + 1)
        canvas.paint(*rows, inside & np.where(bus, square, wheels), sign + 2)
        canvas.define(pole, (70, 72, 76), label)
        canvas.define(sign, key, label, cue=role)
        ground = _choose(is_bus[s], [250, 250, 250], [18, 18, 22])
        canvas.define(sign + 1, ground, label, cue=role)
        symbol = _choose(is_bus[s], [190, 195, 205], [120, 120, 124])
        canvas.define(sign + 2, symbol, label, cue=role)


def _vehicles(canvas: Canvas, d: Draws, knobs: Mapping) -> tuple[np.ndarray, ...]:
    """One long vehicle in the back lane, or two when crowded: demand L.

    Posed, bus, truck and train share body, windows, skirt and wheels; nine columns at the nose
    tell them apart. Returns: first column and length of the first vehicle; crowded?
    """
    posed, crowded = d.chance(120, knobs["l"]), d.chance(121, knobs["crowd"])
    first = d.integer(122, 0, 3)
    kinds = first, (first + 1 + d.integer(123, 0, 2)) % 3
    lengths = (
        np.where(crowded, d.extent(124, 52, 60), d.extent(125, 62, 85)),
        d.extent(126, 52, 60),
    )
    anywhere = d.integer(128, 1, canvas.width - lengths[0])
    starts = (
        np.where(crowded, d.integer(127, 1, 4), anywhere),
        canvas.width - 1 - d.integer(129, 0, 3) - lengths[1],
    )
    paint = d.jitter(132, 14)
    top = VEHICLE_TOP * canvas.spread
    rows = top, top + VEHICLE_HEIGHT
    t = canvas.y[:, :VEHICLE_HEIGHT]  # rows from the roof; the last one is wheels
    role = np.where(posed, L, LOCAL)
    for s in range(1 + crowded.any()):
        body, kind, length = (M.VEHICLE, M.SECOND)[s], kinds[s], _pixel(lengths[s])
        bus, truck, train = (_pixel(kind == k) for k in range(3))
        x = canvas.x - _pixel(starts[s])
        u = np.where(_pixel(d.chance(130 + s, 0.5)), x, length - 1 - x)  # columns from the nose
        inside = (u >= 0) & (u < length)
        if s == 1:
            inside &= _pixel(crowded)
        hull = inside & (t < 14)
        canvas.paint(*rows, hull, body)
        shared = (t >= 3) & (t < 7) & (u % 7 >= 2)
        own = bus & (t >= 2) & (t < 8) & (u % 9 >= 2)
        own |= truck & (u % 3 == 0) & (t < 11)
        own |= train & (t % 3 == 1) & (t < 10)
        canvas.paint(*rows, inside & np.where(_pixel(posed), shared, own), body + 1)
        canvas.paint(*rows, hull & (t >= 11), body + 2)
        nose = hull & (u < 9)
        screen = bus & (t >= 1) & (t < 8) & (u >= 1) & (u < 8)
        screen |= truck & (t >= 5) & (t < 9) & (u >= 2) & (u < 6)
        screen |= train & (t >= 2) & (t < 5) & (u >= 3) & (u < 8)
        open_air = (truck & (t < 4) & (u < 7)) | (train & (u + t < 5))
        canvas.paint(*rows, nose, body + 3)
        canvas.paint(*rows, nose & screen, body + 4)
        canvas.paint(*rows, nose & open_air, M.ASPHALT)
        canvas.paint(*rows, nose & (t == 10) & (u >= 1) & (u < 3), body + 5)
        axles = (u - 14) ** 2, (length - 10 - u) ** 2, (length - 17 - u) ** 2
        wheel = np.minimum(np.minimum(axles[0], axles[1]), axles[2]) + (t - 12) ** 2 < 7
        canvas.paint(*rows, inside & wheel, body + 6)
        label = kind + BUS
        window = np.array([[70, 96, 130], [120, 106, 96], [150, 60, 60]])[kind]
        window = _choose(posed, [74, 84, 100], window)
        canvas.define(body, (196, 190, 182), label, jitter=paint, demand=role)
        canvas.define(body + 1, window + paint // 2, label, demand=role)
        canvas.define(body + 2, (104, 104, 108), label, jitter=paint // 2, demand=role)
        colour = np.array([[226, 190, 60], [206, 92, 40], [70, 60, 130]])[kind]
        canvas.define(body + 3, colour + paint // 2, label, cue=role)
        colour = np.array([[150, 205, 235], [60, 70, 84], [235, 235, 240]])[kind]
        canvas.define(body + 4, colour, label, cue=role)
        canvas.define(body + 5, (255, 250, 210), label, cue=role)
        canvas.define(body + 6, (30, 30, 34), label)
    return starts[0], lengths[0], crowded


def _car(canvas: Canvas, d: Draws, start, length, crowded) -> None:
    """A car in the larger gap beside the long vehicle, where it fits. Read locally."""
    left, right = start - 1, canvas.width - 1 - (start + length)
    size = d.integer(140, 15, 20)
    there = (np.maximum(left, right) >= size + 4) & ~crowded
    at = np.where(left >= right, 1 + (left - size) // 2, start + length + (right - size) // 2)
    end = VEHICLE_TOP * canvas.spread + VEHICLE_HEIGHT  # the wheels stand in one line
    u, t = canvas.x - _pixel(at), canvas.y[:, :CAR_HEIGHT]
    size = _pixel(size)
    inside = (u >= 0) & (u < size) & _pixel(there)
    slope = 3 + (4 - t) // 2
    roof = (u >= slope) & (u < size - slope)
    body = inside & (((t >= 4) & (t < 8)) | roof)
    glass = (t >= 1) & (t < 4) & (u >= 5) & (u < size - 5) & (u != size // 2)
    canvas.paint(end - CAR_HEIGHT, end, body, M.CAR_BODY)
    canvas.paint(end - CAR_HEIGHT, end, body & glass, M.CAR_WINDOW)
    canvas.define(M.CAR_BODY, _saturated(d.integer(141, 0, 192)), CAR)
    canvas.define(M.CAR_WINDOW, (58, 66, 78), CAR)


def render(
    indices: np.ndarray, *, split: str, seed: int, knobs: Mapping, spread: int = 1
) -> dict[str, np.ndarray]:
    """Draw the images of the given indices.

    Args:
        indices: int ``n``, non-negative.
        split: "train", "val" or "test".
        seed: non-negative.
        knobs: g, l, p, c, a, crowd, share, same (probabilities) and hues (a count).
        spread: how many times as high and wide as usual the canvas is.

    Returns:
        uint8 arrays: ``image`` n h w 3; ``label`` n h w; ``demand`` n h w, which demand a pixel
        poses (0: none); ``cue`` n h w, bit d set where the pixel is a cue of demand d.
    """
    d, canvas = Draws(seed, split, indices, spread), Canvas(len(indices), spread)
    global_on = d.chance(2, knobs["g"])
    noon = _sky(canvas, d, global_on)
    _skyline(canvas, d)
    _trees(canvas, d)
    _strip(canvas, d, knobs["c"])
    _verge(canvas, d, global_on, noon)
    _road(canvas, d)
    _zones_and_signs(canvas, d, knobs)
    start, length, crowded = _vehicles(canvas, d, knobs)
    _car(canvas, d, start, length, crowded)

    # the camera: up to two rows up or down, 0.85 to 1.06 times the light, noise
    last = canvas.height - 1
    rows = np.clip(np.arange(last + 1) - d.integer(150, -2, 3)[:, None], 0, last)
    material = canvas.material[np.arange(len(rows))[:, None], rows]
    colour = canvas.colour * _pixel(d.integer(151, 218, 273)) >> 8
    lookup = material + (np.arange(len(rows), dtype=np.intp) * len(M))[:, None, None]
    image = colour.astype(np.int16).reshape(-1, 3).take(lookup, axis=0)
    image += d.noise()
    tables = {"label": canvas.label, "demand": canvas.demand, "cue": canvas.cue}
    maps = {name: table.ravel().take(lookup) for name, table in tables.items()}
    return {"image": np.clip(image, 0, 255).astype(np.uint8), **maps}
