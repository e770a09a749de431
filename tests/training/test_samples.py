import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Squares, net

from contextlab.training import Recipe, evaluate, fit
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


def test_what_is_stretched_has_a_stream_of_its_own():
    drawn = draws(3, 5, 400)
    assert np.array_equal(drawn[:, :4], np.random.default_rng((3, 1, 5)).random((400, 4)))
    assert drawn.shape == (400, 25) and drawn.min() >= 0 and drawn.max() < 1
    assert np.array_equal(drawn[:, 4], np.random.default_rng((3, 2, 5)).random(400))
    assert np.abs(np.corrcoef(drawn.T) - np.eye(25)).max() < 0.25
    assert np.abs(drawn[:, 4:].mean(0) - 0.5).max() < 0.06


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
    draw=st.lists(st.floats(0, 0.999), min_size=5, max_size=5),
    aspect=st.sampled_from([None, (0.9, 1.1), (0.5, 2.0)]),
)
def test_labels_stay_aligned_with_their_image(size, crop, draw, aspect):
    recipe = Recipe(steps=1, scale=(0.5, 2.0), aspect=aspect, crop=crop)
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


@pytest.mark.parametrize(
    ("scale", "aspect", "size"),
    [
        (None, (4.0, 4.0), (10, 40)),  # of width over height, at the same area
        (None, (0.25, 0.25), (40, 10)),
        ((2.0, 2.0), (4.0, 4.0), (20, 80)),
        (None, (1.0, 4.0), (13, 32)),  # 2.5, the middle
        (None, (1.0, 1.0), (20, 20)),
    ],
)
def test_an_image_is_stretched_at_its_area(scale, aspect, size):
    recipe = Recipe(steps=1, scale=scale, aspect=aspect, crop=(100, 100), flip=False)
    image, labels = augment(*coded(20, 20), np.full(5, 0.5), recipe)
    rows, columns = (labels != 255).any(1).sum(), (labels != 255).any(0).sum()
    assert (rows, columns) == size and image.shape == (3, 100, 100)


def striped() -> tuple[torch.Tensor, torch.Tensor]:
    """Forty columns of class 0, then forty of which every other one is of class 1."""
    labels = torch.zeros(10, 80, dtype=torch.int64)
    labels[:, 40::2] = 1
    return labels.float().expand(3, -1, -1).clone(), labels


def first_at_the_left(*others: float) -> np.ndarray:
    """The numbers of one image whose window lies at the left, and then elsewhere."""
    lefts = np.r_[others, np.zeros(10 - len(others))]
    return np.r_[0, 0, 0, 0, 0, np.c_[np.zeros(10), lefts].ravel()]


@pytest.mark.parametrize(
    ("cap", "others", "left"),
    [
        (None, (0.99,), 0),  # the first window, whatever it holds
        (0.75, (0.1, 0.99, 0.98), 60),  # the first of those that fit
        (1.0, (0.2, 0.99), 60),  # less than the cap: one class alone is too much even for 1
        (0.5, (0.99, 0.98), 0),  # none fits, so it is the last
    ],
)
def test_a_window_is_drawn_anew_while_one_class_covers_it(cap, others, left):
    recipe = Recipe(steps=1, crop=(10, 20), flip=False, class_cap=cap)
    image, labels = augment(*striped(), first_at_the_left(*others), recipe)
    assert torch.equal(labels, striped()[1][:, left : left + 20])
    assert torch.equal(image, striped()[0][..., left : left + 20])


def test_ignored_pixels_cover_nothing_of_a_window():
    image, labels = striped()
    labels[:, 41::2] = 255  # what is labelled at the right is of class 1 alone
    labels[:, :20] = 255  # and at the left there is nothing
    recipe = Recipe(steps=1, crop=(10, 20), flip=False, class_cap=0.75)
    _, found = augment(image, labels, first_at_the_left(0.99, 0.5), recipe)
    assert torch.equal(found, labels[:, 30:50])


def test_a_run_with_a_cap_sees_more_of_the_rare_class():
    def rare(cap):
        recipe = Recipe(steps=4, batch=8, crop=(10, 20), flip=False, class_cap=cap)
        return sum((labels == 1).sum() for _, labels in batches([striped()] * 8, recipe))

    assert rare(0.75) > 1.3 * rare(None)


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


class Broken(Squares):
    """One sample, the fifth, is changed."""

    def __init__(self, change, *, classes=True):
        super().__init__(6)
        self.change = change
        if not classes:
            self.classes = ()

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return self.change(*sample) if index == 5 else sample


def label(value):
    def change(image, labels):
        labels[3, 3] = value
        return image, labels

    return change


def pixel(value):
    def change(image, labels):
        image[0, 3, 3] = value
        return image, labels

    return change


BROKEN = {
    "image of torch.float32, got torch.uint8": lambda i, t: ((255 * i).byte(), t),
    "image of torch.float32, got torch.float64": lambda i, t: (i.double(), t),
    "image of torch.float32, got ndarray": lambda i, t: (np.zeros(3), t),
    "labels of torch.int64, got torch.float32": lambda i, t: (i, t.float()),
    "labels of torch.int64, got torch.uint8": lambda i, t: (i, t.byte()),
    r"a pair \(image, labels\), got Tensor": lambda i, t: i,
    r"an image 3 h w, got \(16, 16, 3\)": lambda i, t: (i.permute(1, 2, 0), t),
    r"an image 3 h w, got \(1, 16, 16\)": lambda i, t: (i[:1], t),
    r"labels of the image's size \(16, 16\), got \(8, 8\)": lambda i, t: (i, t[::2, ::2]),
    r"labels of the image's size \(16, 16\), got \(1, 16, 16\)": lambda i, t: (i, t[None]),
    r"an image of finite numbers, got inf or nan": pixel(float("nan")),
    r"an image of finite numbers, got inf or nan.?": pixel(float("-inf")),
    r"an image in \[0, 1\], got values from 0 to \d+": lambda i, t: (255 * i, t),
    r"labels in 0\.\.2 or 255, got 0\.\.3": label(3),
    r"labels in 0\.\.2 or 255, got -1\.\.1": label(-1),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_sample_that_is_not_as_it_should_be_is_named_everywhere(words):
    """Wherever it comes: here in the second step, and in the third group of an evaluation."""
    broken = Broken(BROKEN[words])
    words = rf"sample 5 of the data set: expected {words}$"
    recipe = Recipe(steps=3, batch=2, flip=False)
    model = net()
    with pytest.raises(ValueError, match=words):
        fit(model, broken, recipe)
    with pytest.raises(ValueError, match=words):
        evaluate(model, broken, batch=2)


def test_labels_beyond_the_models_classes_are_named_in_every_batch():
    """Also where the data set does not say how many classes it has."""
    recipe = Recipe(steps=6, batch=1, flip=False, seed=4)
    late = [int(indices(4, step, 1, 6)[0]) for step in range(6)].index(5)
    assert late > 0
    with pytest.raises(ValueError, match=r"expected labels in 0\.\.2 or 255, got 0\.\.7"):
        fit(net(), Broken(label(7), classes=False), recipe)


def test_ignored_labels_of_another_value_are_fine():
    class Other(Squares):
        ignore_index = -1

        def __getitem__(self, index):
            image, labels = super().__getitem__(index)
            return image, torch.where(labels == 255, -1, labels)

    assert len(list(batches(Other(), Recipe(steps=2)))) == 2


def test_images_of_several_sizes_ask_for_a_crop():
    class Sizes(Squares):
        def __getitem__(self, index):
            image, labels = super().__getitem__(index)
            return image[:, : 16 - index], labels[: 16 - index]

    recipe = Recipe(steps=2, batch=4)
    words = r"one size in a batch, got \(3, \d+, 16\) of sample \d+ and .* a crop"
    with pytest.raises(ValueError, match=words):
        next(batches(Sizes(), recipe))
    next(batches(Sizes(), Recipe(steps=2, batch=4, crop=(16, 16))))


def test_a_loading_process_names_the_sample_too():
    with pytest.raises(ValueError, match="sample 5 of the data set: expected labels"):
        list(batches(Broken(label(9)), Recipe(steps=3, batch=4, workers=1)))


def test_demands_that_are_not_as_they_should_be_are_named():
    class Odd(Squares):
        def demand(self, index):
            found = super().demand(index)
            return found if index < 3 else found + 2

    with pytest.raises(ValueError, match=r"sample 3 of the data set: expected a uint8 demand map"):
        evaluate(net(), Odd(6))


def test_weights_that_are_nan_are_not_scored():
    model = net()
    model.head.bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="expected logits that are numbers, got nan"):
        evaluate(model, Squares(2))
