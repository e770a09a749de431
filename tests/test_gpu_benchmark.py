"""The benchmark of one card goes its whole way in tiny sizes, and on where it was stopped."""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
TWO = ["--smoke", "--device", "cpu", "--only", "non_local", "gcnet"]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    yield runpy.run_path(str(FOLDER / "gpu.py"))
    for name in ("plain", "non_local", "modules", "cgrseg"):
        sys.modules.pop(name, None)


def quick(gpu, monkeypatch):
    """What takes other processes, and seconds, is left to the test of the whole way."""
    names = gpu["main"].__globals__
    monkeypatch.setitem(names, "tests", lambda seconds: {"state": "passed"})
    monkeypatch.setitem(names, "trained", lambda *_: {"state": "cut"})
    monkeypatch.setitem(names, "NETWORKS", {})
    monkeypatch.setitem(names, "SMALL", {})
    monkeypatch.setitem(names, "measured", names["one_pass"])
    monkeypatch.setitem(names, "one_pass", lambda *_: {"state": "measured", "ms": 2.0, "MiB": 1.0})
    return names


def test_the_whole_way(gpu, monkeypatch, capsys, tmp_path):
    file = tmp_path / "gpu.json"
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # most of the seconds, before each peak
    names = gpu["main"].__globals__
    monkeypatch.setitem(names, "tests", lambda seconds: {"state": "passed"})
    compiled = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    monkeypatch.setattr(torch, "compile", lambda m, backend: compiled.append(m) or m)
    networks = {name: names["NETWORKS"][name] for name in ("fcn", "classifier")}
    monkeypatch.setitem(names, "NETWORKS", networks)  # the others take long to build
    found = gpu["main"]([*TWO, "--json", str(file)])
    assert json.loads(file.read_text()) == found
    rows = found["rows"]
    assert [r["state"] for r in rows if r["section"] == "tests"] == ["passed"]
    modules = [r for r in rows if r["section"] == "modules"]
    assert len(modules) == 2 * 2 * 3 * 2 and len(compiled) == 2 * 2 * 2
    for row in modules:
        assert row["state"] == "measured" and row["MiB"] > 0
        assert row["time / non_local"] > 0 < row["memory / non_local"]
        assert row["time / non_local"] == 1 or row["name"] != "non_local"
    steps = [r for r in rows if r["section"] == "networks"]
    assert [r["name"] for r in steps] == ["fcn", "classifier"]
    assert all(r["state"] == "measured" and r["images a second"] > 0 for r in steps)
    fast = [r for r in rows if r["section"] == "throughput"]
    assert [(r["name"], r["batch"]) for r in fast] == [("CGRSeg-small", 2), ("FCN", 2)]
    assert all(r["state"] == "measured" and r["images a second"] > 0 for r in fast)
    trained = {r["name"]: r for r in rows if r["section"] == "runs"}
    assert trained.keys() == {"non_local"}
    assert [(r["state"], r["steps"]) for r in trained.values()] == [("measured", 3)]
    assert found["environment"]["torch"] == torch.__version__ and found["environment"]["date"]
    assert "time / non_local" in capsys.readouterr().out


def test_the_tests_that_need_cuda_are_found(gpu, monkeypatch):
    asked = []

    def boxed(command, seconds):
        asked.extend(command)
        return 1, "F\n1 failed, 2 passed, 3 skipped in 1.00s"

    monkeypatch.setitem(gpu["main"].__globals__, "boxed", boxed)
    found = gpu["tests"](60)
    assert {k: v for k, v in found.items() if k != "tail"} == {
        "state": "failed", "failed": 1, "passed": 2, "skipped": 3,
    }  # fmt: skip
    assert {"test_measuring.py", "test_profiling.py"} <= {Path(word).name for word in asked}
    assert set(gpu["NETWORKS"]) == {"fcn", "dgcnet", "srnet", "realtime", "classifier"}


def test_it_goes_on_where_it_was_stopped(gpu, monkeypatch, tmp_path):
    names, file, asked = quick(gpu, monkeypatch), tmp_path / "gpu.json", []
    one_pass = names["one_pass"]

    def stopped(name, *rest):
        asked.append(name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return one_pass(name, *rest)

    monkeypatch.setitem(names, "one_pass", stopped)
    with pytest.raises(KeyboardInterrupt):
        gpu["main"]([*TWO, "--json", str(file)])
    before = json.loads(file.read_text())["rows"]
    assert [r["section"] for r in before] == ["tests", "modules", "modules"]
    monkeypatch.setitem(names, "one_pass", one_pass)
    after = gpu["main"]([*TWO, "--json", str(file)])["rows"]
    assert after[:3] == before and sum(r["section"] == "modules" for r in after) == 24
    cut = [r["state"] for r in after if r["section"] == "runs"]
    monkeypatch.setitem(names, "trained", lambda *_: {"state": "measured"})
    monkeypatch.setitem(names, "one_pass", stopped)  # nothing is measured again
    asked[:] = [None, None]
    last = gpu["main"]([*TWO, "--json", str(file)])["rows"]
    assert cut == ["cut"] and len(last) == len(after)
    assert {r["state"] for r in last if r["section"] == "runs"} == {"measured"}


def test_out_of_memory_and_errors_are_rows(gpu, monkeypatch, tmp_path):
    names = quick(gpu, monkeypatch)
    calls = iter(range(10**6))

    def call(*_):
        if next(calls) % 2:
            raise torch.OutOfMemoryError("too large")
        raise RuntimeError("broken\nat length")

    monkeypatch.setitem(names, "call", call)
    monkeypatch.setitem(names, "one_pass", names["measured"])
    monkeypatch.setattr(names["gc"], "collect", lambda: None)
    rows = gpu["main"](TWO)["rows"]
    states = [r["state"] for r in rows if r["section"] == "modules"]
    assert len(states) == 24
    assert set(states) == {"out of memory", "RuntimeError: broken"}


def test_the_minutes_are_kept(gpu, monkeypatch, capsys):
    names = quick(gpu, monkeypatch)
    clock = iter([0.0, *[0.0] * 4, *[597.0] * 9])
    monkeypatch.setattr(names["time"], "monotonic", lambda: next(clock))
    monkeypatch.setattr(names["threading"], "Timer", lambda *_: type(
        "Watch", (), {"start": lambda self: None, "cancel": lambda self: None})())  # fmt: skip
    rows = gpu["main"](TWO)["rows"]
    assert 0 < len(rows) < 5
    assert "The minutes are over" in capsys.readouterr().err


def test_a_measurement_that_ends_the_command_is_left_out_the_third_time(gpu, monkeypatch, tmp_path):
    names, file = quick(gpu, monkeypatch), tmp_path / "gpu.json"
    one_pass = names["one_pass"]

    def ends(*_):
        raise SystemExit

    monkeypatch.setitem(names, "one_pass", ends)
    for _ in range(2):
        with pytest.raises(SystemExit):
            gpu["main"]([*TWO, "--json", str(file)])
    monkeypatch.setitem(names, "one_pass", one_pass)
    rows = gpu["main"]([*TWO, "--json", str(file)])["rows"]
    states = [r["state"] for r in rows if r["section"] == "modules"]
    assert states.count("ended the command twice") == 1 and states.count("measured") == 23


def test_a_command_is_stopped_in_time(gpu):
    began = time.perf_counter()
    code, text = gpu["boxed"]([sys.executable, "-c", "import time; time.sleep(60)"], 3)
    assert code is None and "KeyboardInterrupt" in text
    assert time.perf_counter() - began < 20
    assert gpu["boxed"]([sys.executable, "-c", "print('there')"], 60) == (0, "there\n")


def test_figures_of_elsewhere_are_not_mixed(gpu, tmp_path):
    file = tmp_path / "gpu.json"
    file.write_text('{"environment": {"card": "another"}, "rows": []}')
    with pytest.raises(SystemExit, match="its card is another, here it is None"):
        gpu["main"]([*TWO, "--json", str(file)])
    file.write_text("{}")
    with pytest.raises(SystemExit, match="expected figures of this benchmark"):
        gpu["main"]([*TWO, "--json", str(file)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA")
def test_a_machine_without_a_card_is_told(gpu, capsys):
    with pytest.raises(SystemExit):
        gpu["main"]([])
    assert "expected a CUDA device, found none" in capsys.readouterr().err
