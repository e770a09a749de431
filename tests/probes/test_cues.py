"""Cues of streets, and who finds them: what is told is what the labels say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contextlab import data, probes
from contextlab.probes.cues import two_cues

VAL = data.Streets("val", size=64)


class Slot(nn.Module):
    """Every pixel asks one place alone: where the features are largest."""

    def affinity(self, x, query):
        weights = torch.zeros_like(x[:, :1])
        weights.view(-1)[int(x.argmax())] = 1.0
        return weights


class Network(nn.Module):
    """Its features are a map that the test has chosen."""

    def __init__(self, chosen):
        super().__init__()
        self.chosen, self.slot = chosen, Slot()

    def features(self, x):
        return nn.functional.avg_pool2d(self.chosen[None, None].float(), 4)


class One:
    """One image of a data set."""

    def __init__(self, streets, index):
        self.streets, self.index = streets, index
        self.classes, self.demand_names = streets.classes, streets.demand_names

    def __len__(self):
        return 1

    def __getitem__(self, _):
        return self.streets[self.index]

    def demand(self, _):
        return self.streets.demand(self.index)

    def cue(self, _):
        return self.streets.cue(self.index)


@pytest.mark.parametrize("index", range(6))
def test_all_who_ask_the_bus_sign_ask_the_own_cue_or_the_other(index):
    streets = data.Streets("val", size=6, share=1.0, same=0.0)
    number, d = streets.classes.index("bus zone"), streets.demand_names.index("P")
    network = Network(streets.cue(index)[d] & (streets[index][1] == number))
    bike, bus = probes.cue_shares(network, One(streets, index), demands=("P",), asks=2)
    assert (bike["class"], bus["class"]) == ("bike zone", "bus zone")
    assert bus["own cue"] == bike["other cue"] > 0.2  # a cell may lie on the sign in part
    assert bus["other cue"] == bike["own cue"] == 0
    assert bus["asked"] == bike["asked"] == 2
    assert bus["area"] == pytest.approx(11 * 11 / (64 * 128))


def test_images_with_two_equal_signs_say_nothing():
    streets = data.Streets("val", size=4, share=1.0, same=1.0)
    assert probes.cue_shares(Network(torch.rand(64, 128)), streets, demands=("P",)) == []


def test_a_cue_without_labels_is_refused():
    with pytest.raises(ValueError, match="got 'G'"):
        network = Network(torch.rand(64, 128))
        probes.cue_shares(network, data.Streets("val", size=2), demands=("G",))


@pytest.mark.parametrize("letter", ["P", "C", "A"])
def test_own_cue_has_the_label_of_the_position(streets, letter):
    cues, own = two_cues(streets, letter, images=16)
    d = streets.demand_names.index(letter)
    group = {"C": ("wall", "fence")}.get(letter, ("bus zone", "bike zone"))
    seen = 0
    for i in range(16):
        labels, demand, cue = streets[i][1], streets.demand(i), streets.cue(i)[d]
        maps = [cue & (labels == streets.classes.index(name)) for name in group]
        if not all(m.any() for m in maps):
            continue
        assert torch.equal(cues[:, seen], torch.stack(maps))
        middle = labels[2::4, 2::4], demand[2::4, 2::4]
        for k, name in enumerate(group):
            want = (middle[0] == streets.classes.index(name)) & (middle[1] == d)
            assert torch.equal(own[seen] == k, want)
        seen += 1
    assert cues.shape[1] == len(own) == seen > 0


@pytest.mark.parametrize("letter", ["G", "L", "local"])
def test_demands_without_two_labelled_cues_are_refused(streets, letter):
    with pytest.raises(ValueError, match="two labelled cues"):
        two_cues(streets, letter)


@pytest.mark.parametrize("index, letters", [(22, "GLPC"), (0, "GLCA")])
def test_pixels_pose_the_demand_and_boxes_hold_their_own_cue(index, letters):
    asks = probes.asks_of(VAL, index)
    labels, demand, cues = VAL[index][1], VAL.demand(index), VAL.cue(index)
    assert "".join(asks) == letters
    for letter, ask in asks.items():
        d = VAL.demand_names.index(letter)
        (row, column), (top, left, bottom, right) = ask["pixel"], ask["cue"]
        assert demand[row, column] == d
        assert VAL.classes[labels[row, column]] == ask["class"]
        box = (slice(top, bottom + 1), slice(left, right + 1))
        assert cues[d][box].any()
        if letter != "G":  # the sky has no class of the group; the other cues carry their label
            assert (labels[box][cues[d][box]] == labels[row, column]).all()
        beyond = max(top - row, row - bottom, left - column, column - right, 0)
        assert ask["distance"] == beyond > 15


def test_an_axial_pixel_stands_in_the_columns_of_its_cue():
    ask = probes.asks_of(VAL, 0)["A"]
    assert ask["cue"][1] <= ask["pixel"][1] <= ask["cue"][3]


def test_streets_that_would_mislead_are_refused():
    axial = [(i, VAL.demand(i) == 5) for i in range(64)]
    same = next(i for i, posed in axial if posed.any() and len(VAL[i][1][posed].unique()) == 1)
    with pytest.raises(ValueError, match=f"two signs differ, got image {same}"):
        probes.asks_of(VAL, same)
    with pytest.raises(ValueError, match="poses a demand"):
        probes.asks_of(data.Streets("val", size=1, g=0, l=0, p=0, c=0, a=0), 0)
