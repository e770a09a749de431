"""Steps on the grid are those of the modules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import probes
from contextlab.modules import grid_adjacency, laplacian_smoothing


@settings(deadline=None, max_examples=20)
@given(
    h=st.integers(1, 5),
    w=st.integers(1, 6),
    steps=st.integers(0, 3),
    neighbours=st.sampled_from([4, 8]),
)
def test_propagation_is_laplacian_smoothing_on_the_grid(h, w, steps, neighbours):
    x = torch.rand(h, w, generator=torch.Generator().manual_seed(h * w), dtype=torch.float64)
    adjacency = grid_adjacency(h, w, neighbours=neighbours).double()
    expected = laplacian_smoothing(x.reshape(-1, 1), adjacency, steps).reshape(h, w)
    torch.testing.assert_close(probes.propagate(x, steps, neighbours=neighbours), expected)
    once = x - laplacian_smoothing(x.reshape(-1, 1), adjacency, 1).reshape(h, w)
    torch.testing.assert_close(probes.propagate(x, 1, rule="I - A", neighbours=neighbours), once)


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="'A' or 'I - A'"):
        probes.propagate(torch.ones(2, 2), 1, rule="A - I")
