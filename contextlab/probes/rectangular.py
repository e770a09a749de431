"""What rows and columns can draw: gates of axial vectors, fitted to shapes.

One vector a row and one a column are added or multiplied, as rectangular self-calibration does,
and strips may follow. Each shape is fitted by gradient descent from several starts side by side.
A fit says what a form can hold, not what it would learn from many images: zero padding tells the
layers where the borders are, so enough of them learn any one shape by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from contextlab.modules import RectangularAttention, RectangularCalibration

STARTS = 4  # each is a channel, and depth-wise layers keep channels apart
VECTORS = ("free", "means")


@dataclass(frozen=True)
class Drawing:
    """A fitted gate.

    Args:
        gate: ``h w``, between 0 and 1.
        region: ``h w``, the sum or the product of both vectors.
        iou: of the shape with the pixels where the gate is above the threshold that suits best.
        rank: of ``region``, see :func:`rank`.
    """

    gate: Tensor
    region: Tensor
    iou: float
    rank: int


def shapes(side: int = 24) -> dict[str, Tensor]:
    """Six shapes, each ``side side`` of booleans, by name.

    Example:
        >>> {name: rank(shape) for name, shape in shapes().items()}
        {'cross': 2, 'rectangle': 1, 'two rectangles': 2, 'L': 2, 'disc': 5, 'diagonal': 23}
    """
    i, j = torch.meshgrid(*2 * [(torch.arange(side) + 0.5) / side], indexing="ij")

    def box(top: float, bottom: float, left: float, right: float) -> Tensor:
        return (i > top) & (i < bottom) & (j > left) & (j < right)

    return {
        "cross": (box(0.1, 0.9, 0.4, 0.6)) | box(0.4, 0.6, 0.1, 0.9),
        "rectangle": box(0.2, 0.7, 0.3, 0.9),
        "two rectangles": box(0.1, 0.4, 0.1, 0.5) | box(0.6, 0.9, 0.6, 0.9),
        "L": box(0.1, 0.9, 0.2, 0.4) | box(0.7, 0.9, 0.2, 0.9),
        "disc": (i - 0.5) ** 2 + (j - 0.5) ** 2 < 0.35**2,
        "diagonal": (i - j).abs() < 0.1,
    }


def rank(image: Tensor, tolerance: float = 1e-3) -> int:
    """How many singular values of an ``h w`` image exceed this share of the largest."""
    values = torch.linalg.svdvals(image.double())
    return int((values > tolerance * values[0]).sum())


def best_iou(gate: Tensor, shape: Tensor) -> float:
    """Intersection over union of a shape with a gate cut at the threshold that suits best.

    Pixels that differ by less than 1e-4 are not told apart.
    """
    levels = (gate * 1e4).round()
    above = levels >= levels.unique()[:, None, None]
    both, either = (above & shape).sum((1, 2)), (above | shape).sum((1, 2))
    return (both / either).max().item()


def draw(
    shape: Tensor,
    *,
    gather: str = "add",
    strip: int | None = None,
    vectors: str = "free",
    steps: int = 250,
) -> Drawing:
    """Fit the gate of one channel to a shape.

    Args:
        shape: ``h w`` of booleans, some but not all of them true.
        gather: "add" or "multiply".
        strip: length of the two strips, trained with the norm between them; None: no strips, and
            the gate is the sigmoid of the region and one more number.
        vectors: "free" fits both vectors too; "means" takes those of the shape itself, its share
            of every row and column, as pooling finds them.
        steps: of Adam.

    Returns:
        the best :class:`Drawing` of four starts, the same in every call.

    Raises:
        ValueError: an option that is not known, or a shape that fills nothing or everything.

    Example:
        >>> cross = shapes(16)["cross"]
        >>> round(draw(cross, steps=200).iou, 2)
        1.0
    """
    check_shape(shape)
    for option, found, known in (
        ("gather", gather, ("add", "multiply")),
        ("vectors", vectors, VECTORS),
    ):
        if found not in known:
            raise ValueError(f"expected {option} to be one of {known}, got {found!r}")
    aim = shape.float().expand(1, STARTS, -1, -1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = RectangularAttention(STARTS, gather=gather, strip=strip, local=None)
        rows, columns = layers.axes(aim)
        if vectors == "free":
            rows, columns = (nn.Parameter(torch.randn_like(line)) for line in (rows, columns))
    slope = nn.Parameter(torch.ones(STARTS, 1, 1))
    bias = nn.Parameter(torch.zeros(STARTS, 1, 1))

    def region() -> Tensor:
        return rows + columns if gather == "add" else rows * columns

    def logits() -> Tensor:
        if strip is None:
            return slope * region() + bias
        return layers.column_strip(layers.between(layers.row_strip(rows, columns)))

    free = [p for p in (rows, columns) if p.requires_grad]
    descend([*layers.parameters(), *free, slope, bias], logits, aim, steps)
    with torch.no_grad():
        gates, regions = torch.sigmoid(logits())[0], region()[0]
    ious = [best_iou(gate, shape) for gate in gates]
    best = max(range(STARTS), key=ious.__getitem__)
    return Drawing(gates[best], regions[best], ious[best], rank(regions[best]))


def calibrate(
    shape: Tensor, *, blocks: int = 1, strip: int = 11, channels: int = 8, steps: int = 200
) -> Drawing:
    """Fit a stack of calibration modules, which get the shape's row and column means and no more.

    A 1 x 1 layer spreads the sum of both over the channels, and another reads the gate.

    Args:
        shape: ``h w`` of booleans, some but not all of them true.
        blocks: how many modules.
        strip: length of their strips.
        channels: of each of them.
        steps: of Adam.

    Example:
        >>> round(calibrate(shapes(16)["rectangle"], steps=60).iou, 1)
        1.0
    """
    check_shape(shape)
    aim = shape.float()[None, None]
    region = aim.mean(3, keepdim=True) + aim.mean(2, keepdim=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"mixer_options": {"strip": strip}, "scale": 1.0}
        stack = [RectangularCalibration(channels, **options) for _ in range(blocks)]
        net = nn.Sequential(nn.Conv2d(1, channels, 1), *stack, nn.Conv2d(channels, 1, 1))
    descend(list(net.parameters()), lambda: net(region), aim, steps, rate=0.01)
    with torch.no_grad():
        gate = torch.sigmoid(net(region))[0, 0]
    return Drawing(gate, region[0, 0], best_iou(gate, shape), rank(region[0, 0]))


def check_shape(shape: Tensor) -> None:
    if shape.ndim != 2 or shape.dtype != torch.bool or shape.all() or not shape.any():
        raise ValueError(
            "expected a shape h w of booleans, some but not all of them true, got "
            f"{tuple(shape.shape)} of {shape.dtype}, {int(shape.sum())} true"
        )


def descend(parameters: list, logits, aim: Tensor, steps: int, rate: float = 0.05) -> None:
    """Adam on the cross-entropy; the starts lie in channels, which do not share a parameter."""
    optimiser = torch.optim.Adam(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    each = nn.BCEWithLogitsLoss(reduction="none")
    for _ in range(steps):
        optimiser.zero_grad()
        each(logits(), aim).mean((0, 2, 3)).sum().backward()
        optimiser.step()
        schedule.step()
