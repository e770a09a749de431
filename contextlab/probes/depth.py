"""What depth does to the reach of a stack of convolutions, and to nodes that talk repeatedly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contextlab.modules.graph_conv import LearnedGraphConv

DEPTHS = (1, 2, 4, 8)
#: what stands between the nodes: the edges alone, the residual, the residual with norm and ReLU
FORMS = {"A": "edges", "I - A": "paper", "I + BN/ReLU(A)": "srnet"}


@dataclass(frozen=True)
class Reach:
    """How far a stack of 3 x 3 convolutions looks.

    Args:
        depth: number of layers.
        theoretical: pixels from the middle to the border of what can move the output.
        effective: root mean square distance from the middle, weighted by how much each pixel moves
            the output, along one axis.
    """

    depth: int
    theoretical: int
    effective: float


def reach(depth: int, *, channels: int = 8, samples: int = 8, seed: int = 0) -> Reach:
    """Theoretical and effective reach of a plain stack: 3 x 3, stride 1, ReLU, random weights.

    Were all weights equal, the effective reach would be that of a random walk, √(2 depth / 3).

    Args:
        depth: number of layers.
        channels: of every layer.
        samples: networks to average over.
        seed: of weights and images.

    Example:
        >>> reach(4).theoretical
        4
    """
    if depth < 1:
        raise ValueError(f"expected a depth of at least 1, got {depth}")
    side, seen = 2 * depth + 3, torch.zeros(())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(samples):
            x = torch.randn(1, channels, side, side).double().requires_grad_()
            y = x
            for _ in range(depth):
                weight = torch.randn(channels, channels, 3, 3).double()
                y = torch.relu(F.conv2d(y, weight * (2 / 9 / channels) ** 0.5, padding=1))
            signs = torch.randint(0, 2, (channels,)) * 2.0 - 1
            (g,) = torch.autograd.grad((y[0, :, side // 2, side // 2] * signs).sum(), x)
            seen = seen + g[0].square().sum(0)  # variances add up along the layers
    distance = (torch.arange(side) - side // 2).abs()
    farthest = distance[seen.sum(0) > 0].max()
    spread = ((seen.sum(0) + seen.sum(1)) * distance.square()).sum() / (2 * seen.sum())
    return Reach(depth, int(farthest), float(spread.sqrt()))


def similarity(nodes: Tensor) -> float:
    """Mean squared cosine between two nodes: 1 where all point one way, about 1 / d at random.

    Args:
        nodes: ``b n d``, n of at least 2.

    Example:
        >>> similarity(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [-2.0, 0.0]]]))
        0.5
    """
    b, n, _ = nodes.shape
    if n < 2:
        raise ValueError(f"expected at least two nodes, got {n}")
    unit = F.normalize(nodes.double(), dim=-1)
    squared = (unit @ unit.mT).square()
    return float((squared.sum() - squared.diagonal(dim1=1, dim2=2).sum()) / (b * n * (n - 1)))


@torch.no_grad()
def over_smoothing(
    form: str,
    depths: Sequence[int] = tuple(range(9)),
    *,
    nodes: int = 16,
    states: int = 16,
    samples: int = 8,
    seed: int = 0,
) -> list[float]:
    """How alike the nodes are after some layers with first, untrained weights.

    Args:
        form: one of ``FORMS``.
        depths: after how many layers to look; 0 is the input.
        nodes: their number n.
        states: numbers a node holds.
        samples: stacks to average over.
        seed: of weights and nodes.

    Returns:
        `similarity` at each depth.
    """
    found = torch.zeros(len(depths), dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(samples):
            x, seen = torch.randn(32, nodes, states), {}
            stack = _stack(form, max(depths), nodes, states)
            for depth in range(max(depths) + 1):
                seen[depth] = similarity(x)
                if depth < max(depths):
                    x = stack[depth](x)
            found += torch.tensor([seen[depth] for depth in depths])
    return (found / samples).tolist()


def propagation(
    form: str,
    depth: int,
    seed: int = 0,
    *,
    nodes: int = 8,
    states: int = 16,
    hops: int = 3,
    steps: int = 300,
) -> float:
    """Train a stack of graph convolutions to hand messages along a ring; what it gets wrong.

    Every node holds some random numbers and has to say the sum of its own and of those that the
    node ``hops`` before it holds. A linear layer before and after the stack is trained too. One
    step along the right edges suffices, so depth can only be in the way.

    Args:
        form: one of ``FORMS``.
        depth: number of layers.
        seed: of the weights and the data.
        nodes: their number n.
        states: numbers a node holds; a quarter of them on the way in and out.
        hops: how far a message goes.
        steps: of Adam, 64 new rings each.

    Returns:
        mean squared error on new rings over the variance of the answers, in points: 0 is right,
        100 is as good as saying 0.
    """
    own = states // 4
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        enter, leave = nn.Linear(own, states), nn.Linear(states, own)
        stack = _stack(form, depth, nodes, states)
        model = nn.Sequential(enter, stack, leave)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)

        def rings(count: int) -> tuple[Tensor, Tensor]:
            x = torch.randn(count, nodes, own)
            return x, x + x.roll(hops, 1)

        for _ in range(steps):
            x, wanted = rings(64)
            loss = F.mse_loss(model(x), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
        model.eval()
        x, wanted = rings(1024)
        with torch.no_grad():
            return 100 * float(F.mse_loss(model(x), wanted) / wanted.square().mean())


def _stack(form: str, depth: int, nodes: int, states: int) -> nn.Sequential:
    if form not in FORMS:
        raise ValueError(f"expected a form of {', '.join(FORMS)}, got {form!r}")
    relu = None if FORMS[form] == "srnet" else torch.relu
    layers = (
        LearnedGraphConv(states, nodes, variant=FORMS[form], activation=relu) for _ in range(depth)
    )
    return nn.Sequential(*layers)
