"""The sample lesson, for the tests of the rules."""

import sys
from pathlib import Path

import pytest

import contextlab.exercises
from tests.lessons.sample import write_sample


@pytest.fixture
def sample(monkeypatch, tmp_path):
    """The page of the sample lesson, whose exercises have joined the course's."""
    folder = str(Path(__file__).parents[1] / "exercises" / "sample")
    monkeypatch.setattr(contextlab.exercises, "__path__", [*contextlab.exercises.__path__, folder])
    yield write_sample(tmp_path)
    sys.modules.pop("contextlab.exercises.lesson_98", None)
