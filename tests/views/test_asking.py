"""The affinity that a cheap form implies, its figure and its widget."""

import numpy as np
import pytest
import torch
from einops import einsum, rearrange

from contextlab import context, views
from contextlab.modules.asymmetric_non_local import pyramid_pool
from contextlab.networks.segmentation import network

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
        weights = views.implied_affinity(module, x, (4, 2), hops=hops)
        assert weights.shape == (6, 9) and weights.min() >= 0
        assert abs(float(weights.sum()) - 1) < 1e-4


def test_one_hop_is_the_cross_and_two_are_the_map():
    block = context("criss_cross", 16).eval()
    x = torch.randn(1, 16, 6, 9)
    assert (views.implied_affinity(block, x, (4, 2)) > 0).sum() == 6 + 9 - 1
    assert (views.implied_affinity(block, x, (4, 2), hops=2) > 0).all()


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
    torch.testing.assert_close(views.implied_affinity(block, x, (2, 3), hops=2), want)


def test_the_bins_weights_rebuild_the_blocks_answer():
    block = context("asymmetric_non_local", 16).eval()
    x = torch.randn(1, 16, 6, 9)
    with torch.no_grad():
        value, phi = block.value(x), block.phi(x)
        key, pooled = (pyramid_pool(t, block.bins)[0] for t in (phi, value))
        a = torch.softmax(block.scale * phi[0, :, 4, 2] @ key, 0)
        got = einsum(views.implied_affinity(block, x, (4, 2)), value[0], "y x, d y x -> d")
    torch.testing.assert_close(got, pooled @ a, atol=1e-5, rtol=1e-4)


def test_the_bases_weights_rebuild_the_pixel():
    block = context("em_attention", 16, bases=6).eval()
    x = torch.randn(1, 16, 6, 9)
    with torch.no_grad():
        known = block.embed(x)
        z, _ = block.iterate(known)
        points = rearrange(known, "1 c h w -> (h w) c")
        means = (z[0] / z[0].sum(0)).T @ points  # the last M step, before the lengths
        got = views.implied_affinity(block, x, (4, 2)).flatten() @ points
    torch.testing.assert_close(got, z[0, 4 * 9 + 2] @ means, atol=1e-5, rtol=1e-4)


def test_the_classes_weights_rebuild_their_mix():
    block = context("ocr", 16, regions=5).eval()
    x = torch.randn(1, 16, 6, 9)
    with torch.no_grad():
        f = block.gather(x, block.classifier(x))
        w = torch.softmax(block.phi(x)[0, :, 4, 2] @ block.psi(f)[0, :, :, 0] / 8**0.5, 0)
        got = einsum(views.implied_affinity(block, x, (4, 2)), x[0], "y x, d y x -> d")
    torch.testing.assert_close(got, f[0, :, :, 0] @ w, atol=1e-5, rtol=1e-4)


def test_what_implies_none_is_refused():
    x = torch.randn(1, 16, 6, 9)
    with pytest.raises(ValueError, match="implies an affinity, got SqueezeExcite"):
        views.implied_affinity(context("squeeze_excite", 16), x, (0, 0))
    with pytest.raises(ValueError, match=r"inside 6 x 9, got \(6, 0\)"):
        views.implied_affinity(context("non_local", 16), x, (6, 0))


@pytest.fixture(scope="module")
def networks():
    _ = torch.manual_seed(0)
    return {
        name: network(13, context=name, width=16, kernel=1, context_options=FORMS[name])
        for name in ("criss_cross", "em_attention")
    }


def test_the_figure_shows_every_method(networks):
    image = torch.rand(3, 32, 48)
    asks, shape = views.askers(networks, image)
    assert shape == (8, 12)
    assert list(asks) == ["criss_cross, one hop", "criss_cross, two hops", "em_attention"]
    cue = torch.zeros(32, 48, dtype=torch.bool)
    cue[:8, :8] = True
    maps = {name: ask(3, 4) for name, ask in asks.items()}
    figure, numbers = views.asking_figure(image, maps, (3, 4), cue=cue)
    titles = [t for t in (axes.get_title(loc="left") for axes in figure.axes) if t]
    assert len(titles) == 4 and titles[3].startswith("em_attention: ")
    assert numbers["criss_cross, one hop"]["on_cue"] == 0
    assert numbers["criss_cross, one hop"]["pixels"] <= 8 + 12 - 1


def test_the_widget_answers_to_a_pixel_and_to_a_method(networks):
    image, labels = torch.rand(3, 32, 48), torch.randint(0, 3, (32, 48))
    names = ("sky", "wall", "road")
    widget = views.asking_explorer(networks, image, labels=labels, classes=names, query=(3, 4))
    first = widget.picture.value
    assert widget.query == (3, 4) and "Row 3, column 4" in widget.words.value
    widget.update(5, 6)
    assert widget.query == (5, 6) and widget.picture.value != first
    second = widget.picture.value
    widget.method.value = "em_attention"
    assert widget.picture.value != second
    assert "It works where a kernel runs." in widget._repr_mimebundle_()["text/plain"]
