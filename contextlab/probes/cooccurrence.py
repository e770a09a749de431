"""A task of co-occurrence alone: which colours go together in a sky whose mean says nothing?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from contextlab import context, data
from contextlab.modules.pooling import average_pool, bilinear_pool

ROWS = 24  # sky and houses
#: heads that take no bent function of a single pixel before they pool
HEADS = {
    "average": None,
    "squeeze_excite": ("squeeze_excite", {"reduction": 2}),
    "SR, average": ("squeeze_reasoning", {"nodes": 2, "squeeze": "average"}),
    "SR, Hadamard": ("squeeze_reasoning", {"nodes": 2, "squeeze": "hadamard"}),
    "CGNL": ("compact_non_local", {"groups": 1, "zero_init": False}),
    "bilinear": None,
    "non-local": ("non_local", {"zero_init": False}),
}


class Head(nn.Module):
    """A linear map of the pixels, a context module, the mean over the pixels, a classifier."""

    def __init__(self, name: str, width: int = 8):
        super().__init__()
        if name not in HEADS:
            raise ValueError(f"expected a head of {', '.join(HEADS)}, got {name!r}")
        self.pairs = name == "bilinear"
        self.enter = nn.Conv2d(3, width, 1)
        module = HEADS[name]
        self.slot = nn.Identity() if module is None else context(module[0], width, **module[1])
        self.leave = nn.Linear(width**2 if self.pairs else width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.slot(self.enter(x))
        g = rearrange(bilinear_pool(x, x), "b p q -> b (p q)") if self.pairs else average_pool(x)
        return self.leave(g)[:, 0]


@dataclass(frozen=True)
class Skies:
    """Images to learn from, and new ones with their twins at the other time of day.

    Args:
        known: every fourth row and column of the upper rows, ``n 3 h w``, and ``noon``, ``n``.
        new: all pixels of the upper rows of other streets, then of their twins.
        answers: of ``new``.
    """

    known: Tensor
    noon: Tensor
    new: Tensor
    answers: Tensor


def skies(train: int = 256, val: int = 32) -> Skies:
    """The upper rows of `data.SecondOrderStreets`, scaled to about -2 .. 2.

    Args:
        train: images to learn from.
        val: new images; each comes with its twin.
    """

    def draw(split: str, size: int, twin: bool = False) -> tuple[Tensor, Tensor]:
        dataset = data.SecondOrderStreets(split, size=size)
        upper = torch.tensor(dataset.batch(range(size), twin=twin)["image"][:, :ROWS])
        noon = torch.tensor([dataset.noon(i) != twin for i in range(size)]).float()
        return rearrange(upper, "b h w c -> b c h w") / 64 - 2, noon

    known, noon = draw("train", train)
    new = [draw("val", val, twin=twin) for twin in (False, True)]
    return Skies(
        known[..., ::4, ::4].contiguous(), noon, *(torch.cat(parts) for parts in zip(*new))
    )


def cooccurrence(name: str, seed: int = 0, *, sky: Skies | None = None, steps: int = 100) -> float:
    """Train a tiny head to tell noon from dusk by the sky's colour pairs; seconds.

    Args:
        name: one of ``HEADS``.
        seed: of its first weights.
        sky: the images; drawn when not given.
        steps: of Adam, over all known images.

    Returns:
        share of right answers on new streets and their twins, in points. Whatever knows only means
        of linear maps is right on exactly one of every two twins.
    """
    sky = sky or skies()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(name)
        optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
        for _ in range(steps):
            loss = F.binary_cross_entropy_with_logits(head(sky.known), sky.noon)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        head.eval()
        with torch.no_grad():
            right = torch.cat(
                [
                    (head(x) > 0) == (noon > 0)
                    for x, noon in zip(sky.new.split(16), sky.answers.split(16))
                ]
            )
    return 100 * right.float().mean().item()
