"""Colours: distinguishable for dichromats, and pixels from maps."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.views.palette import DEMAND_COLOURS, SERIES, grey, paint, pixels, rgb, whole

# Vienot, Brettel and Mollon 1999, in linear light: what a protanope and a deuteranope see
BLIND = {
    "normal": np.eye(3),
    "protanopia": [[0.1121, 0.8853, -0.0005], [0.1127, 0.8897, -0.0001], [0.0045, 0.0, 1.0019]],
    "deuteranopia": [[0.2920, 0.7054, -0.0003], [0.2934, 0.7089, 0.0], [-0.0210, 0.0256, 1.0019]],
}


def lab(colours: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB."""
    xyz = (
        colours
        @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
        / np.array([0.9505, 1.0, 1.089])
    )
    xyz = np.clip(xyz, 0, None)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("vision", BLIND)
@pytest.mark.parametrize(
    "colours", [list(DEMAND_COLOURS.values()), SERIES[:5]], ids=["demands", "series"]
)
def test_colours_stay_apart(colours, vision):
    v = rgb(colours) / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    seen = lab(linear @ np.array(BLIND[vision]).T)
    nearest = min(np.linalg.norm(a - b) for a, b in combinations(seen, 2))
    assert nearest > 11, nearest


@settings(deadline=None, max_examples=20)
@given(h=st.integers(4, 9), w=st.integers(4, 9), channels=st.sampled_from([1, 3]))
def test_pixels_of_tensors_bytes_and_floats_agree(h, w, channels):
    bytes_ = np.random.default_rng(h * w).integers(0, 256, (h, w, channels), np.uint8)
    tensor = torch.from_numpy(bytes_ / 255).permute(2, 0, 1)
    assert pixels(bytes_).shape == (h, w, 3)
    np.testing.assert_allclose(pixels(bytes_), pixels(tensor))
    np.testing.assert_allclose(pixels(bytes_), pixels(bytes_ / 255))
    if channels == 1:
        np.testing.assert_allclose(grey(bytes_), bytes_[..., 0] / 255)


def test_paint_knows_what_is_no_class():
    painted = paint(torch.tensor([[0, 1], [255, 7]]), np.array([[1, 2, 3], [4, 5, 6]]))
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[[1, 2, 3], [4, 5, 6]], [[245] * 3, [245] * 3]]


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"3 h w or h w 3, got \(4, 5\)"):
        pixels(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="whole numbers h w, got float32"):
        whole(torch.zeros(2, 2))
