import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.training import (
    OHEM,
    ohem_loss,
    presence_loss,
    presence_targets,
    segmentation_loss,
)


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


def hard_pixels_plainly(logits, labels, threshold, min_kept):
    """As the official codes say it: probabilities sorted, a threshold, easy pixels ignored."""
    k = logits.shape[1]
    z = logits.permute(0, 2, 3, 1).reshape(-1, k).numpy().astype(np.float64)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    true = [p[i, y] for i, y in enumerate(labels.flatten().tolist()) if y != 255]
    if len(true) > min_kept:
        t = max(threshold, sorted(true)[min_kept - 1])
        true = [value for value in true if value <= t]
    return -np.log(true).sum() / max(1, len(true)), len(true)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    threshold=st.floats(0.01, 1),
    min_kept=st.integers(1, 140),
    ignored=st.floats(0, 0.95),
    sure=st.floats(0, 8),
)
def test_mining_keeps_what_a_sort_keeps(seed, threshold, min_kept, ignored, sure):
    logits, _, labels = example(seed, ignored)
    logits = logits * sure  # from a guess everywhere to certainty
    expected, _ = hard_pixels_plainly(logits, labels, threshold, min_kept)
    found = ohem_loss(logits, labels, threshold=threshold, min_kept=min_kept)
    assert found.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_mining_by_hand():
    # probabilities 0.9, 0.6, 0.5, 0.2 of the true class, and one ignored pixel that is worse
    p = torch.tensor([0.9, 0.6, 0.5, 0.2, 0.01], dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log()]).reshape(1, 2, 1, 5)
    labels = torch.tensor([[[0, 0, 0, 0, 255]]])

    def mean(*values):
        return -torch.tensor(values, dtype=torch.float64).log().mean()

    for threshold, min_kept, kept in (
        (0.7, 1, (0.6, 0.5, 0.2)),  # the threshold keeps more than asked for
        (0.55, 1, (0.5, 0.2)),
        (0.55, 3, (0.6, 0.5, 0.2)),  # the number keeps more than the threshold
        (0.01, 1, (0.2,)),
        (0.01, 4, (0.9, 0.6, 0.5, 0.2)),
        (0.7, 100, (0.9, 0.6, 0.5, 0.2)),  # fewer are there than shall be kept
        (1.0, 1, (0.9, 0.6, 0.5, 0.2)),
    ):
        found = ohem_loss(logits, labels, threshold=threshold, min_kept=min_kept)
        torch.testing.assert_close(found, mean(*kept))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), ignored=st.floats(0, 1))
def test_without_enough_pixels_or_with_threshold_one_it_is_the_plain_mean(seed, ignored):
    logits, _, labels = example(seed, ignored)
    plain = segmentation_loss(logits, labels)
    valid = max(1, int((labels != 255).sum()))
    torch.testing.assert_close(ohem_loss(logits, labels, threshold=0.1, min_kept=valid), plain)
    torch.testing.assert_close(ohem_loss(logits, labels, threshold=0.1, min_kept=9999), plain)
    torch.testing.assert_close(ohem_loss(logits, labels, threshold=1.0, min_kept=1), plain)


def test_only_kept_pixels_have_a_gradient_and_it_is_that_of_their_mean():
    logits, _, labels = example()
    logits.requires_grad_()
    ohem_loss(logits, labels, threshold=1e-4, min_kept=20).backward()
    each = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    kept = each >= each.flatten().topk(20).values[-1]
    (expected,) = torch.autograd.grad(each[kept].mean(), logits)
    torch.testing.assert_close(logits.grad, expected)
    assert int((logits.grad.abs().sum(1) > 0).sum()) == 20


def test_the_hard_pixels_are_those_of_the_whole_batch():
    logits, _, labels = example(ignored=0)
    logits[0] *= 20  # nearly certain, often wrongly: the worst pixels are in the first image
    found = ohem_loss(logits, labels, threshold=0.01, min_kept=10)
    torch.testing.assert_close(
        found, ohem_loss(logits[:1], labels[:1], threshold=0.01, min_kept=10)
    )


def test_nothing_to_mine_costs_nothing_and_has_a_finite_gradient():
    logits, _, labels = example(ignored=1.1)
    logits.requires_grad_()
    loss = ohem_loss(logits, labels)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("place", ["kept", "all"])
def test_a_loss_that_is_no_number_is_not_mined_away(place):
    logits, _, labels = example()
    labels[0, 0, 0] = 0
    logits[0, 0, 0, 0] = torch.nan
    if place == "all":
        logits[:] = torch.nan
    assert ohem_loss(logits, labels, min_kept=1).isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_mined_in_full(dtype):
    logits, _, labels = example()
    half = logits.to(dtype).requires_grad_()
    found = ohem_loss(half, labels, threshold=0.3, min_kept=10)
    assert found.dtype == torch.float32
    expected = ohem_loss(half.detach().double(), labels, threshold=0.3, min_kept=10)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    found.backward()
    assert half.grad.dtype == dtype and half.grad.isfinite().all()


@pytest.mark.parametrize("min_kept", [1, 5, 30, 60, 500])
@pytest.mark.parametrize("threshold", [0.2, 1e-9])
def test_processes_that_gather_choose_as_one_would(min_kept, threshold):
    logits, _, labels = example()
    labels[0] = 255  # the first process has nothing to say
    logits[1] *= 20  # and the second has all the hardest pixels
    asked, options = [[], [], []], {"threshold": threshold, "min_kept": min_kept}
    whole = ohem_loss(logits, labels, **options)

    def ask(i, told):
        def gather(mine):
            asked[i].append(mine)
            return told[len(asked[i]) - 1] if told else torch.cat([mine] * 3)

        return ohem_loss(logits[i : i + 1], labels[i : i + 1], **options, gather=gather)

    def talk(told):
        for heard in asked:
            heard.clear()
        parts = [ask(i, told) for i in range(3)]
        return parts, [torch.cat(values) for values in zip(*asked)]

    _, losses = talk(None)  # first each hands round its hardest losses
    _, counts = talk(losses)  # with these known, how many it keeps
    parts, _ = talk([losses[0], counts[1]])
    assert len(losses[0]) == 3 * min_kept
    torch.testing.assert_close(sum(parts) / 3, whole)


def test_mining_compiles_without_a_break():
    logits, auxiliary, labels = example()
    compiled = torch.compile(segmentation_loss, fullgraph=True, backend="eager")
    options = {"ohem": (0.3, 10), "ohem_auxiliary": True}
    expected = segmentation_loss((logits, auxiliary), labels, **options)
    torch.testing.assert_close(compiled((logits, auxiliary), labels, **options), expected)
    torch.compiler.reset()


def test_the_auxiliary_term_is_mined_where_asked_for():
    logits, auxiliary, labels = example()
    hard = [ohem_loss(x, labels, threshold=0.3, min_kept=10) for x in (logits, auxiliary)]
    plain = segmentation_loss(auxiliary, labels)
    found = segmentation_loss((logits, auxiliary), labels, ohem=(0.3, 10))
    torch.testing.assert_close(found, hard[0] + 0.4 * plain)
    both = segmentation_loss((logits, auxiliary), labels, ohem=(0.3, 10), ohem_auxiliary=True)
    torch.testing.assert_close(both, hard[0] + 0.4 * hard[1])
    assert not torch.allclose(found, both)


@pytest.mark.parametrize("name", OHEM)
def test_the_published_settings_on_a_published_crop(name):
    # one crop of 768 x 768: certain of most pixels, undecided about the first 150,000
    threshold, min_kept = OHEM[name]
    logits = torch.zeros(1, 2, 768, 768)
    logits[:, 0] = 5.0
    logits.flatten(2)[:, 0, :150_000] = 0
    found = ohem_loss(
        logits, torch.zeros(1, 768, 768).long(), threshold=threshold, min_kept=min_kept
    )
    sure = np.log1p(np.exp(-5))
    # 150,000 lie below either threshold; where more shall be kept, so are all equally sure ones
    rest = 768 * 768 - 150_000 if min_kept > 150_000 else 0
    expected = (150_000 * np.log(2) + rest * sure) / (150_000 + rest)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"threshold": 1.1}, {"min_kept": 0}])
def test_mining_refuses_wrong_options(options):
    logits, _, labels = example()
    with pytest.raises(ValueError, match=r"threshold in \(0, 1\] and min_kept of at least 1, got "):
        ohem_loss(logits, labels, **options)
    with pytest.raises(ValueError, match="upsample"):
        ohem_loss(logits[:, :, :3], labels)
