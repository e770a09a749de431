"""Graph convolution along given edges, learned edges, and the pixel grid."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contextlab.modules import (
    GraphConv,
    GridGraphConv,
    LearnedGraphConv,
    grid_adjacency,
    laplacian_smoothing,
    normalised_adjacency,
)

from .base import SIZES, ContextModuleTests, ModuleTests, Options, macs, peak_bytes, randomise
from .plain import mix_plain, norm, normalised_adjacency_plain

GRAPHS = settings(deadline=None, max_examples=20)


def random_graph(n: int, seed: int, dtype=torch.float64) -> torch.Tensor:
    """A weighted undirected graph without self loops."""
    draw = torch.Generator().manual_seed(seed)
    weights = torch.rand(n, n, generator=draw, dtype=dtype)
    weights = torch.where(weights > 0.5, weights, 0.0).triu(1)
    return weights + weights.T


class TestGraphConv(ModuleTests):
    module, arguments = GraphConv, (5, 3)
    refused = (
        ({"activation": "relu"}, "expected activation to be a function or None, got 'relu'"),
        ({"out_features": 0}, "expected out_features to be a whole number of at least 1, got 0"),
    )
    refused_inputs = (
        (
            (torch.zeros(2, 4, 6), torch.zeros(4, 4)),
            r"GraphConv expected nodes \(b, n, 5\), got \(2, 4, 6\)",
        ),
        (
            (torch.zeros(2, 4, 5), torch.zeros(4, 3)),
            r"expected an adjacency \(4, 4\), got \(4, 3\)",
        ),
        ((torch.zeros(4, 5), torch.zeros(4, 4)), r"got \(4, 5\)"),
    )

    def build(self, **options):
        torch.manual_seed(0)
        sizes = {"in_features": 5, "out_features": 3}
        return GraphConv(**(sizes | self.options | options))

    def inputs(self, size=(5, 6), batch=2, dtype=torch.float32, seed=1):
        n = size[0] * size[1]
        draw = torch.Generator().manual_seed(seed)
        x = torch.randn(batch, n, 5, generator=draw).to(dtype)
        return x, random_graph(n, seed).to(dtype)

    def expected_shape(self, x, adjacency):
        return (*x.shape[:2], 3)

    def dynamic_shapes(self):
        auto = torch.export.Dim.AUTO
        return ({1: auto}, {0: auto, 1: auto})

    def oracle(self, module, x, adjacency):
        a = normalised_adjacency_plain(adjacency) if module.normalise else adjacency
        y = mix_plain(a, x) @ module.weight.weight.T
        y = y if module.weight.bias is None else y + module.weight.bias
        return y if isinstance(module.activation, nn.Identity) else y.clamp(min=0)

    def test_costs(self):
        with torch.device("meta"):
            module, x, a = GraphConv(64, 32), torch.empty(1, 100, 64), torch.empty(100, 100)
        assert sum(p.numel() for p in module.parameters()) == 64 * 32
        assert macs(module, x, a) == 100**2 * 64 + 100 * 64 * 32

    def test_renamed_nodes(self):
        x, adjacency = self.inputs(dtype=torch.float64)
        order = torch.randperm(30)
        module = self.build().double()
        renamed = module(x[:, order], adjacency[order][:, order])
        torch.testing.assert_close(renamed, module(x, adjacency)[:, order])


class TestGraphConvAsItComes(TestGraphConv):
    options = Options(bias=True, activation=None, normalise=False)


class LearnedGraphConvTests(ModuleTests):
    module, arguments = LearnedGraphConv, (6, 4)
    #: sign of A X, ReLU on A X, ReLU on the sum, ReLU at the end
    form: tuple[int, bool, bool, bool]
    own = 1  # weight of X itself
    extra_parameters = 0
    refused = (
        ({"variant": "gcn"}, r"expected variant to be one of \('paper', 'plus',.*got 'gcn'"),
        ({"activation": "relu", "variant": "paper"}, "to be a function, got 'relu'"),
        ({"activation": torch.relu, "variant": "srnet"}, "to be None with variant='srnet'"),
        ({"edges": "fixed"}, r"expected edges to be one of \('learned', 'random', 'none'\)"),
        ({"edges": "none", "variant": "edges"}, "expected edges with variant='edges'"),
    )
    refused_inputs = (
        (
            (torch.zeros(2, 6, 4),),
            r"LearnedGraphConv expected nodes \(b, 4, 6\), got \(2, 6, 4\)",
        ),
        ((torch.zeros(4, 6),), r"expected nodes \(b, 4, 6\), got \(4, 6\)"),
    )

    def inputs(self, size=(5, 6), batch=2, dtype=torch.float32, seed=1):
        draw = torch.Generator().manual_seed(seed)
        return (torch.randn(batch, 4, 6, generator=draw).to(dtype),)

    def oracle(self, module, x):
        sign, relu_mix, relu_sum, relu_end = self.form
        (w, w_norm), mix = module.weight, 0 * x
        if self.options.get("edges") != "none":
            a, a_norm = module.adjacency
            mix = mix_plain(a.weight[:, :, 0], x)
            mix = norm(a_norm, mix if a.bias is None else mix + a.bias[:, None])
        y = self.own * x + sign * (mix.clamp(min=0) if relu_mix else mix)
        y = y.clamp(min=0) if relu_sum else y
        y = mix_plain(w.weight[:, :, 0], y.mT).mT
        y = norm(w_norm, y if w.bias is None else y + w.bias, axis=2)
        return y.clamp(min=0) if relu_end else y

    def test_costs(self):
        with torch.device("meta"):
            module = LearnedGraphConv(6, 4, **self.options)
            x = torch.empty(1, 4, 6)
        edges = self.options.get("edges", "learned")
        learned = 4**2 * (edges == "learned") + 6**2 + self.extra_parameters
        assert sum(p.numel() for p in module.parameters()) == learned
        assert macs(module, x) == 4**2 * 6 * (edges != "none") + 4 * 6**2


class TestPaper(LearnedGraphConvTests):
    options, form = Options(variant="paper"), (-1, False, False, False)

    def test_it_is_the_true_i_minus_a(self):
        module = randomise(self.build()).double()
        (x,) = self.inputs(dtype=torch.float64)
        a, w = module.adjacency[0].weight[:, :, 0], module.weight[0].weight[:, :, 0]
        expected = (torch.eye(4, dtype=torch.float64) - a) @ x @ w.T
        torch.testing.assert_close(module(x), expected)


class TestPaperOfSRNet(LearnedGraphConvTests):
    options, form = Options(activation=torch.relu), (-1, False, False, True)


class TestPlus(LearnedGraphConvTests):
    options, form = Options(variant="plus"), (1, False, False, False)


class TestEdgesAlone(LearnedGraphConvTests):
    options, form, own = Options(variant="edges"), (1, False, False, False), 0


class TestRandomEdges(LearnedGraphConvTests):
    options, form = Options(edges="random"), (-1, False, False, False)


class TestRandomEdgesOfSRNet(LearnedGraphConvTests):
    options = Options(variant="srnet", edges="random")
    form, extra_parameters = (1, True, False, True), 20


class TestWithoutEdges(LearnedGraphConvTests):
    options, form = Options(edges="none"), (-1, False, False, False)


class TestWithoutEdgesInTheReproduction(LearnedGraphConvTests):
    options = Options(variant="dgcnet_reproduction", edges="none")
    form, extra_parameters = (-1, True, False, True), 18


class TestGloRe(LearnedGraphConvTests):
    options, form, extra_parameters = Options(variant="glore"), (1, False, True, False), 4


class TestDGCNet(LearnedGraphConvTests):
    options, form, extra_parameters = Options(variant="dgcnet"), (1, False, False, False), 20


class TestDGCNetReproduction(LearnedGraphConvTests):
    options = Options(variant="dgcnet_reproduction")
    form, extra_parameters = (-1, True, False, True), 30


class TestSRNet(LearnedGraphConvTests):
    options, form, extra_parameters = Options(variant="srnet"), (1, True, False, True), 20


@pytest.mark.parametrize(
    "form",
    [TestPaper, TestPlus, TestEdgesAlone, TestGloRe, TestDGCNet, TestDGCNetReproduction, TestSRNet],
)
def test_the_sign_of_a_mistaken_variant_is_told_apart(form):
    tests = form()
    module, inputs = randomise(tests.build()).double().eval(), tests.inputs(dtype=torch.float64)
    assert tests.agrees(module, inputs)
    sign, *relus = tests.form
    tests.form = (-sign, *relus)
    assert not tests.agrees(module, inputs)
    for place in range(3):
        tests.form = (sign, *(relu != (place == i) for i, relu in enumerate(relus)))
        assert not tests.agrees(module, inputs)


def test_edges_are_the_only_difference_between_the_three_starts():
    def build(edges):
        torch.manual_seed(0)
        return LearnedGraphConv(6, 4, edges=edges)

    learned, random, none = (build(edges) for edges in ("learned", "random", "none"))
    x = torch.randn(2, 4, 6)
    assert torch.equal(learned(x), random(x))
    assert torch.equal(learned.weight[0].weight, none.weight[0].weight)
    torch.nn.init.zeros_(learned.adjacency[0].weight)
    torch.testing.assert_close(learned(x), none(x))
    random.load_state_dict(learned.state_dict())  # under the same names
    torch.testing.assert_close(random(x), none(x))


def test_random_edges_stay_as_they_were_drawn():
    module = LearnedGraphConv(6, 4, edges="random")
    drawn = module.adjacency[0].weight.clone()
    step = torch.optim.AdamW(module.parameters(), lr=0.1)
    for _ in range(3):
        step.zero_grad()
        module(torch.randn(2, 4, 6)).square().mean().backward()
        step.step()
    assert torch.equal(module.adjacency[0].weight, drawn) and drawn.any()


def test_plus_and_minus_a_are_one_family_until_a_relu_stands_between():
    paper = randomise(LearnedGraphConv(6, 4)).double().eval()
    plus = LearnedGraphConv(6, 4, variant="dgcnet").double().eval()
    plus.load_state_dict(
        {**plus.state_dict(), "adjacency.0.weight": -paper.adjacency[0].weight}
        | {"weight.0.weight": paper.weight[0].weight}
    )
    for layer in (plus.adjacency[1], plus.weight[1]):
        layer.eps = 0.0  # a batch normalisation that changes nothing
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(plus(x), paper(x))


class TestGridGraphConv(ContextModuleTests):
    module, name = GridGraphConv, "graph_conv"
    costs = ((64, 40, 64**2, 1600 * (9 * 64 + 9 + 64**2)),)
    refused = (
        ({"steps": 0}, "expected steps to be a whole number of at least 1, got 0"),
        ({"neighbours": 6}, r"expected neighbours to be one of \(4, 8\), got 6"),
    )

    def oracle(self, module, x):
        h, w = x.shape[2:]
        near = self.options.get("neighbours", 4)
        a = torch.zeros(h * w, h * w, dtype=x.dtype)
        for r in range(h):
            for c in range(w):
                for r2, c2 in ((r + d, c + e) for d in (-1, 0, 1) for e in (-1, 0, 1)):
                    steps = abs(r2 - r) + abs(c2 - c)
                    touches = steps == 1 or (near == 8 and steps == 2)
                    if touches and 0 <= r2 < h and 0 <= c2 < w:
                        a[r * w + c, r2 * w + c2] = 1
        assert torch.equal(a, grid_adjacency(h, w, neighbours=near).double())
        a, nodes = normalised_adjacency_plain(a), x.flatten(2).mT
        for _ in range(self.options.get("steps", 1)):
            nodes = a @ nodes
        nodes = (nodes @ module.weight.weight[:, :, 0, 0].T).clamp(min=0)
        return nodes.mT.reshape(x.shape)


class TestGridGraphConvEightNeighbours(TestGridGraphConv):
    options = Options(neighbours=8, steps=2)
    costs = ((64, 40, 64**2, 1600 * (2 * 9 * 64 + 9 + 64**2)),)


def test_grid_layer_equals_the_dense_layer():
    grid, dense = GridGraphConv(6).double(), GraphConv(6, 6).double()
    dense.weight.weight.data = grid.weight.weight.data[:, :, 0, 0]
    x = torch.randn(2, 6, 4, 7, dtype=torch.float64)
    nodes = dense(x.flatten(2).mT, grid_adjacency(4, 7).double())
    torch.testing.assert_close(grid(x), nodes.mT.reshape(x.shape))


def test_a_pixel_hears_as_far_as_there_are_steps():
    module = GridGraphConv(1, steps=3)
    nn.init.ones_(module.weight.weight)
    x = torch.zeros(1, 1, 9, 9)
    x[..., 4, 4] = 1
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
    distance = (rows - 4).abs() + (columns - 4).abs()
    assert torch.equal(module(x)[0, 0] > 0, distance <= 3)


def test_turning_the_map_turns_the_answer():
    module = randomise(GridGraphConv(4)).double()
    x = torch.randn(1, 4, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(module(x.rot90(1, (2, 3))), module(x).rot90(1, (2, 3)))
    torch.testing.assert_close(module(x.flip(3)), module(x).flip(3))


@pytest.mark.parametrize("neighbours", [4, 8])
def test_grid_memory_is_linear_in_the_pixels(neighbours):
    module = GridGraphConv(8, neighbours=neighbours)
    peak = [
        peak_bytes(lambda: module(torch.randn(1, 8, side, side)).sum().backward())  # noqa: B023
        for side in (32, 64)
    ]
    assert peak[1] < 5 * peak[0]
    assert peak[1] < 4096**2 * 4 / 10


@GRAPHS
@given(n=st.integers(1, 12), seed=st.integers(0, 99))
def test_normalised_adjacency(n, seed):
    a = random_graph(n, seed)
    before = a.clone()
    normalised = normalised_adjacency(a)
    assert torch.equal(a, before)
    torch.testing.assert_close(normalised, normalised_adjacency_plain(a))
    torch.testing.assert_close(normalised, normalised.T)
    assert torch.linalg.eigvalsh(normalised)[-1].item() == pytest.approx(1)


@GRAPHS
@given(size=SIZES, neighbours=st.sampled_from([4, 8]))
def test_grid_adjacency_counts_its_edges(size, neighbours):
    h, w = size
    a = grid_adjacency(h, w, neighbours=neighbours)
    edges = h * (w - 1) + w * (h - 1) + (2 * (h - 1) * (w - 1) if neighbours == 8 else 0)
    assert torch.equal(a, a.T)
    assert a.sum() == 2 * edges and a.diagonal().sum() == 0


@GRAPHS
@given(n=st.integers(1, 10), steps=st.integers(0, 4), rate=st.floats(0, 1), seed=st.integers(0, 99))
def test_smoothing_equals_the_laplacian_form(n, steps, rate, seed):
    a = random_graph(n, seed)
    x = torch.randn(2, n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    looped = a + torch.eye(n, dtype=torch.float64)
    laplacian = torch.eye(n, dtype=torch.float64) - torch.diag(1 / looped.sum(1)) @ looped
    expected = x
    for _ in range(steps):
        expected = expected - rate * laplacian @ expected
    torch.testing.assert_close(laplacian_smoothing(x, a, steps, rate), expected)


def test_smoothing_ends_in_the_mean_weighted_by_degree():
    path = torch.zeros(5, 5, dtype=torch.float64)
    path[range(4), range(1, 5)] = 1
    path = path + path.T
    x = torch.tensor([[10.0], [0], [0], [0], [0]], dtype=torch.float64)
    degree = (path.sum(1) + 1)[:, None]
    mean = (degree * x).sum() / degree.sum()
    smooth = laplacian_smoothing(x, path, steps=400)
    torch.testing.assert_close(smooth, mean.expand(5, 1))


def test_smoothing_keeps_unconnected_parts_apart():
    two = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2)).fill_diagonal_(0)
    x = torch.tensor([[3.0], [0], [0], [8], [0]])
    smooth = laplacian_smoothing(x, two, steps=1)
    torch.testing.assert_close(smooth, torch.tensor([[1.0], [1], [1], [4], [4]]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normalised_adjacency(torch.zeros(3, 4)), r"\(3, 3\), got \(3, 4\)"),
        (lambda: normalised_adjacency(torch.zeros(3)), r"\(3, 3\), got \(3,\)"),
        (
            lambda: laplacian_smoothing(torch.zeros(3, 1), torch.zeros(4, 4)),
            r"expected an adjacency \(3, 3\), got \(4, 4\)",
        ),
        (
            lambda: laplacian_smoothing(torch.zeros(3, 1), torch.zeros(3, 3), steps=-1),
            "expected steps to be a whole number of at least 0, got -1",
        ),
        (
            lambda: laplacian_smoothing(torch.zeros(3, 1), torch.zeros(3, 3), rate=2.0),
            "expected rate between 0 and 1, got 2.0",
        ),
        (lambda: grid_adjacency(0, 3), "expected h to be a whole number of at least 1, got 0"),
        (lambda: grid_adjacency(2, 3, neighbours=5), r"one of \(4, 8\), got 5"),
        (
            lambda: normalised_adjacency(torch.tensor([[0.0, -2.0], [-2.0, 0.0]])),
            "expected degrees above 0, self loop included, got -1",
        ),
    ],
)
def test_wrong_graphs_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
