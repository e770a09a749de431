"""Vehicles: one label an image, told by the nose alone, and the same for ever."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import data
from contextlab.data import Streets, Vehicles
from contextlab.data.streets import CLASSES, DEMANDS

BUS = CLASSES.index("bus")


def test_it_keeps_the_contract():
    vehicles = data.build("vehicles", "val", size=3)
    data.check(vehicles)
    assert len(vehicles) == 3 and vehicles.classes == ("bus", "truck", "train")
    assert vehicles.palette.tolist() == Streets.palette[BUS : BUS + 3].tolist()
    assert not hasattr(vehicles, "demand")  # its map would not fit the label
    assert repr(vehicles).startswith("Vehicles(Streets('val', size=3, seed=0, g=1, l=1,")
    assert len(data.build("vehicles", "train")) == 4000


@settings(deadline=None, max_examples=15)
@given(index=st.integers(0, 3999), seed=st.integers(0, 2**63))
def test_the_label_is_the_one_long_vehicle_of_the_street(index, seed):
    image, label = Vehicles("train", seed=seed)[index]
    street, labels = Streets("train", seed=seed)[index]
    assert torch.equal(image, street)
    assert label.shape == (1, 1) and label.dtype == torch.int64
    found = set(labels.unique().tolist()) & set(range(BUS, BUS + 3))
    assert found == {int(label) + BUS}


def test_it_never_changes():
    vehicles = Vehicles("val", size=64)
    labels = np.array([int(vehicles[i][1]) for i in range(64)], np.uint8)
    image = hashlib.sha256(vehicles[63][0].numpy().tobytes()).hexdigest()[:16]
    assert [hashlib.sha256(labels.tobytes()).hexdigest()[:16], image] == HASHES


HASHES = ["f90c0da3a79349cf", "01be8e893041eb8a"]


def test_the_three_are_about_equally_many():
    vehicles = Vehicles("val")
    counts = np.bincount([int(vehicles[i][1]) for i in range(500)], minlength=3)
    assert counts.min() > 130


def test_nothing_but_the_nose_tells_the_class():
    """Under the mask of the cue the mean colours of body and ground tell nothing."""
    vehicles = Vehicles("val")
    streets, nose = vehicles.streets, DEMANDS.index("L")
    sums = {key: np.zeros((3, 3)) for key in ("body", "nose")}
    counts = dict.fromkeys(sums, 0) | {key: np.zeros(3) for key in sums}
    share = []
    for i in range(300):
        image, label = vehicles[i]
        cue = streets.cue(i)[nose]
        share.append(float(cue.float().mean()))
        where = {"nose": cue, "body": streets.demand(i) == nose}
        for key, mask in where.items():
            sums[key][int(label)] += image[:, mask].mean(1).numpy()
            counts[key][int(label)] += 1
    spread = {key: np.ptp(sums[key] / counts[key][:, None], 0).max() for key in sums}
    assert spread["nose"] > 0.2 and spread["body"] < 0.03
    assert 0.005 < np.mean(share) < 0.02


def test_the_control_shows_each_class_its_own_body():
    posed, control = Vehicles("val", size=40), Vehicles("val", size=40, l=0)
    assert [int(posed[i][1]) for i in range(40)] == [int(control[i][1]) for i in range(40)]
    assert any(not torch.equal(posed[i][0], control[i][0]) for i in range(40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crowd": 0.5}, "so crowd is 0, not 0.5"),
        ({"root": "somewhere"}, "vehicles are generated and have no root"),
        ({"l": 2}, "l is a probability from 0 to 1, not 2"),
    ],
)
def test_what_has_no_answer_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.build("vehicles", "val", **options)
    assert Vehicles("val", size=1, crowd=0.0)[0][1].shape == (1, 1)
    with pytest.raises(IndexError):
        Vehicles("val", size=1)[1]
