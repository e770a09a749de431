"""DGCNet: the head with both forms of the block, the networks, and that of a report."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from head_tests import HeadTests, size
from torch import nn

from contextlab.costs import REPORT_IOU, needed_macs
from contextlab.modules import DualGraph, context
from contextlab.modules.dual_gcn import REPRODUCTION
from contextlab.networks import DGCNetHead, dgcnet, dgcnet_report


class TestDGCNetHead(HeadTests):
    module, options, dropout = DGCNetHead, {"width": 8, "cell": 4}, 0.0


@pytest.mark.parametrize(
    "options, parameters, macs",
    [({"form": "code"}, 25_152_787, "226.1084"), ({}, 24_607_891, "221.2626")],
)
def test_the_head_costs_what_it_should(options, parameters, macs):
    with torch.device("meta"):
        head = DGCNetHead(2048, 19, **options)
    assert size(head) == parameters
    assert f"{needed_macs(head, (1, 2048, 96, 96)) / 1e9:.4f}" == macs


def test_the_last_convolution_sees_the_heads_input_again():
    head, x = DGCNetHead(16, 5, width=8, cell=4).eval(), torch.rand(2, 16, 9, 7)
    with torch.no_grad():
        y = head.fuse(head.context(head.reduce(x)))
        expected = head.classifier(head.join(torch.cat([x, y], 1)))
        torch.testing.assert_close(head(x), expected)
        nn.init.zeros_(head.join[0].weight[:, 16:])  # what came through the graphs
        torch.testing.assert_close(head(x), head.classifier(head.join[1:](head_only(head, x))))


def head_only(head, x):
    return F.conv2d(x, head.join[0].weight[:, :16], padding=1)


@pytest.mark.parametrize(
    "depth, backbone, million, macs",
    [(50, 23_631_808, 53.51, 466.3), (101, 42_623_936, 72.51, 640.8)],
)
def test_the_networks_of_the_papers_size(depth, backbone, million, macs):
    with torch.device("meta"):
        net = dgcnet(19, depth=depth, form="code", weights="random")
    assert size(net.backbone) == backbone and size(net.auxiliary) == 4_729_875
    assert size(net) == backbone + 25_152_787 + 4_729_875
    assert round(size(net) / 1e6, 2) == million
    assert round(needed_macs(net, (1, 3, 768, 768)) / 1e9, 1) == macs
    assert [block.conv2.dilation[0] for block in net.backbone.layer4] == [4, 8, 16]


def test_the_auxiliary_head_has_no_relu():
    with torch.device("meta"):
        (conv, norm), dropout, last = dgcnet(["a", "b"], weights="random").auxiliary
        assert dgcnet(2, weights="random", auxiliary=False).auxiliary is None
        plain = dgcnet(2, weights="random", multi_grid=None).backbone
    assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (1024, 512, (3, 3))
    assert conv.bias is not None and last.out_channels == 2 and dropout.p == 0.1
    assert isinstance(norm, nn.BatchNorm2d)
    assert [block.conv2.dilation[0] for block in plain.layer4] == [4, 4, 4]


def test_each_dropout_goes_alone_and_the_codes_drop_nothing_before_the_classifier():
    def shares(net):
        kinds = (nn.Dropout, nn.Dropout2d)
        return [m.p for m in net.modules() if isinstance(m, kinds)]

    with torch.device("meta"):
        assert shares(dgcnet(19, weights="random", form="code")) == [0.0, 0.1]
        assert shares(dgcnet(19, weights="random", dropout=0.2, auxiliary_dropout=0)) == [0.2, 0]
        assert shares(dgcnet_report(weights="random")) == [0.0]
        assert shares(dgcnet_report(weights="random", dropout=0.1)) == [0.1]
        assert dgcnet(19, weights="random", align_corners=True).align_corners


def test_it_answers_and_trains():
    torch.manual_seed(0)
    net = dgcnet(5, depth=18, weights="random", form="code", multi_grid=(1, 2))
    logits, auxiliary = net.train()(torch.rand(2, 3, 49, 64))
    assert logits.shape == auxiliary.shape == (2, 5, 49, 64)
    (logits.mean() + auxiliary.mean()).backward()
    assert net.backbone.conv1[0].weight.grad.any()
    with torch.no_grad():
        assert net.eval()(torch.rand(1, 3, 33, 47)).shape == (1, 5, 33, 47)


def test_the_network_of_the_report_is_torchvisions_fcn_with_the_block_inside():
    torch.manual_seed(0)
    net = dgcnet_report(weights="random").eval()
    assert net.classes == len(REPORT_IOU) + 1
    with torch.device("meta"):
        fcn = torchvision.models.segmentation.fcn_resnet50(
            weights=None, weights_backbone=None, num_classes=20
        ).eval()
    assert size(fcn) == 32_956_500
    block = net.backbone.layer4[2]
    assert isinstance(block, DualGraph) and size(block) == 16_012_288
    assert size(net) == 32_956_500 + 16_012_288
    with torch.device("meta"):
        fcn.backbone.layer4.insert(2, context("dual_graph", 2048, **REPRODUCTION).eval())
    places = {"head.0.": "classifier.", "head.2.": "classifier.4."}
    state = {}
    for name, value in net.state_dict().items():
        for ours, theirs in places.items():
            name = name.replace(ours, theirs)
        state[name] = value
    fcn.load_state_dict(state, assign=True)
    x = torch.rand(1, 3, 97, 72)
    with torch.no_grad():
        torch.testing.assert_close(net(x), fcn((x - net.mean) / net.std)["out"])


def test_random_weights_come_only_when_asked_for():
    with pytest.raises(ValueError, match=r"no ImageNet weights in timm .* weights='random'"):
        dgcnet(19)
