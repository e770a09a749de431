"""Averages over windows, scales and mirror images, against a loop over every one of them."""

import math
import random
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from contextlab.inference import Averaged, average, starts


class Seeing(nn.Module):
    """Logits that depend on the pixel, on its place in the window and on the whole window."""

    def __init__(self, classes=4):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Conv2d(3, classes, 3, padding=1, padding_mode="zeros").double()
        self.norm = nn.BatchNorm2d(classes).double()
        self.sizes = []

    def forward(self, x):
        self.sizes.append(tuple(x.shape))
        right = torch.linspace(0, 1, x.shape[-1], dtype=x.dtype)
        return self.norm(4 * self.mix(x)) + x.mean((1, 2, 3), keepdim=True) * 9 * right


def plainly(network, image, window, stride, scales, flip, mean_of):
    """The definition: for one image, every scale, mirror, window and pixel by itself."""
    network.eval()
    side_of = tuple(image.shape[1:])
    answers = []
    for scale in scales:
        size = [max(1, round(side * scale)) for side in side_of]
        small = F.interpolate(image[None], size, mode="bilinear", align_corners=False)
        for mirrored in [False, True] if flip else [False]:
            seen = torch.flip(small, [3]) if mirrored else small
            high, wide = min(window[0], size[0]), min(window[1], size[1])
            said = [[[] for _ in range(size[1])] for _ in range(size[0])]
            rows = 1 + max(0, math.ceil((size[0] - high) / stride[0]))
            columns = 1 + max(0, math.ceil((size[1] - wide) / stride[1]))
            for i in range(rows):
                for j in range(columns):
                    top = min(i * stride[0], size[0] - high)
                    left = min(j * stride[1], size[1] - wide)
                    logits = network(seen[:, :, top : top + high, left : left + wide])[0]
                    for y in range(high):
                        for x in range(wide):
                            one = logits[:, y, x]
                            one = one if mean_of == "logits" else one.softmax(0)
                            said[top + y][left + x].append(one)
            mean = torch.stack(
                [torch.stack([torch.stack(p).mean(0) for p in row], -1) for row in said], -2
            )
            mean = mean.softmax(0) if mean_of == "logits" else mean
            mean = torch.flip(mean, [2]) if mirrored else mean
            answers.append(F.interpolate(mean[None], side_of, mode="bilinear")[0])
    return torch.stack(answers).mean(0)


@pytest.mark.parametrize("seed", range(12))
@torch.no_grad()
def test_every_window_counts_as_often_as_it_covers_a_pixel(seed):
    draw = random.Random(seed)
    network = Seeing()
    size = draw.randint(1, 17), draw.randint(1, 17)
    window = draw.randint(1, 12), draw.randint(1, 12)
    stride = draw.randint(1, window[0]), draw.randint(1, window[1])
    scales = draw.choice([(1.0,), (0.5, 1.25), (0.75, 1.0, 2.0), (0.01,)])
    flip, mean_of = draw.random() < 0.5, draw.choice(["probabilities", "logits"])
    images = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.manual_seed(seed))
    options = {"scales": scales, "flip": flip, "mean_of": mean_of}
    found = average(
        network, images, window=window, stride=stride, batch=draw.randint(1, 5), **options
    )
    wanted = torch.stack([plainly(network, one, window, stride, **options) for one in images])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [None, 13, (11, 13), (40, 13), 1000])
def test_a_window_that_covers_the_image_is_the_plain_network(window):
    network = Seeing().eval()
    images = torch.rand(3, 3, 11, 13, dtype=torch.float64)
    network(images)
    plain = network(images).softmax(1)
    for mean_of in ("probabilities", "logits"):
        found = average(network, images, window=window, mean_of=mean_of, batch=2)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)
    assert torch.equal(found.argmax(1), plain.argmax(1))


def test_windows_cover_a_side_and_end_with_it():
    for length in range(1, 30):
        for window in range(1, 12):
            for stride in range(1, window + 1):
                found = starts(length, window, stride)
                held = {p for s in found for p in range(s, s + window)}
                assert held >= set(range(length)) and found == sorted(set(found))
                assert found[-1] + window == max(length, window) and found[0] == 0
                assert all(b - a <= stride for a, b in pairwise(found))


def test_the_stride_is_two_thirds_of_the_window_and_the_batch_bounds_what_is_seen_at_once():
    network = Seeing()
    images = torch.rand(2, 3, 20, 27, dtype=torch.float64)
    average(network, images, window=10, batch=3)  # starts 0, 7, 10 by 0, 7, 14, 17
    assert sum(size[0] for size in network.sizes) == 2 * 3 * 4
    assert all(size[0] <= 3 and size[2:] == (10, 10) for size in network.sizes)


def test_a_mirror_image_gets_the_mirrored_answer():
    network, images = Seeing(), torch.rand(1, 3, 9, 14, dtype=torch.float64)
    options = {"window": (5, 6), "stride": (3, 2), "flip": True, "scales": (0.7, 1.0)}
    # the starts of windows are not symmetric unless the stride fits; here they are: 14 - 6 = 4 * 2
    options["scales"] = (1.0,)
    found = average(network, images, **options)
    assert torch.allclose(average(network, images.flip(-1), **options), found.flip(-1), atol=1e-12)


def test_modes_come_back_and_nothing_is_learned():
    network = Seeing().train()
    network.mix.eval()
    before = network.norm.running_mean.clone()
    average(network, torch.rand(1, 3, 5, 5, dtype=torch.float64))
    assert network.training and network.norm.training and not network.mix.training
    assert torch.equal(network.norm.running_mean, before)
    with pytest.raises(RuntimeError):
        average(network, torch.rand(1, 4, 5, 5, dtype=torch.float64))
    assert network.norm.training


class Says(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        return self.how(torch.cat([x, -x], 1))


@pytest.mark.parametrize(
    "how",
    [
        lambda logits: {"aux": logits[:1], "out": logits},
        lambda logits: (logits, None),
        lambda logits: [logits, logits[:, :1]],
    ],
)
def test_dicts_and_tuples_are_understood(how):
    images = torch.rand(2, 3, 6, 7)
    plain = average(Says(lambda logits: logits), images, window=4)
    assert torch.equal(average(Says(how), images, window=4), plain)


def test_small_logits_are_drawn_out_and_half_precision_is_averaged_in_single():
    images = torch.rand(1, 3, 8, 10)
    found = average(Says(lambda logits: F.avg_pool2d(logits, 2).half()), images)
    assert found.shape == (1, 6, 8, 10) and found.dtype == torch.float32
    torch.testing.assert_close(found.sum(1), torch.ones(1, 8, 10))


@pytest.mark.parametrize(
    "how, said",
    [
        (
            lambda logits: {"logits": logits, "loss": 0},
            r"a dict of logits: \(2, 6, 6, 7\), loss: int",
        ),
        (lambda logits: (None, logits), r"a tuple of NoneType, \(2, 6, 6, 7\)"),
        (lambda logits: logits.mean((2, 3)), r"Says returned \(2, 6\)"),
        (lambda logits: logits[:1], r"logits 'b k h w' of 2 images.*returned \(1, 6, 6, 7\)"),
        (lambda logits: "road", "Says returned str"),
    ],
)
def test_what_holds_no_logits_is_named(how, said):
    with pytest.raises(ValueError, match=said):
        average(Says(how), torch.rand(2, 3, 6, 7))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"stride": 4}, "expected a window to go with stride=4, got none"),
        ({"window": 4, "stride": 5}, r"no longer than window=\(4, 4\), got \(5, 5\)"),
        ({"window": (4, 6), "stride": (5, 5)}, "expected a stride no longer"),
        ({"window": (4, 0)}, "one or two whole numbers >= 1"),
        ({"window": (4, 5, 6)}, "one or two whole numbers >= 1"),
        ({"scales": ()}, "at least one"),
        ({"scales": (1, -0.5)}, "expected scales above 0"),
        ({"scales": (math.nan,)}, "expected scales above 0"),
        ({"mean_of": "votes"}, "probabilities, logits, got 'votes'"),
        ({"batch": 0}, "expected batch >= 1"),
    ],
)
def test_wrong_options_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        average(Says(lambda logits: logits), torch.rand(1, 3, 9, 9), **options)


@pytest.mark.parametrize("shape", [(3, 9, 9), (1, 3, 0, 4), (0, 3, 4, 4)])
def test_wrong_images_are_named(shape):
    with pytest.raises(ValueError, match="expected images as floats 'b c h w'"):
        average(Says(lambda logits: logits), torch.rand(shape))
    with pytest.raises(ValueError, match="uint8"):
        average(Says(lambda logits: logits), torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_an_averaged_network_is_a_network():
    network, images = Seeing(), torch.rand(2, 3, 9, 14, dtype=torch.float64)
    averaged = Averaged(network, window=6, flip=True)
    wanted = average(network, images, window=6, flip=True)
    torch.testing.assert_close(averaged(images).softmax(1), wanted)
    assert dict(averaged.named_parameters()).keys() == {
        f"network.{name}" for name, _ in network.named_parameters()
    }
