"""Receptive fields: the formula, the dependence and the gradients agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contextlab import costs, probes
from contextlab.backbones import backbone

LAYER = st.tuples(st.sampled_from([1, 3, 5]), st.integers(1, 2), st.integers(1, 3))


def chain(layers, channels=2):
    inputs = [3] + [channels] * (len(layers) - 1)
    return nn.Sequential(
        *(nn.Conv2d(i, channels, k, s, d * (k // 2), d) for i, (k, s, d) in zip(inputs, layers))
    )


@settings(deadline=None, max_examples=25)
@given(layers=st.lists(LAYER, min_size=1, max_size=3))
def test_the_formula_is_the_dependence_of_the_model(layers):
    size = probes.theoretical(layers)
    assert probes.theoretical(chain(layers), (127, 127)) == size


@settings(deadline=None, max_examples=15)
@given(kernel=st.sampled_from([1, 3, 5, 7]), depth=st.integers(1, 8), dilation=st.integers(1, 4))
def test_equal_layers_grow_linearly(kernel, depth, dilation):
    expected = 1 + depth * dilation * (kernel - 1)
    assert probes.theoretical([(kernel, 1, dilation)] * depth) == (expected, expected)


def test_the_course_backbone():
    for dilation in (1, (1, 2, 4)):
        model = backbone("course", dilation=dilation)
        side = model.receptive_field
        assert probes.theoretical(model, (128, 128)) == (side, side)


def test_branches_pooling_and_norms_do_not_hide_what_is_seen():
    class Branched(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.norm = nn.MaxPool2d(2), nn.BatchNorm2d(3)
            self.long = nn.Conv2d(3, 3, 3, padding=4, dilation=4)

        def forward(self, x):
            y = self.norm(self.pool(x))
            return y - torch.relu(self.long(y))  # a cancelling sign would hide the middle

    assert probes.theoretical(Branched(), (64, 64)) == (18, 18)


def test_a_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    probes.theoretical(model, (16, 16))
    probes.effective(model, (16, 16), samples=2)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_gradients_stay_inside_and_sum_to_one():
    torch.manual_seed(0)
    model = chain([(3, 1, 1)] * 4, 8)
    field = probes.effective(model, (33, 33), samples=4)
    assert field.sum().item() == pytest.approx(1)
    rows = field.sum(1).nonzero().flatten()
    assert (rows.min().item(), rows.max().item()) == (12, 20)
    assert probes.central_share(field, 9) == pytest.approx(1)
    assert probes.effective_width(field) <= 9


def test_the_position_and_the_images_can_be_chosen():
    field = probes.effective(nn.Conv2d(3, 2, 1), images=torch.rand(2, 3, 6, 8), position=(1, 5))
    assert field.nonzero().tolist() == [[1, 5]]


def test_the_effective_field_grows_slower_than_the_theoretical():
    torch.manual_seed(0)
    depths = [4, 8, 16]
    widths = []
    for n in depths:
        layers = [nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(n)]
        net = nn.Sequential(*(m for layer in layers for m in (layer, nn.ReLU())))
        widths.append(probes.effective_width(probes.effective(net, (49, 49), samples=6)))
    fit = costs.fit_exponent(depths, widths)
    assert 0.3 < fit.exponent < 0.8
    assert widths[-1] < 33


@pytest.mark.parametrize("layer", [(3, 1), (0, 1, 1), (3, 1.0, 1)])
def test_wrong_layers_are_named(layer):
    with pytest.raises(ValueError, match=r"\(kernel, stride, dilation\)"):
        probes.growth([layer])
