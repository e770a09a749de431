"""Everyone talks to everyone: the lines of one pixel, and what questions find, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contextlab import data, views


def test_a_line_to_every_pixel_the_thickest_to_the_peak(streets, readable):
    weights = torch.full((16, 32), 0.01)
    weights[2, 7] = 0.5
    figure, numbers = views.everyone_figure(streets[0][0], weights, (13, 20), title="whom?")
    assert numbers == {"lines": 512, "peak": (2, 7)}
    (lines,) = figure.axes[0].collections[:1]
    widths = lines.get_linewidths()
    assert len(widths) == 512 and widths[-1] == max(widths) > 2 * widths[-2]
    readable(figure)


def test_a_query_outside_the_map_is_refused(streets):
    with pytest.raises(ValueError, match="inside 16 x 32"):
        views.everyone_figure(streets[0][0], torch.ones(16, 32), (16, 0))


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
    bike, bus = views.cue_shares(network, One(streets, index), demands=("P",), asks=2)
    assert (bike["class"], bus["class"]) == ("bike zone", "bus zone")
    assert bus["own cue"] == bike["other cue"] > 0.2  # a cell may lie on the sign in part
    assert bus["other cue"] == bike["own cue"] == 0
    assert bus["asked"] == bike["asked"] == 2
    assert bus["area"] == pytest.approx(11 * 11 / (64 * 128))


def test_images_with_two_equal_signs_say_nothing():
    streets = data.Streets("val", size=4, share=1.0, same=1.0)
    assert views.cue_shares(Network(torch.rand(64, 128)), streets, demands=("P",)) == []


def test_a_cue_without_labels_is_refused():
    with pytest.raises(ValueError, match="got 'G'"):
        network = Network(torch.rand(64, 128))
        views.cue_shares(network, data.Streets("val", size=2), demands=("G",))
