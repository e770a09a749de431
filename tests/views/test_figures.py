"""Showing: the picture once, its words twice, nothing left open."""

from __future__ import annotations

import base64

import IPython
import IPython.display
import matplotlib.pyplot as plt
import pytest

from contextlab import views

ALT = "A straight line from the lower left to the upper right."


def a_figure():
    figure = views.new_figure(1)
    figure.subplots().plot([0, 1])
    return figure


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would be sent."""
    sent = []
    monkeypatch.setattr(IPython, "get_ipython", object)

    def display(data, metadata=None, raw=False):
        sent.append((data, metadata, raw))

    monkeypatch.setattr(IPython.display, "display", display)
    return sent


def test_show_sends_the_picture_with_its_description(shown):
    figure = a_figure()
    views.show(figure, f"  {ALT}\n ")
    (picture, metadata, raw), (words, _, _) = shown
    assert raw and set(picture) == {"image/png", "text/plain"}
    assert base64.b64decode(picture["image/png"]) == views.png(figure)
    assert picture["text/plain"] == ALT
    assert metadata == {"image/png": {"alt": ALT}}
    assert words["text/html"] == f"<details><summary>Figure in words</summary>{ALT}</details>"


def test_words_are_escaped(shown):
    views.show(a_figure(), "Accuracy where N < 4 & more")
    assert "N &lt; 4 &amp; more" in shown[1][0]["text/html"]


def test_pyplot_figures_are_closed(request):
    figure, _ = plt.subplots()
    request.getfixturevalue("shown")
    views.show(figure, ALT)
    assert not plt.get_fignums()


def test_without_a_notebook_the_words_are_printed(capsys):
    views.show(a_figure(), ALT)
    assert capsys.readouterr().out == f"{ALT}\nFigure in words: {ALT}\n"


@pytest.mark.parametrize("alt", ["", "  ", "a plot", "plot.png"])
def test_a_figure_without_words_is_refused(alt):
    with pytest.raises(ValueError, match="says what the figure shows"):
        views.show(a_figure(), alt)


def test_png_is_the_same_on_every_call():
    figure = a_figure()
    assert views.png(figure) == views.png(figure) == views.png(a_figure())
