"""Whom a pixel asks: numbers of the weights, and the affinity that each form implies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from einops import einsum, rearrange
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import context, probes
from contextlab.modules.asymmetric_non_local import pyramid_pool
from contextlab.networks.segmentation import network


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    options = {"heads": 2}
    return network(
        13, context="non_local", context_options=options, width=64, kernel=1, auxiliary=False
    )


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 20))
def test_n_equal_weights_ask_n_pixels(n):
    weights = torch.zeros(4, 5)
    weights.view(-1)[:n] = 3.0
    numbers = probes.asked(weights)
    assert numbers["pixels"] == pytest.approx(n) and numbers["top"] == pytest.approx(1 / n)
    assert numbers["peak"] == (0, 0)


def test_the_share_on_the_cue():
    weights = torch.zeros(2, 4)
    weights[0, 1], weights[1, 3] = 0.75, 0.25
    cue = torch.zeros(4, 8, dtype=torch.bool)
    cue[0:2, 2:4] = True
    numbers = probes.asked(weights, cue)
    assert numbers["on_cue"] == 0.75 and numbers["cue_area"] == 1 / 8
    with pytest.raises(ValueError, match="multiple of"):
        probes.asked(weights, torch.zeros(5, 8))


def test_the_asker_gives_the_modules_affinity(model, streets):
    image, _ = streets[0]
    model.train()
    ask = probes.Asker(model, image)
    assert model.training, "the mode is left as it was"
    model.eval()
    assert ask.shape == (16, 32)
    expected = model.slot.affinity(model.features(image[None]), query=(9, 20))[0]
    torch.testing.assert_close(ask(9, 20), expected)
    assert ask(0, 0).sum((1, 2)) == pytest.approx([1, 1])


def test_a_network_without_affinities_is_refused(streets):
    with pytest.raises(ValueError, match="affinity method, got Identity"):
        probes.Asker(network(13, width=64, kernel=1, auxiliary=False), streets[0][0])


FORMS = {
    "non_local": {},
    "double_attention": {},
    "criss_cross": {},
    "asymmetric_non_local": {},
    "em_attention": {"bases": 6},
    "ocr": {"regions": 5},
}


@pytest.fixture(params=FORMS)
def module(request):
    return context(request.param, 16, **FORMS[request.param]).eval()


def test_the_weights_are_shares_of_one(module):
    x = torch.randn(1, 16, 6, 9)
    for hops in (1, 2):
        weights = probes.implied_affinity(module, x, (4, 2), hops=hops)
        assert weights.shape == (6, 9) and weights.min() >= 0
        assert abs(float(weights.sum()) - 1) < 1e-4


def test_one_hop_is_the_cross_and_two_are_the_map():
    block = context("criss_cross", 16).eval()
    x = torch.randn(1, 16, 6, 9)
    assert (probes.implied_affinity(block, x, (4, 2)) > 0).sum() == 6 + 9 - 1
    assert (probes.implied_affinity(block, x, (4, 2), hops=2) > 0).all()


def test_two_hops_are_the_product_of_the_dense_affinities():
    block = context("criss_cross", 16).eval()
    torch.nn.init.constant_(block.gamma, 0.7)
    x = torch.randn(1, 16, 4, 5)
    with torch.no_grad():
        later = block.gamma * block.hop(x) + x

    def dense(features):
        places = np.ndindex(4, 5)
        return torch.stack([block.affinity(features, p).flatten() for p in places])

    want = (dense(later) @ dense(x))[2 * 5 + 3].reshape(4, 5)
    torch.testing.assert_close(probes.implied_affinity(block, x, (2, 3), hops=2), want)


def test_the_bins_weights_rebuild_the_blocks_answer():
    block = context("asymmetric_non_local", 16).eval()
    x = torch.randn(1, 16, 6, 9)
    with torch.no_grad():
        value, phi = block.value(x), block.phi(x)
        key, pooled = (pyramid_pool(t, block.bins)[0] for t in (phi, value))
        a = torch.softmax(block.scale * phi[0, :, 4, 2] @ key, 0)
        got = einsum(probes.implied_affinity(block, x, (4, 2)), value[0], "y x, d y x -> d")
    torch.testing.assert_close(got, pooled @ a, atol=1e-5, rtol=1e-4)


def test_the_bases_weights_rebuild_the_pixel():
    block = context("em_attention", 16, bases=6).eval()
    x = torch.randn(1, 16, 6, 9)
    with torch.no_grad():
        known = block.embed(x)
        z, _ = block.iterate(known)
        points = rearrange(known, "1 c h w -> (h w) c")
        means = (z[0] / z[0].sum(0)).T @ points  # the last M step, before the lengths
        got = probes.implied_affinity(block, x, (4, 2)).flatten() @ points
    torch.testing.assert_close(got, z[0, 4 * 9 + 2] @ means, atol=1e-5, rtol=1e-4)


def test_the_classes_weights_rebuild_their_mix():
    block = context("ocr", 16, regions=5).eval()
    x = torch.randn(1, 16, 6, 9)
    with torch.no_grad():
        f = block.gather(x, block.classifier(x))
        w = torch.softmax(block.phi(x)[0, :, 4, 2] @ block.psi(f)[0, :, :, 0] / 8**0.5, 0)
        got = einsum(probes.implied_affinity(block, x, (4, 2)), x[0], "y x, d y x -> d")
    torch.testing.assert_close(got, f[0, :, :, 0] @ w, atol=1e-5, rtol=1e-4)


def test_what_implies_none_is_refused():
    x = torch.randn(1, 16, 6, 9)
    with pytest.raises(ValueError, match="implies an affinity, got SqueezeExcite"):
        probes.implied_affinity(context("squeeze_excite", 16), x, (0, 0))
    with pytest.raises(ValueError, match=r"inside 6 x 9, got \(6, 0\)"):
        probes.implied_affinity(context("non_local", 16), x, (6, 0))


IMAGE = torch.rand(3, 32, 64, generator=torch.Generator().manual_seed(0))
SHAPE = (8, 16)


@pytest.fixture(scope="module")
def cells():
    torch.manual_seed(0)
    options = {"cell": 2, "zero_init": False}
    return network(5, context="coordinate_graph", context_options=options, width=16, kernel=1)


def test_askers_tell_the_rows_of_the_graph_at_every_size(cells):
    asks, shape = probes.cell_askers(cells, IMAGE, (1, 2, 4, 16))
    assert shape == SHAPE
    assert [tuple(ask(7, 9).shape) for ask in asks.values()] == [(8, 16), (4, 8), (2, 4), (1, 1)]
    with torch.no_grad():
        x = cells.eval().features(IMAGE[None])
    assert torch.equal(asks[2](7, 9), cells.slot.affinity(x, (7, 9))[0, 0])
    assert torch.equal(asks[2](7, 9), asks[2](6, 8)), "one cell has one row"
    assert cells.slot.cell == 2, "the network itself is left as it was"


def test_askers_find_the_graph_inside_both_and_refuse_others():
    dual = network(5, context="dual_graph", context_options={"cell": 2}, width=16, kernel=1)
    assert probes.cell_askers(dual, IMAGE, (2,))[1] == SHAPE
    strided = {"cell": 2, "project": "strided"}
    for name, options in (("non_local", {}), ("coordinate_graph", strided)):
        other = network(5, context=name, context_options=options, width=16, kernel=1)
        with pytest.raises(ValueError, match="coordinate graph over averaged cells"):
            probes.cell_askers(other, IMAGE, (2,))


def test_the_spectrum_is_that_of_the_gram_matrix():
    matrix = torch.randn(7, 5, dtype=torch.float64)
    kept = probes.spectrum(matrix)
    values = torch.linalg.eigvalsh(matrix.T @ matrix).flip(0)
    torch.testing.assert_close(kept, values.cumsum(0) / matrix.square().sum())
