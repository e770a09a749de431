from dataclasses import replace

import pytest

from contextlab.training import Recipe


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": 0}, "steps of 1 or more, got 0"),
        ({"batch": 0}, "batch of 1 or more, got 0"),
        ({"optimiser": "adam"}, "optimiser of .*adamw.*got 'adam'"),
        ({"lr": 0.0}, "positive learning rate, got 0"),
        ({"precision": "fp16"}, "precision of .*bf16.*got 'fp16'"),
        ({"seed": -1}, "seed of 0 or more, got -1"),
        ({"workers": -1}, "workers of 0 or more, got -1"),
        ({"scale": (2.0, 1.0), "crop": (8, 8)}, "0 < low, got .2.0, 1.0"),
        ({"scale": (0.5, 2.0)}, "a crop beside scale"),
        ({"crop": (0, 8)}, r"crop as \(height, width\) in pixels, got \(0, 8\)"),
        ({"crop": (8,)}, "crop as a pair"),
    ],
)
def test_values_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{"steps": 10, **change})


def test_the_hash_changes_with_every_value_that_changes_the_result():
    recipe = Recipe(steps=10)
    changes = {
        "steps": 11, "batch": 8, "optimiser": "sgd", "lr": 1.0, "weight_decay": 1.0,
        "momentum": 0.5, "warmup": 1, "power": 1.0, "head_factor": 2.0, "auxiliary_weight": 0.2,
        "flip": False, "crop": (8, 8), "precision": "bf16", "channels_last": True, "seed": 1,
    }  # fmt: skip
    assert changes.keys() == Recipe.__dataclass_fields__.keys() - {"scale", "workers"}
    found = {replace(recipe, **{name: value}).hash() for name, value in changes.items()}
    found |= {recipe.hash(), recipe.hash("more"), replace(recipe, crop=(8, 8), scale=(1, 1)).hash()}
    assert len(found) == len(changes) + 3
    assert replace(recipe, workers=2).hash() == recipe.hash()


def test_lists_from_json_are_as_good_as_tuples():
    one, other = (Recipe(steps=1, scale=k((0.5, 2)), crop=k((8, 9))) for k in (list, tuple))
    assert one == other and one.hash() == other.hash()
