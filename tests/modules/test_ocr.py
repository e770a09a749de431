"""Object-contextual representations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import ObjectContextual

from .base import SMALL, ContextModuleTests, ModuleTests, Options, macs, peak_bytes, randomise
from .plain_pyramid import ocr_plain

# what all regions share in their logits is lost in the soft-max over positions
DEAD = frozenset({"classifier.bias"})


def parameters(c, d, k):
    return 4 * c * d + 2 * d**2 + 2 * c**2 + 15 * d + 6 * c + k * c + k


def products(c, d, k, n):
    return n * (2 * k * c + 2 * k * d + 2 * c * d + d**2 + 2 * c**2) + k * (2 * c * d + d**2)


class TestObjectContextual(ContextModuleTests):
    module, name = ObjectContextual, "ocr"
    options = Options(regions=5)
    permutation_equivariant = True
    dead = DEAD
    rate = 0.01  # a long step makes the soft-max so sure that gradients vanish
    costs = ((64, 16, parameters(64, 32, 5), products(64, 32, 5, 256)),)
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"regions": 0}, "expected regions to be a whole number of at least 1, got 0"),
        ({"out_channels": 0}, "expected out_channels to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return ocr_plain(module, x, **self.options)

    def test_autocast(self):
        """At inference: in training, psi's norm divides a handful of nodes, which are nearly
        equal at the start, by their spread, and bfloat16 does not hold their differences."""
        module, inputs = self.build(), self.inputs()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            trained = module(*inputs)
            y = module.eval()(*inputs)
        trained.float().square().mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in module.parameters())
        torch.testing.assert_close(y.float(), module(*inputs), rtol=0.05, atol=0.05)


class TestDefaults(TestObjectContextual):
    options = Options()
    costs = ((512, 96, 1_196_307, products(512, 256, 19, 9216)),)


class TestNormAtTheEnd(TestObjectContextual):
    options = Options(regions=3, relu=False, reduction=1)
    costs = ((64, 16, parameters(64, 64, 3), products(64, 64, 3, 256)),)


class TestGivenLogits(ModuleTests):
    module, arguments = ObjectContextual, (8,)
    rate = 0.01
    options = Options(regions=None)
    refused = (({"reduction": 0}, "expected reduction to be a whole number of at least 1, got 0"),)
    refused_inputs = (
        ((torch.zeros(1, 8, 4, 4),), "regions=None expected logits, got None"),
        (
            (torch.zeros(1, 8, 4, 4), torch.zeros(1, 3, 4, 5)),
            r"expected logits \(1, k, 4, 4\), got \(1, 3, 4, 5\)",
        ),
        (
            (torch.zeros(2, 8, 4, 4), torch.zeros(1, 3, 4, 4)),
            r"expected logits \(2, k, 4, 4\), got \(1, 3, 4, 4\)",
        ),
        (
            (torch.zeros(1, 9, 4, 4), torch.zeros(1, 3, 4, 4)),
            r"expected a map \(b, 8, h, w\), got \(1, 9, 4, 4\)",
        ),
    )

    def inputs(self, size=(5, 6), batch=2, dtype=torch.float32, seed=1):
        draw = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(batch, c, *size, generator=draw).to(dtype) for c in (8, 3))

    def oracle(self, module, x, logits):
        return ocr_plain(module, x, logits, **self.options)

    # the logits belong to an image each, so they are cut together with x
    def test_images_do_not_see_each_other(self):
        module = randomise(self.build()).double().eval()
        pairs = self.inputs(batch=3, dtype=torch.float64)
        alone = [module(*pair) for pair in zip(*(t.split(1) for t in pairs))]
        torch.testing.assert_close(module(*pairs), torch.cat(alone))


def built(channels=8, seed=0, **options):
    torch.manual_seed(seed)
    return randomise(ObjectContextual(channels, **options), seed).double().eval()


def draw(*size, seed=1):
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=15)
@given(
    regions=st.sampled_from([None, 1, 4]),
    reduction=st.sampled_from([1, 2, 4]),
    relu=st.booleans(),
    out=st.sampled_from([None, 5]),
    given_logits=st.booleans(),
    size=SMALL,
)
def test_any_options_equal_the_plain_version(regions, reduction, relu, out, given_logits, size):
    module = built(regions=regions, reduction=reduction, relu=relu, out_channels=out)
    x = draw(2, 8, *size)
    logits = draw(2, regions or 3, *size, seed=2) if given_logits or regions is None else None
    assert module(x, logits).shape[1] == (out or 8)
    torch.testing.assert_close(module(x, logits), ocr_plain(module, x, logits, relu=relu))


def test_logits_of_another_number_of_regions_are_refused():
    with pytest.raises(ValueError, match=r"expected logits \(1, 19, 4, 4\), got \(1, 3, 4, 4\)"):
        ObjectContextual(8)(torch.zeros(1, 8, 4, 4), torch.zeros(1, 3, 4, 4))


def test_given_logits_take_the_place_of_the_classifiers():
    module, x = built(regions=4), draw(2, 8, 5, 6)
    torch.testing.assert_close(module(x, module.classifier(x)), module(x))
    assert not torch.allclose(module(x, draw(2, 4, 5, 6)), module(x))


def test_counted_cost_at_the_reference_size():
    with torch.device("meta"):
        module, x = ObjectContextual(512), torch.empty(2, 512, 96, 96)
    assert sum(p.numel() for p in module.parameters()) == 1_196_307
    assert round(macs(module, x) / 2e9, 4) == 8.1269


def test_a_sure_region_is_the_mean_of_its_pixels():
    x, labels = draw(1, 8, 6, 7), torch.arange(42).reshape(6, 7) % 3
    logits = 100.0 * F.one_hot(labels, 3).permute(2, 0, 1)[None].double()
    nodes = ObjectContextual.gather(x, logits)
    for k in range(3):
        torch.testing.assert_close(nodes[0, :, k, 0], x[0, :, labels == k].mean(1))


def test_flat_logits_give_the_mean_of_the_map():
    x = draw(2, 8, 6, 7)
    nodes = ObjectContextual.gather(x, torch.full((2, 4, 6, 7), 3.0, dtype=torch.float64))
    torch.testing.assert_close(nodes, x.mean((2, 3))[..., None, None].expand_as(nodes))


def test_one_region_is_one_vector_for_all_pixels():
    """A soft-max over a single region is 1, so the pixels cannot ask for anything else."""
    module, x = built(regions=1), draw(1, 8, 5, 6)
    value = module.delta(module.gather(x, module.classifier(x)))
    y = module.rho(value).expand_as(x)
    torch.testing.assert_close(module(x), module.g(torch.cat([y, x], 1)))


def test_the_order_of_the_regions_does_not_count():
    module, x, logits = built(regions=None), draw(1, 8, 5, 6), draw(1, 4, 5, 6)
    torch.testing.assert_close(module(x, logits.flip(1)), module(x, logits))


def gather_over_regions(x, logits):
    return torch.einsum("bkhw,bchw->bck", logits.softmax(1), x)[..., None]


def gather_the_sum(x, logits, right=ObjectContextual.gather):
    return right(x, logits) * logits.shape[2] * logits.shape[3]


def asked(axis, scaled):
    def ask(query, key, value):
        q, k, v = (t.flatten(2) for t in (query, key, value))
        w = (q.mT @ k * (q.shape[1] ** -0.5 if scaled else 1)).softmax(axis)
        return (v @ w.mT).reshape(query.shape)

    return staticmethod(ask)


MISTAKES = {
    "no mistake": lambda patch: None,
    "soft-max over the regions": lambda patch: patch.setattr(
        ObjectContextual, "gather", staticmethod(gather_over_regions)
    ),
    "a sum in place of the mean": lambda patch: patch.setattr(
        ObjectContextual, "gather", staticmethod(gather_the_sum)
    ),
    "no mistake in other words": lambda patch: patch.setattr(
        ObjectContextual, "ask", asked(-1, scaled=True)
    ),
    "no scale": lambda patch: patch.setattr(ObjectContextual, "ask", asked(-1, scaled=False)),
    "regions that ask pixels": lambda patch: patch.setattr(
        ObjectContextual, "ask", asked(-2, scaled=True)
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    module, x = built(regions=4, seed=1), draw(2, 8, 5, 6)  # with keys that ReLU leaves alive
    expected = ocr_plain(module, x)
    MISTAKES[mistake](monkeypatch)
    assert torch.allclose(module(x), expected) == mistake.startswith("no mistake")


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_is_linear_in_the_pixels(backward):
    module = ObjectContextual(8).eval().requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    large = peak(64)
    assert large < 4096**2 * 4 / 4
    assert large < 5 * peak(32)


def test_one_image_trains_and_a_single_region_says_what_is_missing():
    x = torch.randn(1, 8, 5, 6)
    assert ObjectContextual(8).train()(x).shape == x.shape
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ObjectContextual(8, regions=1).train()(x)


def test_dropout_only_in_training():
    module, x = ObjectContextual(8, dropout=0.5), torch.rand(4, 8, 4, 4)
    dropped = (module(x) == 0).all((2, 3)).float().mean()
    assert 0.2 < dropped < 0.8
    assert torch.equal(module.eval()(x), module(x))
