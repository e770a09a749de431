"""What the repository holds: sizes, words, the citation, the workflow and .ci/run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files under version control (or all files, in an unpacked archive)."""
    try:
        out = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in out.split("\0") if name and (ROOT / name).is_file()]


def test_the_repository_is_small(tracked):
    assert sum(path.stat().st_size for path in tracked) < 30 * MEGABYTE


def test_shipped_runs_are_small(tracked):
    sizes = {p.name: p.stat().st_size for p in tracked if p.parent == ROOT / "lessons" / "runs"}
    assert sum(sizes.values()) < 20 * MEGABYTE
    assert not {name: size for name, size in sizes.items() if size >= MEGABYTE}


def test_no_path_of_one_machine(tracked):
    """A path that only one machine has, or an address in a private network, helps no reader."""
    private = re.compile(
        r"(?<![\w.~$}/-])/(?:root|home|Users|mnt|opt|srv|work|scratch)/[\w.]"
        r"|/tmp/(?!ipykernel_)\w|[A-Z]:\\\\?Users"
        r"|\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}(?:\.\d{1,3})?:\d{2,5}\b"
    )
    here = str(ROOT)
    found = []
    for path in tracked:
        if path == Path(__file__) or path.suffix in {".safetensors", ".png", ".npz", ".npy"}:
            continue
        text = path.read_text(encoding="utf-8")
        # base64 pictures in notebooks may spell anything
        lines = [line for line in text.splitlines() if not line.lstrip().startswith('"image/png"')]
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(lines, 1)
            if private.search(line) or (len(here) > 4 and here in line)
        ]
    assert not found, "\n".join(found)


def test_text_files_end_their_lines_the_same_way(tracked):
    bad = [p for p in tracked if p.suffix in {".py", ".md", ".toml"} and b"\r" in p.read_bytes()]
    assert os.linesep != "\n" or not bad


def test_citation():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(cff), "required by the format"
    assert cff["cff-version"] == "1.2.0"
    assert cff["type"] == "software"
    assert cff["authors"] == project["authors"]
    assert cff["license"] == project["license"] == "MIT"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cff["date-released"])
    import contextlab

    assert str(cff["version"]) == project["version"] == contextlab.__version__


def test_licences():
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert "SPDX-License-Identifier: CC-BY-4.0" in (ROOT / "LICENSE-TEXT").read_text("utf-8")


def test_the_workflow_runs_what_people_run():
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    steps = {
        name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()
    }
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pinned = re.search(r"^UV_VERSION := (.+)$", makefile, re.M)[1]
    workers = re.search(r"^WORKERS \?= (.+)$", makefile, re.M)[1]
    assert steps["linux"] == [".ci/run"]
    assert steps["macos"] == ["make setup", "make test"]
    assert steps["windows"] == [
        f"python -m pip install uv=={pinned}",
        "uv sync --locked --compile-bytecode",
        f"uv run --locked pytest -n {workers}",
    ]
    assert {job["runs-on"].split("-")[0] for job in jobs.values()} == {"ubuntu", "macos", "windows"}


@pytest.mark.skipif(sys.platform == "win32", reason="bash script")
def test_ci_run_is_a_sound_script():
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("exec make test"), "the verdict is the suite's"
    assert "OMP_NUM_THREADS" not in text
    subprocess.run(["bash", "-n", str(script)], check=True)
