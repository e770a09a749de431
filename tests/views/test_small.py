"""Figures in fewer bytes: exact where 256 colours do, alike where not, untouched where it shows."""

import io

import numpy as np
import pytest
from PIL import Image

from contextlab import data, views
from contextlab.views import small
from tests.data.colour_vision import ciede2000
from tests.data.colour_vision import lab as reference


def encoded(pixels, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8), mode).save(buffer, "PNG", **options)
    return buffer.getvalue()


def decoded(content):
    return Image.open(io.BytesIO(content))


def figure():
    drawn = views.new_figure(2)
    drawn.add_subplot().plot([0, 1, 0.5], color="black")
    return drawn


def street(scale=6):
    """An enlarged street beside a chart's white: thousands of colours, many of them rare."""
    image = data.build("streets", "val", size=1)[0][0]
    pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    pixels = pixels.repeat(scale, 0).repeat(scale, 1)
    return np.pad(pixels, ((20, 20), (20, 20), (0, 0)), constant_values=255)


def test_a_chart_keeps_every_colour_and_its_resolution():
    content = views.png(figure())
    found = views.shrunk(content)
    assert decoded(found).mode == "P" and len(found) < 0.5 * len(content)
    before, after = (np.asarray(decoded(c).convert("RGB")) for c in (content, found))
    assert np.array_equal(before, after)
    assert decoded(found).info["dpi"] == pytest.approx(decoded(content).info["dpi"])


def test_a_street_of_thousands_of_colours_looks_the_same():
    pixels = street()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 3000
    content = encoded(pixels)
    found = views.shrunk(content)
    after = np.asarray(decoded(found).convert("RGB"))
    assert decoded(found).mode == "P" and len(found) < 0.5 * len(content)
    one, two = (reference(p.reshape(-1, 3)) for p in (pixels, after))
    apart = ciede2000(one, two)  # another formula than the one it goes by
    assert apart.mean() < 2.2 and np.quantile(apart, 0.999) < 9
    assert (after[:20] == 255).all()  # the ground stays white


def test_a_rare_colour_is_not_lost():
    pixels = street()
    pixels[:4, :4] = (255, 0, 255)
    after = np.asarray(decoded(views.shrunk(encoded(pixels))).convert("RGB"))
    assert np.abs(after[:4, :4].astype(int) - (255, 0, 255)).max() < 10


def test_what_a_palette_would_spoil_stays_in_true_colour():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    found = views.shrunk(encoded(noise))
    assert decoded(found).mode == "RGB" and np.array_equal(decoded(found), noise)
    soft = np.full((8, 8, 4), 200)
    soft[:4, :, 3] = 100  # transparent: a palette of 256 names no alpha
    found = views.shrunk(encoded(soft, "RGBA"))
    assert decoded(found).mode == "RGBA" and np.array_equal(decoded(found), soft)


def test_done_twice_it_changes_nothing_more():
    for content in (views.png(figure()), encoded(street(2))):
        found = views.shrunk(content)
        assert views.shrunk(found) == found and views.shrunk(content) == found


def test_the_bounds_are_of_the_mean_and_of_a_small_square():
    grey = np.full((40, 40, 3), 128, np.uint8)
    assert small._same(grey, grey + 2)  # ΔE below 1 everywhere
    assert not small._same(grey, grey + 8)  # about 3 everywhere
    spot = grey.copy()
    spot[3, 3] = 255  # one pixel, however far, is an edge
    assert small._same(grey, np.where(spot == 255, 200, grey))
    spot[10:15, 10:15] = 160  # five by five are seen
    assert not small._same(grey, spot)


def test_colours_are_measured_as_people_see_them():
    colours = np.random.default_rng(0).integers(0, 256, (50, 3))
    assert np.allclose(small._lab(colours), reference(colours), atol=1e-6)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="content of a PNG file, got b'no'"):
        views.shrunk(b"no")
    with pytest.raises(ValueError, match="content of a PNG file"):
        views.shrunk(encoded(street(1))[:-500])
