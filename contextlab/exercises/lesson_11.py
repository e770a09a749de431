"""Exercises of lesson 11: rows and columns."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from contextlab import context
from contextlab.exercises import Exercise, Question, Unsolved, Wrong, WrongAnswer
from contextlab.exercises import same as equal
from contextlab.probes.rectangular import shapes

TITLE = "Rows and columns"
DEMANDS = ("global", "large", "pair", "confuser", "axial")


def _check_bools(guess, names, what):
    if not isinstance(guess, Mapping) or set(guess) != set(names):
        raise Wrong(f"fill in the dictionary and keep its names: {', '.join(map(repr, names))}.")
    if all(value is ... for value in guess.values()):
        raise Unsolved
    for name, value in guess.items():
        if not isinstance(value, bool):
            raise Wrong(f"{name!r}: write True or False for the dots ({what}), got {value!r}.")


def _check_drawn_guess(guess):
    _check_bools(guess, tuple(shapes()), "can a sum draw it?")


def _check_solved_guess(guess):
    _check_bools(guess, DEMANDS, "is it solved?")


def _brute(shape: Tensor) -> bool:
    """Whether four pixels forbid that a sum draws the shape."""
    one, other = shape[:, None, :, None], shape[None, :, None, :]
    right_of_one, left_of_other = shape[:, None, None, :], shape[None, :, :, None]
    return bool((one & other & ~right_of_one & ~left_of_other).any())


def _check_four_pixels(four_pixels):
    torch.manual_seed(1)
    drawn = {f"the {name}": shape for name, shape in shapes(12).items()}
    drawn |= {"a row of pixels": torch.rand(1, 9) < 0.5, "nothing": torch.zeros(4, 5).bool()}
    drawn |= {f"random pixels, {i}": torch.rand(5, 7) < 0.4 for i in range(4)}
    drawn["a staircase"] = torch.ones(6, 8).tril().bool()
    drawn["two pixels"] = torch.eye(2).bool()
    drawn["the other two pixels"] = torch.eye(2).flip(0).bool()
    for name, shape in drawn.items():
        got = four_pixels(shape)
        if isinstance(got, tuple) and not got:
            if _brute(shape):
                raise Wrong(
                    f"for {name} you found no such four pixels, and there are some. Compare every "
                    "two rows, not only neighbours: does each have a pixel that the other lacks?"
                )
            continue
        try:
            i, j, k, m = (int(value) for value in got)
            at = {"(i, j)": shape[i, j], "(k, m)": shape[k, m]}
            off = {"(i, m)": shape[i, m], "(k, j)": shape[k, j]}
        except (TypeError, ValueError, IndexError):
            raise Wrong(
                f"for {name}: return i, j, k, m, four indices of the shape, or (); got {got!r}."
            ) from None
        for place, value in at.items():
            if not value:
                raise Wrong(f"for {name} you return {got}, but pixel {place} is not in the shape.")
        for place, value in off.items():
            if value:
                raise Wrong(
                    f"for {name} you return {got}, but pixel {place} is in the shape, so that a "
                    "sum may well draw these four."
                )


def _check_mended_strip(mended_strip):
    for c, h, w, k in ((2, 5, 9, 3), (3, 4, 7, 11), (1, 6, 12, 5)):
        rows, columns = torch.randn(2, c, h, 1), torch.randn(2, c, 1, w)
        weight = torch.randn(c, 1, 1, k)

        def strip(x, weight=weight, c=c, k=k):
            return F.conv2d(x, weight, padding=(0, k // 2), groups=c)

        got, line = mended_strip(rows, columns, weight), strip(columns)
        padded = F.pad(columns, (k // 2, k // 2, 0, 0), mode="replicate") if k // 2 < w else None
        mistakes = [
            (
                rows * weight.sum(-1) + line,
                "the same fault. Look at a pixel of the first column: which of the k weights meet "
                "a pixel of the map, and which meet the padding, where there is no r either?",
            ),
            (rows + line, "the strip is applied to c alone, and r is added as it is."),
            (rows * line, "that is the strip on the product of r and c; here it is their sum."),
            (rows * strip(torch.ones_like(columns)), "r alone is left of the sum."),
        ]
        if padded is not None:
            beyond = F.conv2d(padded, weight, groups=c)
            mistakes.append(
                (
                    rows * weight.sum(-1) + beyond,
                    "now c goes on beyond the border as well. The layer that we copy pads with "
                    "zeros, so outside neither r nor c is there.",
                )
            )
        for mistake, message in mistakes:
            like = isinstance(got, Tensor) and got.shape == mistake.shape
            if like and torch.allclose(got, mistake, atol=1e-5, rtol=1e-4):
                raise Wrong(message)
        equal(
            got,
            strip(rows + columns),
            what=f"a strip of {k} on a map of {h} x {w}",
            why="The same as the convolution of the whole map, at the borders too.",
            atol=1e-4,
        )


def _check_my_strips(my_strips):
    if not isinstance(my_strips, Mapping):
        raise Wrong(f"a dictionary of options, such as {{'strip': 3}}, got {my_strips!r}.")
    if not my_strips:
        raise Unsolved
    usual = {"gather": "add", "strip": 11, "local": 3}
    unknown = sorted(set(my_strips) - set(usual))
    if unknown:
        raise Wrong(f"the options are gather, strip and local; {unknown[0]!r} is none of them.")
    try:
        context("rectangular_attention", 8, **my_strips)
    except ValueError as error:
        raise Wrong(str(error)) from None
    changed = [name for name, value in my_strips.items() if value != usual[name]]
    if len(changed) != 1:
        raise Wrong(
            f"{len(changed)} options differ from the usual ones ({usual}). Change exactly one, or "
            "the result does not tell which of them it was."
        )


DRAWN = """
drawn_guess = {
    "cross": True, "rectangle": True, "two rectangles": True,
    "L": False, "disc": False, "diagonal": False,
}
"""

FOUR = """
def four_pixels(shape):
    h, w = shape.shape
    for i in range(h):
        for k in range(i):
            only_i = (shape[i] & ~shape[k]).nonzero()
            only_k = (shape[k] & ~shape[i]).nonzero()
            if len(only_i) and len(only_k):
                return i, int(only_i[0]), k, int(only_k[0])
    return ()
"""

FAULTY = """
def mended_strip(rows, columns, weight):
    # b c h 1, b c 1 w, c 1 1 k -> b c h w
    c, k = weight.shape[0], weight.shape[-1]
    line = F.conv2d(columns, weight, padding=(0, k // 2), groups=c)
    return rows * weight.sum(-1) + line
"""

MENDED = """
def mended_strip(rows, columns, weight):
    c, k = weight.shape[0], weight.shape[-1]
    line = F.conv2d(columns, weight, padding=(0, k // 2), groups=c)
    ones = torch.ones_like(columns)
    inside = F.conv2d(ones, weight, padding=(0, k // 2), groups=c)
    return rows * inside + line
"""

SOLVED = """
solved_guess = {
    "global": True, "large": True, "pair": False, "confuser": False, "axial": True,
}
"""

MY_STRIPS = """
my_strips = {"strip": 3}
"""

EXERCISES = [
    Exercise(
        name="drawn_guess",
        called="A guess, right or wrong",
        lesson="11",
        title="guess what a sum can draw",
        prompt="""
        Choose any number $r_i$ for every row and any number $c_j$ for every column, and keep the
        pixels where $r_i + c_j$ is larger than 0. Which of the six shapes of the next figure (a
        cross, a rectangle, two rectangles at opposite corners, an L, a disc, a diagonal band) can
        be drawn so, exactly? Write `True` or `False` for the dots. Without them a guess by the word
        "rectangle" steps in.
        """,
        stub="""
        drawn_guess = {
            "cross": ..., "rectangle": ..., "two rectangles": ...,
            "L": ..., "disc": ..., "diagonal": ...,
        }
        """,
        solution=DRAWN,
        check=_check_drawn_guess,
        hint="""
        Rows need not be 0 or 1. A disc is where $(i-m)^2 + (j-m)^2 < R^2$: is the left-hand side a
        sum of something of the row and something of the column?
        """,
        wrong=(
            WrongAnswer(DRAWN.replace("True", "1", 1), "True or False"),
            WrongAnswer(DRAWN.replace("False", "...", 1), "True or False"),
            WrongAnswer("drawn_guess = True", "keep its names"),
        ),
    ),
    Exercise(
        name="four_pixels",
        lesson="11",
        title="four pixels that forbid it",
        prompt="""
        Write `four_pixels(shape)` for a shape `h w` of booleans. It returns indices `i, j, k, m` so
        that pixels $(i, j)$ and $(k, m)$ are in the shape while $(i, m)$ and $(k, j)$ are not, or
        an empty tuple `()` if there are no such four.
        """,
        stub="""
        def four_pixels(shape):
            # h w of booleans -> (i, j, k, m) or ()
            return ...
        """,
        solution=FOUR,
        check=_check_four_pixels,
        hint="""
        Take two rows i and k. You need a column where only row i has a pixel, and a column where
        only row k has one: `shape[i] & ~shape[k]` and the other way round.
        """,
        wrong=(
            WrongAnswer(FOUR.replace("range(i)", "range(max(i - 1, 0), i)"), "not only neighbours"),
            WrongAnswer(FOUR.replace("only_i) and", "only_i) or"), "stopped with|IndexError|raise"),
            WrongAnswer(
                FOUR.replace(
                    "int(only_i[0]), k, int(only_k[0])", "int(only_k[0]), k, int(only_i[0])"
                ),
                "is not in the shape",
            ),
            WrongAnswer(FOUR.replace("return ()", "return 0"), "four indices of the shape, or ()"),
        ),
    ),
    Exercise(
        name="mended_strip",
        lesson="11",
        title="find the fault",
        prompt="""
        This block applies the strip along rows to $r_i + c_j$ without making the map, as derived
        above: $r_i \\sum_t w_t + (w * c)_j$. A network that was trained with the plain
        convolution of the map gives other answers with it, and all of them near the left and the
        right border. Find the fault and mend it; the map must not be made before the last line.
        """,
        stub=FAULTY,
        solution=MENDED,
        check=_check_mended_strip,
        hint="""
        The convolution pads the *map* with zeros: beyond the border r_i + c_j is 0. How much does a
        strip find of r_i at the first column? What does the same strip make of a line of ones?
        """,
        wrong=(
            WrongAnswer(FAULTY.replace("+ line", "+ line * 1"), "the same fault"),
            WrongAnswer(FAULTY.replace("rows * weight.sum(-1)", "rows"), "added as it is"),
            WrongAnswer(FAULTY.replace("weight.sum(-1) + line", "line"), "on the product"),
            WrongAnswer(MENDED.replace(" + line", ""), "r alone is left"),
            WrongAnswer(
                FAULTY.replace(
                    "F.conv2d(columns, weight, padding=(0, k // 2), groups=c)",
                    "F.conv2d("
                    "F.pad(columns, (k // 2, k // 2, 0, 0), 'replicate'), weight, groups=c)",
                ),
                "beyond the border",
            ),
        ),
    ),
    Exercise(
        name="solved_guess",
        called="A guess, right or wrong",
        lesson="11",
        title="guess before you look",
        prompt="""
        Which demands does a network with RCA in its slot solve, that is, which does it answer in
        nine of ten pixels or more? Without it all five stand between 48 and 69 %. Write `True` or
        `False` for the dots; without them a guess steps in.
        """,
        stub="""
        solved_guess = {
            "global": ..., "large": ..., "pair": ..., "confuser": ..., "axial": ...,
        }
        """,
        solution=SOLVED,
        check=_check_solved_guess,
        hint="""
        Where does each cue stand, and is it in the pixel's rows or columns, or k // 2 beside them?
        For *pair* the sign stands anywhere, and what tells it from the other one is its colour.
        """,
        wrong=(
            WrongAnswer(SOLVED.replace("True", "1", 1), "True or False"),
            WrongAnswer(SOLVED.replace('"axial": True,', ""), "keep its names"),
        ),
    ),
    Exercise(
        name="my_strips",
        lesson="11",
        title="an attention of your own (open)",
        prompt="""
        Change exactly one option of RCA: `strip` (odd, or None), `gather` ("add", "multiply",
        "none") or `local` (odd, or None). Say before you train which demand will change, in which
        direction, and why. Then set `train_mine = True` in the cell below, wait about two minutes,
        and explain what came out. There is no right answer; the reference takes short strips.
        """,
        stub="""
        my_strips = {}
        """,
        solution=MY_STRIPS,
        check=_check_my_strips,
        hint="""
        Which demand needs the row or the column next to the pixel's own? Which one needs nothing
        but its own column? And what is left of rows and columns with "none"?
        """,
        wrong=(
            WrongAnswer('my_strips = {"strip": 4}', "expected strip to be odd"),
            WrongAnswer('my_strips = {"strip": 11}', "0 options differ"),
            WrongAnswer('my_strips = {"strip": 3, "local": None}', "exactly one"),
            WrongAnswer('my_strips = {"kernel": 3}', "is none of them"),
            WrongAnswer("my_strips = 3", "a dictionary of options"),
        ),
    ),
]

QUIZ = [
    Question(
        "Why has r_i + c_j, as a matrix of h x w, a rank of 2 at most?",
        (
            "it is the column r times a row of ones, plus a column of ones times the row c",
            "because it is made from two means",
            "because a sum of two numbers is a number",
        ),
        0,
        "Each of the two products of a column and a row has rank 1, and ranks add up at most.",
    ),
    Question(
        "Two pixels at opposite corners of a 2 x 2 map are wanted, the other two are not. Can some "
        "r_i + c_j, cut at a threshold, draw them?",
        ("yes", "no", "only with strips of 1 x 1"),
        1,
        "The two wanted sums and the two unwanted sums have the same total, so the wanted ones "
        "cannot both be larger. A product with signs can: r = c = (1, −1).",
    ),
    Question(
        "Whatever a sum draws, a product draws as well. Why?",
        (
            "because rank 1 is less than rank 2",
            "because exp(r) exp(c) = exp(r + c), and exp keeps the order",
            "it does not",
        ),
        1,
        "Cut the product at the exponential of the sum's threshold, and the same pixels are left.",
    ),
    Question(
        "A diagonal and its mirror image have the same row means and the same column means. What "
        "follows for RCA on these masks?",
        (
            "long strips can tell them apart",
            "the norm between the strips can tell them apart",
            "its gate is the same for both, with whatever strips",
        ),
        2,
        "The gate is a function of the two shadows alone. Only the window on the map itself, which "
        "the gate multiplies, sees the slant.",
    ),
    Question(
        "Coordinate attention hears one row and one column. What do strips of k in RCA add?",
        (
            "the k - 1 rows and the k - 1 columns beside them",
            "a window of k x k pixels",
            "the whole map",
        ),
        0,
        "A strip reads sums r + c, and each of them stands for a whole row and a whole column.",
    ),
    Question(
        "Why does RCA answer *axial*, and leave *pair* open?",
        (
            "axial's sign stands in the pixel's column; pair's stands anywhere, and a mean over a "
            "row or a column does not compare colours",
            "pair needs more parameters",
            "axial's sign is larger",
        ),
        0,
        "A column's mean tells its pixels what stands in it. To find the sign of one's own colour, "
        "somebody must compare two places.",
    ),
]
