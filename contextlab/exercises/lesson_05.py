"""Exercises of lesson 05: pyramids."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contextlab.exercises import Exercise, Question, Wrong, WrongAnswer, call, same

TITLE = "Pyramids"


def _edges(n: int, s: int) -> list[tuple[int, int]]:
    return [(i * n // s, -(-(i + 1) * n // s)) for i in range(s)]


def _cut(n: int, s: int) -> str:
    """The first edge that falls inside a pixel, in words."""
    i = next(i for i in range(1, s) if i * n % s)
    return f"the edge at {i * n / s:.4g} cuts pixel {i * n // s}."


def _check_bin_edges(bin_edges):
    for n, s in ((6, 3), (6, 4), (16, 3), (16, 6), (7, 2), (5, 1), (2, 3), (1, 1)):
        got, want = bin_edges(n, s), _edges(n, s)
        try:
            found = [(int(start), int(end)) for start, end in got]
        except (TypeError, ValueError):
            raise Wrong("return a list of pairs (start, end), one a bin.") from None
        if len(found) != s:
            raise Wrong(f"{n} pixels in {s} bins: {len(found)} pairs came, one a bin is wanted.")
        if found == [(start, end - 1) for start, end in want]:
            raise Wrong(
                "the ends are the last pixels themselves. Python's way is one past the last, so "
                "that x[start:end] is the bin."
            )
        covered = {p for start, end in found for p in range(start, end)}
        if missing := sorted(set(range(n)) - covered):
            raise Wrong(
                f"{n} pixels in {s} bins: pixel {missing[0]} lies in no bin. A width of n // s "
                "leaves pixels over; compute each edge from i n / s."
            )
        if found == [(i * n // s, (i + 1) * n // s) for i in range(s)] != want:
            raise Wrong(
                f"{n} pixels in {s} bins: these bins do not overlap, but {_cut(n, s)} Both "
                "bins touch that pixel."
            )
        for i, (one, other) in enumerate(zip(found, want)):
            if one != other:
                raise Wrong(
                    f"{n} pixels in {s} bins: bin {i} is {one}, and should be {other}: its "
                    f"interval goes from {i * n / s:.4g} to {(i + 1) * n / s:.4g}. Which "
                    "pixels does it touch?"
                )


class _Spy(nn.Module):
    """A layer that remembers the size of what it was given."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.seen = layer, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape[2:]))
        return self.layer(x)


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    norm = nn.BatchNorm2d(outputs).eval()
    nn.init.normal_(norm.running_mean, std=0.3)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), norm, nn.ReLU()).eval()


def _check_pyramid_stage(pyramid_stage):
    def up(t, size, **how):
        return F.interpolate(t, size, **{"mode": "bilinear", **how})

    for b, h, w, s in ((2, 12, 18, 3), (1, 7, 5, 2), (2, 6, 6, 1), (1, 1, 4, 3)):
        layer, x = _Spy(_layer(4, 3)), torch.randn(b, 4, h, w)
        with torch.no_grad():
            got = pyramid_stage(x, layer, s)
            pooled = F.adaptive_avg_pool2d(x, s)
            small = layer.layer(pooled)
            want = up(small, (h, w))
            if not layer.seen:
                raise Wrong("the layer was not called.")
            mistakes = [
                (
                    layer.layer(up(pooled, (h, w))),
                    "the ReLU must see the bins, not mixtures of them: upsampling comes last. The "
                    "layer then also runs on s x s bins instead of h x w pixels.",
                ),
                (small, "these are the bins. Hand them back to the pixels: upsample to h x w."),
                (
                    up(small, (h, w), align_corners=True),
                    "these are the corners of the outer bins pinned to the corners of the map "
                    "(align_corners=True). We want the default, False.",
                ),
                (
                    F.interpolate(small, (h, w)),
                    "these are blocks: the default mode of F.interpolate is 'nearest'.",
                ),
                (
                    up(layer.layer(F.adaptive_max_pool2d(x, s)), (h, w)),
                    "these are the maxima of the bins. A bin holds an average.",
                ),
            ]
            if s > 1 and h > 1:
                for mistake, message in mistakes:
                    like = isinstance(got, Tensor) and got.shape == mistake.shape
                    if like and torch.allclose(got, mistake, atol=1e-5):
                        raise Wrong(message)
        same(got, want, what="the stage's map", why="Pool, then the layer, then upsample.")
        if layer.seen != [(s, s)]:
            raise Wrong(
                f"the layer saw a map of {layer.seen[0]}. Call it once, on the {s} x {s} bins."
            )


def _check_atrous_branch(atrous_branch):
    for c, width, rate in ((4, 3, 2), (2, 5, 1), (3, 2, 6)):
        branch = call(atrous_branch, c, width, rate)
        if not isinstance(branch, nn.Module):
            raise Wrong("return a module: convolution, batch norm, ReLU in an nn.Sequential.")
        x = torch.randn(2, c, 9, 7)
        conv = next((m for m in branch.modules() if isinstance(m, nn.Conv2d)), None)
        norm = next((m for m in branch.modules() if isinstance(m, nn.BatchNorm2d)), None)
        if conv is None or norm is None:
            raise Wrong("a convolution and a batch norm are needed.")
        if conv.kernel_size != (3, 3):
            raise Wrong(
                f"the kernel is {conv.kernel_size}. It has nine taps at every rate; `dilation` "
                "moves them apart."
            )
        if conv.dilation != (rate, rate):
            raise Wrong(f"the dilation is {conv.dilation}; the taps stand `rate` = {rate} apart.")
        if conv.padding not in ((rate, rate), rate):
            raise Wrong(
                f"the padding is {conv.padding}, so the map changes its size. The outer taps reach "
                f"`rate` = {rate} beyond the border: pad by as much."
            )
        if conv.bias is not None:
            raise Wrong("batch norm subtracts any bias again: use bias=False.")
        got = call(branch, x)
        with torch.no_grad():
            y = F.conv2d(x, conv.weight, padding=rate, dilation=rate)
            flat = y - y.mean((0, 2, 3), keepdim=True)
            want = (flat / (y.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()).relu()
        same(
            got, want, what="the branch's map", why="Convolution, batch norm, ReLU, in this order."
        )


def _check_taps_inside(taps_inside):
    def brute(h, w, rate):
        hits = [
            0 <= y + dy * rate < h and 0 <= x + dx * rate < w
            for y in range(h) for x in range(w) for dy in (-1, 0, 1) for dx in (-1, 0, 1)
        ]  # fmt: skip
        return sum(hits) / len(hits)

    for h, w, rate in ((6, 6, 2), (16, 32, 9), (5, 9, 1), (33, 33, 36), (4, 12, 6), (1, 1, 1)):
        want = brute(h, w, rate)
        got = taps_inside(h, w, rate)
        free = [1 - rate / n for n in (h, w)]
        kept = [max(0.0, f) for f in free]
        mistakes = (
            (
                (1 + 2 * free[0]) * (1 + 2 * free[1]) / 9,
                f"on a map of {h} x {w} at rate {rate} no outer tap can fall inside along some "
                "axis, but the formula counts a negative number of them.",
            ),
            (
                4 * kept[0] * kept[1] / 9,
                "the middle tap of each axis is missing: its offset is 0, so it always falls "
                "inside.",
            ),
            (
                (1 + 2 * kept[0] + 1 + 2 * kept[1]) / 6,
                "this is the mean over the two axes. A tap must be inside along both: multiply.",
            ),
            (
                9 * want,
                "this is the number of taps, of nine. The share is wanted.",
            ),
            (1 - want, "this is the share that reads padding."),
        )
        for mistake, message in mistakes:
            near = isinstance(got, (int, float)) and math.isclose(got, mistake, abs_tol=1e-9)
            if near and not math.isclose(mistake, want, abs_tol=1e-9):
                raise Wrong(message)
        same(
            got, want, what=f"the share on a map of {h} x {w} at rate {rate}",
            why="How many of n pixels have a neighbour at distance rate to their left?",
        )  # fmt: skip


def _check_rates_without_holes(rates_without_holes):
    for reach in (1, 4, 13, 2, 5, 40, 3, 9, 0):
        rates = rates_without_holes(reach)
        if not isinstance(rates, (list, tuple)) or not all(isinstance(r, int) for r in rates):
            raise Wrong("return a list of whole numbers, the rate of each layer.")
        if any(r < 1 for r in rates):
            raise Wrong(f"reach {reach}: a rate is at least 1, got {list(rates)}.")
        read = {0}
        for rate in rates:
            read = {o + t for o in read for t in (-rate, 0, rate)}
        fewest = next(n for n in range(9) if (3**n - 1) // 2 >= reach)
        hole = next((o for o in range(reach + 1) if o not in read), None)
        if hole is not None and sum(rates) < reach:
            raise Wrong(
                f"reach {reach}: rates {list(rates)} add up to {sum(rates)}, so offset {reach} is "
                "out of reach."
            )
        if hole is not None:
            raise Wrong(f"reach {reach}: with rates {list(rates)} offset {hole} is never read.")
        if len(rates) > fewest:
            raise Wrong(
                f"reach {reach}: {list(rates)} has no holes, but {len(rates)} layers; {fewest} "
                "are enough. Each layer makes three copies of what is covered: how far apart may "
                "they stand at most?"
            )


BIN_EDGES = """
def bin_edges(n, s):
    return [(i * n // s, math.ceil((i + 1) * n / s)) for i in range(s)]
"""

PYRAMID_STAGE = """
def pyramid_stage(x, layer, s):
    bins = F.adaptive_avg_pool2d(x, s)
    return F.interpolate(layer(bins), x.shape[2:], mode="bilinear")
"""

ATROUS_BRANCH = """
def atrous_branch(channels, width, rate):
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=rate, dilation=rate, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
"""

TAPS_INSIDE = """
def taps_inside(h, w, rate):
    rows = 1 + 2 * max(0, h - rate) / h
    columns = 1 + 2 * max(0, w - rate) / w
    return rows * columns / 9
"""

RATES_WITHOUT_HOLES = """
def rates_without_holes(reach):
    rates, covered = [], 1
    while covered < 2 * reach + 1:
        rates.append(covered)
        covered *= 3
    return rates
"""

EXERCISES = [
    Exercise(
        name="bin_edges",
        lesson="05",
        title="the bins",
        prompt="""
        Return the `s` bins of `n` pixels as a list of pairs `(start, end)`, so that `x[start:end]`
        are the pixels of a bin. Bin $i$ wants the interval from $i\\,n/s$ to $(i+1)\\,n/s$; it gets
        every pixel that this interval touches.
        """,
        stub="""
        def bin_edges(n, s):
            # one pair of whole numbers a bin
            return ...
        """,
        solution=BIN_EDGES,
        check=_check_bin_edges,
        hint="""
        Mark the edges 0, 1.5, 3, 4.5 and 6 on six pixels. Which whole number is the start of the
        second bin, and which one past the last pixel of the first?
        """,
        wrong=(
            WrongAnswer(
                "def bin_edges(n, s):\n"
                "    return [(i * (n // s), (i + 1) * (n // s)) for i in range(s)]",
                "lies in no bin",
            ),
            WrongAnswer(
                "def bin_edges(n, s):\n"
                "    return [(i * n // s, (i + 1) * n // s) for i in range(s)]",
                "do not overlap",
            ),
            WrongAnswer(
                "def bin_edges(n, s):\n"
                "    return [(round(i * n / s), round((i + 1) * n / s)) for i in range(s)]",
                "Which pixels does it touch|lies in no bin|do not overlap",
            ),
            WrongAnswer(
                "def bin_edges(n, s):\n"
                "    return [(i * n // s, math.ceil((i + 1) * n / s) - 1) for i in range(s)]",
                "one past the last",
            ),
            WrongAnswer(
                "def bin_edges(n, s):\n"
                "    return [(i * n // s, (i + 1) * n // s + 1) for i in range(s)]",
                r"bin 0 is \(0, 3\), and should be \(0, 2\)",
            ),
            WrongAnswer(
                "def bin_edges(n, s):\n    return [i * n // s for i in range(s + 1)]",
                "a list of pairs",
            ),
        ),
    ),
    Exercise(
        name="pyramid_stage",
        lesson="05",
        title="one stage of the pyramid",
        prompt="""
        Write one stage: average `x` (`b c h w`) over `s` x `s` bins, apply `layer` to the bins,
        and hand the result back to the pixels by bilinear upsampling. `layer` is a $1\\times1$
        convolution, a norm and a ReLU.
        """,
        stub="""
        def pyramid_stage(x, layer, s):
            # pool, layer, upsample
            return ...
        """,
        solution=PYRAMID_STAGE,
        check=_check_pyramid_stage,
        hint="""
        `F.adaptive_avg_pool2d(x, s)` makes your bins. `F.interpolate` wants the size and
        `mode="bilinear"`.
        """,
        wrong=(
            WrongAnswer(
                "def pyramid_stage(x, layer, s):\n"
                "    bins = F.adaptive_avg_pool2d(x, s)\n"
                "    return layer(F.interpolate(bins, x.shape[2:], mode='bilinear'))",
                "upsampling comes last",
            ),
            WrongAnswer(
                PYRAMID_STAGE.replace('mode="bilinear"', 'mode="bilinear", align_corners=True'),
                "align_corners=True",
            ),
            WrongAnswer(PYRAMID_STAGE.replace(', mode="bilinear"', ""), "these are blocks"),
            WrongAnswer(PYRAMID_STAGE.replace("avg", "max"), "maxima of the bins"),
            WrongAnswer(
                "def pyramid_stage(x, layer, s):\n    return layer(F.adaptive_avg_pool2d(x, s))",
                "upsample to h x w",
            ),
            WrongAnswer(
                "def pyramid_stage(x, layer, s):\n"
                "    bins = F.avg_pool2d(x, (x.shape[2] // s, x.shape[3] // s))\n"
                "    return F.interpolate(layer(bins), x.shape[2:], mode='bilinear')",
                "values are off|stopped with RuntimeError",
            ),
        ),
    ),
    Exercise(
        name="atrous_branch",
        lesson="05",
        title="one branch with holes",
        prompt="""
        Return a module that maps `b channels h w` to `b width h w`, any h and w: a $3\\times3$
        convolution without bias, its taps `rate` steps apart, a batch norm, a ReLU.
        """,
        stub="""
        def atrous_branch(channels, width, rate):
            return ...  # an nn.Sequential of three layers
        """,
        solution=ATROUS_BRANCH,
        check=_check_atrous_branch,
        hint="""
        `nn.Conv2d` has the options `dilation` and `padding`. How far beyond the border do the taps
        of a pixel at the border reach?
        """,
        wrong=(
            WrongAnswer(ATROUS_BRANCH.replace("padding=rate, ", ""), "pad by as much"),
            WrongAnswer(ATROUS_BRANCH.replace("padding=rate", "padding=1"), "pad by as much"),
            WrongAnswer(ATROUS_BRANCH.replace("dilation=rate, ", ""), "`rate` = 2 apart"),
            WrongAnswer(
                ATROUS_BRANCH.replace(
                    "3, padding=rate, dilation=rate", "2 * rate + 1, padding=rate"
                ),
                "nine taps at every rate",
            ),
            WrongAnswer(ATROUS_BRANCH.replace(", bias=False", ""), "subtracts any bias"),
            WrongAnswer(
                "def atrous_branch(channels, width, rate):\n"
                "    conv = nn.Conv2d(\n"
                "        channels, width, 3, padding=rate, dilation=rate, bias=False\n"
                "    )\n"
                "    return nn.Sequential(conv, nn.ReLU(), nn.BatchNorm2d(width))",
                "in this order",
            ),
        ),
    ),
    Exercise(
        name="taps_inside",
        lesson="05",
        title="taps on the map",
        prompt="""
        A $3\\times3$ kernel at rate `rate` runs over a map of `h` x `w` positions. Return the share
        of all its reads that fall on the map and not on the padding: a number from 0 to 1, without
        a loop.
        """,
        stub="""
        def taps_inside(h, w, rate):
            return ...
        """,
        solution=TAPS_INSIDE,
        check=_check_taps_inside,
        hint="""
        One axis first: at how many of its $n$ pixels is the left tap inside, at how many the middle
        one? For $n = 6$, $r = 2$ the share is $7/9$. A tap must be inside along both axes.
        """,
        wrong=(
            WrongAnswer(
                TAPS_INSIDE.replace("max(0, h - rate)", "(h - rate)").replace(
                    "max(0, w - rate)", "(w - rate)"
                ),
                "a negative number of them",
            ),
            WrongAnswer(TAPS_INSIDE.replace("1 + 2", "2"), "the middle tap of each axis"),
            WrongAnswer(
                TAPS_INSIDE.replace("rows * columns / 9", "(rows + columns) / 6"), "multiply"
            ),
            WrongAnswer(TAPS_INSIDE.replace(" / 9", ""), "The share is wanted"),
            WrongAnswer(
                TAPS_INSIDE.replace("rows * columns / 9", "1 - rows * columns / 9"),
                "reads padding",
            ),
            WrongAnswer(
                TAPS_INSIDE.replace("h - rate", "h - 2 * rate").replace("w - rate", "w - 2 * rate"),
                "is 0.3086, and should be 0.6049",
            ),
        ),
    ),
    Exercise(
        name="rates_without_holes",
        lesson="05",
        title="no holes, few layers",
        prompt="""
        Layers of three taps are stacked. Return a list of rates, as short as possible, such that
        one output reads **every** offset from `-reach` to `reach` (it may read more). For a reach
        of 4 this is `[1, 3]`, for 0 it is `[]`.
        """,
        stub="""
        def rates_without_holes(reach):
            return ...
        """,
        solution=RATES_WITHOUT_HOLES,
        check=_check_rates_without_holes,
        hint="""
        Suppose that the layers so far cover $r$ pixels without a hole, at first 1. The next layer
        makes three copies of this block, its rate apart. At which rate do they just touch? How many
        pixels are covered then?
        """,
        wrong=(
            WrongAnswer(
                "def rates_without_holes(reach):\n"
                "    rates = []\n"
                "    while sum(rates) < reach:\n"
                "        rates.append(2 ** len(rates))\n"
                "    return rates",
                "layers; 2 are enough",
            ),
            WrongAnswer(
                "def rates_without_holes(reach):\n    return [reach] if reach else []",
                "offset 1 is never read",
            ),
            WrongAnswer("def rates_without_holes(reach):\n    return [1] * reach", "are enough"),
            WrongAnswer(
                RATES_WITHOUT_HOLES.replace("covered = [], 1", "covered = [], 3"),
                "is out of reach|is never read",
            ),
            WrongAnswer(
                RATES_WITHOUT_HOLES.replace("append(covered)", "append(3 * covered)"),
                "is never read",
            ),
        ),
    ),
]

QUIZ = [
    Question(
        "Seven pixels, 0 to 6, are pooled adaptively to three bins. In how many bins does pixel 2 "
        "lie?",
        ("in none", "in one", "in two"),
        2,
        "The bins are 0 to 2, 2 to 4 and 4 to 6: starts are rounded down, ends are rounded up.",
    ),
    Question(
        "The content of an image moves to the right by some positions of the map. Which block's "
        "answer moves along unchanged, far from the borders?",
        (
            "pyramid pooling with 1, 2, 3 and 6 bins",
            "ASPP without its image-level branch",
            "both",
        ),
        1,
        "A tap is a place relative to the pixel, so it moves along. A bin is a place in the image: "
        "what moves from one bin into the next changes the answer.",
    ),
    Question(
        "A 3 x 3 kernel of rate 36 runs over a map of 33 x 33. What is it in effect?",
        ("a 33 x 33 convolution", "a 3 x 3 convolution on a coarser map", "a 1 x 1 convolution"),
        2,
        "No two positions of the map are 36 apart. Eight taps read zeros everywhere, the centre "
        "remains.",
    ),
    Question(
        "Layers with rates 3, 6, 12, 18 and 24 are stacked. One output reads which of the 127 "
        "offsets along an axis?",
        ("all", "every third one", "11 of them"),
        1,
        "All rates are multiples of 3, so every sum of them is. The holes must be filled by the "
        "features, which see more than their own position.",
    ),
    Question(
        "Pyramid pooling takes 2048 channels to 512. Which part does nearly all of the work?",
        (
            "the average pooling",
            "the 1 x 1 convolutions of the stages",
            "the last 3 x 3 convolution",
        ),
        2,
        "It reads 4096 channels at every pixel. The stages run on 50 bins instead of 9,216 pixels.",
    ),
    Question(
        "Why does fixed structure not help with demand P?",
        (
            "its receptive field is too small",
            "who answers is decided by place, and the sign of my colour can stand anywhere",
            "it has too few parameters",
        ),
        1,
        "P needs a choice that depends on the content of both pixels. Bins and taps are the same "
        "for every image. (One vector whose channels bind hue and symbol would do, lesson 04.)",
    ),
]
