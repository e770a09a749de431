"""Claims that counting settles: each verdict follows from numbers, and would change with them."""

from __future__ import annotations

import importlib
import random

import pytest
import torch
from torchmetrics.functional import kendall_rank_corrcoef

from contextlab.costs import claims, kendall, ledger
from contextlab.costs.claims import FCN_IOU, SR_IOU, VERDICTS

NAMES = ["S1", "S2", "S3", "S4", "S13", "S16", "S21", "S22", "C10", "D4", "D5", "D12", "X2", "X5"]


@pytest.fixture(scope="module")
def found():
    return {claim.name: claim for claim in claims()}


def test_all_are_there(found):
    assert list(found) == NAMES
    assert all(claim.verdict in VERDICTS and claim.found for claim in found.values())


@pytest.mark.parametrize(
    "name, verdict, words",
    [
        ("S1", "reproduced", "exponents of N 2.00 and 1.00"),
        ("S2", "in part", "G (P + 1) and not P²"),
        ("S3", "in part", "112.4 G = 46.6%"),
        ("S4", "in part", "of 42 figures print alike"),
        ("S13", "not reproduced", "bus 18.5 points; class means 74.63 and 79.78"),
        ("S16", "undecided", "needs measured times"),
        ("S21", "reproduced", "14 of 14"),
        ("S22", "reproduced", "diagonal"),
        ("C10", "in part", "2.28 G"),
        ("D4", "reproduced", "with HW to the power 1.85 and 1.00"),
        ("D5", "reproduced", "20,736 numbers at 96 x 96"),
        ("D12", "in part", "0.64405, which rounds otherwise"),
        ("X2", "reproduced", "one channel a group"),
        ("X5", "in part", "Kendall's tau"),
    ],
)
def test_verdicts(found, name, verdict, words):
    assert found[name].verdict == verdict
    assert words in found[name].found


def times(faster: str) -> dict:
    slower = {"non_local": "squeeze_reasoning", "squeeze_reasoning": "non_local"}[faster]
    return {
        **{(faster, side): 1e-6 * side**2 for side in (32, 64, 96)},
        **{(slower, side): 1e-9 * side**4 for side in (32, 64, 96)},
    }


def test_speed_is_settled_by_measured_times():
    from contextlab.costs.claims import _speed

    assert _speed(times("squeeze_reasoning")).verdict == "reproduced"
    assert "exponents of N 2.00 and 1.00" in _speed(times("squeeze_reasoning")).found
    assert _speed(times("non_local")).verdict == "not reproduced"
    assert _speed({("non_local", 96): 1.0}).verdict == "undecided"


def test_another_network_would_change_a_verdict(monkeypatch):
    module = importlib.import_module("contextlab.costs.claims")  # the package exports a function
    gained = tuple(v - 1.1 * (i == 15) for i, v in enumerate(SR_IOU))
    monkeypatch.setattr(module, "SR_IOU", gained)
    assert "bus 17.4" in module._arithmetic_of_table_i(None).found
    monkeypatch.setattr(module, "hadamard_pool", lambda b, c, pool: b.sum((2, 3)))
    assert module._diagonal(None).verdict == "not reproduced"


def test_table_one_has_nineteen_classes():
    assert len(FCN_IOU) == len(SR_IOU) == 19


@pytest.mark.parametrize("seed", range(5))
def test_kendall_agrees_with_torchmetrics(seed):
    draw = random.Random(seed)
    a, b = ([draw.random() for _ in range(9)] for _ in range(2))
    expected = kendall_rank_corrcoef(torch.tensor(a), torch.tensor(b), variant="a")
    assert kendall(a, b) == pytest.approx(expected.item(), abs=1e-5)


def test_kendall_of_orders():
    assert kendall([1, 2, 3], [10, 20, 30]) == 1 and kendall([1, 2, 3], [3, 2, 1]) == -1
    assert kendall([1, 2, 2], [1, 2, 3]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="two lists of one length"):
        kendall([1], [1, 2])


def test_the_ledger_shows_them(found):
    text = str(ledger())
    assert all(name in text for name in NAMES) and "verdict" in text
