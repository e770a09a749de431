"""Covered windows: against a plain loop, on networks whose reach is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contextlab import probes


@settings(deadline=None, max_examples=20)
@given(
    h=st.integers(3, 13),
    w=st.integers(3, 13),
    window=st.integers(1, 9),
    stride=st.integers(1, 5),
    batch=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_it_is_the_plain_loop(h, w, window, stride, batch, seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=2))
    net, image = net.double(), torch.rand(3, h, w, dtype=torch.float64)
    marked = [(0, w - 1), (h // 2, w // 2)]
    found = probes.occlusion(net, image, marked, window=window, stride=stride, batch=batch)
    rows, columns = -(-h // stride), -(-w // stride)
    assert found.shape == (2, rows, columns)
    assert probes.occlusion_passes((h, w), stride=stride) == rows * columns + 1
    with torch.no_grad():
        y = net(image[None])[0]
        for r in range(rows):
            for c in range(columns):
                covered = image.clone()
                for py in range(h):
                    for px in range(w):
                        # a pixel is covered if its middle lies in the window around the cell's
                        dy, dx = py + 0.5 - (r + 0.5) * stride, px + 0.5 - (c + 0.5) * stride
                        edge = -window / 2 + ((window - stride) % 2) / 2
                        if edge < dy + 0.25 < edge + window and edge < dx + 0.25 < edge + window:
                            covered[:, py, px] = image.mean((1, 2))
                change = net(covered[None])[0] - y
                for p, (row, column) in enumerate(marked):
                    at = row * y.shape[1] // h, column * y.shape[2] // w
                    want = change[:, at[0], at[1]].norm()
                    assert found[p, r, c].item() == pytest.approx(want.item(), abs=1e-12)


def test_only_what_is_seen_moves_the_answer():
    torch.manual_seed(0)
    net, image = nn.Conv2d(3, 4, 5, padding=2), torch.rand(3, 20, 20)
    (field,) = probes.occlusion(net, image, [(10, 4)], window=1, stride=1)
    seen = field.nonzero()
    assert seen.min(0).values.tolist() == [8, 2] and seen.max(0).values.tolist() == [12, 6]
    assert probes.held_area(field, 1.0) == 25 / 400
    assert probes.share_beyond(field, (10, 4), 2) == 0 < probes.share_beyond(field, (10, 4), 1)


def test_an_image_of_one_colour_moves_nothing():
    net = nn.Conv2d(3, 4, 3)
    assert (
        probes.occlusion(net, torch.full((3, 8, 8), 0.5), [(4, 4)], window=4, stride=4).max() < 1e-6
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 0}, "got 0, 16 and 16"),
        ({"stride": 0}, "got 64, 0 and 16"),
        ({"positions": []}, "inside 8 x 8, got none"),
        ({"positions": [(0, 0), (8, 0)]}, r"inside 8 x 8, got \[\(8, 0\)\]"),
        ({"layer": "none"}, "got 'none'"),
    ],
)
def test_wrong_options_are_named(options, said):
    options = {"positions": [(0, 0)], **options}
    with pytest.raises(ValueError, match=said):
        probes.occlusion(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.rand(3, 8, 8), **options)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_the_area_wants_a_share_and_a_field(share):
    with pytest.raises(ValueError, match="a share above 0"):
        probes.held_area(torch.ones(2, 2), share)
    for field in (torch.zeros(2, 2), torch.tensor([[1.0, -1.0]])):
        with pytest.raises(ValueError, match="not negative and somewhere above 0"):
            probes.held_area(field)


@given(cells=st.integers(1, 99), share=st.floats(0.01, 1))
def test_an_even_field_is_held_by_as_much(cells, share):
    area = probes.held_area(torch.ones(1, cells), share)
    assert share - 1e-9 <= area < share + 1 / cells + 1e-9
