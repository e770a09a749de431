"""The ledger as a page: every claim, its chip, its forest, and where its lesson treats it."""

import json
import re
from html.parser import HTMLParser

import pytest

from contextlab import claims
from contextlab.claims import Claim, Finding, Paired, Part, entry
from contextlab.views.ledger import forest, ledger_page, place_in


@pytest.fixture
def lessons(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Two graphs\n", "\n", "D11 is another claim."]},
        {"cell_type": "markdown", "source": ["## What each graph is worth"]},
        {"cell_type": "code", "source": ["compare('D1')\n"]},
    ]
    folder = tmp_path / "lessons"
    folder.mkdir()
    (folder / "07_two_graphs.ipynb").write_text(json.dumps({"cells": cells}))
    return folder


def test_a_claim_is_found_in_its_lesson(lessons):
    notebook = lessons / "07_two_graphs.ipynb"
    assert place_in(lessons, "07", "D1") == (notebook, "What-each-graph-is-worth")
    assert place_in(lessons, "07", "D11") == (notebook, "Two-graphs")
    assert place_in(lessons, "07", "D2") == (notebook, "")
    assert place_in(lessons, "08", "S5") is None


class Reader(HTMLParser):
    """Tags that are open, and those that were seen."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page(lessons, tmp_path):
    parts = (
        Part("both against none", Paired((27.0, 28.0, 28.5)), "direction only", 5.3),
        Part("both < one", Paired((-1.0, 2.0, 1.0)), "undecided"),
        Part("no runs", Paired((), planned=3), "undecided"),
    )
    found = [Claim(entry("D1"), Finding("in part", "27 < 28", parts))]
    found += [claims.claim(name) for name in ("S13", "G17", "D5")]
    text = ledger_page(found, lessons=lessons, beside=tmp_path)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    rows = [a["id"] for tag, a in reader.seen if tag == "tr" and "id" in a]
    assert set(rows) == {"D1", "S13", "G17", "D5"}
    links = [a["href"] for tag, a in reader.seen if tag == "a"]
    assert "lessons/07_two_graphs.ipynb#What-each-graph-is-worth" in links
    assert "27 &lt; 28" in text and "both < one" not in text
    assert len(re.findall("<circle", text)) == 2 and len(re.findall("<polygon", text)) == 1
    assert "4 claims" in text and "Would take ADE20K" in text
    assert "<a " not in ledger_page(found)


def test_a_forest_is_drawn_to_scale():
    picture = forest([Part("a", Paired((1.0, 3.0)), "undecided", 4.0)])
    d = Paired((1.0, 3.0))
    across = [float(v) for v in re.findall(r'c?x[12]?="(-?[\d.]+)"', picture)]
    assert min(across) >= 0 and max(across) <= 260
    (mean,) = (float(v) for v in re.findall(r'cx="([\d.]+)"', picture))
    assert mean == pytest.approx(10 + (d.mean - d.low) / (d.high - d.low) * 240, abs=0.1)
    assert "a (claimed +4.0) +2.0" in picture
    assert forest([]) == "" == forest([Part("a", Paired((1.0,)), "undecided")])
