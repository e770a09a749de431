"""Graph guided context fusion, against the dense masked soft-max that it never writes down."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from contextlab.modules import GraphGuided, graph_guided
from contextlab.modules.graph_guided import (
    SIX,
    edges,
    edges_of_union,
    guided_attention,
    parse_heads,
    support,
)

from .base import ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain import conv1x1

GIVEN = ("FULL", "LOCAL_1", "LOCAL_2", "LOCAL_9", "GRID_1", "GRID_2", "GRID_3", "GRID_8")


def joined(head: str, h: int, w: int) -> Tensor:
    """E(i, j) of all pairs, as the equations have it."""
    y, x = torch.arange(h * w) // w, torch.arange(h * w) % w
    dy, dx = y[:, None] - y, x[:, None] - x
    kind, _, size = head.partition("_")
    if kind == "LOCAL":
        return torch.maximum(dy.abs(), dx.abs()) <= int(size)
    if kind == "GRID":
        return (dy % int(size) == 0) & (dx % int(size) == 0)
    return torch.ones(h * w, h * w, dtype=torch.bool)


def log_e(module, head: int, h: int, w: int) -> Tensor:
    """log E of all pairs, the learned graph's two layers asked for each of them."""
    found = torch.zeros(h * w, h * w, dtype=torch.float64)
    for i in range(h * w):
        for j in range(h * w):
            dy, dx = i // w - j // w, i % w - j % w
            if module.graph == "table":
                rows, columns = module.table.shape[1:]
                found[i, j] = module.table[head, dy + rows // 2, dx + columns // 2]
            elif module.graph == "learned":
                first, _, last = module.guide
                v = torch.tensor([dx, dy, math.hypot(dx, dy)], dtype=torch.float64) / max(h, w)
                z = last.weight[head] @ torch.relu(first.weight @ v + first.bias)
                found[i, j] = torch.log(torch.log1p((z + last.bias[head]).exp()))
    return found


def oracle(module, x: Tensor, options: dict, *, names=None, normalise=True) -> Tensor:
    """Equation 3, with every affinity of every pair."""
    h, w = x.shape[2:]
    scale = module.g.weight.shape[0] ** -0.5 if options.get("scale") else 1.0
    value, y = conv1x1(module.g, x).flatten(2), torch.zeros_like(x)
    for k, head in enumerate(names or options.get("heads", SIX)):
        query, key = (conv1x1(t[k], x).flatten(2) for t in (module.theta, module.phi))
        logits = scale * torch.einsum("bdi, bdj -> bij", query, key) + log_e(module, k, h, w)
        a = (logits - logits.amax(-1, keepdim=True)).exp() * joined(head, h, w)
        a = a / a.sum(-1, keepdim=True) if normalise else a
        mean = torch.einsum("bij, bdj -> bdi", a, value).unflatten(2, (h, w))
        y = y + conv1x1(module.out[k], mean)
    if options.get("fuse") == "add":
        return x + y
    return conv1x1(module.fuse, torch.cat([x, y], 1))


def block_products(head: str, h: int, w: int) -> int:
    """The affinities that one head computes, those of a block's halo that are masked included."""
    kind, _, size = head.partition("_")
    if kind != "LOCAL" or int(size) >= max(h, w) - 1:
        return edges(head, h, w)
    return math.prod(
        sum(
            (min(a + graph_guided.BLOCK, n) - a)
            * (min(a + graph_guided.BLOCK + int(size), n) - max(0, a - int(size)))
            for a in range(0, n, graph_guided.BLOCK)
        )
        for n in (h, w)
    )


def costs(channels, d, side, heads, fuse=True):
    """Channels, side, parameters and MACs, d being the inner width."""
    k, c = len(heads), channels
    parameters = c * d * (3 * k + 1) + 2 * k * d + d + c + fuse * (2 * c * c + c)
    products = side**2 * (c * d * (3 * k + 1) + fuse * 2 * c * c)
    products += 2 * d * sum(block_products(head, side, side) for head in heads)
    return (channels, side, parameters, products)


class GraphGuidedTests(ContextModuleTests):
    module, name, channels = GraphGuided, "graph_guided", 8
    identity_at_start = True
    refused = (
        ({"heads": ["LOCAL"]}, "a sequence of FULL, LOCAL_S or GRID_T with S and T .*got 'LOCAL'"),
        ({"heads": ["FULL", "GRID_0"]}, "FULL, LOCAL_S or GRID_T .*got 'GRID_0'"),
        ({"heads": ["LOCAL_-1"]}, "FULL, LOCAL_S or GRID_T .*got 'LOCAL_-1'"),
        ({"heads": ["LOCAL_1.5"]}, "FULL, LOCAL_S or GRID_T .*got 'LOCAL_1.5'"),
        ({"heads": ["GLOBAL_2"]}, "FULL, LOCAL_S or GRID_T .*got 'GLOBAL_2'"),
        ({"heads": ["FULL_2"]}, "FULL, LOCAL_S or GRID_T .*got 'FULL_2'"),
        ({"heads": ()}, r"a sequence of FULL, LOCAL_S or GRID_T .*got \(\)"),
        ({"heads": "FULL"}, "a sequence of FULL, LOCAL_S or GRID_T .*got 'FULL'"),
        ({"heads": [2]}, "FULL, LOCAL_S or GRID_T .*got 2"),
        ({"heads": 6}, "FULL, LOCAL_S or GRID_T .*got 6"),
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"fuse": "sum"}, r"expected fuse to be one of \('concatenate', 'add'\), got 'sum'"),
        ({"graph": "free"}, r"expected graph to be one of \('given', .*got 'free'"),
        ({"heads": ["GRID_2"], "graph": "learned"}, "all FULL for graph='learned', got .*GRID_2"),
        ({"heads": ["FULL"], "graph": "given", "table": (3, 3)}, r"table=\(h, w\), the largest"),
        ({"hidden": 0}, "expected hidden to be a whole number of at least 1, got 0"),
        ({"keep": 0}, "None, a whole number of at least 1 or a share between 0 and 1, got 0"),
        ({"keep": -2}, "a whole number of at least 1 or a share between 0 and 1, got -2"),
        ({"keep": 1.0}, "a share between 0 and 1, got 1.0"),
        ({"keep": 0.0}, "a share between 0 and 1, got 0.0"),
        ({"keep": True}, "a share between 0 and 1, got True"),
        ({"keep": "all"}, "a share between 0 and 1, got 'all'"),
        ({"prune": "best"}, r"expected prune to be one of \('top', .*got 'best'"),
        (
            {"heads": ["FULL"], "graph": "learned", "table": None, "keep": 3},
            "expected graph='given' with keep=3, got 'learned'",
        ),
    )

    @property
    def dead(self):
        # a bias of phi adds the same to all logits of a query, which a soft-max does not see
        heads = self.options.get("heads", SIX)
        return frozenset(f"phi.{k}.bias" for k in range(len(heads)))

    def dynamic_shapes(self):
        return None

    def oracle(self, module, x):
        return oracle(module, x, self.options)


class TestGraphGuided(GraphGuidedTests):
    options = Options(heads=["LOCAL_1", "GRID_2"])
    costs = (costs(8, 4, 40, ["LOCAL_1", "GRID_2"]), costs(64, 32, 16, ["LOCAL_1", "GRID_2"]))


class TestSomeHeads(GraphGuidedTests):
    options = Options(heads=["GRID_2", "FULL", "GRID_2"], scale=True)
    costs = (costs(64, 32, 21, ["GRID_2", "FULL", "GRID_2"]),)


class TestAddedWithoutZeroStart(GraphGuidedTests):
    options = Options(heads=["LOCAL_2"], fuse="add", reduction=1, zero_init=False)
    identity_at_start = False
    rate = 0.1  # long steps saturate a soft-max
    costs = (costs(8, 8, 33, ["LOCAL_2"], fuse=False),)


class TestLearnedGraph(GraphGuidedTests):
    options = Options(heads=["FULL", "FULL"], graph="learned", hidden=5)
    rate = 1.0  # long steps saturate the two layers
    refused = (({"heads": ["FULL", "GRID_2"]}, "all FULL for graph='learned', got .*'GRID_2'"),)

    @property
    def costs(self):
        c, side, parameters, products = costs(8, 4, 7, ["FULL", "FULL"])
        layers = 3 * 5 + 5 * 2
        return ((c, side, parameters + layers + 5 + 2, products + 13**2 * layers),)


class TestTable(GraphGuidedTests):
    options = Options(heads=["FULL"], graph="table", table=(65, 65))
    refused = (
        ({"table": None}, r"table=\(h, w\).*got graph='table' and table=None"),
        ({"table": (0, 3)}, "expected rows to be a whole number of at least 1, got 0"),
    )

    @property
    def costs(self):
        c, side, parameters, products = costs(8, 4, 7, ["FULL"])
        return ((c, side, parameters + 129**2, products),)


def built(seed=0, channels=8, **options):
    torch.manual_seed(seed)
    return randomise(GraphGuided(channels, **options), seed).double().eval()


def some(h=7, w=5, batch=2, channels=8, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, h, w, generator=draw, dtype=torch.float64)


SIDES = st.integers(1, 23)
HEADS = st.one_of(
    st.just("FULL"),
    st.builds("LOCAL_{}".format, st.integers(1, 24)),
    st.builds("GRID_{}".format, st.integers(1, 24)),
)


@settings(deadline=None, max_examples=60)
@given(
    h=SIDES,
    w=SIDES,
    heads=st.lists(HEADS, min_size=1, max_size=4),
    scale=st.booleans(),
    fuse=st.sampled_from(["concatenate", "add"]),
    seed=st.integers(0, 99),
)
def test_any_heads_and_their_gradients_equal_the_dense_soft_max(h, w, heads, scale, fuse, seed):
    options = {"heads": heads, "scale": scale, "fuse": fuse}
    module, x = built(seed, **options), some(h, w, seed=seed).requires_grad_()
    ours, dense = module(x), dense_answer(module, x, heads)
    torch.testing.assert_close(ours, dense, rtol=1e-9, atol=1e-9)
    asked = (x, *module.parameters())
    fast, slow = (torch.autograd.grad(y.square().sum(), asked) for y in (ours, dense))
    torch.testing.assert_close(fast, slow, rtol=1e-7, atol=1e-7)


def dense_answer(module, x: Tensor, heads) -> Tensor:
    """As `oracle`, with the layers of the module in place of loops."""
    h, w = x.shape[2:]
    value, y = module.g(x).flatten(2), 0
    for k, head in enumerate(heads):
        logits = module.scale * module.theta[k](x).flatten(2).mT @ module.phi[k](x).flatten(2)
        a = logits.masked_fill(~joined(head, h, w), float("-inf")).softmax(-1)
        y = y + module.out[k]((value @ a.mT).unflatten(2, (h, w)))
    return x + y if module.fuse is None else module.fuse(torch.cat([x, y], 1))


@pytest.mark.parametrize("size", [(40, 37), (1, 50), (33, 1), (1, 1), (16, 48)])
@pytest.mark.parametrize("head", ["LOCAL_3", "LOCAL_20", "GRID_7", "GRID_40"])
def test_maps_of_several_blocks(head, size):
    module, x = built(heads=[head]), some(*size, batch=1)
    torch.testing.assert_close(module(x), dense_answer(module, x, [head]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("head", ["FULL", "LOCAL_5", "GRID_3"])
def test_every_precision_of_a_head_and_of_its_slopes(head, dtype):
    (graph,) = parse_heads([head])
    rows = [t.movedim(1, 3) for t in some(20, 19, batch=6).split(2)]
    slope = some(20, 19, seed=5).movedim(1, 3)

    def answer(dtype):
        maps = [t.to(dtype).requires_grad_() for t in rows]
        y = guided_attention(*maps, graph, 0.5)
        return (y, *torch.autograd.grad(y, maps, slope.to(dtype)))

    allowed = 1e-5 if dtype == torch.float32 else 0.03
    for found, exact in zip(answer(dtype), answer(torch.float64)):
        assert found.dtype == dtype
        assert (found - exact).abs().max() < allowed * exact.abs().max()


def test_the_six_heads_of_the_paper_are_the_default():
    torch.manual_seed(0)
    module, x = GraphGuided(8, zero_init=False).double(), some(30, 27, batch=1)
    torch.testing.assert_close(module(x), dense_answer(module, x, SIX))


def test_heads_that_are_one_graph_under_two_names():
    x = some(9, 6)
    full, fold, window, nearly = (
        built(heads=[name])(x) for name in ("FULL", "GRID_1", "LOCAL_8", "LOCAL_7")
    )
    torch.testing.assert_close(fold, full)
    torch.testing.assert_close(window, full)
    assert not torch.allclose(nearly, full)


def test_a_single_residue_or_nobody_else():
    """A lattice wider than the map leaves every pixel alone with itself."""
    module, x = built(heads=["GRID_9"], fuse="add"), some()
    torch.testing.assert_close(module(x), x + module.out[0](module.g(x)))


@pytest.mark.parametrize(
    "mistake", [{"names": ["LOCAL_3", "GRID_3"]}, {"names": ["LOCAL_2", "GRID_2"]},
                {"normalise": False}]
)  # fmt: skip
def test_a_mistake_is_told_apart(mistake):
    options = {"heads": ["LOCAL_2", "GRID_3"]}
    module, x = built(**options), some()
    torch.testing.assert_close(module(x), oracle(module, x, options))
    assert not torch.allclose(module(x), oracle(module, x, options, **mistake))


def test_one_common_shift_leaves_the_graph_alone_and_two_would_not():
    """E(i + s, j + s) = E(i, j); with a shift for each, only FULL would be left."""
    for head in ("LOCAL_2", "GRID_3", "FULL"):
        e = joined(head, 7, 8).view(7, 8, 7, 8)
        assert torch.equal(e[2:, 1:, 2:, 1:], e[:-2, :-1, :-2, :-1])
        assert torch.equal(e[2:, 1:], e[:-2, :-1]) == (head == "FULL")


def test_a_shifted_map_is_answered_by_the_shifted_answer():
    """Inside of the map, where its border is out of reach."""
    module, x = built(heads=["LOCAL_2"]), some(12, 12)
    shifted = module(x.roll((3, 2), (2, 3)))
    torch.testing.assert_close(shifted[..., 5:10, 4:10], module(x)[..., 2:7, 2:8])
    module = built(heads=["GRID_3"])
    torch.testing.assert_close(module(x.roll((3, 1), (2, 3))), module(x).roll((3, 1), (2, 3)))


def test_transposed_map_gives_the_transposed_answer():
    module, x = built(heads=["LOCAL_2", "GRID_3"]), some()
    torch.testing.assert_close(module(x.mT), module(x).mT)


@settings(deadline=None, max_examples=60)
@given(h=st.integers(1, 13), w=st.integers(1, 13), heads=st.lists(HEADS, min_size=1, max_size=3))
def test_edges_and_supports_equal_those_counted_one_by_one(h, w, heads):
    every = [joined(head, h, w) for head in heads]
    assert [edges(head, h, w) for head in heads] == [int(e.sum()) for e in every]
    assert edges_of_union(heads, h, w) == int(torch.stack(every).any(0).sum())
    row, column = h // 2, w - 1
    for head, e in zip(heads, every):
        found = support(head, h, w, (row, column))
        assert torch.equal(found, e[row * w + column].view(h, w))


def test_edges_of_the_published_map():
    h, w = 128, 256
    found = {head: edges(head, h, w) for head in SIX}
    assert found["LOCAL_8"] == 9_005_120
    means = {head: round(n / (h * w), 3) for head, n in found.items()}
    assert means == {
        "LOCAL_8": 274.814, "LOCAL_16": 986.07, "LOCAL_24": 2067.455,
        "GRID_8": 512, "GRID_16": 128, "GRID_24": 57.445,
    }  # fmt: skip
    assert round(sum(found.values()) / (h * w), 2) == 4025.79
    assert edges("FULL", h, w) == 32768**2
    assert edges_of_union(SIX, h, w) == 83_166_784
    assert round(edges_of_union(SIX, h, w) / (h * w), 2) == 2538.05
    assert all(isinstance(n, int) for n in found.values())


def test_what_is_no_map_or_lies_outside_is_refused():
    with pytest.raises(ValueError, match="expected h to be a whole number of at least 1, got 0"):
        edges("FULL", 0, 4)
    with pytest.raises(ValueError, match="expected query inside 2 x 4, got row 2, column 0"):
        support("FULL", 2, 4, (2, 0))
    with pytest.raises(ValueError, match="expected query inside 7 x 5, got row 0, column 5"):
        built().affinity(some(), (0, 5))


class TestPruning:
    HEADS = ("FULL", "LOCAL_2", "GRID_2")

    def weights(self, module, x):
        """``b k i j``: who asks whom."""
        h, w = x.shape[2:]
        return torch.stack(
            [module.affinity(x, (i // w, i % w)).flatten(2) for i in range(h * w)], 2
        )

    def by_hand(self, module, x, count, largest=True):
        """``b k i j``, each pixel's list sorted by Python."""
        h, w = x.shape[2:]
        found = torch.zeros(len(x), len(self.HEADS), h * w, h * w, dtype=x.dtype)
        for b in range(len(x)):
            for k, head in enumerate(self.HEADS):
                q, key = (t[k](x)[b].flatten(1) for t in (module.theta, module.phi))
                for i, e in enumerate(joined(head, h, w)):
                    d = (q[:, i] @ key).tolist()
                    inside = [j for j in range(h * w) if e[j]]
                    inside.sort(key=lambda j: -d[j] if largest else d[j])
                    kept = inside[: count(len(inside))]
                    found[b, k, i, kept] = torch.tensor([d[j] for j in kept]).double().softmax(0)
        return found

    def answer(self, module, x, weights):
        value = module.g(x).flatten(2)
        y = sum(
            layer(torch.einsum("bij, bdj -> bdi", weights[:, k], value).view_as(module.g(x)))
            for k, layer in enumerate(module.out)
        )
        return module.fuse(torch.cat([x, y], 1))

    @pytest.mark.parametrize("keep", [1, 4, 0.1, 0.5, 0.9])
    @pytest.mark.parametrize("prune", ["top", "lowest"])
    def test_equals_the_lists_sorted_by_hand(self, keep, prune):
        module, x = built(heads=self.HEADS, keep=keep, prune=prune), some(6, 5)

        def count(n):
            return min(n, keep) if isinstance(keep, int) else -(-n * round(10 * keep) // 10)

        expected = self.by_hand(module, x, count, largest=prune == "top")
        torch.testing.assert_close(self.weights(module, x), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(module(x), self.answer(module, x, self.weights(module, x)))

    @pytest.mark.parametrize("prune", ["top", "random", "lowest"])
    def test_as_many_as_there_are_is_no_pruning(self, prune):
        module, x = built(heads=self.HEADS, prune=prune), some(20, 17)
        every = module(x)
        for module.keep in (20 * 17, 10**9, 1 - 1e-12):
            torch.testing.assert_close(module(x), every)
        module.keep = 24  # all of a window but one
        assert not torch.allclose(module(x), every)

    def test_one_is_the_largest(self):
        module, x = built(heads=self.HEADS, keep=1), some()
        for query in ((0, 0), (3, 2)):
            weights = module.affinity(x, query).flatten(2)
            module.keep = None
            whole = module.affinity(x, query).flatten(2)
            module.keep = 1
            assert torch.equal(weights.argmax(-1), whole.argmax(-1))
            assert (weights.sum(-1) == 1).all() and ((weights > 0).sum(-1) == 1).all()

    @pytest.mark.parametrize("keep", [3, 0.4])
    def test_random_ones_are_drawn_by_the_positions(self, keep):
        module, x = built(heads=[*self.HEADS, "FULL"], keep=keep, prune="random"), some(6, 5)
        weights = self.weights(module, x)
        torch.testing.assert_close(module(x), self.answer(module, x, weights))
        torch.testing.assert_close(self.weights(module, x + some(6, 5, seed=9)) > 0, weights > 0)
        kept, supports = weights > 0, [joined(head, 6, 5) for head in self.HEADS]
        for k, e in enumerate(supports):
            assert not (kept[:, k] & ~e).any()
            n = e.sum(-1)
            n = n.clamp(max=keep) if keep == 3 else torch.ceil(n * 0.4 - 1e-6)
            assert (kept[:, k].sum(-1) == n).all()
        assert not torch.equal(kept[:, 0], kept[:, 3])  # two heads draw apart
        often = kept[0, 0].double().mean(0)
        assert (often > 0).double().mean() > 0.8 and often.max() < 1  # spread over the map

    @pytest.mark.parametrize("prune", ["top", "random", "lowest"])
    def test_gradients_go_to_what_is_kept(self, prune):
        module = built(heads=["LOCAL_2", "GRID_2"], keep=3, prune=prune)
        x = some(4, 5, 1).requires_grad_()
        assert torch.autograd.gradcheck(module, x, fast_mode=True)

    def test_compiles_in_one_graph(self):
        torch._dynamo.reset()
        module, x = built(heads=["LOCAL_2", "GRID_2"], keep=3), some()
        torch.testing.assert_close(torch.compile(module, fullgraph=True, backend="eager")(x),
                                   module(x))  # fmt: skip

    def test_is_for_inference_alone(self):
        module = built(heads=["FULL"], keep=3).train()
        with pytest.raises(ValueError, match="expected keep=None in training, got 3"):
            module(some())
        module.eval().keep = 1.5
        with pytest.raises(ValueError, match=r"a share between 0 and 1, got 1\.5"):
            module(some())

    @pytest.mark.parametrize("head", ["FULL", "LOCAL_8", "GRID_3"])
    def test_memory_is_linear_in_the_pixels(self, monkeypatch, head):
        monkeypatch.setattr(graph_guided, "AT_ONCE", 2**16)
        module = GraphGuided(8, heads=[head], keep=5).eval().requires_grad_(False)

        def peak(side):
            x = torch.randn(1, 8, side, side)
            return peak_bytes(lambda: module(x))

        large = peak(64)
        assert large < 64**4 * 4 / 4  # a part of the affinities of all pairs
        assert large < 5.5 * peak(32)  # 4 is linear, 16 quadratic


class TestGraphs:
    @pytest.mark.parametrize("graph", ["learned", "table"])
    @pytest.mark.parametrize("size", [(3, 5), (1, 4), (4, 1), (1, 1)])
    def test_gradients_equal_those_of_the_double_sum(self, graph, size):
        options = {"heads": ["FULL", "FULL"], "graph": graph, "hidden": 4}
        options["table"] = (4, 6) if graph == "table" else None
        module, x = built(**options), some(*size).requires_grad_()
        asked = (x, *module.parameters())
        answers = module(x), oracle(module, x, options)
        torch.testing.assert_close(*answers)
        fast, slow = (
            torch.autograd.grad(y.square().sum(), asked, materialize_grads=True) for y in answers
        )
        torch.testing.assert_close(fast, slow, rtol=1e-7, atol=1e-7)

    def test_many_queries_at_a_time_add_to_one_table(self, monkeypatch):
        monkeypatch.setattr(graph_guided, "AT_ONCE", 100)
        self.test_gradients_equal_those_of_the_double_sum("table", (3, 5))

    def test_a_flat_table_is_the_full_head(self):
        x, torch_seed = torch.randn(2, 8, 5, 6), 3
        torch.manual_seed(torch_seed)
        table = GraphGuided(8, heads=["FULL"], graph="table", table=(5, 6), zero_init=False)
        full = GraphGuided(8, heads=["FULL"], zero_init=False)
        full.load_state_dict(table.state_dict(), strict=False)
        torch.testing.assert_close(table(x), full(x))

    def test_a_network_far_below_zero_stays_finite(self):
        module = built(heads=["FULL"], graph="learned")
        with torch.no_grad():
            module.guide[2].bias.fill_(-1e4)
        x = some().requires_grad_()
        grads = torch.autograd.grad(module(x).sum(), (x, *module.guide.parameters()))
        assert all(torch.isfinite(g).all() for g in grads)

    def test_a_map_larger_than_the_table_is_refused(self):
        module = built(heads=["FULL"], graph="table", table=(4, 9))
        with pytest.raises(ValueError, match=r"a map of at most 4 x 9, .*, got 5 x 5"):
            module(some(5, 5))

    def test_affinity_holds_the_graph(self):
        module, x = built(heads=["FULL"], graph="learned", fuse="add"), some(4, 5)
        weights = module.affinity(x, (1, 3))
        mean = torch.einsum("bkyx, bdyx -> bd", weights, module.g(x))
        pixel = x[:, :, 1, 3] + module.out[0](mean[..., None, None])[..., 0, 0]
        torch.testing.assert_close(module(x)[:, :, 1, 3], pixel)


@pytest.mark.parametrize("size", [(7, 5), (1, 6), (20, 1), (1, 1), (19, 33)])
def test_affinity_gives_the_weights_of_one_query(size):
    heads = ["FULL", "LOCAL_2", "GRID_3", "GRID_3"]
    module, x = built(heads=heads, fuse="add", scale=True), some(*size)
    row, column = size[0] // 2, size[1] // 3
    weights = module.affinity(x, (row, column))
    assert weights.shape == (2, 4, *size)
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(2, 4, dtype=torch.float64))
    for k, head in enumerate(heads):
        e = support(head, *size, (row, column))
        assert (weights[:, k, ~e] == 0).all() and (weights[:, k, e] > 0).all()
    means = torch.einsum("bkyx, bdyx -> kbd", weights, module.g(x))
    y = sum(layer(mean[..., None, None]) for layer, mean in zip(module.out, means))
    torch.testing.assert_close(module(x)[:, :, row, column], x[:, :, row, column] + y[..., 0, 0])


@pytest.mark.parametrize("fuse", ["concatenate", "add"])
def test_the_zero_start_is_left_at_the_first_step(fuse):
    module, x = GraphGuided(8, heads=["LOCAL_1", "GRID_2"], fuse=fuse), torch.randn(2, 8, 5, 6)
    assert torch.equal(module(x), x)
    module(x).square().sum().backward()
    assert all(layer.weight.grad.any() for layer in module.out)


def test_the_same_sums_with_the_keys_of_another_package_of_queries(monkeypatch):
    """However many affinities are written down at once, the slopes are the same."""
    module, x = built(heads=["GRID_2", "LOCAL_3", "GRID_5"]), some(11, 9).requires_grad_()
    slopes = torch.autograd.grad(module(x).square().sum(), x)
    for at_once, block in ((1, 1), (50, 4), (2000, 7)):
        monkeypatch.setattr(graph_guided, "AT_ONCE", at_once)
        monkeypatch.setattr(graph_guided, "BLOCK", block)
        torch.testing.assert_close(torch.autograd.grad(module(x).square().sum(), x), slopes)


def test_training_compiles_in_one_graph():
    """With the backward pass, and with views of views made functional."""
    torch._dynamo.reset()
    module, x = built(heads=["GRID_3"]).train(), some(5, 7).requires_grad_()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    asked = (x, *module.parameters())
    found, expected = (
        torch.autograd.grad(m(x).square().sum(), asked, materialize_grads=True)
        for m in (compiled, module)
    )
    torch.testing.assert_close(found, expected)


def test_counted_cost_of_the_published_map():
    """256 channels throughout: 6 heads, 4025.79 pixels each, and what halos add to it."""
    with torch.device("meta"):
        module = GraphGuided(256, reduction=1, fuse="add").eval()
        full = GraphGuided(256, heads=["FULL"], reduction=1, fuse="add").eval()
        x = torch.empty(1, 256, 128, 256)
    n = 128 * 256
    assert macs(full, x) == n * 4 * 256**2 + 2 * n * n * 256
    inner = sum(block_products(head, 128, 256) for head in SIX)
    assert macs(module, x) == n * 19 * 256**2 + 2 * inner * 256
    assert 1 < inner / sum(edges(head, 128, 256) for head in SIX) < 2


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("head", ["FULL", "LOCAL_8", "GRID_2", "GRID_7"])
def test_memory_is_linear_in_the_pixels(monkeypatch, head, backward):
    monkeypatch.setattr(graph_guided, "AT_ONCE", 2**16)
    module = GraphGuided(8, heads=[head]).requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    # smaller maps fit into one piece and say nothing of how pieces add up
    large = peak(112)
    assert large < 112**4 * 4 / 4  # a part of the affinities of all pairs
    assert large < 5.5 * peak(56)  # 4 is linear, 16 quadratic


def test_halos_are_not_kept_for_the_backward_pass():
    """What stays from a forward pass to the next: query, key, value, and what the sum keeps."""
    heads = ["LOCAL_8", "LOCAL_16", "LOCAL_24", "GRID_8", "GRID_16", "GRID_24"]
    module, x = GraphGuided(32, heads=heads, reduction=1), torch.randn(1, 32, 48, 48)
    kept = {}

    def keep(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        module(x)
    maps = sum(kept.values()) / (x.nbytes * len(heads))
    assert maps < 3.9  # q, k and y of all heads; x, its channels last, g and [x, y]: 5 sixths
