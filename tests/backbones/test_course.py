"""The course backbone: its maps, and how far one position of them sees."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab.backbones import CourseBackbone, CoursePyramid, backbone


def sides_of_gradient(gradient):
    """Height and width of the box that holds all that is not zero."""
    touched = gradient.abs().sum((0, 1)) > 0
    rows, columns = touched.any(1).nonzero().flatten(), touched.any(0).nonzero().flatten()
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


@settings(deadline=None, max_examples=15)
@given(h=st.integers(1, 40), w=st.integers(1, 40), b=st.integers(1, 3))
def test_maps_have_the_promised_shapes(h, w, b):
    net = CourseBackbone(width=12, stem=4, blocks=2).eval()
    maps = net(torch.rand(b, 3, h, w))
    assert [tuple(m.shape) for m in maps] == [
        (b, channels, -(-h // stride), -(-w // stride))
        for channels, stride in zip(net.channels, net.strides, strict=True)
    ]


def test_the_default_is_the_network_of_the_course():
    net = CourseBackbone()
    first, second = (stage[0] for stage in net.stem)
    assert (first.in_channels, first.out_channels, first.stride) == (3, 32, (2, 2))
    assert (second.in_channels, second.out_channels, second.stride) == (32, 96, (2, 2))
    # stem 864 + 27,648; a block 4,608 + 20,736 + 4,608; BN twice its channels
    block = 4608 + 20736 + 4608 + 2 * (48 + 48 + 96)
    assert sum(p.numel() for p in net.parameters()) == 864 + 64 + 27648 + 192 + 3 * block


def test_the_first_map_comes_before_the_later_blocks():
    net = CourseBackbone(width=12, stem=4).eval()
    x = torch.rand(1, 3, 32, 32)
    first, last = net(x)
    with torch.no_grad():
        for parameter in net.blocks[1:].parameters():
            parameter.add_(1.0)
    again, other = net(x)
    assert torch.equal(first, again)
    assert not torch.allclose(last, other)


@pytest.mark.parametrize("dilation", [1, 2, (1, 2, 3)])
def test_the_receptive_field_is_the_one_that_gradients_find(dilation):
    torch.manual_seed(0)
    net = CourseBackbone(dilation=dilation).eval().double()
    x = torch.randn(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[-1][:, :, 16, 16].square().sum(), x)
    assert sides_of_gradient(gradient) == (net.receptive_field,) * 2


def test_three_blocks_see_31_pixels():
    assert CourseBackbone().receptive_field == 31


@pytest.mark.parametrize("dilation", [(1, 2), 0, (1, 2, 0)])
def test_dilations_that_do_not_fit_are_refused(dilation):
    with pytest.raises(ValueError, match="one dilation of at least 1 for each of 3 blocks"):
        CourseBackbone(dilation=dilation)


@pytest.mark.parametrize("option", [{"blocks": 0}, {"width": 1}, {"stem": 0}])
def test_sizes_that_make_no_network_are_refused(option):
    with pytest.raises(ValueError, match=r"blocks >= 1, width >= 2 and stem >= 1"):
        CourseBackbone(**option)


def test_it_has_no_imagenet_weights():
    with pytest.raises(ValueError, match="no ImageNet weights"):
        CourseBackbone(weights="imagenet")


@settings(deadline=None, max_examples=20)
@given(h=st.integers(1, 70), w=st.integers(1, 70), b=st.integers(1, 2))
def test_the_pyramid_has_maps_of_three_strides(h, w, b):
    net = CoursePyramid(width=12, stem=4).eval()
    maps = net(torch.rand(b, 3, h, w))
    assert [tuple(m.shape) for m in maps] == [
        (b, channels, -(-h // stride), -(-w // stride))
        for channels, stride in zip(net.channels, net.strides, strict=True)
    ]


def test_the_pyramid_goes_on_where_the_course_backbone_ends():
    torch.manual_seed(0)
    course = CourseBackbone(width=12, stem=4, blocks=2).eval()
    pyramid = CoursePyramid(width=12, stem=4, blocks=2).eval()
    pyramid.stem.load_state_dict(course.stem[0].state_dict())
    pyramid.stages[0][0].load_state_dict(course.stem[1].state_dict())
    for own, other in zip(pyramid.stages[0][1:], course.blocks, strict=True):
        own.load_state_dict(other.state_dict())
    x = torch.rand(1, 3, 40, 56)
    fine, middle, coarse = pyramid(x)
    torch.testing.assert_close(fine, course(x)[-1])
    torch.testing.assert_close(middle, pyramid.stages[1](fine))
    torch.testing.assert_close(coarse, pyramid.stages[2](middle))


def test_the_pyramids_options():
    assert backbone("course_pyramid", width=16, blocks=2, output_stride=16).channels == (16,) * 3
    for options, message in (
        ({"output_stride": 8}, "the course pyramid has the output stride 16, got 8"),
        ({"blocks": 0}, "the course pyramid needs blocks >= 1"),
        ({"weights": "imagenet"}, "no ImageNet weights"),
        ({"dilation": 2}, "got 'dilation'"),
    ):
        with pytest.raises(ValueError, match=message):
            backbone("course_pyramid", **options)
