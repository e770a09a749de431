"""DGCNet: the graph over cells, the graph over concepts, and both."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import CoordinateGraph, DualGraph, FeatureGraph, GloRe, NonLocal, dual_gcn
from contextlab.modules.dual_gcn import OFFICIAL, REPRODUCTION

from .base import ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain_dual import cells_plain, coordinate_plain, dual_plain, edges_plain, feature_plain

C, E = 512, 256
CELLS = 48 * 48  # of 2 x 2 pixels at 96 x 96
OFFICIAL_BRANCH = Options({k: v for k, v in OFFICIAL.items() if k != "fusion"})
FEATURE_MACS = 96**2 * (C * (2 * E + 128) + 2 * E * 128) + 128**2 * E + 128 * E**2


class TestCoordinateGraph(ContextModuleTests):
    module, name = CoordinateGraph, "coordinate_graph"
    options = Options(cell=2)
    identity_at_start = True
    pools = True
    costs = ((C, 96, 4 * C * E + E**2 + 3 * E + C, CELLS * (4 * C * E + 3 * E**2)),)
    refused = (
        ({"cell": 0}, "expected cell to be a whole number of at least 1, got 0"),
        ({"cell": 6, "project": "strided"}, "cell to be a power of 2 with project='strided', got"),
        ({"project": "max"}, r"project to be one of \('average', 'strided'\), got 'max'"),
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3"),
        ({"affinity": "cosine"}, r"affinity to be one of \('product', 'softmax'\)"),
        ({"pool": "max"}, r"pool to be one of \('mean', 'sum'\), got 'max'"),
        ({"variant": "glore"}, "variant to be one of .*got 'glore'"),
        ({"norm": True, "variant": "dgcnet"}, "expected norm=False with variant='dgcnet'"),
    )

    def oracle(self, module, x):
        return coordinate_plain(module, x, **self.options)


class TestStrided(TestCoordinateGraph):
    options = Options(cell=2, project="strided", norm=True)
    parameters = 4 * C * E + E**2 + 3 * E + C + 11 * C + 5 * E + C
    costs = ((C, 96, parameters, CELLS * (4 * C * E + 3 * E**2 + 9 * C)),)


class TestFeatureGraph(ContextModuleTests):
    module, name = FeatureGraph, "feature_graph"
    identity_at_start = True
    permutation_equivariant = True
    costs = ((C, 96, 411_136 - 128, FEATURE_MACS),)  # GloRe's, whose code has 128 biases more
    refused = (
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3"),
        ({"expansion": 3}, "expected expansion to divide states, got expansion=3 and states=4"),
        ({"variant": "gcn"}, "variant to be one of .*got 'gcn'"),
        ({"edges": "fixed"}, "edges to be one of .*got 'fixed'"),
        ({"pool": "max"}, r"pool to be one of \('mean', 'sum'\), got 'max'"),
    )

    def oracle(self, module, x):
        return feature_plain(module, x, **self.options)


class TestDualGraph(ContextModuleTests):
    module, name = DualGraph, "dual_graph"
    options = Options(cell=2)
    identity_at_start = True
    pools = True
    costs = ((C, 96, 591_104 + 411_008, CELLS * (4 * C * E + 3 * E**2) + FEATURE_MACS),)
    refused = (
        ({"fusion": "product"}, r"fusion to be one of \('sum', 'gated', 'sequential'\)"),
        ({"variant": "gcn"}, "variant to be one of .*got 'gcn'"),
        ({"cell": -1}, "expected cell to be a whole number of at least 1, got -1"),
    )

    def oracle(self, module, x):
        return dual_plain(module, x, **self.options)


class TestOfficial(TestDualGraph):
    options = Options(OFFICIAL, cell=2)
    rate = 0.01
    identity_at_start = False
    products = CELLS * (4 * C * E + 3 * E**2 + 9 * C) + FEATURE_MACS + 96**2 * 2 * C**2
    costs = ((C, 96, 1_547_008 - 2 * 11 * C, products),)  # two strided steps less


class TestReproduction(TestDualGraph):
    options = Options(REPRODUCTION, cell=2)
    rate = 0.01  # one long step would leave nothing above zero
    identity_at_start = False
    costs = ((C, 96, 591_104 + E + 411_008 + 5 * (E + 128) + C, TestDualGraph.costs[0][3]),)


FORMS = {
    "coordinate": (CoordinateGraph, {}, coordinate_plain),
    "smoothed": (CoordinateGraph, {"project": "strided", "affinity": "softmax"}, coordinate_plain),
    "nearest": (CoordinateGraph, {"variant": "dgcnet_reproduction"}, coordinate_plain),
    "norms": (CoordinateGraph, {"norm": True, "pool": "sum"}, coordinate_plain),
    "official": (CoordinateGraph, OFFICIAL_BRANCH, coordinate_plain),
    "official concepts": (FeatureGraph, {"variant": "dgcnet", "pool": "sum"}, feature_plain),
    "I + A": (FeatureGraph, {"variant": "plus"}, feature_plain),
    "A": (FeatureGraph, {"variant": "edges", "expansion": 1}, feature_plain),
    "I": (FeatureGraph, {"edges": "none", "pool": "sum"}, feature_plain),
    "random": (FeatureGraph, {"edges": "random", "reduction": 1}, feature_plain),
    "gated": (DualGraph, {"fusion": "gated"}, dual_plain),
    "sequential": (DualGraph, {"fusion": "sequential", "edges": "none"}, dual_plain),
    "sum of the code's": (DualGraph, {"variant": "dgcnet"}, dual_plain),
    "sum with GloRe's": (DualGraph, {"variant": "glore", "project": "strided"}, dual_plain),
}


def draw(*shape, seed=1):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def built(kind=CoordinateGraph, channels=8, **options):
    torch.manual_seed(0)
    return randomise(kind(channels, **options)).double().eval()


@settings(deadline=None, max_examples=40)
@given(
    form=st.sampled_from(sorted(FORMS)),
    cell=st.sampled_from([1, 2, 4, 8]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
def test_every_form_equals_the_order_of_the_equation(form, cell, size, seed):
    kind, options, plain = FORMS[form]
    cells = {} if kind is FeatureGraph else {"cell": cell}
    module, x = built(kind, **options, **cells), draw(1, 8, *size, seed=seed)
    expected = plain(module, x, **options, **cells)
    torch.testing.assert_close(module(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "channels", "options", "parameters", "products"),
    [
        (CoordinateGraph, 512, OFFICIAL_BRANCH, 609_536, 0.1177),
        (
            CoordinateGraph,
            512,
            OFFICIAL_BRANCH | {"cell": 8, "project": "average"},
            592_640,
            0.1038,
        ),
        (FeatureGraph, 512, {"variant": "dgcnet"}, 412_160, 3.6365),
        (DualGraph, 512, OFFICIAL, 1_547_008, 8.5860),
        (GloRe, 512, {"variant": "glore"}, 411_136, 3.6365),
        # the paper's forms; with ξ at the pixels, as it is written, 1.2929 G and 4.9294 G
        (CoordinateGraph, 512, {}, 591_104, 1.2929 - (96**2 - 144) * C * E / 1e9),
        (DualGraph, 512, {}, 1_002_112, 4.9294 - (96**2 - 144) * C * E / 1e9),
        (DualGraph, 2048, REPRODUCTION, 16_012_288, 79.474 - (96**2 - 144) * 2048 * 1024 / 1e9),
    ],
)
def test_counts_of_the_reference_table(kind, channels, options, parameters, products):
    with torch.device("meta"):
        module, x = kind(channels, **options).eval(), torch.empty(1, channels, 96, 96)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert macs(module, x) / 1e9 == pytest.approx(products, abs=5e-4)


def answers_with_a_soft_max(module, v, over):
    """The answers to all cells by A_S, with a soft-max over its rows or over nothing."""
    a = edges_plain(module, v)
    a = torch.softmax(a, 2) if over == "cells" else a
    m = torch.einsum("bij,bej->bei", a, module.nu(v).flatten(2))
    return module.xi(module.weight(m.unflatten(2, v.shape[2:])))


def test_both_orders_are_one_function_until_a_soft_max_stands_between():
    v = draw(2, 8, 3, 5)
    module = built()
    torch.testing.assert_close(module.answer(v), answers_with_a_soft_max(module, v, over=None))
    module.affine = "softmax"
    asked = answers_with_a_soft_max(module, v, over="cells")
    assert (module.answer(v) - asked).abs().max() > 0.1 * asked.abs().max()


def test_cells_of_one_pixel_are_dot_product_attention():
    graph = built(cell=1)
    pixels = NonLocal(8, mode="dot_product", norm=False, zero_init=False).double()
    for ours, theirs in (
        (graph.delta, pixels.theta),
        (graph.psi, pixels.phi),
        (graph.nu, pixels.g),
    ):
        theirs.load_state_dict(ours[0].state_dict())
    pixels.out.weight.data = torch.einsum(
        "oixy,ijxy->ojxy", graph.xi[0].weight, graph.weight[0].weight
    )
    pixels.out.bias = graph.xi[0].bias
    x = draw(2, 8, 5, 7)
    torch.testing.assert_close(graph(x), pixels(x))
    torch.testing.assert_close(graph.affinity(x, (3, 2)), pixels.affinity(x, query=(3, 2)))


GLORE = {"phi": "theta.0", "theta": "phi.0", "out": "out.0", "norm": "out.1"}


def as_feature_graph(state):
    """The weights of GloRe under the names of the feature graph."""
    heads = ((name.partition("."), value) for name, value in state.items())
    return {f"{GLORE.get(head, head)}.{rest}": value for (head, _, rest), value in heads}


@pytest.mark.parametrize(("variant", "pool"), [("paper", "mean"), ("glore", "sum")])
def test_the_feature_graph_is_glore_under_other_names(variant, pool):
    torch.manual_seed(0)
    glore = randomise(GloRe(8, variant=variant, pool=pool)).double().eval()
    glore.norm.eps = 1e-5
    feature = FeatureGraph(8, variant=variant, pool=pool).double().eval()
    feature.load_state_dict(as_feature_graph(glore.state_dict()))
    x = draw(2, 8, 5, 6)
    torch.testing.assert_close(feature(x), glore(x))
    torch.testing.assert_close(feature.nodes(x), glore.theta(x))


def test_the_code_of_the_feature_graph_is_glore_with_norms_and_a_relu():
    feature = built(FeatureGraph, variant="dgcnet")
    glore = built(GloRe)
    glore.norm.eps = 1e-5

    def folded(layers):
        """Weight and bias of a convolution that has swallowed the norm behind it."""
        layer, after = layers
        scale = after.weight / (after.running_var + after.eps).sqrt()
        shift = after.bias - after.running_mean * scale
        return layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1)), shift

    for after in (feature.talk.adjacency[1], feature.talk.weight[1]):
        torch.nn.init.zeros_(after.bias)  # GloRe has none
        after.running_mean.zero_()
    for ours, theirs in ((feature.phi, glore.theta), (feature.theta, glore.phi)):
        theirs.weight.data, theirs.bias.data = folded(ours)
    glore.talk.adjacency[0].weight.data = -folded(feature.talk.adjacency)[0]
    glore.talk.weight[0].weight.data = folded(feature.talk.weight)[0]
    glore.out.load_state_dict(feature.out[0].state_dict())
    glore.norm.load_state_dict(feature.out[1].state_dict())
    x = draw(2, 8, 5, 6)
    torch.testing.assert_close(feature(x), torch.relu(glore(x)))


def mutate(name):
    """A module with one mistake, and what it should have been."""
    options = {"cell": 2}
    module = built(CoordinateGraph, **options)
    right = copy.deepcopy(module)
    if name == "delta and psi exchanged":
        module.delta, module.psi = module.psi, module.delta
    elif name == "psi and nu exchanged":
        module.psi, module.nu = module.nu, module.psi
    elif name == "not divided by the cells":
        module.pool = "sum"
    elif name == "a soft-max":
        module.affine = "softmax"
    elif name == "stretched to the corners":
        module.upsample = lambda y, h, w: F.interpolate(y, (h, w), mode="bilinear")
    elif name == "the last cells filled with zeros":
        module.cells = lambda x: F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2)
    elif name == "no W":
        module.weight = torch.nn.Identity()
    return module, right, options


@pytest.mark.parametrize(
    "mistake",
    [
        "none",
        "delta and psi exchanged",
        "psi and nu exchanged",
        "not divided by the cells",
        "a soft-max",
        "stretched to the corners",
        "the last cells filled with zeros",
        "no W",
    ],
)
def test_a_mistake_is_told_apart(mistake):
    module, right, options = mutate(mistake)
    x = draw(1, 8, 5, 7)
    assert torch.allclose(module(x), coordinate_plain(right, x, **options)) == (mistake == "none")


def test_the_sign_of_the_laplacian_is_told_apart():
    module, x = built(FeatureGraph), draw(1, 8, 3, 4)
    expected = feature_plain(module, x)
    for variant in ("plus", "edges", "glore"):
        module.talk.variant = variant
        assert not torch.allclose(module(x), expected)


@pytest.mark.parametrize("affinity", ["product", "softmax"])
def test_cells_have_no_place(affinity):
    module, v = built(affinity=affinity), draw(2, 8, 4, 5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    moved = v.flatten(2)[..., order].reshape(v.shape)
    expected = module.answer(v).flatten(2)[..., order].reshape(v.shape)
    torch.testing.assert_close(module.answer(moved), expected)


def test_pixels_of_one_cell_may_change_places():
    module, x = built(cell=4), draw(2, 8, 8, 12)
    moved = x.clone()
    moved[..., 4:8, 4:8] = x[..., 4:8, 4:8].flip(2, 3)
    torch.testing.assert_close(module.branch(moved), module.branch(x))
    moved[..., 0, 0] = x[..., 7, 11]
    assert not torch.allclose(module.branch(moved), module.branch(x))


@pytest.mark.parametrize("project", ["average", "strided"])
@pytest.mark.parametrize("size", [(16, 24), (13, 7), (1, 1), (3, 9)])
def test_there_are_as_many_cells_as_are_needed(project, size):
    module = CoordinateGraph(4, cell=8, project=project).eval()
    x = torch.randn(1, 4, *size)
    assert module.cells(x).shape[2:] == (-(-size[0] // 8), -(-size[1] // 8))
    assert module.branch(x).shape == x.shape


@pytest.mark.parametrize("size", [(8, 24), (5, 23), (2, 10)])
def test_answers_lie_where_their_cells_are(size):
    module = CoordinateGraph(1, reduction=1, cell=4).double()
    ramp = torch.arange(size[1], dtype=torch.float64).expand(1, 1, *size)
    back = module.upsample(module.cells(ramp), *size)
    inner = slice(2, 4 * (-(-size[1] // 4) - 1) - 2)  # between the centres of two whole cells
    torch.testing.assert_close(back[..., inner], ramp[..., inner])
    torch.testing.assert_close(module.cells(ramp), cells_plain(ramp, 4))


def test_a_constant_map_stays_constant():
    module = built(cell=4)
    x = draw(1, 8, 1, 1).expand(1, 8, 9, 6)
    torch.testing.assert_close(module(x), module(x[..., :1, :1]).expand_as(x))


def test_a_mean_does_not_grow_with_the_map_and_a_sum_does():
    x, module = draw(1, 8, 4, 8), built(cell=2)
    for name in ("delta", "psi", "nu", "weight", "xi"):
        layer = getattr(module, name)[0]
        layer.bias = None
    v, tiled = module.cells(x), module.cells(x.repeat(1, 1, 2, 3))
    answers = module.answer(v).repeat(1, 1, 2, 3)
    torch.testing.assert_close(module.answer(tiled), answers)
    module.pool = "sum"
    torch.testing.assert_close(module.answer(tiled), answers * v[0, 0].numel() * 6)
    torch.testing.assert_close(module.answer(2 * v), 8 * module.answer(v))  # of third order


@pytest.mark.parametrize("pool", ["mean", "sum"])
@pytest.mark.parametrize("project", ["average", "strided"])
def test_affinity_is_one_row_of_the_edges(pool, project):
    module, x = built(cell=4, pool=pool, project=project), draw(2, 8, 9, 6)
    edges = edges_plain(module, module.cells(x), pool)  # 3 x 2 cells
    row = module.affinity(x, query=(5, 4))
    torch.testing.assert_close(row, edges[:, 3].reshape(2, 1, 3, 2))


def test_affinity_is_refused_where_there_is_none():
    x = torch.randn(1, 8, 5, 6)
    with pytest.raises(ValueError, match=r"expected query inside 5 x 6, got row 5, column 0"):
        CoordinateGraph(8).affinity(x, query=(5, 0))
    with pytest.raises(ValueError, match="expected affinity='product', got 'softmax', which"):
        CoordinateGraph(8, affinity="softmax").affinity(x, query=(0, 0))


def test_fusions_are_made_of_the_branches():
    x = draw(2, 8, 5, 6)
    module = built(DualGraph, cell=2)
    first, second = module.coordinate, module.feature
    torch.testing.assert_close(module(x), first(x) + second(x) - x)
    module.fusion = "sequential"
    torch.testing.assert_close(module(x), second(first(x)))
    gated = built(DualGraph, cell=2, **{"variant": "dgcnet", "fusion": "gated"})
    both = torch.cat([gated.coordinate(x), gated.feature(x)], 1)
    torch.testing.assert_close(gated(x), gated.last(both))


def test_memory_is_linear_in_the_cells():
    module = CoordinateGraph(8, cell=1, zero_init=False)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward())

    assert peak(64) < 4096**2 * 4 / 4  # a fraction of A_S, cells x cells
    assert peak(64) < 5 * peak(32)
    direct = peak_bytes(lambda: answers_held(module, torch.randn(1, 8, 64, 64)).sum().backward())
    assert direct > 4096**2 * 4


def answers_held(module, x):
    """With A_S in memory."""
    delta, psi, nu = (f(x).flatten(2) for f in (module.delta, module.psi, module.nu))
    m = nu @ (delta.mT @ psi / nu.shape[2]).mT
    return module.xi(module.weight(m.unflatten(2, x.shape[2:])))


def test_half_precision_on_a_large_map():
    torch.manual_seed(0)
    module = DualGraph(8, cell=1, zero_init=False).eval()
    x = 4 * torch.rand(1, 8, 96, 96)
    expected = module(x)
    y = module.half()(x.half())
    assert torch.isfinite(y).all()
    torch.testing.assert_close(y.float(), expected, rtol=0, atol=0.02 * expected.abs().max().item())


def test_training_on_one_cell_says_what_is_missing():
    for options in ({"norm": True}, {"project": "strided"}):
        module = CoordinateGraph(8, **options).train()
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            module(torch.randn(1, 8, 8, 8))
        assert module(torch.randn(2, 8, 8, 8)).shape == (2, 8, 8, 8)
    assert dual_gcn.strided_projection(8, 1)(torch.ones(1, 8, 3, 3)).shape == (1, 8, 3, 3)
