"""The settings that conftest.py promises reach the kernel of a lesson under test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[2]
ASK = """\
import os
names = ("OMP_NUM_THREADS", "CONTEXTLAB_BUDGET", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")
own_home = "contextlab-tests-" in os.environ["CONTEXTLAB_HOME"]
print([os.environ.get(name) for name in names], own_home)
"""
PROMISED = "['1', 'quick', '1', ''] True\n"


def test_a_lesson_gets_the_promised_environment(tmp_path):
    """Two cells ask the same; one has the promised answer stored, the other must fail."""
    cells = [
        new_code_cell(
            ASK, execution_count=count, outputs=[new_output("stream", name="stdout", text=stored)]
        )
        for count, stored in enumerate((PROMISED, "something else\n"), 1)
    ]
    notebook = new_notebook(cells=cells)
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
    assert "1 failed, 1 passed" in result.stdout, result.stdout + result.stderr
