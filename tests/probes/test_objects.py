"""Connected pieces and who gains on them, on made-up labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import data
from contextlab.probes.objects import ByArea, by_area, components, taken_over


def flood(labels: torch.Tensor) -> torch.Tensor:
    """One pixel after the other: the plainest way to number pieces."""
    numbers, count = torch.full_like(labels, -1), 0
    for place in labels.nonzero().tolist() + (labels == 0).nonzero().tolist():
        if numbers[tuple(place)] >= 0 or labels[tuple(place)] == 255:
            continue
        stack = [place]
        while stack:
            n, y, x = stack.pop()
            numbers[n, y, x] = count
            for u, v in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                inside = 0 <= u < labels.shape[1] and 0 <= v < labels.shape[2]
                if inside and numbers[n, u, v] < 0 and labels[n, u, v] == labels[n, y, x]:
                    stack.append([n, u, v])
        count += 1
    return numbers


@given(seed=st.integers(0, 999), h=st.integers(1, 9), w=st.integers(1, 9), k=st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_pieces_are_those_of_a_flood(seed, h, w, k):
    labels = torch.randint(0, k, (2, h, w), generator=torch.Generator().manual_seed(seed))
    if seed % 3 == 0:
        labels[labels == 0] = 255
    ours, plain = components(labels), flood(labels)
    assert torch.equal(ours < 0, plain < 0)
    pairs = torch.stack([ours, plain])[:, ours >= 0].unique(dim=1)
    count = pairs.shape[1]  # one number of ours for one of theirs
    assert ours.max() + 1 == plain.max() + 1 == count or count == 0
    assert sorted(pairs[0].tolist()) == list(range(count))


def test_a_spiral_is_one_piece():
    spiral = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1],
                           [1, 1, 1, 1, 1]])[None]  # fmt: skip
    assert components(spiral).max() == 1
    with pytest.raises(ValueError, match="labels 'n h w'"):
        components(spiral[0])


class Knows(torch.nn.Module):
    """Right on some classes, and says the next class on the others."""

    def __init__(self, dataset, known):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))
        self.answers = {image.sum().item(): labels for image, labels in dataset}
        self.known = torch.tensor([c in known for c in range(len(dataset.classes))])

    def forward(self, x):
        labels = torch.stack([self.answers[image.sum().item()] for image in x])
        said = torch.where(self.known[labels], labels, (labels + 1) % len(self.known))
        return torch.nn.functional.one_hot(said, len(self.known)).movedim(-1, 1) + self.bias


def test_gains_fall_on_the_objects_that_are_known():
    streets = data.Streets("val", size=3)
    bus = {streets.classes.index(name) for name in ("bus", "truck", "train")}
    found = by_area(Knows(streets, range(13)), Knows(streets, set(range(13)) - bus), streets)
    long = np.isin(found.label, list(bus))
    assert long.any() and set(found.gain[long]) == {100} and set(found.gain[~long]) == {0}
    labels = torch.stack([streets[i][1] for i in range(3)])
    assert found.area.sum() <= labels.numel() and found.area.min() >= 4
    whole = by_area(Knows(streets, bus), Knows(streets, bus), streets, [1], smallest=1)
    assert whole.area.sum() == labels[1].numel() and set(whole.image) == {1}
    # the body of a long vehicle poses demand L
    demands = {streets.demand_names[d] for d in found.demand[long & (found.area > 200)]}
    assert demands == {"L"}
    assert len(found.where(long).area) == long.sum()
    with pytest.raises(ValueError, match="at least one image"):
        by_area(Knows(streets, bus), Knows(streets, bus), streets, [])


def made(area, gain, image) -> ByArea:
    area, gain, image = map(np.array, (area, gain, image))
    nothing = np.zeros(len(area))
    return ByArea(area, gain, nothing, nothing, image, nothing)


def test_slopes_are_points_a_doubling():
    found = made([4, 8, 16, 4, 16, 9], [0.0, 3.0, 6.0, 8.0, 4.0, 1.0], [0, 0, 0, 1, 1, 2])
    assert found.slopes() == pytest.approx([3, -2])  # the third image has one object


def test_octaves():
    rows = made([3, 5, 17, 20, 40], [1.0, 3.0, 10.0, 20.0, 7.0], [0] * 5).octaves()
    assert [(r["from"], r["to"], r["objects"], r["gain"]) for r in rows] == [
        (1, 15, 2, 2), (16, 31, 2, 15), (32, 63, 1, 7),
    ]  # fmt: skip


class Said(torch.nn.Module):
    """Answers as told, one image after the other."""

    def __init__(self, answers):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))
        self.answers = iter(answers)

    def forward(self, x):
        said = torch.stack([next(self.answers) for _ in x])
        return torch.nn.functional.one_hot(said, 4).movedim(-1, 1) + self.bias


class Scenes(list):
    """Labels without images to speak of."""

    ignore_index, classes = 255, "abcd"

    def __init__(self, labels):
        super().__init__((torch.zeros(3, *each.shape), each) for each in labels)


@given(seed=st.integers(0, 999), h=st.integers(1, 7), w=st.integers(1, 7))
@settings(deadline=None, max_examples=25)
def test_who_takes_over_pixel_by_pixel(seed, h, w):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (3, h, w), generator=draw)
    labels[torch.rand(3, h, w, generator=draw) < 0.1] = 255
    said = torch.randint(0, 4, (3, h, w), generator=draw)
    numbers, want = components(labels), []
    for n in range(3):
        larger = smaller = 0
        for y, x in torch.nonzero(numbers[n] >= 0).tolist():
            own = numbers[n, y, x]
            if said[n, y, x] == labels[n, y, x]:
                continue
            rivals = [0]
            for i, j in torch.nonzero(numbers[n] == own).tolist():
                for u, v in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                    if not (0 <= u < h and 0 <= v < w) or labels[n, u, v] != said[n, y, x]:
                        continue
                    rivals.append((numbers == numbers[n, u, v]).sum().item())
            area = (numbers == own).sum().item()
            larger += max(rivals) > area
            smaller += 0 < max(rivals) < area
        want.append([larger, smaller])
    assert taken_over(Said(said), Scenes(labels), batch=2).tolist() == want


def test_a_border_drawn_off_takes_from_both_sides_alike():
    labels = torch.zeros(1, 12, 20, dtype=torch.long)
    labels[0, 4:8, 5:12], labels[0, 2:4, 15:17] = 1, 2
    for by in (-1, 1):
        assert taken_over(Said(labels.roll(by, 2)), Scenes(labels)).tolist() == [[6, 6]]
    swallowed = labels.clone()
    swallowed[labels == 2] = 0
    assert taken_over(Said(swallowed), Scenes(labels)).tolist() == [[4, 0]]
