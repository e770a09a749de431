"""Exercises of lesson 01: one pixel is not enough."""

import itertools
import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contextlab.exercises import Exercise, Question, Wrong, WrongAnswer, same

TITLE = "One pixel is not enough"


def _check_patch_accuracy(patch_accuracy):
    cases = ((0.0, 2), (1.0, 3), (0.5, 2), (0.229, 3), (0.332, 2), (0.25, 5))
    for known, group in cases:
        got, want = patch_accuracy(known, group), known + (1 - known) / group
        if known == 0 and isinstance(got, (int, float)) and got == 0:
            raise Wrong("a pixel that cannot know still answers, and is right once in m times.")
        if isinstance(got, (int, float)) and got > 1:
            raise Wrong(f"{got:g} is more than all pixels. Only those that do not know guess.")
        same(
            got,
            want,
            what=f"the bound for s = {known:g}, m = {group}",
            why="Split the pixels in two: the share s knows; of the rest, one in m is right.",
        )


def _sees(cue: Tensor, r: int) -> Tensor:
    return F.max_pool2d(cue[:, None].float(), r, stride=1, padding=r // 2)[:, 0] > 0


def _check_sees(sees):
    one = torch.zeros(1, 7, 9, dtype=torch.bool)
    one[0, 3, 4] = True
    for r in (3, 1, 5):
        got = sees(one, r)
        marked = int(got.sum()) if isinstance(got, Tensor) else None
        if r > 1 and marked == min(2 * r + 1, 7) * (2 * r + 1):
            raise Wrong(f"the window is 2r + 1 = {2 * r + 1} wide. r is its side, not its radius.")
        if r > 1 and marked == 0:
            raise Wrong("one cue pixel in the window is enough; it need not fill the window.")
        if isinstance(got, Tensor) and got.shape != one.shape and r > 1:
            raise Wrong(
                f"{tuple(one.shape)} went in and {tuple(got.shape)} came out. Every pixel gets an "
                "answer, those at the border too: pad by r // 2, and drop the channel again."
            )
        why = f"One cue pixel must light up a square of {r} x {r} around it."
        same(got, _sees(one, r), what=f"sees(cue, {r})", why=why)
    for shape, r in (((2, 12, 17), 7), ((1, 1, 1), 3), ((3, 8, 5), 15)):
        cue = torch.rand(shape) < 0.02
        same(sees(cue, r), _sees(cue, r), what=f"sees(cue, {r}) on {shape}")


def _receptive_field(layers) -> int:
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * dilation * jump
        jump *= stride
    return size


def _check_receptive_field(receptive_field):
    cases = [
        ([], "no layer"),
        ([(3, 1, 1)], "one 3-wide layer"),
        ([(3, 1, 1)] * 4, "four 3-wide layers"),
        ([(5, 1, 1), (1, 1, 1)], "a 5-wide and a 1-wide layer"),
        ([(3, 1, 4)], "one layer of dilation 4"),
        ([(3, 2, 1)], "one layer of stride 2"),
        ([(3, 2, 1), (3, 1, 1)], "a layer of stride 2, then one of stride 1"),
        ([(3, 2, 1), (3, 2, 1), (3, 1, 2)], "strides 2, 2, 1 and a dilation"),
    ]
    steps = itertools.product((1, 2, 3, 5), (1, 2), (1, 3))
    cases += [(random.sample(list(steps), 5), "five mixed layers")]
    for layers, words in cases:
        got, want = receptive_field(layers), _receptive_field(layers)
        hint = ""
        if got != want and words == "one layer of stride 2":
            hint = "A layer's own stride widens the steps of the layers after it, not its own."
        elif got != want and "stride" in words:
            hint = "Neighbours on this layer's input lie as many pixels apart as all the strides "
            hint += "before it, multiplied."
        elif got != want and "dilation" in words:
            hint = "k taps have k - 1 gaps between them, and each gap is d wide."
        elif got != want and not layers:
            hint = "Without a layer, an output is its own input: one pixel."
        elif got != want:
            hint = "k taps have k - 1 gaps between them: add (k - 1), not k."
        same(got, want, what=f"the receptive field of {words}", why=hint)


def _influence(model, image, row, column):
    x = image[None].clone().requires_grad_()
    (grad,) = torch.autograd.grad(model(x)[0, :, row, column].sum(), x)
    return grad[0].abs().sum(0)


def _check_influence(influence):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 5, 3, padding=2, dilation=2),
    )
    image, row, column = torch.rand(3, 15, 21), 2, 6
    got = influence(model, image, row, column)
    want = _influence(model, image, row, column)
    if image.requires_grad:
        raise Wrong("the image now requires gradients for ever. Ask for them on a copy.")
    if any(p.grad is not None for p in model.parameters()):
        raise Wrong(
            "backward() has also filled the .grad of every weight, and the next optimiser step "
            "would use it. torch.autograd.grad(output, x) returns one gradient and leaves no trace."
        )
    if isinstance(got, Tensor) and got.shape == image.shape:
        raise Wrong(f"the shape is {tuple(got.shape)}; add the three colours up to one map h w.")
    if isinstance(got, Tensor) and got.shape == want.shape:
        x = image[None].clone().requires_grad_()
        (all_,) = torch.autograd.grad(model(x).sum(), x)
        (signed,) = torch.autograd.grad(model(x)[0, :, row, column].sum(), x)
        if torch.allclose(got, all_[0].abs().sum(0), atol=1e-6):
            raise Wrong("this is the influence on all outputs together. Take one position.")
        if torch.allclose(got, signed[0].sum(0), atol=1e-6):
            raise Wrong("colours of opposite sign cancel. Take sizes first, then add them up.")
        if torch.allclose(got, signed[0].sum(0).abs(), atol=1e-6):
            raise Wrong("the colours have cancelled before abs(). Take sizes first, then add.")
    same(got, want, what="the influence", why="Gradient of one position, sizes, sum over colours.")


def _taps(dilations) -> list[int]:
    offsets = {0}
    for d in dilations:
        offsets = {o + t for o in offsets for t in (-d, 0, d)}
    return sorted(offsets)


def _check_taps(taps):
    for dilations in ([], [1], [4], [1, 1], [2, 2], [1, 2], [1, 2, 4], [2, 2, 2], [1, 4], [3, 5]):
        got, want = taps(dilations), _taps(dilations)
        if isinstance(got, (list, tuple)) and list(got) != want:
            reach = sum(dilations)
            said = f"taps({dilations}): "
            if len(set(got)) < len(got):
                raise Wrong(said + "some inputs are listed twice; list each one once.")
            if sorted(got) == want:
                raise Wrong(said + "the right inputs, but not in order, from left to right.")
            if list(got) == list(range(-reach, reach + 1)):
                raise Wrong(
                    said + "this is all that lies within the receptive field. Does the chain read "
                    "every one of them? Write the three taps down."
                )
            if set(got) < set(want):
                raise Wrong(
                    said + "some inputs are missing. Every position that one layer reads was made "
                    "by three taps of the layer below."
                )
        same(got, want, what=f"taps({dilations})", why="Start at 0 and go down layer by layer.")


TAPS = """
def taps(dilations):
    offsets = {0}
    for d in dilations:
        offsets = {o + t for o in offsets for t in (-d, 0, d)}
    return sorted(offsets)
"""
RECEPTIVE_FIELD = """
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * dilation * jump
        jump *= stride
    return size
"""
SEES = """
def sees(cue, r):
    maps = rearrange(cue.float(), "b h w -> b 1 h w")
    found = F.max_pool2d(maps, (1, r), stride=1, padding=(0, r // 2))
    found = F.max_pool2d(found, (r, 1), stride=1, padding=(r // 2, 0))
    return rearrange(found, "b 1 h w -> b h w") > 0
"""
SEES_AT_ONCE = """
def sees(cue, r):
    maps = rearrange(cue.float(), "b h w -> b 1 h w")
    found = F.max_pool2d(maps, r, stride=1, padding=r // 2)
    return rearrange(found, "b 1 h w -> b h w") > 0
"""
INFLUENCE = """
def influence(model, image, row, column):
    x = rearrange(image, "c h w -> 1 c h w").clone().requires_grad_()
    output = model(x)[0, :, row, column].sum()
    (gradient,) = torch.autograd.grad(output, x)
    return reduce(gradient.abs(), "1 c h w -> h w", "sum")
"""
OWN_STRIDE = """
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        jump *= stride
        size += (kernel - 1) * dilation * jump
    return size
"""

BACKWARD = """
def influence(model, image, row, column):
    x = image[None].clone().requires_grad_()
    model(x)[0, :, row, column].sum().backward()
    return x.grad[0].abs().sum(0)
"""

NO_COPY = """
def influence(model, image, row, column):
    output = model(image.requires_grad_()[None])[0, :, row, column].sum()
    return torch.autograd.grad(output, image)[0].abs().sum(0)
"""

EXERCISES = [
    Exercise(
        name="patch_accuracy",
        lesson="01",
        title="the bound of a patch",
        prompt="""
        Of the pixels of a demand, the share `known` ($s$) has the cue in its patch. The others
        guess among `group` ($m$) classes. Return the expected share of right pixels.
        """,
        stub="""
        def patch_accuracy(known, group):
            return ...
        """,
        solution="""
        def patch_accuracy(known, group):
            return known + (1 - known) / group
        """,
        check=_check_patch_accuracy,
        hint="Take 100 pixels, $s = 0.4$, $m = 2$. How many know? How many of the rest are lucky?",
        wrong=(
            WrongAnswer("def patch_accuracy(known, group):\n    return known", "once in m times"),
            WrongAnswer(
                "def patch_accuracy(known, group):\n    return known + 1 / group",
                "more than all pixels",
            ),
            WrongAnswer(
                "def patch_accuracy(known, group):\n    return max(known, 1 / group)",
                "Split the pixels in two",
            ),
        ),
    ),
    Exercise(
        name="sees",
        lesson="01",
        title="does the window hold the cue?",
        prompt="""
        Where does $s$ come from? The streets are generated, so they can say which pixels are the
        cue of which demand. What is left to find out: does the window of a pixel hold one?

        `cue` is a bool tensor `b h w`: which pixels are part of the cue. Return a bool tensor of
        the same shape: does the centred `r` x `r` window of each pixel hold at least one of them?
        `r` is odd. What lies outside the image holds no cue.
        """,
        stub="""
        def sees(cue, r):
            return ...
        """,
        solution=SEES,
        check=_check_sees,
        hint="""
        "Is there at least one" is a maximum over the window. `F.max_pool2d` takes a maximum over
        windows; it wants floats of shape `b c h w`. With which stride and padding does every pixel
        get its own centred window? Faster: first the maximum along rows, window `(1, r)`, then of
        these along columns, window `(r, 1)`.
        """,
        wrong=(
            WrongAnswer(
                SEES_AT_ONCE.replace(
                    ", r, stride=1, padding=r // 2", ", 2 * r + 1, stride=1, padding=r"
                ),
                "not its radius",
            ),
            WrongAnswer(SEES_AT_ONCE.replace(", padding=r // 2", ""), "pad by r // 2|stopped with"),
            WrongAnswer(SEES_AT_ONCE.replace("r, stride=1", "r, stride=r"), "pad by r // 2"),
            WrongAnswer(
                SEES_AT_ONCE.replace("F.max_pool2d(maps", "-F.max_pool2d(-maps"),
                "need not fill the window",
            ),
        ),
    ),
    Exercise(
        name="receptive_field",
        lesson="01",
        title="the receptive field of a chain",
        prompt="""
        `layers` is a list of `(kernel, stride, dilation)`, from the image to the output. Return the
        side of the receptive field in pixels. Write the recursion as a loop.
        """,
        stub="""
        def receptive_field(layers):
            return ...  # a loop over the layers, with a size and a jump
        """,
        solution=RECEPTIVE_FIELD,
        check=_check_receptive_field,
        hint="""
        A layer adds $(k - 1)\\,d$ steps, and a step is as long as the jump *before* the layer. Only
        then does the layer's stride make the jump longer.
        """,
        wrong=(
            WrongAnswer(
                RECEPTIVE_FIELD.replace(" * jump", ""),
                "as all the strides before it",
            ),
            WrongAnswer(
                OWN_STRIDE,
                "own stride widens the steps of the layers after it",
            ),
            WrongAnswer(
                RECEPTIVE_FIELD.replace("(kernel - 1) * dilation", "(kernel * dilation - 1)"),
                "each gap is d wide",
            ),
            WrongAnswer(
                RECEPTIVE_FIELD.replace("(kernel - 1)", "kernel"),
                "k - 1 gaps|not k",
            ),
            WrongAnswer(
                RECEPTIVE_FIELD.replace("size, jump = 1, 1", "size, jump = 0, 1"), "one pixel"
            ),
        ),
    ),
    Exercise(
        name="influence",
        lesson="01",
        title="ask the gradient",
        prompt="""
        `model` maps `b 3 h w` to a map `b c h' w'`. Add up the `c` outputs at (`row`, `column`) for
        one `image` (`3 h w`), take the gradient of this sum with respect to the image, and return
        its size at every pixel, added up over the three colours: a tensor `h w`.
        Leave no trace: neither in the image nor in the model's weights.
        """,
        stub="""
        def influence(model, image, row, column):
            return ...
        """,
        solution=INFLUENCE,
        check=_check_influence,
        hint="""
        Make a copy of the image with a batch axis and call `requires_grad_()` on the copy.
        `torch.autograd.grad(output, x)` returns a tuple with one gradient. The *size* of a number
        is its absolute value.
        """,
        wrong=(
            WrongAnswer(INFLUENCE.replace("gradient.abs()", "gradient"), "Take sizes first"),
            WrongAnswer(
                INFLUENCE.replace(
                    'reduce(gradient.abs(), "1 c h w -> h w", "sum")', "gradient[0].abs()"
                ),
                "three colours up",
            ),
            WrongAnswer(
                INFLUENCE.replace("[0, :, row, column].sum()", ".sum()"), "all outputs together"
            ),
            WrongAnswer(
                BACKWARD,
                r"filled the \.grad of every weight",
            ),
            WrongAnswer(
                NO_COPY,
                "on a copy",
            ),
        ),
    ),
    Exercise(
        name="taps",
        lesson="01",
        title="the holes of a dilated chain",
        prompt="""
        A warning comes with dilation. Which pixels does a chain of dilated layers really *read*?

        In one dimension, a chain of 3-wide layers has these `dilations`. A layer of dilation $d$
        reads at offsets $-d$, $0$ and $d$. Return the sorted list of all input offsets that one
        output reads through the whole chain, each once.
        """,
        stub="""
        def taps(dilations):
            return ...
        """,
        solution=TAPS,
        check=_check_taps,
        hint="""
        Keep a `set` of offsets, at first only 0. A layer replaces every offset $o$ by three:
        $o - d$, $o$, $o + d$.
        """,
        wrong=(
            WrongAnswer(
                "def taps(dilations):\n"
                "    reach = sum(dilations)\n"
                "    return list(range(-reach, reach + 1))",
                "Does the chain read every one of them",
            ),
            WrongAnswer(
                TAPS.replace(
                    "offsets = {o + t for o in offsets for t in (-d, 0, d)}",
                    "offsets |= {-d, 0, d}",
                ),
                "some inputs are missing",
            ),
            WrongAnswer(
                TAPS.replace("{0}", "[0]").replace("{o + t", "[o + t").replace("d)}", "d)]"),
                "listed twice",
            ),
        ),
    ),
]

QUIZ = [
    Question(
        "An FCN of stride 4 reads a 35 x 35 window for each pixel. Two pixels of different class, "
        "at the same place of the stride-4 grid and far from the border, have equal windows. What "
        "does it answer?",
        (
            "the same for both",
            "the right class for both, if it is trained long enough",
            "it depends on the seed of the training",
        ),
        0,
        "The answer is a function of the window and of the place on the grid. Both are equal, so "
        "the answers are, whatever the weights are.",
    ),
    Question(
        "A demand has 3 classes, and 40 % of its pixels have the cue in their patch. What is the "
        "best accuracy to be expected?",
        ("40 %", "60 %", "73 %"),
        1,
        "$0.4 + 0.6 / 3 = 0.6$.",
    ),
    Question(
        "A plain chain of 3 x 3 layers gets four times as deep. The theoretical and the effective "
        "receptive field grow about",
        ("4 times and 4 times", "4 times and 2 times", "2 times and 4 times"),
        1,
        "The first is linear in the depth. The second goes with the root of the depth, as the "
        "width of a sum of independent steps does.",
    ),
    Question(
        "Which chain of 3-wide layers leaves holes?",
        ("dilations 1, 2, 4", "dilations 1, 3", "dilations 2, 2, 2"),
        2,
        "Through dilations of 2 alone, an output reads even offsets only. A first layer of "
        "dilation 1 fills the gaps.",
    ),
    Question(
        "A cue is 40 pixels away. How many 3 x 3 layers of stride 1 reach it, at dilation 1 and "
        "with dilations 1, 2, 4, ...?",
        ("20 and 5", "40 and 6", "80 and 7"),
        1,
        "A layer of dilation $d$ reaches $d$ further to each side. $2^6 - 1 = 63$ is enough, "
        "$2^5 - 1 = 31$ is not.",
    ),
    Question(
        "An FCN reaches 51 % on G, where two classes are equally likely. What should you try?",
        (
            "train longer",
            "more channels",
            "let it see further",
        ),
        2,
        "It is at the bound of its patch. Only information that is not in the patch can help.",
    ),
]
