"""Exercises of lesson 10: fewer, better neighbours."""

import math
from collections.abc import Mapping

import torch
from einops import einsum
from torch import Tensor

from contextlab.exercises import Exercise, Question, Unsolved, Wrong, WrongAnswer
from contextlab.exercises import same as equal
from contextlab.modules.graph_guided import edges, parse_heads

TITLE = "Fewer, better neighbours"
MAP = (16, 32)  # of the course network, which the lesson's runs have
MOST = 95  # a quarter of the contexts of LOCAL 2, 4, 6 and GRID 2, 4, 6: 383.2 a pixel


def _refuse(got, *mistakes: tuple[Tensor, str]) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake."""
    for mistake, message in mistakes:
        like = isinstance(got, Tensor) and got.shape == mistake.shape
        if like and torch.allclose(got, mistake, atol=1e-5, rtol=1e-4):
            raise Wrong(message)


def _kept(logits: Tensor, keep: int, largest: bool = True, dim: int = -1) -> Tensor:
    best = logits.topk(min(keep, logits.shape[dim]), dim, largest).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter(dim, best, True)


def _check_keep_largest(keep_largest):
    out = -math.inf
    for shape, keep in (((2, 5, 7), 3), ((1, 6, 6), 1), ((3, 4, 8), 8), ((1, 3, 4), 9)):
        logits = torch.randn(shape)
        graph = torch.rand(shape) < 0.7
        graph[..., 0] = True
        logits = logits.masked_fill(~graph, out)
        kept = _kept(logits, keep)
        want = logits.masked_fill(~kept, out)
        got = keep_largest(logits, keep)
        if isinstance(got, Tensor) and got.shape == want.shape and keep < shape[-1]:
            _refuse(
                got,
                (
                    logits.masked_fill(~kept, 0),
                    "what is dropped has a logit of 0, which is a weight of e^0 = 1 and no small "
                    "one. Only minus infinity becomes a weight of 0.",
                ),
                (
                    logits.masked_fill(~_kept(logits, keep, dim=-2), out),
                    "the largest were looked for among the pixels that ask, down a column. Each "
                    "pixel that asks chooses among those that answer, so along the last axis.",
                ),
                (
                    logits.masked_fill(~_kept(logits, keep, largest=False), out),
                    "the smallest were kept.",
                ),
            )
            if keep > 1 and ((got > out).sum(-1) == (want > out).sum(-1) - 1).all():
                raise Wrong(
                    f"{keep - 1} are kept of each row where {keep} should be: the smallest of the "
                    "kept ones belongs to them (>= and not >)."
                )
        equal(
            got,
            want,
            what=f"what is kept of {shape[-1]} answers with keep = {keep}",
            why="Of each row the largest stay, at most as many as there are.",
        )
    by_hand = torch.tensor([[8.0, 4, 2, 1, 1]]).log()[None]
    equal(
        keep_largest(by_hand, 2),
        torch.tensor([[[math.log(8), math.log(4), out, out, out]]]),
        what="the example by hand with two kept",
        why="The two largest logits stay as they are, the others become minus infinity.",
    )


def _check_pruning_guess(guess):
    want = ("a tenth, the largest", "a tenth, at random", "best share")
    if not isinstance(guess, Mapping) or set(guess) != set(want):
        names = ", ".join(repr(name) for name in want)
        raise Wrong(f"fill in the dictionary and keep its three names: {names}.")
    if all(value is ... for value in guess.values()):
        raise Unsolved
    for name, value in guess.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Wrong(f"{name!r}: write a number for the dots, got {value!r}.")
        if name == "best share" and not 0 < value <= 100:
            raise Wrong(f"a share of the neighbours lies above 0 and up to 100, got {value}.")
        if name != "best share" and not -100 <= value <= 100:
            raise Wrong(f"{name!r}: points of mIoU are gained or lost, -100 to 100, got {value}.")


def _attend(weights: Tensor, v: Tensor) -> Tensor:
    return einsum(weights, v, "b i j, b j d -> b i d")


def _check_mended_pruning(mended_pruning):
    for b, n, d, keep in ((1, 5, 2, 2), (2, 9, 4, 3), (1, 6, 3, 6)):
        q, k = torch.randn(2, b, n, d)
        v = torch.randn(b, n, d)
        logits = einsum(q, k, "b i d, b j d -> b i j") * d**-0.5
        kept = _kept(logits, keep)
        weights = torch.softmax(logits, -1)
        want = torch.softmax(logits.masked_fill(~kept, -math.inf), -1)
        got = mended_pruning(q, k, v, keep)
        if keep < n:
            cut = kept * weights
            mass = cut.sum(-1, keepdim=True)
            _refuse(
                got,
                (
                    _attend(cut, v),
                    "the same fault: where all pixels say 1, the answer is still "
                    f"{mass.mean():.2f} on average, because the kept weights do not sum to 1.",
                ),
                (
                    _attend(cut / keep, v),
                    "the weights are divided by how many are kept. They should sum to 1: what do "
                    "they sum to now?",
                ),
                (
                    _attend(n / keep * cut, v),
                    "scaled by n / keep, as dropout does. That is right on average over random "
                    "choices; the largest weights hold more than their share.",
                ),
                (
                    _attend(cut / cut.sum(-2, keepdim=True).clamp_min(1e-9), v),
                    "the weights are divided by the sums over the pixels that ask. Each pixel that "
                    "asks takes a mean over those that answer.",
                ),
                (
                    _attend(weights, v),
                    "nothing is dropped any more: the answer is that of the whole soft-max.",
                ),
                (
                    _attend(torch.softmax(cut, -1), v),
                    "a soft-max of weights, in which the dropped ones have a weight of e^0 = 1.",
                ),
            )
        equal(
            got,
            _attend(want, v),
            what=f"the answer with {keep} of {n} kept",
            why="A weighted mean: over the kept pixels alone, with weights that sum to 1.",
        )


def _check_pruned_macs(pruned_macs):
    for n, d, support, keep in ((512, 32, 512, 51), (32768, 256, 4025, 400), (100, 8, 25, 25)):
        got = pruned_macs(n, d, support, keep)
        where = f"n = {n}, d = {d}, support = {support}, keep = {keep}"
        try:
            value = float(got)
        except (TypeError, ValueError):
            equal(got, 0, what="the answer", why="One number, multiply-accumulates.")
        if keep < support:
            for wrong, message in (
                (
                    2 * n * keep * d,
                    "you count the affinities of the kept ones alone. To know which are the "
                    "largest, all of them must be computed first.",
                ),
                (2 * n * support * d, "the sum over g has only `keep` terms now."),
                (n * (support + keep), "an affinity is a product of two vectors of d numbers."),
                (
                    n * support * d + keep * d,
                    "the sum is counted for one pixel; all n pixels ask.",
                ),
            ):
                if value == wrong:
                    raise Wrong(f"for {where}: {message}")
        equal(
            value,
            n * d * (support + keep),
            what=f"the MACs for {where}",
            rtol=0,
            why="d for each affinity of the support, d for each kept term of the sum.",
        )


def _check_all_pairs(all_pairs):
    for h, w in ((2, 3), (4, 2), (1, 5), (3, 3)):
        table = torch.randn(2 * h - 1, 2 * w - 1)
        y, x = torch.arange(h * w) // w, torch.arange(h * w) % w
        dy, dx = y[:, None] - y, x[:, None] - x
        want = table[h - 1 + dy, w - 1 + dx]
        got = all_pairs(table, h, w)
        mistakes = [
            (
                want.mT,
                "i and j have changed places: the table is read by i - j, where i asks.",
            ),
            (
                table[dy, dx],
                "offset (0, 0) stands in the middle of the table, at row h - 1 and column w - 1. "
                "A negative index does not fail: it counts from the other end.",
            ),
        ]
        if h == w:
            text = "rows and columns have changed places: pixel i stands at row i // w."
            mistakes.append((table[w - 1 + dx, h - 1 + dy], text))
        if h * w > 1:
            for mistake, message in mistakes:
                _refuse(got, (mistake, message))
        equal(
            got,
            want,
            what=f"log E for all pairs of a map of {h} x {w}",
            why="Pixel i stands at row i // w and column i % w.",
        )


def _check_my_heads(my_heads):
    if isinstance(my_heads, str) or not isinstance(my_heads, (list, tuple)):
        raise Wrong(f"a list of names such as ['LOCAL_2', 'GRID_4'], got {my_heads!r}.")
    if not my_heads:
        raise Unsolved
    try:
        heads = parse_heads(list(my_heads))
    except ValueError as error:
        raise Wrong(str(error)) from None
    contexts = {head.name: edges(head, *MAP) / (MAP[0] * MAP[1]) for head in heads}
    total = sum(contexts[head.name] for head in heads)
    if total > MOST:
        parts = ", ".join(f"{name} {value:.0f}" for name, value in contexts.items())
        raise Wrong(
            f"a pixel asks {total:.0f} others on average, all heads together; at most {MOST} are "
            f"allowed ({parts})."
        )


KEEP_LARGEST = """
def keep_largest(logits, keep):
    best = logits.topk(min(keep, logits.shape[-1]), dim=-1).indices
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, True)
    return logits.masked_fill(~kept, -math.inf)
"""

FAULTY = """
def mended_pruning(q, k, v, keep):
    logits = einsum(q, k, "b i d, b j d -> b i j") * q.shape[-1] ** -0.5
    weights = torch.softmax(logits, -1)
    best = weights.topk(keep, dim=-1).indices
    kept = torch.zeros_like(weights).scatter(-1, best, 1.0)
    return einsum(kept * weights, v, "b i j, b j d -> b i d")
"""

MENDED_PRUNING = """
def mended_pruning(q, k, v, keep):
    logits = einsum(q, k, "b i d, b j d -> b i j") * q.shape[-1] ** -0.5
    weights = torch.softmax(logits, -1)
    best = weights.topk(keep, dim=-1).indices
    kept = torch.zeros_like(weights).scatter(-1, best, 1.0)
    weights = kept * weights
    weights = weights / weights.sum(-1, keepdim=True)
    return einsum(weights, v, "b i j, b j d -> b i d")
"""

PRUNED_MACS = """
def pruned_macs(n, d, support, keep):
    affinities = n * support * d
    sums = n * keep * d
    return affinities + sums
"""

ALL_PAIRS = """
def all_pairs(table, h, w):
    y, x = torch.arange(h * w) // w, torch.arange(h * w) % w
    dy = y[:, None] - y
    dx = x[:, None] - x
    return table[h - 1 + dy, w - 1 + dx]
"""

GUESS = """
pruning_guess = {
    "a tenth, the largest": 0.3,
    "a tenth, at random": -5,
    "best share": 50,
}
"""

MY_HEADS = """
my_heads = ["LOCAL_2", "GRID_3"]
"""

EXERCISES = [
    Exercise(
        name="keep_largest",
        lesson="10",
        title="keep the largest",
        prompt="""
        `logits` is `b i j`: how well pixel $j$ suits pixel $i$, and $-\\infty$ where the graph has
        no edge. Return the same with $-\\infty$ also for all but the `keep` largest of each pixel
        $i$. Where fewer than `keep` are left, nothing is dropped.
        """,
        stub="""
        def keep_largest(logits, keep):
            # b i j -> b i j
            return ...
        """,
        solution=KEEP_LARGEST,
        check=_check_keep_largest,
        hint="""
        `logits.topk(n, dim=-1).indices` tells the places of the n largest of each row;
        `torch.zeros_like(logits, dtype=torch.bool).scatter(-1, places, True)` marks them. `topk`
        refuses an n above the length of the row.
        """,
        wrong=(
            WrongAnswer(KEEP_LARGEST.replace("-math.inf", "0.0"), "has a logit of 0"),
            WrongAnswer(
                KEEP_LARGEST.replace("dim=-1", "dim=-2").replace("scatter(-1", "scatter(-2"),
                "down a column",
            ),
            WrongAnswer(
                KEEP_LARGEST.replace("min(keep, logits.shape[-1])", "keep"), "stopped with|raise"
            ),
            WrongAnswer(
                KEEP_LARGEST.replace("dim=-1)", "dim=-1, largest=False)"), "the smallest were kept"
            ),
            WrongAnswer(
                "def keep_largest(logits, keep):\n"
                "    least = logits.topk(min(keep, logits.shape[-1]), dim=-1).values[..., -1:]\n"
                "    return logits.masked_fill(logits <= least, -math.inf)",
                "where .* should be",
            ),
        ),
    ),
    Exercise(
        name="mended_pruning",
        lesson="10",
        title="find the fault",
        prompt="""
        This block prunes, and its network loses points with every neighbour that it drops, although
        all say nearly the same. Feed it with `v` all ones to see it. Find the fault and mend it.
        """,
        stub=FAULTY,
        solution=MENDED_PRUNING,
        check=_check_mended_pruning,
        hint="""
        The soft-max made weights that sum to 1, and then some were set to 0. What is the sum of the
        rest, and what does the equation of $E^*$ say about $C_i$?
        """,
        wrong=(
            WrongAnswer(FAULTY.replace("1.0)", "1.0) * 1"), "do not sum to 1"),
            WrongAnswer(
                FAULTY.replace("kept * weights", "kept * weights / keep"), "by how many are kept"
            ),
            WrongAnswer(
                FAULTY.replace("kept * weights", "kept * weights * k.shape[1] / keep"),
                "as dropout does",
            ),
            WrongAnswer(
                MENDED_PRUNING.replace("sum(-1, keepdim=True)", "sum(-2, keepdim=True)"),
                "over the pixels that ask|must be finite|values are|nan",
            ),
            WrongAnswer(FAULTY.replace("kept * weights", "weights"), "nothing is dropped"),
            WrongAnswer(
                FAULTY.replace("kept * weights", "torch.softmax(kept * weights, -1)"),
                "a soft-max of weights",
            ),
        ),
    ),
    Exercise(
        name="pruning_guess",
        called="A guess, right or wrong",
        lesson="10",
        title="guess before you look",
        prompt="""
        A network whose one FULL head asks all 512 positions is trained, and its weights stay as
        they are. Each pixel then keeps a tenth, 52 of 512. How many points of mIoU are gained (+)
        or lost (−) if these are its largest affinities, and if they are drawn at random? And which
        share, in per cent, would give the best result? Write your guesses for the dots; without
        them the paper's claim steps in as a guess.
        """,
        stub="""
        pruning_guess = {
            "a tenth, the largest": ...,
            "a tenth, at random": ...,
            "best share": ...,
        }
        """,
        solution=GUESS,
        check=_check_pruning_guess,
        hint="""
        By the derivation above, what is lost is the dropped weight times how much the dropped
        differ from the kept. How much weight might the largest tenth hold? And a random tenth?
        """,
        wrong=(
            WrongAnswer(GUESS.replace("50", "500"), "above 0 and up to 100"),
            WrongAnswer(GUESS.replace("0.3", '"a bit"'), "write a number"),
            WrongAnswer(GUESS.replace("-5", "..."), "write a number"),
            WrongAnswer("pruning_guess = 0.3", "its three names"),
        ),
    ),
    Exercise(
        name="pruned_macs",
        lesson="10",
        title="what is saved",
        prompt="""
        How many multiply-accumulates (MACs) does one pruned head spend on affinities and weighted
        sums? `n` pixels ask, each is joined to `support` others, keys and values are `d` wide, and
        `keep` are kept. The choice itself is not counted.
        """,
        stub="""
        def pruned_macs(n, d, support, keep):
            # affinities first, then the sums
            return ...
        """,
        solution=PRUNED_MACS,
        check=_check_pruned_macs,
        hint="""
        To find the largest of `support` affinities one needs how many of them? A product of two
        vectors costs $d$, and so does adding one weighted vector to the sum.
        """,
        wrong=(
            WrongAnswer(PRUNED_MACS.replace("n * support * d", "n * keep * d"), "all of them"),
            WrongAnswer(PRUNED_MACS.replace("n * keep * d", "n * support * d"), "only `keep`"),
            WrongAnswer(PRUNED_MACS.replace(" * d", ""), "vectors of d"),
            WrongAnswer(PRUNED_MACS.replace("sums = n * keep", "sums = keep"), "all n pixels"),
        ),
    ),
    Exercise(
        name="all_pairs",
        lesson="10",
        title="one table for all pairs",
        prompt="""
        `table`, of $(2h-1)\\times(2w-1)$, holds $\\log E$ by the offset $i - j$: the offset
        $(0, 0)$ stands in its middle, at row $h - 1$ and column $w - 1$. Return
        $\\log E(i, j)$ for all pairs of pixels, $n \\times n$ with $n = hw$, numbered row by row.
        """,
        stub="""
        def all_pairs(table, h, w):
            # 2h-1 2w-1 -> n n; pixel i asks, pixel j answers
            return ...
        """,
        solution=ALL_PAIRS,
        check=_check_all_pairs,
        hint="""
        `y, x = torch.arange(h * w) // w, torch.arange(h * w) % w` are the places of all pixels, and
        `y[:, None] - y` the offsets of all pairs. Shift both so that the smallest index is 0.
        """,
        wrong=(
            WrongAnswer(
                ALL_PAIRS.replace("y[:, None] - y", "y - y[:, None]").replace(
                    "x[:, None] - x", "x - x[:, None]"
                ),
                "changed places",
            ),
            WrongAnswer(
                ALL_PAIRS.replace("h - 1 + dy, w - 1 + dx", "dy, dx"), "in the middle of the table"
            ),
            WrongAnswer(
                ALL_PAIRS.replace("h - 1 + dy, w - 1 + dx", "w - 1 + dx, h - 1 + dy"),
                "stopped with|changed places|values are|IndexError|raise",
            ),
        ),
    ),
    Exercise(
        name="my_heads",
        lesson="10",
        title="a graph of your own (open)",
        prompt=f"""
        The six heads of the course ask 383 others a pixel. Choose heads that ask at most {MOST},
        a quarter, together: `FULL`, `LOCAL_S` and `GRID_T` in any number, and say before you train
        which of the five demands you give up and why. Then set `train_mine = True` in the cell
        below, wait two minutes, and compare. There is no right answer; the reference takes one
        near head and one far head.
        """,
        stub="""
        my_heads = []
        """,
        solution=MY_HEADS,
        check=_check_my_heads,
        hint="""
        The widget of lesson 09 counts the edges of any heads. A confuser's cue lies within its own
        segment, a large object's up to 20 positions away, and the global cue everywhere in the sky.
        """,
        wrong=(
            WrongAnswer('my_heads = ["FULL"]', "at most 95"),
            WrongAnswer('my_heads = ["LOCAL_2", "RING_3"]', "got .RING_3"),
            WrongAnswer('my_heads = "LOCAL_2"', "a list of names"),
            WrongAnswer('my_heads = ["GRID_2"]', "asks 128 others"),
        ),
    ),
]

QUIZ = [
    Question(
        "Of 512 weights a pixel keeps the 52 largest, and divides them by their sum. What has the "
        "pruned mean in common with the whole one?",
        (
            "the weights sum to 1 in both",
            "both have the same value",
            "the kept weights are the same numbers in both",
        ),
        0,
        "Both are weighted means. The kept weights grow by one common factor, and the value moves "
        "by the dropped weight times how much the dropped differ from the kept.",
    ),
    Question(
        "All pixels that the head asks carry the same g. What does pruning change?",
        ("nothing", "the mean shrinks by the dropped weight", "it depends on which are kept"),
        0,
        "A mean of equal values is that value, whichever weights sum to 1.",
    ),
    Question(
        "Why is the share to keep chosen on one half of the images and judged on the other?",
        (
            "because all images together do not fit into memory",
            "because the largest of several noisy scores is too high where it was chosen",
            "so that both halves are used for training",
        ),
        1,
        "Eight shares give eight scores that all wobble. The best of them is lucky as well as "
        "good, and only images that played no part in the choice tell which.",
    ),
    Question(
        "A FULL head keeps one in a hundred. Which part of its products is saved at most?",
        ("99 %", "about one half", "none"),
        1,
        "All affinities are needed to know the largest; only the weighted sums become shorter.",
    ),
    Question(
        "Why can the learned graph be evaluated once for each offset?",
        (
            "because E depends on i − j alone",
            "because the network has only two layers",
            "because E is not negative",
        ),
        0,
        "(dx, dy, distance) is all it sees, so the pairs of equal offset share one value: "
        "(2h − 1)(2w − 1) values in place of (hw)².",
    ),
    Question(
        "A window of the image is covered, and the answer at a marked pixel does not move. What "
        "does this say?",
        (
            "that no path leads from the window to the pixel",
            "that in this image nothing in the window matters for this pixel's answer",
            "that the network has a small theoretical receptive field",
        ),
        1,
        "The test shows what the trained network uses in this image, not what it could use.",
    ),
]
