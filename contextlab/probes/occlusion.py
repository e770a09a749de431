"""The receptive field by covering: what moves an answer when a window of the image goes blank.

    r_p(u) = || y_p(image with window u in its mean colour) - y_p(image) ||_2

for y_p the output of the last convolution at a marked position p. Li et al., "Graph guided context
fusion", section 4.3 and figure 6, whose window is 64 x 64; the step is not printed there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from .layers import last_convolution, output_of


def occlusion_passes(image_size: tuple[int, int], *, stride: int = 16) -> int:
    """How many images a network must look at: one for each place of the window, and the whole one.

    Args:
        image_size: height and width.
        stride: step of the window.

    Example:
        >>> occlusion_passes((1024, 2048), stride=32)
        2049
    """
    rows, columns = (-(-side // stride) for side in image_size)
    return rows * columns + 1


def occlusion(
    network: nn.Module,
    image: Tensor,
    positions: Sequence[tuple[int, int]],
    *,
    window: int = 64,
    stride: int = 16,
    layer: str | None = None,
    batch: int = 16,
) -> Tensor:
    """How far the answer at some positions moves when a window of the image goes blank.

    The window's middle steps over the image from cell to cell, where a cell has ``stride`` x
    ``stride`` pixels; at the border the window is cut. All positions share the passes, whose number
    :func:`occlusion_passes` tells.

    Args:
        network: maps ``b 3 h w`` to logits, with any convolutions inside.
        image: ``3 h w`` in [0, 1].
        positions: rows and columns of the marked pixels of the image.
        window: side of the window in pixels. 64 is a thirty-second of the width of a Cityscapes
            image; take one that is as small beside yours.
        stride: its step, which is the resolution of the answer.
        layer: whose output is compared; the last convolution by default.
        batch: images a forward pass.

    Returns:
        ``positions ceil(h / stride) ceil(w / stride)``: the Euclidean norm of the change.

    Raises:
        ValueError: a window or stride below 1, no position, or one outside the image.

    Example:
        >>> from contextlab.networks.segmentation import network
        >>> model = network(13, width=16, kernel=1, auxiliary=False)
        >>> occlusion(model, torch.rand(3, 64, 128), [(20, 30), (50, 90)], window=8).shape
        torch.Size([2, 4, 8])
    """
    h, w = image.shape[1:]
    if window < 1 or stride < 1 or batch < 1:
        found = f"{window}, {stride} and {batch}"
        raise ValueError(f"expected window, stride and batch of at least 1, got {found}")
    outside = [tuple(p) for p in positions if not (0 <= p[0] < h and 0 <= p[1] < w)]
    if not positions or outside:
        found = outside or "none"
        raise ValueError(f"expected positions inside {h} x {w}, got {found}")
    image = image.to(next((p.device for p in network.parameters()), image.device))
    layer = layer or last_convolution(network, image)

    def answers(images: Tensor) -> Tensor:
        y = output_of(network, images, layer)
        rows, columns = zip(*((r * y.shape[2] // h, c * y.shape[3] // w) for r, c in positions))
        return rearrange(y[..., rows, columns], "b c p -> b p c")

    whole = answers(image[None])
    moved = [
        (answers(images) - whole).norm(dim=-1) for images in _covered(image, window, stride, batch)
    ]
    return rearrange(torch.cat(moved), "(y x) p -> p y x", y=-(-h // stride)).cpu()


def _covered(image: Tensor, window: int, stride: int, batch: int) -> Iterator[Tensor]:
    """The image with its window at each place, row by row, ``batch`` places at a time."""
    h, w = image.shape[1:]
    corners = [
        [(2 * n + stride - window + 1) // 2 for n in range(0, side, stride)] for side in (h, w)
    ]
    places = [(top, left) for top in corners[0] for left in corners[1]]
    mean = image.mean((1, 2))[:, None, None]
    for start in range(0, len(places), batch):
        here = places[start : start + batch]
        images = image.repeat(len(here), 1, 1, 1)
        for one, (top, left) in zip(images, here):
            one[:, max(top, 0) : max(top + window, 0), max(left, 0) : max(left + window, 0)] = mean
        yield images
