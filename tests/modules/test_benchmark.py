"""The benchmark runs, and its plain version does hold the matrix."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "non_local.py"


@pytest.mark.parametrize("mode", ["embedded_gaussian", "concatenation"])
def test_benchmark_of_the_non_local_block(mode, capsys):
    main = runpy.run_path(str(BENCHMARK))["main"]
    rows = main(["--sides", "16", "24", "--channels", "16", "--repeats", "1", "--mode", mode])
    assert [row["side"] for row in rows] == [16, 16, 24, 24]
    assert all(row["plain (MiB)"] > row["side"] ** 4 * 4 / 2**20 for row in rows)
    assert all(row["memory, plain / ours"] > 1.5 for row in rows)
    assert "memory, plain / ours" in capsys.readouterr().out
