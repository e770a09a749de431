"""Any timm network as a backbone: strides, shapes, statistics and refusals."""

import pytest
import timm
import torch

from contextlab.backbones import TimmFeatures, backbone


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "tf_efficientnet_lite0"])
def test_the_stated_strides_and_channels_are_the_real_ones(name, output_stride):
    net = TimmFeatures(name, output_stride=output_stride, weights="random").eval()
    assert net.strides[-1] == output_stride
    assert len(net.strides) == len(net.channels) == 2
    maps = net(torch.rand(1, 3, 65, 96))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, -(-65 // s), -(-96 // s)) for c, s in zip(net.channels, net.strides, strict=True)
    ]


def test_a_dilated_network_keeps_its_weights_and_its_answers():
    """So it is without squeeze-and-excitation, whose average is over other positions."""
    plain, dense = (
        TimmFeatures("mobilenetv2_035", output_stride=s, weights="random").eval().double()
        for s in (32, 8)
    )
    dense.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 96, 64).double()
    torch.testing.assert_close(dense(x)[-1][..., ::4, ::4], plain(x)[-1])


def test_the_image_statistics_are_the_networks_own():
    assert TimmFeatures("tf_efficientnet_lite0", weights="random").mean == (0.5, 0.5, 0.5)
    assert TimmFeatures("tf_efficientnet_lite0", weights="random").std == (0.5, 0.5, 0.5)
    config = timm.get_pretrained_cfg("regnety_002")
    net = TimmFeatures("regnety_002", weights="random")
    assert (net.mean, net.std) == (config.mean, config.std)


def test_other_maps_can_be_chosen():
    net = TimmFeatures("test_efficientnet", weights="random", out_indices=(1, 2, 4)).eval()
    assert net.strides == (4, 8, 8)
    assert len(net(torch.rand(1, 3, 64, 64))) == 3


def test_maps_with_channels_last_are_turned():
    net = TimmFeatures(
        "swin_tiny_patch4_window7_224", output_stride=32, weights="random", depths=(1, 1, 1, 1)
    ).eval()
    with torch.no_grad():
        maps = net(torch.rand(1, 3, 224, 224))
    assert [tuple(m.shape) for m in maps] == [(1, 384, 14, 14), (1, 768, 7, 7)]
    assert net.channels == (384, 768)


@pytest.mark.parametrize("weights", ["random", "imagenet"])
@pytest.mark.parametrize("name", ["densenet121", "swin_tiny_patch4_window7_224", "dla34"])
def test_a_stride_that_a_network_cannot_have_is_refused_before_any_weights(name, weights):
    with pytest.raises(ValueError, match=r"cannot give .* the output stride 8, only its own, 32"):
        TimmFeatures(name, output_stride=8, weights=weights)


@pytest.mark.parametrize("out_indices", [(), (5,), (3, 2), (2, 2), (-1,)])
def test_maps_that_are_not_there_are_refused(out_indices):
    with pytest.raises(ValueError, match="rising out_indices out of 0 to 4"):
        TimmFeatures("test_efficientnet", weights="random", out_indices=out_indices)


def test_options_that_timm_does_not_know_are_refused():
    with pytest.raises(ValueError, match=r"test_efficientnet does not take .*depth_of_field"):
        TimmFeatures("test_efficientnet", weights="random", depth_of_field=3)


@pytest.mark.parametrize(("name", "kind"), [("resnet50", "resnet50"), ("convnext", "convnext_")])
def test_an_unknown_name_gets_the_closest_ones(name, kind):
    with pytest.raises(ValueError, match=f"got '{name}x'; did you mean .*{kind}"):
        backbone(f"{name}x", weights="random")


@pytest.mark.parametrize(
    "name, stride, remedy",
    [
        ("vit_tiny_patch16_224", 16, {"dynamic_img_size": True, "dynamic_img_pad": True}),
        ("swin_tiny_patch4_window7_224", 32, {"strict_img_size": False}),
    ],
)
def test_another_size_of_images_needs_an_option_that_the_message_names(name, stride, remedy):
    net = TimmFeatures(name, output_stride=stride, weights="random")
    words = " and pass ".join(f"{key}={value}" for key, value in remedy.items())
    with pytest.raises(ValueError, match=rf"{name} does not take images of .*: pass {words}$"):
        net(torch.rand(1, 3, 232, 260))
    net = TimmFeatures(name, output_stride=stride, weights="random", **remedy)
    assert net(torch.rand(1, 3, 232, 260))[-1].shape[-2:] == (-(-232 // stride), -(-260 // stride))
