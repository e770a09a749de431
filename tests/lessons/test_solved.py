"""Every lesson runs to its end with all exercises solved, trains what it trains, and says "Solved."

At the smoke budget, without shipped runs and with an empty home: every training cell trains.
"""

import shutil

import pytest

from contextlab.exercises import _core, _notebook
from tests.lessons.page import LESSONS, pages


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [pytest.param(page, id=page.path.stem) for page in pages()])
def test_the_lesson_runs_solved(page, tmp_path):
    folder = tmp_path / "lessons"
    shutil.copytree(LESSONS, folder, ignore=shutil.ignore_patterns("runs", ".*"))
    environment = _notebook.kernel_environment(tmp_path / "home", budget="smoke")
    solved = _notebook.solved(page.notebook)
    done = _notebook.execute(solved, folder, environment=environment, timeout=600)
    for cell in done.cells:
        mark = cell.metadata.get("contextlab", {})
        if mark.get("part") == "check":
            said = "".join(output.get("text", "") for output in cell.outputs)
            assert said == _core.SOLVED + "\n", f"{mark['exercise']}: {said}"
    saved = tmp_path / "home" / "progress.json"
    assert saved.exists(), "the solved exercises were not saved"
