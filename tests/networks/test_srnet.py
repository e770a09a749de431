"""SRNet: the head in both arrangements, and the networks of the paper's size."""

import pytest
import torch
from head_tests import HeadTests, size
from torch import nn

from contextlab.costs import needed_macs
from contextlab.networks import SRNetHead, srnet


class TestSRNetHead(HeadTests):
    module, options, dropout = SRNetHead, {"width": 16, "nodes": 4}, 0.1


@pytest.mark.parametrize(
    "options, parameters, macs",
    [
        ({}, 12_202_515, "112.4346"),
        ({"variant": "srnet", "norm": True}, 12_203_603, "112.4346"),
        ({"form": "code"}, 3_815_587, "35.1252"),
    ],
)
def test_the_head_costs_what_it_should(options, parameters, macs):
    with torch.device("meta"):
        head = SRNetHead(2048, 19, **options)
    assert size(head) == parameters
    assert f"{needed_macs(head, (1, 2048, 96, 96)) / 1e9:.4f}" == macs


def test_the_two_arrangements():
    with torch.device("meta"):
        paper, code = SRNetHead(2048, 19), SRNetHead(2048, 19, form="code")
    (first, *rest), second = paper.reduce, paper.fuse[0]
    assert (first.kernel_size, first.bias, second.kernel_size) == ((3, 3), None, (3, 3))
    assert [type(layer) for layer in rest] == [nn.BatchNorm2d, nn.ReLU]
    assert isinstance(code.reduce, nn.Conv2d) and code.reduce.kernel_size == (1, 1)
    assert code.reduce.bias is not None and code.fuse[0].bias is not None
    assert (paper.context.nodes, code.context.nodes) == (16, 32)
    assert (paper.context.pool, code.context.pool) == ("mean", "sum")


def test_the_networks_of_the_papers_size():
    with torch.device("meta"):
        nets = {
            50: srnet(19, weights="random"),
            101: srnet([f"class {i}" for i in range(19)], depth=101, weights="random"),
        }
    backbones = {50: 23_631_808, 101: 42_623_936}
    for depth, net in nets.items():
        assert size(net.backbone) == backbones[depth]
        assert size(net) == backbones[depth] + 12_202_515 + 2_364_947
        assert net.classes == 19
        last = [block.conv2.dilation[0] for block in net.backbone.layer4]
        assert last == [4, 8, 16]  # section III-D adopts multi-grid
    assert size(srnet_without_auxiliary()) == 23_631_808 + 12_202_515


def test_multi_grid_is_the_papers_and_not_the_codes_and_can_be_chosen():
    for options, dilations in (
        ({"form": "code"}, [4, 4, 4]),
        ({"form": "code", "multi_grid": (1, 2, 1)}, [4, 8, 4]),
        ({"multi_grid": None}, [4, 4, 4]),
    ):
        with torch.device("meta"):
            net = srnet(19, weights="random", **options)
        assert [block.conv2.dilation[0] for block in net.backbone.layer4] == dilations


def test_each_dropout_goes_alone():
    for options, shares in (({}, (0.1, 0.1)), ({"dropout": 0, "auxiliary_dropout": 0.2}, (0, 0.2))):
        with torch.device("meta"):
            net = srnet(19, weights="random", align_corners=True, **options)
        assert (net.head.classifier[0].p, net.auxiliary[-2].p) == shares and net.align_corners


def srnet_without_auxiliary():
    with torch.device("meta"):
        net = srnet(19, weights="random", auxiliary=False)
    assert net.auxiliary is None
    return net


def test_the_auxiliary_head_is_that_of_the_code():
    with torch.device("meta"):
        (conv, norm, relu), dropout, last = srnet(19, weights="random").auxiliary
    assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (1024, 256, (3, 3))
    assert conv.bias is not None and last.bias is not None and dropout.p == 0.1
    assert isinstance(norm, nn.BatchNorm2d) and isinstance(relu, nn.ReLU)


def test_it_answers_and_trains():
    torch.manual_seed(0)
    net = srnet(5, depth=18, weights="random", form="code")
    logits, auxiliary = net.train()(torch.rand(2, 3, 49, 64))
    assert logits.shape == auxiliary.shape == (2, 5, 49, 64)
    (logits.mean() + auxiliary.mean()).backward()
    assert net.backbone.conv1[0].weight.grad.any()
    with torch.no_grad():
        assert net.eval()(torch.rand(1, 3, 33, 47)).shape == (1, 5, 33, 47)


def test_random_weights_come_only_when_asked_for():
    with pytest.raises(ValueError, match=r"no ImageNet weights in timm .* weights='random'"):
        srnet(19)
