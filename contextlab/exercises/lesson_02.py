"""Exercises of lesson 02: graphs and convolution."""

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from contextlab.exercises import Exercise, Question, Wrong, WrongAnswer, same

TITLE = "Graphs and convolution"


def _refuse(got, want: Tensor, *mistakes: tuple[Tensor, str]) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake."""
    if not isinstance(got, Tensor) or _close(got, want):
        return
    for mistake, message in mistakes:
        if _close(got, mistake):
            raise Wrong(message)


def _close(got: Tensor, other: Tensor) -> bool:
    return got.shape == other.shape and torch.allclose(
        got.double(), other.double(), atol=1e-5, rtol=1e-4
    )


def _path(n: int) -> Tensor:
    """A of n nodes in a row."""
    a = torch.diag(torch.ones(n - 1), 1)
    return a + a.T


def _weighted(n: int) -> Tensor:
    """A connected graph with edges of different weight, the same in both directions."""
    a = torch.rand(n, n) * (torch.rand(n, n) < 0.6)
    return torch.triu(a, 1) + torch.triu(a, 1).T + _path(n)


def _check_smooth_step(smooth_step):
    why = "Work out one node by hand: its neighbours, itself, and how many these are."
    _judge_step(smooth_step, torch.tensor([[0.0], [0.0], [6.0], [0.0], [0.0]]), _path(5), why)
    directed = torch.tensor([[0.0, 3.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    _judge_step(smooth_step, torch.randn(3, 2), directed, why)
    lonely = _path(4)
    lonely[3], lonely[:, 3] = 0, 0
    _judge_step(smooth_step, torch.randn(4, 2), lonely, "A node without edges keeps its value.")
    _judge_step(smooth_step, torch.randn(1, 3), torch.zeros(1, 1), "One node keeps its value.")
    _judge_step(smooth_step, torch.randn(7, 3), _weighted(7), why)


def _judge_step(smooth_step, x: Tensor, a: Tensor, why: str) -> None:
    got, n = smooth_step(x, a), len(a)
    loops = a + torch.eye(n)
    want = loops / loops.sum(1, keepdim=True) @ x
    if n > 1 and (a.sum(1) > 0).all():
        _refuse(
            got,
            want,
            (
                a / a.sum(1, keepdim=True) @ x,
                "the node itself is missing from its mean. Watch the spike on the path: after one "
                "step its own node holds 0. Add the self loops, A + I.",
            ),
            (
                loops @ x,
                "these are sums, not means: divide each by the node's degree, self loop included.",
            ),
            (
                loops / a.sum(1, keepdim=True) @ x,
                "the sums contain the node itself, the degrees do not. Both come from A + I.",
            ),
            (
                loops / loops.sum(1) @ x,
                "the columns were divided, not the rows: a degree of shape (n,) lines up with the "
                "last axis of (n, n). Keep the dimension, or divide after the sum.",
            ),
            (
                loops.T / loops.T.sum(1, keepdim=True) @ x,
                "the matrix is the wrong way round: row m says to whom node m listens.",
            ),
        )
    elif isinstance(got, Tensor) and got.isnan().any():
        raise Wrong(
            "a node without any edge got nan, 0 / 0. With its self loop it keeps what it has: add "
            "the loops before you count the degrees."
        )
    same(got, want, what=f"the step on {n} nodes", why=why)


def _check_symmetric_adjacency(symmetric_adjacency):
    why = "Entry (m, n) is that of A + I, divided by the roots of both degrees."
    for a in (_path(3), _path(5), _weighted(6), torch.zeros(1, 1)):
        got, n = symmetric_adjacency(a), len(a)
        loops = a + torch.eye(n)
        degree, bare = loops.sum(1), a.sum(1)
        want = loops / (degree[:, None] * degree[None]).sqrt()
        if n > 1:
            half = (bare[:, None] * bare[None]).sqrt()
            _refuse(
                got,
                want,
                (
                    loops / degree[:, None],
                    "this is the mean, divided by the degree of the node that listens alone. It is "
                    "not symmetric: compare entries (1, 2) and (2, 1).",
                ),
                (
                    a / half + torch.eye(n),
                    "the loops came after the normalisation. Then the top eigenvalue is 2, and "
                    "thirty steps multiply by a thousand million. Add I first: that is Kipf and "
                    "Welling's renormalisation.",
                ),
                (a / half, "the self loops are missing: normalise A + I, not A."),
                (loops / half, "the degrees must count the self loops: take them from A + I."),
                (
                    loops / (degree[:, None] * degree[None]),
                    "both sides were divided by the whole degree. The power is -1/2 on each side.",
                ),
                (
                    loops * (degree[:, None] * degree[None]).sqrt(),
                    "multiplied by the roots of the degrees; the power is -1/2, so divide.",
                ),
            )
        same(got, want, what=f"the matrix of {n} nodes", why=why)


def _check_resting_value(resting_value):
    why = "Which weighted sum of the five values is 18 in every row of the figure?"
    _judge_rest(resting_value, torch.tensor([0.0, 0.0, 6.0, 0.0, 0.0]), _path(5), why)
    for a in (_path(60), _weighted(8), torch.zeros(1, 1)):
        _judge_rest(resting_value, 3 * torch.randn(len(a)), a, why)


def _judge_rest(resting_value, x: Tensor, a: Tensor, why: str) -> None:
    got = resting_value(x, a)
    degree, n = a.sum(1) + 1, len(a)
    want = float((degree * x).sum() / degree.sum())
    if isinstance(got, Tensor) and got.numel() > 1:
        raise Wrong(f"one number is enough: all {n} nodes end at the same value.")
    try:
        found = float(got)
    except (TypeError, ValueError):
        found = float("nan")  # `same` says what it should be
    if n > 1:
        bare = a.sum(1)
        mistakes = {
            float(x.mean()): "this is the plain mean. A node with more edges is heard by more "
            "nodes, so it weighs more.",
            float((bare * x).sum() / bare.sum()): "almost: the degrees must count the self loops.",
            float((degree * x).sum()): "this is the sum that never changes. Divide by the sum of "
            "the weights to get the value at each node.",
        }
        for value, message in mistakes.items():
            if abs(found - value) < 1e-5 + 1e-4 * abs(value) and abs(value - want) > 1e-3:
                raise Wrong(message)
        if n == 60 and abs(found - want) > 1e-3:
            why = "On 60 nodes thousands of steps are not enough: find the formula."
    same(got, want, what=f"the resting value of {n} nodes", atol=1e-4, why=why)


def _check_kipf_layer(kipf_layer):
    for b, n, d, e in ((2, 4, 3, 3), (1, 5, 2, 6), (3, 1, 4, 2)):
        x, weight = torch.randn(b, n, d), torch.randn(d, e)
        a = torch.rand(n, n)
        a = a / a.sum(1, keepdim=True)  # not symmetric, so that the axes matter
        mixed = a @ x
        want = torch.relu(mixed @ weight)
        got = kipf_layer(x, a, weight)
        if n > 1:
            _refuse(
                got,
                want,
                (mixed @ weight, "sigma is missing: the layer ends with a ReLU."),
                (
                    torch.relu(a.T @ x @ weight),
                    "the adjacency is the wrong way round. Row m says to whom node m listens, so "
                    "the sum runs over its second axis.",
                ),
                (
                    a @ torch.relu(x @ weight),
                    "sigma comes last, after the neighbours have been added up.",
                ),
                (torch.relu(x @ weight), "the neighbours are missing: A does not occur."),
            )
            if d == e:
                _refuse(
                    got,
                    want,
                    (
                        torch.relu(mixed @ weight.T),
                        "W is the wrong way round: d goes in and e comes out, so the sum runs over "
                        "its first axis. It fits by chance, because here d = e.",
                    ),
                )
        same(got, want, what=f"the layer on {n} nodes", why="Name the axes of every product.")


def _cross(x: Tensor, taps: Tensor, **options) -> Tensor:
    taps = repeat(taps, "i j -> c 1 i j", c=x.shape[1])
    return F.conv2d(x, taps, groups=x.shape[1], **options)


def _check_grid_mean(grid_mean):
    taps = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    for shape in ((1, 1, 4, 5), (2, 3, 5, 7), (1, 2, 1, 1), (1, 2, 1, 6)):
        x = torch.randn(shape)
        total = _cross(x, taps, padding=1)
        degree = _cross(torch.ones_like(x), taps, padding=1)
        want, got = total / degree, grid_mean(x)
        if min(shape[2:]) > 1:
            edge = F.pad(x, (1, 1, 1, 1), mode="replicate")
            ring = taps - torch.diag(torch.tensor([0.0, 1.0, 0.0]))
            bare = _cross(x, ring, padding=1) / _cross(torch.ones_like(x), ring, padding=1)
            square = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            _refuse(
                got,
                want,
                (
                    total / 5,
                    "right inside, too dark along the border: a pixel there has fewer than four "
                    "neighbours, so its degree is less than 5. What does the same convolution "
                    "give on an image of ones?",
                ),
                (
                    _cross(edge, taps) / 5,
                    "along the border the pixel itself was counted again, in place of the "
                    "neighbour that it has not. Pad with zeros, and divide by the true degree.",
                ),
                (total, "these are sums: divide each by the number of pixels in it."),
                (bare, "the pixel itself is missing from its mean: the centre tap is 1 too."),
                (square, "this is a 3x3 square. The corners do not touch the pixel by a side."),
                (
                    F.avg_pool2d(x, 3, 1, 1),
                    "this is a 3x3 square; ours is a cross. And zeros beyond the border count.",
                ),
            )
        same(got, want, what=f"the mean on a map of {shape[2]} x {shape[3]}",
             why="Check a corner, a border pixel and one inside.")  # fmt: skip


SMOOTH_STEP = """
def smooth_step(x, adjacency):
    loops = adjacency + torch.eye(len(adjacency))
    degree = loops.sum(1, keepdim=True)
    return einsum(loops, x, "m n, n d -> m d") / degree
"""

SYMMETRIC = """
def symmetric_adjacency(adjacency):
    loops = adjacency + torch.eye(len(adjacency))
    root = loops.sum(1).rsqrt()
    return einsum(root, loops, root, "m, m n, n -> m n")
"""

RESTING = """
def resting_value(x, adjacency):
    degree = adjacency.sum(1) + 1
    return (degree * x).sum() / degree.sum()
"""

KIPF = """
def kipf_layer(x, adjacency, weight):
    mixed = einsum(adjacency, x, "m n, b n d -> b m d")
    return torch.relu(einsum(mixed, weight, "b m d, d e -> b m e"))
"""

GRID_MEAN = """
def grid_mean(x):
    cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    taps = repeat(cross, "i j -> c 1 i j", c=x.shape[1])
    total = F.conv2d(x, taps, padding=1, groups=x.shape[1])
    degree = F.conv2d(torch.ones_like(x), taps, padding=1, groups=x.shape[1])
    return total / degree
"""

EXERCISES = [
    Exercise(
        name="smooth_step",
        lesson="02",
        title="one step of smoothing",
        prompt="""
        Replace every node by the mean of itself and its neighbours. `x` is `n d`, and
        `adjacency` is $A$, `n n`, without self loops: `adjacency[m, n]` says how much node $m$
        listens to node $n$. A node listens to itself with weight 1.
        """,
        stub="""
        def smooth_step(x, adjacency):
            # n d and n n -> n d: sums over A + I, divided by what?
            return ...
        """,
        solution=SMOOTH_STEP,
        check=_check_smooth_step,
        hint="""
        `torch.eye(n)` is $I$. The degree of node $m$ is the sum of row $m$ of $A + I$. With
        `keepdim=True` it has shape `n 1`, and divides row by row.
        """,
        wrong=(
            WrongAnswer(
                SMOOTH_STEP.replace(" + torch.eye(len(adjacency))", ""), "Add the self loops"
            ),
            WrongAnswer(SMOOTH_STEP.replace(" / degree", ""), "these are sums, not means"),
            WrongAnswer(
                SMOOTH_STEP.replace("degree = loops", "degree = adjacency"), "the degrees do not"
            ),
            WrongAnswer(
                "def smooth_step(x, adjacency):\n"
                "    loops = adjacency + torch.eye(len(adjacency))\n"
                "    return (loops / loops.sum(1)) @ x",
                "the columns were divided",
            ),
            WrongAnswer(
                "def smooth_step(x, adjacency):\n"
                "    loops = (adjacency + torch.eye(len(adjacency))).T\n"
                "    return loops @ x / loops.sum(1, keepdim=True)",
                "the wrong way round",
            ),
            WrongAnswer(
                "def smooth_step(x, adjacency):\n"
                "    loops = adjacency + torch.eye(len(adjacency))\n"
                "    x.copy_(loops @ x / loops.sum(1, keepdim=True))\n"
                "    return x",
                "changed its input in place",
            ),
        ),
    ),
    Exercise(
        name="resting_value",
        lesson="02",
        title="where it ends",
        prompt="""
        Repeat `smooth_step` for ever on a connected graph whose edges hold in both directions.
        All nodes end at one value. Return it, without taking a single step. `x` has $n$ numbers.
        """,
        stub="""
        def resting_value(x, adjacency):
            # a weighted mean of x; which weights?
            return ...
        """,
        solution=RESTING,
        check=_check_resting_value,
        hint="""
        Look for something that a step does not change. Multiply each value by its node's degree,
        self loop included, and add up: $3 \\cdot 6 = 18$ at the start, $3\\,(2 + 2 + 2) = 18$
        after one step.
        """,
        wrong=(
            WrongAnswer(
                "def resting_value(x, adjacency):\n    return x.mean()", "this is the plain mean"
            ),
            WrongAnswer(RESTING.replace(" + 1", ""), "must count the self loops"),
            WrongAnswer(RESTING.replace(" / degree.sum()", ""), "Divide by the sum of the weights"),
            WrongAnswer(
                "def resting_value(x, adjacency):\n"
                "    loops = adjacency + torch.eye(len(x))\n"
                "    for _ in range(100):\n"
                "        x = loops @ x / loops.sum(1)\n"
                "    return x[0]",
                "find the formula",
            ),
            WrongAnswer(
                "def resting_value(x, adjacency):\n    return x.mean().expand(len(x))",
                "one number is enough",
            ),
        ),
    ),
    Exercise(
        name="symmetric_adjacency",
        lesson="02",
        title="the symmetric form",
        prompt="""
        Write $\\hat A = D^{-1/2}(A + I)\\,D^{-1/2}$, where $D$ holds the degrees of $A + I$ on
        its diagonal.
        """,
        stub="""
        def symmetric_adjacency(adjacency):
            # n n -> n n
            return ...
        """,
        solution=SYMMETRIC,
        check=_check_symmetric_adjacency,
        hint="""
        A diagonal matrix on the left scales rows, one on the right scales columns. So no matrix
        product is needed: entry $(m, n)$ of $A + I$ is divided by $\\sqrt{d_m d_n}$.
        `t.rsqrt()` is $1/\\sqrt t$.
        """,
        wrong=(
            WrongAnswer(
                "def symmetric_adjacency(adjacency):\n"
                "    loops = adjacency + torch.eye(len(adjacency))\n"
                "    return loops / loops.sum(1, keepdim=True)",
                "It is not symmetric",
            ),
            WrongAnswer(
                "def symmetric_adjacency(adjacency):\n"
                "    root = adjacency.sum(1).rsqrt()\n"
                "    half = root[:, None] * adjacency * root\n"
                "    return half + torch.eye(len(adjacency))",
                "the loops came after the normalisation",
            ),
            WrongAnswer(
                SYMMETRIC.replace(" + torch.eye(len(adjacency))", ""), "the self loops are missing"
            ),
            WrongAnswer(SYMMETRIC.replace("loops.sum", "adjacency.sum"), "take them from A . I"),
            WrongAnswer(SYMMETRIC.replace("rsqrt()", "reciprocal()"), "both sides were divided by"),
            WrongAnswer(SYMMETRIC.replace("rsqrt()", "sqrt()"), "so divide"),
        ),
    ),
    Exercise(
        name="kipf_layer",
        lesson="02",
        title="the layer",
        prompt="""
        Write $\\sigma(A X W)$ for a batch, with $\\sigma$ = ReLU: `x` is `b n d`, `weight` is
        $W$, `d e`, and `adjacency` is `n n`, already normalised.
        """,
        stub="""
        def kipf_layer(x, adjacency, weight):
            # b n d, n n, d e -> b n e
            return ...
        """,
        solution=KIPF,
        check=_check_kipf_layer,
        hint="""
        Two `einsum`s. In the first, call the node that listens `m` and the one that is heard
        `n`. In the second, `d` is summed away and `e` appears.
        """,
        wrong=(
            WrongAnswer(KIPF.replace("torch.relu(", "("), "sigma is missing"),
            WrongAnswer(KIPF.replace('"m n, b n d', '"n m, b n d'), "adjacency is the wrong way"),
            WrongAnswer(KIPF.replace('"b m d, d e', '"b m d, e d'), "W is the wrong way round"),
            WrongAnswer(
                "def kipf_layer(x, adjacency, weight):\n"
                "    return adjacency @ torch.relu(x @ weight)",
                "sigma comes last",
            ),
            WrongAnswer(
                "def kipf_layer(x, adjacency, weight):\n    return torch.relu(x @ weight)",
                "the neighbours are missing",
            ),
        ),
    ),
    Exercise(
        name="grid_mean",
        lesson="02",
        title="smoothing without a matrix",
        prompt="""
        Write one step of smoothing on the pixel grid for a map `b c h w`: the mean over a pixel
        and the up to four neighbours that share a side with it. A convolution does it, and no
        $n \\times n$ matrix is made. Mind the border.
        """,
        stub="""
        def grid_mean(x):
            # b c h w -> b c h w
            return ...
        """,
        solution=GRID_MEAN,
        check=_check_grid_mean,
        hint="""
        A cross of ones as a $3\\times3$ kernel, one copy a channel, `groups=x.shape[1]` and
        `padding=1`, gives the sums $(A + I)X$. The same convolution on a map of ones counts how
        many pixels went into each sum.
        """,
        wrong=(
            WrongAnswer(
                GRID_MEAN.replace("total / degree", "total / 5"), "too dark along the border"
            ),
            WrongAnswer(
                GRID_MEAN.replace(
                    "F.conv2d(x, taps, padding=1,",
                    'F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), taps,',
                ).replace("total / degree", "total / 5"),
                "counted again",
            ),
            WrongAnswer(GRID_MEAN.replace("total / degree", "total"), "these are sums"),
            WrongAnswer(
                GRID_MEAN.replace("[1.0, 1.0, 1.0]", "[1.0, 0.0, 1.0]"), "the centre tap is 1 too"
            ),
            WrongAnswer(
                GRID_MEAN.replace("[0.0, 1.0, 0.0]", "[1.0, 1.0, 1.0]"), "The corners do not touch"
            ),
            WrongAnswer(
                "def grid_mean(x):\n    return F.avg_pool2d(x, 3, stride=1, padding=1)",
                "ours is a cross",
            ),
        ),
    ),
]

QUIZ = [
    Question(
        "Why does smoothing need self loops?",
        (
            "without them a signal can swing for ever between two halves of the graph",
            "without them the degrees are not whole numbers",
            "without them the matrix is not symmetric",
        ),
        0,
        "On a path without loops the spike hops from the odd nodes to the even ones and back: "
        "the eigenvalue $-1$.",
    ),
    Question(
        "You replace every node of a connected graph by the mean of its neighbourhood, itself "
        "included, very many times. What is left?",
        (
            "the features, a little blurred",
            "one mean, the same at every node",
            "zeros everywhere",
        ),
        1,
        "The mean is weighted by degree. All differences between nodes are gone: over-smoothing.",
    ),
    Question(
        "$A$ is the mean over a node's neighbourhood. What does $I - A$ give where the signal is "
        "constant?",
        ("the constant", "zero", "it depends on the degree"),
        1,
        "A node minus the mean of its neighbourhood. Only differences survive: edges.",
    ),
    Question(
        "In $\\sigma(AXW)$ with $X$ as $n \\times d$, what does $W$ mix?",
        ("the nodes", "the features of a node", "both"),
        1,
        "$A$ on the left mixes rows, which are nodes. $W$ on the right mixes columns, which are "
        "features.",
    ),
    Question(
        "What can a 3x3 convolution tell that a graph convolution on the pixel grid cannot?",
        (
            "whether a pixel differs from its neighbours",
            "whether the bright side is on the left or on the right",
            "how bright the neighbourhood is",
        ),
        1,
        "The convolution has a weight for each of nine places. The graph knows who is a "
        "neighbour, not on which side.",
    ),
    Question(
        "The matrix $A$ is learned and free in sign. When are $X + AX$ and $X - AX$ not the same "
        "class of functions?",
        (
            "always",
            "never",
            "when a ReLU stands between AX and the sum",
        ),
        2,
        "Without a ReLU, $-A$ is as good as $A$. With it, one form can only add and the other "
        "can only take away.",
    ),
]
