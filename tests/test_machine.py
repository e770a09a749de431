"""The machine check: it looks, it says what to do, and it changes nothing."""

import pytest

from contextlab import machine
from contextlab.machine import Finding


def found(what: str) -> Finding:
    return next(finding for finding in machine.check() if finding.what == what)


def test_this_machine_is_described_line_by_line(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "not" / "there"))
    findings = machine.check()
    assert all(finding.found for finding in findings)
    assert all(finding.advice for finding in findings if not finding.good)
    text = machine.report(findings)
    assert all(finding.what in text and finding.found in text for finding in findings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version, good", [("2.8.1", False), ("2.9.0+cpu", True), ("3.0", True)])
def test_an_old_torch_is_named(monkeypatch, version, good):
    monkeypatch.setattr(machine.torch, "__version__", version)
    assert found("PyTorch").good is good


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(machine.sys, "version_info", (3, 10, 4))
    assert not found("Python").good
    assert "3.11" in found("Python").advice


def test_a_full_disk_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1e8}))
    assert not found("free disk").good
    assert "CONTEXTLAB_HOME" in found("free disk").advice


def test_a_home_that_is_not_to_be_had_is_named_with_the_remedy(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "file" / "home"))
    cases = [found("free disk")]
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    with monkeypatch.context() as patched:
        patched.setattr(machine.os, "access", lambda *_: False)
        cases.append(found("free disk"))
    monkeypatch.setenv("CONTEXTLAB_HOME", "~no-such-user/home")
    cases.append(found("free disk"))
    words = ["file is in the way", "cannot be written to", "no home folder is known"]
    for case, word in zip(cases, words):
        assert not case.good and word in case.found and "CONTEXTLAB_HOME" in case.advice


def test_smoke_is_not_for_learning(monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_BUDGET", "smoke")
    assert not found("budget").good
    monkeypatch.setenv("CONTEXTLAB_BUDGET", "quick")
    assert found("budget").good


def test_a_system_without_sysconf_is_not_an_error(monkeypatch):
    monkeypatch.delattr(machine.os, "sysconf")
    assert found("memory").good


def test_the_closing_sentence_counts():
    good, bad = Finding("a", "b", True), Finding("c", "d", False, "Do e.")
    assert machine.report([good]).endswith("Ready. Nothing to do.")
    assert machine.report([good, bad]).endswith("-> Do e.\nOne thing to look at.")
    assert machine.report([bad, bad]).endswith("2 things to look at.")
