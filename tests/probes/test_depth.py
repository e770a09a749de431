"""What depth does, where the answer is known."""

import pytest
import torch

from contextlab.costs import fit_exponent
from contextlab.probes.depth import FORMS, over_smoothing, propagation, reach, similarity


def test_reach_grows_with_depth_and_effectively_with_its_root():
    depths = (2, 4, 8)
    found = [reach(depth, samples=4) for depth in depths]
    assert [r.theoretical for r in found] == list(depths)
    walk = [(2 * depth / 3) ** 0.5 for depth in depths]
    assert [r.effective for r in found] == pytest.approx(walk, rel=0.15)
    assert fit_exponent(depths, [r.effective for r in found]).exponent == pytest.approx(
        0.5, abs=0.1
    )
    with pytest.raises(ValueError, match="depth of at least 1"):
        reach(0)


def test_similarity():
    same = torch.ones(3, 5, 4)
    assert similarity(same) == pytest.approx(1) and similarity(-same) == pytest.approx(1)
    assert similarity(torch.eye(4)[None]) == 0
    assert similarity(torch.randn(200, 8, 16)) == pytest.approx(1 / 16, abs=0.01)
    with pytest.raises(ValueError, match="two nodes"):
        similarity(same[:, :1])


@pytest.mark.parametrize("form", FORMS)
def test_nodes_start_apart_and_grow_alike(form):
    curve = over_smoothing(form, (0, 1, 4), samples=4)
    assert curve[0] == pytest.approx(1 / 16, abs=0.01) and curve[0] < curve[1] < curve[2] <= 1
    assert over_smoothing(form, (0, 1, 4), samples=4) == curve
    assert over_smoothing(form, (4,), samples=4) == curve[2:]


def test_one_layer_learns_to_pass_a_message_on():
    before = torch.get_rng_state()
    assert propagation("I - A", 1, steps=1) > 80
    assert propagation("I - A", 1) < 10
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's numbers are drawn
    with pytest.raises(ValueError, match="expected a form of A, I - A"):
        propagation("I + A", 1)
