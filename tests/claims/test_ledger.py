"""The ledger: all claims as data, settled, kept, and shown."""

from __future__ import annotations

import json

import pytest

from contextlab import claims, runs
from contextlab.claims import ledger
from contextlab.claims.entries import KINDS, Entry
from contextlab.claims.evidence import Paired
from contextlab.claims.experiments import EXPERIMENTS, register
from contextlab.claims.verdicts import MEANING, OPEN, VERDICTS, Finding, Part


def test_every_claim_is_there():
    numbers = {"S": 29, "C": 22, "G": 22, "D": 15, "X": 5}
    assert set(claims.entries()) == {f"{k}{i}" for k, n in numbers.items() for i in range(1, n + 1)}
    for name, entry in claims.entries().items():
        assert entry.name == name and entry.kind in KINDS and entry.sentence and entry.source
        assert 0 <= entry.lesson <= 20
        tested = name in ledger.RULES or name in ledger.TIMED
        assert bool(entry.needs) != tested, name  # what is open says what it would take


def test_a_claim_without_an_experiment_is_open():
    found = claims.claim("G17")
    assert found.verdict == OPEN and "ADE20K" in found.found and found.source == "GGCF, Table 2"


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"expected a claim of S1, .*got 'D99'"):
        claims.claim("D99")
    with pytest.raises(ValueError, match="T1: expected a kind of arithmetic, count, effect"):
        Entry("T1", "rumour", "nobody", "so they say", 0)
    with pytest.raises(ValueError, match="new names of experiments, got D1"):
        register({"D1": EXPERIMENTS["D1"]})


def test_every_verdict_has_a_meaning():
    assert set(MEANING) == set(VERDICTS)


def test_without_runs_nothing_is_called_undecided(tmp_path, monkeypatch):
    monkeypatch.setattr(runs.store, "shipped_folder", lambda: None)
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="CONTEXTLAB_RUNS"):
        claims.settle(["D5", "D2"])
    assert [c.verdict for c in claims.settle(["D5", "S13"])] == ["reproduced", "misprint"]


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """One rule that counts how often it is asked, and a home of its own."""
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path))
    asked = []

    def rule():
        asked.append(1)
        part = Part("a against b", Paired((1.0, 2.0, 4.0), planned=3), "reproduced", 2.0)
        return Finding("reproduced", f"asked {len(asked)} times", (part,))

    monkeypatch.setitem(ledger.RULES, "D5", rule)
    return asked


def test_what_was_found_is_kept_until_something_changes(counted, monkeypatch, tmp_path):
    told = []
    first = claims.settle(["D5"], told=told.append)
    again = claims.settle(["D5"], told=told.append)
    assert first == again and len(counted) == 1 and told == ["D5"]
    assert again[0].parts[0].d.interval == Paired((1.0, 2.0, 4.0)).interval
    claims.settle(["D5"], cache=False)
    assert len(counted) == 2
    monkeypatch.setattr(ledger, "_state", lambda times: "another state")
    assert claims.settle(["D5"])[0].found == "asked 3 times"
    (tmp_path / "claims.json").write_text('{"state": "another state", "findings": {"D5"')
    assert claims.settle(["D5"])[0].found == "asked 4 times"  # a cut file is made anew
    assert json.loads((tmp_path / "claims.json").read_text())["state"] == "another state"


def test_what_a_verdict_depends_on_is_in_the_state(monkeypatch, tmp_path):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path))
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(shipped))
    before = ledger._state(None)
    assert ledger._state(None) == before
    (shipped / "d1.jsonl").write_text("")
    assert ledger._state(None) != before


def test_totals_and_table(counted):
    found = [*claims.settle(["D5"]), claims.claim("G17"), claims.claim("S13")]
    assert claims.totals(found) == {"reproduced": 1, "misprint": 1, "open": 1}
    text = str(claims.table(claims.settle(["D5", "S13"])))
    assert "misprint" in text and "bus gains 17.4" in text
