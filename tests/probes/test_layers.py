"""Layers by name: what they make, which one is last, and a network left as it was."""

import pytest
import torch
from torch import nn

from contextlab.networks.segmentation import network
from contextlab.probes.layers import evaluating, last_convolution, output_of


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return network(5, context="non_local", width=16, kernel=1)


def test_the_last_convolution_is_the_classifier(model):
    assert last_convolution(model, torch.rand(3, 32, 48)) == "classifier.1"
    with pytest.raises(ValueError, match="with a convolution, got Flatten"):
        last_convolution(nn.Flatten(), torch.rand(3, 4, 4))


def test_the_output_is_the_layer_s(model):
    x = torch.rand(2, 3, 32, 48)
    model.train()
    model.classifier.eval()
    made = output_of(model, x, "slot")
    assert model.training and model.slot.training and not model.classifier.training
    with evaluating(model), torch.no_grad():
        torch.testing.assert_close(made, model.slot(model.features(x)))
        torch.testing.assert_close(output_of(model, x, "backbone"), model.maps(x)[-1])


def test_a_layer_that_is_not_there_is_named(model):
    with pytest.raises(ValueError, match=r"backbone, reduce, slot.*got 'attention'"):
        output_of(model, torch.rand(1, 3, 32, 48), "attention")
    with pytest.raises(ValueError, match="'auxiliary', which does not"):
        output_of(model, torch.rand(1, 3, 32, 48), "auxiliary")
