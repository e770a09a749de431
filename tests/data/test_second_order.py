"""On second-order streets the mean says nothing, a product everything, and the rest is a street."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import data
from contextlab.data import SecondOrderStreets, Streets
from contextlab.data.streets import CLASSES, DEMANDS

SKY, SIDEWALK, VEGETATION = (CLASSES.index(n) for n in ("sky", "sidewalk", "vegetation"))
G = DEMANDS.index("G")


@pytest.fixture(scope="module")
def pair() -> tuple[dict, dict]:
    streets = SecondOrderStreets("val")
    return streets.batch(range(64)), streets.batch(range(64), twin=True)


def test_it_keeps_the_contract_and_never_changes():
    streets = SecondOrderStreets("val", size=70)
    data.check(streets)
    assert len(streets) == 70 and repr(streets) == "SecondOrderStreets('val', size=70, seed=0)"
    drawn = streets.batch(range(64))
    digest = [hashlib.sha256(drawn[n].tobytes()).hexdigest()[:16] for n in ("image", "label")]
    assert digest == HASHES
    image, labels = streets[65]
    alone = streets.batch([65])
    assert torch.equal(
        (255 * image).round().byte().permute(1, 2, 0), torch.tensor(alone["image"][0])
    )
    assert np.array_equal(labels.numpy(), alone["label"][0])


HASHES = ["cc6ffa4ec793658d", "de7c3b269ac70040"]


@settings(deadline=None, max_examples=15)
@given(indices=st.lists(st.integers(0, 3999), min_size=1, max_size=3), seed=st.integers(0, 2**63))
def test_an_image_depends_on_its_index_alone(indices, seed):
    together = SecondOrderStreets("train", seed=seed).batch(indices)
    for row, index in enumerate(indices):
        alone = SecondOrderStreets("train", seed=seed).batch([index])
        for name in together:
            assert np.array_equal(alone[name][0], together[name][row]), name


def test_twins_agree_in_every_sum_and_outside_sky_and_verge(pair):
    one, other = pair
    for name in ("demand", "cue"):
        assert np.array_equal(one[name], other[name])
    sums = [each["image"].astype(np.int64).sum((1, 2)) for each in pair]
    assert np.array_equal(*sums)
    sky, verge = one["label"] == SKY, one["demand"] == G
    assert np.array_equal(one["image"][~sky], other["image"][~sky])
    assert np.array_equal(one["label"][~verge], other["label"][~verge])
    assert np.array_equal(one["image"][..., :2], other["image"][..., :2])  # blue alone differs
    assert set(np.unique(one["label"][verge])) == {SIDEWALK, VEGETATION}
    assert (one["label"][verge] + other["label"][verge] == SIDEWALK + VEGETATION).all()


def test_no_sky_is_clipped_so_the_sums_are_exact(pair):
    for each in pair:
        sky = each["image"][each["label"] == SKY]
        assert sky.min() > 0 and sky.max() < 255


def test_red_times_blue_tells_the_time(pair):
    for each in pair:
        for image, label, posed in zip(each["image"], each["label"], each["demand"] == G):
            red, _, blue = image[label == SKY].astype(float).T
            noon = label[posed][0] == SIDEWALK
            assert (np.corrcoef(red, blue)[0, 1] < 0) == noon


def test_the_rest_is_the_street_of_the_same_number(pair):
    street = Streets("val", l=0.0, p=0.0, c=0.0, a=0.0).batch(range(64))
    sky = street["label"] == SKY
    assert np.array_equal(street["image"][~sky], pair[0]["image"][~sky])
    for name in ("label", "demand", "cue"):
        assert np.array_equal(street[name], pair[0][name])


def test_half_of_the_days_are_noon_and_twins_are_the_other_half():
    streets = SecondOrderStreets("test", size=400)
    noon = np.array([streets.noon(i) for i in range(400)])
    assert 0.4 < noon.mean() < 0.6
    for i in range(4):
        demand = streets.demand(i).numpy() == G
        for labels, is_noon in ((streets[i][1], noon[i]), (streets.twin(i)[1], not noon[i])):
            want = SIDEWALK if is_noon else VEGETATION
            assert (labels.numpy()[demand] == want).all()


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="split is one of"):
        SecondOrderStreets("training")
    with pytest.raises(IndexError):
        SecondOrderStreets("val", size=3).twin(3)
