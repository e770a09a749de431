"""Shadows, what they draw, strips and footprints: numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextlab import views
from contextlab.probes.rectangular import Drawing, shapes


def box() -> torch.Tensor:
    mask = torch.zeros(16, 32).bool()
    mask[4:10, 8:20] = True
    return mask


def shadows(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return mask.float().mean(1, keepdim=True), mask.float().mean(0, keepdim=True)


def test_shadows_of_a_box_draw_it(readable, streets):
    rows, columns = shadows(box())
    maps = {"sum": rows + columns, "product": rows * columns, "rows": rows.expand(16, 32)}
    figure, numbers = views.shadows_figure(streets[0][0], box(), maps, query=(5, 9), reach=2)
    readable(figure)
    assert numbers["sum"] == numbers["product"] == 1
    assert numbers["rows"] == pytest.approx(12 / 32)
    bars = [patch.get_data() for patch in figure.axes[0].patches if hasattr(patch, "get_data")]
    assert [len(each.values) for each in bars] == [64, 128]
    along_rows = bars[0].values - bars[0].baseline
    assert np.flatnonzero(along_rows > 1e-9).tolist() == list(range(16, 40))


def test_shapes_and_their_drawings(readable):
    wanted = {name: shapes(12)[name] for name in ("cross", "disc", "diagonal")}
    drawn = {name: Drawing(shape.float(), shape.float(), 1.0, 2) for name, shape in wanted.items()}
    figure, numbers = views.drawings_figure(wanted, {"sum": drawn, "product": drawn})
    readable(figure)
    assert numbers["sum"] == dict.fromkeys(wanted, 1.0) and len(figure.axes) == 9


def test_pairs_of_strips(readable):
    half = torch.zeros(8, 8)
    half[:4] = 1
    strips = {"one": ([0, 1, 0], [0, 1, 0], half), "other": ([1, 0, -1], [0, 2, 0], half.mT)}
    figure, numbers = views.strips_figure(half, strips)
    readable(figure)
    assert numbers == {"one": 0.5, "other": 0.5}


def test_footprints_count_what_is_heard(readable):
    cross = torch.zeros(16, 32)
    cross[3], cross[:, 7] = 1, 1e-9
    figure, numbers = views.footprints_figure({"cross": cross, "all": torch.ones(16, 32)}, (3, 7))
    readable(figure)
    assert numbers == {"cross": 47, "all": 512}


def test_before_and_after_calibration(readable, streets):
    gate = torch.linspace(0.1, 0.9, 512).reshape(16, 32)
    channels = dict.fromkeys(("channel 1", "channel 2", "channel 3"), (gate - 5, gate))
    figure, numbers = views.calibrated_figure(streets[0][0], channels, query=(13, 21))
    readable(figure)
    assert numbers["channel 2"] == pytest.approx({"least": 0.1, "most": 0.9})


def test_the_piece_around_a_pixel():
    labels = torch.zeros(8, 8, dtype=torch.long)
    labels[:4, :4], labels[4:, 4:] = 1, 1
    assert views.piece(labels, (0, 0)).sum() == 16 and views.piece(labels, (0, 7)).sum() == 16
    assert views.piece(labels, (3, 3), (4, 4)).nonzero().tolist() == [
        [2, 2],
        [2, 3],
        [3, 2],
        [3, 3],
    ]


def test_a_gate_for_an_object(readable, streets):
    labels = torch.zeros(64, 128, dtype=torch.long)
    labels[16:40, 32:80] = 1
    figure, numbers = views.object_gate(streets[0][0], labels, (5, 9), strip=None)
    readable(figure)
    assert numbers["before"] == numbers["after"] == 1
    assert (numbers["rank"], numbers["pixels"], numbers["heard"]) == (2, 72, 16 + 32 - 1)
    numbers = views.object_gate(streets[0][0], labels, (5, 31), gather="multiply", strip=3)[1]
    # at the right border two columns are left of three, and the pixel's piece is all but the box
    assert numbers["rank"] == 1 and numbers["pixels"] == 512 - 72
    assert numbers["heard"] == 3 * 32 + 2 * 16 - 6
    with pytest.raises(ValueError, match="leaves some of the image"):
        views.object_gate(streets[0][0], torch.zeros_like(labels), (5, 9))


def test_the_explorer_follows_click_strip_and_gather(streets):
    image, labels = streets[3]
    widget = views.strip_explorer(image, labels, classes=streets.classes, query=(13, 6))
    seen = {widget.picture.value}
    assert "of 512 positions" in widget.words.value
    widget.strip.value = 3
    seen.add(widget.picture.value)
    widget.gather.value = "multiply"
    seen.add(widget.picture.value)
    widget.update(0, 31)
    assert widget.query == (0, 31) and widget.words.value.startswith("sky")
    seen.add(widget.picture.value)
    assert len(seen) == 4
    assert "works where a kernel runs" in widget._repr_mimebundle_()["text/plain"]
