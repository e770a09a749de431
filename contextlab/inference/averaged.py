"""Averages of a network's answers: over windows that overlap, over scales, over a mirror image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .modes import evaluating

MEANS = ("probabilities", "logits")


@torch.inference_mode()
def average(
    network: nn.Module,
    images: Tensor,
    *,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    mean_of: str = "probabilities",
    batch: int = 4,
) -> Tensor:
    """What a network says about images, as probabilities.

        P(x)  = 1 / |S| |M|  sum_{s in S} sum_{m in M}  m^-1 up_{1/s} Q( m up_s x )
        Q(x)_p = 1 / |T_p|  sum_{t in T_p}  softmax( network( x_t ) )_{p - t}

    S are the scales, M the image as it is and, with ``flip``, its mirror image; ``T_p`` are the
    windows t that hold the pixel p. Windows start every ``stride`` pixels, and the last of a row
    or a column is moved back until it ends with the image. So every pixel is in one at least, and
    none is padded. Along a side on which the image is shorter, the window is as long as the image.

    Args:
        network: maps ``b 3 h w`` to logits ``b k h w``. Logits of another size are resized
            bilinearly; of a dict, ``"out"`` counts, and of a tuple or a list, the first. It is put
            into evaluation mode, and every part of it back into its own afterwards.
        images: ``b c h w``, on the network's device.
        window: height and width, or the side of a square; the whole image by default. The same
            at every scale, as it is what the network was trained on that should not change.
        stride: down and right, or both; two thirds of the window, rounded up, by default.
        scales: factors of height and width.
        flip: average with the answer to the mirror image.
        mean_of: what is averaged where windows overlap, "probabilities" or "logits". Scales and
            mirror images are always averaged as probabilities.
        batch: windows a forward pass, which bounds the memory.

    Returns:
        Probabilities ``b k h w``, at least in single precision.

    Raises:
        ValueError: an option makes no sense, a stride would leave gaps, or the network's answer
            holds no logits.

    Example:
        >>> network = nn.Conv2d(3, 5, 3, padding=1)
        >>> p = average(network, torch.rand(2, 3, 33, 65), window=32, scales=(0.5, 1), flip=True)
        >>> p.shape, bool((p.sum(1) - 1).abs().max() < 1e-5)
        (torch.Size([2, 5, 33, 65]), True)

    Source: windows with a stride of two thirds as in the code of CCNet and of SFNet, which average
    logits; scales and flips as in PSPNet, section 5.1, and most of what came after it.
    """
    if images.ndim != 4 or not images.is_floating_point() or 0 in images.shape:
        raise ValueError(
            f"expected images as floats 'b c h w', got {tuple(images.shape)} of {images.dtype}"
        )
    scales = tuple(scales)
    if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise ValueError(f"expected scales above 0, at least one, got {scales}")
    if mean_of not in MEANS:
        raise ValueError(f"expected mean_of to be one of {', '.join(MEANS)}, got {mean_of!r}")
    if batch < 1:
        raise ValueError(f"expected batch >= 1, got {batch}")
    window, stride = _window(window, stride)
    size = tuple(images.shape[-2:])
    total = 0
    with evaluating(network):
        for scale, mirrored in product(scales, (False, True)[: 1 + flip]):
            seen = _resize(images, tuple(max(1, round(scale * side)) for side in size))
            seen = seen.flip(-1) if mirrored else seen
            said = _covered(network, seen, window, stride, mean_of, batch)
            total = total + _resize(said.flip(-1) if mirrored else said, size)
    return total / (len(scales) * (1 + flip))


class Averaged(nn.Module):
    """A network whose answers are averages, to be scored or looked at as any other is.

    Args:
        network: maps ``b 3 h w`` to logits.
        options: those of :func:`average`.

    Shape:
        images ``b 3 h w`` -> logarithms of probabilities ``b k h w``, which are logits as well.

    Example:
        >>> Averaged(nn.Conv2d(3, 5, 1), window=8)(torch.rand(1, 3, 9, 17)).shape
        torch.Size([1, 5, 9, 17])
    """

    def __init__(self, network: nn.Module, **options) -> None:
        super().__init__()
        self.network, self.options = network, options

    def forward(self, x: Tensor) -> Tensor:
        """Images ``b 3 h w`` -> log probabilities ``b k h w``."""
        return average(self.network, x, **self.options).log()


def starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows start along a side: every ``stride`` pixels, the last one ending with it.

    Args:
        length: of the side.
        window: pixels in a window.
        stride: from one start to the next, no longer than the window.

    Example:
        >>> starts(10, 4, 3), starts(11, 4, 3), starts(3, 4, 3)
        ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def _covered(
    network: nn.Module,
    images: Tensor,
    window: tuple[int, int] | None,
    stride: tuple[int, int] | None,
    mean_of: str,
    batch: int,
) -> Tensor:
    """Probabilities ``b k h w``: each pixel the mean over the windows that hold it."""
    size = images.shape[-2:]
    high, wide = (min(sides) for sides in zip(window or size, size))
    places = list(product(*map(starts, size, (high, wide), stride or size)))
    tiles = [(n, top, left) for n in range(len(images)) for top, left in places]
    total, count = None, torch.zeros(size, device=images.device)
    for top, left in places:
        count[top : top + high, left : left + wide] += 1
    for first in range(0, len(tiles), batch):
        here = tiles[first : first + batch]
        seen = torch.stack([images[n, :, y : y + high, x : x + wide] for n, y, x in here])
        said = _logits(network, seen)
        said = said if mean_of == "logits" else said.softmax(1)
        if total is None:
            total = said.new_zeros(len(images), said.shape[1], *size)
        for (n, y, x), part in zip(here, said):
            total[n, :, y : y + high, x : x + wide] += part
    mean = total / count
    return mean.softmax(1) if mean_of == "logits" else mean


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    """The network's logits at the images' size, in single precision or more."""
    answer = said = network(images)
    if isinstance(answer, Mapping):
        said = answer.get("out")
    elif isinstance(answer, (tuple, list)):
        said = next(iter(answer), None)
    if not isinstance(said, Tensor) or said.ndim != 4 or len(said) != len(images):
        raise ValueError(
            f"expected logits 'b k h w' of {len(images)} images, alone, as 'out' of a dict or "
            f"first of a tuple; {type(network).__name__} returned {_told(answer)}"
        )
    return _resize(said.to(torch.promote_types(said.dtype, torch.float32)), images.shape[-2:])


def _told(answer: object) -> str:
    if isinstance(answer, Tensor):
        return str(tuple(answer.shape))
    if isinstance(answer, Mapping):
        return f"a dict of {', '.join(f'{key}: {_told(value)}' for key, value in answer.items())}"
    if isinstance(answer, (tuple, list)):
        return f"a {type(answer).__name__} of {', '.join(map(_told, answer))}"
    return type(answer).__name__


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _window(
    window: int | Sequence[int] | None, stride: int | Sequence[int] | None
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Both as (down, right), with what is not given filled in."""
    if window is None:
        if stride is not None:
            raise ValueError(f"expected a window to go with stride={stride}, got none")
        return None, None
    window = _two("window", window)
    # in whole numbers: two thirds of 768 must not become 513
    stride = (
        tuple(-(-2 * side // 3) for side in window) if stride is None else _two("stride", stride)
    )
    if any(step > side for step, side in zip(stride, window)):
        raise ValueError(f"expected a stride no longer than window={window}, got {stride}")
    return window, stride


def _two(name: str, given: int | Sequence[int]) -> tuple[int, int]:
    sides = (given, given) if isinstance(given, int) else tuple(given)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise ValueError(f"expected {name} as one or two whole numbers >= 1, got {given!r}")
    return sides
