"""Dynamic prototypes, in the slot and as a head."""

from __future__ import annotations

import pytest
import torch

from contextlab.modules import (
    DynamicPrototype,
    DynamicPrototypeHead,
    GlobalContext,
    ObjectContextual,
)

from .base import ContextModuleTests, ModuleTests, Options, macs, randomise
from .plain_cgrseg import dynamic_head_plain, dynamic_prototype_plain

# what all classes share in their logits, or in their weights, is lost in a soft-max
DEAD = frozenset({"classifier.3.bias", "embed.bias"})
HEAD_DEAD = frozenset({"guide.embed.bias"})


def gate_costs(c, k):
    return 2 * c**2 + 5 * c + 1, 2 * (k * c + c**2)


def slot_costs(c, side, k):
    (parameters, products), n = gate_costs(c, k), side**2
    return c, side, parameters + k * c + k + 3 * c, products + n * (2 * k * c + c)


class TestDynamicPrototype(ContextModuleTests):
    module, name = DynamicPrototype, "dynamic_prototype"
    options = Options(regions=5)
    permutation_equivariant = True
    dead = DEAD
    rate = 0.01
    costs = (slot_costs(64, 16, 5),)
    refused = (
        ({"regions": 0}, "expected regions to be a whole number of at least 1, got 0"),
        ({"gather": "class"}, r"gather to be one of \('classes', 'pixels'\), got 'class'"),
    )

    def oracle(self, module, x):
        return dynamic_prototype_plain(module, x, **self.options)


class TestDefaults(TestDynamicPrototype):
    options = Options()
    costs = (slot_costs(128, 64, 19),)


class TestOfPixels(TestDynamicPrototype):
    options = Options(gather="pixels")
    dead = frozenset({"embed.bias"})
    costs = ((64, 16, *gate_costs(64, 256)),)


class TestGivenLogits(ModuleTests):
    module, arguments = DynamicPrototype, (8,)
    rate = 0.01
    options = Options(regions=None)
    dead = frozenset({"embed.bias"})
    refused = (({"regions": 2.0}, "expected regions to be a whole number of at least 1, got 2.0"),)
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
            (torch.zeros(2, 8, 4, 4), torch.zeros(2, 3, 4)),
            r"expected logits \(2, k, 4, 4\), got \(2, 3, 4\)",
        ),
        (
            (torch.zeros(2, 8, 4, 4), None, torch.zeros(2, 3, 8)),
            r"expected prototypes \(2, 8, k\) or \(1, 8, k\), got \(2, 3, 8\)",
        ),
        (
            (torch.zeros(2, 8, 4, 4), None, torch.zeros(8, 3)),
            r"expected prototypes \(2, 8, k\) or \(1, 8, k\), got \(8, 3\)",
        ),
    )

    def inputs(self, size=(5, 6), batch=2, dtype=torch.float32, seed=1):
        draw = torch.Generator().manual_seed(seed)
        shapes = (batch, 8, *size), (batch, 3, *size)
        return tuple(torch.randn(shape, generator=draw).to(dtype) for shape in shapes)

    def dynamic_shapes(self):
        sides = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
        return sides, sides

    def oracle(self, module, x, logits):
        return dynamic_prototype_plain(module, x, logits)

    # the logits belong to an image each, so they are cut together with x
    def test_images_do_not_see_each_other(self):
        module = randomise(self.build()).double().eval()
        pairs = self.inputs(batch=3, dtype=torch.float64)
        alone = [module(*pair) for pair in zip(*(t.split(1) for t in pairs))]
        torch.testing.assert_close(module(*pairs), torch.cat(alone))


class TestHead(ModuleTests):
    module, arguments = DynamicPrototypeHead, (8, 3)
    options = Options(dropout=0.0)
    dead = HEAD_DEAD
    rate = 0.01
    refused = (
        ({"gather": "none"}, r"gather to be one of \('classes', 'pixels'\), got 'none'"),
        ({"dropout": 2.0}, "dropout"),
    )
    refused_inputs = (
        ((torch.zeros(1, 9, 4, 4),), r"expected a map \(b, 8, h, w\), got \(1, 9, 4, 4\)"),
        (
            (torch.zeros(1, 8, 4, 4), torch.zeros(2, 8, 3)),
            r"expected prototypes \(1, 8, k\) or \(1, 8, k\), got \(2, 8, 3\)",
        ),
    )

    def inputs(self, size=(5, 6), batch=2, dtype=torch.float32, seed=1):
        draw = torch.Generator().manual_seed(seed)
        return (torch.randn(batch, 8, *size, generator=draw).to(dtype),)

    def expected_shape(self, x):
        return len(x), 3, *x.shape[2:]

    def oracle(self, module, x):
        return dynamic_head_plain(module, x, **self.options)

    def dynamic_shapes(self):
        return ({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)


class TestHeadOfPixels(TestHead):
    options = Options(dropout=0.0, gather="pixels")


def map_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(module=DynamicPrototype, *sizes, **options):
    torch.manual_seed(0)
    return randomise(module(8, *sizes, **options)).double().eval()


def test_it_starts_as_one_and_a_half_of_its_input():
    x = map_of(2, 8, 5, 6)
    for options in ({}, {"gather": "pixels"}):
        torch.testing.assert_close(DynamicPrototype(8, **options).double()(x), 1.5 * x)
    head = DynamicPrototypeHead(8, 3, dropout=0.0).double()
    torch.testing.assert_close(head(x), head.classifier(1.5 * x))


def test_the_gather_is_that_of_object_contextual_representations():
    x, logits = map_of(2, 8, 5, 6), map_of(2, 4, 5, 6, seed=1)
    ours = built(regions=None).prototypes(x, logits)
    torch.testing.assert_close(ours, ObjectContextual.gather(x, logits)[..., 0])


def test_prototypes_are_means_of_regions_and_weights_sum_to_1():
    """Logits so sure that a region is a set of pixels: its prototype is their mean."""
    x, labels = map_of(1, 8, 5, 6), torch.arange(30).reshape(1, 5, 6) % 3
    logits = 1e3 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).double()
    p = built(regions=None).prototypes(x, logits)
    for k in range(3):
        torch.testing.assert_close(p[0, :, k], x[0][:, labels[0] == k].mean(1))
    e = built(regions=None).embedding(p)
    torch.testing.assert_close(e.sum(1), torch.ones(1, dtype=torch.float64))


def test_the_order_of_the_classes_does_not_count():
    module, x, logits = built(regions=None), map_of(2, 8, 5, 6), map_of(2, 4, 5, 6, seed=1)
    torch.testing.assert_close(module(x, logits.flip(1)), module(x, logits))


def test_without_classes_it_is_the_gate_of_the_global_context_block():
    """The same layers: a GCNet block that scales, without its bottleneck."""
    ours, x = built(gather="pixels"), map_of(2, 8, 5, 6)
    other = GlobalContext(8, reduction=1, fuse="scale").double()
    other.mask.weight.data = ours.embed.weight.data[..., None]
    for name in ("squash", "norm", "expand"):
        getattr(other, name).load_state_dict(getattr(ours, name).state_dict())
    torch.testing.assert_close(ours(x), other(x) + x)


def test_given_prototypes_take_the_place_of_those_of_the_image():
    x, others = map_of(2, 8, 5, 6), map_of(2, 8, 5, 6, seed=1)
    for module in (built(), built(DynamicPrototypeHead, 3)):
        own = module.prototypes(x)
        torch.testing.assert_close(module(x, prototypes=own), module(x))
        mean = module.prototypes(others).mean(0, keepdim=True)
        assert not torch.allclose(module(x, prototypes=mean), module(x))
        torch.testing.assert_close(
            module(x, prototypes=mean), module(x, prototypes=mean.expand(2, -1, -1))
        )


def test_given_prototypes_against_the_plain_version():
    x, p = map_of(2, 8, 3, 4), map_of(1, 8, 6, seed=1)
    slot, head = built(), built(DynamicPrototypeHead, 3)
    torch.testing.assert_close(slot(x, prototypes=p), dynamic_prototype_plain(slot, x, None, p))
    torch.testing.assert_close(head(x, p), dynamic_head_plain(head, x, p))


def test_the_coarse_logits_are_handed_out_to_be_supervised():
    head, x = built(DynamicPrototypeHead, 3), map_of(2, 8, 5, 6)
    logits, coarse = head(x, coarse=True)
    torch.testing.assert_close(logits, head(x))
    torch.testing.assert_close(coarse, head.classifier(head.fuse(x)))
    torch.testing.assert_close(head.guide.prototypes(x, coarse), head.prototypes(x))
    given, same = head(x, head.prototypes(x), coarse=True)
    torch.testing.assert_close((given, same), (logits, coarse))
    with pytest.raises(ValueError, match="gather='pixels' has no coarse logits"):
        built(DynamicPrototypeHead, 3, gather="pixels")(x, coarse=True)


def test_the_classifier_learns_from_both_of_its_passes():
    head, x = built(DynamicPrototypeHead, 3), map_of(2, 8, 5, 6)
    logits, coarse = head(x, coarse=True)
    weight = head.classifier.weight
    (of_both,) = torch.autograd.grad(logits.square().sum(), weight, retain_graph=True)
    y = head.guide(x, coarse.detach())
    (of_the_last,) = torch.autograd.grad(head.classifier(y).square().sum(), weight)
    assert not torch.allclose(of_both, of_the_last)


def test_the_published_cost_of_the_head():
    """33.8 thousand parameters beside the classifier, and 78.6 million MACs of its second pass."""
    with torch.device("meta"):
        head = DynamicPrototypeHead(128, 150).eval()
        x, p = torch.empty(1, 128, 64, 64), torch.empty(1, 128, 150)
    n, pass_once = 4096, 4096 * 128 * 150
    classifier = 128 * 150 + 150
    assert sum(t.numel() for t in head.parameters()) - classifier == 33_793
    assert round(pass_once / 1e6, 1) == 78.6
    gate = 2 * (150 * 128 + 128**2)
    assert macs(head, x) == 3 * pass_once + n * 128 + gate
    assert macs(head, x, p) == pass_once + gate


def test_dropout_only_in_training_and_before_both_passes():
    head, x = DynamicPrototypeHead(64, 3, dropout=0.5), torch.rand(2, 64, 4, 4)
    assert head.dropout.p == 0.5
    assert not torch.equal(head(x), head(x))
    assert not torch.equal(head.coarse(x), head.coarse(x))
    assert torch.equal(head.eval()(x), head(x))


def test_a_single_channel_is_refused():
    with pytest.raises(ValueError, match="expected channels of at least 2, got 1"):
        DynamicPrototype(1)


def regions_over_classes(self, x, logits=None):
    return torch.einsum("bkhw,bchw->bck", self.region_logits(x, logits).softmax(1), x)


def sums_of_regions(self, x, logits=None):
    return right(self, x, logits) * x.shape[2] * x.shape[3]


def pixels_for_classes(self, x, logits=None):
    return x.flatten(2)


right = DynamicPrototype.prototypes
MISTAKES = {
    "no mistake": right,
    "soft-max over the classes": regions_over_classes,
    "a sum in place of the mean": sums_of_regions,
    "pixels in place of classes": pixels_for_classes,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    module, x = built(regions=4), map_of(2, 8, 5, 6)
    expected = dynamic_prototype_plain(module, x)
    monkeypatch.setattr(DynamicPrototype, "prototypes", MISTAKES[mistake])
    assert torch.allclose(module(x), expected) == (mistake == "no mistake")
