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
        ({"aspect": (0.0, 1.1), "crop": (8, 8)}, r"aspect as .*0 < low, got \(0.0, 1.1\)"),
        ({"aspect": (0.9, 1.1)}, "a crop beside aspect"),
        ({"class_cap": 0.0, "crop": (8, 8)}, r"class_cap as a share in \(0, 1\], got 0.0"),
        ({"class_cap": 0.75}, "a crop beside class_cap, got None"),
        ({"crop": (0, 8)}, r"crop as \(height, width\) in pixels, got \(0, 8\)"),
        ({"crop": (8,)}, "crop as a pair"),
        ({"ohem": (0.7,)}, "ohem as a pair"),
        ({"ohem": (0.0, 10)}, r"threshold in \(0, 1\].*got \(0.0, 10\)"),
        ({"ohem": (0.7, 0)}, r"pixels kept, 1 or more.*got \(0.7, 0\)"),
        ({"ohem_auxiliary": True}, "ohem beside ohem_auxiliary, got None"),
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
        "ohem": (0.7, 100),
    }  # fmt: skip
    apart = {"scale", "aspect", "class_cap", "workers", "ohem_auxiliary"}
    assert changes.keys() == Recipe.__dataclass_fields__.keys() - apart
    found = {replace(recipe, **{name: value}).hash() for name, value in changes.items()}
    found |= {recipe.hash(), recipe.hash("more"), replace(recipe, crop=(8, 8), scale=(1, 1)).hash()}
    found |= {replace(recipe, ohem=(0.7, 100), ohem_auxiliary=True).hash()}
    found |= {replace(recipe, crop=(8, 8), aspect=(1, 1)).hash()}
    found |= {replace(recipe, crop=(8, 8), class_cap=0.75).hash()}
    assert len(found) == len(changes) + 6
    assert replace(recipe, workers=2).hash() == recipe.hash()


def test_lists_from_json_are_as_good_as_tuples():
    one, other = (
        Recipe(steps=1, scale=k((0.5, 2)), aspect=k((0.9, 1)), crop=k((8, 9)), ohem=k((0.7, 5)))
        for k in (list, tuple)
    )
    assert one == other and one.hash() == other.hash()


def test_without_mining_stretching_or_capping_a_recipe_is_what_it_was_before_there_was_any():
    later = {"ohem", "ohem_auxiliary", "aspect", "class_cap"}
    assert not later & Recipe(steps=10).to_dict().keys()
    assert Recipe(steps=10).hash() == "f215e285af15"
    assert {"ohem", "ohem_auxiliary"} < Recipe(steps=10, ohem=(0.7, 9)).to_dict().keys()
    assert Recipe(steps=10, aspect=(0.9, 1.1), crop=(8, 8)).to_dict()["aspect"] == (0.9, 1.1)
    assert Recipe(steps=10, class_cap=0.75, crop=(8, 8)).to_dict()["class_cap"] == 0.75
