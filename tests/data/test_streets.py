"""Streets are the published ones to the last bit, and pose what they say they pose."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from colour_vision import ciede2000, smallest_distance
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import data
from contextlab.data import Streets
from contextlab.data.bounds import PIXEL_SHARE
from contextlab.data.streets import CLASSES, DEMAND_TITLES, DEMAND_WORDS, DEMANDS, PALETTE

OFF = dict.fromkeys("glpca", 0.0)
MIXED = {"g": 0.3, "l": 0.7, "p": 0.2, "c": 0.9, "a": 0.4}
MIXED |= {"crowd": 0.3, "share": 0.6, "same": 0.5, "hues": 5}

# sha256, first 16 digits, of image, label and demand bytes of the first 64 images
HASHES = [
    ("train", 0, {}, "85679b7065fee8c3 a64e440226dd5a01 0f08243a3f5fe735"),
    ("val", 0, {}, "8e040b7a2eb59929 de7c3b269ac70040 a383c9925d8aefb1"),
    ("test", 0, {}, "bf98660484b52b20 8f51e73ab9e90993 52a6c71cc0483923"),
    ("val", 0, OFF, "f940a20322eb63b5 de7c3b269ac70040 07854d2fef297a06"),
    ("val", 0, OFF | {"g": 1.0}, "fee1a896c974b5f1 de7c3b269ac70040 565b551f09a30f8d"),
    ("val", 0, OFF | {"l": 1.0}, "802a33ad62b30cbf de7c3b269ac70040 4ee7db9d887cdea3"),
    ("val", 0, OFF | {"p": 1.0}, "163e70e60dac2c3e ee4b21e31190d672 389f93b490a6d4e0"),
    ("val", 0, OFF | {"c": 1.0}, "bbe439728a779b02 de7c3b269ac70040 9bb3143e195b9cab"),
    ("val", 0, OFF | {"a": 1.0}, "a402062567a40c4e aabde752943b526c a699f659823f6f90"),
    ("val", 0, dict.fromkeys("glpca", 0.5), "60c31239267bb5a0 de7c3b269ac70040 2c679d0c0cd5e623"),
    ("val", 0, {"crowd": 1.0}, "c96d5481af14bb99 4d0a25a56c437811 85305973dbc59dd9"),
    ("val", 0, {"share": 1.0}, "2bc78bf7ba44cf96 ee4b21e31190d672 8a376ea9ce8e2765"),
    ("val", 0, {"share": 0.0}, "e40ea32f7a94f6ae aabde752943b526c ea5f96836879b0da"),
    ("val", 0, {"hues": 4}, "34ae858983a40bd9 de7c3b269ac70040 a383c9925d8aefb1"),
    ("val", 0, {"same": 0.0}, "82c5639f802920e4 0ac873fa9a2ef16b a383c9925d8aefb1"),
    ("val", 0, {"same": 1.0}, "178ab802ae00a5b9 0a427d6d8625760f a383c9925d8aefb1"),
    ("train", 7, MIXED, "7270aeaaa74f91ad e8f6bc07aaf95133 c4ecdea1097e5f01"),
]
FAR = {"far": True}
HASHES_FAR = [
    ("train", 0, FAR, "2d906cbe8df6b875 8f258ac93acaf2c1 076f7e98112e29c4"),
    ("val", 0, FAR, "c9f72e204e566760 970008d9c6d0c95d b34868060cbd382a"),
    ("test", 0, FAR, "b5fde1ab1811484e 2d0b93d50cfdf2b0 5f5df994ffe30486"),
    ("val", 0, FAR | OFF, "433af305e84dda81 970008d9c6d0c95d 5647f05ec1895894"),
    ("train", 7, FAR | MIXED, "e06811ab39c6b4f7 5b4b11b1590ebb42 3e7352f3196a13aa"),
]


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def posed() -> dict[str, np.ndarray]:
    return Streets("val").batch(range(500))


@pytest.mark.parametrize("split, seed, knobs, expected", HASHES + HASHES_FAR)
def test_images_labels_and_demands_are_the_published_ones(split, seed, knobs, expected):
    drawn = Streets(split, seed=seed, **knobs).batch(range(64))
    names = ("image", "label", "demand")
    assert [drawn[name].dtype for name in names] == [np.uint8] * 3
    assert drawn["image"].shape == ((64, 128, 256, 3) if knobs.get("far") else (64, 64, 128, 3))
    assert " ".join(digest(drawn[name]) for name in names) == expected


def test_far_streets_are_the_same_streets_farther_apart():
    near, far = Streets("val", size=20), Streets("val", size=20, far=True)
    data.check(far)
    assert far[0][0].shape == (3, 128, 256) and far.cue(0).shape == (6, 128, 256)
    assert "far=True" in repr(far) and "far" not in repr(near)
    signs = 0
    for index in range(20):
        (_, a), (_, b) = near[index], far[index]
        # all that a street holds is there again; a car more fits where the gap is wider
        assert set(a.unique().tolist()) <= set(b.unique().tolist())
        assert set(near.demand(index).unique().tolist()) == set(far.demand(index).unique().tolist())
        for d in (2, 3, 5):  # the nose and the signs keep their size, and are twice as far apart
            one, two = near.cue(index)[d], far.cue(index)[d]
            if d == 2:
                assert one.sum() == two.sum()
            elif one.any():
                assert 2 * 11 * 11 * 0.9 < two.sum() <= 2 * 11 * 11
                columns = [torch.arange(m.shape[1])[m.any(0)].double() for m in (one, two)]
                assert columns[1].max() - columns[1].min() > columns[0].max() - columns[0].min()
                signs += 1
    assert signs == 20
    with pytest.raises(ValueError, match="far is True or False, not 2"):
        Streets("val", far=2)


probability = st.sampled_from([0.0, 0.25, 1.0])


@settings(deadline=None, max_examples=20)
@given(
    indices=st.lists(st.integers(0, 3999), min_size=1, max_size=4),
    seed=st.integers(0, 2**63),
    knobs=st.fixed_dictionaries(dict.fromkeys("glpca", probability)),
    crowd=probability,
    hues=st.sampled_from([0, 2, 192]),
)
def test_an_image_depends_on_its_index_alone(indices, seed, knobs, crowd, hues):
    options = {"seed": seed, "crowd": crowd, "hues": hues, **knobs}
    together = Streets("train", **options).batch(indices)
    for row, index in enumerate(indices):
        alone = Streets("train", **options).batch([index])
        for name in together:
            assert np.array_equal(alone[name][0], together[name][row]), name


def test_items_are_the_batch_in_the_contracts_form():
    streets = Streets("test", size=70, seed=3)
    drawn = streets.batch(range(70))
    data.check(streets)
    for index in (0, 63, 64, 69, -1):  # across the pieces that are drawn at once
        image, labels = streets[index]
        assert image.is_contiguous()
        pixels = torch.from_numpy(drawn["image"][index].transpose(2, 0, 1).astype(np.float32))
        assert torch.equal(image, pixels / 255)
        assert torch.equal(labels, torch.from_numpy(drawn["label"][index].astype(np.int64)))
        demand = streets.demand(index)
        assert demand.dtype == torch.uint8
        assert np.array_equal(demand.numpy(), drawn["demand"][index])
    assert len(list(streets)) == 70


def test_changing_an_item_does_not_change_the_data_set():
    streets = Streets("val", size=1)
    for part in (*streets[0], streets.demand(0)):
        part.zero_()
    assert all(part.any() for part in (*streets[0], streets.demand(0)))


def test_what_each_pixel_poses_has_the_published_share(posed):
    found = np.bincount(posed["demand"].ravel(), minlength=6) / posed["demand"].size
    for name, share in zip(DEMANDS, found):
        assert share == pytest.approx(PIXEL_SHARE[name], abs=0.001), name


def test_a_demand_lies_on_its_group_of_classes_only(posed):
    for d, name in enumerate(DEMANDS[1:], 1):
        found = {CLASSES[c] for c in np.unique(posed["label"][posed["demand"] == d])}
        assert found == set(DEMAND_WORDS[name].classes)


def mean_colour(drawn, where, label) -> np.ndarray:
    return drawn["image"][where & (drawn["label"] == label)].mean(0)


@pytest.mark.parametrize("name", DEMANDS[1:])
def test_a_posed_pixel_looks_the_same_whatever_its_class(posed, name):
    """The mean colours of the classes agree; at knob 0 those of sidewalk and wall do not."""
    if name == "P":  # the key colours are drawn anew for each image: average over more of them
        posed = Streets("train", share=1.0).batch(range(2000))
    where = posed["demand"] == DEMANDS.index(name)
    first, *others = (CLASSES.index(c) for c in DEMAND_WORDS[name].classes)
    for other in others:
        gap = np.abs(mean_colour(posed, where, first) - mean_colour(posed, where, other)).max()
        assert gap < (6 if name == "P" else 4)
    if name in "GC":
        control = Streets("val", **OFF).batch(range(500))
        gap = np.abs(mean_colour(control, where, first) - mean_colour(control, where, others[0]))
        assert gap.max() > 30


def test_the_control_poses_nothing_and_keeps_every_label():
    posed, control = Streets("val"), Streets("val", **OFF)
    a, b = posed.batch(range(100)), control.batch(range(100))
    assert not b["demand"].any() and not b["cue"].any()
    assert np.array_equal(a["label"], b["label"])
    # only what was posed changes its look
    assert (a["image"] != b["image"]).any(-1)[a["demand"] == 0].mean() == 0


def test_pairwise_and_axial_never_meet_in_one_image(posed):
    has = [(posed["demand"] == DEMANDS.index(name)).any((1, 2)) for name in "PA"]
    assert (has[0] ^ has[1]).all()
    assert 0.4 < has[0].mean() < 0.6


def test_a_third_of_the_images_have_two_equal_signs(posed):
    zones = (posed["label"] == CLASSES.index("bus zone")).any((1, 2))
    others = (posed["label"] == CLASSES.index("bike zone")).any((1, 2))
    assert (zones ^ others).mean() == pytest.approx(1 / 3, abs=0.06)


def test_cues_are_where_the_words_say():
    streets = Streets("val", size=60)
    for index in range(60):
        cue, demand, labels = streets.cue(index), streets.demand(index), streets[index][1]
        assert cue.dtype == torch.bool and cue.shape == (6, 64, 128)
        assert not cue[0].any()  # what is local needs no cue
        assert not (cue.any(0) & (demand > 0)).any()
        columns = torch.arange(128)
        for d, name in enumerate(DEMANDS[1:], 1):
            assert cue[d].any() == (demand == d).any()
            if not cue[d].any():
                continue
            there = {CLASSES[c] for c in labels[cue[d]].unique().tolist()}
            told = {CLASSES[c] for c in labels[demand == d].unique().tolist()}
            assert there == ({"sky"} if name == "G" else told)
        if cue[5].any():  # A: each sign stands above its zone, within its columns
            for c in labels[cue[5]].unique():
                zone = columns[((demand == 5) & (labels == c)).any(0)]
                sign = columns[(cue[5] & (labels == c)).any(0)]
                assert set(sign.tolist()) <= set(zone.tolist())
        if cue[2].any():  # L: nine columns, at one end of the vehicle
            nose = columns[cue[2].any(0)]
            body = columns[(demand == 2).any(0)]
            assert len(nose) == 9 and (nose.max() < body.min() or nose.min() > body.max())


def test_a_crowded_street_has_two_vehicles_of_different_class():
    drawn = Streets("val", crowd=1.0).batch(range(100))
    kinds = [(drawn["label"] == CLASSES.index(c)).any((1, 2)) for c in ("bus", "truck", "train")]
    assert (np.sum(kinds, 0) == 2).all()


def test_hues_fixes_the_number_of_key_colours():
    streets = Streets("val", p=1.0, a=0.0, g=0.0, l=0.0, c=0.0, hues=2)
    drawn = streets.batch(range(200))
    zones = [image[d == 3].mean(0) for image, d in zip(drawn["image"], drawn["demand"])]
    spread = np.ptp(np.stack(zones), axis=0)
    free = Streets("val", p=1.0, a=0.0).batch(range(200))
    wide = [image[d == 3].mean(0) for image, d in zip(free["image"], free["demand"])]
    assert (spread < np.ptp(np.stack(wide), axis=0)).all()


@pytest.mark.parametrize(
    "split, options, words",
    [
        ("training", {}, "split is one of train, val, test, not 'training'"),
        ("val", {"size": -1}, "size is a whole number from 0 to .*, not -1"),
        ("val", {"seed": 0.5}, "seed is a whole number from 0 to .*, not 0.5"),
        ("val", {"seed": 2**64}, "seed is a whole number from 0 to"),
        ("val", {"g": 1.5}, "g is a probability from 0 to 1, not 1.5"),
        ("val", {"share": -1}, "share is a probability from 0 to 1, not -1"),
        ("val", {"hues": 1}, "hues is 0 .continuous. or a number from 2 to 192, not 1"),
    ],
)
def test_wrong_options_are_refused_in_words(split, options, words):
    with pytest.raises(ValueError, match=words):
        Streets(split, **options)


def test_an_image_beyond_the_split_is_an_index_error():
    streets = Streets("val", size=3)
    for ask in (streets.__getitem__, streets.demand, streets.cue, lambda i: streets.batch([i])):
        with pytest.raises(IndexError, match="image 3 of a val split of 3"):
            ask(3)


def test_another_process_gets_the_description_and_not_the_pixels():
    streets = Streets("train", seed=5, c=0.5)
    image, _ = streets[0]
    carried = pickle.dumps(streets)
    assert len(carried) < 2000
    assert torch.equal(pickle.loads(carried)[0][0], image)


def test_drawing_is_silent(capfd, recwarn):
    Streets("val", size=2, seed=2**63)[0]
    assert capfd.readouterr() == ("", "") and not recwarn


def test_every_demand_has_its_words():
    assert tuple(DEMAND_TITLES) == DEMANDS
    assert tuple(DEMAND_WORDS) == DEMANDS[1:]
    for name, words in DEMAND_WORDS.items():
        assert words.letter == name and words.knob == name.lower()
        assert set(words.classes) <= set(CLASSES)
        assert words.same and words.cue and words.reader


def test_the_palette_is_safe_for_colour_blind_readers():
    # pairs of the formula's published test data, so that the ruler itself is right
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for one, two, distance in pairs:
        assert ciede2000(np.array(one), np.array(two)) == pytest.approx(distance, abs=1e-4)
    assert PALETTE.dtype == np.uint8 and PALETTE.shape == (13, 3)
    assert smallest_distance(PALETTE) > 15
    red_and_green = np.array([(214, 39, 40), (44, 160, 44), (127, 127, 127)])
    assert smallest_distance(red_and_green) < 15
