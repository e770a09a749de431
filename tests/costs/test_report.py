"""The report of a reproduction of DGCNet: its table and its labels."""

from __future__ import annotations

import pytest

from contextlab.costs import REPORT_CLASSES, REPORT_IOU, REPORT_MIOU

# Cityscapes: the names of all labelIds from 0 on; those that are scored in capitals
LABELS = """
    unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, ROAD,
    SIDEWALK, parking, rail track, BUILDING, WALL, FENCE, guard rail, bridge, tunnel, POLE,
    polegroup, TRAFFIC LIGHT, TRAFFIC SIGN, VEGETATION, TERRAIN, SKY, PERSON, RIDER, CAR, TRUCK,
    BUS, caravan, trailer, TRAIN, MOTORCYCLE, BICYCLE
"""


def test_the_mean_of_the_classes_is_not_quite_the_printed_one():
    mean = sum(REPORT_IOU.values()) / len(REPORT_IOU)
    assert f"{mean:.4f}" == "0.6441" and REPORT_MIOU == 0.6440
    assert mean == pytest.approx(REPORT_MIOU, abs=1e-4)


def test_every_class_has_the_label_of_its_name():
    names = [" ".join(name.split()) for name in LABELS.split(",")]
    scored = {label: name.lower() for label, name in enumerate(names) if name.isupper()}
    numbers = dict(enumerate(REPORT_IOU, 1))
    assert {label: numbers[number] for label, number in REPORT_CLASSES.items()} == scored
    assert sorted(REPORT_CLASSES.values()) == list(range(1, 20))


def test_the_worst_and_the_best_are_those_of_the_report():
    order = sorted(REPORT_IOU, key=REPORT_IOU.get)
    assert order[:2] == ["train", "fence"] and order[-1] == "road"
