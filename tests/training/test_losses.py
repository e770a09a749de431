import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.training import segmentation_loss


def example(seed=0, ignored=0.3):
    draw = torch.Generator().manual_seed(seed)
    logits, auxiliary = torch.randn(2, 3, 5, 6, 7, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 5, (3, 6, 7), generator=draw)
    labels[torch.rand(labels.shape, generator=draw) < ignored] = 255
    return logits, auxiliary, labels


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), weight=st.floats(0, 2), ignored=st.floats(0, 0.9))
def test_it_is_the_mean_over_valid_pixels_plus_the_weighted_auxiliary_one(seed, weight, ignored):
    logits, auxiliary, labels = example(seed, ignored)
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(segmentation_loss(logits, labels), expected)
    expected += weight * F.cross_entropy(auxiliary, labels, ignore_index=255)
    found = segmentation_loss((logits, auxiliary), labels, auxiliary_weight=weight)
    torch.testing.assert_close(found, expected)


def test_by_hand():
    # two pixels, one ignored: -log(e / (e + 1)) for the other
    logits = torch.tensor([[1.0, 0.0], [0.0, 9.0]]).T.reshape(1, 2, 1, 2)
    labels = torch.tensor([[[0, 255]]])
    found = segmentation_loss(logits, labels)
    torch.testing.assert_close(found, torch.log1p(torch.tensor(-1.0).exp()))


def test_nothing_valid_costs_nothing_and_has_a_finite_gradient():
    logits, _, labels = example(ignored=1.1)
    logits.requires_grad_()
    loss = segmentation_loss(logits, labels)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def test_ignored_pixels_have_no_gradient():
    logits, _, labels = example()
    logits.requires_grad_()
    segmentation_loss(logits, labels).backward()
    touched = logits.grad.abs().sum(1) > 0
    assert torch.equal(touched, labels != 255)


def test_processes_that_divide_by_the_mean_count_average_to_the_whole():
    logits, _, labels = example()
    count = (labels != 255).sum() / 3
    parts = [segmentation_loss(logits[i : i + 1], labels[i : i + 1], valid=count) for i in range(3)]
    torch.testing.assert_close(sum(parts) / 3, segmentation_loss(logits, labels))


def test_logits_of_another_size_are_named():
    logits, _, labels = example()
    with pytest.raises(ValueError, match=r"labels' size \(6, 7\), got \(3, 7\): upsample"):
        segmentation_loss(logits[:, :, :3], labels)
