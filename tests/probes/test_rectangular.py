"""What rows and columns can draw, and what they cannot."""

from __future__ import annotations

import pytest
import torch

from contextlab.probes.rectangular import best_iou, calibrate, draw, rank, shapes

SHAPES = shapes(16)


@pytest.mark.parametrize("gather, most", [("add", 2), ("multiply", 1)])
@pytest.mark.parametrize("name", ["cross", "rectangle", "L"])
def test_either_gather_draws_what_one_rectangle_or_a_cross_is(name, gather, most):
    drawing = draw(SHAPES[name], gather=gather, steps=150)
    assert drawing.iou > 0.95 and drawing.rank <= most
    assert best_iou(drawing.gate, SHAPES[name]) == drawing.iou


def test_a_sum_cannot_tell_two_rectangles_from_the_other_two_corners():
    """Opposite corners of r_i + c_j have the same sum: who takes both takes a third corner too."""
    two = SHAPES["two rectangles"]
    assert draw(two, steps=150).iou < 0.6
    assert draw(two, gather="multiply", steps=150).iou > 0.95


def test_the_means_of_a_diagonal_do_not_show_it_and_strips_do_not_bring_it_back():
    diagonal = SHAPES["diagonal"]
    assert draw(diagonal, vectors="means", strip=5, steps=100).iou < 0.4
    assert draw(SHAPES["disc"], vectors="means", strip=5, steps=100).iou > 0.9


def test_a_module_draws_a_rectangle_from_its_means():
    found = calibrate(SHAPES["rectangle"], steps=60)
    assert found.iou > 0.9 and found.rank == 2
    assert found.gate.shape == (16, 16)


def test_it_is_the_same_in_every_call_and_leaves_the_seed_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (draw(SHAPES["L"], strip=3, steps=5) for _ in range(2))
    assert torch.equal(first.gate, second.gate) and torch.rand(1) == expected


def test_the_threshold_that_suits_best():
    shape = torch.tensor([[True, False], [False, False]])
    assert best_iou(torch.tensor([[0.4, 0.1], [0.2, 0.3]]), shape) == 1
    assert best_iou(torch.full((2, 2), 0.7), shape) == 0.25
    assert best_iou(torch.tensor([[0.4, 0.9], [0.2, 0.3]]), shape) == 0.5


def test_ranks():
    line = torch.arange(1.0, 6)
    assert rank(line[:, None] * line) == 1
    assert rank(line[:, None] + line) == 2
    assert rank(torch.eye(5)) == 5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"gather": "none"}, r"gather to be one of \('add', 'multiply'\), got 'none'"),
        ({"vectors": "own"}, r"vectors to be one of \('free', 'means'\), got 'own'"),
        ({"strip": 4}, "strip to be odd or None, got 4"),
        ({"shape": torch.ones(4, 4, dtype=torch.bool)}, r"got \(4, 4\) of torch.bool, 16 true"),
        ({"shape": torch.ones(4, 4)}, "got .* of torch.float32"),
    ],
)
def test_what_is_not_known_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        draw(**{"shape": SHAPES["L"]} | options)
