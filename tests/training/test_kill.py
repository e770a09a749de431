"""Kills that no handler sees, at many moments: what follows must not differ by a bit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import killed
import pytest
from stand_ins import Squares

SCRIPT = Path(__file__).with_name("killed.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *words],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def test_a_run_killed_again_and_again_from_outside_ends_the_same(tmp_path):
    folder = tmp_path / "killed"
    # images seen before the kill: 13 to recognise the data, and in the fourth step, then the fifth
    for patience in (13 + 15, 13 + 6):
        process = start(folder)
        lines = [process.stdout.readline() for _ in range(patience)]
        process.kill()
        process.wait()
        assert all(lines) and not (folder / "weights.safetensors").exists()
    killed.train(folder, Squares())
    killed.train(tmp_path / "whole", Squares())
    weights = [(f / "weights.safetensors").read_bytes() for f in (folder, tmp_path / "whole")]
    assert weights[0] == weights[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked, which Windows cannot")
def test_a_kill_at_any_operation_on_files_changes_nothing_and_leaves_nothing(tmp_path):
    process = start(tmp_path / "run", "every")
    lines = process.stdout.read().splitlines()
    assert process.wait() == 0
    assert [line for line in lines if line.split()[1] != "same"] == []
    # before, while and after a state and the weights take their place, and the old state goes
    for moment in (
        "open model.safetensors",
        "open optimizer.bin",
        "open progress.json",
        "os.rename .partial-.*-state-00000006",
        "os.remove progress.json",
        "os.rmdir state-00000003",
        "os.rename .partial-.*-weights.safetensors",
    ):
        assert any(re.search(moment, line) for line in lines), moment


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked, which Windows cannot")
def test_two_processes_on_one_run_do_not_disturb_each_other(tmp_path):
    process = start(tmp_path / "run", "twice")
    assert process.communicate()[0].split() == ["0", "0"]
    files = sorted((tmp_path / "run").iterdir())
    assert [path.name for path in files] == ["both", "one", "other"]
    assert len({path.read_bytes() for path in files}) == 1
