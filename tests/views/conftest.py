"""Figures are held to be readable: nothing clipped, no tiny letters, no global state."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from contextlab import data, views


@pytest.fixture(scope="session")
def streets():
    return data.Streets("val", size=16)


@pytest.fixture
def readable():
    """Checks a figure: at notebook width, letters of 9 points and more, all inside the canvas."""

    def check(figure: Figure) -> np.ndarray:
        image = np.asarray(Image.open(io.BytesIO(views.png(figure))).convert("RGB"))
        width, height = figure.get_size_inches()
        assert width <= 9 and height <= 12 and figure.dpi == 110
        for text in figure.findobj(Text):
            assert text.get_fontsize() >= 9 or not text.get_text(), text.get_text()
        drawn = figure.get_tightbbox()
        assert drawn.x0 >= -0.02 and drawn.y0 >= -0.02, f"clipped at the left or below: {drawn}"
        assert drawn.x1 <= width + 0.02 and drawn.y1 <= height + 0.02, f"clipped: {drawn}"
        assert image.std() > 1, "an empty picture"
        return image

    return check


@pytest.fixture(autouse=True)
def nothing_global():
    """No figure changes the reader's style or leaves an open pyplot figure."""
    before = dict(matplotlib.rcParams)
    yield
    import matplotlib.pyplot as plt

    assert not plt.get_fignums()
    assert dict(matplotlib.rcParams) == before
