"""The real-time network: the published sizes, its parts, and that it sees the whole image."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.backbones import DFNet, backbone
from contextlab.costs.counting import needed_macs
from contextlab.modules import PyramidPooling
from contextlab.networks import DFSeg, realtime
from tests.modules.plain_pyramid import bilinear_plain, pyramid_pooling_plain

CONTEXTS = ("pyramid_pooling", "squeeze_reasoning", None)


def small(context="pyramid_pooling", **options):
    torch.manual_seed(0)
    return DFSeg(DFNet("df2", width=0.125), 5, context=context, dropout=0.0, **options)


def size(name, **options):
    with torch.device("meta"):
        return sum(p.numel() for p in realtime(19, backbone=name, **options).parameters())


def test_the_published_sizes():
    """9.37, 18.83 and 18.87 M; the 0.04 M that SR adds are 0.049 M before rounding."""
    assert size("df1") == 9_370_931
    assert size("df2") == 18_825_011
    reasoning = size("df2", context="squeeze_reasoning")
    assert reasoning == 18_873_907
    assert reasoning - size("df2") == 48_896
    norm = {"norm": True}
    assert size("df2", context="squeeze_reasoning", context_options=norm) == reasoning + 2 * 512


@pytest.mark.parametrize(
    ("name", "gmacs"), [("pyramid_pooling", 97.15), ("squeeze_reasoning", 97.79), (None, 96.98)]
)
def test_reasoning_costs_a_little_more_than_the_pyramid(name, gmacs):
    with torch.device("meta"):
        model = realtime(19, context=name).eval()
    assert needed_macs(model, (1, 3, 1024, 2048)) / 1e9 == pytest.approx(gmacs, abs=0.005)


def test_all_widths_follow_the_backbone():
    model = realtime(13, backbone="df1", backbone_options={"width": 0.25})
    assert {m.out_channels for m in (*model.laterals, *model.fusions)} == {32}
    assert [m.in_channels for m in model.laterals] == [32, 64, 32]
    assert isinstance(model.context, PyramidPooling) and model.classifier[1].in_channels == 64
    assert realtime(13, backbone_options={"width": 0.25}, width=24).fusions[0].out_channels == 24


@settings(deadline=None, max_examples=25)
@given(
    h=st.integers(1, 80), w=st.integers(1, 80), b=st.integers(1, 2), name=st.sampled_from(CONTEXTS)
)
def test_logits_have_the_size_of_the_image(h, w, b, name):
    with torch.no_grad():
        assert small(name).eval()(torch.rand(b, 3, h, w)).shape == (b, 5, h, w)


@pytest.mark.parametrize("name", CONTEXTS)
def test_the_parts_make_the_whole(name):
    model, x = small(name).eval(), torch.rand(2, 3, 70, 101)
    mean, std = (torch.tensor(v)[:, None, None] for v in (DFNet.mean, DFNet.std))
    fine, middle, coarse = model.backbone((x - mean) / std)
    a, b, c = model.laterals
    up = c(model.context(coarse))
    for lateral, map, fusion in ((b, middle, model.fusions[1]), (a, fine, model.fusions[0])):
        up = F.interpolate(up, size=map.shape[2:], mode="bilinear", align_corners=False)
        up = fusion(torch.cat([lateral(map), up], 1))
    logits = model.classifier(model.head(up))
    expected = F.interpolate(logits, size=(70, 101), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(x), expected)


def test_corners_are_aligned_everywhere_where_asked_for():
    options = {"align_corners": True, "context_options": {"stage_relu": False}}
    model, x = small(**options).eval().double(), torch.rand(2, 3, 70, 101).double()

    def up(x, like):
        return bilinear_plain(x, tuple(like.shape[2:]), align_corners=True)

    fine, middle, coarse = model.backbone((x - model.mean) / model.std)
    options = {"stage_relu": False, "align_corners": True}
    y = model.laterals[2](pyramid_pooling_plain(model.context, coarse, **options))
    for i, map in ((1, middle), (0, fine)):
        y = model.fusions[i](torch.cat([model.laterals[i](map), up(y, map)], 1))
    torch.testing.assert_close(model(x), up(model.classifier(model.head(y)), x))
    assert not small().context.align_corners


@pytest.mark.parametrize("name", CONTEXTS)
def test_every_weight_learns_in_training(name):
    model, labels = small(name).train(), torch.randint(5, (2, 64, 96))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    reached = set()
    for _ in range(2):
        optimiser.zero_grad()
        F.cross_entropy(model(torch.rand(2, 3, 64, 96)), labels).backward()
        reached |= {n for n, p in model.named_parameters() if p.grad.any()}
        optimiser.step()
    assert {n for n, _ in model.named_parameters()} - reached == set()


def test_it_computes_on_the_image_that_it_gets():
    """No smaller copy of the image: a checkerboard of single pixels reaches the backbone."""
    seen = []
    model = small()
    model.backbone.register_forward_hook(lambda net, inputs, output: seen.append(inputs[0]))
    board = torch.ones(2, 3, 64, 64)
    board[..., ::2, 1::2] = board[..., 1::2, ::2] = 0
    for training in (True, False):
        model.train(training)(board)
    for image in seen:
        assert image.shape == board.shape
        assert (image[..., 0, 0] != image[..., 0, 1]).all()


def test_other_backbones_serve():
    net = backbone("resnet18", weights="random", output_stride=32, out_indices=(2, 3, 4))
    model = DFSeg(net, 3, context="squeeze_reasoning").eval()
    assert model(torch.rand(1, 3, 65, 96)).shape == (1, 3, 65, 96)


def test_it_compiles_without_a_break():  # that the modules do is tested with them
    net = DFNet("df1", width=0.125)
    model, x = DFSeg(net, 5, context="squeeze_reasoning").eval(), torch.rand(2, 3, 45, 70)
    with torch.no_grad():
        expected = model(x)
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), expected)
    torch.compiler.reset()


def test_what_does_not_fit_is_refused_in_words():
    only = backbone("resnet18", weights="random", out_indices=(4,))
    with pytest.raises(ValueError, match="two maps or more and width >= 1, got 1 and 128"):
        DFSeg(only, 5)
    with pytest.raises(ValueError, match="width >= 1, got 3 and 0"):
        small(width=0)
    with pytest.raises(ValueError, match="expected a context for context_options, got None"):
        small(None, context_options={"nodes": 8})
    with pytest.raises(ValueError, match="at least 2 images in training, got 1"):
        small().train()(torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"floats 'b 3 h w' in \[0, 1\], got "):
        small().eval()(torch.rand(3, 64, 64))
