"""MSCAN: the published sizes, the equations, any size of images, and files of weights."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from contextlab.backbones import MSCAN, backbone
from contextlab.backbones.mscan import Block, drop_path
from contextlab.costs import count

TINY = {"out_indices": (0, 1)}


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs", "channels"),
    [
        ("mscan_t", 3_903_584, 4.64, (32, 64, 160, 256)),
        ("mscan_s", 13_450_176, 13.38, (64, 128, 320, 512)),
        ("mscan_b", 26_277_824, 26.55, (64, 128, 320, 512)),
        ("mscan_l", 44_636_864, 47.27, (64, 128, 320, 512)),
    ],
)
def test_the_sizes(name, parameters, gmacs, channels):
    """T as published; S, B and L as T's layers give them at their widths and depths."""
    with torch.device("meta"):
        net = backbone(name)
    cost = count(net, (1, 3, 512, 512))
    assert (cost.parameters, net.channels, net.strides) == (parameters, channels, (4, 8, 16, 32))
    assert cost.macs / 1e9 == pytest.approx(gmacs, abs=0.005)


@pytest.mark.parametrize("size", [(33, 65), (360, 480), (512, 512), (32, 32)])
def test_images_of_any_size(size):
    with torch.device("meta"):
        net = MSCAN("mscan_t").eval()
        maps = net(torch.empty(1, 3, *size))
    expected = [
        (1, c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip(net.channels, net.strides, strict=True)
    ]
    assert [tuple(m.shape) for m in maps] == expected


@settings(deadline=None, max_examples=10)
@given(h=st.integers(32, 70), w=st.integers(32, 70), b=st.integers(1, 2))
def test_chosen_maps_have_the_promised_shapes_and_values(h, w, b):
    torch.manual_seed(0)
    net, x = MSCAN("mscan_t").eval(), torch.rand(b, 3, h, w)
    two = MSCAN("mscan_t", out_indices=(1, 2)).eval()
    two.load_state_dict(net.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(two(x), net(x)[1:3])
    assert (two.channels, two.strides) == ((64, 160), (8, 16))
    assert not any(name.startswith("patch_embed4") for name, _ in two.named_parameters())


@pytest.mark.parametrize("size", [(1, 1), (31, 64), (64, 31)])
def test_images_of_less_than_a_position_are_refused_in_words(size):
    net = MSCAN("mscan_t", **TINY)
    with pytest.raises(ValueError, match=rf"at least 32 x 32, .* got {size[0]} x {size[1]}"):
        net(torch.rand(1, 3, *size))
    with pytest.raises(ValueError, match=r"expected images 'b 3 h w', got \(1, 4, 64, 64\)"):
        net(torch.rand(1, 4, 64, 64))


def test_a_block_is_what_its_equations_say():
    torch.manual_seed(0)
    block = Block(6, 4).eval().double()
    torch.nn.init.normal_(block.layer_scale_1)
    torch.nn.init.normal_(block.layer_scale_2)
    x = torch.rand(2, 6, 9, 12).double()

    def depthwise(layer, z):
        kernel = layer.weight
        padding = [side // 2 for side in kernel.shape[2:]]
        return F.conv2d(z, kernel, layer.bias, padding=padding, groups=len(kernel))

    def linear(layer, z):
        return F.conv2d(z, layer.weight, layer.bias)

    attention, strips = block.attn, block.attn.spatial_gating_unit
    z = block.norm1(x)
    u = F.gelu(linear(attention.proj_1, z))
    d = depthwise(strips.conv0, u)
    crosses = d
    for k in range(3):
        row, column = (getattr(strips, f"conv{k}_{i}") for i in (1, 2))
        assert (row.kernel_size, column.kernel_size) == ((1, (7, 11, 21)[k]), ((7, 11, 21)[k], 1))
        crosses = crosses + depthwise(column, depthwise(row, d))
    attended = linear(attention.proj_2, linear(strips.conv3, crosses) * u) + z
    y = x + rearrange(block.layer_scale_1, "c -> c 1 1") * attended
    hidden = depthwise(block.mlp.dwconv.dwconv, linear(block.mlp.fc1, block.norm2(y)))
    y = y + rearrange(block.layer_scale_2, "c -> c 1 1") * linear(block.mlp.fc2, F.gelu(hidden))
    torch.testing.assert_close(block(x), y)


def test_every_weight_learns_and_branches_are_dropped_in_training_only():
    torch.manual_seed(0)
    net, x = MSCAN("mscan_t", drop_path=0.1, **TINY), torch.rand(2, 3, 64, 32)
    shares = [m.share for m in net.modules() if isinstance(m, Block)]
    assert shares == pytest.approx([0.1 * i / 12 for i in range(6)])  # of the 13 of all stages
    sum(m.square().mean() for m in net(x)).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []
    assert not torch.equal(net(x)[-1], net(x)[-1])
    net.eval()
    assert torch.equal(net(x)[-1], net(x)[-1])


def test_a_dropped_branch_is_left_out_whole_and_kept_ones_make_up_for_it():
    torch.manual_seed(0)
    x = torch.rand(4000, 2, 3, 3)
    y = drop_path(x, 0.25, training=True)
    kept = y.flatten(1).any(1)
    torch.testing.assert_close(y[kept], x[kept] / 0.75)
    assert kept.float().mean() == pytest.approx(0.75, abs=0.03)
    assert drop_path(x, 0.25, training=False) is x and drop_path(x, 0.0, training=True) is x


def test_it_compiles_and_exports():
    net, x = MSCAN("mscan_t", out_indices=(0,)).eval(), torch.rand(1, 3, 45, 64)
    with torch.no_grad():
        expected = net(x)
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), expected)
        torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), expected)
    torch.compiler.reset()


@pytest.fixture(scope="module")
def released():
    """The weights of a made-up network, named as the authors name theirs."""
    torch.manual_seed(5)
    net = MSCAN("mscan_t").state_dict()
    assert {"patch_embed1.proj.0.weight", "patch_embed2.proj.weight", "patch_embed2.norm.bias"} <= (
        net.keys()
    )
    block = [f"attn.{p}.weight" for p in ("proj_1", "proj_2", "spatial_gating_unit.conv2_1")]
    block += ["mlp.fc1.weight", "mlp.dwconv.dwconv.weight", "layer_scale_1", "norm2.running_mean"]
    assert {f"block1.0.{name}" for name in block} | {"norm4.weight"} <= net.keys()
    return net


def test_released_files_are_read_in_all_their_forms(released, tmp_path):
    head = {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}
    whole = {f"backbone.{key}": t for key, t in released.items()}
    whole["decode_head.conv_seg.weight"] = torch.zeros(150, 256, 1, 1)
    for name, content in (
        ("plain.pth", released),
        ("classifier.pth.tar", {"state_dict": released | head, "epoch": 300}),
        ("network.pth", {"meta": {"CLASSES": ("wall",)}, "state_dict": whole}),
    ):
        path = tmp_path / name
        torch.save(content, path)
        own = backbone("mscan_t", weights=path).state_dict()
        assert all(torch.equal(own[key], t) for key, t in released.items()), name
    save_file(released | head, tmp_path / "model.safetensors")
    own = backbone("mscan_t", weights=str(tmp_path / "model.safetensors"), out_indices=(1, 2))
    own = own.state_dict()
    assert len(own) > 200 and all(torch.equal(released[key], t) for key, t in own.items())


def test_files_that_do_not_fit_are_refused_in_words(released, tmp_path):
    path = tmp_path / "mscan.pth"
    torch.save(released, path)
    with pytest.raises(ValueError, match=r"another network, .*of another shape: patch_embed1"):
        backbone("mscan_s", weights=path)
    torch.save({k: t for k, t in released.items() if not k.startswith("block2")}, path)
    with pytest.raises(ValueError, match=r"of \d+ expected tensors \d+ missing: block2\.0"):
        backbone("mscan_t", weights=path)
    torch.save({"state_dict": {"epoch": 3}}, path)
    with pytest.raises(ValueError, match="holds no weights: expected tensors by name"):
        backbone("mscan_t", weights=path)
    torch.save(released, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"\(1,000 bytes\) is cut or is no file of weights"):
        backbone("mscan_t", weights=path)
    with pytest.raises(FileNotFoundError, match=r"weights at .*absent\.pth; none there"):
        backbone("mscan_t", weights=tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "imagenet"}, "timm has no weights of mscan_t"),
        ({"weights": "imagenets"}, r"'random' or the path of a .*\.pth or .*got 'imagenets'"),
        ({"drop_path": 1.0}, "drop_path from 0 to below 1, got 1.0"),
        ({"out_indices": (2, 1)}, "rising out_indices out of 0 to 3"),
        ({"out_indices": ()}, "rising out_indices out of 0 to 3"),
        ({"output_stride": 8}, "mscan_t has the output stride 32, got 8"),
        ({"depth": 3}, "one of name, out_indices, drop_path, weights; got 'depth'"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        backbone("mscan_t", **options)
    with pytest.raises(ValueError, match=r"an MSCAN of mscan_t, .* got 'mscan_x'"):
        MSCAN("mscan_x")
