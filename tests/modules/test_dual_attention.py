"""DANet's position attention, channel attention and both together."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from contextlab.modules import ChannelAttention, DualAttention, PositionAttention, dual_attention

from .base import ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain import conv1x1, norm


def position_plain(module, x: Tensor, scale=False, keys="key") -> Tensor:
    """E_j = α Σ_i s_ji D_i + A_j, pixel by pixel."""
    q, k, v = (conv1x1(t, x).flatten(2) for t in (module.query, module.key, module.value))
    if keys == "query":
        q, k = k, q
    e = torch.zeros_like(v)
    for image in range(len(x)):
        for j, asks in enumerate(q[image].T):
            s = torch.stack([asks @ key for key in k[image].T])
            s = s / len(asks) ** 0.5 if scale else s
            s = (s - s.max()).exp()
            e[image, :, j] = sum(w * value for w, value in zip(s / s.sum(), v[image].T))
    return module.alpha * e.reshape(x.shape) + x


def channel_plain(module, x: Tensor, scale=False, dissimilar=False) -> Tensor:
    """E_j = β Σ_i x_ji A_i + A_j, channel by channel."""
    out = x.clone()
    for image in range(len(x)):
        maps = [channel.flatten() for channel in x[image]]
        for j, own in enumerate(maps):
            logits = torch.stack([(own * other).sum() for other in maps])
            logits = logits / own.numel() if scale else logits
            logits = logits.max() - logits if dissimilar else logits
            a = (logits - logits.max()).exp()
            mean = sum(w * other for w, other in zip(a / a.sum(), maps))
            out[image, j] += module.beta * mean.reshape(x.shape[2:])
    return out


def cbr_plain(layers, x: Tensor) -> Tensor:
    conv, batch_norm, _ = layers
    weight = conv.weight
    pad = weight.shape[-1] // 2
    windows = F.pad(x, (pad,) * 4).unfold(2, weight.shape[2], 1).unfold(3, weight.shape[3], 1)
    return norm(batch_norm, torch.einsum("bchwuv,ocuv->bohw", windows, weight)).clamp(min=0)


def dual_plain(module, x: Tensor, merge="sum", scale=False, dissimilar=False) -> Tensor:
    before, attention, after = module.position
    p = cbr_plain(after, position_plain(attention, cbr_plain(before, x), scale))
    before, attention, after = module.channel
    c = cbr_plain(after, channel_plain(attention, cbr_plain(before, x), scale, dissimilar))
    if merge == "projection":
        p, c = conv1x1(module.position_merge[1], p), conv1x1(module.channel_merge[1], c)
    return p + c


def position_costs(c, d, side):
    """Parameters and MACs."""
    n = side**2
    return c**2 + 2 * c * d + c + 2 * d + 1, n * (c**2 + 2 * c * d) + n**2 * (c + d)


def dual_costs(c, e, d, side, kernel=3, projection=False):
    parameters, products = position_costs(e, d, side)
    convolutions = 2 * kernel**2 * (c * e + e**2) + projection * 2 * e**2
    parameters += 1 + convolutions + 8 * e + projection * 2 * e
    return parameters, side**2 * (convolutions + 2 * e**2) + products


class TestPosition(ContextModuleTests):
    module, name = PositionAttention, "position_attention"
    identity_at_start = True
    permutation_equivariant = True
    # a bias of the key adds the same to all logits of a query, which a soft-max does not see
    dead = frozenset({"key.bias"})
    # the first is the reference: 328,321 parameters, 51.9423 GMACs
    costs = ((512, 96, *position_costs(512, 64, 96)), (64, 9, *position_costs(64, 8, 9)))
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"reduction": 0}, "expected reduction to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return position_plain(module, x)


class TestChannel(ContextModuleTests):
    module, name = ChannelAttention, "channel_attention"
    identity_at_start = True
    permutation_equivariant = True
    costs = ((512, 96, 1, 2 * 512**2 * 96**2), (64, 9, 1, 2 * 64**2 * 81))

    @property
    def refused(self):
        return ()

    def oracle(self, module, x):
        return channel_plain(module, x, **self.options)

    def test_wrong_options_are_refused(self):
        with pytest.raises(ValueError, match="channels to be a whole number of at least 1, got 0"):
            ChannelAttention(0)


class TestDual(ContextModuleTests):
    module, name = DualAttention, "dual_attention"
    rate = 0.01
    dead = frozenset({"position.1.key.bias"})
    costs = ((512, 96, *dual_costs(512, 512, 64, 96)), (64, 9, *dual_costs(64, 64, 8, 9)))
    refused = (
        ({"kernel": 2}, "expected kernel to be odd, got 2"),
        ({"kernel": None, "out_channels": 3}, "expected a kernel to make 3 channels of"),
        ({"merge": "add"}, r"expected merge to be one of \('sum', 'projection'\), got 'add'"),
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"out_channels": 0}, "expected out_channels to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        known = ("merge", "scale", "dissimilar")
        return dual_plain(module, x, **{k: v for k, v in self.options.items() if k in known})


class TestDualProjection(TestDual):
    options = Options(reduction=2, scale=True, kernel=1, dissimilar=True, merge="projection")
    permutation_equivariant = True
    costs = ((64, 9, *dual_costs(64, 64, 32, 9, kernel=1, projection=True)),)

    def test_autocast(self):
        # dropout would make two calls differ
        module, (x,) = randomise(self.build()).eval(), self.inputs()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = module(x)
        torch.testing.assert_close(y.float(), module(x), rtol=0.05, atol=0.2)


def built(module=PositionAttention, **options):
    torch.manual_seed(0)
    if module is PositionAttention:
        options = {"reduction": 2} | options
    return randomise(module(8, **options)).double().eval()


def some(h=4, w=5, batch=2):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, 8, h, w, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("reduction", [1, 2, 4])
@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
def test_any_options_of_position_equal_the_plain_version(scale, reduction, size):
    module, x = built(reduction=reduction, scale=scale), some(*size)
    torch.testing.assert_close(module(x), position_plain(module, x, scale))


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("dissimilar", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
def test_any_options_of_channel_equal_the_plain_version(scale, dissimilar, size):
    options = {"scale": scale, "dissimilar": dissimilar}
    module, x = built(ChannelAttention, **options), some(*size)
    torch.testing.assert_close(module(x), channel_plain(module, x, **options))


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("merge", ["sum", "projection"])
@pytest.mark.parametrize("scale, dissimilar", [(False, False), (True, True)])
def test_any_options_of_dual_equal_the_plain_version(kernel, merge, scale, dissimilar):
    options = {"merge": merge, "scale": scale, "dissimilar": dissimilar}
    module = built(DualAttention, kernel=kernel, out_channels=4, reduction=2, **options)
    x = some()
    assert module(x).shape == (2, 4, 4, 5)
    torch.testing.assert_close(module(x), dual_plain(module, x, **options))


def test_without_convolutions_it_is_the_sum_of_both_attentions():
    module, x = built(DualAttention, kernel=None, reduction=2), some()
    expected = module.position[1](x) + module.channel[1](x)
    torch.testing.assert_close(module(x), expected)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in module.modules())


@pytest.mark.parametrize(
    "module, parameters, giga",
    [(PositionAttention, 328_321, 51.9423), (ChannelAttention, 1, 4.8318)],
)
def test_counts_of_the_reference(module, parameters, giga):
    with torch.device("meta"):
        built, x = module(512), torch.empty(1, 512, 96, 96)
    assert sum(p.numel() for p in built.parameters()) == parameters
    assert round(macs(built, x) / 1e9, 4) == giga


def test_counts_of_the_head_on_2048_channels():
    with torch.device("meta"):
        head, x = DualAttention(2048, out_channels=512), torch.empty(1, 2048, 96, 96)
        parameters, products = dual_costs(2048, 512, 64, 96)
        assert head(x).shape == (1, 512, 96, 96)
    assert sum(p.numel() for p in head.parameters()) == parameters
    assert macs(head, x) == products


POSITION_MISTAKES = {
    "a scale": lambda q, k, v, s: v @ torch.softmax(q.mT @ k * q.shape[1] ** -0.5, -1).mT,
    "the wrong axis": lambda q, k, v, s: v @ torch.softmax(q.mT @ k, -2).mT,
    "query and key exchanged": lambda q, k, v, s: v @ torch.softmax(k.mT @ q, -1).mT,
    "no soft-max": lambda q, k, v, s: v @ (q.mT @ k).mT / q.shape[-1],
}


@pytest.mark.parametrize("mistake", POSITION_MISTAKES)
def test_a_mistake_of_position_is_told_apart(monkeypatch, mistake):
    module, x = built(), some()
    torch.testing.assert_close(module(x), position_plain(module, x))
    monkeypatch.setattr(dual_attention, "wide_value_attention", POSITION_MISTAKES[mistake])
    assert not torch.allclose(module(x), position_plain(module, x))


@pytest.mark.parametrize("wrong", [{"scale": True}, {"dissimilar": True}])
def test_a_mistake_of_channel_is_told_apart(wrong):
    module, x = built(ChannelAttention), some()
    torch.testing.assert_close(module(x), channel_plain(module, x))
    assert not torch.allclose(module(x), channel_plain(module, x, **wrong))


def test_a_channel_soft_max_over_the_wrong_axis_is_told_apart(monkeypatch):
    module, x = built(ChannelAttention), some()
    right = torch.softmax
    monkeypatch.setattr(dual_attention.torch, "softmax", lambda t, axis: right(t, axis - 1))
    assert not torch.allclose(module(x), channel_plain(module, x))


def asked(number_of_queries: int, number_of_keys: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(2)
    shapes = ((2, 3, number_of_queries), (2, 3, number_of_keys), (2, 5, number_of_keys))
    return [torch.randn(s, generator=draw, dtype=torch.float64).requires_grad_() for s in shapes]


@pytest.mark.parametrize("block", [1, 4, 5, 10, 99])
def test_blocks_of_queries_change_neither_answers_nor_gradients(monkeypatch, block):
    monkeypatch.setattr(dual_attention, "BLOCK", block)
    q, k, v = inputs = asked(10, 11)
    found = dual_attention.wide_value_attention(*inputs, 0.7)
    expected = v @ torch.softmax(0.7 * q.mT @ k, -1).mT
    torch.testing.assert_close(found, expected)
    aim = torch.randn_like(found)
    ours, plain = (torch.autograd.grad(y, inputs, aim) for y in (found, expected))
    torch.testing.assert_close(ours, plain)


def test_first_and_second_derivatives_of_blocks(monkeypatch):
    monkeypatch.setattr(dual_attention, "BLOCK", 2)

    def ask(*tensors):
        return dual_attention.wide_value_attention(*tensors, 0.7)

    assert torch.autograd.gradcheck(ask, asked(5, 4), fast_mode=True)
    assert torch.autograd.gradgradcheck(ask, asked(5, 4), fast_mode=True)


def test_gradients_of_single_images_on_blocks(monkeypatch):
    monkeypatch.setattr(dual_attention, "BLOCK", 3)
    module, x = built(), some()

    def slope(image):
        return torch.func.grad(lambda image: module(image[None]).square().sum())(image)

    with warnings.catch_warnings(action="ignore"):  # of slow batching
        together = torch.func.vmap(slope)(x)
    torch.testing.assert_close(together, torch.stack([slope(image) for image in x]))


def test_a_backward_pass_under_autocast_keeps_its_digits():
    module, x = built().float(), some().float().requires_grad_()
    (expected,) = torch.autograd.grad(module(x).square().sum(), x)
    y = module(x).square().sum()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (found,) = torch.autograd.grad(y, x)
    torch.testing.assert_close(found, expected)


def test_the_fused_kernel_answers_alike():
    """Compiled, the keys are padded to the width of the values."""
    torch._dynamo.reset()
    module, x = built(scale=True), some()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    parameters = list(module.parameters())
    ours, fused = (torch.autograd.grad(f(x).square().sum(), parameters) for f in (module, compiled))
    torch.testing.assert_close(ours, fused)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("query", [(0, 0), (3, 2)])
def test_affinity_gives_the_weights_of_one_query(scale, query):
    module, x = built(scale=scale), some()
    weights = module.affinity(x, query=query)
    assert weights.shape == (2, 1, 4, 5)
    torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))
    mean = torch.einsum("bkyx,bcyx->bc", weights, module.value(x))
    y = x[:, :, *query] + module.alpha * mean
    torch.testing.assert_close(module(x)[:, :, *query], y)


def test_dual_affinity_is_that_of_its_position_branch():
    module, x = built(DualAttention, reduction=2), some()
    weights = module.affinity(x, query=(1, 1))
    inner = module.position[1].affinity(cbr_plain(module.position[0], x), query=(1, 1))
    torch.testing.assert_close(weights, inner)


def test_affinity_of_a_pixel_outside_is_refused():
    with pytest.raises(ValueError, match="expected query inside 4 x 5, got row -1, column 0"):
        built().affinity(some(), query=(-1, 0))


def test_channel_weights_sum_to_one_and_follow_the_products():
    x = some()
    alike = built(ChannelAttention).weights(x)
    unlike = built(ChannelAttention, dissimilar=True).weights(x)
    for weights in (alike, unlike):
        torch.testing.assert_close(weights.sum(2), torch.ones_like(weights[..., 0]))
    products = torch.einsum("bjyx,biyx->bji", x, x)
    assert torch.equal(alike.argmax(2), products.argmax(2))
    assert torch.equal(unlike.argmax(2), products.argmin(2))


def test_channel_weights_do_not_grow_with_the_map_once_scaled():
    x = some()
    tiled = x.tile(1, 1, 3, 2)
    scaled, bare = built(ChannelAttention, scale=True), built(ChannelAttention)
    torch.testing.assert_close(scaled.weights(tiled), scaled.weights(x))
    assert (bare.weights(tiled).amax(2) > bare.weights(x).amax(2)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_products_beyond_half_precision(dtype):
    """Sums over 4096 pixels leave float16's range and bfloat16's digits; the weights stay right."""
    draw = torch.Generator().manual_seed(0)
    base = torch.randn(1, 1, 64, 64, generator=draw)
    x = (5 * base + 0.01 * torch.randn(1, 8, 64, 64, generator=draw)).to(dtype)
    module = ChannelAttention(8)
    exact = module.weights(x.double())
    torch.testing.assert_close(module.weights(x).double(), exact, rtol=0, atol=0.05)
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(module.weights(x.float()).double(), exact, rtol=0, atol=0.05)


def test_branches_are_summed():
    module, x = built(DualAttention, reduction=2), some()
    position, channel = module.branches(x)
    torch.testing.assert_close(module(x), position + channel)


def test_dropout_of_whole_channels_in_training():
    module = DualAttention(8, reduction=2, merge="projection")
    assert isinstance(module.position_merge[0], torch.nn.Dropout2d)
    assert module.position_merge[0].p == module.channel_merge[0].p == 0.1


def test_a_constant_map_is_answered_by_one_value():
    module, x = built(), torch.ones(1, 8, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(module(x), x + module.alpha * module.value(x))


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_position_memory_is_linear_in_the_pixels(backward):
    module = PositionAttention(8).requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    large = peak(64)
    assert large < 4096**2 * 4 / 4
    assert large < 5 * peak(32)  # 4 is linear, 16 would be quadratic


def test_large_float16_logits_stay_finite():
    module = randomise(PositionAttention(64)).half()
    x = torch.full((1, 64, 4, 4), 60.0).half()
    x[..., 0, 0] = -60
    with torch.no_grad():
        module.value.weight.mul_(0.01)
    assert torch.isfinite(module(x)).all()
