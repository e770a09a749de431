"""Dilated ResNet against the published counts, against timm, and against its own definition."""

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from contextlab.backbones import DilatedResNet


def build(name="resnet18", **options):
    """A ResNet whose batch norms and residual branches do something, always the same."""
    torch.manual_seed(0)
    net = DilatedResNet(name, weights="random", **options).eval()
    generator = torch.Generator().manual_seed(1)
    for key, value in net.state_dict().items():
        if ".bn" in key or key.startswith("bn") or "downsample.1" in key:
            if key.endswith(("weight", "running_var")):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                value.copy_(0.2 * torch.randn(value.shape, generator=generator))
    return net


def layer4_dilations(net):
    return [block.conv2.dilation[0] for block in net.layer4]


@pytest.mark.parametrize(
    ("name", "stem", "parameters", "macs8", "macs16"),
    [
        ("resnet50", "plain", 23_508_032, 224.26, 72.96),
        ("resnet50", "deep", 23_631_808, 240.19, 88.89),
        ("resnet101", "plain", 42_500_160, 398.81, 116.60),
        ("resnet101", "deep", 42_623_936, 414.74, 132.53),
    ],
)
def test_parameters_and_macs_at_768_are_the_published_ones(name, stem, parameters, macs8, macs16):
    for output_stride, published in ((8, macs8), (16, macs16)):
        with torch.device("meta"):
            net = DilatedResNet(name, output_stride=output_stride, stem=stem, weights="random")
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                maps = net.eval()(torch.empty(1, 3, 768, 768))
        assert sum(p.numel() for p in net.parameters()) == parameters
        assert round(counter.get_total_flops() / 2e9, 2) == published
        assert maps[-1].shape == (1, 2048, 768 // output_stride, 768 // output_stride)


def test_at_stride_32_it_is_timm_itself():
    net = build(output_stride=32)
    reference = timm.create_model("resnet18", num_classes=0).eval()
    reference.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 65, 96)
    assert torch.equal(net(x)[-1], reference.forward_features(x))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_the_encoding_convention_is_timms_own(name, output_stride):
    net = build(name, output_stride=output_stride, convention="encoding")
    reference = timm.create_model(name, num_classes=0, output_stride=output_stride).eval()
    reference.load_state_dict(net.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(net(x)[-1], reference.forward_features(x))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("convention", ["sfsegnets", "encoding"])
def test_dilation_leaves_the_weights_as_they_are(output_stride, convention):
    plain = build(output_stride=32).state_dict()
    dilated = build(output_stride=output_stride, convention=convention).state_dict()
    assert list(plain) == list(dilated)
    assert all(torch.equal(plain[key], dilated[key]) for key in plain)


@settings(deadline=None, max_examples=8)
@given(h=st.integers(17, 80), w=st.integers(17, 80))
def test_every_fourth_position_is_the_strided_networks_map(h, w):
    x = torch.randn(1, 3, h, w, generator=torch.Generator().manual_seed(h * w)).double()
    with torch.no_grad():
        strided = build(output_stride=32).double()(x)[-1]
        dense = build(output_stride=8, convention="encoding").double()(x)[-1]
    assert dense.shape[-2:] == (-(-h // 8), -(-w // 8))
    torch.testing.assert_close(dense[..., ::4, ::4], strided)


def test_the_sfsegnets_convention_sees_other_pixels():
    x = torch.randn(1, 3, 96, 96).double()
    one, other = (
        build(convention=c).double()(x)[-1][..., ::4, ::4] for c in ("sfsegnets", "encoding")
    )
    assert not torch.allclose(one, other)


@pytest.mark.parametrize(
    ("options", "layer3", "layer4"),
    [
        ({"output_stride": 32}, 1, [1, 1, 1]),
        ({"output_stride": 16}, 1, [2, 2, 2]),
        ({"output_stride": 16, "convention": "encoding"}, 1, [1, 2, 2]),
        ({"output_stride": 8}, 2, [4, 4, 4]),
        ({"output_stride": 8, "convention": "encoding"}, 1, [2, 4, 4]),
        ({"output_stride": 8, "multi_grid": (1, 2, 4)}, 2, [4, 8, 16]),
        (
            {"output_stride": 8, "multi_grid": (1, 2, 4), "convention": "encoding"},
            1,
            [2, 8, 16],
        ),
        ({"output_stride": 16, "multi_grid": (1, 2, 4)}, 1, [2, 4, 8]),
        ({"output_stride": 32, "multi_grid": (1, 2, 4)}, 1, [1, 2, 4]),
    ],
)
def test_the_dilations_are_those_of_the_sources(options, layer3, layer4):
    with torch.device("meta"):
        net = DilatedResNet("resnet50", weights="random", **options)
    assert layer4_dilations(net) == layer4
    assert net.layer3[0].conv2.dilation == (layer3, layer3)
    later = 2 if options["output_stride"] == 8 else 1
    assert {block.conv2.dilation for block in net.layer3[1:]} == {(later, later)}
    for layer in (net.layer3, net.layer4):
        assert all(block.conv2.padding == block.conv2.dilation for block in layer)


def test_a_basic_block_dilates_both_of_its_convolutions():
    with torch.device("meta"):
        both = DilatedResNet("resnet18", weights="random").layer4[0]
        halved = DilatedResNet("resnet18", weights="random", convention="encoding").layer4[0]
    assert (both.conv1.dilation, both.conv2.dilation) == ((4, 4), (4, 4))
    assert (halved.conv1.dilation, halved.conv2.dilation) == ((2, 2), (4, 4))


def test_any_of_the_maps_can_be_had():
    net = build(out_indices=(0, 1, 2, 3, 4))
    assert net.channels == (64, 64, 128, 256, 512)
    assert net.strides == (2, 4, 8, 8, 8)
    maps = net(torch.rand(1, 3, 65, 40))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, -(-65 // s), -(-40 // s)) for c, s in zip(net.channels, net.strides, strict=True)
    ]
    early = build(out_indices=(1, 2))
    assert not hasattr(early, "layer3")
    torch.testing.assert_close(early(torch.ones(1, 3, 64, 64))[-1].shape, (1, 128, 8, 8))


def test_the_deep_stems_have_their_widths():
    with torch.device("meta"):
        for stem, widths in {"deep": [64, 64, 128], "deep32": [32, 32, 64]}.items():
            net = DilatedResNet("resnet50", stem=stem, weights="random")
            convs = [m for m in net.conv1 if isinstance(m, torch.nn.Conv2d)]
            assert [m.out_channels for m in convs] == widths
            assert net.layer1[0].conv1.in_channels == widths[-1]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_a_deep_stem_has_no_imagenet_weights_and_says_so(name):
    with pytest.raises(ValueError, match=r"no ImageNet weights in timm .* weights='random'"):
        DilatedResNet(name, stem="deep")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_stride": 4}, r"output_stride one of \(8, 16, 32\), got 4"),
        ({"stem": "wide"}, "stem one of .*'deep32'.* got 'wide'"),
        ({"convention": "mine"}, "convention one of .* got 'mine'"),
        ({"multi_grid": (1, 2)}, r"3 for resnet50, got \(1, 2\)"),
        ({"out_indices": (4, 3)}, r"rising out_indices out of 0 to 4, got \(4, 3\)"),
        ({"out_indices": ()}, "rising out_indices"),
        ({"name": "resnet51"}, "one of .*'resnet50'.* got 'resnet51'"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        DilatedResNet(**{"name": "resnet50", "weights": "random"} | options)
