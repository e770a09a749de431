"""Cosines of features, at a marked pixel and on the map of any layer."""

import pytest
import torch

from contextlab import probes
from contextlab.networks.segmentation import network
from contextlab.probes.layers import output_of


def test_cosines_are_those_of_torch():
    x = torch.randn(7, 5, 6, generator=torch.Generator().manual_seed(0))
    found = probes.cosines(x, (2, 3))
    want = torch.cosine_similarity(x, x[:, 2, 3, None, None], dim=0)
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(probes.cosines(9 * x, (2, 3)), found)
    assert found.argmax() == 2 * 6 + 3
    with pytest.raises(ValueError, match=r"inside 5 x 6, got \(5, 0\)"):
        probes.cosines(x, (5, 0))


@pytest.mark.parametrize("layer", ["backbone", "slot", "fuse"])
def test_a_pixel_of_the_image_is_a_position_of_the_map(layer):
    torch.manual_seed(0)
    model = network(5, context="non_local", width=16, kernel=1)
    image = torch.rand(3, 32, 48)
    found = probes.similarity_maps(model, image, [(0, 0), (31, 47), (13, 22)], layer=layer)
    features = output_of(model, image[None], layer)[0]
    h, w = features.shape[1:]
    assert found.shape == (3, h, w)
    places = [(0, 0), (h - 1, w - 1), (13 * h // 32, 22 * w // 48)]
    for one, place in zip(found, places):
        torch.testing.assert_close(one, probes.cosines(features, place))
        assert one[place].item() == pytest.approx(1)
