"""GGCF: the head that reads x and y side by side, the networks, and how the paper trains them."""

import pytest
import torch
import torch.nn.functional as F
from head_tests import HeadTests, size
from torch import nn

from contextlab.backbones import CourseBackbone, WiderResNet38, backbone
from contextlab.costs import needed_macs
from contextlab.modules.graph_guided import SIX, edges
from contextlab.networks import GGCFHead, ggcf, srnet
from contextlab.networks.ggcf import RECIPES
from contextlab.training import OHEM, Recipe

HEADS = ("LOCAL_1", "GRID_2", "FULL")


class TestGGCFHead(HeadTests):
    module, options, dropout = GGCFHead, {"width": 16, "heads": HEADS}, 0.1

    def head(self, form, **options):
        """There is one form."""
        return GGCFHead(16, 5, **{**self.options, **options})

    def test_wrong_options_are_refused_in_words(self):
        for options, message in (
            ({"width": 0}, "width and classes >= 1, got 0 and 5"),
            ({"fuse": "concatenate"}, "expected no fuse, got 'concatenate'"),
            ({"heads": ("LOCAL",)}, "FULL, LOCAL_S or GRID_T .* got 'LOCAL'"),
            ({"nodes": 2}, "'nodes'"),
        ):
            with pytest.raises(ValueError, match=message):
                self.head("paper", **options)


def test_the_classifier_reads_the_map_and_the_sum_of_the_heads():
    torch.manual_seed(0)
    head, x = GGCFHead(12, 5, width=8, heads=HEADS).eval(), torch.randn(2, 12, 7, 9)
    reduced = head.reduce(x)
    y = 0
    for place in range(len(HEADS)):  # equation 3, one pixel after the other
        value = head.context.g(reduced)
        asked = torch.stack(
            [
                (head.context.affinity(reduced, (i, j))[:, place, None] * value).sum((2, 3))
                for i in range(7)
                for j in range(9)
            ],
            -1,
        ).unflatten(-1, (7, 9))
        y = y + head.context.out[place](asked)
    last = head.classifier[1]
    expected = F.conv2d(reduced, last.weight[:, :8]) + F.conv2d(y, last.weight[:, 8:], last.bias)
    torch.testing.assert_close(head(x), expected)
    assert y.abs().mean() > 1e-3  # there from the start


def test_pruning_is_set_on_a_trained_network_and_is_for_inference():
    torch.manual_seed(0)
    model = ggcf(5, backbone=CourseBackbone(width=16), heads=HEADS).eval()
    x = torch.rand(1, 3, 40, 48)
    with torch.no_grad():
        whole = model(x)
        model.head.context.keep = 10**6
        torch.testing.assert_close(model(x), whole)
        model.head.context.keep = 1
        assert not torch.allclose(model(x), whole)
    with pytest.raises(ValueError, match="keep=None in training, got 1"):
        model.train()(x)


@pytest.mark.parametrize("heads, parameters, macs", [(SIX, 11_951_891, 125.19),
                                                     (("FULL",), 9_983_251, 135.47)])  # fmt: skip
def test_the_head_costs_what_it_should(heads, parameters, macs):
    with torch.device("meta"):
        head = GGCFHead(2048, 19, heads=heads)
    k, n = len(heads), 96 * 96
    assert size(head) == parameters
    assert size(head.context) == (3 * k + 1) * 512 * 256 + (2 * k + 1) * 256 + 512
    along = sum(edges(name, 96, 96) for name in heads)
    needed = n * (9 * 2048 * 512 + (3 * k + 1) * 512 * 256 + 1024 * 19) + 2 * 256 * along
    assert needed / 1e9 == pytest.approx(macs, abs=0.005)
    run = needed_macs(head, (1, 2048, 96, 96))
    if heads == SIX:  # the blocks of the LOCAL heads
        assert (run - needed) / 1e9 == pytest.approx(5.25, abs=0.005)
    else:
        assert run == needed


def test_the_networks_of_the_papers_size():
    auxiliary = 9 * 1024 * 256 + 256 + 2 * 256 + 256 * 19 + 19
    wide = 2 * 9 * 2048 * 512 + 2 * 512 + 2_494_208 + 1024 * 19 + 19  # of 4096 channels
    for options, trunk, head in (
        ({}, 42_500_160, 11_951_891),
        ({"depth": 50}, 23_508_032, 11_951_891),
        ({"backbone": "wider_resnet38"}, 105_070_912, wide),
    ):
        with torch.device("meta"):
            net = ggcf([f"class {i}" for i in range(19)], weights="random", **options)
        assert (size(net.backbone), size(net.head), size(net.auxiliary)) == (trunk, head, auxiliary)
        assert net.head.reduce[0].out_channels == 512 and net.classes == 19
    assert ggcf(5, depth=18, weights="random", auxiliary=False).auxiliary is None


def test_wider_resnet_carries_both_networks():
    with torch.device("meta"):
        net = srnet(19, backbone="wider_resnet38", weights="random")
    assert isinstance(net.backbone, WiderResNet38) and net.head.reduce[0].out_channels == 512
    small = {"width": 1 / 64, "slope": 0.0, "final_norm": False}
    for build, options in ((ggcf, {"heads": HEADS}), (srnet, {"nodes": 4})):
        torch.manual_seed(0)
        model = build(5, backbone=backbone("wider_resnet38", **small), **options)
        assert model.backbone.slope == 0 and model.head.reduce[0].out_channels == 8
        logits, auxiliary = model.train()(torch.rand(2, 3, 49, 64))
        assert logits.shape == auxiliary.shape == (2, 5, 49, 64)
        (logits.square().mean() + auxiliary.square().mean()).backward()
        assert model.backbone.mod1.conv1.weight.grad.any()
        with torch.no_grad():
            assert model.eval()(torch.rand(1, 3, 33, 47)).shape == (1, 5, 33, 47)


def test_weights_and_backbones_are_named_where_there_are_none():
    with pytest.raises(ValueError, match="timm has no weights of wider_resnet38; pass the path"):
        ggcf(19, backbone="wider_resnet38")
    with pytest.raises(ValueError, match=r"'resnet', 'wider_resnet38' or an nn\.Module, got 'vgg'"):
        ggcf(19, backbone="vgg")


def test_the_recipes_are_the_papers():
    recipes = {name: Recipe(**found["training"]) for name, found in RECIPES.items()}
    for name, power, steps in (("Cityscapes", 2.0, 50_000), ("ADE20K", 0.9, 900_000)):
        recipe = recipes[name]
        assert (recipe.power, recipe.steps, recipe.lr, recipe.batch) == (power, steps, 0.02, 8)
        assert (recipe.weight_decay, recipe.momentum) == (5e-4, 0.9)
        assert (recipe.optimiser, recipe.scale, recipe.crop) == ("sgd", (0.5, 1.5), (769, 769))
        assert (recipe.ohem, recipe.aspect, recipe.auxiliary_weight) == (None, None, 0.4)
    test = recipes["Cityscapes test"]
    assert (test.scale, test.aspect, test.crop) == ((0.7, 2.0), (0.9, 1.1), (1024, 1024))
    assert test.ohem == OHEM["dgcnet"] and test.power == 2.0
    with torch.device("meta"):
        nets = [ggcf(19, weights="random", **found["network"]) for found in RECIPES.values()]
    assert [size(net.backbone) for net in nets] == [42_500_160, 23_508_032, 105_070_912]
    last = [m.dilation[0] for m in nets[2].backbone.mod7.modules() if isinstance(m, nn.Conv2d)]
    assert max(last) == 8
