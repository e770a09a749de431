"""Exercises of lesson 03: everyone talks to everyone."""

import inspect
import math

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from contextlab.exercises import (
    Exercise,
    Question,
    Wrong,
    WrongAnswer,
    call,
    finite,
    largest_tensor,
    same,
)
from contextlab.modules import NonLocal

TITLE = "Everyone talks to everyone"


def _refuse(got, *mistakes: tuple[Tensor, str]) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake."""
    for mistake, message in mistakes:
        like = isinstance(got, Tensor) and got.shape == mistake.shape
        if like and torch.allclose(got, mistake, atol=1e-5, rtol=1e-4):
            raise Wrong(message)


def _check_affinity(affinity):
    why = "Compare with the formula, index by index."
    # scores (log 8, 0) and (log 2, 0)
    theta = torch.tensor([[[math.log(8), 0.0], [math.log(2), 0.0]]])
    phi = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    _refuse_affinity(affinity(theta, phi), theta, phi, 1.0)
    want = torch.tensor([[[8 / 9, 1 / 9], [2 / 3, 1 / 3]]])
    same(affinity(theta, phi), want, what="the affinity of two pixels", why=why)
    for b, n, d, scale in ((2, 5, 3, 1.0), (2, 4, 4, 0.5), (1, 1, 2, 1.0)):
        theta, phi = torch.randn(b, n, d), torch.randn(b, n, d)
        got = affinity(theta, phi, scale)
        _refuse_affinity(got, theta, phi, scale)
        scores = scale * einsum(theta, phi, "b i d, b j d -> b i j")
        same(got, scores.softmax(-1), what=f"the affinity of {n} pixels", why=why)
    theta, phi = 20 * torch.randn(1, 6, 8), 20 * torch.randn(1, 6, 8)
    got = affinity(theta, phi)
    finite(got, what="the affinity")
    same(got, (theta @ phi.mT).softmax(-1), what="the affinity for large scores", why=why)


def _refuse_affinity(got, theta: Tensor, phi: Tensor, scale: float) -> None:
    plain = einsum(theta, phi, "b i d, b j d -> b i j")
    scores = scale * plain
    if scores.shape[-1] == 1:  # one pixel: the soft-max is 1 whichever way
        return
    if scale != 1:
        _refuse(
            got,
            (
                plain.softmax(-1),
                "the scale is missing: multiply the scores by it before the soft-max.",
            ),
            (
                scale * plain.softmax(-1),
                "the scale comes too late: it belongs to the scores, inside the soft-max.",
            ),
        )
    _refuse(
        got,
        (
            scores.softmax(-2),
            "every column sums to 1. Pixel i shares out one unit of attention among the pixels j "
            "that answer, so every row sums to 1: the soft-max runs over j.",
        ),
        (
            scores.mT.softmax(-1),
            "entry (i, j) holds what belongs at (j, i). Pixel i asks, with theta; pixel j "
            "answers, with phi.",
        ),
        (
            scores,
            "these are the scores themselves. A weighted mean needs weights: positive, and "
            "summing to 1 over j.",
        ),
        (scores.exp(), "these are exp(scores), not yet divided by C_i, their sum over j."),
        (
            scores.flatten(1).softmax(-1).reshape(scores.shape),
            "all weights of an image together sum to 1. C_i is a sum over j alone: every row sums "
            "to 1.",
        ),
    )


def _check_zero_start(zero_start):
    block = NonLocal(8, zero_init=False)
    before = {name: p.detach().clone() for name, p in block.named_parameters()}
    block = call(zero_start, block)
    if not isinstance(block, NonLocal):
        raise Wrong("zero_start should return the block that it was given.")
    x = torch.randn(2, 8, 5, 7)
    out = call(block, x)
    if not torch.allclose(out, x, atol=1e-6):
        raise Wrong(
            "the block still changes x. Follow y to the sum z = x + norm(out(y)): which number "
            "multiplies all of it, last of all?"
        )
    if not isinstance(getattr(block.norm, "weight", None), nn.Parameter):
        raise Wrong(
            "the norm is gone or has lost its weight. Keep the block as it is; one of its "
            "parameters becomes zero."
        )
    (out * torch.randn(out.shape)).sum().backward()
    weight = block.norm.weight
    if weight.detach().abs().max() > 0:
        raise Wrong(
            "z = x, but the norm divides by the spread of its input, and that is 0 now: it blows "
            "gradients up by 1/sqrt(eps), more than 300 times. Zero the last factor instead, the "
            "one after the division."
        )
    if not weight.requires_grad:
        raise Wrong("z = x, and it will stay so: norm.weight is frozen and cannot learn any more.")
    if weight.grad is None or weight.grad.abs().max() < 1e-9:
        raise Wrong(
            "z = x, and it will stay so: the gradient of norm.weight is 0 too. Of two zeros in a "
            "row neither can move, because each waits for the other. Zero one factor only."
        )
    changed = [n for n, p in block.named_parameters() if not torch.equal(p.detach(), before[n])]
    extra = [name for name in changed if name not in ("norm.weight", "norm.bias")]
    if extra:
        raise Wrong(f"{', '.join(extra)} changed as well; one factor is enough.")


def _heads(q, k, v, heads, *, split="k d", scale=None):
    q, k, v = (rearrange(t, f"b n ({split}) -> b k n d", k=heads) for t in (q, k, v))
    root = q.shape[-1] ** -0.5 if scale is None else scale
    a = torch.softmax(root * einsum(q, k, "b k i d, b k j d -> b k i j"), -1)
    return rearrange(einsum(a, v, "b k i j, b k j d -> b k i d"), f"b k n d -> b n ({split})")


def _check_multi_head(multi_head):
    for b, n, width, heads in ((2, 5, 8, 2), (1, 7, 12, 4), (1, 1, 6, 3), (2, 4, 6, 1)):
        q, k, v = (2 * torch.randn(b, n, width) for _ in range(3))
        want = _heads(q, k, v, heads)
        got = multi_head(q, k, v, heads)
        if n > 1 and heads > 1:
            alone = "this is one head over all channels: no head forms its own opinion."
            _refuse(
                got,
                (
                    _heads(q, k, v, heads, split="d k"),
                    "the channels are dealt out like cards, (d k). In (k d) a head owns "
                    "neighbouring channels: the first d are head 0.",
                ),
                (
                    _heads(q, k, v, heads, scale=width**-0.5),
                    "the scale is that of one wide head. A head's score sums over its own d "
                    "channels: divide by the root of that d.",
                ),
                (
                    _heads(q, k, v, heads, scale=1.0),
                    "the scale is missing: divide the scores by the root of the head's width.",
                ),
                (_heads(q, k, v, 1), alone),
                (_heads(q, k, v, 1, scale=(width // heads) ** -0.5), alone),
            )
        same(
            got, want, what=f"the output of {heads} heads", why="Write down the axes of each step."
        )


def _check_non_local_macs(non_local_macs):
    for c, d, n, keys in ((512, 256, 9216, 9216), (64, 32, 512, 512), (64, 32, 512, 128)):
        want = 4 * n * c * d + 2 * n * keys * d
        got = non_local_macs(c, d, n, keys)
        mistakes = {
            4 * n * c * d + n * keys * d: "one of the two products over all pairs is missing: the "
            "scores cost one, the weighted sum of g another.",
            3 * n * c * d + 2 * n * keys * d: "there are four 1x1 convolutions: theta, phi, g, and "
            "W_z on the way back.",
            2 * n * c * d + 2 * keys * c * d + 2 * n * keys * d: "phi and g are pooled after their "
            "convolution, so it runs on all n pixels.",
            4 * c * d + 2 * n * keys * d: "a 1x1 convolution costs c d at each of the n pixels.",
            2 * n * keys * d: "the 1x1 convolutions cost something too: n c d each.",
            2 * want: "these are FLOPs, twice the MACs: a multiplication and an addition are one.",
        }
        if keys != n:
            mistakes[4 * n * c * d + 2 * n * n * d] = (
                f"only {keys} pixels answer here, not {n}: the affinity is n x keys."
            )
        if got in mistakes and got != want:
            raise Wrong(mistakes[got])
        same(got, want, what="the number of MACs", rtol=1e-9, why="Count each product by itself.")


class _Whole(TorchDispatchMode):
    """Notes whether an operator, other than a view, reads a tensor of at least so many numbers."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers, self.seen = numbers, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if all(result.alias_info is None for result in func._schema.returns):
            given = (t for t in tree_leaves(args) if isinstance(t, Tensor))
            self.seen |= any(t.numel() >= self.numbers for t in given)
        return func(*args, **(kwargs or {}))


def _check_online_softmax(online_softmax):
    why = "Follow m, total and acc by hand, as on row 3 above."
    log8 = math.log(8)
    scores = torch.tensor([0.0, 0.0, log8, 0.0])
    values = torch.tensor([[0.0], [0.0], [-1.0], [1.0]])
    got = online_softmax(scores, values, 2)
    _refuse(
        got,
        (
            torch.tensor([(-1 + 1 / 8) / (2 + 1 + 1 / 8)]),
            "the maximum grows from 0 to log 8 in the second block, but what was summed before "
            "still counts as if it had not: multiply total and acc by exp(m_old - m_new).",
        ),
        (torch.tensor([-1 + 1 / 8]), "this is acc, not yet divided by total."),
    )
    same(got, torch.tensor([-7 / 11]), what="row 3", why=why)
    for n, d, block in ((7, 3, 3), (6, 2, 1), (5, 4, 8), (1, 2, 2)):
        scores, values = 3 * torch.randn(n), torch.randn(n, d)
        want = scores.softmax(0) @ values
        got = online_softmax(scores, values, block)
        same(got, want, what=f"the mean of {n} values in blocks of {block}", why=why)
    scores, values = 1000 + torch.randn(6), torch.randn(6, 2)
    got = online_softmax(scores, values, 2)
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong("scores around 1000 give nan: exp overflows. Subtract the running maximum.")
    same(got, scores.softmax(0) @ values, what="the mean for scores around 1000", why=why)
    same(
        online_softmax(-scores, values, 2),
        (-scores).softmax(0) @ values,
        what="the mean for scores around -1000",
        why="The first maximum must lose against any score: start from -inf.",
    )
    scores, values = torch.randn(64), torch.randn(64, 2)
    with _Whole(64) as whole:
        inspect.unwrap(online_softmax)(scores, values, 4)
    if whole.seen and largest_tensor(online_softmax, scores, values, 4) < 64:
        raise Wrong(
            "right, but all scores are looked at before the loop. That is a pass of its own: they "
            "would have to be kept, or made twice. Let the maximum grow block by block."
        )
    if (made := largest_tensor(online_softmax, scores, values, 4)) >= 64:
        raise Wrong(
            f"right, but a tensor of {made} numbers was made for blocks of 4. Touch only "
            "one block at a time; that is the whole point."
        )


AFFINITY = """
def affinity(theta, phi, scale=1.0):
    scores = einsum(theta, phi, "b i d, b j d -> b i j")
    return torch.softmax(scale * scores, -1)
"""

MULTI_HEAD = """
def multi_head(q, k, v, heads):
    q, k, v = (rearrange(t, "b n (k d) -> b k n d", k=heads) for t in (q, k, v))
    scores = einsum(q, k, "b k i d, b k j d -> b k i j") / math.sqrt(q.shape[-1])
    y = einsum(torch.softmax(scores, -1), v, "b k i j, b k j d -> b k i d")
    return rearrange(y, "b k n d -> b n (k d)")
"""

ONLINE_SOFTMAX = """
def online_softmax(scores, values, block):
    m, total, acc = torch.tensor(-math.inf), 0.0, torch.zeros(values.shape[1])
    for s, v in zip(scores.split(block), values.split(block)):
        m_new = torch.maximum(m, s.max())
        shrink = torch.exp(m - m_new)
        p = torch.exp(s - m_new)
        total = shrink * total + p.sum()
        acc = shrink * acc + einsum(p, v, "j, j d -> d")
        m = m_new
    return acc / total
"""

EXERCISES = [
    Exercise(
        name="affinity",
        lesson="03",
        title="the affinity",
        prompt="""
        Write the weights of all pairs at once: `theta` and `phi` are `b n d`, the result is
        `b i j`, with $a_{ij} = \\exp(s\\,\\theta_i\\cdot\\phi_j) \\,/\\, C_i$ and $s$ the
        `scale`. Pixel $i$ asks, pixel $j$ answers.
        """,
        stub="""
        def affinity(theta, phi, scale=1.0):
            # b n d and b n d -> b i j; which axis must sum to 1?
            return ...
        """,
        solution=AFFINITY,
        check=_check_affinity,
        hint="""
        One `einsum` gives all scores: name the pixels of `theta` `i` and those of `phi` `j`, so
        that the pattern keeps them apart. `torch.softmax` does `exp` and the division by $C_i$.
        $C_i$ is a sum over $j$.
        """,
        wrong=(
            WrongAnswer(AFFINITY.replace("scores, -1)", "scores, 1)"), "every column sums to 1"),
            WrongAnswer(
                AFFINITY.replace('"b i d, b j d', '"b j d, b i d'), r"what belongs at \(j, i\)"
            ),
            WrongAnswer(AFFINITY.replace("scale * scores", "scores"), "the scale is missing"),
            WrongAnswer(
                AFFINITY.replace("torch.softmax(scale * scores, -1)", "scale * scores"),
                "A weighted mean needs weights",
            ),
            WrongAnswer(
                AFFINITY.replace("torch.softmax(scale * scores, -1)", "torch.exp(scale * scores)"),
                "not yet divided by C_i",
            ),
            WrongAnswer(
                AFFINITY.replace(
                    "return torch.softmax(scale * scores, -1)",
                    "weights = torch.exp(scale * scores)\n"
                    "    return weights / weights.sum(-1, keepdim=True)",
                ),
                "exp overflows",
            ),
            WrongAnswer(
                AFFINITY.replace(
                    "torch.softmax(scale * scores, -1)",
                    "(scale * scores).flatten(1).softmax(-1).reshape(scores.shape)",
                ),
                "sum over j alone",
            ),
            WrongAnswer(
                AFFINITY.replace("torch.softmax(scale * scores, -1)", "scale * scores.softmax(-1)"),
                "the scale comes too late",
            ),
            WrongAnswer(
                "def affinity(theta, phi, scale=1.0):\n"
                "    return torch.softmax(scale * theta @ phi, -1)",
                "stopped with RuntimeError|values are off",
            ),
        ),
    ),
    Exercise(
        name="zero_start",
        lesson="03",
        title="start as nothing",
        prompt="""
        The block ends with `x + norm(out(y))`. Set one parameter tensor of `block` to zero so
        that the block returns $x$ exactly, and can still learn. Return the block.
        """,
        stub="""
        def zero_start(block):
            # block.theta, .phi, .g, .out are 1x1 convolutions, block.norm a batch norm
            return ...
        """,
        solution="""
        def zero_start(block):
            nn.init.zeros_(block.norm.weight)
            return block
        """,
        check=_check_zero_start,
        hint="""
        A batch norm subtracts the mean, divides by the spread, multiplies by `weight` and adds
        `bias` (0 at the start). `nn.init.zeros_` sets a parameter to zero.
        """,
        wrong=(
            WrongAnswer(
                "def zero_start(block):\n    nn.init.zeros_(block.out.bias)\n    return block",
                "the block still changes x",
            ),
            WrongAnswer(
                "def zero_start(block):\n    nn.init.zeros_(block.out.weight)\n    return block",
                "blows gradients up",
            ),
            WrongAnswer(
                "def zero_start(block):\n    nn.init.zeros_(block.g.weight)\n    return block",
                "blows gradients up",
            ),
            WrongAnswer(
                "def zero_start(block):\n"
                "    nn.init.zeros_(block.out.weight)\n"
                "    nn.init.zeros_(block.norm.weight)\n"
                "    return block",
                "neither can move",
            ),
            WrongAnswer(
                "def zero_start(block):\n"
                "    block.norm.weight.requires_grad_(False).zero_()\n"
                "    return block",
                "frozen and cannot learn",
            ),
            WrongAnswer(
                "def zero_start(block):\n"
                "    block.norm = nn.Identity()\n"
                "    nn.init.zeros_(block.out.weight)\n"
                "    nn.init.zeros_(block.out.bias)\n"
                "    return block",
                "Keep the block as it is",
            ),
            WrongAnswer(
                "def zero_start(block):\n    nn.init.zeros_(block.norm.weight)",
                "is the `return` line missing",
            ),
        ),
    ),
    Exercise(
        name="multi_head",
        lesson="03",
        title="several heads",
        prompt="""
        Give every head its own $d$ channels: `q`, `k`, `v` are `b n (k d)`, head 0 owns the first
        $d$ channels, head 1 the next, and so on. Each head makes its own soft-max, with scores
        divided by $\\sqrt d$. Return `b n (k d)`.
        """,
        stub="""
        def multi_head(q, k, v, heads):
            # split into heads, let each head attend, join again
            return ...
        """,
        solution=MULTI_HEAD,
        check=_check_multi_head,
        hint="""
        `rearrange(t, "b n (k d) -> b k n d", k=heads)` splits; then every pattern carries `k`
        along. The same pattern, turned round, joins the heads.
        """,
        wrong=(
            WrongAnswer(MULTI_HEAD.replace("(k d)", "(d k)"), "dealt out like cards"),
            WrongAnswer(
                MULTI_HEAD.replace("q.shape[-1]", "heads * q.shape[-1]"), "that of one wide head"
            ),
            WrongAnswer(
                MULTI_HEAD.replace(" / math.sqrt(q.shape[-1])", ""), "the scale is missing"
            ),
            WrongAnswer(
                "def multi_head(q, k, v, heads):\n"
                "    scores = q @ k.mT / math.sqrt(q.shape[-1])\n"
                "    return torch.softmax(scores, -1) @ v",
                "one head over all channels",
            ),
            WrongAnswer(MULTI_HEAD.replace("scores, -1", "scores, -2"), "values are off"),
            WrongAnswer(
                MULTI_HEAD.replace('rearrange(y, "b k n d -> b n (k d)")', "y"), "has shape"
            ),
        ),
    ),
    Exercise(
        name="non_local_macs",
        lesson="03",
        title="count the work",
        prompt="""
        How many multiply-accumulates (MACs) does a non-local block need for one image? The map
        has $n$ pixels and $c$ channels, $\\theta$, $\\phi$, $g$ are $d$ wide, and `keys` pixels
        answer (all $n$, or fewer when $\\phi$ and $g$ are pooled after their convolution).
        Biases, norm and soft-max are not counted.
        """,
        stub="""
        def non_local_macs(c, d, n, keys):
            # four 1x1 convolutions, and two products over all pairs
            return ...
        """,
        solution="""
        def non_local_macs(c, d, n, keys):
            convolutions = 4 * n * c * d
            pairs = n * keys
            return convolutions + pairs * d + pairs * d
        """,
        check=_check_non_local_macs,
        hint="""
        A 1x1 convolution from $c$ to $d$ channels costs $c\\,d$ at each pixel. One score
        $\\theta_i\\cdot\\phi_j$ costs $d$; adding $a_{ij}\\,g_j$ to the sum costs $d$ again.
        """,
        wrong=(
            WrongAnswer(
                "def non_local_macs(c, d, n, keys):\n    return 4 * n * c * d + n * keys * d",
                "one of the two products over all pairs is missing",
            ),
            WrongAnswer(
                "def non_local_macs(c, d, n, keys):\n    return 3 * n * c * d + 2 * n * keys * d",
                "there are four 1x1 convolutions",
            ),
            WrongAnswer(
                "def non_local_macs(c, d, n, keys):\n    return 4 * n * c * d + 2 * n * n * d",
                "only 128 pixels answer",
            ),
            WrongAnswer(
                "def non_local_macs(c, d, n, keys):\n"
                "    return 2 * (4 * n * c * d + 2 * n * keys * d)",
                "these are FLOPs",
            ),
            WrongAnswer(
                "def non_local_macs(c, d, n, keys):\n"
                "    return 2 * (n + keys) * c * d + 2 * n * keys * d",
                "it runs on all n pixels",
            ),
            WrongAnswer(
                "def non_local_macs(c, d, n, keys):\n    return 4 * c * d + 2 * n * keys * d",
                "at each of the n pixels",
            ),
            WrongAnswer(
                "def non_local_macs(c, d, n, keys):\n    return 4 * n * c * d + 2 * n * keys * c",
                "Count each product by itself",
            ),
        ),
    ),
    Exercise(
        name="online_softmax",
        lesson="03",
        title="the soft-max in one pass",
        prompt="""
        Write the loop for one pixel that asks: `scores` has $n$ numbers, `values` is `n d`, and
        `block` is how many pixels answer at a time. Return
        $\\sum_j \\mathrm{softmax}(s)_j\\, v_j$. Never make another tensor of
        all $n$ pixels.
        """,
        stub="""
        def online_softmax(scores, values, block):
            # for s, v in zip(scores.split(block), values.split(block)):
            #     bring m, total and acc up to date
            return ...
        """,
        solution=ONLINE_SOFTMAX,
        check=_check_online_softmax,
        hint="""
        Start with `m` $=-\\infty$, `total` $=0$, `acc` = zeros of length $d$. In each block:
        find the new maximum, shrink `total` and `acc` by $e^{m_{old}-m_{new}}$, then add the
        block's own part.
        """,
        wrong=(
            WrongAnswer(
                ONLINE_SOFTMAX.replace("shrink * ", ""),
                r"multiply total and acc by exp\(m_old - m_new\)",
            ),
            WrongAnswer(ONLINE_SOFTMAX.replace("shrink * acc", "acc"), "row 3|values are off"),
            WrongAnswer(ONLINE_SOFTMAX.replace("acc / total", "acc"), "not yet divided by total"),
            WrongAnswer(
                "def online_softmax(scores, values, block):\n"
                "    total, acc = 0.0, torch.zeros(values.shape[1])\n"
                "    for s, v in zip(scores.split(block), values.split(block)):\n"
                "        total, acc = total + s.exp().sum(), acc + s.exp() @ v\n"
                "    return acc / total",
                "exp overflows. Subtract the running maximum",
            ),
            WrongAnswer(
                ONLINE_SOFTMAX.replace("-math.inf", "0.0"),
                "start from -inf|holds nan",
            ),
            WrongAnswer(
                "def online_softmax(scores, values, block):\n"
                "    m, total, acc = scores.max(), 0.0, torch.zeros(values.shape[1])\n"
                "    for s, v in zip(scores.split(block), values.split(block)):\n"
                "        p = torch.exp(s - m)\n"
                "        total, acc = total + p.sum(), acc + p @ v\n"
                "    return acc / total",
                "looked at before the loop",
            ),
            WrongAnswer(
                "def online_softmax(scores, values, block):\n"
                "    return torch.softmax(scores, 0) @ values",
                "a tensor of 64 numbers was made",
            ),
        ),
    ),
]

QUIZ = [
    Question(
        "In $y_i = \\frac{1}{C_i}\\sum_j A(x_i, x_j)\\,g(x_j)$ with the soft-max, what sums to 1?",
        (
            "the weights of one pixel that asks, over all pixels that answer",
            "the weights of one pixel that answers, over all pixels that ask",
            "all weights together",
        ),
        0,
        "$C_i$ is a sum over $j$: every row of the matrix is one pixel's weighted mean.",
    ),
    Question(
        "Two pixels have equal features and stand at opposite ends of the image. How do the "
        "block's outputs at these two pixels differ?",
        (
            "not at all",
            "each is closer to its own neighbourhood",
            "it depends on the size of the map",
        ),
        0,
        "The block sees features, not places. Equal features ask the same question and get the "
        "same answer. This is why it cannot solve demand A.",
    ),
    Question(
        "What does fused attention save?",
        ("multiplications", "memory", "parameters", "all three"),
        1,
        "It forms every score, but a block at a time, and keeps none. The work stays quadratic.",
    ),
    Question(
        "Both sides of a map double. The affinity matrix of the plain block then takes",
        ("2 times the memory", "4 times the memory", "16 times the memory"),
        2,
        "$n$ grows 4 times, the matrix has $n^2$ entries.",
    ),
    Question(
        "Why divide the scores by $\\sqrt d$?",
        (
            "to make the rows sum to 1",
            "so that the soft-max does not start out nearly one-hot when d is large",
            "to save arithmetic",
        ),
        1,
        "A sum of $d$ products has a spread of about $\\sqrt d$; large scores saturate the "
        "soft-max, and a saturated soft-max hands back almost no gradient.",
    ),
    Question(
        "On the control, where no pixel poses a demand, what does the block gain?",
        (
            "about as much as elsewhere",
            "next to nothing",
            "it loses several points",
        ),
        1,
        "What can be read from a patch is already read. A gain there would mean that the block "
        "helps as added capacity, not as context.",
    ),
]
