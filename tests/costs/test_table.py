"""The table: aligned text, HTML, errors against the published figures, a plot."""

from __future__ import annotations

import pytest

from contextlab.costs import Table

ROWS = [
    {"block": "SE", "GMACs": 0.0094705, "parameters": 32_768},
    {"block": "non-local <b>", "GMACs": 48.3184, "parameters": 526_592},
    {"block": "FCN", "GMACs": 241.05, "parameters": None},
]
PRINTED = [{"GMACs": 0.00947}, {"GMACs": 48.36}, None]


def test_text_is_aligned():
    lines = str(Table(ROWS, published=PRINTED, title="Heads")).splitlines()
    assert lines[0] == "Heads"
    assert lines[1].split() == ["block", "GMACs", "published", "error", "parameters"]
    assert lines[3].split() == ["non-local", "<b>", "48.32", "48.36", "-0.1%", "526,592"]
    assert lines[4].split() == ["FCN", "241.1", "–", "–", "–"]
    assert len({len(line) for line in lines[1:]}) == 1


def test_errors_are_relative_to_the_published_figure():
    table = Table(ROWS, published=PRINTED)
    assert table.errors("GMACs") == [
        pytest.approx(5.3e-5, abs=1e-6),
        pytest.approx(-0.00086, abs=1e-5),
        None,
    ]
    assert table.errors("parameters") == [None] * 3


def test_html_is_escaped_and_complete():
    html = Table(ROWS, published=PRINTED)._repr_html_()
    assert "non-local &lt;b&gt;" in html and "<b>" not in html
    assert html.count("<tr>") == 4 and html.count("<td") == 15


def test_plot_returns_its_numbers():
    figure, numbers = Table(ROWS).plot("parameters", "GMACs")
    assert numbers == {"SE": (32_768.0, 0.0094705), "non-local <b>": (526_592.0, 48.3184)}
    axes = figure.axes[0]
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "parameters"
    assert {t.get_text() for t in axes.texts} == set(numbers)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        Table([])
    with pytest.raises(ValueError, match="expected 3 published rows, got 1"):
        Table(ROWS, published=[{}])
    with pytest.raises(ValueError, match="got published 'FLOPs'"):
        Table(ROWS, published=[{"FLOPs": 1.0}, None, None])
    with pytest.raises(ValueError, match="got 'seconds'"):
        Table(ROWS).column("seconds")
