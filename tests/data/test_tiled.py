"""The same content twice as wide."""

import pytest
import torch

from contextlab import data, training


def test_images_labels_and_demands_are_mirrored():
    streets = data.Streets("val", size=2)
    tiled = data.Tiled(streets, times=3)
    data.check(tiled)
    (image, labels), (wide, answers) = streets[1], tiled[1]
    assert len(tiled) == 2 and wide.shape == (3, 64, 384) and answers.shape == (64, 384)
    for k, part in enumerate(wide.split(128, -1)):
        assert torch.equal(part, image.flip(-1) if k == 1 else image)
    assert torch.equal(tiled.demand(1)[:, 128:256], torch.as_tensor(streets.demand(1)).flip(-1))
    assert torch.equal(answers.flatten().bincount(), 3 * labels.flatten().bincount())
    torch.testing.assert_close(wide.mean((1, 2)), image.mean((1, 2)))


def test_a_model_of_single_pixels_scores_the_same():
    streets = data.Streets("val", size=4)
    model = torch.nn.Conv2d(3, 13, 1)
    once, twice = (training.evaluate(model, d) for d in (streets, data.Tiled(streets)))
    assert once.miou == pytest.approx(twice.miou) and once.demands == pytest.approx(
        twice.demands, nan_ok=True
    )


def test_other_data_sets_and_mistakes():
    class Plain:
        classes, palette, ignore_index = ("a",), data.Streets.palette[:1], 255

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return torch.zeros(3, 2, 2), torch.zeros(2, 2, dtype=torch.int64)

    assert not hasattr(data.Tiled(Plain()), "demand")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        data.Tiled(Plain(), times=0)
