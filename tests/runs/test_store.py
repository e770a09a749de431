"""Files of many runs: one line a run, found by the configuration, written whole."""

import json
import math
import os
import shutil
import subprocess
import sys
import threading
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from contextlab import claims, runs, training
from contextlab.claims import lists
from contextlab.runs import store

ROOT = Path(__file__).parents[2]
SEEDS = [runs.streets(seed=seed, budget="smoke") for seed in range(4)]


@pytest.fixture(autouse=True)
def no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(tmp_path / "shipped"))
    return tmp_path / "shipped"


def made_up(config, miou=0.5):
    metrics = training.Metrics(miou, (miou, math.nan), 0.5, ((1, 0), (0, 1)), ("road", "sky"), {})
    history = training.History([0.25, 0.75], [1.0] * 2, 1.0, 2)
    return runs.Run(config, metrics, history, "2026-01-01", "made up", "own")


def texts(path):
    return path.read_text().splitlines()


def names(path):
    return [json.loads(text)["name"] for text in texts(path)]


@pytest.fixture
def three(no_runs):
    """A file of three runs."""
    path = no_runs / "some.jsonl"
    for config in SEEDS[:3]:
        runs.write(made_up(config, 0.5 + config.seed / 100), path, SEEDS)
    return path


def test_a_run_is_one_line_and_found_among_others(three, no_runs):
    runs.write(made_up(SEEDS[3], 0.9), no_runs / "others.jsonl")
    for config, miou in zip(SEEDS, (0.5, 0.51, 0.52, 0.9)):
        run = runs.find(config)
        assert (run.metrics.miou, run.source, run.config) == (miou, "shipped", config)
    assert len(texts(three)) == 3 and ": " not in texts(three)[0]
    assert runs.find(replace(SEEDS[0], seed=9)) is None
    assert runs.named(SEEDS[2].name).config == SEEDS[2] and runs.named("none") is None
    assert runs.read(three, SEEDS[1]).metrics.miou == 0.51
    for config in (None, SEEDS[3]):
        with pytest.raises(ValueError, match=r"some.jsonl of 3 others"):
            runs.read(three, config)
    assert runs.read(no_runs / "others.jsonl").config == SEEDS[3]


def test_a_file_of_one_run_and_a_line_hold_the_same(tmp_path):
    """Own runs are files of their own, and those that readers have already stay readable."""
    run = made_up(SEEDS[0])
    runs.write(run, tmp_path / "one.json")
    runs.write(run, tmp_path / "one.jsonl")
    one, line = (json.loads((tmp_path / f"one.{end}").read_text()) for end in ("json", "jsonl"))
    assert one == line
    del one["name"]  # as earlier versions wrote it
    old = tmp_path / "home" / "runs" / f"{SEEDS[0].name}.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps(one, indent=1))
    assert runs.find(SEEDS[0]).source == "own"
    assert runs.find(SEEDS[0]).metrics.to_dict() == run.metrics.to_dict()


def test_writing_changes_one_line(three):
    before = texts(three)
    runs.write(made_up(SEEDS[1], 0.99), three, SEEDS)
    after = texts(three)
    assert (after[0], after[2]) == (before[0], before[2]) and after[1] != before[1]
    assert runs.find(SEEDS[1]).metrics.miou == 0.99
    assert [path.name for path in three.parent.iterdir()] == ["some.jsonl"]  # nothing left over


def test_a_new_line_stands_in_the_order_of_the_experiment(no_runs):
    path = no_runs / "some.jsonl"
    stranger = runs.streets("glore", budget="smoke")
    for config in (SEEDS[3], stranger, SEEDS[0], SEEDS[2]):
        runs.write(made_up(config), path, SEEDS)
    assert names(path) == [c.name for c in (SEEDS[0], SEEDS[2], SEEDS[3], stranger)]
    runs.write(made_up(SEEDS[1]), path)  # without an order: at the end
    assert names(path)[-1] == SEEDS[1].name


@pytest.mark.parametrize("cut", [-20, 60, 5])
def test_a_cut_line_is_named_and_the_others_stay(three, cut):
    """Behind its name, within its name, and at its beginning."""
    whole = texts(three)
    three.write_text("\n".join([whole[0], whole[1][:cut], whole[2]]) + "\n")
    assert runs.find(SEEDS[0]).metrics.miou == 0.5 and runs.find(SEEDS[2]).metrics.miou == 0.52
    with pytest.raises(ValueError, match=r"line 2 of .*some\.jsonl is not a whole run.*: move "
                       "this line away and train the run anew"):  # fmt: skip
        runs.find(SEEDS[1])
    runs.write(made_up(SEEDS[3]), three, SEEDS)  # nobody else's line is lost
    assert len(texts(three)) == 4 and whole[1][:cut] in texts(three)


def test_a_damaged_byte_spoils_one_line(three):
    content = three.read_bytes().splitlines(keepends=True)
    content[1] = content[1].replace(b'{"miou"', b'\xff"miou"')
    three.write_bytes(b"".join(content))
    assert runs.find(SEEDS[2]).metrics.miou == 0.52
    with pytest.raises(ValueError, match="line 2 of"):
        runs.find(SEEDS[1])
    runs.write(made_up(SEEDS[3]), three)
    assert three.read_bytes().splitlines(keepends=True)[:3] == content


def test_a_line_of_another_configuration_is_refused(three):
    found = json.loads(texts(three)[0])
    found["config"]["width"] = 32
    three.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    with pytest.raises(ValueError, match=r"line 1 of .* is a run of another configuration \(width"):
        runs.find(SEEDS[0])


def test_a_run_that_stands_twice_is_refused_with_both_places(three, no_runs):
    (no_runs / "twice.jsonl").write_text("\n" + texts(three)[1] + "\n")
    match = r"line 2 of .*some\.jsonl and line 2 of .*twice\.jsonl: delete one"
    with pytest.raises(ValueError, match=match):
        runs.find(SEEDS[1])
    assert runs.find(SEEDS[0]) is not None
    three.write_text(texts(three)[0] + "\n" + texts(three)[0] + "\n")
    with pytest.raises(ValueError, match=r"line 1 of .* and line 2 of"):
        runs.write(made_up(SEEDS[0]), three)
    assert len(texts(three)) == 2


def test_two_writers_lose_nothing(no_runs):
    path = no_runs / "some.jsonl"
    configs = [runs.streets(seed=seed, budget="smoke") for seed in range(12)]

    def some(part):
        for config in part:
            runs.write(made_up(config), path, configs)

    threads = [threading.Thread(target=some, args=(configs[i::3],)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(path) == [config.name for config in configs]


def test_a_lock_that_a_killed_process_left_is_named(three, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    lock = three.with_name(".lock-some.jsonl")
    lock.mkdir()
    with pytest.raises(ValueError, match=r"\.lock-some\.jsonl has been there.*delete this folder"):
        runs.write(made_up(SEEDS[3]), three)
    lock.rmdir()
    runs.write(made_up(SEEDS[3]), three)


def test_what_does_not_belong_is_listed(no_runs, monkeypatch):
    monkeypatch.setattr(lists, "_groups", lambda **_: {"a": SEEDS[:2], "b": SEEDS[1:3]})
    monkeypatch.setattr(lists, "_with_weights", lambda planned=False: [])
    assert {k: len(v) for k, v in claims.shipped_files().items()} == {"a": 2, "b": 1}
    runs.write(made_up(SEEDS[0]), no_runs / "a.jsonl")
    runs.write(made_up(SEEDS[1]), no_runs / "a.jsonl")
    assert claims.misplaced(no_runs) == []
    runs.write(made_up(SEEDS[0]), no_runs / "b.jsonl")
    runs.write(made_up(SEEDS[2]), no_runs / "a.jsonl")
    runs.write(made_up(SEEDS[3]), no_runs / "a.jsonl")
    with (no_runs / "a.jsonl").open("a") as file:
        file.write("<<<<<<<\n")
    (no_runs / "notes.json").write_text("{}")
    moved, old, no_run, twice, stray = claims.misplaced(no_runs)
    assert "line 3 of" in moved and "belongs to b.jsonl" in moved
    assert "line 4 of" in old and "of no shipped configuration any more" in old
    assert "line 5 of" in no_run and "is no run" in no_run
    assert "line 1 of" in twice and "stands in line 1 of" in twice and "b.jsonl" in twice
    assert "notes.json" in stray


def test_without_the_shipped_runs_it_is_said(no_runs, monkeypatch):
    with pytest.raises(FileNotFoundError, match="shipped holds no run: let CONTEXTLAB_RUNS name"):
        runs.need_shipped()
    runs.write(made_up(SEEDS[0]), no_runs / "some.jsonl")
    assert runs.need_shipped() == no_runs
    monkeypatch.setattr(store, "shipped_folder", lambda: None)
    with pytest.raises(FileNotFoundError, match="are not here: work in a checkout"):
        runs.need_shipped()


def test_the_checkout_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("CONTEXTLAB_RUNS")
    monkeypatch.chdir(tmp_path)
    assert runs.need_shipped() == ROOT / runs.SHIPPED
    assert runs.find(runs.streets(budget="quick")).source == "shipped"


LOOK = """
import os, shutil, sys
from pathlib import Path
packages, empty, below, runs = map(Path, sys.argv[1:])
sys.path.insert(0, str(packages))
from contextlab.runs.config import streets
from contextlab.runs.store import find, shipped_folder

def look(folder):
    os.chdir(folder)
    run = find(streets(budget="quick"))
    print(shipped_folder(), run and run.source)

look(empty)
look(below)
inside = packages / "contextlab" / "runs" / "shipped"
shutil.copytree(runs, inside)
look(empty)
look(below)
"""


def test_an_installed_package_brings_its_runs(tmp_path):
    """The layout that the wheel's mapping gives, in a process that knows no checkout."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]
    assert wheel["only-include"] == ["contextlab", "lessons/runs", "benchmarks/modules.json"]
    assert wheel["sources"] == {
        "lessons/runs": "contextlab/runs/shipped",
        "benchmarks": "contextlab/claims",
    }
    # a wheel may be made of the source archive
    assert {"contextlab", "lessons/runs"} <= set(build["targets"]["sdist"]["include"])
    packages, empty = tmp_path / "packages", tmp_path / "empty"
    below = tmp_path / "checkout" / "lessons" / "deep"  # runs further up from there
    empty.mkdir()
    below.mkdir(parents=True)
    shutil.copytree(ROOT / "contextlab", packages / "contextlab",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    shutil.copytree(ROOT / "lessons" / "runs", below.parent / "runs")
    hidden = ("CONTEXTLAB_RUNS", "PYTHONPATH")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    out = subprocess.run(
        [sys.executable, "-c", LOOK, packages, empty, below, ROOT / "lessons" / "runs"],
        cwd=empty, env=environment, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    inside = packages / "contextlab" / "runs" / "shipped"
    assert out == [
        "None None",
        f"{below.parent / 'runs'} shipped",
        f"{inside} shipped",
        f"{inside} shipped",
    ]


def test_the_shipped_runs_need_no_home(monkeypatch):
    def nobody():
        raise FileNotFoundError("no home folder is known here")

    monkeypatch.delenv("CONTEXTLAB_RUNS", raising=False)
    monkeypatch.setattr(store, "home", nobody)
    assert runs.find(runs.streets(budget="quick")).source == "shipped"


def test_a_place_that_cannot_be_written_to_is_named_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(runs.training, "fit", lambda *_, **__: pytest.fail("trained for nothing"))
    with pytest.raises(OSError, match="file"):
        runs.train(runs.streets(budget="smoke"), tmp_path / "file" / "run.json")
