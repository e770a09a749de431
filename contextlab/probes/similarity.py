"""Which positions look alike to a network: cosines of its features, whatever their labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import einsum
from torch import Tensor, nn

from .layers import output_of


def cosines(features: Tensor, position: tuple[int, int]) -> Tensor:
    """Cosine of the features at one position and at all others.

    Args:
        features: ``c h w``.
        position: row and column.

    Returns:
        ``h w``, from -1 to 1; 0 where a feature is zero.

    Raises:
        ValueError: the position lies outside the map.

    Example:
        >>> cosines(torch.tensor([[[1.0, 2.0, 0.0]], [[0.0, 0.0, 5.0]]]), (0, 0))
        tensor([[1., 1., 0.]])
    """
    h, w = features.shape[1:]
    if not (0 <= position[0] < h and 0 <= position[1] < w):
        raise ValueError(f"expected a position inside {h} x {w}, got {tuple(position)}")
    unit = F.normalize(features, dim=0)
    return einsum(unit[:, position[0], position[1]], unit, "c, c h w -> h w")


def similarity_maps(
    network: nn.Module,
    image: Tensor,
    positions: Sequence[tuple[int, int]],
    *,
    layer: str = "backbone",
) -> Tensor:
    """How similar the features of one layer are to those at marked pixels of the image.

    Args:
        network: maps ``b 3 h w`` to logits.
        image: ``3 h w`` in [0, 1].
        positions: rows and columns of the marked pixels of the image.
        layer: the last map of the backbone by default; "slot" is behind the context module.

    Returns:
        ``positions h' w'`` on that layer's map.

    Example:
        >>> from contextlab.networks.segmentation import network
        >>> model = network(13, context="non_local", width=64, kernel=1)
        >>> similarity_maps(model, torch.rand(3, 64, 128), [(9, 90)]).shape
        torch.Size([1, 16, 32])
    """
    device = next((p.device for p in network.parameters()), image.device)
    features = output_of(network, image[None].to(device), layer)[0].cpu()
    (h, w), (rows, columns) = image.shape[1:], features.shape[1:]
    return torch.stack([cosines(features, (r * rows // h, c * columns // w)) for r, c in positions])
