"""Receptive fields: what a position can see by its layers, and does see by its gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

Layer = tuple[int, int, int]


def growth(layers: Iterable[Layer]) -> list[tuple[int, int]]:
    """Receptive field and stride after every layer of a chain.

    .. math:: r_l = r_{l-1} + (k_l - 1) \\, d_l \\, s_{l-1}^{all}, \\qquad
              s_l^{all} = s_l \\, s_{l-1}^{all}

    Args:
        layers: (kernel, stride, dilation) of each layer.

    Returns:
        (receptive field in pixels, stride in pixels) after each layer.

    Raises:
        ValueError: a layer that is not three whole numbers of at least 1.

    Example:
        >>> growth([(3, 2, 1), (3, 2, 1), (3, 1, 2)])
        [(3, 2), (7, 4), (23, 4)]
    """
    size, stride, sizes = 1, 1, []
    for layer in layers:
        layer = tuple(layer)
        if len(layer) != 3 or not all(isinstance(n, int) and n >= 1 for n in layer):
            raise ValueError(f"expected (kernel, stride, dilation), each at least 1, got {layer}")
        kernel, step, dilation = layer
        size, stride = size + (kernel - 1) * dilation * stride, stride * step
        sizes.append((size, stride))
    return sizes


def theoretical(
    model: nn.Module | Sequence[Layer], image_size: tuple[int, int] = (128, 128)
) -> tuple[int, int]:
    """Height and width in pixels of what one position of the last map can depend on.

    A list of layers is added up (see :func:`growth`). A model is asked instead, whatever its
    branches: in a copy every weight becomes positive and every maximum a mean, so that nothing can
    cancel, and the gradient of the middle output is non-zero exactly where it can look.

    Args:
        model: layers (kernel, stride, dilation), or a module from ``b 3 h w`` to a map or to a
            list of maps, the last of which counts.
        image_size: of the image for a model; a receptive field that reaches its border is cut.

    Example:
        >>> theoretical([(3, 1, 1)] * 5), theoretical(nn.Conv2d(3, 8, 3, dilation=4))
        ((11, 11), (9, 9))
    """
    if not isinstance(model, nn.Module):
        size = growth(model)[-1][0] if model else 1
        return size, size
    positive = _positive(model)
    x = torch.ones(1, 3, *image_size, dtype=torch.float64, requires_grad=True)
    y = _last(positive(x))
    y[..., y.shape[-2] // 2, y.shape[-1] // 2].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    return tuple(int(np.ptp(np.flatnonzero(seen.any(d)))) + 1 for d in (1, 0))


def effective(
    model: nn.Module,
    image_size: tuple[int, int] = (128, 128),
    *,
    images: Tensor | None = None,
    position: tuple[int, int] | None = None,
    samples: int = 16,
    seed: int = 0,
) -> Tensor:
    """How much each pixel moves one position of the last map: the mean size of the gradient.

    For every sample the position's channels are mixed with random signs, so that they do not
    cancel, and the gradient is taken in evaluation mode.

    Args:
        model: from ``b 3 h w`` to a map or to a list of maps, the last of which counts.
        image_size: of the random images, unless ``images`` are given.
        images: ``n 3 h w`` to look at, in place of random ones.
        position: row and column on the map; the middle by default.
        samples: how many random images.
        seed: of the images and the signs.

    Returns:
        ``h w``, not negative, summing to 1.

    Example:
        >>> effective(nn.Conv2d(3, 4, 3), (9, 9)).count_nonzero()
        tensor(9)
    """
    generator = torch.Generator().manual_seed(seed)
    if images is None:
        images = torch.rand(samples, 3, *image_size, generator=generator)
    parameter = next(model.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        total = torch.zeros(images.shape[2:])
        for image in images:
            x = image[None].to(device).requires_grad_()
            y = _last(model(x))
            row, column = position or (y.shape[-2] // 2, y.shape[-1] // 2)
            signs = torch.randint(0, 2, y.shape[:2], generator=generator) * 2 - 1
            (g,) = torch.autograd.grad((y[..., row, column] * signs.to(y)).sum(), x)
            total += g[0].abs().sum(0).cpu()
    finally:
        for module, training in modes:
            module.training = training
    return total / total.sum().clamp_min(1e-30)


def effective_width(field: Tensor | np.ndarray) -> float:
    """Side of the square with as many pixels as matter.

    A pixel matters if its value is above 4.55 % of the largest, which is two standard deviations
    of a Gaussian (Luo et al., NeurIPS 2016, section 3.1).

    Example:
        >>> effective_width(torch.ones(5, 5))
        5.0
    """
    field = torch.as_tensor(field)
    return float((field > (1 - 0.9545) * field.max()).sum()) ** 0.5


def central_share(field: Tensor | np.ndarray, side: int) -> float:
    """Share of the field within the square of this (odd) side around its centre of mass."""
    field = torch.as_tensor(field).double()
    rows, columns = (torch.arange(n).double() for n in field.shape)
    y = int((field.sum(1) * rows).sum() / field.sum() + 0.5)
    x = int((field.sum(0) * columns).sum() / field.sum() + 0.5)
    half = side // 2
    inside = field[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
    return float(inside.sum() / field.sum())


def held_area(field: Tensor | np.ndarray, share: float = 0.9) -> float:
    """The smallest part of the map that holds this share of a response, from 0 to 1.

    It does not change with the scale of the response, nor with the resolution of the map as long as
    cells are small beside what they show; so gradients (:func:`effective`) and covered windows
    (:func:`~contextlab.probes.occlusion.occlusion`) can both be told by it.

    Args:
        field: ``h w``, not negative.
        share: of its sum.

    Raises:
        ValueError: a share outside (0, 1], or a field that is negative, empty or zero everywhere.

    Example:
        >>> held_area(torch.tensor([[9.0, 1.0], [0.0, 0.0]])), held_area(torch.ones(10, 10))
        (0.25, 0.9)
    """
    if not 0 < share <= 1:
        raise ValueError(f"expected a share above 0 and up to 1, got {share}")
    values = torch.as_tensor(field).detach().double().flatten()
    if not len(values) or values.min() < 0 or values.sum() == 0:
        raise ValueError("expected a field that is not negative and somewhere above 0")
    held = values.sort(descending=True).values.cumsum(0)
    cells = int((held < share * held[-1] * (1 - 1e-12)).sum()) + 1
    return cells / len(values)


def share_beyond(field: Tensor | np.ndarray, position: tuple[float, float], radius: float) -> float:
    """Share of a response farther from a position than a radius (the larger of the two offsets).

    Args:
        field: ``h w``, not negative.
        position: row and column, in cells of the field.
        radius: in cells.

    Example:
        >>> share_beyond(torch.ones(5, 5), (2, 2), 1)
        0.64
    """
    field = torch.as_tensor(field).detach().double()
    rows, columns = (
        (torch.arange(n).double() - p).abs() for n, p in zip(field.shape, position, strict=True)
    )
    far = torch.maximum(rows[:, None], columns[None]) > radius
    return float(field[far].sum() / field.sum().clamp_min(1e-30))


def _last(maps: object) -> Tensor:
    return maps if isinstance(maps, Tensor) else maps[-1]


def _positive(model: nn.Module) -> nn.Module:
    """A copy in which every path from input to output has a positive derivative."""
    model = copy.deepcopy(model).double().eval()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            fan_in = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 1
            parameter.data.fill_(1 / fan_in)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.zero_()
            module.running_var.fill_(1)
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                mean = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, mean)
    return model
