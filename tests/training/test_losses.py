import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.training import presence_loss, presence_targets, segmentation_loss


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


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), ignored=st.floats(0, 1))
def test_presence_is_the_set_of_labels_without_the_ignored(seed, ignored):
    _, _, labels = example(seed, ignored)
    targets = presence_targets(labels, 5)
    for image, row in zip(labels, targets):
        assert set(row.nonzero().flatten().tolist()) == set(image.unique().tolist()) - {255}


def test_presence_takes_another_ignore_index():
    labels = torch.tensor([[[0, 1, 1]], [[1, 1, 1]]])
    assert presence_targets(labels, 3, ignore_index=1).tolist() == [[1, 0, 0], [0, 0, 0]]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), weight=st.floats(0, 2))
def test_presence_loss_is_the_mean_over_images_and_classes(seed, weight):
    _, _, labels = example(seed, 0.5)
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))
    total = 0.0
    for i in range(3):
        for k in range(5):
            p = torch.sigmoid(logits[i, k])
            total += -torch.log(p if (labels[i] == k).any() else 1 - p)
    found = presence_loss(logits, labels, weight=weight)
    torch.testing.assert_close(found, weight * total / 15)
    assert presence_loss(logits, labels) == presence_loss(logits, labels, weight=0.2)


def test_an_image_of_ignored_pixels_says_nothing_of_presence():
    logits = torch.randn(2, 5, requires_grad=True)
    labels = torch.stack([torch.arange(6).reshape(2, 3) % 5, torch.full((2, 3), 255)])
    loss = presence_loss(logits, labels)
    torch.testing.assert_close(loss, presence_loss(logits[:1], labels[:1]))
    loss.backward()
    assert (logits.grad[1] == 0).all() and (logits.grad[0] != 0).all()
    assert presence_loss(logits, torch.full_like(labels, 255)) == 0


@pytest.mark.parametrize("shape", [(3, 5), (2, 5, 4, 4)])
def test_presence_logits_of_another_shape_are_named(shape):
    with pytest.raises(ValueError, match=r"expected presence logits \(2, classes\), got \("):
        presence_loss(torch.zeros(shape), torch.zeros(2, 8, 8).long())


def test_presence_learns_which_classes_are_there():
    from contextlab import context

    torch.manual_seed(0)
    labels = torch.zeros(4, 8, 8).long()
    labels[1:, :2, :2] = torch.tensor([1, 2, 255])[:, None, None]
    x = F.one_hot(labels.clamp(max=3), 4).permute(0, 3, 1, 2).float()
    x = torch.cat([x, torch.rand(4, 4, 8, 8)], 1)
    module = context("encoding", 8, classes=3, codewords=4, aggregate="mean").train()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(60):
        loss = presence_loss(module(x, presence=True)[1], labels, weight=1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    guess = module(x, presence=True)[1] > 0
    assert torch.equal(guess, presence_targets(labels, 3) > 0)


def test_the_presence_of_classes_adds_to_the_loss():
    logits, presence = torch.randn(2, 4, 6, 6), torch.randn(2, 4)
    labels = torch.randint(4, (2, 6, 6))
    plain = segmentation_loss(logits, labels)
    said = presence_loss(presence, labels)
    assert segmentation_loss((logits, None, presence), labels) == plain + said
    with_auxiliary = segmentation_loss((logits, logits, presence), labels)
    torch.testing.assert_close(with_auxiliary, 1.4 * plain + said)
    assert segmentation_loss((logits, None, presence), labels, presence_weight=0) == plain
