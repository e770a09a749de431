"""DF1 and DF2: the published sizes, the maps, and what the options may be."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from contextlab.backbones import DFNet, backbone
from contextlab.backbones.df import BasicBlock
from contextlab.costs import count


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs", "blocks"),
    [("df1", 8_020_128, 31.19, 10), ("df2", 17_474_208, 74.14, 20)],
)
def test_the_published_sizes(name, parameters, gmacs, blocks):
    with torch.device("meta"):
        net = backbone(name)
    cost = count(net, (1, 3, 1024, 2048))
    assert cost.parameters == parameters
    assert cost.macs / 1e9 == pytest.approx(gmacs, abs=0.005)
    assert sum(isinstance(part, BasicBlock) for part in net.modules()) == blocks


@pytest.mark.parametrize(("name", "strides"), [("df1", (16, 32, 32)), ("df2", (8, 16, 32))])
def test_where_the_maps_are_taken(name, strides):
    with torch.device("meta"):
        net = backbone(name)
        maps = net(torch.empty(1, 3, 256, 512))
    assert net.strides == strides and net.channels == (128, 256, 512)
    expected = [(1, c, 256 // s, 512 // s) for c, s in zip(net.channels, strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


@settings(deadline=None, max_examples=20)
@given(
    h=st.integers(1, 70),
    w=st.integers(1, 70),
    b=st.integers(1, 2),
    name=st.sampled_from(["df1", "df2"]),
    stem=st.sampled_from([1, 2, 4]),
)
def test_maps_have_the_promised_shapes(h, w, b, name, stem):
    net = DFNet(name, width=0.125, stem_stride=stem).eval()
    assert net.channels == (16, 32, 64)
    with torch.no_grad():
        maps = net(torch.rand(b, 3, h, w))
    assert [tuple(m.shape) for m in maps] == [
        (b, channels, -(-h // stride), -(-w // stride))
        for channels, stride in zip(net.channels, net.strides, strict=True)
    ]


def test_a_block_is_what_its_equation_says():
    torch.manual_seed(0)
    block, x = BasicBlock(6, 8, 2).eval(), torch.rand(2, 6, 9, 12)
    (first, norm, _), last, last_norm = block.residual
    branch = norm(F.conv2d(x, first.weight, None, 2, 1)).relu()
    branch = last_norm(F.conv2d(branch, last.weight, None, 1, 1))
    conv, skip_norm = block.skip
    skip = skip_norm(F.conv2d(x, conv.weight, None, 2))  # the strided 1x1 of the paper
    torch.testing.assert_close(block(x), (skip + branch).relu())
    assert isinstance(BasicBlock(8, 8).skip, nn.Identity)


def test_narrow_networks_learn_with_channels_last():
    """Eight channels under a strided 1x1 used to end the process; see the comment in the block."""
    torch.manual_seed(0)
    net, x = DFNet("df2", width=0.125, stem_stride=1), torch.rand(4, 3, 64, 128)
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net.zero_grad()
        net.to(memory_format=layout).eval()
        sum(m.square().mean() for m in net(x.contiguous(memory_format=layout))).backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    assert all(g.any() for g in gradients[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_a_gate_ends_every_residual_branch():
    class Half(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.channels = channels

        def forward(self, x):
            assert x.shape[1] == self.channels
            return x / 2

    torch.manual_seed(0)
    gated = DFNet("df1", width=0.125, gate=Half).eval()
    plain = DFNet("df1", width=0.125).eval()
    plain.load_state_dict(gated.state_dict())
    for block in (m for m in plain.modules() if isinstance(m, BasicBlock)):
        block.residual[2].weight.data /= 2
        block.residual[2].bias.data /= 2
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(gated(x), plain(x))


def test_its_own_weights_come_back(tmp_path):
    path = tmp_path / "df.safetensors"
    net = backbone("df1", width=0.125)
    save_file(net.state_dict(), path)
    other = backbone("df1", width=0.125, weights=path).state_dict()
    assert all(torch.equal(value, other[key]) for key, value in net.state_dict().items())
    with pytest.raises(ValueError, match="another network"):
        backbone("df2", width=0.125, weights=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.3}, r"multiple of 1/32 above 0, got 0.3"),
        ({"width": 0}, r"multiple of 1/32 above 0, got 0"),
        ({"stem_stride": 8}, r"stem_stride of \(1, 2, 4\), got 8"),
        ({"weights": "imagenet"}, "timm has no weights of df2"),
        ({"output_stride": 8}, "takes stem_stride for output_stride, got 8"),
        ({"depth": 3}, "one of name, width, stem_stride, gate, weights; got 'depth'"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        backbone("df2", **options)
    with pytest.raises(ValueError, match="a DFNet of df1, df2, got 'df3'"):
        DFNet("df3")
