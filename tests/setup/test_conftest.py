"""The settings that conftest.py promises reach the kernel of a lesson under test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[2]
ASK = """\
import os
names = ("OMP_NUM_THREADS", "CONTEXTLAB_BUDGET", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")
own_home = "contextlab-tests-" in os.environ["CONTEXTLAB_HOME"]
print([os.environ.get(name) for name in names], own_home)
"""
PROMISED = "['1', 'quick', '1', ''] True\n"


@pytest.mark.parametrize(("stored", "verdict"), [(PROMISED, 0), ("something else\n", 1)])
def test_a_lesson_gets_the_promised_environment(tmp_path, stored, verdict):
    cell = new_code_cell(
        ASK, execution_count=1, outputs=[new_output("stream", name="stdout", text=stored)]
    )
    notebook = new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "ask.ipynb")
    promised = {"OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CONTEXTLAB_BUDGET", "HF_HUB_OFFLINE"}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in promised and not name.startswith("PYTEST_")
    }
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"),
            *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(tmp_path)),
        ],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "0"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert result.returncode == verdict, result.stdout + result.stderr
    assert "1 passed" in result.stdout or verdict
