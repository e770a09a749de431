"""Gradients that leak: against one made by hand, and where nothing can leak."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from contextlab.networks.segmentation import network
from contextlab.probes.leakage import leakage


class Mean(nn.Module):
    """Everyone hears the mean of all, so that a pixel's gradient spreads evenly but for its own."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, x):
        return (1 - self.share) * x + self.share * x.mean((2, 3), keepdim=True)


class Net(nn.Module):
    def __init__(self, share, classes=3):
        super().__init__()
        self.enter, self.slot, self.leave = (
            nn.Conv2d(3, 8, 1),
            Mean(share),
            nn.Conv2d(8, classes, 1),
        )

    def forward(self, x):
        return self.leave(self.slot(self.enter(x)))


class Scenes(list):
    classes, ignore_index = ("a", "b", "c"), 255


@pytest.fixture(scope="module")
def scenes():
    torch.manual_seed(0)
    labels = torch.zeros(4, 8, dtype=torch.int64)
    labels[:, 4:], labels[3] = 1, 2
    labels[0, 0] = 255
    return Scenes((torch.rand(3, 4, 8), labels) for _ in range(3))


def test_without_context_nothing_leaks(scenes):
    torch.manual_seed(0)
    for row in leakage(Net(0.0), scenes, [("a", "b"), ("b", "c")]):
        assert row["share"] == 0 and row["own"] == pytest.approx(1) and row["images"] == 3


def test_a_mean_spreads_evenly(scenes):
    torch.manual_seed(0)
    one, other = leakage(Net(1.0), scenes, [("a", "b")])
    assert (one["loss at"], one["gradient at"]) == ("a", "b") == tuple(other.values())[1::-1]
    assert one["share"] == pytest.approx(one["area"]) and one["area"] == 12 / 32
    assert one["own"] == pytest.approx(11 / 32), "the ignored pixel asks nothing"


def test_the_gradient_is_the_one_by_hand(scenes):
    torch.manual_seed(0)
    net = Net(0.5).train()
    image, labels = scenes[0]
    x = net.enter(image[None]).detach().requires_grad_()
    target = torch.where(labels == 0, labels, -1)[None]
    F.cross_entropy(net.leave(net.slot(x)), target, ignore_index=-1).backward()
    size = x.grad[0].norm(dim=0)
    (row, _) = leakage(net, scenes, [("a", "b")], images=[0])
    assert net.training and all(p.grad is None or p.grad.any() for p in net.parameters())
    assert row["share"] == pytest.approx(float(size[labels == 1].sum() / size.sum()))


def test_streets_by_demand(streets):
    torch.manual_seed(0)
    full = network(13, context="non_local", width=16, kernel=1)
    torch.nn.init.ones_(full.slot.norm.weight)
    torch.nn.init.normal_(full.slot.out.weight)
    plain = network(13, width=16, kernel=1)
    shares = [leakage(net, streets, images=6, demand="C")[0]["share"] for net in (full, plain)]
    assert shares[0] > 0.001 > 0 == shares[1]


def test_what_is_missing_is_named(scenes):
    net = Net(0.5)
    with pytest.raises(ValueError, match="got wall"):
        leakage(net, scenes, [("a", "wall")])
    with pytest.raises(ValueError, match=r"data set with demands.*got 'C'"):
        leakage(net, scenes, [("a", "b")], demand="C")
    with pytest.raises(ValueError, match="none of 3"):
        leakage(net, scenes, [("a", "b")], smallest=99)
    rows = leakage(net, scenes, [("a", "b"), ("a", "c")], smallest=9)
    assert [row["images"] for row in rows] == [3, 3, 0, 0] and rows[2]["share"] != rows[2]["share"]
    with pytest.raises(ValueError, match="got 'attention'"):
        leakage(net, scenes, [("a", "b")], layer="attention")
