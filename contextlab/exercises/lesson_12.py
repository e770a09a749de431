"""Exercises of lesson 12: prototypes of classes."""

import torch
from einops import einsum, rearrange
from torch import Tensor

from contextlab.exercises import Exercise, Question, Unsolved, Wrong, WrongAnswer, call, same
from contextlab.networks.cgrseg import cgrseg

TITLE = "Prototypes of classes"

# what is done to the map or its logits: does the prototype change, and why
MOVES = {
    "pixels shuffled": (
        False,
        "each pixel takes its own share along, and a sum does not mind the order.",
    ),
    "+5 on all logits of the class": (
        False,
        "a soft-max over the pixels sees only differences between pixels, and these stay.",
    ),
    "+5 on one pixel's logits": (
        True,
        "this pixel's share grows in every class, and the shares of all others shrink.",
    ),
    "the map twice, side by side": (
        False,
        "every share is halved and stands there twice, so that the mean stays.",
    ),
    "logits times 3": (
        True,
        "the soft-max becomes steeper, so that the likeliest pixels have more of the mean.",
    ),
}


def _check_prototype_moves(moves):
    if not isinstance(moves, dict) or set(moves) != set(MOVES):
        raise Wrong(f"expected a dict with the keys {', '.join(MOVES)}.")
    if any(said is Ellipsis for said in moves.values()):
        raise Unsolved
    for name, (want, why) in MOVES.items():
        if not isinstance(moves[name], bool):
            raise Wrong(f'"{name}" should be True or False, not {moves[name]!r}.')
        if moves[name] != want:
            raise Wrong(f'look at "{name}" again: {why}')


def _shares(logits: Tensor, dim: int) -> Tensor:
    return rearrange(logits, "b k h w -> b k (h w)").softmax(dim)


def _means(x: Tensor, shares: Tensor) -> Tensor:
    return einsum(shares, rearrange(x, "b c h w -> b c (h w)"), "b k n, b c n -> b c k")


def _check_gather_classes(gather_classes):
    for b, c, k, h, w in ((2, 3, 4, 5, 6), (1, 4, 2, 3, 8), (2, 2, 5, 1, 7)):
        x, logits = torch.randn(b, c, h, w) + 1, 2 * torch.randn(b, k, h, w)
        got, want = call(gather_classes, x, logits), _means(x, _shares(logits, -1))
        over_classes = _shares(logits, 1)
        like = isinstance(got, Tensor) and got.shape == want.shape
        for mistake, message in (
            (
                _means(x, over_classes),
                "these are sums, which grow with the map: of a map of ones they give "
                f"{h * w} / {k} on average and not 1. The shares of one class must sum to 1 over "
                "the pixels.",
            ),
            (
                _means(x, over_classes / (h * w)),
                "divided by the number of pixels, a class that fills a tenth of the map gets a "
                "tenth of its mean. The shares of one class must sum to 1 over the pixels.",
            ),
            (
                _means(x, over_classes / over_classes.sum(-1, keepdim=True)),
                "this is a mean, too, and works (EM attention gathers so, lesson 06). But in the "
                "equation the shares of a class are one soft-max over the pixels.",
            ),
        ):
            if like and torch.allclose(got, mistake, atol=1e-5):
                raise Wrong(message)
        same(got, want, what=f"the prototypes of a map of {h} x {w}",
             why="Each class needs shares of the pixels that sum to 1.")  # fmt: skip


def _check_descend(descend):
    calls = []

    def level(scale):
        def made(x, context, coarser):
            calls.append(scale)
            before = torch.zeros_like(x) if coarser is None else coarser
            return (scale + 2) * x + context + 10 * before

        return made

    maps = [torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0])]
    contexts = [torch.tensor([0.1]), torch.tensor([0.2]), torch.tensor([0.3])]
    levels = [level(i) for i in range(3)]
    got = call(descend, levels, maps, contexts)
    if isinstance(got, (list, tuple)):
        raise Wrong("the head takes one map, the finest: return the last y, not all of them.")
    if calls == [0, 1, 2]:
        raise Wrong(
            "the finest level ran first. What is coarse knows more of the image and has to come "
            "first, so that the finer levels can use it."
        )
    if sorted(calls) != [0, 1, 2]:
        raise Wrong(f"each level should run once; they ran in the order {calls}.")
    alone = 2 * maps[0] + contexts[0]
    if isinstance(got, Tensor) and torch.allclose(got, alone):
        raise Wrong("every level got None for the coarser one, so the finest stands alone.")
    want = 2 * 1 + 0.1 + 10 * (3 * 2 + 0.2 + 10 * (4 * 3 + 0.3))
    same(got, torch.tensor([want]), what="the finest map",
         why="The coarsest level gets None, each other one what the coarser has made.")  # fmt: skip


def _check_head_macs(head_macs):
    names = ("classifiers", "gather", "gate")
    for n, c, k in ((4096, 128, 150), (512, 64, 13), (7, 3, 2)):
        got = call(head_macs, n, c, k)
        if not isinstance(got, dict) or set(got) != set(names):
            raise Wrong(f"expected a dict with the keys {', '.join(names)}.")
        if any(value is Ellipsis for value in got.values()):
            raise Unsolved
        where = f"with n = {n}, c = {c}, k = {k}"
        if got["classifiers"] == n * c * k:
            raise Wrong(f'"classifiers" {where}: this is one classification. There are two.')
        if got["gather"] == n * k:
            raise Wrong(f'"gather" {where}: each share meets a whole vector of c channels.')
        if got["gate"] == 2 * n * c * c + 2 * c * k:
            raise Wrong(f'"gate" {where}: the two layers see one vector an image, not one a pixel.')
        if got["gate"] in (c * c + 2 * c * k, 2 * c * c + c * k, 2 * c * c):
            raise Wrong(
                f'"gate" {where}: something is missing. k questions of c products, k weighted '
                "vectors of c channels, and two layers of c x c."
            )
        for name, want in (
            ("classifiers", 2 * n * c * k),
            ("gather", n * c * k),
            ("gate", 2 * c * k + 2 * c * c),
        ):
            same(got[name], want, what=f'"{name}" {where}', why="Count products of two numbers.")


def _check_my_network(my_network):
    if not isinstance(my_network, dict):
        raise Wrong('expected a dict of options, such as {"strip": 3}.')
    if not my_network:
        raise Unsolved
    if len(my_network) > 1:
        raise Wrong(
            f"{len(my_network)} things are changed: {', '.join(map(str, my_network))}. Whatever "
            "comes out, you will not know which of them did it. Change one."
        )
    try:
        made = cgrseg(13, "small", **my_network)
        with torch.no_grad():
            made.eval()(torch.rand(2, 3, 64, 128))
    except (TypeError, ValueError, AttributeError) as error:
        raise Wrong(f"no network can be built so: {error}.") from None
    usual = cgrseg(13, "small")
    if str(made) == str(usual) and made.supervise == usual.supervise:
        raise Wrong("this is the network as it was; choose a value that differs.")


PROTOTYPE_MOVES = """
prototype_moves = {
    "pixels shuffled": False,
    "+5 on all logits of the class": False,
    "+5 on one pixel's logits": True,
    "the map twice, side by side": False,
    "logits times 3": True,
}
"""

FAULTY = """
def gather_classes(x, logits):
    # b c h w and b k h w -> b c k. Trained on small maps, it fails on large ones
    shares = torch.softmax(rearrange(logits, "b k h w -> b k (h w)"), 1)
    pixels = rearrange(x, "b c h w -> b c (h w)")
    return einsum(shares, pixels, "b k n, b c n -> b c k")
"""

MENDED = FAULTY.replace("(h w)\"), 1)", "(h w)\"), -1)").replace(
    "    # b c h w and b k h w -> b c k. Trained on small maps, it fails on large ones\n", ""
)  # fmt: skip

DESCEND = """
def descend(levels, maps, contexts):
    y = None
    for level, x, P in reversed(list(zip(levels, maps, contexts))):
        y = level(x, P, y)
    return y
"""

HEAD_MACS = """
def head_macs(n, c, k):
    return {
        "classifiers": 2 * n * c * k,
        "gather": n * c * k,
        "gate": k * c + k * c + 2 * c * c,
    }
"""

MY_NETWORK = """
my_network = {"pyramid": "none"}
"""


def _moved(name: str) -> WrongAnswer:
    want = MOVES[name][0]
    source = PROTOTYPE_MOVES.replace(f'"{name}": {want}', f'"{name}": {not want}')
    return WrongAnswer(source, name.replace("+", r"\+"))


EXERCISES = [
    Exercise(
        name="prototype_moves",
        lesson="12",
        title="what moves a prototype? Predict",
        prompt="""
        Something is done to the map $x$ or to its logits $l$. Does the prototype $p_k$ of a class
        change? Answer each with `True` (it does) or `False`, before any code tells you:

        - the pixels are shuffled, each together with its logits;
        - 5 is added to the logits of class $k$ at every pixel;
        - 5 is added to the logits of one pixel, in every class;
        - the map and its logits are laid twice side by side;
        - all logits are multiplied by 3.
        """,
        stub="""
        prototype_moves = {
            "pixels shuffled": ...,
            "+5 on all logits of the class": ...,
            "+5 on one pixel's logits": ...,
            "the map twice, side by side": ...,
            "logits times 3": ...,
        }
        """,
        solution=PROTOTYPE_MOVES,
        check=_check_prototype_moves,
        hint="""
        The shares $m_{ki}$ are exponentials divided by their sum over all pixels $i$. Which of the
        five leave that quotient as it is, for every pixel?
        """,
        wrong=(
            *(_moved(name) for name in MOVES),
            WrongAnswer('prototype_moves = {"pixels shuffled": False}', "with the keys"),
            WrongAnswer(PROTOTYPE_MOVES.replace("True", "1"), "True or False"),
        ),
    ),
    Exercise(
        name="gather_classes",
        lesson="12",
        title="find the fault, and mend it",
        prompt="""
        This block should return the prototypes of all classes, `b c k`. A network with it
        was trained on maps of $16\\times32$ and works there; on maps of twice the size its answers
        are nonsense. Feed it with `x` all ones to see why, and mend it.
        """,
        stub=FAULTY,
        solution=MENDED,
        check=_check_gather_classes,
        hint="""
        A mean of ones is 1, however large the map. Over which axis do the shares of this block sum
        to 1, and over which should they?
        """,
        wrong=(
            WrongAnswer(FAULTY.replace(", 1)", ", dim=1)"), "sums, which grow with the map"),
            WrongAnswer(
                FAULTY.replace(
                    "    pixels =", "    shares = shares / x[0, 0].numel()\n    pixels ="
                ),
                "a tenth of its mean",
            ),
            WrongAnswer(
                FAULTY.replace(
                    "    pixels =",
                    "    shares = shares / shares.sum(-1, keepdim=True)\n    pixels =",
                ),
                "EM attention gathers so",
            ),
            WrongAnswer(FAULTY.replace('(h w)"), 1)', '(h w)"), 0)'), "sum to 1"),
        ),
    ),
    Exercise(
        name="descend",
        lesson="12",
        title="from coarse to fine",
        prompt="""
        `levels`, `maps` and `contexts` are lists with one entry for each scale, finest first.
        `level(x, P, y)` makes the reconstructed map of its scale from the backbone's map `x`, the
        context `P`, and what the next coarser level has made, `None` for the coarsest. Return
        the map that enters the head.
        """,
        stub="""
        def descend(levels, maps, contexts):
            # lists, finest first -> the finest reconstructed map
            return ...
        """,
        solution=DESCEND,
        check=_check_descend,
        hint="""
        `reversed(list(zip(levels, maps, contexts)))` goes from the coarsest to the finest. Each
        call needs what the call before it returned.
        """,
        wrong=(
            WrongAnswer(
                DESCEND.replace(
                    "reversed(list(zip(levels, maps, contexts)))", "zip(levels, maps, contexts)"
                ),
                "finest level ran first",
            ),
            WrongAnswer(DESCEND.replace("level(x, P, y)", "level(x, P, None)"), "stands alone"),
            WrongAnswer(
                "def descend(levels, maps, contexts):\n"
                "    made = [None]\n"
                "    for level, x, P in reversed(list(zip(levels, maps, contexts))):\n"
                "        made.append(level(x, P, made[-1]))\n"
                "    return made",
                "not all of them",
            ),
            WrongAnswer(
                "def descend(levels, maps, contexts):\n"
                "    return levels[0](maps[0], contexts[0], maps[1])",
                "each level should run once",
            ),
        ),
    ),
    Exercise(
        name="head_macs",
        lesson="12",
        title="what the head costs",
        prompt="""
        Count the multiply-accumulates of the head on a map of `n` pixels and `c` channels with `k`
        classes: of both classifications together, of the gather, and of all that follows it up to
        the gate ($k$ questions, the weighted mean $v$, two layers). Leave out $\\varphi$, the norms
        and the product with the gate.
        """,
        stub="""
        def head_macs(n, c, k):
            return {"classifiers": ..., "gather": ..., "gate": ...}
        """,
        solution=HEAD_MACS,
        check=_check_head_macs,
        hint="""
        A $1\\times1$ convolution from $c$ to $k$ channels takes $c\\,k$ products at each pixel. The
        gather multiplies a matrix of $k\\times n$ with one of $n\\times c$. What follows it happens
        once an image.
        """,
        wrong=(
            WrongAnswer(HEAD_MACS.replace("2 * n * c * k", "n * c * k"), "There are two"),
            WrongAnswer(HEAD_MACS.replace(": n * c * k", ": n * k"), "a whole vector"),
            WrongAnswer(HEAD_MACS.replace("+ 2 * c * c", "+ 2 * n * c * c"), "not one a pixel"),
            WrongAnswer(HEAD_MACS.replace("k * c + k * c", "k * c"), "something is missing"),
            WrongAnswer("def head_macs(n, c, k):\n    return 3 * n * c * k", "with the keys"),
        ),
    ),
    Exercise(
        name="my_network",
        lesson="12",
        title="one change of your own (open)",
        prompt="""
        Change **one** thing of the small CGRSeg, say which demand it will cost or gain and why,
        and set `train_mine = True` in the cell below. A few that lead somewhere:
        `{"pyramid": "none"}` (no context), `{"pyramid": "shuffled"}` (that of another image),
        `{"mixer_options": {"gather": "multiply"}}` (lesson 11), `{"strip": None}`,
        `{"supervise": True}` (a loss on the coarse logits), `{"mixer": "self_attention"}`.
        """,
        stub="""
        my_network = {}
        """,
        solution=MY_NETWORK,
        check=_check_my_network,
        hint="""
        The table of demands above tells what the whole network solves. Which part could have
        brought the far cue of that demand to the pixel?
        """,
        wrong=(
            WrongAnswer('my_network = {"pyramid": "none", "strip": 3}', "Change one"),
            WrongAnswer('my_network = {"pyramid": "some"}', "can be built"),
            WrongAnswer('my_network = {"rows": 3}', "can be built"),
            WrongAnswer('my_network = {"blocks": 2}', "as it was"),
            WrongAnswer('my_network = "shuffled"', "a dict of options"),
        ),
    ),
]

QUIZ = [
    Question(
        "A 1 x 1 classifier scores a pixel by w_k · x_i. What is w_k, seen as a prototype?",
        (
            "one for the whole data set, the same in every image",
            "the mean of the class in this image",
            "a mean over the pixels of the batch",
        ),
        0,
        "w_k is learned once and then fixed. A dynamic prototype is computed from each image anew.",
    ),
    Question(
        "Two pixels of one image carry exactly the same features. What does the gate of the "
        "prototypes do to them?",
        (
            "it can part them, since they belong to different regions",
            "the same to both: one gate multiplies the whole map",
            "it depends on their distance",
        ),
        1,
        "The gate has one number a channel. It may differ between two images, not between two "
        "pixels of one.",
    ),
    Question(
        "What do OCR and the dynamic prototypes share?",
        (
            "the gather: means of x over soft regions of classes",
            "the soft-max of each pixel over the classes",
            "the gate",
        ),
        0,
        "Over the same logits their nodes are equal. OCR lets every pixel ask them, the other "
        "makes one gate of all.",
    ),
    Question(
        "An image holds no train. What is the prototype of the class train in it?",
        (
            "the zero vector",
            "still a mean of pixels, of those whose logit of train is largest there",
            "that of the training images",
        ),
        1,
        "A soft-max over the pixels sums to 1 whether or not the class is there.",
    ),
    Question(
        "How does the pyramid's context enter the reconstruction?",
        ("it is added", "it is concatenated", "it gates the channels, and nothing else"),
        2,
        "y = BN(U z) ⊙ up(h(BN(V P))): a factor between 0 and 1 at each place and channel.",
    ),
    Question(
        "Five of eight networks are trained, and each part is judged by one difference. What "
        "cannot be told from them?",
        (
            "whether a part's gain depends on the other parts",
            "whether all parts together beat none",
            "how many parameters a part has",
        ),
        0,
        "Parts may do the same work twice, or only work together. That needs each part's gain "
        "with and without the others: all eight.",
    ),
]
