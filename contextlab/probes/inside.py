"""What the channels of a network know: how much of them the labels explain, and how evenly.

For values v with labels, the variance splits into a part between the labels and one within:

    Σ_i (v_i - v̄)²  =  Σ_c n_c (v̄_c - v̄)²  +  Σ_c Σ_{i in c} (v_i - v̄_c)²

The first part over the whole is the share that the labels explain (the correlation ratio η²).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor, nn


@dataclass(frozen=True)
class Maps:
    """What goes into a slot and what comes out, with the labels of the map's positions.

    Args:
        before: map that enters the slot, ``n c h w``.
        after: map that leaves it, ``n c h w``.
        fused: behind the convolution that follows, ``n c h w``.
        labels: of the pixel in the middle of each position, ``n h w``.
        images: which images of the data set these are.
    """

    before: Tensor
    after: Tensor
    fused: Tensor
    labels: Tensor
    images: tuple[int, ...]


@torch.inference_mode()
def slot_maps(network: nn.Module, dataset, images: Iterable[int], *, batch: int = 32) -> Maps:
    """The maps before and after the slot of a network, for some images.

    Args:
        network: has ``features(x)``, ``slot`` and ``fuse``, as a context FCN.
        dataset: yields ``(image, labels)``, all of one size.
        images: which; all are held in memory.
        batch: images a forward pass.

    Returns:
        the maps, on the CPU.
    """
    images = tuple(images)
    if not images:
        raise ValueError("expected at least one image, got none")
    training, device = network.training, next(network.parameters()).device
    network.eval()
    before, after, fused, labels = [], [], [], []
    try:
        for start in range(0, len(images), batch):
            items = [dataset[i] for i in images[start : start + batch]]
            x = network.features(torch.stack([image for image, _ in items]).to(device))
            y = network.slot(x)
            for found, made in ((before, x), (after, y), (fused, network.fuse(y))):
                found.append(made.cpu())
            labels += [label for _, label in items]
    finally:
        network.train(training)
    size = before[0].shape[2:]
    maps = (torch.cat(found) for found in (before, after, fused))
    return Maps(*maps, at_middle(torch.stack(labels), size), images)


def at_middle(labels: Tensor, size: Iterable[int]) -> Tensor:
    """The label of the pixel in the middle of each position of a coarser map.

    Args:
        labels: ``n h w``.
        size: height and width of the map.

    Example:
        >>> at_middle(torch.arange(16).reshape(1, 4, 4), (2, 2))
        tensor([[[ 5,  7],
                 [13, 15]]])
    """
    rows, columns = (
        ((2 * torch.arange(to) + 1) * side // (2 * to)) for side, to in zip(labels.shape[1:], size)
    )
    return labels[:, rows][:, :, columns]


def explained(values: Tensor, labels: Tensor) -> Tensor:
    """Share of each channel's variance that the labels explain, η², from 0 to 1.

    Args:
        values: ``m k``, m values of each of k channels.
        labels: int ``m``, any numbers; negative ones and 255 are left out.

    Returns:
        ``k``; nan for a channel that is constant.

    Example:
        >>> values = torch.tensor([[1.0, 1.0], [1.0, 2.0], [3.0, 1.0], [3.0, 2.0]])
        >>> explained(values, torch.tensor([0, 0, 1, 1]))
        tensor([1., 0.], dtype=torch.float64)
    """
    between, total, _ = _parts(values, labels)
    return between.sum(0) / total


def _parts(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Between part by label ``g k`` and the total ``k``, both sums of squares; sizes ``g``."""
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        found = f"{tuple(values.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"expected values 'm k' and labels 'm', got {found}")
    known = (labels >= 0) & (labels != 255)
    values, labels = values[known].double(), labels[known]
    if len(labels) < 2:
        raise ValueError(f"expected at least two labelled values, got {len(labels)}")
    names, labels = labels.unique(return_inverse=True)
    centred = values - values.mean(0)
    sizes = torch.bincount(labels, minlength=len(names)).double()
    sums = centred.new_zeros(len(names), values.shape[1]).index_add_(0, labels, centred)
    return sums.square() / sizes[:, None], centred.square().sum(0), sizes


@dataclass(frozen=True)
class Selectivity:
    """How far channels respond to classes.

    Args:
        explained: share of a channel's variance that all labels explain, ``k``.
        single: the largest share that one class alone explains, that class against all else, ``k``.
        best: that class, ``k``.
        control: ``explained`` with every map beside the labels of another image, ``s k``.
    """

    explained: Tensor
    single: Tensor
    best: Tensor
    control: Tensor

    @property
    def purity(self) -> Tensor:
        """Of what all labels explain, the share that one class explains alone, ``k``."""
        return self.single / self.explained

    @property
    def above_control(self) -> float:
        """Share of the channels that beat every shuffle."""
        if not len(self.control):
            raise ValueError("expected at least one shuffle to compare with, got none")
        return (self.explained > self.control.max(0).values).double().mean().item()


def selectivity(maps: Tensor, labels: Tensor, *, shuffles: int = 20, seed: int = 0) -> Selectivity:
    """How far each channel of some maps responds to the classes, against shuffled labels.

    The control gives every map the labels of another image. So it keeps what all images share, such
    as a sky above a road, and a channel that knows only its row scores as much in the control.
    Vectors, one an image, are maps of one position.

    Args:
        maps: ``n k h w``; channels that are constant are left out.
        labels: ``n h w``.
        shuffles: how often to shuffle the images.
        seed: of the shuffles.

    Returns:
        the :class:`Selectivity` of the channels that vary.

    Raises:
        ValueError: fewer than two images, or shapes that do not fit.

    Example:
        >>> sky = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0]]).reshape(2, 1, 4)
        >>> found = selectivity(sky[:, None].float(), sky)
        >>> found.explained.item(), found.single.item()
        (1.0, 1.0)
    """
    if maps.ndim != 4 or labels.shape != (len(maps), *maps.shape[2:]):
        found = f"{tuple(maps.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"expected maps 'n k h w' and labels 'n h w', got {found}")
    if len(maps) < 2:
        raise ValueError(f"expected at least two images to shuffle, got {len(maps)}")
    values = rearrange(maps, "n k h w -> (n h w) k")
    values = values[:, (values != values[:1]).any(0)]
    between, total, sizes = _parts(values, rearrange(labels, "n h w -> (n h w)"))
    # one class against all else: the rest has the opposite sum
    alone = between * (1 + sizes / (sizes.sum() - sizes).clamp_min(1e-12))[:, None] / total
    single, best = alone.max(0)
    draw = torch.Generator().manual_seed(seed)
    control = []
    for _ in range(shuffles):
        other = torch.randperm(len(maps), generator=draw)
        # a cyclic order: no image keeps its own labels
        mixed = torch.empty_like(labels)
        mixed[other] = labels[other.roll(1)]
        control.append(explained(values, rearrange(mixed, "n h w -> (n h w)")))
    control = torch.stack(control) if control else total.new_zeros(0, len(total))
    names = labels[(labels >= 0) & (labels != 255)].unique()
    return Selectivity(between.sum(0) / total, single, names[best], control)


def projected(maps: Tensor, channels: int | None = None, *, seed: int = 0) -> Tensor:
    """Random linear mixtures of the channels: what any projection would give.

    With as many mixtures as channels the mixing is a rotation, which keeps all that the channels
    know and forgets only which of them knows it.

    Args:
        maps: ``n c h w``.
        channels: how many mixtures, at most c; c by default. They are orthonormal.
        seed: of the mixing.

    Returns:
        ``n channels h w``.

    Example:
        >>> projected(torch.randn(2, 8, 3, 3), 4).shape
        torch.Size([2, 4, 3, 3])
    """
    c = maps.shape[1]
    channels = c if channels is None else channels
    if not 1 <= channels <= c:
        raise ValueError(f"expected 1 to {c} mixtures of {c} channels, got {channels}")
    draw = torch.Generator().manual_seed(seed)
    mix = nn.init.orthogonal_(torch.empty(c, c, dtype=torch.float64), generator=draw)
    return einsum(mix[:channels].to(maps), maps, "k c, n c h w -> n k h w")


def unevenness(maps: Tensor, segments: Tensor) -> Tensor:
    """Variance within segments over variance between them, image by image, all channels together.

        ratio = Σ_s Σ_{i in s} |x_i - m_s|²  /  Σ_s n_s |m_s - m|²

    Small where the positions of a segment agree and segments differ. It does not change with the
    scale of the map.

    Args:
        maps: ``n c h w``.
        segments: ``n h w``, numbers of segments; negative ones and 255 are left out.

    Returns:
        ``n``.

    Example:
        >>> maps = torch.tensor([[[[1.0, 3.0, 11.0, 13.0]]]])
        >>> unevenness(maps, torch.tensor([[[0, 0, 1, 1]]]))  # 4 within, 100 between
        tensor([0.0400], dtype=torch.float64)
    """
    ratios = []
    for one, numbers in zip(maps, segments):
        between, total, _ = _parts(rearrange(one, "c h w -> (h w) c"), numbers.flatten())
        ratios.append((total.sum() - between.sum()) / between.sum())
    return torch.stack(ratios)


def gates(network: nn.Module, maps: Tensor) -> Tensor:
    """The gates of a squeeze-reasoning slot, one vector an image, as maps of one position.

    Args:
        network: its slot has a ``gate(x)``.
        maps: what enters the slot, ``n c h w``.

    Returns:
        ``n p 1 1``.
    """
    if not hasattr(network.slot, "gate"):
        raise ValueError(f"expected a slot with gates, got {type(network.slot).__name__}")
    with torch.inference_mode():
        return rearrange(network.slot.gate(maps), "n p -> n p 1 1")


def answer_of(dataset, images: Iterable[int], demand: str) -> Tensor:
    """What the scene asks for: the commonest label of the pixels that pose a demand, ``n 1 1``.

    Args:
        dataset: has ``demand(i)`` and ``demand_names``.
        images: which.
        demand: for example "G", whose answer is the time of day, or "L", the kind of vehicle.

    Returns:
        labels of maps of one position; -1 for an image that does not pose the demand.
    """
    letter, answers = dataset.demand_names.index(demand), []
    for i in images:
        asked = dataset[i][1][dataset.demand(i) == letter]
        answers.append(int(asked.mode().values) if len(asked) else -1)
    return repeat(torch.tensor(answers), "n -> n 1 1")
