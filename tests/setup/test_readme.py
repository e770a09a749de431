"""README.md and CONTRIBUTING.md tell the truth: commands, code, links, lessons."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
TARGETS = {
    match[1]: re.findall(r"`([^`]+)`", match[2])
    for match in re.finditer(r"^\| `make (\w+)` \| (.+?) \| ", README, re.M)
}


def indented_commands(text: str) -> list[str]:
    """Lines that a reader would type: indented blocks of the Markdown."""
    return [line.strip() for line in re.findall(r"^    (\S.*)$", text, re.M)]


def test_the_table_has_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = set(re.findall(r"^([a-z]+):.*## ", makefile, re.M))
    assert set(TARGETS) == shown - {"help", "clean"}


@pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None, reason="no make (plain uv instead)"
)
@pytest.mark.parametrize("target", TARGETS)
def test_make_and_uv_are_the_same_commands(target, tmp_path):
    fake = tmp_path / "uv"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    result = subprocess.run(
        ["make", "--no-print-directory", "-n", target, "LAB_FLAGS=", "WORKERS=2", "PYTHON="],
        cwd=ROOT,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    printed = [shlex.split(line) for line in result.stdout.splitlines()]
    before = [] if target in ("setup", "lock") else [shlex.split(TARGETS["setup"][0])]
    assert printed == before + [shlex.split(command) for command in TARGETS[target]]


def test_the_code_runs(capsys):
    blocks = re.findall(r"^```python\n(.+?)^```", README, re.M | re.S)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "non_local: " in capsys.readouterr().out


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_are_alive(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    assert links
    dead = [
        link
        for link in links
        if not link.startswith("https://") and not (document.parent / link).exists()
    ]
    assert not dead


def test_every_lesson_is_listed():
    listed = set(re.findall(r"\]\(lessons/(\d\d_\w+\.ipynb)\)", README))
    assert listed == {path.name for path in (ROOT / "lessons").glob("[0-9][0-9]_*.ipynb")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_know_their_options(document, monkeypatch, capsys):
    """Every `python ...` line of the documents names a command and options that exist."""
    text = document.read_text(encoding="utf-8")
    lines = indented_commands(text) + [c for commands in TARGETS.values() for c in commands]
    lines = [line[line.index("python ") :] for line in lines if "python " in line]
    monkeypatch.syspath_prepend(str(ROOT / "data_scripts"))
    checked = 0
    for line in dict.fromkeys(lines):
        words = shlex.split(line)[1:]
        start = 2 if words[0] == "-m" else 1
        program = words[start - 1]
        if not program.startswith(("contextlab", "data_scripts/")):
            continue
        command = list(takewhile(re.compile(r"[a-z]+").fullmatch, words[start:]))
        monkeypatch.setattr(sys, "argv", [program, *command, "--help"])
        with pytest.raises(SystemExit) as end:
            if words[0] == "-m":
                runpy.run_module(program, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(ROOT / program), run_name="__main__")
        assert not end.value.code, line
        known = capsys.readouterr().out
        for option in re.findall(r"(?<=\s)--[a-z-]+", line):
            assert option in known, f"{line}: no {option}"
        checked += 1
    assert checked >= 1


def test_the_data_set_counts_of_the_budgets():
    from contextlab import runs

    steps = {name: runs.streets(budget=name).recipe["steps"] for name in ("smoke", "quick", "full")}
    table = dict(re.findall(r"^\| `(smoke|quick|full)` \| .+ \| ([\d,]+) steps", README, re.M))
    assert {name: int(count.replace(",", "")) for name, count in table.items()} == steps
