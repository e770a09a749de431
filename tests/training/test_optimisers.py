import pytest
import torch
from stand_ins import net

from contextlab.training import Recipe
from contextlab.training.optimisers import optimiser


def settings_of(found, model):
    """(rate, decay) by parameter name."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in found.param_groups
        for p in group["params"]
    }


def test_adamw_spares_vectors_and_the_head_learns_faster():
    model = net()
    recipe = Recipe(steps=1, lr=0.1, weight_decay=0.01, head_factor=10)
    given = settings_of(optimiser(model, recipe), model)
    assert given.keys() == dict(model.named_parameters()).keys()
    assert given["backbone.0.weight"] == (0.1, 0.01) and given["head.weight"] == (1.0, 0.01)
    assert given["backbone.1.weight"] == (0.1, 0.0) and given["head.bias"] == (1.0, 0.0)


def test_sgd_decays_everything():
    model = net()
    found = optimiser(model, Recipe(steps=1, optimiser="sgd", weight_decay=0.01, momentum=0.8))
    assert isinstance(found, torch.optim.SGD)
    assert {group["momentum"] for group in found.param_groups} == {0.8}
    assert {decay for _, decay in settings_of(found, model).values()} == {0.01}


def test_frozen_parameters_are_left_out():
    model = net()
    model.backbone.requires_grad_(False)
    names = settings_of(optimiser(model, Recipe(steps=1)), model)
    assert {name.split(".")[0] for name in names} == {"head", "auxiliary"}
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="require gradients, got none"):
        optimiser(model, Recipe(steps=1))


def test_a_factor_for_the_head_needs_a_backbone():
    model = torch.nn.Conv2d(3, 5, 1)
    with pytest.raises(ValueError, match=r"Conv2d has no \.backbone.* would learn at 1:"):
        optimiser(model, Recipe(steps=1, lr=0.1, head_factor=10))
    assert optimiser(model, Recipe(steps=1, lr=0.1)).param_groups[0]["lr"] == 0.1
