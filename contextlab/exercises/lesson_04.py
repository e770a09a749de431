"""Exercises of lesson 04: squeeze to one vector."""

import torch
from einops import einsum, rearrange, reduce
from torch import Tensor, nn

from contextlab.exercises import (
    Exercise,
    Question,
    Wrong,
    WrongAnswer,
    finite,
    largest_tensor,
    same,
)

TITLE = "Squeeze to one vector"


def _refuse(got, *mistakes: tuple[Tensor, str]) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake."""
    for mistake, message in mistakes:
        like = isinstance(got, Tensor) and got.shape == mistake.shape
        if like and torch.allclose(got, mistake, atol=1e-5, rtol=1e-4):
            raise Wrong(message)


def _check_excite(excite):
    why = "Follow s and e through the equation, one after the other."
    for b, c, h, w in ((2, 8, 5, 7), (1, 4, 6, 3), (3, 8, 1, 1)):
        squash, expand = nn.Linear(c, c // 2), nn.Linear(c // 2, c)
        for layer in (squash, expand):
            layer.requires_grad_(False)
            layer.weight.mul_(3)
        x = torch.randn(b, c, h, w) + 0.5
        got = excite(x, squash, expand)
        s = reduce(x, "b c h w -> b c", "mean")
        score = expand(torch.relu(squash(s)))
        gate = rearrange(torch.sigmoid(score), "b c -> b c 1 1")
        total = expand(torch.relu(squash(h * w * s)))
        if isinstance(got, Tensor) and got.shape in {score.shape, gate.shape} - {x.shape}:
            raise Wrong(
                f"this is {tuple(got.shape)}, one number a channel: the gates e. The last step is "
                "to multiply x by them, the same gate at every pixel."
            )
        if h * w > 1:
            _refuse(
                got,
                (
                    x * rearrange(torch.sigmoid(total), "b c -> b c 1 1"),
                    "s is the sum over the pixels. It grows with the image; divide by their "
                    "number, 1/N.",
                ),
            )
        _refuse(
            got,
            (
                x * rearrange(score.softmax(1), "b c -> b c 1 1"),
                "the gates of an image sum to 1: a soft-max lets the channels compete. A gate is "
                "a question to each channel alone, σ.",
            ),
            (
                x * rearrange(torch.sigmoid(expand(squash(s))), "b c -> b c 1 1"),
                "the ReLU between the two layers is missing: without it they are one linear map.",
            ),
            (
                x * rearrange(score, "b c -> b c 1 1"),
                "these factors can be negative or large. σ brings a score between 0 and 1.",
            ),
            (x + gate, "the gate was added. It opens and closes a channel: multiply."),
        )
        same(got, x * gate, what=f"the gated map {b} x {c} x {h} x {w}", why=why)


def _check_pixel_gate(pixel_gate):
    for b, c, h, w in ((2, 5, 9, 7), (1, 3, 4, 11), (2, 1, 1, 1)):
        window = nn.Conv2d(2, 1, 7, padding=3, bias=False).requires_grad_(False)
        window.weight.mul_(3)
        x = torch.randn(b, c, h, w)
        got = pixel_gate(x, window)
        most, mean = (reduce(x, "b c h w -> b 1 h w", by) for by in ("max", "mean"))
        score = window(torch.cat([most, mean], 1))
        if isinstance(got, Tensor) and got.shape == x.shape and c > 1:
            raise Wrong(
                f"this has the shape of the map, {tuple(x.shape)}. Return the gate alone, one "
                "number a pixel: b 1 h w."
            )
        if c > 1:
            _refuse(
                got,
                (
                    torch.sigmoid(window(torch.cat([mean, most], 1))),
                    "the mean comes first here. Trained windows expect the maximum in channel 0 "
                    "and the mean in channel 1; swapped, nothing complains and all is wrong.",
                ),
                (
                    torch.sigmoid(
                        window(torch.cat([reduce(x, "b c h w -> b 1 h w", "sum"), mean], 1))
                    ),
                    "the first channel is a sum. It should be the maximum over the channels.",
                ),
            )
        _refuse(
            got,
            (score, "this is the score of the window. A gate lies between 0 and 1: σ."),
        )
        same(
            got,
            torch.sigmoid(score),
            what=f"the gate of a {c} x {h} x {w} map",
            why="Both statistics run over the channels and leave one number a pixel.",
        )


def _check_attention_pool(attention_pool):
    x, scores = torch.randn(2, 3, 2, 5), 2 * torch.randn(2, 1, 2, 5)
    _refuse_attention(attention_pool(x, scores), x, scores)  # equal scores hide some mistakes
    x = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    flat = torch.zeros(1, 1, 2, 2)
    same(
        attention_pool(x, flat),
        torch.tensor([[4.0]]),
        what="the vector for equal scores",
        why="Equal scores give every pixel the weight 1/N: the plain mean.",
    )
    for b, c, h, w in ((2, 5, 3, 4), (1, 3, 1, 6), (2, 2, 1, 1)):
        x, scores = torch.randn(b, c, h, w), 2 * torch.randn(b, 1, h, w)
        got = attention_pool(x, scores)
        _refuse_attention(got, x, scores)
        alpha = scores.flatten(2).softmax(-1)
        want = einsum(alpha, x.flatten(2), "b o n, b c n -> b c")
        same(
            got,
            want,
            what=f"the vector of a {c} x {h} x {w} map",
            why="All h w weights of one image sum to 1; every channel uses the same ones.",
        )
    x, scores = torch.randn(1, 2, 3, 4), 300 * torch.rand(1, 1, 3, 4) + 100
    got = attention_pool(x, scores)
    finite(got, what="the vector")
    want = einsum(scores.flatten(2).softmax(-1), x.flatten(2), "b o n, b c n -> b c")
    same(got, want, what="the vector for large scores", why="The soft-max runs over all pixels.")


def _refuse_attention(got, x: Tensor, scores: Tensor) -> None:
    h, w = x.shape[2:]
    total = reduce(x, "b c h w -> b c", "sum")
    alpha = scores.flatten(2).softmax(-1).unflatten(-1, (h, w))
    pooled = reduce(alpha * x, "b c h w -> b c", "sum")
    if h * w == 1:
        return
    _refuse(
        got,
        (
            total,
            "every pixel has the weight 1: a soft-max over the channel axis, which has length 1 "
            "here. Whose weights should sum to 1?",
        ),
        (
            pooled / (h * w),
            "the weights sum to 1 already, and you have divided by N once more: take the sum.",
        ),
    )
    if h > 1 and w > 1:
        _refuse(
            got,
            (
                reduce(scores.softmax(-1) * x, "b c h w -> b c", "sum"),
                "the weights of each row sum to 1, so those of the image sum to h. Join h and w "
                "to one axis of pixels before the soft-max.",
            ),
        )
    gates = torch.sigmoid(scores)
    open_ = (
        "these weights are gates between 0 and 1, one a pixel by itself. Attention shares out one "
        "unit: the weights of an image sum to 1, a soft-max over the pixels."
    )
    for weights in (gates, gates / (h * w)):
        _refuse(got, (reduce(weights * x, "b c h w -> b c", "sum"), open_))
    plain = reduce(scores * x, "b c h w -> b c", "sum")
    if plain.abs().max() > 0:
        _refuse(got, (plain, "these weights are the scores themselves, not their soft-max."))


def _check_squeeze_bound(squeeze_bound):
    for share in (1 / 3, 0.0, 1.0, 0.6):
        got = squeeze_bound(share)
        mistakes = {
            round(share, 6): "where the signs differ the network still guesses, and a guess "
            "between two classes is right half of the time.",
            round(share + 0.5, 6): "the guess counts only in the images whose signs differ: their "
            "share is 1 - share.",
            round(0.5 * share, 6): "in the share of images whose signs agree the answer is "
            "known, not guessed.",
        }
        want = share + (1 - share) / 2
        number = got.item() if isinstance(got, Tensor) and got.numel() == 1 else got
        if isinstance(number, float) and abs(number - want) > 1e-6 and round(number, 6) in mistakes:
            raise Wrong(mistakes[round(number, 6)])
        same(
            got,
            want,
            what=f"the bound when {share:.0%} of the images have equal signs",
            rtol=1e-6,
            why="Two kinds of images: add up share times accuracy of each.",
        )


def _check_hadamard(hadamard):
    pairs = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # orange, blue: red and blue channel
    red = pairs[:, :1]
    _refuse_hadamard(hadamard(red, pairs[:, 1:]), red, pairs[:, 1:])
    same(
        hadamard(red, pairs[:, 1:]),
        torch.zeros(1, 1),
        what="red times blue on the orange and the blue pixel",
        why="No pixel has both: the mean of the products is 0.",
    )
    for b, c, h, w in ((2, 5, 3, 4), (1, 3, 1, 1), (3, 4, 6, 2)):
        one, two = torch.randn(b, c, h, w) + 1, torch.randn(b, c, h, w) + 1
        got = hadamard(one, two)
        _refuse_hadamard(got, one, two)
        same(
            got,
            reduce(one * two, "b c h w -> b c", "mean"),
            what=f"the vector of {c} x {h} x {w} maps",
            why="Channel k of u meets channel k of v, at the same pixel.",
        )
    one, two = torch.randn(1, 48, 3, 3), torch.randn(1, 48, 3, 3)
    if (made := largest_tensor(hadamard, one, two)) > one.numel():
        raise Wrong(
            f"right, but a tensor of {made} numbers was made for 48 channels: all pairs, "
            "of which you keep the diagonal. Multiply only the pairs that you need."
        )


def _refuse_hadamard(got, b: Tensor, c: Tensor) -> None:
    n = b.shape[2] * b.shape[3]
    if n == 1:
        return
    mean_b, mean_c = (reduce(t, "b c h w -> b c", "mean") for t in (b, c))
    total = reduce(b * c, "b c h w -> b c", "sum")
    if total.abs().max() > 0:
        _refuse(
            got,
            (
                total,
                "this is the sum of equation 4. It grows with the map: tile an image twice and "
                "every number doubles. The exercise asks for the mean.",
            ),
        )
    _refuse(
        got,
        (
            mean_b * mean_c,
            "this is the product of two means. What happens at one pixel is lost before you "
            "multiply; multiply first, then average.",
        ),
        (
            einsum(b, c, "b p h w, b q h w -> b p q") / n,
            "this is the whole matrix of bilinear pooling. Keep its diagonal: b c numbers.",
        ),
    )


EXCITE = """
def excite(x, squash, expand):
    s = reduce(x, "b c h w -> b c", "mean")
    e = torch.sigmoid(expand(torch.relu(squash(s))))
    return x * rearrange(e, "b c -> b c 1 1")
"""

PIXEL_GATE = """
def pixel_gate(x, window):
    most = reduce(x, "b c h w -> b 1 h w", "max")
    mean = reduce(x, "b c h w -> b 1 h w", "mean")
    return torch.sigmoid(window(torch.cat([most, mean], 1)))
"""

ATTENTION_POOL = """
def attention_pool(x, scores):
    pixels = rearrange(x, "b c h w -> b c (h w)")
    alpha = torch.softmax(rearrange(scores, "b 1 h w -> b (h w)"), -1)
    return einsum(alpha, pixels, "b n, b c n -> b c")
"""

SQUEEZE_BOUND = """
def squeeze_bound(share):
    known, guessed = 1.0, 0.5
    return share * known + (1 - share) * guessed
"""

HADAMARD = """
def hadamard(u, v):
    return reduce(u * v, "b c h w -> b c", "mean")
"""

EXERCISES = [
    Exercise(
        name="excite",
        lesson="04",
        title="squeeze and excite",
        prompt="""
        Write the three equations: $s = \\frac1N\\sum_i x_i$, $e = \\sigma(W_2\\,\\mathrm{ReLU}(W_1
        s))$, $y_i = e \\odot x_i$. `x` is `b c h w`; `squash` ($W_1$) and `expand` ($W_2$) are
        linear layers on `b c`. Return $y$, `b c h w`.
        """,
        stub="""
        def excite(x, squash, expand):
            # squeeze: b c h w -> b c; excite: a gate a channel; scale every pixel
            return ...
        """,
        solution=EXCITE,
        check=_check_excite,
        hint="""
        `reduce(x, "b c h w -> b c", "mean")` squeezes. The gates are `b c`; a `rearrange` to
        `b c 1 1` lets them meet every pixel.
        """,
        wrong=(
            WrongAnswer(EXCITE.replace('"mean"', '"sum"'), "It grows with the image"),
            WrongAnswer(
                EXCITE.replace(
                    "torch.sigmoid(expand(torch.relu(squash(s))))",
                    "torch.softmax(expand(torch.relu(squash(s))), 1)",
                ),
                "lets the channels compete",
            ),
            WrongAnswer(EXCITE.replace("torch.relu(squash(s))", "squash(s)"), "one linear map"),
            WrongAnswer(EXCITE.replace("x * ", "x + "), "The gate was added|the gate was added"),
            WrongAnswer(EXCITE.replace('x * rearrange(e, "b c -> b c 1 1")', "e"), "the gates e"),
            WrongAnswer(
                EXCITE.replace(
                    "torch.sigmoid(expand(torch.relu(squash(s))))", "expand(torch.relu(squash(s)))"
                ),
                "brings a score between 0 and 1",
            ),
            WrongAnswer(
                EXCITE.replace('rearrange(e, "b c -> b c 1 1")', "e"), "stopped with|shape"
            ),
        ),
    ),
    Exercise(
        name="pixel_gate",
        lesson="04",
        title="a gate for every pixel",
        prompt="""
        Write the second half of CBAM up to the gate: at every pixel the **maximum** over the
        channels, then the **mean** over the channels; these two maps, in this order, go through
        `window` (a $7\\times7$ convolution from 2 channels to 1) and a sigmoid. The norm comes
        later, inside the `window` that the block hands in. Return the gate, `b 1 h w`.
        """,
        stub="""
        def pixel_gate(x, window):
            # two statistics of the channels, one number a pixel each
            return ...
        """,
        solution=PIXEL_GATE,
        check=_check_pixel_gate,
        hint="""
        `reduce(x, "b c h w -> b 1 h w", "max")` is one of the two. `torch.cat` along the channel
        axis puts them together.
        """,
        wrong=(
            WrongAnswer(PIXEL_GATE.replace("[most, mean]", "[mean, most]"), "expect the maximum"),
            WrongAnswer(
                PIXEL_GATE.replace(
                    "torch.sigmoid(window(torch.cat([most, mean], 1)))",
                    "window(torch.cat([most, mean], 1))",
                ),
                "A gate lies between 0 and 1",
            ),
            WrongAnswer(PIXEL_GATE.replace('"max"', '"sum"'), "maximum over the channels"),
            WrongAnswer(PIXEL_GATE.replace("return ", "return x * "), "Return the gate alone"),
            WrongAnswer(PIXEL_GATE.replace("b 1 h w", "b c 1 1"), "stopped with|has shape"),
            WrongAnswer(PIXEL_GATE.replace("mean], 1", "mean], 2"), "stopped with"),
        ),
    ),
    Exercise(
        name="attention_pool",
        lesson="04",
        title="attention pooling",
        prompt="""
        Write $s = \\sum_j \\alpha_j x_j$ with $\\alpha = \\mathrm{softmax}_j(\\text{score}_j)$.
        `x` is `b c h w`, `scores` is `b 1 h w`, one score a pixel. Return `b c`.
        """,
        stub="""
        def attention_pool(x, scores):
            # one weight a pixel, the same for all channels
            return ...
        """,
        solution=ATTENTION_POOL,
        check=_check_attention_pool,
        hint="""
        Give the pixels one axis first: `rearrange(scores, "b 1 h w -> b (h w)")`. Then the
        soft-max has one axis to run over, and an `einsum` adds up.
        """,
        wrong=(
            WrongAnswer(
                "def attention_pool(x, scores):\n"
                "    weights = scores.exp()\n"
                "    return (weights * x).sum((2, 3)) / weights.sum((2, 3))",
                "exp overflows",
            ),
            WrongAnswer(
                "def attention_pool(x, scores):\n"
                "    return (torch.sigmoid(scores) * x).sum((2, 3))",
                "these weights are gates",
            ),
            WrongAnswer(
                "def attention_pool(x, scores):\n"
                '    return reduce(torch.softmax(scores, 1) * x, "b c h w -> b c", "sum")',
                "Whose weights should sum to 1",
            ),
            WrongAnswer(
                "def attention_pool(x, scores):\n"
                '    return reduce(torch.softmax(scores, -1) * x, "b c h w -> b c", "sum")',
                "Join h and w",
            ),
            WrongAnswer(
                ATTENTION_POOL.replace(
                    '"b n, b c n -> b c")', '"b n, b c n -> b c") / pixels.shape[-1]'
                ),
                "divided by N once more",
            ),
            WrongAnswer(
                "def attention_pool(x, scores):\n"
                '    return reduce(scores * x, "b c h w -> b c", "sum")',
                "not their soft-max|values are off",
            ),
            WrongAnswer(
                ATTENTION_POOL.replace('"b 1 h w -> b (h w)"), -1', '"b 1 h w -> b (h w)"), 0'),
                "values are off|every pixel has the weight 1",
            ),
        ),
    ),
    Exercise(
        name="squeeze_bound",
        lesson="04",
        title="what one vector can score",
        prompt="""
        A vector tells which symbols the two signs of an image carry, but not which sign is whose.
        In a `share` of the images both signs carry the same symbol. In the others a network has
        to guess between two classes. Which accuracy can it expect on the zones' pixels?
        """,
        stub="""
        def squeeze_bound(share):
            return ...
        """,
        solution=SQUEEZE_BOUND,
        check=_check_squeeze_bound,
        hint="""
        Where the symbols agree, it does not matter which sign is whose: all right. Where they
        differ, half right.
        """,
        wrong=(
            WrongAnswer("def squeeze_bound(share):\n    return share", "still guesses"),
            WrongAnswer("def squeeze_bound(share):\n    return share + 0.5", "counts only in"),
            WrongAnswer("def squeeze_bound(share):\n    return 0.5 * share", "known, not guessed"),
            WrongAnswer("def squeeze_bound(share):\n    return 2 / 3", "the bound when 0%"),
        ),
    ),
    Exercise(
        name="hadamard",
        lesson="04",
        title="from a matrix to its diagonal",
        prompt="""
        Bilinear pooling makes $G = \\frac1N\\sum_i u_i v_i^\\top$, a $c\\times c$ matrix. Write the
        **diagonal** of it, $g = \\frac1N\\sum_i u_i\\odot v_i$, without making the matrix. `u` and
        `v` are `b c h w`, the result is `b c`. The same image in another size must give the same
        vector.
        """,
        stub="""
        def hadamard(u, v):
            # two maps of one shape -> b c
            return ...
        """,
        solution=HADAMARD,
        check=_check_hadamard,
        hint="""
        The entry $(k, k)$ of the matrix is the mean over the pixels of $u_{ik}\\,v_{ik}$. In which
        order do the product and the mean come?
        """,
        wrong=(
            WrongAnswer(HADAMARD.replace('"mean"', '"sum"'), "It grows with the map"),
            WrongAnswer(
                "def hadamard(u, v):\n"
                '    means = [reduce(t, "b c h w -> b c", "mean") for t in (u, v)]\n'
                "    return means[0] * means[1]",
                "multiply first, then average",
            ),
            WrongAnswer(
                "def hadamard(u, v):\n"
                '    matrix = einsum(u, v, "b p h w, b q h w -> b p q")\n'
                "    return matrix / (u.shape[2] * u.shape[3])",
                "Keep its diagonal",
            ),
            WrongAnswer(
                "def hadamard(u, v):\n"
                '    matrix = einsum(u, v, "b p h w, b q h w -> b p q")\n'
                "    diagonal = torch.diagonal(matrix, dim1=1, dim2=2)\n"
                "    return diagonal / (u.shape[2] * u.shape[3])",
                "all pairs",
            ),
            WrongAnswer(HADAMARD.replace("u * v", "u + v"), "values are off|mean of the products"),
        ),
    ),
]

QUIZ = [
    Question(
        "Why is the image squeezed by a mean, and not by a sum?",
        (
            "a sum costs more",
            "a sum grows with the number of pixels, so another image size gives other numbers",
            "a mean keeps the positions",
        ),
        1,
        "The network meets other sizes than those it was trained on. Both lose the positions.",
    ),
    Question(
        "A vector lists the symbols of the signs, and every pixel is told the same. Which demand "
        "does that not settle?",
        (
            "G: noon or dusk",
            "L: which long vehicle, when there is one in the image",
            "A: which of two different signs stands in my column",
        ),
        2,
        "The vector is the same for both zones, their paint is the same, so they get the same "
        "answer. Only where the two signs agree is that right.",
    ),
    Question(
        "A channel is 0 at a pixel. What can the gate of SE do for this pixel in this channel?",
        ("nothing: 0 times a gate is 0", "raise it up to 1", "set it to the image's mean"),
        0,
        "A gate turns down what is there. An added vector also reaches a pixel that was silent.",
    ),
    Question(
        "How does GCNet differ from a non-local block?",
        (
            "its weights need not sum to 1",
            "all pixels share one row of weights",
            "it looks at channels in place of pixels",
        ),
        1,
        "One score a pixel, whoever asks. So n weights in place of n times n.",
    ),
    Question(
        "Two skies: orange and blue pixels, or pink and green ones, with the same mean colour. "
        "What tells them apart after a linear map of the pixels?",
        (
            "the average of the map",
            "the average of a product of two such maps",
            "neither",
        ),
        1,
        "The mean of red times blue: low where one is high when the other is low.",
    ),
    Question(
        "And if a ReLU stands between the linear map and the average?",
        (
            "the average still knows nothing",
            "the average knows as well: a bent function of the pixel is averaged",
            "only Hadamard pooling profits from it",
        ),
        1,
        "The mean of a non-linear function is not a first-order statistic of the pixels. What "
        "stands before the pool decides what the pool can know.",
    ),
]
