"""What a layer of a network, told by its name, makes of some images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from contextlab.inference import evaluating


def layer_of(network: nn.Module, name: str) -> nn.Module:
    """The layer of this name.

    Raises:
        ValueError: there is none.
    """
    layers = dict(network.named_modules())
    if name not in layers:
        top = ", ".join(n for n, _ in network.named_children())
        raise ValueError(f"expected a layer in one of {top}, got {name!r}")
    return layers[name]


@torch.no_grad()
def last_convolution(network: nn.Module, image: Tensor) -> str:
    """Name of the 2-d convolution that runs last: the classifier of the networks here.

    Args:
        network: maps ``b 3 h w`` to anything.
        image: ``3 h w``.

    Example:
        >>> last_convolution(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1)),
        ...                  torch.rand(3, 9, 9))
        '2'
    """
    names, ran = {m: n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}, []
    hooks = [m.register_forward_hook(lambda m, *_: ran.append(names[m])) for m in names]
    try:
        with evaluating(network):
            network(image[None])
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise ValueError(f"expected a network with a convolution, got {type(network).__name__}")
    return ran[-1]


@torch.no_grad()
def output_of(network: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The map that a layer makes when the network looks at some images, in evaluation mode.

    Args:
        network: maps ``b 3 h w`` to anything.
        images: ``b 3 h w``, in [0, 1].
        layer: its name in ``network.named_modules()``: "slot", "fuse", "backbone.stages.2" ...

    Returns:
        ``b c h' w'``; of a layer that makes several maps the last.

    Raises:
        ValueError: no such layer, or one that does not run.

    Example:
        >>> from contextlab.networks.segmentation import network
        >>> model = network(13, context="non_local", width=64, kernel=1)
        >>> output_of(model, torch.rand(2, 3, 64, 128), "slot").shape
        torch.Size([2, 64, 16, 32])
    """
    made = []
    hook = layer_of(network, layer).register_forward_hook(lambda *args: made.append(args[2]))
    try:
        with evaluating(network):
            network(images)
    finally:
        hook.remove()
    if not made:
        raise ValueError(f"expected a layer that runs, got {layer!r}, which does not")
    return made[-1] if isinstance(made[-1], Tensor) else made[-1][-1]
