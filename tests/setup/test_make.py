"""The Makefile on machines that lack something: no uv, no Python, an old one, one without venv.

Every machine here is a folder of links and small scripts, and that folder is the whole PATH.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None, reason="no make (README: plain uv)"
)

TOOLS = ("make", "sh", "id", "uname", "sed", "rm", "mkdir", "cat", "chmod", "touch", "dirname")

# Stands for a Python that makes environments: its venv holds a pip, and a uv that speaks.
GOOD_PYTHON = """\
case "$*" in
  *"-m venv"*)
    mkdir -p .uv/bin
    printf '#!/bin/sh\\necho "pip: $*"\\n' > .uv/bin/python
    printf '#!/bin/sh\\necho "own uv: $*"\\n' > .uv/bin/uv
    chmod +x .uv/bin/python .uv/bin/uv
    echo "venv: $*" ;;
esac
"""
OLD_PYTHON = 'case "$1" in --version) echo "Python 3.8.10" ;; *) exit 1 ;; esac'
NO_ENSUREPIP = (
    'case "$*" in *ensurepip*) exit 1 ;; *venv*) echo "must not be asked"; exit 1 ;; esac'
)
NO_NETWORK = GOOD_PYTHON.replace('echo "pip: $*"', "exit 1")
GOOD_UV = 'case "$1" in --version) echo "uv 0.13.8" ;; *) echo "found uv: $*" ;; esac'
MUTE_SHIM = 'echo "uv: command not found in this version" >&2; exit 127'


@pytest.fixture
def machine(tmp_path):
    """A function that builds a machine with the given programs and runs make on it."""
    bin_ = tmp_path / "bin"
    project = tmp_path / "project"
    bin_.mkdir()
    project.mkdir()
    shutil.copy(ROOT / "Makefile", project)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (bin_ / tool).symlink_to(found)

    def run(*arguments: str, programs: dict[str, str], **variables: str):
        for name, body in programs.items():
            (bin_ / name).unlink(missing_ok=True)  # never write through a link
            (bin_ / name).write_text(f"#!/bin/sh\n{body}\n")
            (bin_ / name).chmod(0o755)
        return subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=project,
            env={"PATH": str(bin_), "HOME": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_no_python_says_what_to_install(machine):
    result = machine("lab", programs={})
    assert result.returncode != 0
    assert "needs Python 3.11 or later, or uv. Found: none." in result.stderr
    assert "python.org/downloads" in result.stderr and "docs.astral.sh/uv" in result.stderr


def test_an_old_python_is_named(machine):
    result = machine("lab", programs={"python3": OLD_PYTHON})
    assert result.returncode != 0
    assert "needs Python 3.11 or later, or uv. Found: Python 3.8.10." in result.stderr


def test_a_newer_python_beside_the_old_one_is_found(machine):
    result = machine("setup", programs={"python3": OLD_PYTHON, "python3.12": GOOD_PYTHON})
    assert result.returncode == 0, result.stderr
    assert "made with python3.12" in result.stdout


def test_python_without_ensurepip_says_what_to_install(machine):
    result = machine("setup", programs={"python3": NO_ENSUREPIP})
    assert result.returncode != 0
    assert "apt-get install python3-venv" in result.stderr
    assert "must not be asked" not in result.stdout


def test_without_uv_the_pinned_one_goes_into_the_project(machine):
    result = machine("setup", programs={"python3": GOOD_PYTHON})
    assert result.returncode == 0, result.stderr
    assert "venv: -m venv --clear .uv" in result.stdout
    assert "pip: -m pip install --quiet --disable-pip-version-check uv==" in result.stdout
    assert "own uv: sync --locked --compile-bytecode" in result.stdout
    again = machine("setup", programs={"python3": GOOD_PYTHON})
    assert "pip:" not in again.stdout, "the second time nothing is installed"


def test_a_failed_installation_is_tried_again(machine):
    failed = machine("setup", programs={"python3": NO_NETWORK})
    assert failed.returncode != 0
    assert "is the Python package index reachable" in failed.stderr
    assert "sync" not in failed.stdout.replace("uv==", "")
    assert machine("setup", programs={"python3": GOOD_PYTHON}).returncode == 0


@pytest.mark.parametrize("python", [None, OLD_PYTHON])
def test_an_installed_uv_is_used_and_python_not_asked(machine, python):
    programs = {"uv": GOOD_UV} | ({"python3": python} if python else {})
    result = machine("setup", programs=programs)
    assert result.returncode == 0, result.stderr
    assert "found uv: sync --locked --compile-bytecode" in result.stdout
    assert "venv:" not in result.stdout


def test_a_shim_that_does_not_answer_is_no_uv(machine):
    result = machine("setup", programs={"uv": MUTE_SHIM, "python3": GOOD_PYTHON})
    assert result.returncode == 0, result.stderr
    assert "own uv: sync" in result.stdout


def test_the_interpreter_can_be_chosen(machine):
    uv = 'case "$1" in --version) ;; *) echo "asked for $UV_PYTHON" ;; esac'
    assert (
        "asked for python3.13" in machine("setup", "PYTHON=python3.13", programs={"uv": uv}).stdout
    )


@pytest.mark.parametrize(
    ("system", "user", "variables", "expected"),
    [
        ("Linux", "0", {}, ["--allow-root", "--no-browser"]),
        ("Linux", "1000", {}, ["--no-browser"]),
        ("Linux", "1000", {"DISPLAY": ":0"}, []),
        ("Linux", "1000", {"WAYLAND_DISPLAY": "wayland-0"}, []),
        ("Darwin", "501", {}, []),
    ],
)
def test_lab_suits_the_machine(machine, system, user, variables, expected):
    programs = {"uv": GOOD_UV, "uname": f"echo {system}", "id": f"echo {user}"}
    result = machine("lab", programs=programs, **variables)
    flags = [word for word in result.stdout.splitlines()[-1].split() if word.startswith("--")]
    assert [flag for flag in flags if flag in ("--allow-root", "--no-browser")] == expected
    assert "--LabApp.default_url=/lab/tree/lessons/00_start_here.ipynb" in flags


def test_make_alone_explains_itself(machine):
    text = machine(programs={}).stdout
    for target in ("setup", "lab", "test", "check", "lint", "runs", "lessons", "bench", "lock"):
        assert f"make {target}" in text
