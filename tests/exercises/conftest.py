"""The sample lesson 98 joins the course for these tests; each test has its own home."""

import sys
from pathlib import Path

import pytest

import contextlab.exercises


@pytest.fixture(autouse=True)
def sample_lesson(monkeypatch, tmp_path):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    sample = str(Path(__file__).parent / "sample")
    monkeypatch.setattr(contextlab.exercises, "__path__", [*contextlab.exercises.__path__, sample])
    yield
    sys.modules.pop("contextlab.exercises.lesson_98", None)
