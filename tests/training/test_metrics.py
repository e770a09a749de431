import json
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import CLASSES, Squares, net
from torch import nn

from contextlab.training import Metrics, evaluate, from_confusion


class Threshold(nn.Module):
    """Calls a pixel light where its mean is above one half: no parameter, a known answer."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x):
        assert not self.training
        light = (x.mean(1, keepdim=True) > 0.4).float()
        logits = torch.cat([1 - light, light], 1)
        return nn.functional.pad(logits, (0, 0, 0, 0, 0, self.classes - 2), value=-1.0)


def plain(dataset) -> np.ndarray:
    """The confusion matrix, pixel by pixel."""
    confusion = np.zeros((3, 3), dtype=int)
    model = Threshold().eval()
    for image, labels in (dataset[i] for i in range(len(dataset))):
        prediction = model(image[None]).argmax(1)[0]
        for truth, said in zip(labels.flatten().tolist(), prediction.flatten().tolist()):
            if truth != 255:
                confusion[truth, said] += 1
    return confusion


def test_the_confusion_is_that_of_counting_by_hand():
    dataset = Squares(5)
    expected = plain(dataset)
    found = evaluate(Threshold(), dataset, batch=2)
    assert np.array_equal(found.confusion, expected) and found.images == 5
    right, union = np.diag(expected), expected.sum(0) + expected.sum(1) - np.diag(expected)
    assert found.iou[:2] == pytest.approx(right[:2] / union[:2])
    assert math.isnan(found.iou[2])  # neither labelled nor predicted
    assert found.miou == pytest.approx((right[:2] / union[:2]).mean())
    assert found.pixel_accuracy == pytest.approx(right.sum() / expected.sum())


def test_demands_count_their_own_pixels():
    found = evaluate(Threshold(), Squares(5))
    confusion = np.array(found.confusion)
    assert found.demands["inside"] == pytest.approx(confusion[1, 1] / confusion[1].sum())
    assert found.demands["outside"] == pytest.approx(confusion[0, 0] / confusion[0].sum())
    assert math.isnan(found.demands["never"])


@settings(deadline=None, max_examples=15)
@given(batch=st.integers(1, 8), limit=st.integers(1, 9))
def test_the_batch_changes_nothing_and_the_limit_takes_the_first(batch, limit):
    found = evaluate(Threshold(), Squares(7), batch=batch, limit=limit)
    assert found.confusion == evaluate(Threshold(), Squares(min(limit, 7))).confusion


def test_images_of_different_sizes():
    class Uneven(Squares):
        def pixels(self, index):
            image, labels = super().pixels(index)
            return image[: 12 + index], labels[: 12 + index]

    assert np.array_equal(evaluate(Threshold(), Uneven(4)).confusion, plain(Uneven(4)))


def test_it_is_the_benchmarks_miou_not_the_mean_over_images():
    # One image right, one all wrong: over all pixels 1/3 each, over images (1 + 0) / 2.
    class Two(Squares):
        def __getitem__(self, index):
            image = torch.full((3, 4, 4), float(index))
            labels = torch.ones(4, 4, dtype=torch.int64)
            labels[:2] = 0
            image[:, 2:] = 1.0 - index
            return image, labels

        demand_names = ()
        demand = property()

    assert evaluate(Threshold(), Two(2)).miou == pytest.approx(1 / 3)


def test_a_predicted_class_that_is_nowhere_labelled_scores_zero():
    found = from_confusion(np.array([[2, 0, 2], [0, 4, 0], [0, 0, 0]]), CLASSES)
    assert found.iou == (0.5, 1.0, 0.0) and found.miou == 0.5


def test_nothing_to_count():
    found = from_confusion(np.zeros((3, 3)), CLASSES)
    assert math.isnan(found.miou) and math.isnan(found.pixel_accuracy)


def test_the_models_mode_is_restored():
    for mode in (True, False):
        model = net().train(mode)
        evaluate(model, Squares(2))
        assert model.training is mode


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="data set's 3 classes, got 4"):
        evaluate(net(classes=4), Squares(2))
    with pytest.raises(ValueError, match="at least one image"):
        evaluate(Threshold(), Squares(0))


def test_json_and_back_to_the_last_digit():
    found = evaluate(Threshold(), Squares(5))
    again = Metrics.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert str(again) == str(found) and again.confusion == found.confusion
    assert again.iou[:2] == found.iou[:2] and math.isnan(again.iou[2])
    assert again.miou == found.miou and math.isnan(again.demands["never"])


def test_the_table_has_a_line_for_every_figure():
    found = from_confusion(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), CLASSES)
    assert str(found).splitlines() == [
        "dark            75.0",
        "light           80.0",
        "absent             -",
        "mIoU            77.5",
        "pixel accuracy  87.5",
    ]


def test_a_plain_list_of_pairs_is_scored_by_the_models_classes():
    dataset = Squares(5)
    found = evaluate(Threshold(), [dataset[i] for i in range(5)])
    assert np.array_equal(found.confusion, plain(dataset))
    assert found.classes == ("class 0", "class 1", "class 2")
    with pytest.raises(ValueError, match=r"sample 0 .* labels in 0..0 or 255, got 0..1"):
        evaluate(nn.Conv2d(3, 1, 1), [dataset[0]])


class Wrapped(nn.Module):
    """A model that gives its logits in something."""

    def __init__(self, model: nn.Module, wrap) -> None:
        super().__init__()
        self.model, self.wrap = model, wrap

    def forward(self, x):
        return self.wrap(self.model(x))


def test_the_dict_of_torchvisions_models_is_understood():
    dataset = Squares(5)
    found = evaluate(Wrapped(Threshold(), lambda x: OrderedDict(out=x, aux=-x)), dataset)
    assert np.array_equal(found.confusion, plain(dataset))
    for wrap, said in (
        (lambda x: {"logits": x}, "a dict of logits: wrap the model"),
        (lambda x: None, "a NoneType"),
        (lambda x: x[..., ::2, ::2], r"the labels' size \(16, 16\), got \(8, 8\)"),
    ):
        with pytest.raises(ValueError, match=said):
            evaluate(Wrapped(Threshold(), wrap), dataset)
