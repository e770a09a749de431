"""The benchmarks run, and their plain versions compute the same in more memory."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from contextlab import catalogue, data
from contextlab.networks import network

FOLDER = Path(__file__).parents[2] / "benchmarks"
BENCHMARK = FOLDER / "non_local.py"


@pytest.mark.parametrize("mode", ["embedded_gaussian", "concatenation"])
def test_benchmark_of_the_non_local_block(mode, capsys):
    main = runpy.run_path(str(BENCHMARK))["main"]
    rows = main(["--sides", "16", "24", "--channels", "16", "--repeats", "1", "--mode", mode])
    assert [row["side"] for row in rows] == [16, 16, 24, 24]
    assert all(row["plain (MiB)"] > row["side"] ** 4 * 4 / 2**20 for row in rows)
    assert all(row["memory, plain / ours"] > 1.5 for row in rows)
    assert "memory, plain / ours" in capsys.readouterr().out


@pytest.fixture
def modules(monkeypatch):
    """The benchmark of all modules, imported as it is when run as a script."""
    monkeypatch.syspath_prepend(FOLDER)
    yield runpy.run_path(str(FOLDER / "modules.py"))
    for name in ("plain", "non_local", "modules", "cgrseg"):
        sys.modules.pop(name, None)


def test_every_module_has_a_plain_version_or_is_its_own(modules):
    apart, itself = set(modules["PLAIN"]), set(modules["ITSELF"])
    assert apart | itself == set(catalogue())
    assert not apart & itself


def test_answers_and_gradients_of_every_plain_version(modules):
    for name, plain in modules["PLAIN"].items():
        module = modules["build"](name, 32)
        modules["check"](name, module, plain, torch.randn(1, 32, 7, 5), gradients=True)


def test_benchmark_of_the_modules(modules, capsys, tmp_path):
    only, file = ["squeeze_excite", "compact_non_local", "criss_cross"], tmp_path / "figures.json"
    sides = ["--sides", "8", "20", "--channels", "16", "--repeats", "1"]
    rows = modules["main"]([*sides, "--only", *only, "--json", str(file)])
    assert [row["side"] for row in rows] == [8, 8, 20, 20] * 3
    itself, compact, cross = rows[:4], rows[4:8], rows[8:]
    assert all(row["plain version"] == "itself" and "plain (ms)" not in row for row in itself)
    assert [row["plain version"] for row in compact] == ["apart"] * 2 + ["too large"] * 2
    assert all(row["plain (MiB)"] > row["side"] ** 4 * 4 / 2**20 for row in cross)
    assert cross[2]["memory, plain / ours"] > 3
    assert "memory exponent, plain" in capsys.readouterr().out
    stored = json.loads(file.read_text())
    assert stored["rows"] == rows and stored["channels"] == 16
    fit = stored["exponents"][-1]
    assert fit["memory exponent, ours"] < 1.3 < 1.5 < fit["memory exponent, plain"]


def test_answers_and_gradients_of_every_public_form(modules):
    assert modules["PUBLIC"].keys() >= {"gcnet", "position_attention"}
    for name, public in modules["PUBLIC"].items():
        module = modules["build"](name, 32)
        modules["check"](name, module, public, torch.randn(2, 32, 7, 5), gradients=True)


def test_benchmark_against_the_public_forms(modules, capsys):
    sides = ["--sides", "8", "20", "--channels", "32", "--repeats", "2"]
    rows = modules["main"]([*sides, "--public"])
    assert [row["module"] for row in rows] == ["gcnet"] * 4 + ["position_attention"] * 4
    for row in rows:
        low, high = row["quartiles"]
        assert low - 0.01 <= row["time, ours / public"] <= high + 0.01
    assert rows[-1]["public (MiB)"] > 2 * 20**4 * 4 / 2**20
    assert "time, ours / public" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        modules["main"]([*sides, "--public", "--only", "ocr"])
    assert "expected --only among gcnet, position_attention, got ocr" in capsys.readouterr().err


@pytest.fixture
def growth(modules):
    return runpy.run_path(str(FOLDER / "growth.py"))


def test_benchmark_of_the_growth(growth, capsys, tmp_path):
    file = tmp_path / "growth.json"
    cases = ["non_local", "squeeze_reasoning"]
    arguments = ["--sides", "40", "24", "--channels", "32", "--repeats", "1", "--largest", "24"]
    found = growth["main"]([*arguments, "--only", *cases, "--json", str(file)])
    assert json.loads(file.read_text()) == found
    rows = {(row["module"], row["side"], row["pass"]): row for row in found["rows"]}
    assert len(rows) == len(found["rows"]) == 2 * 2 * 2
    for (name, side, _), row in rows.items():
        fits = side == 24 or name not in growth["QUADRATIC"]
        assert (row["plain version"] == "apart") == fits == ("plain (ms)" in row)
        if name in growth["QUADRATIC"] and fits:
            assert row["plain (MiB)"] > 24**4 * 4 / 2**20
            assert row["memory, plain / ours"] > 1.5
        assert row["memory / non_local"] > 0 < row["time / non_local"]
    slopes = {(fit["module"], fit["pass"]): fit for fit in found["exponents"]}
    for name in cases:
        assert 0.7 < slopes[name, "forward"]["exponent of ours (MiB)"] < 1.3
    assert len(found["reasoning"]) == 4
    for row in found["reasoning"]:
        assert 0 < row["share of the memory"] < 0.1 and row["share of the time"] > 0
    assert "share of the time" in capsys.readouterr().out


def test_answers_and_gradients_of_every_case_of_the_growth(modules, growth):
    for name, options in growth["CASES"].values():
        module = modules["build"](name, 32, **options)
        plain = modules["PLAIN"][name]
        modules["check"](name, module, plain, torch.randn(1, 32, 19, 5), gradients=True)


def test_the_slopes_are_those_of_the_times(growth):
    def row(side):
        return {"module": "a", "pass": "forward", "side": side, "ours (ms)": 3 * side**4}

    forward, backward = growth["exponents"]([row(8), row(16), row(32)])
    assert forward["exponent of ours (ms)"] == 2 and forward["r² of ours (ms)"] == 1
    assert "exponent of plain (ms)" not in forward and "exponent of ours (ms)" not in backward


def test_the_benchmark_stops_where_answers_or_gradients_differ(modules):
    module, x = modules["build"]("squeeze_excite", 16), torch.randn(1, 16, 3, 3)
    with pytest.raises(SystemExit, match="squeeze_excite: answers differ by"):
        modules["check"]("squeeze_excite", module, lambda m, x: m(x) + 1, x, gradients=False)
    with pytest.raises(SystemExit, match="squeeze_excite: the map differ by"):
        modules["check"]("squeeze_excite", module, lambda m, x: m(x.detach()), x, gradients=True)


def test_no_zero_start_hides_a_part(modules):
    for name in ("non_local", "criss_cross", "asymmetric_non_local", "compact_non_local"):
        module = modules["build"](name, 32)
        assert all(parameter.any() for parameter in module.parameters())
        x = torch.randn(1, 32, 4, 4)
        assert not torch.allclose(module(x), x, atol=1e-3)


def test_benchmark_of_the_real_time_network(modules, capsys, tmp_path):
    file = tmp_path / "realtime.json"
    benchmark = runpy.run_path(str(FOLDER / "realtime.py"))
    arguments = ["--heights", "64", "--repeats", "1", "--json", str(file)]
    found = benchmark["main"](arguments)
    assert json.loads(file.read_text()) == found
    rows = {row["slot"]: row for row in found["rows"]}
    assert rows.keys() == {"PPM", "SR", "none"} and rows["PPM"]["time / PPM"] == 1
    assert all(row["map"] == [2, 4] and row["frames a second"] > 0 for row in rows.values())
    assert 0 < rows["SR"]["slot alone, share"] < 1 and "slot alone (ms)" not in rows["none"]
    assert "frames a second" in capsys.readouterr().out


def test_benchmark_of_the_graph_guided_heads(modules, capsys, tmp_path):
    file = tmp_path / "heads.json"
    main = runpy.run_path(str(FOLDER / "graph_guided.py"))["main"]
    rows = main(["--maps", "3x5", "--repeats", "1", "--json", str(file)])
    assert json.loads(file.read_text())["rows"] == rows
    assert len(rows) == 2 * (1 + 6 + 1 + 1)
    fused = [row for row in rows if row["version"] == "FULL, fused"]
    assert [row["time, FULL / this"] for row in fused] == [1, 1]
    assert all(row["ms"] > 0 and row["peak (MiB)"] > 0 for row in rows)
    assert {row["edges, FULL / this"] for row in rows if "GRID" in row["version"]} == {15}
    assert "edges, FULL / this" in capsys.readouterr().out


@pytest.fixture
def cgrseg(modules):
    return runpy.run_path(str(FOLDER / "cgrseg.py"))


def test_benchmark_of_cgrseg(cgrseg, capsys, tmp_path):
    file = tmp_path / "cgrseg.json"
    arguments = ["--small", "--side", "64", "--repeats", "1", "--json", str(file)]
    found = cgrseg["main"](arguments)
    assert json.loads(file.read_text()) == found
    parts = {"CGRSeg-small": ["backbone", "context", "reconstruction", "head", "resize"]}
    parts["FCN"] = ["backbone", "head", "resize"]
    keys = [(row["network"], row["layout"], row["pass"], row["part"]) for row in found["rows"]]
    assert keys == [
        (name, layout, title, part)
        for layout in ("channels first", "channels last")
        for title in ("forward", "training step")
        for name in parts
        for part in ("whole", *parts[name])
    ]
    assert all(row["ms"] > 0 for row in found["rows"])
    assert sum(row.get("share", 0) for row in found["rows"]) == pytest.approx(4 * 2)
    assert [row["time, ours / broadcast"] > 0 for row in found["decoder"]] == [True] * 4
    assert {row["what"] for row in found["spent"]} > {"row strips", "column strips", "axial pools"}
    assert all(0 < row["share"] < 1 for row in found["spent"])
    assert {(row["strip"], row["pass"]) for row in found["strips"]} == {
        (strip, title) for strip in ("1x11", "11x1") for title in ("forward", "forward + backward")
    }
    assert "throughput" not in found and "time, ours / broadcast" in capsys.readouterr().out


def test_the_parts_of_a_network_are_the_network(cgrseg):
    for make in cgrseg["SMALL"].values():
        model, image = make().eval(), torch.rand(1, 3, 61, 64)
        names, answers = [], []
        for name, part, inputs in cgrseg["parts_of"](model, image):
            names.append(name)
            answers.append(part(*inputs))
        assert names[-1] == "resize"
        torch.testing.assert_close(answers[-1], model(image))


def test_what_is_watched_is_left_as_it_was(cgrseg):
    model, image = cgrseg["SMALL"]["CGRSeg-small"]().eval(), torch.rand(1, 3, 32, 32)
    before = model(image)
    with cgrseg["watched"](model) as seconds:
        assert torch.equal(model(image), before)
    assert all(value > 0 for value in seconds.values())
    assert not any("forward" in vars(m) or "axes" in vars(m) for m in model.modules())


@pytest.mark.parametrize("kernel", [3, 11, 21])
def test_every_form_of_a_strip_is_the_convolution(cgrseg, kernel):
    x = torch.randn(2, 4, 7, 5, dtype=torch.float64)
    for sides in ((kernel, 1), (1, kernel)):
        padding = [side // 2 for side in sides]
        strip = torch.nn.Conv2d(4, 4, sides, padding=padding, groups=4).double()
        for form in cgrseg["FORMS"].values():
            torch.testing.assert_close(form(x, strip), strip(x), rtol=1e-11, atol=1e-11)


def test_fewer_neighbours_are_measured_as_they_are_stored():
    script = runpy.run_path(str(FOLDER / "fewer_neighbours.py"))
    options = {"context_options": {"heads": ["LOCAL_1", "GRID_4"], "zero_init": False}}
    model = network(13, context="graph_guided", width=16, kernel=1, **options).eval()
    streets = data.Streets("val", size=2)
    scores, gains = script["pruned"]("ours", 3, model, streets, 2)
    fields = script["fields"]("ours", 3, model, streets, 1)
    stored = json.loads((FOLDER / "fewer_neighbours.json").read_text("utf-8"))
    for name, rows in (("pruning", scores), ("judged", gains), ("fields", fields)):
        assert rows[0].keys() == stored[name][0].keys()
        one = {"network": "FULL", "seed": 0}
        same = [row for row in stored[name] if one.items() <= row.items()]
        assert len(same) == (len(rows) if name != "fields" else script["FIELDS"])
    assert {row["network"] for row in stored["pruning"]} == set(script["NETWORKS"])
    assert all(0 < row["gradient"] <= 1 and 0 < row["covering"] <= 1 for row in fields)
