"""torchinfo's layers of every module and network, and where its count differs from ours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contextlab import catalogue, context, costs, networks

RANDOM = {"weights": "random"}
NETWORKS = {
    "fcn": lambda: networks.network(5, context="glore", auxiliary=True),
    "dgcnet": lambda: networks.dgcnet(5, **RANDOM),
    "ggcf": lambda: networks.ggcf(5, **RANDOM),
    "srnet": lambda: networks.srnet(5, **RANDOM),
    "realtime": lambda: networks.realtime(5),
    "classifier": lambda: networks.classifier(
        5, backbone_options=RANDOM, context="squeeze_reasoning"
    ),
}


@pytest.mark.parametrize("name", catalogue())
def test_every_module(name):
    module = context(name, 32)
    found = costs.summary(module, (1, 32, 16, 16))
    assert found.parameters == sum(p.numel() for p in module.parameters())
    assert found.table.rows[0]["output"] == "1 x 32 x 16 x 16"
    assert found.table.rows[0]["MACs (M)"] * 1e6 == pytest.approx(found.macs)
    assert found.cost == costs.count(module, (1, 32, 16, 16))
    assert str(found).endswith(found.closing) and found.closing.count("\n") == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(name):
    with torch.device("meta"):
        network = NETWORKS[name]()
    found = costs.summary(network, (2, 3, 64, 128), depth=2)
    top, *parts = found.table.rows
    assert top["parameters"] == sum(p.numel() for p in network.parameters())
    assert sum(row["MACs (M)"] for row in parts) == pytest.approx(top["MACs (M)"])
    assert all(row["layer"].startswith("  ") for row in parts)
    assert 0.5 < found.macs / found.cost.macs < 1.01


def test_products_between_layers_are_not_seen():
    found = costs.summary(context("non_local", 32), (1, 32, 16, 16))
    assert found.cost.operators["attention"] > 3 * found.macs
    assert f"{found.macs:,}" in found.closing and f"{found.cost.macs:,}" in found.closing


def test_depth_and_the_module_left_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    rows = [len(costs.summary(module, (1, 3, 8, 8), depth=depth).table) for depth in (1, 2, 3)]
    assert rows == [1, 3, 5]
    assert module.training and not any(m._forward_hooks for m in module.modules())
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize(
    ("module", "shape", "depth", "message"),
    [
        (len, (1,), 3, "expected a module, got builtin"),
        (nn.Linear(8, 4), "8", 3, "expected a shape of positive numbers, got '8'"),
        (nn.Linear(8, 4), (), 3, "expected a shape of positive numbers"),
        (nn.Linear(8, 4), (2, 7), 3, "expected a shape that Linear takes"),
        (nn.Linear(8, 4), (2, 8), 0, "expected a depth of 1 or more, got 0"),
    ],
)
def test_what_has_no_summary_is_said(module, shape, depth, message):
    with pytest.raises(ValueError, match=message):
        costs.summary(module, shape, depth=depth)
