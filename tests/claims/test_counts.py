"""Claims that counting settles: each verdict follows from numbers, and would change with them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from contextlab import claims
from contextlab.claims import dgcnet, squeeze_reasoning
from contextlab.claims.squeeze_reasoning import FCN_IOU, SR_IOU, speed
from contextlab.claims.times import read_times


@pytest.mark.parametrize(
    "name, verdict, words",
    [
        ("S1", "reproduced", "exponents of N 2.00 and 1.00"),
        ("S2", "in part", "G (P + 1) and not P²"),
        ("S3", "in part", "112.4 G = 46.6%"),
        ("S4", "in part", "of 42 figures print alike"),
        ("S13", "misprint", "bus 18.5 points; class means 74.63 and 79.78"),
        ("S16", "reproduced", "the non-local block takes"),
        ("S21", "reproduced", "14 of 14"),
        ("S22", "right", "diagonal"),
        ("C2", "in part", "two rectangles 0.51 and 1.00"),
        ("C4", "not reproduced", "cost 0.002"),
        ("C8", "in part", "parameters 0.034 M"),
        ("C10", "in part", "2.28 G"),
        ("C17", "reproduced", "CGRSeg-L 14.908 G"),
        ("C18", "right", "38.5 % less than SeaFormer-L, 39.4 %"),
        ("C20", "in part", "138.4 against SeaFormer-L's 142.3"),
        ("C21", "right", "B is +2.2, -0.1"),
        ("D4", "reproduced", "with HW to the power 1.85 and 1.00"),
        ("D5", "reproduced", "20,736 numbers at 96 x 96"),
        ("D12", "right", "0.64405, which rounds otherwise in the last digit, within"),
        ("X2", "right", "one channel a group"),
        ("X5", "in part", "Kendall's tau"),
    ],
)
def test_verdicts(name, verdict, words):
    found = claims.claim(name)
    assert found.verdict == verdict
    assert words in found.found


def times(faster: str) -> dict:
    slower = {"non_local": "squeeze_reasoning", "squeeze_reasoning": "non_local"}[faster]
    return {
        **{(faster, side): 1e-6 * side**2 for side in (32, 64, 96)},
        **{(slower, side): 1e-9 * side**4 for side in (32, 64, 96)},
    }


def test_speed_is_settled_by_measured_times():
    assert speed(times("squeeze_reasoning")).verdict == "reproduced"
    assert "exponents of N 2.00 and 1.00" in speed(times("squeeze_reasoning")).found
    assert speed(times("non_local")).verdict == "not reproduced"
    assert speed({("non_local", 96): 1.0}).verdict == "undecided"


def test_other_times_may_be_given(tmp_path):
    rows = [
        {"module": name, "side": side, "pass": "forward", "ours (ms)": 1e3 * s}
        for (name, side), s in times("non_local").items()
    ]
    file = tmp_path / "times.json"
    file.write_text(json.dumps({"rows": rows}))
    assert claims.claim("S16", times=file).verdict == "not reproduced"
    for text in ("no JSON", "[]", '{"rows": [{"module": 1}]}'):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"times\.json holds no measured times"):
            read_times(file)
    assert min(read_times().values()) > 0 and ("non_local", 96) in read_times()


def test_other_numbers_would_change_a_verdict(monkeypatch):
    gained = tuple(v - 1.1 * (i == 15) for i, v in enumerate(SR_IOU))
    monkeypatch.setattr(squeeze_reasoning, "SR_IOU", gained)
    assert "bus 17.4" in squeeze_reasoning.arithmetic_of_table_i().found
    monkeypatch.setattr(squeeze_reasoning, "hadamard_pool", lambda b, c, pool: b.sum((2, 3)))
    assert squeeze_reasoning.diagonal().verdict == "not reproduced"
    printed = claims.entry("D12")
    monkeypatch.setattr(dgcnet, "entry", lambda name: replace(printed, published={"mean": 0.65}))
    assert dgcnet.mean_of_the_report().verdict == "misprint"


def test_table_one_has_nineteen_classes():
    assert len(FCN_IOU) == len(SR_IOU) == 19
