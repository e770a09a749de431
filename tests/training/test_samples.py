import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Squares

from contextlab.training import Recipe
from contextlab.training.samples import augment, batches, draws, indices


@settings(deadline=None, max_examples=25)
@given(size=st.integers(1, 30), batch=st.integers(1, 8), seed=st.integers(0, 2**40))
def test_every_epoch_sees_every_image_once(size, batch, seed):
    steps = -(-2 * size // batch)
    seen = np.concatenate([indices(seed, step, batch, size) for step in range(steps)])
    for epoch in range(2):
        assert sorted(seen[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_the_order_depends_on_seed_and_epoch():
    assert indices(0, 0, 20, 20).tolist() != indices(1, 0, 20, 20).tolist()
    assert indices(0, 0, 20, 20).tolist() != indices(0, 1, 20, 20).tolist()


def test_an_empty_data_set_is_named():
    with pytest.raises(ValueError, match="got an empty one"):
        indices(0, 0, 4, 0)


def test_draws_differ_by_seed_and_step_and_not_by_call():
    assert np.array_equal(draws(3, 5, 4), draws(3, 5, 4))
    assert not np.array_equal(draws(3, 5, 4), draws(3, 6, 4))
    assert not np.array_equal(draws(3, 5, 4), draws(4, 5, 4))


def coded(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image whose first channel is its label map over 10, in large patches."""
    labels = torch.zeros(height, width, dtype=torch.int64)
    labels[: height // 2, : width // 3] = 3
    labels[height // 2 :, width // 3 :] = 7
    return (labels / 10).float().expand(3, -1, -1).clone(), labels


@settings(deadline=None, max_examples=25)
@given(
    size=st.tuples(st.integers(24, 60), st.integers(24, 60)),
    crop=st.tuples(st.integers(8, 70), st.integers(8, 70)),
    draw=st.lists(st.floats(0, 0.999), min_size=4, max_size=4),
)
def test_labels_stay_aligned_with_their_image(size, crop, draw):
    recipe = Recipe(steps=1, scale=(0.5, 2.0), crop=crop)
    image, labels = augment(*coded(*size), np.array(draw), recipe)
    assert image.shape == (3, *crop) and labels.shape == crop
    assert image.dtype == torch.float32 and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) <= {0, 3, 7, 255}  # never a mixture of labels
    inside = labels != 255
    wrong = (image[0] - labels / 10).abs()[inside] > 0.2  # within a blurred edge
    # where image and labels agree, only pixels along the two edges may differ
    assert wrong.sum() <= 2 * sum(crop)


def test_an_image_smaller_than_the_crop_is_padded_with_ignored_pixels():
    recipe = Recipe(steps=1, scale=(0.5, 0.5), crop=(40, 40), flip=False)
    image, labels = augment(*coded(40, 40), np.array([0, 0, 0.5, 0.5]), recipe)
    assert (labels != 255).sum() == 20 * 20
    assert (image[:, labels == 255] == 0.5).all()
    assert (labels[10:30, 10:30] != 255).all()  # drawn in the middle, so it lies there


def test_nearest_labels_are_those_of_the_pixel_centres():
    # Doubled, every pixel becomes 2 x 2; the asymmetric rule would shift them all by half a pixel.
    image, labels = coded(24, 24)
    recipe = Recipe(steps=1, scale=(2.0, 2.0), crop=(48, 48), flip=False)
    _, doubled = augment(image, labels, np.zeros(4), recipe)
    assert torch.equal(doubled, labels.repeat_interleave(2, 0).repeat_interleave(2, 1))
    recipe = Recipe(steps=1, scale=(1 / 3, 1 / 3), crop=(8, 8), flip=False)
    _, third = augment(image, labels, np.zeros(4), recipe)
    assert torch.equal(third, labels[1::3, 1::3])


def test_half_of_the_images_are_mirrored():
    image, labels = coded(8, 9)
    recipe = Recipe(steps=1)
    same, flipped = (augment(image, labels, np.full(4, value), recipe) for value in (0.5, 0.49))
    assert torch.equal(same[0], image) and torch.equal(same[1], labels)
    assert torch.equal(flipped[0], image.flip(-1)) and torch.equal(flipped[1], labels.flip(-1))
    rate = np.mean([draws(0, step, 8)[:, 0] < 0.5 for step in range(200)])
    assert 0.45 < rate < 0.55


def test_a_later_start_gives_the_same_batches():
    recipe = Recipe(steps=6, batch=5, scale=(0.5, 2.0), crop=(16, 16))
    whole, late = list(batches(Squares(), recipe)), list(batches(Squares(), recipe, start=4))
    assert len(whole) == 6 and len(late) == 2
    for (a, b), (c, d) in zip(whole[4:], late):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_processes_share_a_batch():
    recipe = Recipe(steps=2, batch=6, scale=(0.5, 2.0), crop=(16, 16))
    whole = next(batches(Squares(), recipe))
    parts = [next(batches(Squares(), recipe, rank=rank, world=3)) for rank in range(3)]
    assert torch.equal(whole[0], torch.cat([image for image, _ in parts]))
    with pytest.raises(ValueError, match="a batch that 4 processes can share, got 6"):
        batches(Squares(), recipe, world=4)


def test_loading_draws_no_random_numbers_of_the_caller():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    next(batches(Squares(), Recipe(steps=1)))
    assert torch.equal(before, torch.get_rng_state())
