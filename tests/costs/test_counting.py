"""Counts against closed formulas, the reference table of the methods, and the published columns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contextlab import context
from contextlab.costs import Cost, count, needed_macs
from contextlab.modules import NonLocal

N = 96 * 96


@settings(deadline=None, max_examples=20)
@given(
    c=st.sampled_from([4, 8]),
    out=st.sampled_from([4, 12]),
    kernel=st.sampled_from([1, 3, 5]),
    groups=st.sampled_from([1, 2, 4]),
    dilation=st.integers(1, 3),
    stride=st.integers(1, 2),
    bias=st.booleans(),
)
def test_convolution_formula(c, out, kernel, groups, dilation, stride, bias):
    layer = nn.Conv2d(
        c, out, kernel, stride, dilation * (kernel // 2), dilation, groups=groups, bias=bias
    )
    h, w = (-(-side // stride) for side in (13, 18))
    weights = c // groups * kernel**2
    cost = count(layer, (2, c, 13, 18))
    assert cost.macs == 2 * out * h * w * weights
    assert cost.parameters == out * (weights + bias)
    assert cost.output_bytes == 4 * 2 * out * h * w
    published = count(layer, (2, c, 13, 18), convention="published")
    assert published == Cost(2 * out * h * w * (weights + bias), cost.parameters, cost.output_bytes)


def plain_attention(q, k, v):
    return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


@pytest.mark.parametrize("n, d", [(64, 16), (100, 32)])
def test_attention_counts_the_same_fused_and_plain_but_writes_less(n, d):
    shapes = [(2, n, d)] * 3
    plain = count(plain_attention, *shapes)
    fused = count(F.scaled_dot_product_attention, *[(2, 1, n, d)] * 3)
    assert plain.macs == fused.macs == 2 * 2 * n * n * d
    assert plain.output_bytes == 4 * 2 * (2 * n * n + n * d)  # scores, soft-max, result
    assert fused.output_bytes < 4 * 2 * (n * n + n * d)
    assert fused.operators == {"attention": fused.macs}


def test_functions_that_the_plain_counter_misses():
    n, d = 40, 24
    assert count(lambda a, b: a @ b, (n, d), (d,)).macs == n * d
    assert count(lambda a, b: torch.dot(a, b), (d,), (d,)).macs == d
    assert count(nn.Linear(d, n), (d,)).macs == n * d
    assert count(lambda a, b: torch.einsum("nd,md->nm", a, b), (n, d), (n, d)).macs == n * n * d


def test_fused_transformer_layers_are_counted_and_left_as_they_were():
    n, d = 50, 32
    x = torch.randn(1, n, d)
    layer = nn.MultiheadAttention(d, 4, batch_first=True).eval()
    cost = count(lambda x: layer(x, x, x)[0], x)
    assert cost.macs == 4 * n * d * d + 2 * n * n * d
    encoder = nn.TransformerEncoderLayer(d, 4, 64, batch_first=True).train()
    assert count(encoder, x).macs == 4 * n * d * d + 2 * n * n * d + 2 * n * d * 64
    assert encoder.training and torch.backends.mha.get_fastpath_enabled()


def test_a_module_is_not_touched():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    count(module, torch.randn(2, 3, 5, 5))
    count(module, (2, 3, 5, 5), convention="published")
    assert module[1].training
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert not module[0]._forward_hooks and not module[0]._forward_pre_hooks


def test_meta_modules_shapes_and_tensors_agree():
    with torch.device("meta"):
        hollow = nn.Conv2d(8, 8, 3)
    real = nn.Conv2d(8, 8, 3)
    wanted = count(real, torch.randn(1, 8, 20, 30))
    assert count(hollow, (1, 8, 20, 30)) == count(hollow, torch.empty(1, 8, 20, 30, device="meta"))
    assert count(hollow, (1, 8, 20, 30)) == wanted == count(real, (1, 8, 20, 30))


class Gated(nn.Module):
    """Runs its second layer only if the input asks for it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        y = self.first(x)
        return self.second(y) if x.sum() > 0 else y


def test_a_module_that_looks_at_values_needs_them():
    assert count(Gated(), torch.ones(1, 8)).macs == 128
    assert count(Gated(), -torch.ones(1, 8)).macs == 64
    with pytest.raises(ValueError, match="expected real tensors"):
        count(Gated(), (1, 8))


def test_custom_operators_are_named():
    @torch.library.custom_op("contextlab_test::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @double.register_fake
    def _(x):
        return torch.empty_like(x)

    cost = count(lambda x: double(x @ x), (4, 4))
    assert cost.macs == 64 and cost.uncounted == ("contextlab_test::double",)


@pytest.mark.parametrize("wrong", ["a map", 3, None])
def test_wrong_inputs_are_named(wrong):
    kind = type(wrong).__name__
    with pytest.raises(ValueError, match=f"input 0 to be a tensor or a shape, got {kind}"):
        count(nn.Identity(), wrong)
    with pytest.raises(ValueError, match="'true', 'published'"):
        count(nn.Identity(), (1,), convention="flops")


# ---- the reference table: 1 x 512 x 96 x 96


@pytest.mark.parametrize("heads", [1, 4])
def test_non_local_reference(heads):
    cost = count(NonLocal(512, heads=heads), (1, 512, 96, 96))
    assert cost.parameters == 526_592
    assert cost.macs == 4 * N * 512 * 256 + 2 * N * N * 256
    assert round(cost.macs / 1e9, 4) == 48.3184


@pytest.mark.parametrize("bias, parameters", [(False, 32_768), (True, 33_312)])
def test_squeeze_excite_reference(bias, parameters):
    cost = count(context("squeeze_excite", 512, bias=bias), (1, 512, 96, 96))
    assert (cost.macs, cost.parameters) == (32_768, parameters)


def test_squeeze_excite_as_published():
    """9.47 M and 18.88 MB: pooling and the gate's product count, and what the product writes."""
    cost = count(context("squeeze_excite", 512), (1, 512, 96, 96), convention="published")
    assert cost.macs / 1e6 == pytest.approx(9.47, abs=0.005)
    assert cost.output_bytes / 1e6 == pytest.approx(18.88, abs=0.005)


class PlainNonLocal(nn.Module):
    """The block of the published row: conv-BN-ReLU projections and a stored affinity."""

    def __init__(self, c, d):
        super().__init__()
        self.maps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, d, 1), nn.BatchNorm2d(d), nn.ReLU()) for _ in range(3)
        )
        self.out = nn.Sequential(nn.Conv2d(d, c, 1), nn.BatchNorm2d(c))

    def forward(self, x):
        q, k, v = (m(x).flatten(2) for m in self.maps)
        y = v @ torch.softmax(k.transpose(1, 2) @ q, 1)
        return x + self.out(y.unflatten(2, x.shape[2:]))


def test_non_local_as_published():
    """48.36 G: bias adds, batch norms and ReLUs on top of the true 48.32."""
    block = PlainNonLocal(512, 256)
    cost = count(block, (1, 512, 96, 96), convention="published")
    assert cost.macs / 1e9 == pytest.approx(48.36, abs=0.005)
    assert cost.macs > count(block, (1, 512, 96, 96)).macs
    layers = count(block, (1, 512, 96, 96), convention="published", functional=False)
    assert layers.output_bytes == 117 * 2**20
    assert cost.output_bytes - layers.output_bytes > 2 * 324 * 2**20


def test_what_is_needed_leaves_the_padding_of_a_kernel_out():
    """Position attention asks with 64 channels for values of 512, which a CPU's kernel pads."""
    with torch.device("meta"):
        block = context("position_attention", 512)
    projections = N * (512 * 512 + 2 * 512 * 64)
    needed = needed_macs(block, (1, 512, 96, 96))
    assert needed == projections + N * N * (64 + 512)
    assert needed_macs(block, (1, 512, 96, 96), convolutions=False) == needed - projections
    cost = count(block, (1, 512, 96, 96))
    assert cost.macs > needed
    assert cost.output_bytes < 4 * N * N  # counted as fused, not in the blocks that a CPU takes


def test_two_convolutions_as_published():
    """Row +2x3x3 of SRNet's Table IV: 108.74 G, 11.80 M, 108 MiB."""

    def cbr(i, o):
        layer = nn.Conv2d(i, o, 3, padding=1, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(o), nn.ReLU())

    cost = count(
        nn.Sequential(cbr(2048, 512), cbr(512, 512)), (1, 2048, 96, 96), convention="published"
    )
    assert round(cost.macs / 1e9, 2) == 108.74
    assert round(cost.parameters / 1e6, 2) == 11.80
    assert cost.output_bytes == 108 * 2**20


def test_dilated_resnet_as_published():
    """The baseline row, 241.05 G, 23.63 M, 3249 MiB: shared ReLUs count once, adds do not."""
    with torch.device("meta"):
        net = torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True])
        net.conv1 = nn.Sequential(
            *(nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
            nn.Conv2d(64, 128, 3, 1, 1, bias=False),
        )
        net.bn1 = nn.BatchNorm2d(128)
        net.layer1[0].conv1 = nn.Conv2d(128, 64, 1, bias=False)
        net.layer1[0].downsample[0] = nn.Conv2d(128, 256, 1, bias=False)
        parts = (net.conv1, net.bn1, net.relu, net.maxpool)
        net = nn.Sequential(*parts, net.layer1, net.layer2, net.layer3, net.layer4)
    cost = count(net, (1, 3, 768, 768), convention="published", functional=False)
    assert round(cost.macs / 1e9, 2) == 241.05
    assert round(cost.parameters / 1e6, 2) == 23.63
    assert round(cost.output_bytes / 2**20, 1) == 3249.0


def test_resnet_50():
    with torch.device("meta"):
        net = torchvision.models.resnet50()
    assert round(count(net, (1, 3, 224, 224)).macs / 1e9, 3) == 4.089


@pytest.mark.parametrize(
    "layer, flops",
    [
        (nn.BatchNorm2d(6), 2 * 6 * 64),
        (nn.ReLU(), 6 * 64),
        (nn.MaxPool2d(2), 6 * 64),
        (nn.AdaptiveAvgPool2d(1), 6 * 65),
        (nn.Upsample(scale_factor=2), 256),
        (nn.Linear(8, 5), 6 * 8 * 8 * 5),
        (nn.ConvTranspose2d(6, 3, 2, 2), 64 * 6 * 3 * 4 + 3 * 256),
        (nn.Softmax(1), 0),
        (nn.Identity(), 0),
    ],
)
def test_rules_of_the_published_convention(layer, flops):
    assert count(layer, (1, 6, 8, 8), convention="published").macs == flops


def test_row_and_text():
    cost = count(nn.Conv2d(512, 512, 1), (1, 512, 96, 96))
    assert cost.row(block="1x1")["outputs (MiB)"] == 18.0
    assert str(cost) == "2.416 GMACs, 262,656 parameters, 18.0 MiB of outputs"
