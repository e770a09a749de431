"""Kills that no handler sees, at many moments: what follows must not differ by a bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert start(tmp_path / "whole").wait() == 0
    whole = (tmp_path / "whole" / "weights.safetensors").read_bytes()
    images = []
    for patience in (15, 9):  # images seen before the kill: in the fourth step, then in the third
        process = start(tmp_path / "killed")
        for _ in range(patience):
            images.append(process.stdout.readline())
        process.kill()
        process.wait()
        assert not (tmp_path / "killed" / "weights.safetensors").exists()
    assert start(tmp_path / "killed").wait() == 0
    assert (tmp_path / "killed" / "weights.safetensors").read_bytes() == whole
    assert all(line.strip() for line in images)


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
        "os.rename .partial-00000003",
        "os.rename state-00000003",
        "os.rmdir .partial-old-state-00000003",
        "os.rename .partial-weights.safetensors",
    ):
        assert any(moment in line for line in lines), moment
