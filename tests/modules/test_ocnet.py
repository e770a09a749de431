"""Object context, in its three forms."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import AsymmetricNonLocal, ObjectContext, ocnet

from .base import SMALL, ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain_pyramid import cell_attention_plain, ocnet_plain

FORMS = {
    "base": {},
    "pyramid": {"form": "pyramid", "sizes": (1, 2, 3)},
    "asp": {"form": "asp", "rates": (1, 3)},
    "base, subsampled": {"subsample": 2},
    "pyramid, subsampled": {"form": "pyramid", "sizes": (2,), "subsample": 2},
    "official pyramid": {"form": "official_pyramid", "sizes": (1, 2, 3)},
    "official asp": {"form": "official_asp", "rates": (1, 3)},
}
N = 96 * 96


class TestBase(ContextModuleTests):
    module, name = ObjectContext, "ocnet"
    rate = 0.1
    permutation_equivariant = True
    costs = ((512, 96, 920_576, N * (3 * 512 * 256 + 2 * 512**2) + 2 * N**2 * 256),)
    refused = (
        ({"form": "ASP"}, r"expected form to be one of \('base', 'pyramid', .*\), got 'ASP'"),
        ({"reduction": 3}, "expected reduction to divide channels, got reduction=3 and channels=8"),
        ({"sizes": (1, 0)}, "expected size to be a whole number of at least 1, got 0"),
        ({"rates": (0,)}, "expected rate to be a whole number of at least 1, got 0"),
        ({"subsample": 0}, "expected subsample to be a whole number of at least 1, got 0"),
        ({"out_channels": 0}, "expected out_channels to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return ocnet_plain(module, x, **self.options)


ATTENTION = 3 * 512 * 256 + 4 * 256 + 512  # parameters of one, with its norm and biases


def pyramid_costs(sizes):
    k, queries = len(sizes), sum(N**2 // size**2 for size in sizes)
    parameters = k * ATTENTION + k * 512 * 512 + 3 * k * 512 + 2 * k * 512 * 512 + 3 * 512
    return 512, 96, parameters, N * (3 * k * 512 * 256 + 3 * k * 512**2) + 2 * queries * 256


class TestPyramid(TestBase):
    options = Options(form="pyramid", sizes=(1, 2))
    permutation_equivariant = False
    pools = True  # the sides of a cell depend on the divisibility of h and w
    costs = (pyramid_costs((1, 2)),)

    def dynamic_shapes(self):
        return None  # whether cells need padding is fixed when the form is exported


class TestASP(TestBase):
    options = Options(form="asp", rates=(1, 2, 4))
    permutation_equivariant = False
    costs = (
        (
            512,
            96,
            ATTENTION + 28 * 512**2 + 8 * 512 + 2560 * 512 + 3 * 512,
            N * (3 * 512 * 256 + 28 * 512**2 + 2560 * 512) + 2 * N**2 * 256,
        ),
    )


class TestSubsampledASP(TestASP):
    options = Options(form="asp", rates=(1, 3), subsample=2, zero_init=False)
    pools = True
    costs = (
        (
            512,
            96,
            ATTENTION + 19 * 512**2 + 6 * 512 + 2048 * 512 + 3 * 512,
            N // 4 * 3 * 512 * 256 + N * (19 * 512**2 + 2048 * 512) + 2 * (N // 4) ** 2 * 256,
        ),
    )


class TestOfficialPyramid(TestBase):
    """Key c / 2, value c wide."""

    options = Options(form="official_pyramid", sizes=(1, 2))
    permutation_equivariant = False
    pools = True  # the sides of a cell depend on the divisibility of h and w
    costs = (
        (
            512,
            96,
            2 * (ATTENTION + 512 * 512 + 256) + 2 * 512 * 512 + 6 * 512 + 4 * 512 * 512 + 3 * 512,
            N * (2 * 512 * (256 + 2 * 512) + 6 * 512 * 512) + (N**2 + N**2 // 4) * (256 + 512),
        ),
    )

    def dynamic_shapes(self):
        return None


class TestOfficialASP(TestBase):
    """A 3 x 3 before the attention and a 1 x 1 after it, key e / 2, value e wide."""

    options = Options(form="official_asp", rates=(1, 3))
    permutation_equivariant = False
    pools = True
    costs = (
        (
            512,
            96,
            (9 * 512**2 + 3 * 512)
            + (512 * 256 + 3 * 256 + 2 * (512**2 + 512))
            + (512**2 + 3 * 512)
            + (19 * 512**2 + 6 * 512)
            + (2048 * 512 + 2 * 512),
            N * (9 + 1 + 19 + 4) * 512**2
            + N // 4 * 512 * (256 + 2 * 512)
            + (N // 4) ** 2 * (256 + 512),
        ),
    )

    def dynamic_shapes(self):
        return None  # maps smaller than a cell of the pooling are cases of their own


def built(channels=8, seed=0, **options):
    torch.manual_seed(seed)
    return randomise(ObjectContext(channels, **options), seed).double().eval()


def draw(*size, seed=1):
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=15)
@given(
    form=st.sampled_from(sorted(FORMS)),
    reduction=st.sampled_from([1, 2, 4]),
    out=st.sampled_from([None, 5]),
    size=SMALL,
    seed=st.integers(0, 99),
)
def test_any_options_equal_the_plain_version(form, reduction, out, size, seed):
    options = {"reduction": reduction, "out_channels": out, "seed": seed, **FORMS[form]}
    if form == "official asp" and out and out % reduction:  # it attends in maps of that width
        with pytest.raises(ValueError, match=f"reduction={reduction} and out_channels={out}"):
            built(**options)
        return
    module, x = built(**options), draw(2, 8, *size, seed=seed)
    assert module(x).shape[1] == (out or 8)
    torch.testing.assert_close(module(x), ocnet_plain(module, x, **FORMS[form]))


@pytest.mark.parametrize("form", ["base", "pyramid"])
def test_gradients_equal_those_of_the_plain_version(form):
    module, x = built(**FORMS[form]), draw(2, 8, 4, 5).requires_grad_()
    asked = (x, *module.parameters())
    fast = torch.autograd.grad(module(x).square().sum(), asked)
    slow = torch.autograd.grad(ocnet_plain(module, x, **FORMS[form]).square().sum(), asked)
    torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-8)


def test_counted_cost_at_the_reference_size():
    with torch.device("meta"):
        module, x = ObjectContext(512), torch.empty(2, 512, 96, 96)
    assert round(macs(module, x) / 2e9, 4) == 51.9423


def test_counted_cost_of_the_papers_pyramid():
    with torch.device("meta"):
        module, x = ObjectContext(512, form="pyramid"), torch.empty(2, 512, 96, 96)
    _, _, parameters, products = pyramid_costs((1, 2, 3, 6))
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert macs(module, x) == 2 * products


@pytest.mark.parametrize("form", FORMS)
def test_the_context_is_zero_at_the_start_and_the_block_is_not_the_identity(form):
    x = torch.randn(2, 8, 7, 6)
    start, other = ObjectContext(8, **FORMS[form]), ObjectContext(8, zero_init=False, **FORMS[form])
    for module, zero in ((start, True), (other, False)):
        attentions = [m for m in module.modules() if isinstance(m, ocnet.CellAttention)]
        assert attentions and all((m(x) == 0).all() == zero for m in attentions)
    assert not torch.equal(start(x), x)


def test_the_weights_of_a_query_sum_to_one():
    """So a value that is the same everywhere comes back, whatever the affinities are."""
    context, embedded = built(form="pyramid", sizes=(3,)).contexts[0], draw(2, 4, 7, 5)
    value = draw(2, 4, 1, 1).expand(-1, -1, 7, 5)
    torch.testing.assert_close(context.attend(embedded, value), value)


@pytest.mark.parametrize("query", [(0, 0), (2, 5), (6, 4)])
def test_a_pixel_asks_its_own_cell_alone(query):
    context = built(form="pyramid", sizes=(3,)).contexts[0]
    x = draw(1, 8, 7, 6).requires_grad_()
    context(x)[0, :, query[0], query[1]].sum().backward()
    seen = {tuple(place) for place in x.grad.abs().sum((0, 1)).nonzero().tolist()}
    rows, columns = 3, 2  # 7 x 6 in 3 x 3 cells: the last row of cells is one pixel high
    assert seen == {
        (r, c)
        for r in range(7)
        for c in range(6)
        if (r // rows, c // columns) == (query[0] // rows, query[1] // columns)
    }


def test_cells_of_one_pixel_answer_with_their_own_value():
    context, x = built(form="pyramid", sizes=(9,)).contexts[0], draw(2, 8, 5, 4)
    torch.testing.assert_close(context(x), context.out(context.value(x)))


def test_one_cell_is_full_attention():
    pyramid, base = built(form="pyramid", sizes=(1,)).contexts[0], built().contexts[0]
    base.load_state_dict(pyramid.state_dict())
    x = draw(2, 8, 5, 4)
    assert torch.equal(pyramid(x), base(x))


def attention(q, k, v, attn_mask=None, scale=1.0, *, axis=-1, wrong=1.0, masked=True):
    logits = q @ k.mT * scale * wrong
    if masked and attn_mask is not None:
        logits = logits + attn_mask
    return torch.softmax(logits, axis) @ v


MISTAKES = {
    "no mistake": {},
    "no scale": {"wrong": 4**0.5},
    "soft-max over the queries": {"axis": -2},
    "the padding answers too": {"masked": False},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    module, x = built(form="pyramid", sizes=(1, 2)), draw(2, 8, 5, 6)
    expected = ocnet_plain(module, x, form="pyramid", sizes=(1, 2))

    def replacement(*args, **options):
        return attention(*args, **options, **MISTAKES[mistake])

    monkeypatch.setattr(F, "scaled_dot_product_attention", replacement)
    assert torch.allclose(module(x), expected) == (mistake == "no mistake")


def test_query_and_key_are_one_embedding():
    """The affinities are symmetric: exchanging asking and answering changes nothing."""
    context, x = built().contexts[0], draw(1, 8, 3, 4)
    theta = context.embed(x).flatten(2)[0]
    asked = cell_attention_plain(context, x)
    logits = theta.T @ theta / theta.shape[0] ** 0.5
    assert torch.equal(logits, logits.T)
    y = context.out((context.value(x).flatten(2)[0] @ logits.softmax(0)).reshape(1, 4, 3, 4))
    torch.testing.assert_close(asked, y)


@pytest.mark.parametrize("form", ocnet.FORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_with_empty_cells(form, dtype):
    module = ObjectContext(8, form=form, zero_init=False).to(dtype).eval()
    x = (30 * torch.randn(2, 8, 4, 7)).to(dtype).requires_grad_()  # 6 x 6 cells do not fill
    y = module(x)
    y.float().sum().backward()
    assert torch.isfinite(y).all() and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("form", ocnet.FORMS)
def test_memory_is_linear_in_the_pixels(form, backward):
    module = ObjectContext(8, form=form, rates=(1,)).eval().requires_grad_(backward)

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward() if backward else module(x))

    large = peak(64)
    assert large < 4096**2 * 4 / 4  # a fraction of one affinity matrix
    assert large < 5 * peak(32)  # 4 is linear, 16 would be quadratic


def test_dropout_only_in_training():
    module, x = ObjectContext(8, dropout=0.5), torch.rand(4, 8, 4, 4)
    dropped = (module(x) == 0).all((2, 3)).float().mean()
    assert 0.2 < dropped < 0.8
    assert torch.equal(module.eval()(x), module(x))


def test_the_last_official_cell_has_the_rest_and_empty_ones_are_left_out():
    for length, parts, ends in ((7, 3, [2, 4, 7]), (6, 3, [2, 4, 6]), (8, 6, [1, 2, 3, 4, 5, 8])):
        assert [span.stop for span in ocnet.spans(length, parts)] == ends
    assert ocnet.spans(2, 6) == [slice(0, 2)]
    module, x = built(form="official_pyramid", sizes=(3,)).contexts[0], draw(1, 8, 7, 8)
    x.requires_grad_()
    module(x)[0, :, 5, 3].sum().backward()
    seen = x.grad.abs().sum((0, 1)).nonzero().tolist()
    assert seen == [[r, c] for r in (4, 5, 6) for c in (2, 3)]


def test_one_official_cell_is_full_attention_and_its_widths_are_the_codes():
    module = ObjectContext(64, form="official_pyramid")
    assert {(a.embed[0].out_channels, a.value.out_channels) for a in module.contexts} == {(32, 64)}
    _, attention, after = ObjectContext(64, out_channels=16, form="official_asp").contexts[0]
    assert (attention.embed[0].out_channels, attention.value.out_channels) == (8, 16)
    assert attention.subsample == 2 and after[0].bias is not None
    x = draw(2, 8, 5, 4)
    plain = built(form="pyramid", sizes=(1,), reduction=1)
    official = built(form="official_pyramid", sizes=(1,), reduction=1)
    torch.testing.assert_close(official(x), plain(x))


def test_official_subsampling_leaves_out_what_fills_no_cell_and_aligns_the_corners():
    module = built(form="official_asp", rates=(1,)).contexts[0][1]
    x = draw(1, 8, 5, 7)
    far, corners = x.clone(), ([[0], [-1]], [[0, -1]])
    far[:, :, 4:], far[..., 6:] = 100, 100
    y = module(x)
    assert torch.equal(module(far), y)
    torch.testing.assert_close(y[0][:, *corners], module(x[:, :, :4, :6])[0][:, *corners])


@pytest.mark.parametrize("module", [AsymmetricNonLocal(8), ObjectContext(8)])
def test_an_embedding_that_runs_twice_a_step_has_the_statistics_of_momentum_019(module):
    """As in the codes of both methods, which evaluate it for the query and for the key."""
    once = module.phi if isinstance(module, AsymmetricNonLocal) else module.contexts[0].embed
    twice, x = copy.deepcopy(once), torch.randn(3, 8, 4, 5)
    for _ in range(2):
        twice(x)
    once[1].momentum = 0.19
    module(x)
    torch.testing.assert_close(once[1].running_mean, twice[1].running_mean)
    torch.testing.assert_close(once[1].running_var, twice[1].running_var)


def test_forms_are_listed():
    assert {options.get("form", "base") for options in FORMS.values()} == set(ocnet.FORMS)
