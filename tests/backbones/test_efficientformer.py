"""EfficientFormerV2: timm's own answers at timm's sizes, and answers at every other."""

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from contextlab.backbones import EfficientFormer, backbone
from contextlab.backbones.efficientformer import AnySizeAttention
from contextlab.costs import count

SMALLEST = "efficientformerv2_s0"


@pytest.fixture(scope="module")
def net():
    """The smallest network, with biases and scales that are not those of the start."""
    torch.manual_seed(0)
    net = EfficientFormer(SMALLEST, weights="random").eval()
    for name, value in net.named_parameters():
        if "attention_biases" in name or ".ls" in name:
            nn.init.normal_(value)
    return net


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs", "channels"),
    [
        ("efficientformerv2_s0", 3.246, 0.396, (32, 48, 96, 176)),
        ("efficientformerv2_s1", 5.735, 0.652, (32, 48, 120, 224)),
        ("efficientformerv2_s2", 12.132, 1.246, (32, 64, 144, 288)),
        ("efficientformerv2_l", 25.552, 2.552, (40, 80, 192, 384)),
    ],
)
def test_the_published_sizes(name, parameters, gmacs, channels):
    with torch.device("meta"):
        net = backbone(name, weights="random")
    cost = count(net, (1, 3, 224, 224))
    assert cost.parameters / 1e6 == pytest.approx(parameters, abs=0.0005)
    assert cost.macs / 1e9 == pytest.approx(gmacs, abs=0.0006)
    assert (net.channels, net.strides) == (channels, (4, 8, 16, 32))
    config = timm.get_pretrained_cfg(name)
    assert (net.mean, net.std) == (config.mean, config.std)


def theirs(net, size):
    """timm's network made for a size, with the same weights, its tables resized to it."""
    other = timm.create_model(SMALLEST, num_classes=0, img_size=size).eval()
    state, own = dict(net.state_dict()), other.state_dict()
    for key, table in state.items():
        if key.endswith("attention_biases") and table.shape != own[key].shape:
            old = 14 if "downsample" in key else 7
            new = [-(-side // (16 if "downsample" in key else 32)) for side in size]
            table = F.interpolate(table.reshape(1, 8, old, old), size=new, mode="bicubic")
            state[key] = table.reshape(8, -1)
    missing = other.load_state_dict(state, strict=False)
    assert {key.split(".")[0] for key in missing.missing_keys} == {"norm"}
    assert missing.unexpected_keys == []
    return other


@pytest.mark.parametrize("size", [(224, 224), (512, 512), (96, 160)])
def test_answers_are_timms_where_timm_answers(net, size):
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected = theirs(net, size).forward_intermediates(x, intermediates_only=True)
        torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(512, 512), (360, 480)])
def test_timms_own_network_refuses_these_sizes(size):
    """The day it does not, the attention here is no longer needed."""
    with torch.device("meta"), pytest.raises(RuntimeError):
        timm.create_model(SMALLEST, num_classes=0)(torch.empty(1, 3, *size))


@pytest.mark.parametrize("size", [(33, 65), (360, 480), (512, 512), (32, 32)])
@pytest.mark.parametrize("name", ["efficientformerv2_s1", "efficientformerv2_l"])
def test_images_of_any_size(name, size):
    with torch.device("meta"):
        net = EfficientFormer(name, weights="random").eval()
        maps = net(torch.empty(1, 3, *size))
    expected = [
        (1, c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip(net.channels, net.strides, strict=True)
    ]
    assert [tuple(m.shape) for m in maps] == expected


@pytest.mark.parametrize("h, w, b", [(33, 65, 2), (64, 95, 1), (97, 40, 1)])
def test_padding_is_the_mean_of_the_images(net, h, w, b):
    x = torch.rand(b, 3, h, w)
    padded = torch.zeros(b, 3, h + -h % 32, w + -w % 32)
    padded[..., :h, :w] = x
    with torch.no_grad():
        maps, expected = net(x), net(padded)
    for found, other, stride in zip(maps, expected, (4, 8, 16, 32), strict=True):
        rows, columns = -(-h // stride), -(-w // stride)
        assert found.shape[2:] == (rows, columns)
        torch.testing.assert_close(found, other[..., :rows, :columns])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_bias_is_looked_up_by_distance(net, stride):
    stage = net.stages[3]
    layer = stage.downsample.attn if stride == 2 else stage.blocks[-1].token_mixer
    side = 14 if stride == 2 else 7
    assert isinstance(layer, AnySizeAttention) and layer.size == (side, side)
    with torch.no_grad():
        bias, (h, w) = layer.bias(3, 5), (3, 5)
        table = layer.attention_biases.reshape(1, 8, side, side)
        table = F.interpolate(table, size=(h, w), mode="bicubic")[0]
        own = layer.bias(side, side)
    positions = [(i, j) for i in range(h) for j in range(w)]
    asking = [(i, j) for i, j in positions if i % stride == j % stride == 0]
    assert bias.shape == (8, len(asking), len(positions))
    for n, (i, j) in enumerate(asking):
        for m, (y, x) in enumerate(positions):
            assert torch.equal(bias[:, n, m], table[:, abs(i - y), abs(j - x)])
    assert torch.equal(own[:, 0], layer.attention_biases)


def test_tables_can_be_made_for_another_size_and_then_have_timms_names_and_shapes():
    torch.manual_seed(0)
    net = EfficientFormer(SMALLEST, weights="random", image_size=160).eval()
    other = timm.create_model(SMALLEST, num_classes=0, img_size=160).eval()
    for name, value in other.named_parameters():
        if "attention_biases" in name:
            nn.init.normal_(value)
    state = {k: v for k, v in other.state_dict().items() if not k.startswith("norm")}
    net.load_state_dict(state)
    x = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        expected = other.forward_intermediates(x, intermediates_only=True)
        torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-4)
        assert net(torch.rand(1, 3, 64, 96))[-1].shape == (1, 176, 2, 3)
    assert net.stages[3].downsample.attn.size == (10, 10)


def test_tables_from_a_file_are_resized_once(tmp_path):
    path = tmp_path / "model.safetensors"
    torch.manual_seed(5)
    source = timm.create_model(SMALLEST)
    for name, value in source.named_parameters():
        if "attention_biases" in name:
            nn.init.normal_(value)
    save_file(source.state_dict(), path)
    plain, larger = (EfficientFormer(SMALLEST, weights=path, image_size=s) for s in (224, 512))
    for own, other in zip(plain.modules(), larger.modules(), strict=True):
        if isinstance(own, AnySizeAttention):
            torch.testing.assert_close(own.bias(*other.size), other.bias(*other.size))
            assert other.attention_biases.shape[1] in (16 * 16, 32 * 32)
    added = sum(p.numel() for p in larger.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added == 8 * (4 * (16**2 - 7**2) + 32**2 - 14**2)


@pytest.mark.parametrize("size", [(1, 1), (31, 64)])
def test_images_of_less_than_a_position_are_refused_in_words(net, size):
    with pytest.raises(ValueError, match=rf"at least 32 x 32, .* got {size[0]} x {size[1]}"):
        net(torch.rand(1, 3, *size))


def test_every_weight_learns_tables_included():
    torch.manual_seed(0)
    net = EfficientFormer(SMALLEST, weights="random", drop_path=0.1, out_indices=(1, 2, 3))
    sum(m.square().mean() for m in net(torch.rand(2, 3, 64, 96))).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    drops = [m.drop_prob for m in net.modules() if hasattr(m, "drop_prob")]
    assert max(drops) == pytest.approx(0.1)


def test_chosen_maps_are_those_of_the_whole(net):
    two = EfficientFormer(SMALLEST, weights="random", out_indices=(0, 2)).eval()
    two.load_state_dict({k: v for k, v in net.state_dict().items() if "stages.3" not in k})
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps = net(x)
        torch.testing.assert_close(two(x), [maps[0], maps[2]])
    assert (two.channels, two.strides, len(two.stages)) == ((32, 96), (4, 16), 3)


def test_it_compiles_and_exports(net):
    """The parts that are not timm's; all of the network takes half a minute."""
    fine, coarse = torch.rand(1, 96, 4, 6), torch.rand(1, 176, 3, 5)
    for part, x in (
        (net.stages[2].blocks[-1].token_mixer, fine),
        (net.stages[3].downsample.attn, fine),
        (net.stages[3].blocks[-1].token_mixer, coarse),
    ):
        with torch.no_grad():
            expected = part(x)
            compiled = torch.compile(part, fullgraph=True, backend="eager")
            torch.testing.assert_close(compiled(x), expected)
            torch.testing.assert_close(torch.export.export(part, (x,)).module()(x), expected)
        torch.compiler.reset()


def test_half_precision_where_autocast_asks_for_it(net):
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert all(m.isfinite().all() for m in net(x))


def test_a_file_with_timms_names_is_loaded(tmp_path):
    path = tmp_path / "model.safetensors"
    torch.manual_seed(5)
    save_file(timm.create_model(SMALLEST).state_dict(), path)
    own, file = backbone(SMALLEST, weights=path).state_dict(), load_file(path)
    assert len(own) > 300 and all(torch.equal(t, file[key]) for key, t in own.items())
    with pytest.raises(ValueError, match="the weights of another network"):
        backbone("efficientformerv2_s1", weights=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_path": -0.1}, "drop_path from 0 to below 1, got -0.1"),
        ({"out_indices": (0, 4)}, "rising out_indices out of 0 to 3"),
        ({"output_stride": 16}, "efficientformerv2_s0 has the output stride 32, got 16"),
        ({"img_size": 512}, r"one of name, .* image_size, weights; got 'img_size'"),
        ({"image_size": 16}, "image_size of at least 32, got 16"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        backbone(SMALLEST, weights="random", **options)
    with pytest.raises(ValueError, match=r"an EfficientFormerV2 of .* got 'efficientformer_l1'"):
        EfficientFormer("efficientformer_l1", weights="random")
