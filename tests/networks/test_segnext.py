"""SegNeXt: its size, its head from its parts, and other contexts and backbones in it."""

import pytest
import torch
import torch.nn.functional as F
from head_tests import size
from torch import nn

from contextlab.backbones import CoursePyramid
from contextlab.costs import count
from contextlab.costs._readings import every_call
from contextlab.modules import Hamburger
from contextlab.networks import LightHam, SegNeXt, segnext


def small(**options) -> SegNeXt:
    torch.manual_seed(0)
    return SegNeXt(CoursePyramid(width=8, stem=4), 5, width=16, **{"rank": 4} | options)


def test_segnext_t_costs_what_it_should():
    with torch.device("meta"):
        net = segnext(150)
    assert (size(net), size(net.backbone), size(net.head)) == (4_263_414, 3_903_584, 359_830)
    cost = count(net, (1, 3, 512, 512))
    assert cost.macs / 1e9 == pytest.approx(6.40, abs=0.005)  # printed: 6.6 and 4.3 M
    assert every_call(net, (1, 3, 512, 512), norms=False) / 1e9 == pytest.approx(6.19, abs=0.005)
    assert net.backbone.strides == (8, 16, 32)
    ham = net.head.context
    assert (ham.atoms.shape, ham.steps, ham.eval_steps) == ((256, 16), 6, 7)
    assert ham.gradient == "full" and (ham.norm.num_groups, ham.norm.num_channels) == (32, 256)


def test_the_head_is_made_of_its_parts():
    net, x = small().eval(), torch.rand(2, 3, 33, 50)
    head = net.head
    maps = net.backbone((x - 0.5) / 0.5)
    same = [F.interpolate(m, size=maps[0].shape[2:], mode="bilinear") for m in maps]
    (squeeze, squeeze_norm, _), (align, align_norm, _) = head.squeeze, head.align
    y = squeeze_norm(F.conv2d(torch.cat(same, 1), squeeze.weight)).relu()
    y = align_norm(F.conv2d(head.context(y), align.weight)).relu()
    logits = F.conv2d(y, head.classifier[1].weight, head.classifier[1].bias)
    expected = F.interpolate(logits, size=(33, 50), mode="bilinear")
    torch.testing.assert_close(net(x), expected)
    norms = [m for m in head.modules() if isinstance(m, (nn.GroupNorm, nn.BatchNorm2d))]
    assert [type(m) for m in norms] == [nn.GroupNorm] * 3


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 3, 45, 70), (1, 3, 8, 90)])
def test_logits_have_the_size_of_the_image(shape):
    with torch.no_grad():
        assert small().eval()(torch.rand(shape)).shape == (shape[0], 5, *shape[2:])


def test_every_weight_learns():
    net = small(dropout=0.0)
    net.train()(torch.rand(2, 3, 32, 64)).square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_compiles_and_exports():
    net, x = small().head.eval(), [torch.rand(2, 8, 6, 9), torch.rand(2, 8, 3, 5)]
    x.append(torch.rand(2, 8, 2, 3))
    with torch.no_grad():
        expected = net(x)
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), expected)
        torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), expected)
    torch.compiler.reset()


def test_other_contexts_and_backbones_stand_in_it():
    plain = SegNeXt(CoursePyramid(width=8), 5, width=16, context=None)
    assert isinstance(plain.head.context, nn.Identity)
    net = segnext(
        [f"class {i}" for i in range(5)],
        backbone="df2",
        backbone_options={"width": 0.125},
        context="squeeze_excite",
        context_options={"reduction": 2},
        width=24,
    ).eval()
    assert net.classes == 5 and net.head.squeeze[1].num_groups == 8
    assert net(torch.rand(1, 3, 64, 40)).shape == (1, 5, 64, 40)
    with torch.device("meta"):
        lite = segnext(11, backbone="tf_efficientnet_lite0", backbone_options={"weights": "random"})
    assert lite.backbone.strides == (8, 16, 32) and isinstance(lite.head.context, Hamburger)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width and classes >= 1, got 0 and 5"),
        ({"context": None, "rank": 4}, r"expected a context for its options, got None and .*rank"),
        ({"context": "hamburgr"}, "did you mean 'hamburger'"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        LightHam((8, 8, 8), 5, **options)
