"""Pyramid pooling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.modules import PyramidPooling, pyramid_pooling
from contextlab.modules._layers import average_bins, average_bins_by_products

from .base import SIZES, SMALL, ContextModuleTests, Options, macs, peak_bytes, randomise
from .plain_pyramid import bins_plain, pyramid_pooling_plain


class TestPyramidPooling(ContextModuleTests):
    module, name = PyramidPooling, "pyramid_pooling"
    pools = True
    # 50 bins, 4 stages c -> c / 4, one 3 x 3 convolution 2 c -> c
    costs = (
        (512, 96, 18 * 512**2 + 512**2 + 4 * 512, 9216 * 18 * 512**2 + 50 * 512 * 128),
        (64, 16, 19 * 64**2 + 4 * 64, 256 * 18 * 64**2 + 50 * 64 * 16),
    )
    refused = (
        ({"sizes": (1, 2, 3)}, "expected sizes to divide channels, got sizes=3 and channels=8"),
        ({"sizes": ()}, "expected sizes to be a whole number of at least 1, got 0"),
        ({"sizes": (1, 0)}, "expected size to be a whole number of at least 1, got 0"),
        ({"kernel": 2}, r"expected kernel to be one of \(1, 3\), got 2"),
        ({"out_channels": 0}, "expected out_channels to be a whole number of at least 1, got 0"),
    )

    def oracle(self, module, x):
        return pyramid_pooling_plain(module, x, **self.options)


class TestBareStages(TestPyramidPooling):
    options = Options(kernel=1, stage_relu=False, align_corners=True)
    costs = ((512, 96, 3 * 512**2 + 4 * 512, 9216 * 2 * 512**2 + 50 * 512 * 128),)


class TestOtherSizes(TestPyramidPooling):
    options = Options(sizes=(2, 5))
    costs = ((64, 16, 19 * 64**2 + 4 * 64, 256 * 18 * 64**2 + 29 * 64 * 32),)


def built(channels=8, **options):
    torch.manual_seed(0)
    return randomise(PyramidPooling(channels, **options)).double().eval()


@settings(deadline=None, max_examples=20)
@given(
    sizes=st.sampled_from([(1,), (1, 2, 3, 6), (3, 4), (2, 2)]),
    kernel=st.sampled_from([1, 3]),
    stage_relu=st.booleans(),
    align_corners=st.booleans(),
    out=st.sampled_from([None, 3]),
    size=SMALL,
)
def test_any_options_equal_the_plain_version(sizes, kernel, stage_relu, align_corners, out, size):
    options = {"sizes": sizes, "stage_relu": stage_relu, "align_corners": align_corners}
    module = built(kernel=kernel, out_channels=out, **options)
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    assert module(x).shape[1] == (out or 8)
    torch.testing.assert_close(module(x), pyramid_pooling_plain(module, x, **options))


@pytest.mark.parametrize(
    "kernel, parameters, giga", [(3, 23_073_792, 173.9986), (1, 6_296_576, 19.3798)]
)
@pytest.mark.parametrize("stage_relu", [True, False])
def test_reference_counts(kernel, parameters, giga, stage_relu):
    with torch.device("meta"):
        module = PyramidPooling(2048, out_channels=512, kernel=kernel, stage_relu=stage_relu)
        x = torch.empty(2, 2048, 96, 96)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert round(macs(module, x) / 2e9, 4) == giga


@settings(deadline=None, max_examples=25)
@given(size=SIZES, bins=st.integers(1, 7))
def test_bins_are_means_and_may_overlap(size, bins):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = bins_plain(x, bins)
    torch.testing.assert_close(average_bins(x, bins), expected)
    torch.testing.assert_close(average_bins_by_products(x, bins), expected)


def test_one_bin_is_the_global_average_and_enough_bins_are_the_pixels():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(average_bins(x, 1), x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(average_bins(x, 6), x)


def test_a_constant_map_stays_constant():
    y = built(kernel=1)(torch.randn(1, 8, 1, 1, dtype=torch.float64).expand(-1, -1, 7, 11))
    torch.testing.assert_close(y, y[..., :1, :1].expand_as(y))


@pytest.mark.parametrize(
    "size, row, reached", [(1, 0, 64), (2, 0, 16), (2, 3, 64), (4, 0, 4), (4, 3, 16)]
)
def test_a_pixel_reaches_the_bins_around_it(size, row, reached):
    """On 8 x 8 pixels: the corner lies in one bin, a pixel inside is mixed from four."""
    module = built(2, sizes=(size,), kernel=1, stage_relu=False)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 1)
    x = torch.rand(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, row, row].sum().backward()
    assert (x.grad[0, 0] != 0).sum() == reached


MISTAKES = {
    "no mistake": ("upsample", None),
    "the largest in place of the mean": ("average_bins", F.adaptive_max_pool2d),
    "nearest upsampling": (
        "F.interpolate",
        lambda x, size, mode, align_corners, right=F.interpolate: right(x, size, mode="nearest"),
    ),
    "aligned corners": (
        "F.interpolate",
        lambda x, size, mode, align_corners, right=F.interpolate: right(
            x, size, mode=mode, align_corners=not align_corners
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_apart(monkeypatch, mistake):
    target, replacement = MISTAKES[mistake]
    module, x = built(), torch.randn(2, 8, 5, 7, dtype=torch.float64)
    expected = pyramid_pooling_plain(module, x)
    if replacement:
        owner = F if target.startswith("F.") else pyramid_pooling
        monkeypatch.setattr(owner, target.removeprefix("F."), replacement)
    assert torch.allclose(module(x), expected) == (replacement is None)


def test_one_image_in_training():
    x = torch.randn(1, 8, 5, 6)
    message = "PyramidPooling normalises its 1 x 1 pooled map .* at least 2 images in training"
    with pytest.raises(ValueError, match=message):
        PyramidPooling(8).train()(x)
    assert PyramidPooling(8, sizes=(2, 3)).train()(x).shape == x.shape
    frozen = PyramidPooling(8).train()
    frozen.stages[0][1].eval()  # normalises with its running statistics
    assert frozen(x).shape == x.shape


def test_dropout_only_in_training():
    module, x = PyramidPooling(8, dropout=0.5), torch.rand(4, 8, 4, 4)
    dropped = (module(x) == 0).all((2, 3)).float().mean()
    assert 0.2 < dropped < 0.8
    assert torch.equal(module.eval()(x), module(x))


def test_memory_is_linear_in_the_pixels():
    module = PyramidPooling(8).eval()

    def peak(side):
        x = torch.randn(1, 8, side, side)
        return peak_bytes(lambda: module(x).sum().backward())

    assert peak(64) < 5 * peak(32)
