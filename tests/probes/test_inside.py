"""Shares of variance, on made-up channels whose answer is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import data, networks
from contextlab.probes import inside
from contextlab.probes.inside import explained, projected, selectivity, unevenness


@given(seed=st.integers(0, 99), k=st.integers(1, 4), groups=st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_the_two_parts_of_the_variance_add_up(seed, k, groups):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(40, k, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, groups, (40,), generator=draw)
    within = sum(((x[labels == c] - x[labels == c].mean(0)) ** 2).sum(0) for c in labels.unique())
    total = ((x - x.mean(0)) ** 2).sum(0)
    torch.testing.assert_close(explained(x, labels), 1 - within / total)
    torch.testing.assert_close(explained(3 * x - 7, labels), explained(x, labels))


def test_ignored_values_do_not_count():
    x = torch.tensor([[0.0], [1.0], [5.0], [6.0], [99.0], [-99.0]])
    labels = torch.tensor([0, 0, 1, 1, 255, -1])
    assert explained(x, labels).item() == pytest.approx(25 / 26)  # between 25, within 1
    with pytest.raises(ValueError, match="at least two labelled"):
        explained(x, torch.full((6,), 255))
    with pytest.raises(ValueError, match=r"got \(6, 1\) and \(5,\)"):
        explained(x, labels[:5])


def test_channels_of_one_class_and_of_two():
    labels = torch.randint(0, 4, (6, 8, 8), generator=torch.Generator().manual_seed(0))
    one = (labels == 2).float()
    two = (labels == 0).float() - (labels == 1).float()
    noise = torch.randn(6, 8, 8, generator=torch.Generator().manual_seed(1))
    constant = torch.ones(6, 8, 8)
    found = selectivity(torch.stack([one, two, noise, constant], 1), labels)
    assert found.explained.shape == (3,) and found.control.shape == (20, 3)
    assert found.explained[:2].tolist() == pytest.approx([1, 1]) and found.explained[2] < 0.05
    assert found.best[0] == 2 and found.best[1] in (0, 1)
    assert found.purity[0] == pytest.approx(1) and found.purity[1] < 0.75
    # one class against all else, as a plain regression on its indicator says it
    torch.testing.assert_close(found.single[2], torch.stack([
        explained(noise.reshape(-1, 1), (labels == c).long().flatten())[0] for c in range(4)
    ]).max())  # fmt: skip
    assert found.control.max() < 0.05 and found.above_control >= 2 / 3


def test_the_control_keeps_what_all_images_share():
    rows = torch.arange(8)[:, None].expand(8, 8)
    labels = (rows >= 4).long().expand(5, 8, 8)  # ground below, in every image
    found = selectivity(rows.float().expand(5, 1, 8, 8), labels)
    assert found.explained.item() == pytest.approx(found.control[0].item())
    assert found.above_control == 0


def test_no_image_keeps_its_labels_in_the_control():
    labels = torch.arange(5).reshape(5, 1, 1)
    for seed in range(20):
        found = selectivity(torch.randn(5, 2, 1, 1), labels, shuffles=1, seed=seed)
        assert found.explained.tolist() == pytest.approx([1, 1])  # every image its own label
    pairs = torch.tensor([0, 0, 1, 1]).reshape(4, 1, 1)
    values = pairs[:, None].float()
    control = selectivity(values, pairs, shuffles=50).control
    assert set(control.flatten().round(decimals=6).tolist()) <= {0.0, 1.0}
    assert 0 < control.mean() < 1


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="labels 'n h w'"):
        selectivity(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5))
    with pytest.raises(ValueError, match="two images"):
        selectivity(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="at least one shuffle"):
        _ = selectivity(torch.randn(2, 1, 4, 4), torch.ones(2, 4, 4), shuffles=0).above_control


def test_a_rotation_keeps_lengths_and_mixes_channels():
    x = torch.randn(2, 6, 4, 5)
    turned = projected(x, seed=3)
    torch.testing.assert_close(turned.norm(dim=1), x.norm(dim=1))
    assert not torch.allclose(turned, x) and not torch.allclose(turned, projected(x, seed=4))
    torch.testing.assert_close(projected(x, 2, seed=3), turned[:, :2])
    for wrong in (0, 7):
        with pytest.raises(ValueError, match="1 to 6"):
            projected(x, wrong)


def test_pure_channels_are_mixed_by_a_rotation():
    labels = torch.randint(0, 6, (4, 8, 8), generator=torch.Generator().manual_seed(0))
    maps = torch.nn.functional.one_hot(labels).movedim(-1, 1).float()
    ours = selectivity(maps, labels, shuffles=0).purity.mean()
    turned = selectivity(projected(maps), labels, shuffles=0).purity.mean()
    assert ours == pytest.approx(1) and turned < 0.8


def test_unevenness_by_hand_and_under_scale():
    maps = torch.tensor([[[[1.0, 3.0, 11.0, 13.0]]]]).repeat(2, 2, 1, 1)
    segments = torch.tensor([[[0, 0, 1, 1]], [[5, 5, 9, 255]]])
    found = unevenness(maps, segments)
    # second image: 1 and 3 around 2, then 11 alone; mean 5: within 2, between 2 * 9 + 36
    assert found.tolist() == pytest.approx([4 / 100, 2 / 54])
    torch.testing.assert_close(unevenness(-2 * maps + 1, segments), found)


def test_maps_at_the_slot():
    torch.manual_seed(0)
    streets = data.Streets("val", size=3)
    model = networks.network(
        13, context="squeeze_reasoning", context_options={"nodes": 4}, width=16, kernel=1,
        auxiliary=False,
    )  # fmt: skip
    found = inside.slot_maps(model, streets, (2, 0), batch=1)
    assert model.training and found.images == (2, 0)
    assert found.before.shape == found.after.shape == found.fused.shape == (2, 16, 16, 32)
    model.eval()
    x = streets[2][0][None]
    with torch.no_grad():
        torch.testing.assert_close(found.before[:1], model.features(x))
        torch.testing.assert_close(found.after[:1], model.slot(model.features(x)))
        logits = model.classifier(found.fused[:1])
        up = torch.nn.functional.interpolate(logits, (64, 128), mode="bilinear")
        torch.testing.assert_close(up, model(x))
    assert torch.equal(found.labels[1], streets[0][1][2::4, 2::4])
    gates = inside.gates(model, found.before)
    assert gates.shape == (2, 8, 1, 1)
    with pytest.raises(ValueError, match="slot with gates, got Identity"):
        inside.gates(networks.network(13, width=16, kernel=1, auxiliary=False), found.before)
    with pytest.raises(ValueError, match="at least one image"):
        inside.slot_maps(model, streets, [])


def test_the_answer_of_a_scene():
    streets = data.Streets("val", size=12)
    day = inside.answer_of(streets, range(12), "G")
    names = {streets.classes[i] for i in day.flatten().tolist()}
    assert day.shape == (12, 1, 1) and names == {"sidewalk", "vegetation"}
    zones = inside.answer_of(streets, range(12), "P")
    assert (zones == -1).any() and (zones >= 0).any()  # an image poses P or A, never both
