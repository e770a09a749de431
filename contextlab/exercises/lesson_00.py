"""Exercises of lesson 00: start here."""

import math

import torch
from einops import rearrange
from torch import Tensor

from contextlab.exercises import Exercise, Question, Wrong, WrongAnswer, finite, same

TITLE = "Start here"


def _refuse(got, want: Tensor, mistake: Tensor, message: str) -> None:
    """Refuse an answer that equals a well-known mistake, in words that name the mistake."""
    if _equal(got, mistake) and not _equal(want, mistake):
        raise Wrong(message)


def _equal(one, other: Tensor) -> bool:
    like = isinstance(one, Tensor) and one.shape == other.shape
    return like and torch.allclose(one.double(), other.double(), equal_nan=True)


def _check_nodes_to_pixels(nodes_to_pixels):
    for b, c, h, w in ((1, 2, 2, 3), (2, 3, 4, 5), (1, 1, 3, 3), (2, 4, 1, 1)):
        maps = torch.randn(b, c, h, w)
        nodes = rearrange(maps, "b c h w -> b (h w) c")
        got = nodes_to_pixels(nodes, h)
        _refuse(
            got,
            maps,
            nodes.reshape(b, c, h, w),
            "the shape is right, but the values were only poured into it: channels ended up "
            "among the pixels. The channel axis has to move to the front.",
        )
        _refuse(
            got,
            maps,
            rearrange(nodes, "b (w h) c -> b c h w", h=h),
            "the pixels are filled in column by column. Nodes come row by row: the row is the "
            "slow index, so it stands first inside the brackets.",
        )
        _refuse(
            got,
            maps,
            rearrange(nodes, "b (h w) c -> b c w h", h=h),
            "this is the map turned on its side: rows come before columns in `b c h w`.",
        )
        same(got, maps, what=f"the map of {h} x {w} pixels", why="Nodes come row by row.")


NODES_TO_PIXELS = """
def nodes_to_pixels(nodes, height):
    return rearrange(nodes, "b (h w) c -> b c h w", h=height)
"""


def _check_pixel_loss(pixel_loss):
    logits = torch.tensor([[[[math.log(2), 0.0]], [[0.0, 0.0]], [[0.0, math.log(6)]]]])
    labels = torch.tensor([[[0, 0]]])
    got = pixel_loss(logits, labels)
    if isinstance(got, Tensor) and got.numel() == 1:
        value = float(got)
        if abs(value + 2 * math.log(2)) < 1e-4:
            raise Wrong("the sign: a probability is below 1, so its logarithm is below 0.")
        if abs(value - 4 * math.log(2)) < 1e-4:
            raise Wrong("this is the sum over the pixels; the loss is their mean.")
        if abs(value + (1 / 2 + 1 / 8) / 2) < 1e-4 or abs(value - (1 / 2 + 1 / 8) / 2) < 1e-4:
            raise Wrong("this is the mean probability of the right class; its logarithm counts.")
    same(got, 2 * math.log(2), what="the loss of the two pixels above")
    for b, k, h, w in ((2, 5, 3, 4), (1, 13, 6, 2)):
        logits, labels = torch.randn(b, k, h, w), torch.randint(k, (b, h, w))
        labels[0, 0, :] = 255  # of the first image alone, so that images weigh differently
        valid = labels != 255
        picked = logits.log_softmax(1).gather(1, labels.where(valid, 0)[:, None])[:, 0]
        want = -picked[valid].mean()
        got = pixel_loss(logits, labels)
        mistakes = {
            -(picked * valid).sum() / valid.numel(): "the ignored pixels are still counted: "
            "divide by the number of pixels that have a label.",
            -picked.mean(): "pixels labelled 255 take part, as if they were of class 0. They have "
            "no label, so they have no loss.",
            -torch.stack([p[v].mean() for p, v in zip(picked, valid)]).mean(): "this is the mean "
            "over the images of each one's mean, so a pixel of an image with few labels weighs "
            "more. Take one mean over all pixels that have a label.",
        }
        for mistake, message in mistakes.items():
            if isinstance(got, Tensor):
                _refuse(got.reshape(()), want, mistake, message)
        same(got, float(want), what="the loss of a map with ignored pixels", why=_AXIS)
    last = logits.shape[1] - 1  # a class that does not occur, so that counting it stops nothing
    labels = torch.randint(last, labels.shape).where(labels != 255, last)
    kept = -logits.log_softmax(1).gather(1, labels[:, None])[:, 0][labels != last]
    same(
        pixel_loss(logits, labels, last),
        float(kept.mean()),
        what=f"the loss with ignore_index={last}",
        why="Which label is ignored is an argument; it is not always 255.",
    )
    got = pixel_loss(400 * logits, labels, last)
    finite(got, what="the loss")


_AXIS = "The classes are axis 1: over them runs the soft-max, and from them the label picks."

PIXEL_LOSS = """
def pixel_loss(logits, labels, ignore_index=255):
    valid = labels != ignore_index
    safe = labels.where(valid, 0)  # any class will do: these pixels are left out below
    log_p = logits.log_softmax(dim=1)
    picked = log_p.gather(1, rearrange(safe, "b h w -> b 1 h w"))
    return -rearrange(picked, "b 1 h w -> b h w")[valid].mean()
"""


def _confusion(labels: Tensor, prediction: Tensor, classes: int, ignored: int = 255) -> Tensor:
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    for label, said in zip(labels.flatten().tolist(), prediction.flatten().tolist()):
        if label != ignored:
            counts[label, said] += 1
    return counts


def _check_confusion_matrix(confusion_matrix):
    # classes 2 and 3 never occur: the matrix keeps their empty rows and columns
    few = torch.tensor([[0, 1, 1]]), torch.tensor([[1, 1, 1]])
    cases = [(*few, 4)]
    for k, shape in ((3, (2, 3, 4)), (13, (1, 8, 9)), (2, (1, 1, 1))):
        labels, prediction = torch.randint(k, shape), torch.randint(k, shape)
        cases.append((labels, prediction, k))
    labels = torch.randint(3, (2, 5, 5))
    labels[:, 1:3] = 255
    cases.append((labels, torch.randint(3, (2, 5, 5)), 3))
    for labels, prediction, k in cases:
        want, got = _confusion(labels, prediction, k), confusion_matrix(labels, prediction, k)
        _refuse(
            got,
            want,
            want.T,
            "rows and columns are exchanged: row i holds the pixels whose *label* is i.",
        )
        why = ""
        if (labels == 255).any():
            why = "Pixels labelled 255 must not be counted, under any class."
        if isinstance(got, Tensor) and got.shape != want.shape:
            why = "It has a row for every class, whether it occurs or not."
        same(got, want, what=f"the confusion matrix of {k} classes", why=why)
    chosen = torch.tensor([[0, 1, 2, 1]]), torch.tensor([[0, 1, 1, 1]])
    same(
        confusion_matrix(*chosen, 2, 2),
        _confusion(*chosen, 2, 2),
        what="the confusion matrix of 2 classes with ignore_index=2",
        why="Which label is ignored is an argument; it is not always 255.",
    )


CONFUSION_MATRIX = """
def confusion_matrix(labels, prediction, classes, ignore_index=255):
    valid = labels != ignore_index
    pair = classes * labels[valid] + prediction[valid]  # one number for each (i, j)
    counts = torch.bincount(pair, minlength=classes**2)
    return rearrange(counts, "(i j) -> i j", i=classes)
"""


def _iou(confusion: Tensor) -> Tensor:
    right = confusion.diagonal().double()
    return right / (confusion.sum(0) + confusion.sum(1) - right)


def _check_iou(iou):
    cases = [torch.tensor([[7, 0, 1], [0, 6, 0], [0, 1, 1]])]
    cases += [torch.randint(1, 50, (k, k)) for k in (2, 13)]
    absent = torch.randint(1, 9, (4, 4))
    absent[2, :], absent[:, 2] = 0, 0
    for confusion in [*cases, absent]:
        got, want = iou(confusion), _iou(confusion)
        right = confusion.diagonal().double()
        said, labelled = confusion.sum(0), confusion.sum(1)
        if isinstance(got, Tensor) and got.shape == want.shape:
            _refuse(
                got,
                want,
                right / (said + labelled),
                "the right pixels are in the row and in the column: the union counts them twice.",
            )
            for one in (right / labelled, right / said):
                _refuse(
                    got.nan_to_num(0.0),
                    want.nan_to_num(0.0),
                    one.nan_to_num(0.0),
                    "one kind of mistake is missing from the union. It holds the pixels that have "
                    "the label, and those that got the prediction.",
                )
            _refuse(
                got,
                want,
                want.nan_to_num(0.0),
                "a class that occurs nowhere has no IoU: 0 / 0 is nan, and the mean leaves it "
                "out. As 0 it would pull the mean down.",
            )
            got = got.double()
        same(got, want, what="the IoU by class")


IOU = """
def iou(confusion):
    right = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - right
    return right / union  # 0 / 0 is nan
"""


def _check_always_the_same(always_the_same):
    why = "Count by hand for four pixels of one class and two of another."
    for counts in ((4, 2), (60, 20, 20), (5, 0, 5, 7, 0), (9,)):
        got = always_the_same(torch.tensor(counts))
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong("return two numbers: the pixel accuracy and the mIoU.")
        top, total, present = max(counts), sum(counts), sum(n > 0 for n in counts)
        same(got[0], top / total, what="the pixel accuracy", why="Count what is right.")
        miou = float(got[1])
        if present > 1 and abs(miou - 1 / present) < 1e-6:
            raise Wrong(
                "the IoU of the frequent class is not 1: the prediction covers the whole image, so "
                "the union does too."
            )
        if present > 1 and abs(miou - top / total) < 1e-6:
            raise Wrong("this is the IoU of the one class; the mIoU is a mean over classes.")
        if present < len(counts) and abs(miou - top / total / len(counts)) < 1e-6:
            raise Wrong("classes that do not occur have no IoU: the mean runs over those that do.")
        same(got[1], top / total / present, what="the mIoU", why=why)


ALWAYS_THE_SAME = """
def always_the_same(counts):
    accuracy = counts.max() / counts.sum()
    # its union is the whole image; the other classes that occur have an IoU of 0
    return accuracy, accuracy / (counts > 0).sum()
"""

EXERCISES = [
    Exercise(
        name="nodes_to_pixels",
        lesson="00",
        title="the way back",
        prompt="""
        A module that reasons on nodes must hand back a map. Write `nodes_to_pixels(nodes, height)`:
        it takes nodes `b n c`, which are the pixels of a map **row by row**, and returns the map
        `b c h w` with `h = height`.

        One line of `rearrange` is enough.
        """,
        stub="""
        def nodes_to_pixels(nodes, height):
            return ...
        """,
        solution=NODES_TO_PIXELS,
        check=_check_nodes_to_pixels,
        hint="""
        Read the pattern above from right to left. `rearrange` has to be told one of the two sizes
        inside the brackets: `h=height`.
        """,
        wrong=(
            WrongAnswer(
                "def nodes_to_pixels(nodes, height):\n"
                "    b, n, c = nodes.shape\n"
                "    return nodes.reshape(b, c, height, n // height)",
                "only poured into it",
            ),
            WrongAnswer(
                "def nodes_to_pixels(nodes, height):\n"
                '    return rearrange(nodes, "b (w h) c -> b c h w", h=height)',
                "column by column",
            ),
            WrongAnswer(
                "def nodes_to_pixels(nodes, height):\n"
                '    return rearrange(nodes, "b (h w) c -> b c w h", h=height)',
                "shape|turned on its side",
            ),
        ),
    ),
    Exercise(
        name="pixel_loss",
        lesson="00",
        title="cross-entropy of a map",
        prompt="""
        Write `pixel_loss(logits, labels, ignore_index=255)` for logits `b k h w` and labels
        `b h w`: the mean of $-\\log p_{y}$ over all pixels that have a label. Pixels labelled
        `ignore_index` have none. Do not call a loss of PyTorch; `log_softmax` and `gather` are
        enough.
        """,
        stub="""
        def pixel_loss(logits, labels, ignore_index=255):
            return ...
        """,
        solution=PIXEL_LOSS,
        check=_check_pixel_loss,
        hint="""
        `gather(1, index)` picks along axis 1 and wants an `index` with as many axes as the logits.
        It refuses the index 255, so put any class there first and leave these pixels out after.
        """,
        wrong=(
            WrongAnswer(
                PIXEL_LOSS.replace("dim=1", "dim=-1"),
                "the loss of the two pixels above is .*, and should be 1.386",
            ),
            WrongAnswer(
                PIXEL_LOSS.replace("labels != ignore_index", "labels != 255"), "not always 255"
            ),
            WrongAnswer(
                PIXEL_LOSS.replace(
                    '-rearrange(picked, "b 1 h w -> b h w")[valid].mean()',
                    "-((picked[:, 0] * valid).sum((1, 2)) / valid.sum((1, 2))).mean()",
                ),
                "mean over the images of each one's mean",
            ),
            WrongAnswer(
                PIXEL_LOSS.replace("log_softmax(dim=1)", "softmax(dim=1).log()"),
                "exp overflows|for scores of some hundreds",
            ),
            WrongAnswer(PIXEL_LOSS.replace("[valid]", ""), "as if they were of class 0"),
            WrongAnswer(
                PIXEL_LOSS.replace(
                    '-rearrange(picked, "b 1 h w -> b h w")[valid].mean()',
                    '-(rearrange(picked, "b 1 h w -> b h w") * valid).mean()',
                ),
                "ignored pixels are still counted",
            ),
            WrongAnswer(PIXEL_LOSS.replace("return -", "return "), "the sign"),
            WrongAnswer(PIXEL_LOSS.replace(".mean()", ".sum()"), "this is the sum"),
            WrongAnswer(PIXEL_LOSS.replace("log_softmax", "softmax"), "its logarithm counts"),
        ),
    ),
    Exercise(
        name="confusion_matrix",
        lesson="00",
        title="the confusion matrix",
        prompt="""
        Write `confusion_matrix(labels, prediction, classes, ignore_index=255)`. Both maps are int64
        and of one shape. Entry $(i, j)$ of the result (int64, `classes classes`) is the number of
        pixels with label $i$ and prediction $j$. Pixels labelled `ignore_index` do not count.

        It will be called on millions of pixels, so avoid a loop over pixels.
        """,
        stub="""
        def confusion_matrix(labels, prediction, classes, ignore_index=255):
            return ...
        """,
        solution=CONFUSION_MATRIX,
        check=_check_confusion_matrix,
        hint="""
        Give each pair $(i, j)$ one number, `classes * i + j`. Then `torch.bincount` counts all of
        them at once; its `minlength` keeps the pairs that never occur.
        """,
        wrong=(
            WrongAnswer(
                CONFUSION_MATRIX.replace(
                    "classes * labels[valid] + prediction[valid]",
                    "classes * prediction[valid] + labels[valid]",
                ),
                "rows and columns are exchanged",
            ),
            WrongAnswer(
                CONFUSION_MATRIX.replace("labels != ignore_index", "labels >= 0").replace(
                    "labels[valid]", "labels[valid].clamp(max=classes - 1)"
                ),
                "must not be counted",
            ),
            WrongAnswer(
                CONFUSION_MATRIX.replace("labels != ignore_index", "labels != 255"),
                "ignore_index=2|stopped with",
            ),
            WrongAnswer(
                "def confusion_matrix(labels, prediction, classes, ignore_index=255):\n"
                "    valid = labels != ignore_index\n"
                "    k = int(max(labels[valid].max(), prediction[valid].max())) + 1\n"
                "    pair = k * labels[valid] + prediction[valid]\n"
                "    return torch.bincount(pair, minlength=k**2).reshape(k, k)",
                "whether it occurs or not",
            ),
        ),
    ),
    Exercise(
        name="iou",
        lesson="00",
        title="intersection over union",
        prompt="""
        Write `iou(confusion)`: from a confusion matrix to the IoU of every class (a tensor of
        floats). A class that neither the labels nor the predictions hold must come out as `nan`.
        """,
        stub="""
        def iou(confusion):
            return ...
        """,
        solution=IOU,
        check=_check_iou,
        hint="""
        Row $c$ holds the pixels labelled $c$, column $c$ those predicted as $c$. Which pixels are
        in both? PyTorch divides 0 by 0 as you need it.
        """,
        wrong=(
            WrongAnswer(IOU.replace(" - right", ""), "counts them twice"),
            WrongAnswer(
                IOU.replace("confusion.sum(0) + confusion.sum(1) - right", "confusion.sum(1)"),
                "one kind of mistake is missing",
            ),
            WrongAnswer(
                IOU.replace("confusion.sum(0) + confusion.sum(1) - right", "confusion.sum(0)"),
                "one kind of mistake is missing",
            ),
            WrongAnswer(IOU.replace("/ union ", "/ union.clamp(min=1) "), "has no IoU"),
        ),
    ),
    Exercise(
        name="always_the_same",
        lesson="00",
        title="accuracy can lie",
        prompt="""
        The laziest network of all gives one answer everywhere: the most frequent class. Write
        `always_the_same(counts)`. `counts` holds the number of pixels of every class (some may be
        0). Return two numbers, as floats or tensors of one element: its pixel accuracy, and its
        mIoU over the classes that occur.

        No confusion matrix is needed. Think: what is the union of the class that it answers?
        """,
        stub="""
        def always_the_same(counts):
            return ..., ...
        """,
        solution=ALWAYS_THE_SAME,
        check=_check_always_the_same,
        hint="""
        Four pixels of sky and two of road, all answered "sky". Sky: 4 in both maps, 6 in either.
        Road: 0 in both.
        """,
        wrong=(
            WrongAnswer(
                ALWAYS_THE_SAME.replace("accuracy / (counts > 0).sum()", "accuracy"),
                "a mean over classes",
            ),
            WrongAnswer(
                ALWAYS_THE_SAME.replace("(counts > 0).sum()", "len(counts)"),
                "classes that do not occur",
            ),
            WrongAnswer(
                ALWAYS_THE_SAME.replace("accuracy, accuracy /", "accuracy, 1 /"),
                "the union does too",
            ),
        ),
    ),
]

QUIZ = [
    Question(
        "What does a network for semantic segmentation hand back for one image?",
        (
            "one class",
            "one class for every pixel",
            "a box around every object",
        ),
        1,
        "Logits `classes h w`; the largest of them at a pixel is its class. Two cars side by side "
        "are both just `car`.",
    ),
    Question(
        "An untrained network has 13 classes and knows nothing. About what loss do you expect?",
        ("0", "log 13 = 2.56", "1 / 13 = 0.08"),
        1,
        "It gives each class about $1/13$, and $-\\log \\frac{1}{13} = \\log 13$. A first loss far "
        "from this is a sign of a mistake.",
    ),
    Question(
        "Of 100 pixels 90 are road and 10 are car. A network answers `road` everywhere. Its mIoU?",
        ("90 %", "50 %", "45 %", "10 %"),
        2,
        "Road: 90 in both maps, 100 in either. Car: 0. The mean of 0.9 and 0 is 0.45.",
    ),
    Question(
        "How does the benchmark compute the mIoU of a data set?",
        (
            "the mIoU of every image, then the mean",
            "one confusion matrix over all images, then the IoU of every class, then the mean",
            "the share of right pixels in every class, then the mean",
        ),
        1,
        "A mean over images gives a class with one pixel in an image as much weight as one with "
        "thousands. The number is another one.",
    ),
    Question(
        "In squeeze, reason, reconstruct: what is a node in squeeze-and-excitation?",
        ("a pixel", "a class", "a channel"),
        2,
        "It pools the image away, so one number a channel is left. The channels talk, and each is "
        "scaled by the answer.",
    ),
    Question(
        "Why do the streets have a control, in which every knob is at 0?",
        (
            "it trains faster",
            "on it context has nothing to add, so a gain there is not due to context",
            "it has more classes",
        ),
        1,
        "A module adds parameters, not only context. What helps on the control as well is not what "
        "we are looking for.",
    ),
]
