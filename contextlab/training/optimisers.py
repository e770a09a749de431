"""SGD and AdamW with the parameter groups of segmentation training."""

from __future__ import annotations

import torch
from torch import nn

from contextlab.training.recipe import Recipe


def groups(model: nn.Module, *, lr: float, head_factor: float, decay: float, decay_vectors: bool):
    """Split the parameters by learning rate and weight decay.

    Args:
        model: the network; what lies under ``backbone.`` learns at ``lr``.
        lr: the base rate.
        head_factor: the rate of everything outside the backbone, as a multiple of ``lr``.
        decay: weight decay.
        decay_vectors: whether one-dimensional parameters (norms, biases) decay too.

    Returns:
        Parameter groups for ``torch.optim``; ``initial_lr`` holds what a schedule scales.
    """
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = lr if name.startswith("backbone.") else lr * head_factor
        key = rate, decay if decay_vectors or parameter.ndim > 1 else 0.0
        found.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": weight_decay}
        for (rate, weight_decay), parameters in found.items()
    ]


def optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over a model's parameters.

    SGD decays every parameter, as the segmentation papers do; AdamW leaves norms and biases alone.

    Args:
        model: the network.
        recipe: which optimiser, rate, momentum and decay.

    Returns:
        A ``torch.optim`` optimiser.

    Raises:
        ValueError: the model has nothing to train, or a factor for its head and no ``backbone``.
    """
    names = [name for name, _ in model.named_parameters()]
    if recipe.head_factor != 1 and not any(name.startswith("backbone.") for name in names):
        raise ValueError(
            f"head_factor={recipe.head_factor:g} is for what lies outside model.backbone, and "
            f"{type(model).__name__} has no .backbone, so that everything would learn at "
            f"{recipe.lr * recipe.head_factor:g}: leave head_factor at 1, and choose lr"
        )
    sgd = recipe.optimiser == "sgd"
    found = groups(
        model,
        lr=recipe.lr,
        head_factor=recipe.head_factor,
        decay=recipe.weight_decay,
        decay_vectors=sgd,
    )
    if not found:
        raise ValueError("expected a model with parameters that require gradients, got none")
    if sgd:
        return torch.optim.SGD(found, recipe.lr, momentum=recipe.momentum)
    return torch.optim.AdamW(found, recipe.lr)
