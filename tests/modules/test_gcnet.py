"""The global context block."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import GlobalContext, NonLocal, gcnet

from .base import ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain_pooled import global_context_plain


class TestAdd(ContextModuleTests):
    module, name = GlobalContext, "gcnet"
    options = Options(reduction=2)
    identity_at_start = True
    permutation_equivariant = True
    # b adds the same to the logits of all pixels, which a soft-max does not see
    dead = frozenset({"mask.bias"})
    costs = ((64, 16, 2 * 64 * 32 + 3 * 32 + 2 * 64 + 1, 2 * 256 * 64 + 2 * 64 * 32),)
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels="),
        ({"reduction": 0}, "expected reduction to be a whole number of at least 1, got 0"),
        ({"fuse": "mul"}, r"expected fuse to be one of \('add', 'scale'\), got 'mul'"),
    )

    def oracle(self, module, x):
        return global_context_plain(module, x, fuse=self.options.get("fuse", "add"))


class TestScale(TestAdd):
    options = Options(reduction=2, fuse="scale")
    identity_at_start = False


class TestDefaults(TestAdd):
    channels = 32
    options = Options()
    costs = ((512, 96, 33_889, 2 * 9216 * 512 + 2 * 512 * 32),)


class TestQuarter(TestAdd):
    """The width of segmentation heads."""

    options = Options(reduction=4)
    costs = ((512, 96, 132_481, 2 * 9216 * 512 + 2 * 512 * 128),)


def built(**options):
    return randomise(GlobalContext(8, reduction=2, **options)).double().eval()


def test_counted_cost_at_the_reference_size():
    with torch.device("meta"):
        x = torch.empty(1, 512, 96, 96)
        counted = [macs(GlobalContext(512, reduction=r), x) for r in (4, 16)]
    assert [round(n / 1e9, 4) for n in counted] == [0.0096, 0.0095]


def test_attention_sums_to_one_and_peaks_where_the_mask_does():
    module, x = built(), torch.randn(2, 8, 5, 7, dtype=torch.float64)
    alpha = module.attention(x)
    assert alpha.shape == (2, 5, 7)
    torch.testing.assert_close(alpha.sum((1, 2)), torch.ones(2, dtype=torch.float64))
    peaks = module.mask(x).flatten(1).argmax(1)
    assert torch.equal(alpha.flatten(1).argmax(1), peaks)


def test_every_pixel_receives_the_same():
    x = torch.randn(2, 8, 5, 7, dtype=torch.float64)
    added = built()(x) - x
    torch.testing.assert_close(added, added[..., :1, :1].expand_as(added))
    gate = built(fuse="scale")(x) / x
    torch.testing.assert_close(gate, gate[..., :1, :1].expand_as(gate))
    assert (gate > 0).all() and (gate < 1).all()


def test_the_gate_starts_at_one_half():
    x = torch.randn(2, 8, 5, 7)
    assert torch.equal(GlobalContext(8, reduction=2, fuse="scale")(x), x / 2)


def test_a_mask_of_zero_is_average_pooling():
    module, x = built(), torch.randn(2, 8, 5, 7, dtype=torch.float64)
    torch.nn.init.zeros_(module.mask.weight)
    torch.testing.assert_close(module.attention(x), torch.full_like(x[:, 0], 1 / 35))


def test_it_is_a_non_local_block_whose_queries_all_ask_alike():
    """θ = 0 but for its bias: the logits of every pixel are φ(x_j) · b, a mask."""
    torch.manual_seed(0)
    block = randomise(NonLocal(8, norm=False)).double()
    block.theta.weight.data.zero_()
    context, x = built(), torch.randn(2, 8, 4, 5, dtype=torch.float64)
    context.mask.weight.data = torch.einsum(
        "d, d c y x -> c y x", block.theta.bias, block.phi.weight
    )[None]
    s = torch.einsum("b h w, b c h w -> b c", context.attention(x), x)
    value = s @ block.g.weight[:, :, 0, 0].T + block.g.bias
    answer = value @ block.out.weight[:, :, 0, 0].T + block.out.bias
    torch.testing.assert_close(block(x), x + answer[..., None, None])


def test_a_bottleneck_of_one_is_refused():
    with pytest.raises(ValueError, match="expected channels / reduction of at least 2, got 1"):
        GlobalContext(16)


def test_a_single_pixel_trains():
    x = torch.randn(1, 8, 1, 1)
    module = GlobalContext(8, reduction=2).train()
    module(x).sum().backward()
    assert torch.equal(module(x), x)


def test_large_float16_logits_stay_finite():
    module = GlobalContext(8, reduction=2).half()
    torch.nn.init.constant_(module.mask.weight, 100)
    x = torch.full((1, 8, 4, 4), 60.0).half()
    x[..., 0, 0] = -60
    assert torch.isfinite(module(x)).all()


def test_memory_is_that_of_a_few_maps():
    module, x = GlobalContext(16, reduction=4), torch.randn(1, 16, 64, 64)
    assert peak_bytes(lambda: module(x).sum().backward()) < 4 * 4 * x.numel()
    x.requires_grad_()

    def train():
        x.grad = None
        y = module(x)
        y.backward(y.detach())

    assert peak_bytes(train) < 3.5 * 4 * x.numel()  # y, the gradient, and one share of it


MISTAKES = {
    "a soft-max over the batch": lambda t, axis: torch.softmax(t, 0),
    "no soft-max": lambda t, axis: t,
    "a sigmoid": lambda t, axis: torch.sigmoid(t),
    "a cold soft-max": lambda t, axis: torch.softmax(t / 8**0.5, axis),
}


class Shadow:
    """torch with another soft-max."""

    def __init__(self, softmax):
        self.softmax = softmax

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    tests = TestAdd()
    module, inputs = randomise(tests.build()).double().eval(), tests.inputs(dtype=torch.float64)
    assert tests.agrees(module, inputs)
    monkeypatch.setattr(gcnet, "torch", Shadow(MISTAKES[mistake]))
    assert not tests.agrees(module, inputs)
