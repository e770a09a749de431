"""uv.lock, requirements.txt and environment.yml give one and the same set of versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
# The default index and its file host: a lock made against a mirror would work for one machine only.
PUBLIC = {"pypi.org", "files.pythonhosted.org"}


def uv(*arguments: str) -> subprocess.CompletedProcess:
    """uv as a newcomer has it, without the mirrors and wheel folders that a machine may set."""
    program = os.environ.get("UV") or shutil.which("uv")
    if program is None:
        own = ROOT / ".uv" / "bin" / "uv"
        program = str(own) if own.exists() else None
    if program is None:
        pytest.skip("no uv on this machine")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_"))}
    return subprocess.run(
        [program, *arguments, "--no-config", "--offline"],
        cwd=ROOT,
        env=clean | {"UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def requirement_lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def wanted() -> dict[str, set[str]]:
    """Versions in uv.lock by name, for all that contextlab[all] reaches."""
    packages: dict[str, list[dict]] = {}
    for package in LOCK["package"]:
        packages.setdefault(package["name"], []).append(package)
    reached: dict[str, set[str]] = {}
    todo = [d["name"] for p in packages["contextlab"] for d in p["dependencies"]]
    todo += [
        d["name"]
        for p in packages["contextlab"]
        for group in p["optional-dependencies"].values()
        for d in group
    ]
    while todo:
        name = todo.pop()
        if name in reached or name == "contextlab":
            continue
        reached[name] = {p["version"] for p in packages[name]}
        for package in packages[name]:
            todo += [d["name"] for d in package.get("dependencies", [])]
            for extra in package.get("optional-dependencies", {}).values():
                todo += [d["name"] for d in extra]
    return reached


def test_requirements_pin_what_the_lock_pins():
    pins: dict[str, set[str]] = {}
    for line in requirement_lines():
        match = re.fullmatch(r"([a-z0-9._-]+)(?:\[[a-z0-9,._-]+\])?==([^ ;]+)(?: ; .+)?", line)
        assert match, f"not a plain pin: {line}"
        pins.setdefault(match[1], set()).add(match[2])
    assert pins == wanted()


def test_requirements_are_a_fresh_export():
    result = uv(
        "export", "--locked", "--no-hashes", "--no-emit-project", "--no-annotate", "--no-header"
    )
    assert result.returncode == 0, f"make lock refreshes it: {result.stderr}"
    assert result.stdout.splitlines() == requirement_lines(), "make lock refreshes it"


def test_the_lock_fits_pyproject():
    result = uv("lock", "--check")
    assert result.returncode == 0, f"make lock refreshes it: {result.stderr}"


def test_the_lock_names_the_public_index_alone():
    text = (ROOT / "uv.lock").read_text(encoding="utf-8")
    addresses = re.findall(r'"([a-z+]+:/[^"]*)"', text)
    assert len(addresses) > 1000
    assert {urlsplit(address).scheme for address in addresses} == {"https"}
    assert {urlsplit(address).netloc for address in addresses} == PUBLIC
    kinds = {key for package in LOCK["package"] for key in package["source"]}
    assert kinds == {"registry", "editable"}
    uv_settings = PROJECT.get("tool", {}).get("uv", {})
    assert not {"index", "sources", "find-links", "index-url", "extra-index-url"} & set(uv_settings)


def test_requirements_name_no_address():
    assert not [line for line in requirement_lines() if "://" in line or line.startswith("-")]


def test_conda_takes_python_pip_and_the_same_pins():
    *packages, pip = CONDA["dependencies"]
    assert CONDA["channels"] == ["conda-forge"]
    assert [re.match(r"[a-z]+", package)[0] for package in packages] == ["python", "pip"]
    assert pip == {"pip": ["-r requirements.txt", "-e .[all]"]}


def test_conda_can_read_every_line():
    rattler = pytest.importorskip("rattler")
    for package in CONDA["dependencies"][:-1]:
        assert rattler.MatchSpec(package).name is not None
    python = rattler.MatchSpec(CONDA["dependencies"][0])
    oldest = PROJECT["project"]["requires-python"]
    assert oldest == ">=3.11"
    assert str(python.version).startswith(oldest), "conda and uv ask for the same Python"


def test_the_core_is_light():
    """The context modules need torch and einops; the rest are extras, and `all` is their sum."""
    names = {re.match(r"[\w.-]+", d)[0] for d in PROJECT["project"]["dependencies"]}
    assert names == {"torch", "einops"}
    assert "torch>=2.9" in PROJECT["project"]["dependencies"]
    extras = set(PROJECT["project"]["optional-dependencies"]) - {"all"}
    (everything,) = PROJECT["project"]["optional-dependencies"]["all"]
    assert set(re.search(r"\[(.+)\]", everything)[1].split(",")) == extras
    assert PROJECT["dependency-groups"]["dev"] == ["contextlab[all]"], "plain uv run has it all"
