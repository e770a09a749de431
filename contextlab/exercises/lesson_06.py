"""Exercises of lesson 06: cheaper attention."""

import math

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor

from contextlab.exercises import (
    Exercise,
    Question,
    Wrong,
    WrongAnswer,
    finite,
    largest_tensor,
    same,
)

TITLE = "Cheaper attention"


def _refuse(got, *mistakes: tuple[Tensor, str]) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake."""
    for mistake, message in mistakes:
        like = isinstance(got, Tensor) and got.shape == mistake.shape
        if like and torch.allclose(got, mistake, atol=1e-5, rtol=1e-4):
            raise Wrong(message)


# --- trick 1 ---------------------------------------------------------------------------------


def _double(values, gather, distribute, gather_axis=1, distribute_axis=2):
    b, v = gather.softmax(gather_axis), distribute.softmax(distribute_axis)
    nodes = einsum(b, values, "b j k, b j m -> b k m")
    return einsum(v, nodes, "b i k, b k m -> b i m")


def _check_double_attention(double_attention):
    # by hand: descriptor 1 gathers 3/4, 1/4 of the values 0 and 8, descriptor 2 the halves
    values = torch.tensor([[[0.0], [8.0]]])
    gather = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0]]])
    distribute = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]]])
    for b, n, k, m in ((0, 0, 0, 0), (3, 7, 4, 2), (2, 5, 5, 3), (1, 6, 3, 2), (2, 1, 3, 2)):
        if n:
            values, gather = torch.randn(b, n, m), 2 * torch.randn(b, n, k)
            distribute = 2 * torch.randn(b, n, k)
        got = double_attention(values, gather, distribute)
        if values.shape[1] > 1:
            _refuse(
                got,
                (
                    _double(values, gather, distribute, 0, 0),
                    "both soft-maxes run over axis 0, the batch: images share out their weights "
                    "among each other, and with one image in the batch every weight is 1. Name "
                    "the axis that must sum to 1.",
                ),
                (
                    _double(values, gather, distribute, 2, 2),
                    "both soft-maxes run over the descriptors. That is right for the second one. "
                    "A descriptor is a weighted mean of the pixels: along which axis must its "
                    "weights sum to 1?",
                ),
                (
                    _double(values, gather, distribute, 1, 1),
                    "both soft-maxes run over the pixels. That is right for the first one. A "
                    "pixel's result is a weighted mean of the descriptors: along which axis must "
                    "its weights sum to 1?",
                ),
                (
                    _double(values, gather, distribute, 2, 1),
                    "the two axes are exchanged: gathering sums to 1 over the pixels, "
                    "distributing over the descriptors.",
                ),
                (
                    _double(values, distribute, gather),
                    "gather and distribute have changed places.",
                ),
            )
        same(
            got,
            _double(values, gather, distribute),
            what="the result",
            why="Write both steps with their axes: pixels to descriptors, descriptors to pixels.",
        )
    large = torch.randn(1, 5, 2), 300 * torch.randn(1, 5, 3), 300 * torch.randn(1, 5, 3)
    finite(double_attention(*large))
    given = torch.randn(1, 64, 2), torch.randn(1, 64, 3), torch.randn(1, 64, 3)
    if (made := largest_tensor(double_attention, *given)) >= 64 * 64:
        raise Wrong(
            f"right, but a tensor of {made} numbers was made for 64 pixels: the n x n affinity. "
            "Gather first, distribute then, and it is never needed."
        )


DOUBLE_ATTENTION = """
def double_attention(values, gather, distribute):
    b = torch.softmax(gather, 1)
    v = torch.softmax(distribute, 2)
    descriptors = einsum(b, values, "b j k, b j m -> b k m")
    return einsum(v, descriptors, "b i k, b k m -> b i m")
"""

# --- trick 2 ---------------------------------------------------------------------------------


def _criss_cross(q, k, v, *, twice=False, hidden=float("-inf"), apart=False):
    h, w = v.shape[2:]
    column = einsum(q, k, "b d i x, b d j x -> b i x j")
    row = einsum(q, k, "b d y i, b d y j -> b y i j")
    if not twice:
        itself = rearrange(torch.eye(h, dtype=torch.bool), "i j -> i 1 j")
        column = column.masked_fill(itself, hidden)
    if apart:
        a_column, a_row = column.softmax(-1), row.softmax(-1)
    else:
        a_column, a_row = torch.cat([column, row], -1).softmax(-1).split([h, w], -1)
    down = einsum(a_column, v, "b i x j, b c j x -> b c i x")
    return down + einsum(a_row, v, "b y i j, b c y j -> b c y i")


def _check_criss_cross(criss_cross):
    why = "Take one pixel, and write down whom it asks and what the weights sum to."
    # by hand: no preferences on a 2 x 2 map, so a pixel takes the mean of three
    q, v = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 3.0], [6.0, 9.0]]]])
    want = torch.tensor([[[[3.0, 4.0], [5.0, 6.0]]]])
    by_hand = (q, q, v, want)
    cases = []
    for b, d, c, h, w in ((2, 3, 4, 4, 6), (1, 2, 3, 5, 5), (1, 2, 2, 3, 1), (1, 2, 2, 1, 1)):
        q, k, v = torch.randn(b, d, h, w), torch.randn(b, d, h, w), torch.randn(b, c, h, w)
        cases.append((q, k, v, _criss_cross(q, k, v)))
    for q, k, v, want in [*cases, by_hand]:
        got = criss_cross(q, k, v)
        h, w = v.shape[2:]
        if h > 1:
            _refuse(
                got,
                (
                    _criss_cross(q, k, v, twice=True),
                    "the pixel counts itself twice: it stands in its column and in its row. A "
                    "cross has h + w - 1 pixels.",
                ),
                (
                    _criss_cross(q, k, v, hidden=0.0),
                    "the pixel's score in its column is set to 0. A score of 0 still gets the "
                    "weight exp(0) = 1. Which score gets the weight 0?",
                ),
                (
                    _criss_cross(q, k, v, apart=True),
                    "column and row have a soft-max each, so a pixel's weights sum to 2. One "
                    "soft-max runs over all h + w - 1 of them.",
                ),
            )
        same(got, want, what=f"the result on a map of {h} x {w}", why=why)
    q, k, v = (torch.randn(1, 2, 12, 12) for _ in range(3))
    finite(criss_cross(30 * q, 30 * k, v))
    if (made := largest_tensor(criss_cross, q, k, v)) >= 144 * 144:
        raise Wrong(
            f"right, but a tensor of {made} numbers was made on a map of 12 x 12: the full "
            "affinity. Score columns and rows by themselves."
        )


CRISS_CROSS = """
def criss_cross(q, k, v):
    h, w = v.shape[2:]
    column = einsum(q, k, "b d i x, b d j x -> b i x j")
    row = einsum(q, k, "b d y i, b d y j -> b y i j")
    itself = rearrange(torch.eye(h, dtype=torch.bool), "i j -> i 1 j")
    column = column.masked_fill(itself, -math.inf)
    weights = torch.softmax(torch.cat([column, row], -1), -1)
    down, across = weights.split([h, w], -1)
    y = einsum(down, v, "b i x j, b c j x -> b c i x")
    return y + einsum(across, v, "b y i j, b c y j -> b c y i")
"""

# --- trick 3 ---------------------------------------------------------------------------------


def _anchors(x, sides, pool=F.adaptive_avg_pool2d):
    return torch.cat([rearrange(pool(x, s), "b c y x -> b c (y x)") for s in sides], -1)


def _ask_anchors(q, k, v, sides, *, scale=None, axis=-1, pool=F.adaptive_avg_pool2d):
    scale = q.shape[1] ** -0.5 if scale is None else scale
    scores = scale * einsum(q, _anchors(k, sides, pool), "b d y x, b d s -> b y x s")
    if axis == "pixels":
        a = rearrange(scores, "b y x s -> b (y x) s").softmax(1).reshape(scores.shape)
    else:
        a = scores.softmax(axis)
    return einsum(a, _anchors(v, sides, pool), "b y x s, b c s -> b c y x")


def _check_ask_anchors(ask_anchors):
    why = "Count the anchors, then write the weighted mean over them."
    for b, d, c, h, w, sides in (
        (2, 4, 3, 6, 8, (1, 3)),
        (1, 9, 2, 5, 7, (1, 2, 4)),
        (2, 3, 3, 4, 4, (2,)),
        (1, 4, 2, 1, 1, (1, 3)),
    ):
        q, k = 2 * torch.randn(b, d, h, w), torch.randn(b, d, h, w)
        v = torch.randn(b, c, h, w)
        got = ask_anchors(q, k, v, sides)
        if h > 1:
            apart = sum(_ask_anchors(q, k, v, (s,)) for s in sides)
            mistakes = [
                (
                    _ask_anchors(q, k, v, sides, scale=1.0),
                    "the scale is missing: divide the scores by the root of d, the width of q "
                    "and k.",
                ),
                (
                    _ask_anchors(q, k, v, sides, axis="pixels"),
                    "the soft-max runs over the pixels that ask. Every pixel shares out one unit "
                    "of attention among the anchors.",
                ),
                (
                    _ask_anchors(q, k, v, sides, pool=F.adaptive_max_pool2d),
                    "the anchors are maxima. An anchor is the mean of its bin.",
                ),
            ]
            if len(sides) > 1:
                one = "each pyramid level has a soft-max of its own. The anchors of all levels "
                one += "compete in one soft-max."
                mistakes += [(apart, one), (apart / len(sides), one)]
            _refuse(got, *mistakes)
        want = _ask_anchors(q, k, v, sides)
        same(got, want, what=f"the result for bins of sides {sides}", why=why)
    q, k, v = (torch.randn(1, 2, 12, 12) for _ in range(3))
    finite(ask_anchors(300 * q, 30 * k, v, (1, 3)))
    made = largest_tensor(ask_anchors, q, k, v, (1, 3))
    if made >= 144 * 144:
        raise Wrong(
            f"right, but a tensor of {made} numbers was made on a map of 12 x 12: the full "
            "affinity. Pool the keys first, and there are ten."
        )


ASK_ANCHORS = """
def ask_anchors(q, k, v, sides):
    def anchors(x):
        bins = [F.adaptive_avg_pool2d(x, side) for side in sides]
        return torch.cat([rearrange(b, "b c y x -> b c (y x)") for b in bins], -1)

    scores = einsum(q, anchors(k), "b d y x, b d s -> b y x s") / math.sqrt(q.shape[1])
    weights = torch.softmax(scores, -1)
    return einsum(weights, anchors(v), "b y x s, b c s -> b c y x")
"""

# --- trick 4 ---------------------------------------------------------------------------------


def _em_step(x, bases, axis=2):
    z = einsum(x, bases, "b n c, b k c -> b n k").softmax(axis)
    return z, einsum(z, x, "b n k, b n c -> b k c")


def _check_em_step(em_step):
    why = "Follow the two pixels of the example above, step by step."
    x = math.log(3) * torch.eye(2)[None]
    by_hand, cases = (x, torch.eye(2)[None]), []
    for b, n, k, c in ((2, 7, 3, 4), (1, 5, 4, 2)):
        bases = F.normalize(torch.randn(b, k, c), dim=-1)
        cases.append((torch.randn(b, n, c), bases))
    cases.append((torch.randn(2, 1, 3), F.normalize(torch.randn(2, 2, 3), dim=-1)))
    for x, bases in [*cases, by_hand]:
        z, sums = _em_step(x, bases)
        mean = sums / z.sum(1)[..., None]
        got = em_step(x, bases)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong("em_step returns two tensors: the responsibilities z and the new bases.")
        if x.shape[1] > 2:
            _refuse(
                got[0],
                (
                    _em_step(x, bases, 1)[0],
                    "the responsibilities sum to 1 over the pixels. Each pixel is shared out "
                    "among the bases.",
                ),
                (
                    einsum(x, bases, "b n c, b k c -> b n k"),
                    "these are the scores. The responsibilities are their soft-max.",
                ),
            )
            _refuse(
                got[1],
                (sums, "the new bases are sums: divide each by its length."),
                (mean, "the new bases are weighted means; now bring each to length 1."),
                (bases, "these are the old bases. The M step makes new ones from x and z."),
                (
                    F.normalize(mean, dim=-1, p=1),
                    "each basis has absolute values that sum to 1. Its length is the root of the "
                    "sum of squares.",
                ),
                (
                    F.normalize(sums, dim=1),
                    "the length is taken across the bases. A basis has c numbers: its length runs "
                    "over those.",
                ),
            )
        same(got[0], z, what="every responsibility", why=why)
        same(got[1], F.normalize(mean, dim=-1), what="the set of new bases", atol=1e-4, why=why)
    got = em_step(500 * torch.randn(1, 6, 3), F.normalize(torch.randn(1, 2, 3), dim=-1))
    finite(got[0], what="a responsibility")


EM_STEP = """
def em_step(x, bases):
    z = torch.softmax(einsum(x, bases, "b n c, b k c -> b n k"), -1)
    sums = einsum(z, x, "b n k, b n c -> b k c")
    means = sums / reduce(z, "b n k -> b k 1", "sum")
    return z, F.normalize(means, dim=-1)
"""

# --- trick 5 ---------------------------------------------------------------------------------


def _encode(x, codewords, smoothing, *, axis=2, mass="sum", sign=-1):
    e = (sign * smoothing * torch.cdist(x, codewords[None]) ** 2).softmax(axis)
    gathered = einsum(e, x, "b n k, b n c -> b k c")
    if mass == "sum":
        return gathered - rearrange(e.sum(1), "b k -> b k 1") * codewords
    return gathered - mass * codewords


def _check_encode(encode):
    why = "Take the sum over i apart: what depends on i, and what does not?"
    # by hand: a pixel halfway between two codewords belongs to both by half
    x, codewords = torch.tensor([[[1.0]]]), torch.tensor([[0.0], [2.0]])
    by_hand, cases = (x, codewords, torch.tensor([1.0, 1.0])), []
    for b, n, k, c in ((2, 7, 3, 4), (1, 5, 2, 3), (2, 1, 3, 2)):
        cases.append((torch.randn(b, n, c), torch.randn(k, c), torch.rand(k) + 0.2))
    for x, codewords, smoothing in [*cases, by_hand]:
        got = encode(x, codewords, smoothing)
        gathered = _encode(x, codewords, smoothing, mass=0.0)
        added = 2 * gathered - _encode(x, codewords, smoothing)
        if x.shape[1] > 1:
            _refuse(
                got,
                (
                    _encode(x, codewords, smoothing, mass=1.0),
                    "each codeword is subtracted once. The sum runs over the pixels, and each "
                    "one subtracts its share e_ik of d_k.",
                ),
                (
                    _encode(x, codewords, smoothing, mass=float(x.shape[1])),
                    "each codeword is subtracted once a pixel, whole. A pixel subtracts only its "
                    "share e_ik of d_k.",
                ),
                (
                    _encode(x, codewords, smoothing, mass=0.0),
                    "the codewords are not subtracted: residuals are x_i - d_k.",
                ),
                (
                    _encode(x, codewords, smoothing, sign=1),
                    "the furthest codeword gets the largest share. The exponent is negative.",
                ),
                (
                    _encode(x, codewords, smoothing, axis=1),
                    "the shares sum to 1 over the pixels. Each pixel is shared out among the "
                    "codewords.",
                ),
                (
                    _encode(x, codewords, torch.ones_like(smoothing)),
                    "the smoothing s_k is not used.",
                ),
                (added, "the codewords were added: residuals are x_i - d_k."),
            )
        want = _encode(x, codewords, smoothing)
        same(got, want, what="the sum of residuals", atol=1e-4, rtol=1e-3, why=why)
    given = torch.randn(1, 40, 6), torch.randn(8, 6), torch.rand(8)
    if (made := largest_tensor(encode, *given)) >= 40 * 8 * 6:
        raise Wrong(
            f"right, but a tensor of {made} numbers was made for 40 pixels, 8 codewords and 6 "
            "channels: all residuals at once. Multiply out, and nothing is larger than n k."
        )


ENCODE = """
def encode(x, codewords, smoothing):
    inner = einsum(x, codewords, "b n c, k c -> b n k")
    squares = reduce(x**2, "b n c -> b n 1", "sum")
    squares = squares + reduce(codewords**2, "k c -> k", "sum")
    e = torch.softmax(-smoothing * (squares - 2 * inner), -1)
    mass = reduce(e, "b n k -> b k 1", "sum")
    return einsum(e, x, "b n k, b n c -> b k c") - mass * codewords
"""

EXERCISES = [
    Exercise(
        name="double_attention",
        lesson="06",
        title="gather and distribute",
        prompt="""
        Write the two steps. `values` is `b n m`; `gather` and `distribute` are scores `b n k`, not
        yet soft-maxed. $B$ is made of `gather`: each of the $k$ descriptors spreads a weight of 1
        over the pixels. $D$ is made of `distribute`: each pixel spreads a weight of 1 over the
        descriptors. Return `b n m`, and make no $n\\times n$ matrix.
        """,
        stub="""
        def double_attention(values, gather, distribute):
            # which axis sums to 1 in which soft-max?
            return ...
        """,
        solution=DOUBLE_ATTENTION,
        check=_check_double_attention,
        hint="""
        The axes of `gather` are `b n k`. Along which of them do the weights of *one* descriptor
        lie? Then `"b j k, b j m -> b k m"` gathers, and `"b i k, b k m -> b i m"` distributes.
        """,
        wrong=(
            WrongAnswer(
                DOUBLE_ATTENTION.replace("gather, 1)", "gather, 0)").replace(
                    "distribute, 2)", "distribute, 0)"
                ),
                "both soft-maxes run over axis 0, the batch",
            ),
            WrongAnswer(
                DOUBLE_ATTENTION.replace("gather, 1)", "gather, 2)"),
                "both soft-maxes run over the descriptors",
            ),
            WrongAnswer(
                DOUBLE_ATTENTION.replace("distribute, 2)", "distribute, 1)"),
                "both soft-maxes run over the pixels",
            ),
            WrongAnswer(
                DOUBLE_ATTENTION.replace("gather, 1)", "gather, 2)").replace(
                    "distribute, 2)", "distribute, 1)"
                ),
                "the two axes are exchanged",
            ),
            WrongAnswer(
                DOUBLE_ATTENTION.replace("softmax(gather", "softmax(distribute").replace(
                    "softmax(distribute, 2", "softmax(gather, 2"
                ),
                "have changed places",
            ),
            WrongAnswer(
                DOUBLE_ATTENTION.replace(
                    "torch.softmax(gather, 1)", "gather.exp() / gather.exp().sum(1, keepdim=True)"
                ),
                "exp overflows",
            ),
            WrongAnswer(
                "def double_attention(values, gather, distribute):\n"
                "    b, v = torch.softmax(gather, 1), torch.softmax(distribute, 2)\n"
                '    affinity = einsum(v, b, "b i k, b j k -> b i j")\n'
                "    return affinity @ values",
                "the n x n affinity",
            ),
        ),
    ),
    Exercise(
        name="criss_cross",
        lesson="06",
        title="ask your row and your column",
        prompt="""
        `q` and `k` are `b d h w`, `v` is `b c h w`. Every pixel asks the $h + w - 1$ pixels of its
        column and its row, itself once, with one soft-max over all of them. No scale. Return
        `b c h w`, and make nothing as large as $n\\times n$.
        """,
        stub="""
        def criss_cross(q, k, v):
            # scores of all columns: b i x j; of all rows: b y i j; then one soft-max
            return ...
        """,
        solution=CRISS_CROSS,
        check=_check_criss_cross,
        hint="""
        `einsum(q, k, "b d i x, b d j x -> b i x j")` scores row $i$ against row $j$ in every
        column $x$. The pixel itself is where $i = j$; the row holds it as well. `masked_fill`
        with `-math.inf` gives a weight of 0. `torch.cat` on the last axis, soft-max, `split`.
        """,
        wrong=(
            WrongAnswer(
                CRISS_CROSS.replace("    column = column.masked_fill(itself, -math.inf)\n", ""),
                "counts itself twice",
            ),
            WrongAnswer(CRISS_CROSS.replace("-math.inf", "0.0"), "still gets the weight"),
            WrongAnswer(
                CRISS_CROSS.replace(
                    "torch.softmax(torch.cat([column, row], -1), -1)",
                    "torch.cat([column.softmax(-1), row.softmax(-1)], -1)",
                ),
                "weights sum to 2",
            ),
            WrongAnswer(
                "def criss_cross(q, k, v):\n"
                "    h, w = v.shape[2:]\n"
                "    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')\n"
                "    y, x = y.flatten(), x.flatten()\n"
                "    cross = (y[:, None] == y) | (x[:, None] == x)\n"
                "    q, k, v = (t.flatten(2) for t in (q, k, v))\n"
                "    scores = (q.mT @ k).masked_fill(~cross, -math.inf)\n"
                "    return (v @ scores.softmax(-1).mT).unflatten(2, (h, w))",
                "the full affinity",
            ),
            WrongAnswer(
                CRISS_CROSS.replace('down, v, "b i x j, b c j x', 'down, v, "b j x i, b c j x'),
                "stopped with|values are off",
            ),
        ),
    ),
    Exercise(
        name="ask_anchors",
        lesson="06",
        title="fewer keys",
        prompt="""
        Pool keys and values to $s\\times s$ bins for every side $s$ in `sides` (adaptive average),
        put all bins side by side as anchors, and let every pixel ask them: scores divided by
        $\\sqrt d$, one soft-max over all anchors. `q`, `k` are `b d h w`, `v` is `b c h w`; return
        `b c h w`.
        """,
        stub="""
        def ask_anchors(q, k, v, sides):
            # F.adaptive_avg_pool2d(k, side) is b d side side
            return ...
        """,
        solution=ASK_ANCHORS,
        check=_check_ask_anchors,
        hint="""
        A small helper that turns `b c h w` into `b c S`, with $S = \\sum s^2$, serves keys and
        values. After that it is the attention of lesson 03 with $S$ keys: `"b d y x, b d s -> b y
        x s"`.
        """,
        wrong=(
            WrongAnswer(ASK_ANCHORS.replace(" / math.sqrt(q.shape[1])", ""), "scale is missing"),
            WrongAnswer(
                ASK_ANCHORS.replace(
                    "torch.softmax(scores, -1)",
                    'rearrange(rearrange(scores, "b y x s -> b (y x) s").softmax(1), '
                    '"b (y x) s -> b y x s", y=q.shape[2])',
                ),
                "over the pixels that ask",
            ),
            WrongAnswer(ASK_ANCHORS.replace("avg_pool", "max_pool"), "the anchors are maxima"),
            WrongAnswer(
                "def ask_anchors(q, k, v, sides):\n"
                "    y = 0\n"
                "    for side in sides:\n"
                "        key = F.adaptive_avg_pool2d(k, side).flatten(2)\n"
                "        value = F.adaptive_avg_pool2d(v, side).flatten(2)\n"
                '        scores = einsum(q, key, "b d y x, b d s -> b y x s")\n'
                "        weights = torch.softmax(scores / math.sqrt(q.shape[1]), -1)\n"
                '        y = y + einsum(weights, value, "b y x s, b c s -> b c y x")\n'
                "    return y",
                "compete in one soft-max",
            ),
        ),
    ),
    Exercise(
        name="em_step",
        lesson="06",
        title="one step of EM",
        prompt="""
        `x` is `b n c` and `bases` is `b k c`, each of length 1. E step:
        $z_{ik} = \\mathrm{softmax}_k(x_i\\cdot\\mu_k)$. M step: each basis becomes the mean of the
        pixels, weighted by $z_{ik}$, and is then brought back to length 1. Return both: $z$, of
        shape `b n k`, and the new bases.
        """,
        stub="""
        def em_step(x, bases):
            # E step: z. M step: the new bases, from x and z
            return ..., ...
        """,
        solution=EM_STEP,
        check=_check_em_step,
        hint="""
        Every pixel is shared out among the bases: the soft-max runs over `k`. The weighted mean is
        `einsum(z, x, "b n k, b n c -> b k c")` divided by the weights' sum over `n`.
        `F.normalize(t, dim=...)` divides by the length.
        """,
        wrong=(
            WrongAnswer(
                EM_STEP.replace('k c -> b n k"), -1)', 'k c -> b n k"), 1)'),
                "sum to 1 over the pixels",
            ),
            WrongAnswer(EM_STEP.replace("F.normalize(means, dim=-1)", "means"), "to length 1"),
            WrongAnswer(EM_STEP.replace("F.normalize(means, dim=-1)", "sums"), "bases are sums"),
            WrongAnswer(EM_STEP.replace("(means, dim=-1)", "(sums, dim=1)"), "across the bases"),
            WrongAnswer(EM_STEP.replace("return z, F", "return F"), "em_step returns two tensors"),
            WrongAnswer(EM_STEP.replace("F.normalize(means, dim=-1)", "bases"), "the old bases"),
            WrongAnswer(EM_STEP.replace("means, dim=-1", "means, dim=-1, p=1"), "root of the sum"),
        ),
    ),
    Exercise(
        name="encode",
        lesson="06",
        title="residuals without the big tensor",
        prompt="""
        $E_k = \\sum_i e_{ik}\\,(x_i - d_k)$ with $e_{ik} = \\mathrm{softmax}_k(-s_k\\lVert x_i -
        d_k\\rVert^2)$. `x` is `b n c`, `codewords` `k c`, `smoothing` `k`; return `b k c`. No
        tensor of $n\\,k\\,c$ numbers may appear: multiply out both the square and the sum.
        """,
        stub="""
        def encode(x, codewords, smoothing):
            # |x - d|^2 = |x|^2 - 2 x.d + |d|^2; and the sum over i of e_ik (x_i - d_k)?
            return ...
        """,
        solution=ENCODE,
        check=_check_encode,
        hint="""
        $\\sum_i e_{ik}(x_i - d_k) = \\sum_i e_{ik}x_i - \\big(\\sum_i e_{ik}\\big)\\,d_k$. The
        first part is an `einsum`, the bracket is one number a codeword.
        """,
        wrong=(
            WrongAnswer(ENCODE.replace("mass * codewords", "codewords"), "subtracted once"),
            WrongAnswer(
                ENCODE.replace("mass * codewords", "x.shape[1] * codewords"), "once a pixel, whole"
            ),
            WrongAnswer(ENCODE.replace("- mass", "+ mass"), "the codewords were added"),
            WrongAnswer(ENCODE.replace("-smoothing", "smoothing"), "exponent is negative"),
            WrongAnswer(
                ENCODE.replace("2 * inner), -1)", "2 * inner), 1)"), "sum to 1 over the pixels"
            ),
            WrongAnswer(ENCODE.replace("-smoothing *", "-1.0 *"), "is not used"),
            WrongAnswer(
                "def encode(x, codewords, smoothing):\n"
                "    residuals = x[:, :, None] - codewords\n"
                "    e = torch.softmax(-smoothing * (residuals**2).sum(-1), -1)\n"
                "    return (e[..., None] * residuals).sum(1)",
                "all residuals at once",
            ),
        ),
    ),
]

QUIZ = [
    Question(
        "Why can $\\mathrm{softmax}(QK^\\top)V$ not be computed as $Q(K^\\top V)$?",
        (
            "the matrices do not fit",
            "the soft-max needs a whole row of scores before anything is summed",
            "it can, but it is slower",
        ),
        1,
        "Re-association moves a linear map. The soft-max stands between the two products and is "
        "not linear. Two soft-maxes on the factors, as in A², are a way out.",
    ),
    Question(
        "On a map of $h\\times w$, how many pixels does one pixel reach by one and by two "
        "criss-cross hops?",
        ("h + w and 2(h + w)", "h + w - 1 and all h w", "h + w - 1 and (h + w - 1) squared"),
        1,
        "The pixel itself is in its row and in its column, and counts once. Any two pixels share "
        "two corners, at which the second hop turns.",
    ),
    Question(
        "A soft-max that names no axis may run over the batch. With a single image, what are its "
        "weights?",
        ("all equal to 1", "all equal to 1/n", "as they should be"),
        0,
        "Over one image each weight is exp(s) / exp(s). Nothing is attended, everything is "
        "summed, and the result depends on who else is in the batch.",
    ),
    Question(
        "ANN pools keys and values to 110 anchors, and leaves the queries alone. Why not pool "
        "those as well?",
        (
            "it would save nothing",
            "every pixel needs an answer of its own",
            "a soft-max needs as many queries as keys",
        ),
        1,
        "The result has one row a query. With pooled queries it would have to be upsampled again, "
        "and the detail would be lost.",
    ),
    Question(
        "Why does channel attention (CAM) saturate on large maps?",
        (
            "the matrix grows with the number of pixels",
            "each product is a sum over all pixels, so its soft-max becomes one-hot",
            "channels have no positions",
        ),
        1,
        "The matrix stays $c\\times c$, but its entries grow with $n$; the soft-max sees larger "
        "differences and picks one channel.",
    ),
    Question(
        "With a soft-max in place, which trick keeps every pixel's weights exactly those of full "
        "attention?",
        (
            "gathering to descriptors",
            "pooling the keys",
            "none of the five, as it is used",
        ),
        2,
        "Each of them chooses another graph. Only fused attention (lesson 03) computes the same "
        "numbers, and it saves memory, not work.",
    ),
]
