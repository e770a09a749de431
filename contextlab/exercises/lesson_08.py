"""Exercises of lesson 08: squeeze reasoning."""

import copy

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from contextlab.exercises import Exercise, Question, Wrong, WrongAnswer, call, largest_tensor, same
from contextlab.modules import SqueezeReasoning

TITLE = "Squeeze reasoning"


def _refuse(got, *mistakes: tuple[Tensor, str]) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake."""
    for mistake, message in mistakes:
        like = isinstance(got, Tensor) and got.shape == mistake.shape
        if like and torch.allclose(got, mistake, atol=1e-5, rtol=1e-4):
            raise Wrong(message)


def _check_through_nodes(through_nodes):
    for b, k, m in ((2, 3, 4), (1, 2, 5), (2, 6, 1), (1, 1, 7)):
        g, mix = torch.randn(b, k * m), torch.randn(k, k)
        seen = []

        def reason(nodes, seen=seen, k=k, mix=mix):
            seen.append(nodes)
            return nodes if nodes.ndim != 3 or nodes.shape[1] != k else mix @ nodes

        got = through_nodes(g, k, reason)
        if not seen:
            raise Wrong("`reason` was never called: hand it the nodes, b k m.")
        nodes, want = seen[0], rearrange(g, "b (k m) -> b k m", k=k)
        if nodes.shape != want.shape:
            raise Wrong(
                f"`reason` got a tensor of shape {tuple(nodes.shape)}; with k = {k} and {k * m} "
                f"channels it expects {tuple(want.shape)}, the axes b k m."
            )
        if k > 1 and m > 1:
            strided = rearrange(g, "b (m k) -> b k m", k=k)
            _refuse(
                nodes,
                (
                    strided,
                    f"node 0 holds the channels 0, {k}, {2 * k}, ...: every {k}-th one. Neighbours "
                    "belong together: name the node first in the bracket, (k m).",
                ),
            )
            back = mix @ want
            _refuse(
                got,
                (
                    rearrange(back, "b k m -> b (m k)"),
                    "the nodes were cut as (k m) and joined as (m k): the answer of one channel "
                    "goes to another. Undo the cut with the same pattern.",
                ),
                (back, "these are the nodes, b k m. Join them to one vector again, b (k m)."),
            )
        same(
            got,
            rearrange(mix @ want, "b k m -> b (k m)"),
            what=f"the vector of {k} nodes with {m} states",
            why="Cut, reason, join: the last step undoes the first.",
        )


def _check_reason(reason):
    eye = torch.eye(2)
    by_hand = torch.tensor([[[0.0, 0.25], [0.5, 0.5]]])
    a = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    _one_step(reason, by_hand, a, 2 * eye, "the example by hand")
    for b, k, m in ((2, 3, 3), (1, 4, 2), (3, 2, 5), (1, 1, 1)):
        nodes, a, w = torch.randn(b, k, m), torch.randn(k, k), torch.randn(m, m)
        _one_step(reason, nodes, a, w, f"the answer of {k} nodes with {m} states")


def _one_step(reason, nodes: Tensor, a: Tensor, w: Tensor, what: str) -> None:
    got = reason(nodes, a, w)
    k, m = nodes.shape[1:]
    loss = torch.eye(k) - a
    bent = loss @ nodes @ w
    want = torch.relu(bent)
    mistakes = [
        (bent, "there are negative numbers in the answer: the ReLU is missing.", want),
        (
            torch.relu((torch.eye(k) + a) @ nodes @ w),
            "the nodes gain what their neighbours say, I + A. The equation has I - A.",
            want,
        ),
        (torch.relu(a @ nodes @ w), "A alone was applied: the identity is missing, I - A.", want),
        (
            torch.relu(loss.mT @ nodes @ w),
            "A is transposed: its row says to whom a node listens, (A G)_k = sum_j A_kj G_j.",
            want,
        ),
        (
            torch.relu(loss @ nodes @ w.mT),
            "W is transposed: it stands to the right of G, (G W)_s = sum_t G_t W_ts.",
            want,
        ),
        (
            torch.relu(loss @ nodes) @ w,
            "the ReLU comes before W. One ReLU, around everything.",
            want,
        ),
    ]
    if k == m:
        mistakes.append(
            (
                torch.relu((torch.eye(m) - w) @ nodes @ a),
                "A and W have changed places. A mixes nodes, W mixes the states within a node.",
                want,
            )
        )
    for mistake, message, right in mistakes:
        if not torch.allclose(mistake, right, atol=1e-5):
            _refuse(got, (mistake, message))
    same(got, want, what=what, why="ReLU((I - A) G W): A acts on axis k, W on axis m.")


def _check_one_matrix(one_matrix):
    for b, c, p in ((2, 6, 3), (1, 4, 2), (3, 2, 2)):
        theta, out, gate = torch.randn(p, c), torch.randn(c, p), torch.randn(b, p).abs()
        eye = torch.eye(c).expand(b, c, c)
        inner = einsum(out, gate, theta, "o p, b p, p c -> b o c")
        got = one_matrix(theta, gate, out)
        mistakes = [
            (inner, "the identity is missing: y_i = x_i + ..., so I is part of the matrix."),
            (
                (eye + inner).mT,
                "the matrix is transposed: its rows are the channels of y, its columns those of x.",
            ),
            (
                eye + out @ theta,
                "the gate is not in it: this matrix is the same for every image.",
            ),
        ]
        if b > 1:
            text = "the images are summed. Each has a gate of its own, so each has a matrix: b c c."
            mistakes.append(((eye + inner.sum(0)).expand(b, c, c), text))
        _refuse(got, *mistakes)
        same(
            got,
            eye + inner,
            what=f"the matrices of {b} images, {c} channels",
            why="Follow x through θ, the gate and W_R; a gate is a diagonal matrix.",
        )
    theta, out, gate = torch.randn(8, 16), torch.randn(16, 8), torch.rand(4, 8)
    if (made := largest_tensor(one_matrix, theta, gate, out)) > 4 * 16 * 16:
        raise Wrong(f"right, but a tensor of {made} numbers was made; b c c numbers are enough.")


def _check_reasoning_cost(reasoning_cost):
    for p, k in ((256, 16), (256, 32), (256, 1), (256, 256), (32, 8)):
        m = p // k
        got = reasoning_cost(p, k)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            same(got, (0, 0), what="the answer", why="Return two numbers: parameters, MACs.")
        parameters, macs = (float(v) for v in got)
        where = f"p = {p}, k = {k}"
        if k not in (1, p) and parameters == p**2:
            raise Wrong(
                f"for {where} you count {p**2} parameters: a full matrix. A is k x k, W is m x m."
            )
        if k not in (1, p) and k != m and parameters == k * m:
            raise Wrong(f"for {where} you count k m = p parameters. A alone has k² of them.")
        for extra, text in ((k + m, "biases"), (p, "a number a channel")):
            if parameters == k**2 + m**2 + extra:
                raise Wrong(
                    f"for {where} you count {text} as well; A and W are all that is learned."
                )
        same(parameters, k**2 + m**2, what=f"the parameters for {where}", rtol=0, why="m = p / k.")
        if macs == k**2 + m**2 and p > 1:
            raise Wrong(
                f"for {where} you count each weight once. A weight of A is used for each of the m "
                "states, a weight of W for each of the k nodes."
            )
        if macs in (k**2 * p, m**2 * p, (k**2 + m**2) * p) and macs != k**2 * m + k * m**2:
            raise Wrong(f"for {where}: a weight of A meets m states, not all p numbers.")
        same(
            macs,
            k**2 * m + k * m**2,
            what=f"the MACs for {where}",
            rtol=0,
            why="A G: k times k times m. Then G W: k times m times m.",
        )


def _check_mean_from_sum(mean_from_sum):
    for variant in ("paper", "srnet"):
        total = SqueezeReasoning(8, nodes=2, pool="sum", variant=variant).eval()
        for layer in (total.theta, total.phi, total.gamma, total.out):
            layer.weight.data.normal_()
        for norm in (n for n in total.modules() if isinstance(n, nn.BatchNorm1d)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        x = torch.randn(2, 8, 5, 6)
        given = copy.deepcopy(total)
        got = mean_from_sum(given, 30)
        if not isinstance(got, SqueezeReasoning):
            raise Wrong("return the block itself: `return block`.")
        if got.pool != "mean":
            raise Wrong(f"the block still pools with {got.pool!r}: set `block.pool`.")
        with torch.no_grad():
            before, after = total.squeeze(x), got.squeeze(x)
            ratio = (after / before).median().item()
            weights = dict(total.named_parameters())
            changed = [name for name, w in got.named_parameters() if not w.equal(weights[name])]
            idle = "only the pool has changed, so it is 1/n of what the reasoning expects."
            if changed:
                idle = (
                    f"{', '.join(changed)} changed, but g is not made with it: the mean is still "
                    "1/n of the sum. What is multiplied and pooled to make g?"
                )
            for wrong, text in (
                (1 / 30, idle),
                (1 / 900, "a weight was divided by n. The mean is too small already."),
                (30.0, "both factors of the product were scaled, so g has n² in it, less 1/n."),
            ):
                if abs(ratio / wrong - 1) < 1e-3:
                    raise Wrong(f"on a map of n pixels the new g is {ratio:.3g} of the old: {text}")
            if (after / before / ratio - 1).abs().max() < 1e-3 and abs(ratio - 1) > 1e-3:
                raise Wrong(
                    f"on a map of n = 30 pixels the new g is {ratio:.3g} of the old, and should be "
                    "the same. The mean makes 1/n of the sum: which one factor undoes it?"
                )
            why = "φ(x) ⊙ γ(x) is linear in each factor: scale one of them."
            same(after, before, what="g on a map of n pixels", rtol=1e-3, why=why)
            same(call(got, x), total(x), what="the output", atol=1e-3, rtol=1e-3, why=why)
            tiled = x.repeat(1, 1, 1, 2)
            why = "Twice the map, the same content: a mean does not change."
            same(got.squeeze(tiled), before, what="g on a tiled map", rtol=1e-3, why=why)


THROUGH_NODES = """
def through_nodes(g, k, reason):
    nodes = rearrange(g, "b (k m) -> b k m", k=k)
    return rearrange(reason(nodes), "b k m -> b (k m)")
"""

REASON = """
def reason(nodes, a, w):
    heard = einsum(a, nodes, "k j, b j m -> b k m")
    return torch.relu(einsum(nodes - heard, w, "b k t, t s -> b k s"))
"""

ONE_MATRIX = """
def one_matrix(theta, gate, out):
    gated = einsum(out, gate, theta, "o p, b p, p c -> b o c")
    return torch.eye(theta.shape[1]) + gated
"""

REASONING_COST = """
def reasoning_cost(p, k):
    m = p // k
    parameters = k * k + m * m
    macs = k * k * m + k * m * m
    return parameters, macs
"""

MEAN_FROM_SUM = """
def mean_from_sum(block, pixels):
    with torch.no_grad():
        block.phi.weight.mul_(pixels)
    block.pool = "mean"
    return block
"""

EXERCISES = [
    Exercise(
        name="through_nodes",
        lesson="08",
        title="through the nodes and back",
        prompt="""
        Cut the vector `g`, `b p`, into `k` nodes of neighbouring channels: node 0 holds the first
        $m = p/k$ of them. Hand the nodes, `b k m`, to the function `reason`, which returns `b k m`.
        Join its answer to a vector `b p`, every number in the place of its channel.
        """,
        stub="""
        def through_nodes(g, k, reason):
            # b p -> b k m -> reason -> b k m -> b p
            return ...
        """,
        solution=THROUGH_NODES,
        check=_check_through_nodes,
        hint="""
        `rearrange(g, "b (k m) -> b k m", k=k)`: the first name in a bracket runs slowest, so
        neighbours share a node. The way back is the same pattern, turned round.
        """,
        wrong=(
            WrongAnswer(THROUGH_NODES.replace("(k m)", "(m k)"), "every .*-th one"),
            WrongAnswer(
                THROUGH_NODES.replace('"b k m -> b (k m)"', '"b k m -> b (m k)"'),
                "goes to another",
            ),
            WrongAnswer(
                THROUGH_NODES.replace('"b (k m) -> b k m"', '"b (m k) -> b k m"'), "every .*-th one"
            ),
            WrongAnswer(
                "def through_nodes(g, k, reason):\n"
                '    nodes = rearrange(g, "b (k m) -> b m k", k=k)\n'
                '    return rearrange(reason(nodes), "b m k -> b (k m)")',
                "the axes b k m",
            ),
            WrongAnswer(
                "def through_nodes(g, k, reason):\n"
                '    return reason(rearrange(g, "b (k m) -> b k m", k=k))',
                "these are the nodes|has shape",
            ),
            WrongAnswer(
                "def through_nodes(g, k, reason):\n    return g.clone()", "was never called"
            ),
        ),
    ),
    Exercise(
        name="reason",
        lesson="08",
        title="one step of reasoning",
        prompt="""
        Write $G' = \\mathrm{ReLU}\\big((I - A)\\,G\\,W\\big)$ for a batch: `nodes` is `b k m`, `a`
        is `k k`, `w` is `m m`.
        """,
        stub="""
        def reason(nodes, a, w):
            # a mixes the nodes, w the states within each node
            return ...
        """,
        solution=REASON,
        check=_check_reason,
        hint="""
        $(I - A)G = G - AG$: no identity matrix is needed. `einsum(a, nodes, "k j, b j m -> b k m")`
        is what each node hears from all the others.
        """,
        wrong=(
            WrongAnswer(
                REASON.replace("nodes - heard", "nodes + heard"),
                "what their neighbours say, I \\+ A",
            ),
            WrongAnswer(REASON.replace("nodes - heard", "heard"), "identity is missing"),
            WrongAnswer(REASON.replace("k j, b j m", "j k, b j m"), "A is transposed"),
            WrongAnswer(REASON.replace("t s -> b k s", "s t -> b k s"), "W is transposed"),
            WrongAnswer(REASON.replace("torch.relu", ""), "the ReLU is missing"),
            WrongAnswer(
                "def reason(nodes, a, w):\n    return torch.relu(nodes - a @ nodes) @ w",
                "ReLU comes before W",
            ),
            WrongAnswer(
                "def reason(nodes, a, w):\n    return torch.relu((nodes - w @ nodes) @ a)",
                "changed places|stopped with",
            ),
        ),
    ),
    Exercise(
        name="one_matrix",
        lesson="08",
        title="the whole block as one matrix",
        prompt="""
        Once the gate $g'$ of an image is known, what happens to a pixel is linear:
        $y_i = x_i + W_R\\big(g' \\odot \\theta x_i\\big) = B x_i$. Write $B$ for every image of a
        batch: `theta` is `p c`, `gate` is `b p`, `out` ($W_R$) is `c p`; return `b c c`.
        """,
        stub="""
        def one_matrix(theta, gate, out):
            # B, one matrix an image: no pixel appears here
            return ...
        """,
        solution=ONE_MATRIX,
        check=_check_one_matrix,
        hint="""
        $g'\\odot v$ is $\\mathrm{diag}(g')\\,v$. So three matrices are multiplied, and an identity
        is added. `einsum` takes all three at once and needs no `diag`.
        """,
        wrong=(
            WrongAnswer(
                ONE_MATRIX.replace("torch.eye(theta.shape[1]) + gated", "gated"),
                "the identity is missing",
            ),
            WrongAnswer(ONE_MATRIX.replace("-> b o c", "-> b c o"), "transposed"),
            WrongAnswer(ONE_MATRIX.replace("b p, p c -> b o c", "b p, p c -> o c"), "has shape"),
            WrongAnswer(
                "def one_matrix(theta, gate, out):\n"
                "    eye = torch.eye(theta.shape[1])\n"
                "    return (eye + out @ theta).expand(len(gate), -1, -1)",
                "the gate is not in it",
            ),
            WrongAnswer(
                "def one_matrix(theta, gate, out):\n"
                "    gated = out @ torch.diag(gate.sum(0)) @ theta\n"
                "    return (torch.eye(theta.shape[1]) + gated).expand(len(gate), -1, -1)",
                "summed|values are off",
            ),
        ),
    ),
    Exercise(
        name="reasoning_cost",
        lesson="08",
        title="what K costs",
        prompt="""
        A vector of `p` channels is cut into `k` nodes of $m = p/k$ states. Return two numbers for
        $(I - A)\\,G\\,W$: how many parameters are learned, and how many multiply-accumulates (MACs)
        one image costs. The subtraction is not counted.
        """,
        stub="""
        def reasoning_cost(p, k):
            # return parameters, macs
            return ..., ...
        """,
        solution=REASONING_COST,
        check=_check_reasoning_cost,
        hint="""
        $A$ is $k\\times k$ and $W$ is $m\\times m$. $A\\,G$ makes $k\\,m$ numbers, each a sum of
        $k$ products; $G\\,W$ makes as many, each a sum of $m$.
        """,
        wrong=(
            WrongAnswer("def reasoning_cost(p, k):\n    return p * p, p * p", "a full matrix"),
            WrongAnswer(
                REASONING_COST.replace("k * k * m + k * m * m", "parameters"),
                "count each weight once",
            ),
            WrongAnswer(
                REASONING_COST.replace("k * k + m * m", "k * k + m * m + k + m"), "biases as well"
            ),
            WrongAnswer(
                REASONING_COST.replace("k * k * m + k * m * m", "parameters * p"),
                "meets m states",
            ),
        ),
    ),
    Exercise(
        name="mean_from_sum",
        lesson="08",
        title="repair a trained block",
        prompt="""
        A block was trained with the **sum**, on maps of `pixels` pixels. Turn it into a block with
        the **mean** (`block.pool = "mean"`) that gives the same output on such maps, whatever norms
        the reasoning holds, and the same gate for the same content on any larger map. Change one
        weight tensor ($\\phi$ or $\\gamma$, both will do). Return the block.
        """,
        stub="""
        def mean_from_sum(block, pixels):
            # block.theta, .phi, .gamma, .out are 1x1 convolutions without biases
            return ...
        """,
        solution=MEAN_FROM_SUM,
        check=_check_mean_from_sum,
        hint="""
        $\\sum_i \\phi_i\\odot\\gamma_i = n\\cdot\\frac1n\\sum_i \\phi_i\\odot\\gamma_i$. Into which
        weight can the factor $n$ go? Change a weight in place with `.mul_` under `torch.no_grad()`.
        """,
        wrong=(
            WrongAnswer(
                'def mean_from_sum(block, pixels):\n    block.pool = "mean"\n    return block',
                "only the pool has changed",
            ),
            WrongAnswer(MEAN_FROM_SUM.replace("mul_", "div_"), "too small already"),
            WrongAnswer(
                MEAN_FROM_SUM.replace(
                    "    block.pool", "        block.gamma.weight.mul_(pixels)\n    block.pool"
                ),
                "both factors",
            ),
            WrongAnswer(
                MEAN_FROM_SUM.replace("block.phi", "block.theta"),
                "theta.weight changed, but g is not made with it",
            ),
            WrongAnswer(
                MEAN_FROM_SUM.replace("mul_(pixels)", "mul_(pixels**0.5)"),
                "the new g is 0.183 of the old, and should be the same",
            ),
            WrongAnswer(MEAN_FROM_SUM.replace("weight.mul_", "weight.data.add_"), "values are off"),
            WrongAnswer(MEAN_FROM_SUM.replace('    block.pool = "mean"\n', ""), "still pools"),
        ),
    ),
]

QUIZ = [
    Question(
        "A vector of 256 channels is cut into 16 nodes. What does one node hold?",
        (
            "16 pixels that look alike",
            "16 channels, each summed up over the whole image",
            "one sixteenth of the image",
        ),
        1,
        "No pixel is left after the squeeze. A node is a group of channels, and its states are "
        "numbers about the whole image.",
    ),
    Question(
        "What does $\\mathrm{ReLU}((I - A)GW)$ become when there is a single node, $K = 1$?",
        (
            "a fully connected layer",
            "the identity",
            "an average over the channels",
        ),
        0,
        "A is one number then, and W is a matrix over all P channels: a fully connected layer "
        "without a bias, times 1 - A.",
    ),
    Question(
        "Can graph reasoning compute a function that a fully connected layer with ReLU cannot?",
        (
            "yes: nodes talk to each other",
            "no: (I - A) G W is one P x P matrix of a special form",
            "only with a soft-max",
        ),
        1,
        "The matrix is the Kronecker product of I - A and W transposed. So a gain of the graph "
        "over the full layer comes from how it trains or generalises, not from what it can say.",
    ),
    Question(
        "A network with a summed Hadamard squeeze was trained on crops. What happens on an image "
        "twice as wide with the same content?",
        (
            "nothing",
            "the squeezed vector doubles, and the gates change",
            "the network refuses the image",
        ),
        1,
        "Twice the pixels, twice the sum. A mean stays.",
    ),
    Question(
        "Two pixels of one image have the same features. Can the block give them different "
        "answers?",
        (
            "yes, by the graph",
            "no: all pixels of an image go through the same matrix",
            "only with Hadamard pooling",
        ),
        1,
        "y = B x with one B for the whole image. It can tell images apart, but not equal pixels "
        "within one.",
    ),
    Question(
        "A fixed random A does as well as a learned one. What follows?",
        (
            "the graph was learned all the same",
            "on this task, learning the edges is not where the gain comes from",
            "the nodes mean nothing",
        ),
        1,
        "Only a control shows what a part is worth. Here W, the squeeze and the gate are enough.",
    ),
]
