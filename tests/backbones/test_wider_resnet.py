"""Wider-ResNet-38: the published size, the maps, and files in every layout that is known."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from contextlab.backbones import WiderResNet38, backbone
from contextlab.costs import count

SMALL = 1 / 64


def trained(**options) -> WiderResNet38:
    """A small one whose norms have seen something, weights of both signs among them."""
    torch.manual_seed(1)
    net = WiderResNet38(width=SMALL, **options)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return net.eval()


def released(net: WiderResNet38, layout: str) -> dict:
    """A network's tensors under the names of a layout: "in-place" or "batch norm"."""
    between = {"in-place": ".", "batch norm": ".0."}[layout]
    return {key.replace(".norm.", between): value for key, value in net.state_dict().items()}


def answer(tensors: dict, x: torch.Tensor, slope: float, sign: bool, final: bool = True):
    """The network written out, from released names and with functions alone."""

    def norm(name, x):
        part = [tensors[f"{name}{key}"] for key in ("running_mean", "running_var", "weight")]
        weight = part[2] if sign else part[2].abs() + 1e-5
        y = (x - part[0][:, None, None]) / (part[1] + 1e-5).sqrt()[:, None, None]
        y = y * weight[:, None, None] + tensors[f"{name}bias"][:, None, None]
        return torch.where(y > 0, y, slope * y)

    between = "0." if sign else ""
    x = F.max_pool2d(F.conv2d(x, tensors["mod1.conv1.weight"], padding=1), 3, 2, 1)
    for i, blocks in zip(range(2, 8), (3, 3, 6, 3, 1, 1)):
        dilation = {5: 2, 6: 4, 7: 4}.get(i, 1)
        x = F.max_pool2d(x, 3, 2, 1) if i == 3 else x
        for j in range(1, blocks + 1):
            own = f"mod{i}.block{j}."
            stride = 2 if (i, j) == (4, 1) else 1
            n = y = norm(f"{own}bn1.{between}", x)
            for k in range(1, 4 if i > 5 else 3):
                weight = tensors[f"{own}convs.conv{k}.weight"]
                if k > 1:
                    y = norm(f"{own}convs.bn{k}.{between}", y)
                rate = dilation if weight.shape[-1] == 3 else 1
                options = {"stride": stride if k == 1 else 1, "dilation": rate}
                y = F.conv2d(y, weight, padding=rate * (weight.shape[-1] // 2), **options)
            skip = f"{own}proj_conv.weight"
            x = (F.conv2d(n, tensors[skip], stride=stride) if skip in tensors else x) + y
    return norm(f"bn_out.{between}", x) if final else x


def test_the_published_size():
    with torch.device("meta"):
        net = backbone("wider_resnet38")
    cost = count(net, (1, 3, 768, 768))
    assert cost.parameters == 105_070_912
    assert cost.macs / 1e9 == pytest.approx(1172.7, abs=0.05)
    assert (net.channels, net.strides) == ((1024, 4096), (8, 8))
    blocks = [len(getattr(net, f"mod{i}")) for i in range(2, 8)]
    assert blocks == [3, 3, 6, 3, 1, 1]
    dropouts = {n: m.p for n, m in net.named_modules() if isinstance(m, nn.Dropout2d)}
    assert dropouts == {"mod6.block1.convs.dropout": 0.3, "mod7.block1.convs.dropout": 0.5}


def test_the_output_stride_changes_no_weight_and_the_grid_only_the_last_dilations():
    nets = [WiderResNet38(width=SMALL, output_stride=s) for s in (8, 16, 32)]
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in nets]
    # where the stride is dropped the shape changes all the same, so every S is there in each
    assert shapes[0] == shapes[1] == shapes[2]
    assert [net.strides for net in nets] == [(8, 8), (16, 16), (16, 32)]
    net = WiderResNet38(width=SMALL, multi_grid=(1, 2))
    dilations = [
        {conv.dilation[0] for conv in getattr(net, f"mod{i}").modules() if is_spatial(conv)}
        for i in range(2, 8)
    ]
    assert dilations == [{1}, {1}, {1}, {2}, {4}, {8}]


def is_spatial(layer):
    return getattr(layer, "kernel_size", None) == (3, 3) and isinstance(layer, nn.Conv2d)


@settings(deadline=None, max_examples=15)
@given(
    h=st.integers(1, 60), w=st.integers(1, 60), b=st.integers(1, 2), s=st.sampled_from([8, 16, 32])
)
def test_maps_have_the_promised_shapes(h, w, b, s):
    net = WiderResNet38(width=SMALL, output_stride=s).eval()
    with torch.no_grad():
        maps = net(torch.rand(b, 3, h, w))
    assert [tuple(m.shape) for m in maps] == [
        (b, channels, -(-h // stride), -(-w // stride))
        for channels, stride in zip(net.channels, net.strides, strict=True)
    ]


def test_every_weight_learns():
    torch.manual_seed(0)
    net = WiderResNet38(width=SMALL).train()
    sum(m.square().mean() for m in net(torch.rand(2, 3, 40, 48))).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("layout", ["in-place", "batch norm"])
@pytest.mark.parametrize("ending", [".pth", ".pth.tar", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
def test_a_released_file_answers_as_where_it_was_trained(layout, ending, prefix, tmp_path):
    path = tmp_path / f"wider{ending}"
    tensors = released(trained(), layout)
    file = {prefix + key: value for key, value in tensors.items()}
    more = {"classifier.fc.weight": torch.zeros(10, 64), "aspp.bn1.weight": torch.zeros(3)}
    file |= {prefix + key: value for key, value in more.items()}
    if ending == ".safetensors":
        save_file(file, path)
    else:
        torch.save({"state_dict": file, "epoch": 3, "best": 79.1}, path)
    slope = 0.01 if layout == "in-place" else 0.0
    net = backbone("wider_resnet38", width=SMALL, slope=slope, weights=path).eval()
    x = torch.randn(2, 3, 33, 47)
    with torch.no_grad():
        expected = answer(tensors, x, slope, sign=layout == "batch norm")
        torch.testing.assert_close(net(x)[-1], expected, rtol=1e-3, atol=1e-4)


def test_the_sign_of_a_norms_weight_counts_unless_it_is_in_place(tmp_path):
    net = trained()
    negative = net.mod2.block1.bn1.norm.weight < 0
    assert negative.any() or (net.mod4.block1.bn1.norm.weight < 0).any()
    torch.save(released(net, "in-place"), tmp_path / "released.pth")
    torch.save(net.state_dict(), tmp_path / "own.pth")
    there = WiderResNet38(width=SMALL, weights=tmp_path / "released.pth").state_dict()
    own = WiderResNet38(width=SMALL, weights=tmp_path / "own.pth").state_dict()
    for key, value in net.state_dict().items():
        assert torch.equal(own[key], value)
        weight = key.endswith("norm.weight")
        assert torch.equal(there[key], value.abs() + 1e-5 if weight else value)


def test_the_vistas_file_holds_body_head_and_classifier(tmp_path):
    path, tensors = tmp_path / "vistas.pth.tar", released(trained(), "in-place")
    head = {"map_bn.weight": torch.zeros(3)}
    torch.save({"state_dict": {"body": tensors, "head": head, "cls": head}}, path)
    own = WiderResNet38(width=SMALL, weights=path).state_dict()
    assert torch.equal(own["mod7.block1.convs.conv3.weight"], tensors[
        "mod7.block1.convs.conv3.weight"
    ])  # fmt: skip


def test_segmentation_networks_have_no_last_norm(tmp_path):
    path = tmp_path / "deeplab.pth"
    tensors = released(trained(), "batch norm")
    without = {key: value for key, value in tensors.items() if not key.startswith("bn_out")}
    torch.save({"state_dict": without | {"bot_fine.weight": torch.zeros(1)}}, path)
    options = {"width": SMALL, "slope": 0.0, "weights": path}
    net, x = WiderResNet38(**options, final_norm=False).eval(), torch.randn(1, 3, 24, 32)
    with torch.no_grad():
        expected = answer(tensors, x, 0.0, sign=True, final=False)
        torch.testing.assert_close(net(x)[-1], expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match=r"no norm behind mod7 .* expected final_norm=False"):
        WiderResNet38(**options)
    torch.save(tensors, path)  # a norm that is not asked for is left
    assert WiderResNet38(**options, final_norm=False).bn_out.state_dict() == {}


def test_wrong_files_are_refused_in_words(tmp_path):
    def load(path, **options):
        return WiderResNet38(**{"width": SMALL, "weights": path, **options})

    with pytest.raises(FileNotFoundError, match=r"weights at .*absent\.pth; none there"):
        load(tmp_path / "absent.pth")
    path = tmp_path / "wider.pth"
    torch.save(released(trained(), "in-place"), path)
    with pytest.raises(ValueError, match=r"in-place ABN, .* expected slope=0\.01, got slope=0\.0"):
        load(path, slope=0.0)
    with pytest.raises(ValueError, match=r"another network, .* of another shape: mod1\.conv1"):
        load(path, width=2 * SMALL)
    whole = path.read_bytes()
    for kept in (0, 7, len(whole) // 2, -1):
        path.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=r"wider\.pth .* is cut or .* download it again"):
            load(path)
    torch.save(released(trained(), "batch norm"), path)
    with pytest.raises(ValueError, match=r"batch norm and ReLU: expected slope=0\.0, got"):
        load(path)
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"another network, .* missing: mod1\.conv1\.weight"):
        load(path)
    torch.save({"state_dict": {"a": 1}}, path)
    with pytest.raises(ValueError, match="holds no weights: expected tensors by name"):
        load(path)
    torch.save({"mod1.conv1.weight": Unsafe()}, path)  # would run code where it is unpickled
    with pytest.raises(ValueError, match="is cut or is no file of weights"):
        load(path)


class Unsafe:
    """Something that is no tensor."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_stride": 4}, r"output_stride of \(8, 16, 32\), got 4"),
        (
            {"multi_grid": (1, 2, 4)},
            r"two factors of .*mod6 and mod7, got \(1, 2, 4\)",
        ),
        ({"multi_grid": (0, 1)}, "two factors of at least 1"),
        ({"slope": -0.1}, "slope of at least 0 and below 1, got -0.1"),
        ({"width": 0.01}, "multiple of 1/64 above 0, got 0.01"),
        ({"weights": "imagenet"}, "timm has no weights of wider_resnet38; pass the path"),
        ({"weights": "imagnet"}, r"or the path of a .*\.pth.* got 'imagnet'"),
        ({"depth": 3}, "option of WiderResNet38 one of output_stride, .* got 'depth'"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        backbone("wider_resnet38", **{"width": SMALL, **options})
