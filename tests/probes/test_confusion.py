"""Confusions: the matrices, by demand, and by pair."""

import numpy as np
import pytest
import torch
from torch import nn

from contextlab.data.camvid import CLASSES as CAMVID
from contextlab.probes.confusion import (
    CAMVID_PAIRS,
    STREETS_PAIRS,
    by_pair,
    confusions,
    counted,
    mean_iou,
)
from contextlab.training.metrics import evaluate


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 13, 1), nn.BatchNorm2d(13))


def test_the_matrices_are_the_benchmark_s(model, streets):
    found = confusions(model, streets, 10, batch=4)
    metrics = evaluate(model, streets, limit=10)
    assert model.training and np.array_equal(found["all"], metrics.confusion)
    assert mean_iou(found["all"]) == pytest.approx(metrics.miou)
    for name, share in metrics.demands.items():
        assert found[name].trace() / found[name].sum() == pytest.approx(share)
    assert np.array_equal(sum(found[n] for n in streets.demand_names), found["all"])


def test_ignored_pixels_do_not_count(model):
    class One(list):
        classes, ignore_index = ("a", "b"), 255

    model = nn.Conv2d(3, 2, 1)
    labels = torch.tensor([[0, 255], [1, 255]])
    found = confusions(model, One([(torch.rand(3, 2, 2), labels)]))
    assert list(found) == ["all"] and found["all"].sum(1).tolist() == [1, 1]


def test_pairs_are_counted_in_both_directions():
    matrix = counted(torch.tensor([0, 0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 2, 1, 0, 2]), 4)
    names = ("wall", "fence", "car", "bus")
    (one, none) = by_pair(matrix, names, [("wall", "fence"), ("bus", "bus")])
    assert (one["a as b"], one["b as a"], one["swapped"], one["pixels"]) == (0.5, 0.5, 0.5, 6)
    assert np.isnan([none["a as b"], none["swapped"]]).all()
    with pytest.raises(ValueError, match="got train"):
        by_pair(matrix, names, [("train", "bus")])


def test_the_usual_pairs_are_classes(streets):
    by_pair(np.eye(13, dtype=int), streets.classes, STREETS_PAIRS)
    by_pair(np.eye(11, dtype=int), CAMVID, CAMVID_PAIRS)
