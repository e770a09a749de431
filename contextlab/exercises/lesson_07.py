"""Exercises of lesson 07: two graphs."""

import torch
import torch.nn.functional as F
from einops import einsum
from torch import Tensor, nn

from contextlab.exercises import Exercise, Question, Wrong, WrongAnswer, call, largest_tensor, same

TITLE = "Two graphs"


def _refuse(got, want: Tensor, *mistakes: tuple[Tensor, str]) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake.

    Mistakes that give the right answer here, by symmetry or with one pixel, say nothing.
    """
    if _alike(got, want):
        return
    for mistake, message in mistakes:
        if _alike(got, mistake):
            raise Wrong(message)


def _alike(got, want: Tensor) -> bool:
    like = isinstance(got, Tensor) and got.shape == want.shape
    return like and torch.allclose(got, want, atol=1e-5, rtol=1e-4)


# --- concepts --------------------------------------------------------------------------------


def _concepts(theta, phi, A, W, *, left=None, right=None, mean=True, back=None, turned=False):
    v = einsum(theta, phi, "b n i, b d i -> b n d")
    v = v / theta.shape[-1] if mean else v
    left = torch.eye(len(A)) - A if left is None and right is None else left
    v = v if left is None else left @ v
    z = (v if right is None else v @ right) @ (W.mT if turned else W)
    back = theta if back is None else back(theta)
    return einsum(z, back, "b n d, b n i -> b d i")


def _check_concepts(concepts):
    why = "Follow the four pixels of the example above, step by step."
    # by hand: red zone, road, blue sign, red sign; two concepts, red and blue
    theta = torch.tensor([[[1.0, 0, 0, 1], [0, 0, 1, 0]]])
    phi = torch.tensor([[[0.0, 0, -1, 1]]])
    by_hand = (theta, phi, torch.tensor([[0, 0.5], [0.5, 0]]), torch.eye(1))
    cases = []
    for b, n, d, i in ((2, 3, 5, 7), (1, 4, 4, 6), (2, 2, 3, 1)):
        given = torch.randn(b, n, i), torch.randn(b, d, i), torch.randn(n, n), torch.randn(d, d)
        cases.append(given)
    for theta, phi, A, W in [*cases, by_hand]:
        got, want = concepts(theta, phi, A, W), _concepts(theta, phi, A, W)
        n, d, i = theta.shape[1], phi.shape[1], theta.shape[2]
        if i > 1:
            _refuse(
                got,
                want,
                (
                    _concepts(theta, phi, A, W, mean=False),
                    "the concepts are sums over the pixels: divide by their number, or a larger "
                    "map shouts louder.",
                ),
                (
                    _concepts(theta, phi, A, W, left=torch.eye(n) + A),
                    "this is (I + A) V. A concept loses what the others say: I - A.",
                ),
                (
                    _concepts(theta, phi, A, W, left=A),
                    "this is A V: a concept hears the others and forgets itself. The I of I - A "
                    "is missing.",
                ),
                (
                    _concepts(theta, phi, A, W, left=torch.eye(n) - A.mT),
                    "A is transposed. Row m of A says how much concept m hears of each concept n: "
                    "sum over the second axis of A.",
                ),
                (
                    _concepts(theta, phi, A, W, back=lambda t: t.softmax(1)),
                    "the way back has a soft-max of its own. It is the same projection theta, "
                    "transposed, and nothing else.",
                ),
            )
        if d > 1 and i > 1:
            _refuse(
                got,
                want,
                (
                    _concepts(theta, phi, A, W, turned=True),
                    "W is transposed: in V W the first axis of W meets the states of V.",
                ),
            )
        if n == d and i > 1:
            _refuse(
                got,
                want,
                (
                    _concepts(theta, phi, A, W, right=torch.eye(n) - A),
                    "A mixes the states of each concept. A stands to the left of V: it mixes the "
                    "concepts.",
                ),
                (
                    _concepts(theta, phi, A, W, right=torch.eye(n) - A.mT),
                    "A mixes the states of each concept. A stands to the left of V: it mixes the "
                    "concepts.",
                ),
            )
        same(got, want, what=f"the answer of {n} concepts", why=why)
    theta, phi = torch.randn(1, 3, 80), torch.randn(1, 5, 80)
    if (made := largest_tensor(concepts, theta, phi, torch.eye(3), torch.eye(5))) >= 80 * 80:
        raise Wrong(
            f"right, but a tensor of {made} numbers was made for 80 pixels: pixels by pixels. "
            "Gather first: three concepts of five numbers."
        )


CONCEPTS = """
def concepts(theta, phi, A, W):
    V = einsum(theta, phi, "b n i, b s i -> b n s") / theta.shape[-1]
    V = V - einsum(A, V, "m n, b n s -> b m s")
    Z = einsum(V, W, "b n s, s r -> b n r")
    return einsum(Z, theta, "b n s, b n i -> b s i")
"""

# --- cells -----------------------------------------------------------------------------------


def _to_cells(x, d, *, zeros=False):
    down, right = -x.shape[2] % d, -x.shape[3] % d
    padded, ones = (F.pad(t, (0, right, 0, down)) for t in (x, torch.ones_like(x)))
    mean = F.avg_pool2d(padded, d)
    return mean if zeros else mean / F.avg_pool2d(ones, d)


def _check_to_cells(to_cells):
    why = "Write down which pixels stand in the last cell, and how many."
    by_hand = torch.tensor([[[[1.0, 3, 10], [5, 7, 20]]]])
    shapes = ((2, 3, 8, 12), (1, 2, 5, 7), (2, 1, 3, 2), (1, 2, 1, 1), (1, 1, 9, 4))
    for x, d in [*((torch.randn(s), d) for s in shapes for d in (2, 4)), (by_hand, 2)]:
        h, w = x.shape[2:]
        got = call(to_cells, x, d)
        want = _to_cells(x, d)
        if h % d or w % d:
            if isinstance(got, Tensor) and got.shape[2:] == (h // d, w // d):
                raise Wrong(
                    f"a map of {h} x {w} in cells of {d} became {got.shape[2]} x {got.shape[3]}: "
                    "the pixels at the border belong to no cell. They need one, if a smaller one."
                )
            if h > d or w > d:
                _refuse(
                    got,
                    want,
                    (
                        _to_cells(x, d, zeros=True),
                        "a cell at the border takes zeros into its mean. It is the mean of the "
                        "pixels that it has, however few.",
                    ),
                    (
                        F.adaptive_avg_pool2d(x, want.shape[2:]),
                        "adaptive pooling makes overlapping bins of other sizes. Cells are d x d "
                        "squares from the corner on; only the last ones may be cut.",
                    ),
                )
        _refuse(
            got,
            want,
            (want * d * d, "these are sums. A cell is the mean of its pixels."),
            (x[:, :, ::d, ::d], "a cell is one of its pixels here, and not their mean."),
        )
        same(got, want, what=f"the cells of {d} x {d} on a map of {h} x {w}", why=why)


TO_CELLS = """
def to_cells(x, d):
    return F.avg_pool2d(x, d, ceil_mode=True, count_include_pad=False)
"""

# --- messages --------------------------------------------------------------------------------


def _check_cell_messages(cell_messages):
    why = "Compare with the sum over j above, index by index."
    # the three pixels of lesson 06
    rows = ([1.0, 2, 0], [1.0, 0, 1], [2.0, 4, 8])
    by_hand = [torch.tensor([r]).mT[None] for r in rows]
    cases = [[torch.randn(b, n, p) for _ in range(3)] for b, n, p in ((2, 6, 3), (1, 4, 4))]
    for delta, psi, nu in [*cases, [torch.randn(2, 1, 3) for _ in range(3)], by_hand]:
        n = delta.shape[1]
        scores = delta @ psi.mT
        want = scores @ nu / n
        got = cell_messages(delta, psi, nu)
        if n > 1:
            _refuse(
                got,
                want,
                (
                    want * n,
                    "this is the sum over the cells: divide by their number, or a map of twice "
                    "the cells gets twice the answer.",
                ),
                (
                    scores.softmax(-1) @ nu,
                    "there is a soft-max over the cells. The formula has none; with it, the "
                    "brackets cannot be moved.",
                ),
                (
                    delta @ (psi.mT @ nu).softmax(-1),
                    "there is a soft-max over the channels. The formula has none.",
                ),
                (
                    want * n / delta.shape[2],
                    "divided by the number of channels. The mean runs over the cells j.",
                ),
                (
                    psi @ (delta.mT @ nu) / n,
                    "delta and psi have changed places: cell i asks, with delta.",
                ),
            )
        same(got, want, what=f"the messages of {n} cells", why=why)
    given = [torch.randn(1, 64, 3) for _ in range(3)]
    if (made := largest_tensor(cell_messages, *given)) >= 64 * 64:
        raise Wrong(
            f"right, but a tensor of {made} numbers was made for 64 cells: A_S itself. Bracket "
            "the other two factors first."
        )


CELL_MESSAGES = """
def cell_messages(delta, psi, nu):
    between = einsum(psi, nu, "b j p, b j q -> b p q") / psi.shape[1]
    return einsum(delta, between, "b i p, b p q -> b i q")
"""


def _check_order_macs(order_macs):
    for h, w, d, p in ((96, 96, 8, 256), (128, 256, 8, 256), (96, 96, 1, 256), (9, 7, 4, 16)):
        n = -(-h // d) * -(-w // d)
        got = call(order_macs, h, w, d, p)
        if not isinstance(got, (tuple, list)) or len(got) != 3:
            raise Wrong("order_macs returns three numbers: the size of A_S, and the two MACs.")
        got = [float(v) for v in got]
        where = f"on a map of {h} x {w} with cells of {d}"
        if got[0] == n and n > 1:
            raise Wrong(
                f"{where} there are {n} cells. A_S joins every two: it has n numbers a side."
            )
        if got[0] == h * w * h * w and d > 1:
            raise Wrong("A_S joins cells, not pixels: how many cells has the map?")
        if (h % d or w % d) and got[0] == ((h // d) * (w // d)) ** 2:
            raise Wrong(f"{where} the cut cells of the border count as well: round up.")
        if (h % d or w % d) and got[0] == (h * w / d**2) ** 2:
            raise Wrong(f"{where} there is no whole number of cells: round up along each side.")
        if got[1] == n * n * p:
            raise Wrong("the direct order has two products: A_S itself, and A_S times nu.")
        if got[2] == n * p * p:
            raise Wrong("the other order has two products as well: which are they?")
        if n != p and (got[1], got[2]) == (2 * n * p * p, 2 * n * n * p):
            raise Wrong("the two orders have changed places: which one makes A_S?")
        same(got[0], n * n, what=f"the size of A_S {where}", why="Count the cells first.")
        same(got[1], 2 * n * n * p, what=f"the MACs of the direct order {where}")
        same(got[2], 2 * n * p * p, what=f"the MACs of the other order {where}")


ORDER_MACS = """
def order_macs(h, w, d, p):
    n = math.ceil(h / d) * math.ceil(w / d)
    direct = n * n * p + n * n * p
    other = p * n * p + n * p * p
    return n * n, direct, other
"""

# --- both ------------------------------------------------------------------------------------


class _Adds(nn.Module):
    """A branch with its skip: x + tanh(factor x)."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.factor * x)


def _check_fuse(fuse):
    why = "Write both branches as X plus what they add."
    for b, c, h, w in ((2, 3, 4, 5), (1, 2, 1, 1)):
        x, space, feature = torch.randn(b, c, h, w), _Adds(2.0), _Adds(-0.7)
        got = fuse(x, space, feature)
        s, f = space(x), feature(x)
        _refuse(
            got,
            s + f - x,
            (s + f, "X is in the result twice: each branch has added it already."),
            (x + s + f, "X is in the result three times: each branch has added it already."),
            (
                feature(s),
                "this is one after the other: the feature graph sees what the coordinate graph "
                "made. In the paper both see X.",
            ),
            (
                space(f),
                "this is one after the other: the coordinate graph sees what the feature graph "
                "made. In the paper both see X.",
            ),
            ((s + f) / 2, "this is the mean of the two branches, so each counts only half."),
        )
        same(got, s + f - x, what="the sum of X and both branches", why=why)


FUSE = """
def fuse(x, coordinate, feature):
    return coordinate(x) + feature(x) - x
"""

# --- hard pixels -----------------------------------------------------------------------------


def _check_hard_pixels(hard_pixels):
    why = "It has one boolean a pixel."
    by_hand = torch.tensor([0.9, 0.2, 0.95, 0.6, 0.99, 0.8])
    cases = [(by_hand, 0.7, 2), (by_hand, 0.7, 4), (by_hand, 0.1, 3), (by_hand, 0.7, 9)]
    cases += [(torch.rand(n), t, k) for n, t, k in ((40, 0.7, 5), (40, 0.3, 20), (1, 0.5, 1))]
    for p, threshold, least in cases:
        got = hard_pixels(p, threshold, least)
        order = p.sort().values
        kth = order[min(least, len(p)) - 1]
        want = p <= max(threshold, kth)
        if isinstance(got, Tensor) and got.dtype != torch.bool:
            raise Wrong(f"expected a mask of booleans, one a pixel, got {got.dtype}.")
        case = f"with threshold {threshold}, least {least} and {len(p)} pixels"
        if not isinstance(got, Tensor) or got.shape != want.shape:
            same(got, want, what=f"the mask {case}", why=why)
        if got.equal(want):
            continue
        few = len(p) <= least
        t = "all are to be kept" if few else f"t = max({threshold}, {kth:.4g})"
        if got.equal(p <= threshold):
            raise Wrong(
                f"{case}: {int(got.sum())} are kept, those up to the threshold, and should be "
                f"{int(want.sum())}, because at least {least} must be if there are so many."
            )
        if got.equal(p <= kth):
            raise Wrong(
                f"{case} the k hardest are kept and no more. Every pixel below the threshold "
                "is hard: t is the larger of the two."
            )
        if got.equal(p <= min(threshold, kth)):
            raise Wrong(f"{case}: the smaller of the two bounds is taken; least is a minimum.")
        if got.equal(p >= max(threshold, kth)):
            raise Wrong(f"{case} the easy pixels are kept. Hard is a small probability.")
        if not few and got.equal(p < max(threshold, kth)):
            raise Wrong(f"{case}: {t}, and the pixel that has just this value is kept as well.")
        off = int((got != want).int().argmax())
        kept = ("left out", "kept")
        raise Wrong(
            f"{case}: {t}, so the pixel with p = {p[off]:.4g} should be {kept[int(want[off])]}; it "
            f"is {kept[int(got[off])]}. {int((got != want).sum())} pixels are wrong."
        )


HARD_PIXELS = """
def hard_pixels(p, threshold, least):
    if len(p) <= least:
        return torch.ones_like(p, dtype=torch.bool)
    kth = p.kthvalue(least).values
    return p <= torch.clamp(kth, min=threshold)
"""

EXERCISES = [
    Exercise(
        name="concepts",
        lesson="07",
        title="gather, reason, hand back",
        prompt="""
        Write the three equations. `theta` is `b n i` ($n$ concepts, pixels $i$), `phi` is `b s i`,
        `A` is `n n`, `W` is `s s`. Gather $V$ as a **mean** over the pixels, let the concepts
        reason, hand back with the same `theta`. Return `b s i`; no tensor of pixels by pixels.
        """,
        stub="""
        def concepts(theta, phi, A, W):
            # V: b n s. Z = (I - A) V W: b n s. The answer of every pixel: b s i
            return ...
        """,
        solution=CONCEPTS,
        check=_check_concepts,
        hint="""
        Four `einsum`s. Name the axes: `m n` for `A`, so that `"m n, b n s -> b m s"` lets every
        concept $m$ hear every concept $n$. $(I - A)V$ is $V - AV$.
        """,
        wrong=(
            WrongAnswer(CONCEPTS.replace(" / theta.shape[-1]", ""), "divide by their number"),
            WrongAnswer(
                CONCEPTS.replace("V = V - einsum", "V = V + einsum"), "loses what the others"
            ),
            WrongAnswer(CONCEPTS.replace("V = V - einsum", "V = einsum"), "forgets itself"),
            WrongAnswer(CONCEPTS.replace('"m n, b n s', '"n m, b n s'), "A is transposed"),
            WrongAnswer(CONCEPTS.replace('"b n s, s r', '"b n s, r s'), "W is transposed"),
            WrongAnswer(
                CONCEPTS.replace('einsum(A, V, "m n, b n s -> b m s")',
                                 'einsum(A, V, "r s, b n s -> b n r")'),
                "mixes the states|stopped with",
            ),
            WrongAnswer(
                CONCEPTS.replace("einsum(Z, theta,", "einsum(Z, theta.softmax(1),"),
                "soft-max of its own",
            ),
            WrongAnswer(
                "def concepts(theta, phi, A, W):\n"
                "    n = theta.shape[-1]\n"
                "    pairs = theta.mT @ (torch.eye(len(A)) - A) @ theta / n\n"
                "    return W.mT @ phi @ pairs.mT",
                "pixels by pixels",
            ),
        ),
    ),
    Exercise(
        name="to_cells",
        lesson="07",
        title="pixels to cells",
        prompt="""
        Pool `x`, `b c h w`, to cells of $d\\times d$ pixels: each cell is the mean of its pixels.
        Where $d$ does not divide a side, the last cells are cut: they are the mean of the pixels
        that they have. A map smaller than $d$ is one cell.
        """,
        stub="""
        def to_cells(x, d):
            # b c h w -> b c ceil(h / d) ceil(w / d)
            return ...
        """,
        solution=TO_CELLS,
        check=_check_to_cells,
        hint="""
        `F.avg_pool2d` has an option for the last, cut window (`ceil_mode`) and one for what the
        mean is divided by (`count_include_pad`).
        """,
        wrong=(
            WrongAnswer("def to_cells(x, d):\n    return F.avg_pool2d(x, d)",
                        "belong to no cell|stopped with"),
            WrongAnswer(
                "def to_cells(x, d):\n"
                "    x = F.pad(x, (0, -x.shape[3] % d, 0, -x.shape[2] % d))\n"
                "    return F.avg_pool2d(x, d)",
                "takes zeros",
            ),
            WrongAnswer(
                "def to_cells(x, d):\n"
                "    size = [math.ceil(s / d) for s in x.shape[2:]]\n"
                "    return F.adaptive_avg_pool2d(x, size)",
                "overlapping bins",
            ),
            WrongAnswer("def to_cells(x, d):\n    return x[:, :, ::d, ::d]", "one of its pixels"),
            WrongAnswer(
                "def to_cells(x, d):\n"
                '    return reduce(x, "b c (y d) (x e) -> b c y x", "mean", d=d, e=d)',
                "stopped with",
            ),
        ),
    ),
    Exercise(
        name="cell_messages",
        lesson="07",
        title="the right order of a triple product",
        prompt="""
        $y_i = \\frac1n\\sum_j (\\delta_i\\cdot\\psi_j)\\,\\nu_j$ for $n$ cells; `delta`, `psi` and
        `nu` are `b n p`. Return `b n p`, and make no tensor of $n\\times n$.
        """,
        stub="""
        def cell_messages(delta, psi, nu):
            # which product first?
            return ...
        """,
        solution=CELL_MESSAGES,
        check=_check_cell_messages,
        hint="""
        $\\delta(\\psi^\\top\\nu)$: the inner product has the axes `p q` and sums over the cells
        `j`.
        """,
        wrong=(
            WrongAnswer(
                "def cell_messages(delta, psi, nu):\n"
                '    A = einsum(delta, psi, "b i p, b j p -> b i j")\n'
                '    return einsum(A, nu, "b i j, b j q -> b i q") / nu.shape[1]',
                "A_S itself",
            ),
            WrongAnswer(
                "def cell_messages(delta, psi, nu):\n"
                '    A = einsum(delta, psi, "b i p, b j p -> b i j")\n'
                "    return torch.softmax(A, -1) @ nu",
                "soft-max over the cells",
            ),
            WrongAnswer(CELL_MESSAGES.replace(" / psi.shape[1]", ""), "divide by their number"),
            WrongAnswer(
                CELL_MESSAGES.replace(
                    ' / psi.shape[1]', "\n    between = torch.softmax(between, -1)"
                ),
                "soft-max over the channels",
            ),
            WrongAnswer(
                CELL_MESSAGES.replace("einsum(psi, nu", "einsum(delta, nu").replace(
                    "einsum(delta, between", "einsum(psi, between"
                ),
                "changed places",
            ),
        ),
    ),
    Exercise(
        name="order_macs",
        lesson="07",
        title="count both orders",
        prompt="""
        A map of $h\\times w$ is pooled to cells of $d\\times d$ (cut cells count). $\\delta$,
        $\\psi$, $\\nu$ are $p$ wide. Return three numbers: how many entries $A_S$ has, the
        multiply-accumulates (MACs) of $(\\delta\\psi^\\top)\\nu$, and those of
        $\\delta(\\psi^\\top\\nu)$.
        """,
        stub="""
        def order_macs(h, w, d, p):
            # how many cells? then two products in each order
            return ..., ..., ...
        """,
        solution=ORDER_MACS,
        check=_check_order_macs,
        hint="""
        A product of $a\\times b$ and $b\\times c$ costs $a\\,b\\,c$. There are
        $\\lceil h/d\\rceil\\lceil w/d\\rceil$ cells.
        """,
        wrong=(
            WrongAnswer(ORDER_MACS.replace("math.ceil(h / d) * math.ceil(w / d)", "h * w"),
                        "cells, not pixels"),
            WrongAnswer(
                ORDER_MACS.replace("math.ceil(h / d) * math.ceil(w / d)", "(h // d) * (w // d)"),
                "round up",
            ),
            WrongAnswer(ORDER_MACS.replace("n * n * p + n * n * p", "n * n * p"),
                        "direct order has two products"),
            WrongAnswer(ORDER_MACS.replace("p * n * p + n * p * p", "n * p * p"),
                        "two products as well"),
            WrongAnswer(ORDER_MACS.replace("return n * n", "return n"), "n numbers a side"),
            WrongAnswer(ORDER_MACS.replace("n * n, direct, other", "n * n, other, direct"),
                        "changed places"),
        ),
    ),
    Exercise(
        name="fuse",
        lesson="07",
        title="both graphs at once",
        prompt="""
        $\\tilde X = X + \\tilde X_S + \\tilde X_F$. `coordinate` and `feature` are blocks of the
        library; each of them already returns $X$ plus what it has to say. Fuse the two.
        """,
        stub="""
        def fuse(x, coordinate, feature):
            # coordinate(x) = X + X_S, feature(x) = X + X_F
            return ...
        """,
        solution=FUSE,
        check=_check_fuse,
        hint="""
        How often is $X$ in `coordinate(x) + feature(x)`?
        """,
        wrong=(
            WrongAnswer(FUSE.replace(" - x", ""), "result twice"),
            WrongAnswer(FUSE.replace(" - x", " + x"), "three times"),
            WrongAnswer("def fuse(x, coordinate, feature):\n    return feature(coordinate(x))",
                        "one after the other"),
            WrongAnswer("def fuse(x, coordinate, feature):\n"
                        "    return (coordinate(x) + feature(x)) / 2", "counts only half"),
        ),
    ),
    Exercise(
        name="hard_pixels",
        lesson="07",
        title="which pixels are hard",
        prompt="""
        `p` holds the probability of the true class, one number a pixel (flat). Return a mask, as
        long, of the pixels with $p \\le t$, $t = \\max(\\text{threshold},\\, p_{(k)})$, where
        $p_{(k)}$ is the $k$-th smallest and $k$ is `least`. If there are at most `least` pixels,
        keep all.
        """,
        stub="""
        def hard_pixels(p, threshold, least):
            # one boolean a pixel
            return ...
        """,
        solution=HARD_PIXELS,
        check=_check_hard_pixels,
        hint="""
        `p.kthvalue(k).values` is the $k$-th smallest, $k$ counted from 1.
        """,
        wrong=(
            WrongAnswer("def hard_pixels(p, threshold, least):\n    return p <= threshold",
                        "2 are kept, those up to the threshold, and should be 4"),
            WrongAnswer(HARD_PIXELS.replace("p <= torch", "p < torch"), "just this value"),
            WrongAnswer(HARD_PIXELS.replace("kthvalue(least)", "kthvalue(least + 1)"),
                        "p = 0.8 should be left out; it is kept"),
            WrongAnswer(HARD_PIXELS.replace("kthvalue(least)", "kthvalue(len(p) - least + 1)"),
                        "should be left out; it is kept"),
            WrongAnswer(HARD_PIXELS.replace("torch.clamp(kth, min=threshold)", "kth"),
                        "hardest are kept and no more"),
            WrongAnswer(HARD_PIXELS.replace("min=threshold", "max=threshold"),
                        "smaller of the two|up to the threshold"),
            WrongAnswer(HARD_PIXELS.replace("p <= torch", "p >= torch"), "easy pixels"),
            WrongAnswer(HARD_PIXELS.replace("return p <= ", "return 1.0 * (p <= ").replace(
                "min=threshold)", "min=threshold))"), "mask of booleans"),
        ),
    ),
]  # fmt: skip

QUIZ = [
    Question(
        "Why is a node of the coordinate graph tied to a place, and a node of the feature graph "
        "not?",
        (
            "a cell owns fixed pixels; a concept gathers pixels from anywhere, by what they show",
            "the coordinate graph adds the row and column to its features",
            "the feature graph has fewer nodes",
        ),
        0,
        "A cell is the mean of its own $d\\times d$ pixels and hands its answer back to them. A "
        "concept is a weighted mean over the whole map.",
    ),
    Question(
        "The map has 144 cells, and the branch is 256 wide. Which order of "
        "$\\delta\\,\\psi^\\top\\nu$ costs less?",
        (
            "first the channels: it is linear in the cells",
            "first the affinity of 144 x 144",
            "both cost the same",
        ),
        1,
        "$2n^2p$ against $2np^2$: they cross at $n = p$, here 256. Linear growth wins on large "
        "maps only.",
    ),
    Question(
        "The official code takes a soft-max over the 256 x 256 channel matrix. Why can it still "
        "use the cheap order?",
        (
            "a soft-max is linear",
            "its soft-max acts on what the cheap order computes first anyway",
            "it does not: it makes the affinity of all cells",
        ),
        1,
        "It is not the paper's function with a soft-max: there the weights of one cell over the "
        "others would sum to 1. Here the weights of one channel over the others do.",
    ),
    Question(
        "$A$ is learned and free in sign. When is $(I + A)VW$ another set of functions than "
        "$(I - A)VW$?",
        (
            "always",
            "when something stands between A V and the sum, such as a ReLU",
            "never",
        ),
        1,
        "Without anything in between, $-A$ is as learnable as $A$. ReLU(AV) can only add or only "
        "take away, so there the sign matters.",
    ),
    Question(
        "A branch sums over its cells instead of taking the mean. It was trained on maps of 8 x "
        "16 cells. On a map of 16 x 32 cells its answer is",
        ("the same", "about four times as large", "about half as large"),
        1,
        "Four times the cells, four times the terms. What follows was trained for the smaller one.",
    ),
]
