"""Boundary IoU and figures by size, against loops over pixels."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from contextlab.probes.detail import band, detail
from contextlab.training.metrics import evaluate


class Pairs(list):
    classes, ignore_index = ("a", "b", "c"), 255


class Reads(nn.Module):
    """Says the class that stands in the first channel of the image."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        said = (x[:, 0] * 255).round().long()
        return self.scale * nn.functional.one_hot(said, 3).movedim(-1, 1).float()


def pairs(rng, count=3):
    found = Pairs()
    for _ in range(count):
        h, w = rng.integers(3, 14, 2)
        coarse = rng.integers(0, 3, (3, 3))
        labels = coarse[np.arange(h) * 3 // h][:, np.arange(w) * 3 // w]
        said = np.where(rng.random((h, w)) < 0.2, rng.integers(0, 3, (h, w)), labels)
        labels = np.where(rng.random((h, w)) < 0.1, 255, labels)
        image = torch.from_numpy(said)[None].repeat(3, 1, 1).float() / 255
        found.append((image, torch.from_numpy(labels)))
    return found


def near(mask, d):
    """The definition: some pixel within d steps, diagonal ones too, is not of the mask."""
    h, w = mask.shape
    return {
        (y, x)
        for y in range(h)
        for x in range(w)
        if mask[y, x]
        and any(
            not (0 <= v < h and 0 <= u < w and mask[v, u])
            for v in range(y - d, y + d + 1)
            for u in range(x - d, x + d + 1)
        )
    }


@pytest.mark.parametrize("seed", range(4))
def test_borders_are_those_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    dataset, width = pairs(rng), [0.02, 0.1, 0.2, 0.5][seed]
    found = detail(Reads(), dataset, width=width)
    for c in range(3):
        both = either = 0
        for image, labels in dataset:
            said, labels = (image[0] * 255).round().numpy(), labels.numpy()
            d = max(1, round(width * math.hypot(*labels.shape)))
            truth, drawn = near(labels == c, d), near((said == c) & (labels != 255), d)
            both, either = both + len(truth & drawn), either + len(truth | drawn)
        assert found.boundary[c] == pytest.approx(
            both / either if either else math.nan, nan_ok=True
        )
    assert band(np.zeros((2, 2), bool), 1).sum() == 0


def pieces(labels):
    """(label, pixels) of every piece, found by walking."""
    h, w = labels.shape
    free = {(y, x) for y in range(h) for x in range(w) if labels[y, x] != 255}
    while free:
        todo = [free.pop()]
        piece = set(todo)
        while todo:
            y, x = todo.pop()
            for at in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if at in free and labels[at] == labels[y, x]:
                    free.remove(at)
                    piece.add(at)
                    todo.append(at)
        yield piece


def test_sizes_are_those_of_the_objects():
    dataset = pairs(np.random.default_rng(7), 6)
    borders = (0.1, 0.15, 0.25)
    found = detail(Reads(), dataset, sizes=borders)
    confusion, objects = np.zeros((4, 3, 3)), [0] * 4
    for image, labels in dataset:
        said, labels = (image[0] * 255).round().numpy().astype(int), labels.numpy()
        for piece in pieces(labels):
            size = sum(len(piece) / labels.size >= border for border in borders)
            objects[size] += 1
            for at in piece:
                confusion[size, labels[at], said[at]] += 1
    assert [row["objects"] for row in found.sizes] == objects and min(objects) > 0
    assert [row["pixels"] for row in found.sizes] == confusion.sum((1, 2)).tolist()
    for row, matrix in zip(found.sizes, confusion):
        right = matrix.diagonal()
        union = matrix.sum(0) + matrix.sum(1) - right
        assert row["accuracy"] == pytest.approx(right.sum() / matrix.sum())
        assert row["miou"] == pytest.approx(
            np.mean([r / u for r, u, n in zip(right, union, matrix.sum(1)) if n])
        )
    one = detail(Reads(), dataset, sizes=()).sizes
    assert len(one) == 1 and one[0]["miou"] == pytest.approx(evaluate(Reads(), dataset).miou)


def test_a_right_answer_is_right_at_its_borders_and_what_is_all_ignored_says_nothing():
    labels = torch.tensor([[0, 0, 1], [0, 1, 1]])
    right = Pairs([(labels[None].repeat(3, 1, 1) / 255, labels)])
    found = detail(Reads(), right)
    assert found.boundary[:2] == (1.0, 1.0) and math.isnan(found.boundary[2])
    assert found.mean_boundary == 1.0
    nothing = detail(Reads(), Pairs([(torch.zeros(3, 2, 3), torch.full((2, 3), 255))]))
    assert all(map(math.isnan, nothing.boundary)) and math.isnan(nothing.mean_boundary)
    assert all(row["objects"] == 0 and math.isnan(row["miou"]) for row in nothing.sizes)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"width": 0}, "a width between 0 and 1, got 0"),
        ({"sizes": (0.1, 0.1)}, "growing sizes above 0"),
        ({"images": 0}, "at least one image"),
    ],
)
def test_wrong_options_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        detail(Reads(), pairs(np.random.default_rng(0), 1), **options)
