"""Exercises of lesson 09: a graph that guides."""

import torch
from einops import rearrange
from torch import Tensor

from contextlab.exercises import (
    Exercise,
    Question,
    Unsolved,
    Wrong,
    WrongAnswer,
    largest_tensor,
    same,
)
from contextlab.modules.graph_guided import edges, parse_heads

TITLE = "A graph that guides"

SIDE = 6  # of the map whose positions are numbered
ASKS = (1, 2)  # row and column of position 8
MAP, MOST = (16, 32), 100.0  # streets' map, and the contexts a pixel that a design may have


def _refuse(got, *mistakes: tuple[Tensor, str]) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake."""
    for mistake, message in mistakes:
        like = isinstance(got, Tensor) and got.shape == mistake.shape
        if like and torch.allclose(got, mistake, atol=1e-5, rtol=1e-4):
            raise Wrong(message)


def _check_asked(asked):
    names = ("GRID_3", "LOCAL_2", "both")
    if not isinstance(asked, dict) or set(asked) != set(names):
        raise Wrong(f"expected a dict with the keys {', '.join(names)}.")
    if any(asked[name] is Ellipsis for name in names):
        raise Unsolved
    row, column = ASKS
    lattice = {SIDE * y + x for y in range(row % 3, SIDE, 3) for x in range(column % 3, SIDE, 3)}
    near = {
        SIDE * y + x
        for y in range(SIDE)
        for x in range(SIDE)
        if max(abs(y - row), abs(x - column)) <= 2
    }
    try:
        got = {int(n) for n in asked["GRID_3"]}
    except TypeError:
        raise Wrong('"GRID_3" should be a set of numbers, such as {8, 11}.') from None
    if got == {0, 3, 18, 21}:
        raise Wrong(
            "0, 3, 18 and 21 are the lattice of position 0. Position 8 stands in row 1 and column "
            "2, so it asks the rows and columns with these remainders."
        )
    if got == lattice - {8}:
        raise Wrong("position 8 itself is missing: 0 is a multiple of 3 as well.")
    if got != lattice:
        raise Wrong(
            f"GRID_3 asks {sorted(lattice)[:1]} and others, not {sorted(got)}: which rows have "
            "the remainder of row 1 on division by 3, which columns that of column 2?"
        )
    if asked["LOCAL_2"] == 25:
        raise Wrong("25 is a whole window of 5 x 5. Row 1 is near the border: how much is cut off?")
    if asked["LOCAL_2"] == 9:
        raise Wrong("9 is the window of radius 1. S is a radius: two steps to every side.")
    same(asked["LOCAL_2"], len(near), what='"LOCAL_2"', why="Count rows times columns inside.")
    if asked["both"] == len(near) + len(lattice):
        raise Wrong("position 8 asks itself in both heads; each position counts once here.")
    same(asked["both"], len(near | lattice), what='"both"', why="A position counts once.")


def _folded(m: Tensor, t: int, pattern: str = "(y s) (x r)") -> Tensor:
    return rearrange(m, f"b d {pattern} -> (b s r) (y x) d", s=t, r=t)


def _grid(q: Tensor, k: Tensor, v: Tensor, t: int, pattern: str = "(y s) (x r)") -> Tensor:
    """GRID by the fold; another pattern is a mistake."""
    y = q.shape[2] // t
    q, k, v = (_folded(m, t, pattern) for m in (q, k, v))
    found = torch.softmax(q @ k.mT, -1) @ v
    return rearrange(found, f"(b s r) (y x) d -> b d {pattern}", s=t, r=t, y=y)


def _dense(q: Tensor, k: Tensor, v: Tensor, t: int) -> Tensor:
    """GRID by a mask over all pairs: right for any map, and what everything is compared with."""
    h, w = q.shape[2:]
    rows, columns = (torch.arange(n) % t for n in (h, w))
    kind = rearrange(rows[:, None] * t + columns, "y x -> (y x)")
    q, k, v = (rearrange(m, "b d y x -> b (y x) d") for m in (q, k, v))
    logits = (q @ k.mT).masked_fill(kind[:, None] != kind, float("-inf"))
    return rearrange(torch.softmax(logits, -1) @ v, "b (y x) d -> b d y x", y=h)


def _check_grid_attention(grid_attention):
    for b, d, h, w, t in ((2, 3, 6, 6, 2), (1, 4, 6, 9, 3), (2, 2, 4, 12, 4), (1, 3, 5, 7, 1)):
        q, k, v = torch.randn(3, b, d, h, w).unbind()
        got, want = grid_attention(q, k, v, t), _dense(q, k, v, t)
        back = rearrange(
            torch.softmax(_folded(q, t) @ _folded(k, t).mT, -1) @ _folded(v, t),
            "(b s r) (y x) d -> b d (s y) (r x)", s=t, r=t, y=h // t,
        )  # fmt: skip
        if t > 1:
            _refuse(
                got,
                (
                    _grid(q, k, v, t, "(s y) (r x)"),
                    f"you attend inside {t} x {t} rectangles of neighbours. In a bracket the first "
                    "name runs slowest: (y s) puts every s-th row into one map.",
                ),
                (
                    back,
                    "the maps were cut as (y s) and joined as (s y): the answers arrive at other "
                    "positions. Undo the fold with the same pattern.",
                ),
                (_dense(q, k, v, 1), "everyone asks everyone here: the fold is missing."),
            )
        logits = _folded(q, t) @ _folded(k, t).mT
        wrong = torch.softmax(logits, -2) @ _folded(v, t)
        wrong = rearrange(
            wrong, "(b s r) (y x) d -> b d (y s) (x r)", s=t, r=t, y=h // t
        )  # fmt: skip
        _refuse(
            got,
            (wrong, "the weights sum to 1 over those that ask. They must over those that answer."),
        )
        same(
            got, want, what=f"the answer on {h} x {w} with T = {t}", why="Fold, attend, fold back."
        )
    q, k, v = torch.randn(3, 1, 2, 12, 12).unbind()
    if (made := largest_tensor(grid_attention, q, k, v, 4)) > 144**2 / 16:
        raise Wrong(
            f"right, but a tensor of {made} numbers was made, where 144² / 16 are enough: the fold "
            "makes 16 small problems of the large one."
        )


def _check_any_grid(any_grid):
    cases = ((1, 3, 6, 6, 2), (2, 3, 5, 7, 2), (1, 2, 7, 6, 3), (1, 2, 3, 9, 4), (1, 4, 1, 5, 2))
    for b, d, h, w, t in cases:
        q, k, v = torch.randn(3, b, d, h, w).unbind()
        v = v + 1  # so that zeros for values are felt
        got, want = any_grid(q, k, v, t), _dense(q, k, v, t)
        if isinstance(got, Tensor) and got.shape[2:] == (h + -h % t, w + -w % t) != (h, w):
            raise Wrong("the answer has the size of the padded map: cut the padding off again.")
        pad = (0, -w % t, 0, -h % t)
        padded = [torch.nn.functional.pad(m, pad) for m in (q, k, v)]
        zeros = _grid(*padded, t)[..., :h, :w]
        if (h % t or w % t) and isinstance(got, Tensor) and got.shape == zeros.shape:
            _refuse(
                got,
                (
                    zeros,
                    f"on {h} x {w} with T = {t} the answers are as before. A padded key is zero, "
                    "so its logit is 0 and its weight is not: the weights of the others no longer "
                    "sum to 1. Keep it out of the soft-max, where it answers.",
                ),
            )
        same(
            got,
            want,
            what=f"the answer on {h} x {w} with T = {t}",
            why="Only what is on the map may answer, and the weights over it must sum to 1.",
        )


def _check_count_edges(count_edges):
    cases = (
        ("LOCAL", 1, 3, 4), ("GRID", 2, 3, 4), ("GRID", 2, 4, 6), ("LOCAL", 2, 5, 7),
        ("LOCAL", 8, 128, 256), ("GRID", 24, 128, 256), ("LOCAL", 9, 5, 30), ("GRID", 9, 4, 7),
    )  # fmt: skip
    for kind, size, h, w in cases:
        want = edges(f"{kind}_{size}", h, w)
        got = count_edges(kind, size, h, w)
        where = f"{kind}_{size} on {h} x {w}"
        n = h * w
        classic = {
            (2 * size + 1) ** 2 * n: "every position has a whole window here. At the border a part "
            "of it is cut off.",
            (want + n) / 2: "each pair counts once here. i asks j and j asks i: two edges.",
            (want - n) / 2: "each pair counts once here, and no position asks itself. An edge is i "
            "asks j, and i asks i, too.",
            want - n: "no position asks itself here. 0 is at most S, and a multiple of T.",
        }
        if kind == "GRID":
            classic[n * n / size**2] = (
                "you divide N² by T². It is so only where T divides both sides; elsewhere the "
                "lattices differ in size."
            )
            for whole in (n * (h // size) * (w // size),):
                classic[whole] = "the lattices with a row or a column more are missing."
        if got != want and got in classic:
            raise Wrong(f"for {where}: {classic[got]}")
        same(got, want, what=f"the number of edges of {where}", rtol=0, atol=1e-6,
             why="Both graphs are a product: count along an axis, then multiply.")  # fmt: skip


def _check_design(design):
    try:
        heads = parse_heads(design)
    except ValueError as error:
        raise Wrong(f"{error}.") from None
    n = MAP[0] * MAP[1]
    contexts = sum(edges(head, *MAP) for head in heads) / n
    if contexts > MOST:
        each = ", ".join(f"{h.name} {edges(h, *MAP) / n:.0f}" for h in heads)
        raise Wrong(
            f"these heads give a pixel {contexts:.1f} contexts ({each}); at most {MOST:.0f} are "
            "allowed. A smaller S or a larger T has fewer."
        )


GRID_ATTENTION = """
def grid_attention(q, k, v, t):
    rows = q.shape[2] // t
    q, k, v = (
        rearrange(m, "b d (y s) (x r) -> (b s r) (y x) d", s=t, r=t) for m in (q, k, v)
    )
    found = torch.softmax(q @ k.mT, -1) @ v
    return rearrange(
        found, "(b s r) (y x) d -> b d (y s) (x r)", s=t, r=t, y=rows
    )
"""

FAULTY = """
def any_grid(q, k, v, t):
    # right where t divides both sides. What is wrong elsewhere?
    h, w = q.shape[2:]
    pad = (0, -w % t, 0, -h % t)  # zeros at the right and below
    q, k, v = (F.pad(m, pad) for m in (q, k, v))
    rows = q.shape[2] // t
    q, k, v = (
        rearrange(m, "b d (y s) (x r) -> (b s r) (y x) d", s=t, r=t) for m in (q, k, v)
    )
    logits = q @ k.mT
    found = torch.softmax(logits, -1) @ v
    found = rearrange(
        found, "(b s r) (y x) d -> b d (y s) (x r)", s=t, r=t, y=rows
    )
    return found[:, :, :h, :w]
"""

MENDED = """
def any_grid(q, k, v, t):
    h, w = q.shape[2:]
    pad = (0, -w % t, 0, -h % t)  # zeros at the right and below
    there = F.pad(torch.ones_like(q[:, :1]), pad)  # 1 on the map, 0 on the padding
    q, k, v = (F.pad(m, pad) for m in (q, k, v))
    rows = q.shape[2] // t
    q, k, v, there = (
        rearrange(m, "b d (y s) (x r) -> (b s r) (y x) d", s=t, r=t)
        for m in (q, k, v, there)
    )
    logits = (q @ k.mT).masked_fill(there.mT == 0, float("-inf"))
    found = torch.softmax(logits, -1) @ v
    found = rearrange(
        found, "(b s r) (y x) d -> b d (y s) (x r)", s=t, r=t, y=rows
    )
    return found[:, :, :h, :w]
"""

COUNT_EDGES = """
def count_edges(kind, size, h, w):
    def axis(n):
        if kind == "LOCAL":  # position i asks from i - S to i + S, inside the map
            return sum(min(n, i + size + 1) - max(0, i - size) for i in range(n))
        # every residue class: all ask all
        return sum(len(range(r, n, size)) ** 2 for r in range(size))

    return axis(h) * axis(w)
"""

DESIGN = """
design = ["LOCAL_3", "GRID_4"]
"""

EXERCISES = [
    Exercise(
        name="asked",
        lesson="09",
        title="whom does it ask? Predict",
        prompt="""
        The positions of a map of $6\\times6$ are numbered row by row: 0 to 5 are the first row, and
        position 8 stands in row 1, column 2 (both counted from 0). Before any code tells you,
        write down the set of positions that it asks in GRID_3, **how many** it asks in LOCAL_2, and
        how many in at least one of the two heads.
        """,
        stub="""
        asked = {
            "GRID_3": ...,  # a set of numbers
            "LOCAL_2": ...,  # how many
            "both": ...,  # how many different ones
        }
        """,
        solution="""
        asked = {"GRID_3": {8, 11, 26, 29}, "LOCAL_2": 20, "both": 23}
        """,
        check=_check_asked,
        hint="""
        GRID_3: rows 1 and 4, for they have the remainder 1; columns likewise. LOCAL_2: rows from
        $1 - 2$ to $1 + 2$, of which one is not there.
        """,
        wrong=(
            WrongAnswer(
                'asked = {"GRID_3": {0, 3, 18, 21}, "LOCAL_2": 20, "both": 23}',
                "the lattice of position 0",
            ),
            WrongAnswer(
                'asked = {"GRID_3": {11, 26, 29}, "LOCAL_2": 20, "both": 23}', "itself is missing"
            ),
            WrongAnswer(
                'asked = {"GRID_3": {8, 11}, "LOCAL_2": 20, "both": 21}', "which rows have"
            ),
            WrongAnswer(
                'asked = {"GRID_3": {8, 11, 26, 29}, "LOCAL_2": 25, "both": 28}', "is cut off"
            ),
            WrongAnswer(
                'asked = {"GRID_3": {8, 11, 26, 29}, "LOCAL_2": 9, "both": 12}', "S is a radius"
            ),
            WrongAnswer(
                'asked = {"GRID_3": {8, 11, 26, 29}, "LOCAL_2": 20, "both": 24}',
                "asks itself in both",
            ),
            WrongAnswer('asked = {"GRID_3": 4, "LOCAL_2": 20, "both": 23}', "a set of numbers"),
        ),
    ),
    Exercise(
        name="grid_attention",
        lesson="09",
        title="a GRID head by folding",
        prompt="""
        `q`, `k` and `v` are `b d h w`, and `t` divides `h` and `w`. Fold the maps as above, let
        the positions of every small map ask each other,
        $\\sum_j\\mathrm{softmax}_j(q_i\\cdot k_j)\\,v_j$, and fold the answers back. Return
        `b d h w`. No tensor of all pairs may be made.
        """,
        stub="""
        def grid_attention(q, k, v, t):
            # fold q, k and v; a soft-max over those that answer; fold back
            return ...
        """,
        solution=GRID_ATTENTION,
        check=_check_grid_attention,
        hint="""
        The pattern of the fold, with the positions of a small map on one axis, is
        `"b d (y s) (x r) -> (b s r) (y x) d"`. The way back is the same pattern, turned round;
        there einops must be told `y`, the rows of a small map.
        """,
        wrong=(
            WrongAnswer(
                GRID_ATTENTION.replace("(y s) (x r)", "(s y) (r x)"), "rectangles of neighbours"
            ),
            WrongAnswer(
                GRID_ATTENTION.replace("-> b d (y s) (x r)", "-> b d (s y) (r x)"),
                "arrive at other positions",
            ),
            WrongAnswer(GRID_ATTENTION.replace(".mT, -1)", ".mT, -2)"), "over those that ask"),
            WrongAnswer(
                "def grid_attention(q, k, v, t):\n"
                "    h = q.shape[2]\n"
                '    q, k, v = (rearrange(m, "b d y x -> b (y x) d") for m in (q, k, v))\n'
                "    found = torch.softmax(q @ k.mT, -1) @ v\n"
                '    return rearrange(found, "b (y x) d -> b d y x", y=h)',
                "everyone asks everyone",
            ),
            WrongAnswer(
                "def grid_attention(q, k, v, t):\n"
                "    h, w = q.shape[2:]\n"
                "    rows, columns = torch.arange(h) % t, torch.arange(w) % t\n"
                "    kind = (rows[:, None] * t + columns).flatten()\n"
                "    q, k, v = (m.flatten(2).mT for m in (q, k, v))\n"
                "    logits = (q @ k.mT).masked_fill(kind[:, None] != kind, -torch.inf)\n"
                "    return (torch.softmax(logits, -1) @ v).mT.unflatten(2, (h, w))",
                "right, but a tensor of",
            ),
        ),
    ),
    Exercise(
        name="any_grid",
        lesson="09",
        title="find the fault, and mend it",
        prompt="""
        This block pads the map where `t` does not divide it, does as above, and cuts the padding
        off again. It runs on every map, and it is right where `t` divides both sides, but wrong
        elsewhere. Find out why, and mend it.
        """,
        stub=FAULTY,
        solution=MENDED,
        check=_check_any_grid,
        hint="""
        Look at one padded position as somebody who answers: its key is zero. What is its logit,
        what is its weight, and what does that do to the weights of the others?
        """,
        wrong=(
            WrongAnswer(
                FAULTY.replace("torch.softmax(logits, -1) @ v", "logits.softmax(-1) @ v"),
                "its logit is 0 and its weight is not",
            ),
            WrongAnswer(
                MENDED.replace(
                    '(q @ k.mT).masked_fill(there.mT == 0, float("-inf"))', "q @ k.mT"
                ).replace("torch.softmax(logits, -1)", "(torch.softmax(logits, -1) * there.mT)"),
                "its logit is 0 and its weight is not",
            ),
            WrongAnswer(
                MENDED.replace("there.mT == 0", "there == 0"),
                "its logit is 0 and its weight is not",
            ),
            WrongAnswer(MENDED.replace("[:, :, :h, :w]", ""), "the size of the padded map"),
            WrongAnswer(
                MENDED.replace(
                    '(q @ k.mT).masked_fill(there.mT == 0, float("-inf"))', "(q @ k.mT) * there.mT"
                ),
                "its logit is 0 and its weight is not",
            ),
        ),
    ),
    Exercise(
        name="count_edges",
        lesson="09",
        title="count the edges",
        prompt="""
        How many edges has a head on a map of $h\\times w$? `kind` is `"LOCAL"` or `"GRID"`, `size`
        is $S$ or $T$, and both may be larger than the map. "i asks j" and "j asks i" are two edges,
        and every position asks itself. Be exact at the borders, and build no map of pairs: each
        graph is a product of one along the rows and one along the columns.
        """,
        stub="""
        def count_edges(kind, size, h, w):
            # along an axis of n positions: how many (i, j) are joined?
            return ...
        """,
        solution=COUNT_EDGES,
        check=_check_count_edges,
        hint="""
        LOCAL: position $i$ of $n$ asks from $\\max(0, i - S)$ to $\\min(n - 1, i + S)$. GRID: the
        positions with remainder $r$ are `range(r, n, T)`; a class of $m$ positions has $m^2$ edges.
        """,
        wrong=(
            WrongAnswer(
                "def count_edges(kind, size, h, w):\n"
                '    if kind == "LOCAL":\n'
                "        return (2 * size + 1) ** 2 * h * w\n"
                "    return h * w * h * w / size**2",
                "whole window here",
            ),
            WrongAnswer(
                COUNT_EDGES.replace(
                    "    def axis",
                    '    if kind == "GRID":\n        return (h * w) ** 2 / size**2\n\n    def axis',
                ),
                "you divide N² by T²",
            ),
            WrongAnswer(
                COUNT_EDGES.replace("axis(h) * axis(w)", "(axis(h) * axis(w) + h * w) // 2"),
                "counts once here. i asks j",
            ),
            WrongAnswer(
                COUNT_EDGES.replace("axis(h) * axis(w)", "axis(h) * axis(w) - h * w"),
                "no position asks itself here",
            ),
        ),
    ),
    Exercise(
        name="design",
        lesson="09",
        title="your own graph",
        prompt="""
        Choose heads for the map of the streets, $16\\times32$, with at most 100 contexts a pixel
        (those of all heads together; the six had 383). Which demands will they solve? Write down
        a guess, then train them in the cell below, and explain what came out.
        """,
        stub="""
        design = ...  # a list of "FULL", "LOCAL_S" and "GRID_T", in any number
        """,
        solution=DESIGN,
        check=_check_design,
        hint="""
        The explorer above tells what a head costs: GRID_4 has 32 contexts a pixel, LOCAL_3 has 41.
        How far are a sign and the end of a wall, and which head can hear of them?
        """,
        wrong=(
            WrongAnswer(
                'design = ["LOCAL_2", "LOCAL_4", "LOCAL_6", "GRID_2", "GRID_4", "GRID_6"]',
                "383.2 contexts .* at most 100",
            ),
            WrongAnswer('design = ["FULL"]', "512.0 contexts"),
            WrongAnswer('design = ["LOCAL", "GRID_4"]', "LOCAL_S or GRID_T .* got 'LOCAL'"),
            WrongAnswer("design = []", "expected heads to be a sequence"),
            WrongAnswer('design = "GRID_4"', "expected heads to be a sequence"),
        ),
    ),
]

QUIZ = [
    Question(
        "What decides in a non-local block how much a pixel hears of another one?",
        (
            "their features alone",
            "their features and their distance",
            "their features, and whether they carry one label",
        ),
        0,
        "The affinity is made of the two features. Where they stand is not among its inputs, and "
        "labels are not known.",
    ),
    Question(
        "Two pixels look exactly alike and stand far apart. What can a LOCAL head do about them "
        "that a FULL head cannot?",
        (
            "give them different logits for each other",
            "give them different answers, since their neighbours differ",
            "compare their labels",
        ),
        1,
        "Under FULL both put the same question to the same pixels and get the same answer. Under "
        "LOCAL they ask different pixels.",
    ),
    Question(
        "Why must a mask act before the soft-max and not after it?",
        (
            "it would cost more afterwards",
            "the masked would have taken a part of the weight, so what is left sums to less than 1",
            "there is no gradient afterwards",
        ),
        1,
        "A soft-max divides by the sum over all that it sees. Who is not joined must not be in "
        "that sum: a logit of minus infinity.",
    ),
    Question(
        "GRID_4 on a map of 16 x 32: how many maps does the fold make, and of which size?",
        ("4 maps of 8 x 16", "16 maps of 4 x 8", "32 maps of 4 x 4"),
        1,
        "One map for each pair of remainders, 4 times 4, and each has every fourth row and column.",
    ),
    Question(
        "A head graph is translation invariant. On what may E(i, j) depend?",
        ("on i alone", "on the offset i - j alone", "on the distance |i - j| alone"),
        1,
        "Moving both by one shift changes nothing, so only the offset is left. It is more than the "
        "distance: under GRID_5 an offset of (5, 0) is joined, and one of (3, 4), as long, is not.",
    ),
    Question(
        "Six LOCAL and GRID heads have an eighth of the edges of one FULL head on a map of "
        "128 x 256. What does that say about a map of 16 x 32, with the same S and T?",
        (
            "an eighth there, too",
            "nothing: LOCAL's share grows as the map shrinks, and windows may cover the whole map",
            "a sixty-fourth",
        ),
        1,
        "The edges of LOCAL grow with N, those of FULL with N². On a small map little is saved: "
        "with S = 16 a window holds all 16 rows.",
    ),
]
