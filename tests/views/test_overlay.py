"""Scenes: the right panels, the numbers behind them, a readable legend."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import views


@pytest.fixture
def street(streets):
    image, labels = streets[3]
    return {
        "image": image,
        "labels": labels,
        "classes": streets.classes,
        "palette": streets.palette,
    }


def titles(figure):
    return [a.get_title("left") for a in figure.axes if a.get_title("left")]


def test_every_panel_and_the_numbers(street, streets, readable):
    prediction = street["labels"].clone()
    prediction[:16] = (prediction[:16] + 1) % 13
    figure, numbers = views.scene(**street, demand=streets.demand(3), prediction=prediction)
    assert titles(figure) == [
        "image",
        "labels",
        "what a pixel demands",
        "prediction",
        "errors: 25.0%",
    ]
    assert numbers["accuracy"] == {"prediction": 0.75}
    demand = streets.demand(3)
    assert numbers["demands"]["L"] == pytest.approx((demand == 2).float().mean().item())
    assert sum(numbers["demands"].values()) == pytest.approx(1)
    present = set(torch.cat([street["labels"].unique(), prediction.unique()]).tolist())
    assert numbers["classes"] == [streets.classes[i] for i in sorted(present)]
    legend = [t.get_text() for a in figure.axes if a.get_legend() for t in a.get_legend().texts]
    assert set(numbers["classes"]) < set(legend) and "L: large object" in legend
    readable(figure)


def test_several_predictions_stand_above_their_errors(street, readable):
    guesses = {"FCN": street["labels"], "non-local": torch.zeros_like(street["labels"])}
    figure, numbers = views.scene(**street, prediction=guesses)
    assert titles(figure)[:3] == ["image", "FCN", "non-local"]
    assert titles(figure)[3:5] == ["labels", "errors of FCN: 0.0%"]
    sky = (street["labels"] == 0).float().mean().item()
    assert numbers["accuracy"] == {"FCN": 1.0, "non-local": pytest.approx(sky)}
    readable(figure)
    guesses["one with a longer name"] = street["labels"]
    figure, _ = views.scene(**street, prediction=guesses)
    assert titles(figure)[-2:] == [f"errors of non-local: {1 - sky:.1%}", "errors: 0.0%"]
    readable(figure)
    figure, _ = views.scene(**street, prediction=guesses | {"a fourth": street["labels"]})
    assert titles(figure)[-2:] == ["errors: 0.0%", "errors: 0.0%"]
    readable(figure)


@pytest.mark.parametrize("guesses", [1, 2, 3])
@pytest.mark.parametrize("demand", [False, True])
def test_all_combinations_are_readable(street, streets, readable, guesses, demand):
    prediction = {f"model {i}": street["labels"] for i in range(guesses)}
    more = {"demand": streets.demand(3)} if demand else {}
    figure, _ = views.scene(**street, prediction=prediction, title="A street", **more)
    assert len(titles(figure)) == 2 + demand + 2 * guesses
    readable(figure)


def test_ignored_pixels_do_not_count(street, readable):
    labels = street["labels"].clone()
    labels[32:] = 255
    wrong = street["labels"].clone()
    wrong[32:] = (wrong[32:] + 1) % 13
    figure, numbers = views.scene(**{**street, "labels": labels}, prediction=wrong)
    assert numbers["accuracy"] == {"prediction": 1.0}
    legend = [t.get_text() for a in figure.axes if a.get_legend() for t in a.get_legend().texts]
    assert "ignored" in legend
    readable(figure)


def test_the_colours_are_the_palettes(street):
    figure, _ = views.scene(**street)
    painted = figure.axes[1].images[0].get_array()
    np.testing.assert_array_equal(painted, street["palette"][street["labels"].numpy()])


def test_maps_of_another_size_are_refused(street):
    with pytest.raises(
        ValueError, match=r"prediction of the image's size \(64, 128\), got \(8, 8\)"
    ):
        views.scene(**street, prediction=torch.zeros(8, 8, dtype=torch.int64))


def test_an_image_alone_and_a_gallery(street, readable):
    figure, numbers = views.scene(
        street["image"], classes=street["classes"], palette=street["palette"]
    )
    assert titles(figure) == ["image"] and numbers["classes"] == []
    readable(figure)
    figure, numbers = views.gallery({f"image {i}": street["image"] for i in range(5)})
    assert numbers["image 0"] == pytest.approx(street["image"].mean().item(), abs=1e-6)
    readable(figure)
