"""The context FCN: shapes, the slot's contract, the receptive field, training, compiling."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contextlab.backbones import CourseBackbone, backbone
from contextlab.modules import catalogue, context
from contextlab.networks import ContextFCN, network


def small(**options):
    torch.manual_seed(0)
    # wide enough for the default options of every module
    width = 64 if isinstance(options.get("slot"), str) else 16
    options = {"width": width, "kernel": 1, "auxiliary": False, "dropout": 0.0} | options
    return ContextFCN(CourseBackbone(width=12, stem=4), 5, **options)


# of every kind one; that each module alone compiles, exports and learns is tested with the modules
SLOTS = (None, "squeeze_excite", "non_local", "pyramid_pooling", "criss_cross", "glore")


def sides_of_gradient(gradient):
    touched = gradient.abs().sum((0, 1)) > 0
    rows, columns = touched.any(1).nonzero().flatten(), touched.any(0).nonzero().flatten()
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


@settings(deadline=None, max_examples=40)
@given(
    h=st.integers(1, 50),
    w=st.integers(1, 50),
    b=st.integers(1, 2),
    name=st.sampled_from([None, *catalogue()]),
)
def test_logits_have_the_size_of_the_image(h, w, b, name):
    with torch.no_grad():
        assert small(slot=name).eval()(torch.rand(b, 3, h, w)).shape == (b, 5, h, w)


@pytest.mark.parametrize("name", SLOTS)
def test_every_weight_learns_in_training(name):
    model = small(slot=name, auxiliary=True, kernel=3)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x, labels = torch.rand(2, 3, 24, 32), torch.randint(5, (2, 24, 32))
    reached = set()
    for _ in range(2):  # a block that is the identity at the start opens in the first step
        logits, auxiliary = model(x)
        assert logits.shape == auxiliary.shape == (2, 5, 24, 32)
        loss = F.cross_entropy(logits, labels) + 0.4 * F.cross_entropy(auxiliary, labels)
        optimiser.zero_grad()
        loss.backward()
        reached |= {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        optimiser.step()
    assert {n for n, _ in model.named_parameters()} - reached == set()


def test_the_auxiliary_answer_is_for_training_only():
    model = small(auxiliary=True)
    x = torch.rand(2, 3, 16, 16)
    assert isinstance(model.train()(x), tuple)
    assert isinstance(model.eval()(x), torch.Tensor)
    assert isinstance(small(auxiliary=False).train()(x), torch.Tensor)


def test_each_dropout_goes_alone():
    for options, shares in (
        ({"dropout": 0.2}, (0.2, 0.2)),
        ({"dropout": 0.2, "auxiliary_dropout": 0}, (0.2, 0)),
        ({"auxiliary_dropout": 0.3}, (0, 0.3)),
    ):
        model = small(auxiliary=True, **options)
        assert (model.classifier[0].p, model.auxiliary[-2].p) == shares


def test_the_auxiliary_head_reads_the_last_but_one_map():
    model = small(auxiliary=True).train()
    x = torch.rand(2, 3, 32, 32)
    model(x)[1].sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    assert {n.split(".")[0] for n in reached} == {"backbone", "auxiliary"}
    assert not any(n.startswith(("backbone.blocks.1", "backbone.blocks.2")) for n in reached)


def test_the_parts_make_the_whole():
    model = small(slot=context("squeeze_excite", 16, reduction=4), kernel=3).eval()
    x = torch.rand(2, 3, 30, 41)
    normalised = (x - torch.tensor(0.5)) / 0.5
    features = model.reduce(model.backbone(normalised)[-1])
    torch.testing.assert_close(model.features(x), features)
    logits = model.classifier(model.fuse(model.slot(features)))
    expected = F.interpolate(logits, size=(30, 41), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(x), expected)


def test_images_are_normalised_by_the_backbones_statistics():
    class Stated(CourseBackbone):
        mean = (0.1, 0.2, 0.3)
        std = (0.5, 1.0, 2.0)

        def forward(self, x):
            self.seen = x
            return super().forward(x)

    net = Stated(width=12, stem=4)
    ContextFCN(net, 5, width=8, auxiliary=False).eval()(torch.full((1, 3, 8, 8), 0.6))
    torch.testing.assert_close(net.seen[0, :, 0, 0], torch.tensor([1.0, 0.4, 0.15]))


def test_statistics_belong_to_the_backbone_not_to_the_weights():
    keys = small().state_dict()
    assert not {"mean", "std"} & set(keys)


def test_without_a_slot_it_is_the_fcn():
    model = small(slot=None)
    assert isinstance(model.slot, nn.Identity)
    assert not list(model.slot.parameters())


def test_a_pixel_of_the_course_network_sees_35_pixels():
    torch.manual_seed(0)
    model = network(13, width=64, kernel=1, auxiliary=False).eval().double()
    image = torch.rand(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    for row, column in ((48, 48), (49, 50), (50, 51), (51, 49)):
        (gradient,) = torch.autograd.grad(model(image)[0, :, row, column].square().sum(), image)
        assert sides_of_gradient(gradient) == (35, 35)
    assert model.backbone.receptive_field + model.backbone.strides[-1] == 35


def test_with_global_context_a_pixel_sees_the_whole_image():
    torch.manual_seed(0)
    model = network(13, context="squeeze_excite", width=64, kernel=1, auxiliary=False)
    image = torch.rand(1, 3, 96, 96, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.eval()(image)[0, :, 48, 48].square().sum(), image)
    assert sides_of_gradient(gradient) == (96, 96)


def test_a_slot_may_be_any_module_that_keeps_the_shape():
    slot = nn.Conv2d(16, 16, 3, padding=1)
    model = small(slot=slot)
    assert model.slot is slot
    assert model.eval()(torch.rand(1, 3, 17, 9)).shape == (1, 5, 17, 9)


@pytest.mark.parametrize(
    "slot", [nn.Conv2d(16, 8, 1), nn.Conv2d(16, 16, 3), nn.AvgPool2d(2), nn.Flatten()]
)
def test_a_slot_that_changes_the_shape_is_refused(slot):
    model = small(slot=slot)
    message = rf"{type(slot).__name__} got \(2, 16, 6, 8\) and returned \("
    with pytest.raises(ValueError, match=message):
        model(torch.rand(2, 3, 24, 32))


def test_a_slot_that_returns_no_map_is_refused():
    model = small(slot=nn.MultiheadAttention(16, 1))
    model.slot.forward = lambda x: (x, None)
    with pytest.raises(ValueError, match=r"MultiheadAttention got .* and returned a tuple"):
        model(torch.rand(2, 3, 24, 32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slot": "non_locale"}, "did you mean 'non_local'"),
        ({"slot": nn.Conv2d}, "an nn.Module built for 16 channels"),
        ({"slot": nn.Identity(), "slot_options": {"heads": 2}}, "need a slot given by name"),
        ({"slot_options": {"heads": 2}}, "need a slot given by name"),
        ({"slot": "non_local", "slot_options": {"head": 2}}, "did you mean 'heads'"),
        ({"kernel": 2}, "odd kernel"),
        ({"width": 0}, "expected width >= 1, got 0"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize(
    "image",
    [
        torch.rand(3, 8, 8),
        torch.rand(1, 1, 8, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match=r"floats 'b 3 h w' in \[0, 1\], got "):
        small().eval()(image)


def test_a_module_that_is_no_backbone_is_refused():
    with pytest.raises(ValueError, match="Conv2d lacks channels, strides, mean, std"):
        ContextFCN(nn.Conv2d(3, 8, 3), 5)
    only = backbone("resnet18", weights="random", out_indices=(4,))
    with pytest.raises(ValueError, match="returns 1; pass auxiliary=False"):
        ContextFCN(only, 5, width=8)
    model = ContextFCN(only, 5, width=8, auxiliary=False).eval()
    assert model(torch.rand(1, 3, 33, 32)).shape == (1, 5, 33, 32)


@pytest.mark.parametrize("name", SLOTS)
@pytest.mark.parametrize("training", [False, True])
def test_it_compiles_without_a_break(name, training):
    model = small(slot=name, auxiliary=True).train(training)
    x = torch.rand(2, 3, 21, 34)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))
    torch.compiler.reset()


@pytest.mark.parametrize("name", SLOTS)
def test_it_exports(name):
    model = small(slot=name, auxiliary=True).eval()
    x = torch.rand(1, 3, 21, 34)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_a_real_backbone_compiles_and_exports():
    torch.manual_seed(0)
    net = backbone("tf_efficientnet_lite0", weights="random", output_stride=16)
    model = ContextFCN(net, 11, slot="non_local", width=32).eval()
    x = torch.rand(1, 3, 45, 64)
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(
            torch.compile(model, fullgraph=True, backend="eager")(x), expected
        )
        torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), expected)
    torch.compiler.reset()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_out_as_it_went_in(dtype):
    model = small(slot="non_local").to(dtype).eval()
    assert model(torch.rand(1, 3, 16, 24, dtype=dtype)).dtype == dtype


def test_autocast_and_channels_last_change_little():
    model = small(slot="non_local").eval()
    x = torch.rand(2, 3, 32, 48)
    expected = model(x)
    last = model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x.contiguous(memory_format=torch.channels_last)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close = last(x)
    assert (close.float() - expected).abs().max() < 0.1 * expected.abs().max()


def test_one_tiny_image_cannot_be_normalised_in_training():
    model = small(kernel=3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model.train()(torch.rand(1, 3, 4, 4))
    assert model.train()(torch.rand(2, 3, 4, 4)).shape == (2, 5, 4, 4)
    assert model.train()(torch.rand(1, 3, 5, 4)).shape == (1, 5, 5, 4)


def test_the_builder_joins_names():
    model = network(
        ("road", "sky"),
        backbone="resnet18",
        backbone_options={"weights": "random", "output_stride": 16, "multi_grid": (1, 2)},
        context="non_local",
        context_options={"heads": 2},
        width=32,
    )
    assert (model.classes, model.width) == (2, 32)
    assert model.backbone.strides == (16, 16)
    assert type(model.slot) is type(context("non_local", 32))
    assert model.auxiliary is not None
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 3, 33, 47)).shape == (1, 2, 33, 47)


def test_the_course_network_is_small():
    model = network(13, width=64, kernel=1, auxiliary=False)
    block = 96 * 48 + 9 * 48 * 48 + 48 * 96 + 2 * (48 + 48 + 96)
    trunk = 27 * 32 + 64 + 9 * 32 * 96 + 192 + 3 * block
    head = 96 * 64 + 128 + 64 * 64 + 128 + 64 * 13 + 13
    assert sum(p.numel() for p in model.parameters()) == trunk + head == 131_117


def test_soft_regions_may_be_the_auxiliary_logits():
    options = {"slot": "ocr", "slot_options": {"regions": None}}
    model, x = small(**options, auxiliary=True), torch.rand(2, 3, 24, 32)
    logits, auxiliary = model.train()(x)
    assert logits.shape == auxiliary.shape == (2, 5, 24, 32)
    gradient = torch.autograd.grad(logits.square().sum(), list(model.auxiliary.parameters()))
    assert all(g.any() for g in gradient)  # the answer reads them
    assert model.eval()(x).shape == (2, 5, 24, 32)
    with pytest.raises(ValueError, match=r"expected auxiliary=True, .* or a number of regions"):
        small(**options)
    own = small(slot="ocr", auxiliary=True).train()
    gradient = torch.autograd.grad(
        own(x)[0].square().sum(), list(own.auxiliary.parameters()), allow_unused=True
    )
    assert all(g is None for g in gradient)


def test_a_slot_may_read_the_last_but_one_map():
    trunk = CourseBackbone(width=12, stem=4)
    options = {"width": 32, "kernel": 1, "auxiliary": False, "dropout": 0.0}
    low = trunk.channels[-2]
    model = ContextFCN(
        trunk, 5, slot="asymmetric_fusion", slot_options={"low_channels": low}, **options
    ).eval()
    nn.init.normal_(model.slot.out.weight)
    x = torch.rand(1, 3, 24, 32)
    *_, finer, last = trunk((x - model.mean) / model.std)
    expected = model.slot(model.reduce(last), finer)
    seen = []
    model.slot.register_forward_hook(lambda slot, inputs, output: seen.append(output))
    model(x)
    torch.testing.assert_close(seen[0], expected)


def test_presence_is_a_further_answer_in_training():
    model = small(slot="encoding", slot_options={"classes": 5}).train()
    x = torch.rand(2, 3, 24, 32)
    logits, auxiliary, presence = model(x)
    assert auxiliary is None and logits.shape == (2, 5, 24, 32) and presence.shape == (2, 5)
    both = small(slot="encoding", slot_options={"classes": 5}, auxiliary=True).train()(x)
    assert [tuple(t.shape) for t in both] == [(2, 5, 24, 32), (2, 5, 24, 32), (2, 5)]
    assert model.eval()(x).shape == (2, 5, 24, 32)
    assert isinstance(small(slot="encoding").train()(x), torch.Tensor)
