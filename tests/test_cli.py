import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

import contextlab
from contextlab import catalogue, cli, costs, data, home, runs, training
from contextlab.claims import lists
from contextlab.cli import _pictures, _words
from contextlab.cli.runs import PACKAGE
from contextlab.cli.train import BUDGETS
from contextlab.training import checkpoints

NETWORK = "tf_efficientnet_lite0"
STREETS = ["train", "--data", "streets", "--budget", "smoke"]


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CONTEXTLAB_RUNS", raising=False)
    monkeypatch.delenv("CONTEXTLAB_BUDGET", raising=False)
    return tmp_path / "home"


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    """A CamVid of a few frames, and weights for the backbone: the words to train on them."""
    counts = {"train": 4, "val": 1, "test": 3}
    monkeypatch.setattr(data.camvid, "COUNTS", counts)
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for kind, shape, high in ((split, (60, 80, 3), 256), (f"{split}annot", (60, 80), 12)):
            (tmp_path / "camvid" / kind).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, high, shape, dtype=np.uint8))
                image.save(tmp_path / "camvid" / kind / f"{i}.png")
    weights = tmp_path / "weights.safetensors"
    state = timm.create_model(NETWORK, pretrained=False).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, weights)
    root = str(tmp_path / "camvid")
    words = ["--data", "camvid", "--root", root, "--weights", str(weights), "--budget", "smoke"]
    return ["train", *words, "--out", str(tmp_path / "out")]


def test_camvid_from_images_to_a_picture_of_the_predictions(camvid, tmp_path, capsys):
    assert cli.main([*camvid, "--context", "non_local"]) == 0
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {"metrics.json", "weights.safetensors", "predictions.png", home.MARK}
    said = capsys.readouterr().out
    for name in (*data.CamVid.classes, "mIoU", "pixel accuracy", "2 steps", str(out)):
        assert name in said
    run = runs.read(out / "metrics.json")
    assert run.config.context == "non_local" and run.metrics.images == 3
    assert run.metrics.classes == data.CamVid.classes
    with Image.open(out / "predictions.png") as picture:
        assert picture.width > 600 and len(picture.convert("RGB").getcolors(10**6)) > 11
    found = training.evaluate(run.model(), data.build("camvid", "test", root=tmp_path / "camvid"))
    assert found.confusion == run.metrics.confusion


def test_a_head_over_a_frozen_backbone_is_drawn_and_scored_as_a_whole(camvid, tmp_path, capsys):
    assert cli.main([*camvid, "--frozen"]) == 0
    assert (tmp_path / "out" / "predictions.png").is_file() and "mIoU" in capsys.readouterr().out
    run = runs.read(tmp_path / "out" / "metrics.json")
    assert run.config.frozen and run.config.context is None
    given = camvid[camvid.index("--root") : camvid.index("--budget")]
    assert cli.main(["evaluate", str(tmp_path / "out"), *given]) == 0
    found, stored = capsys.readouterr().out.split("stored: ")
    score = next(float(line.split()[1]) for line in found.splitlines() if line.startswith("mIoU"))
    assert stored.startswith("mIoU") and score == pytest.approx(float(stored.split()[1]), abs=0.3)


def test_a_killed_training_is_continued_by_the_same_command(camvid, tmp_path, monkeypatch, capsys):
    assert cli.main([*camvid, "--steps", "4", "--out", str(tmp_path / "whole")]) == 0
    fit, words = training.fit, [*camvid, "--steps", "4"]

    def interrupted(*arguments, **options):
        fit(*arguments, **options, stop_after=2)
        raise KeyboardInterrupt("stopped after step 2")

    monkeypatch.setattr(training, "fit", interrupted)
    assert cli.main(words) == 130
    said = capsys.readouterr().err
    assert "stopped after step 2" in said
    assert f"To continue: python -m contextlab {' '.join(words)}" in said
    assert checkpoints.newest(tmp_path / "out" / "state").name == "state-00000002"
    monkeypatch.setattr(training, "fit", fit)
    assert cli.main([*words, "--lr", "0.5"]) == 2  # other settings do not continue it
    assert "another run: the recipe's lr was 0.0003 and is 0.5" in capsys.readouterr().err
    assert cli.main(words) == 0
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "out")]
    assert weights[0] == weights[1] and not (tmp_path / "out" / "state").exists()


def test_missing_data_and_weights_are_named(camvid, tmp_path, capsys):
    assert cli.main(["train", "--data", "camvid", "--root", str(tmp_path)]) == 2
    assert "error: no CamVid frames in" in capsys.readouterr().err
    assert cli.main([*camvid, "--weights", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_finished_training_is_shown_and_not_repeated(tmp_path, capsys, monkeypatch):
    words = [*STREETS, "--control", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(runs, "train", None)
    assert cli.main(words) == 0
    second = capsys.readouterr().out
    assert "holds this run already" in second and "mIoU" in second
    table = [line for line in first.splitlines() if line.startswith(("sky", "mIoU", "road"))]
    assert len(table) == 3 and all(line in second for line in table)
    assert cli.main([*STREETS, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "another configuration (data_options)" in said and "--out" in said
    assert "elete" not in first + second + said


def test_options_reach_the_recipe(empty_home, capsys):
    words = ["--steps", "2", "--batch", "2", "--lr", "0.01", "--optimiser", "sgd", "--seed", "5"]
    assert cli.main([*STREETS, *words, "--weight-decay", "0.1", "--bf16"]) == 0
    (folder,) = (empty_home / "trained").iterdir()
    config = runs.read(folder / "metrics.json").config
    recipe = config.train_recipe()
    assert (recipe.steps, recipe.batch, recipe.lr, recipe.seed) == (2, 2, 0.01, 5)
    assert (recipe.optimiser, recipe.weight_decay) == ("sgd", 0.1) and recipe.precision == "bf16"
    assert folder.name == config.name and config.name in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        ([*STREETS, "--weights", "w"], "belong to camvid"),
        ([*STREETS, "--frozen"], "--frozen belong to camvid"),
        ([*STREETS, "--context", "non_locl"], "non_local"),
        (["train", "--data", "camvid", "--control"], "--control belongs to streets"),
        (["runs", "--only", "nothing"], "no shipped run is called 'nothing'"),
        (["evaluate", "nowhere.json"], "no run at nowhere.json, and none is called so"),
    ],
)
def test_mistakes_are_named_without_a_traceback(words, message, capsys):
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and "Traceback" not in said


def test_evaluate_scores_a_stored_run_again(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main([*STREETS, "--out", str(out)]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(out), "--draw", str(tmp_path / "p.png")]) == 0
    said = capsys.readouterr().out
    stored = runs.read(out / "metrics.json").metrics
    assert f"mIoU           {100 * stored.miou:6.1f}".split() in [
        line.split() for line in said.splitlines()
    ]
    assert f"stored: mIoU {100 * stored.miou:.1f}" in said and (tmp_path / "p.png").is_file()
    assert cli.main(["evaluate", str(out / "metrics.json"), "--split", "test"]) == 0
    said = capsys.readouterr().out
    assert "8 images of test" in said and "stored" not in said


@pytest.mark.parametrize("name", ["metrics.json", "weights.safetensors", "predictions.png"])
def test_what_somebody_else_made_is_left_alone(tmp_path, name, capsys, monkeypatch):
    monkeypatch.setattr(runs, "train", None)
    (tmp_path / name).write_text("mine")
    assert cli.main([*STREETS, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path / name) in said and "elete" not in said and "Traceback" not in said
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_notes_beside_and_in_the_training_state_stay(tmp_path):
    note, beside = tmp_path / "state" / "notes.txt", tmp_path / "notes.txt"
    note.parent.mkdir()
    for path in (note, beside):
        path.write_text("mine")
    assert cli.main([*STREETS, "--out", str(tmp_path)]) == 0
    assert note.read_text() == beside.read_text() == "mine"
    assert [path.name for path in note.parent.iterdir()] == ["notes.txt"]
    assert (tmp_path / "metrics.json").is_file()


def test_a_picture_replaces_its_own_kind_only(tmp_path):
    own, foreign = tmp_path / "own.png", tmp_path / "foreign.png"
    _pictures.write_picture(own, b"one")
    _pictures.write_picture(own, b"two")
    assert own.read_bytes() == b"two"
    foreign.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"foreign.png is there already"):
        _pictures.write_picture(foreign, b"one")
    assert foreign.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "make, name, said",
    [
        (lambda f: f.mkdir(), "run", "holds no metrics.json, so no finished run"),
        (
            lambda f: f.write_bytes(bytes(range(256)) * 9),
            "a.json",
            "a.json is no run of contextlab",
        ),
        (lambda f: f.write_text('{"config": 3}'), "a.json", "a.json is no run of contextlab"),
        (lambda f: f.write_text('{"config": {}, "metrics": {}}'), "a.json", "is damaged or was"),
        (lambda f: save_file({}, f), "w.safetensors", "holds weights: give the folder of `train`"),
    ],
)
def test_what_is_no_run_is_named_in_one_sentence(tmp_path, make, name, said, capsys):
    make(tmp_path / name)
    assert cli.main(["evaluate", str(tmp_path / name)]) == 2
    found = capsys.readouterr().err
    assert said in found and found.count("\n") == 1 and len(found) < 400 and "elete" not in found


def test_weights_that_are_not_those_of_the_run_are_named(tmp_path, capsys):
    assert cli.main([*STREETS, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    weights = tmp_path / "weights.safetensors"
    assert cli.main(["evaluate", str(weights)]) == 2
    assert f"the run that they belong to is {tmp_path / 'metrics.json'}" in capsys.readouterr().err
    weights.write_bytes(weights.read_bytes() + b" ")
    for words in (["evaluate", str(tmp_path)], [*STREETS, "--out", str(tmp_path)]):
        assert cli.main(words) == 2
        said = capsys.readouterr().err
        assert f"{weights} is not the file that metrics.json was written with" in said
        assert "elete" not in said
    weights.unlink()
    assert cli.main(["evaluate", str(tmp_path)]) == 2
    assert "names the weights weights.safetensors, which are missing" in capsys.readouterr().err


def test_random_weights_are_an_experiment_of_their_own(camvid, tmp_path):
    given = camvid.index("--weights") + 1
    assert cli.main([*camvid[:given], "random", *camvid[given + 1 :], "--frozen"]) == 0
    config = runs.read(tmp_path / "out" / "metrics.json").config
    assert config.backbone_options == {"output_stride": 16, "weights": "random"}
    assert cli.main(["evaluate", str(tmp_path / "out"), *camvid[3:5]]) == 0
    assert cli.main(camvid) == 2  # the file of ImageNet's is another one


def test_smoke_computes_the_maps_of_its_own_images_only(camvid, tmp_path, empty_home):
    assert runs.camvid(frozen=True, budget="smoke").pool == 16
    assert runs.camvid(frozen=True, budget="quick").pool is None
    assert runs.camvid(budget="smoke").pool is None


def test_the_size_of_images_is_a_question_of_options(camvid, tmp_path, capsys):
    words = [*camvid, "--backbone", "swin_tiny_patch4_window7_224", "--output-stride", "32"]
    words[words.index("--weights") + 1] = "random"
    words.insert(-4, "--frozen")
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert "give --backbone-option strict_img_size=False" in said
    assert cli.main([*words, "--backbone-option", "strict_img_size=False"]) == 0
    option = runs.read(tmp_path / "out" / "metrics.json").config.backbone_options
    assert option["strict_img_size"] is False


def test_runs_needs_a_folder_that_is_meant_for_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "train", None)
    monkeypatch.setattr(runs, "shipped_folder", lambda: None)
    assert cli.main(["runs"]) == 2
    said = capsys.readouterr().err
    assert "work in a checkout of contextlab, or name a folder with --folder" in said
    monkeypatch.setattr(runs, "shipped_folder", lambda: PACKAGE / "runs" / "shipped")
    assert cli.main(["runs"]) == 2
    assert "is not among the runs that the installed package brings" in capsys.readouterr().err


def test_runs_trains_what_is_missing_and_skips_what_is_there(tmp_path, monkeypatch, capsys):
    configs = [runs.streets(control=True, seed=seed, budget="smoke") for seed in (0, 1)]
    monkeypatch.setattr(lists, "_groups", lambda planned=False: {"two": configs})
    monkeypatch.setattr(lists, "_with_weights", lambda planned=False: configs[:1])
    words = ["runs", "--folder", str(tmp_path / "runs")]
    assert cli.main([*words, "--list"]) == 0
    assert capsys.readouterr().out.count("missing") == 2
    assert cli.main([*words, "--only", "control-smoke-0"]) == 0
    assert cli.main(words) == 0
    assert "there" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    first, second = (config.name for config in configs)
    assert names == [f"{first}.safetensors", "two.jsonl"]
    assert [line.name for line in runs.lines(tmp_path / "runs")] == [first, second]
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(tmp_path / "runs"))
    assert cli.main(["evaluate", first]) == 0
    assert f"{first}, 8 images of val" in capsys.readouterr().out
    monkeypatch.setattr(lists, "_groups", lambda planned=False: {"two": configs[:1]})
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "line 2 of" in said and f"{second} is of no shipped configuration" in said


def test_planned_runs_are_trained_only_when_they_are_named(tmp_path, monkeypatch, capsys):
    shown = runs.streets(control=True, budget="smoke")
    coming = runs.far(control=True, budget="smoke")
    made, ahead = {"made": [shown]}, {"made": [shown], "ahead": [coming]}
    monkeypatch.setattr(lists, "_groups", lambda planned=False: ahead if planned else made)
    monkeypatch.setattr(lists, "_with_weights", lambda planned=False: [])
    folder = tmp_path / "runs"
    words = ["runs", "--folder", str(folder)]
    assert cli.main([*words, "--list"]) == 0
    said = capsys.readouterr().out
    assert shown.name in said and coming.name not in said
    assert cli.main([*words, "--only", "far-"]) == 0
    said = capsys.readouterr().out
    assert coming.name in said and shown.name not in said
    assert [path.name for path in folder.iterdir()] == ["ahead.jsonl"]
    assert cli.main([*words, "--list"]) == 0  # and what has been made is not called misplaced
    assert "no shipped configuration" not in capsys.readouterr().out


def test_the_catalogue_is_printed(capsys):
    assert cli.main(["catalogue"]) == 0
    said = capsys.readouterr().out
    assert all(name in said and entry.source in said for name, entry in catalogue().items())


def test_the_bill_and_the_claims_are_printed(capsys, tmp_path, monkeypatch):
    assert cli.main(["bill", "SRNet V", "CGRSeg heads"]) == 0
    said = capsys.readouterr().out
    assert "SRNet (DFv2)" in said and "HamHead" in said and "SRNet X" not in said
    legend = said.partition("SRNet Table V")[0]
    for word in ("published", "ours", "true", "prints alike", "grade", *costs.GRADES):
        assert word in legend
    plot = tmp_path / "bill.png"
    assert cli.main(["bill", "SRNet V", "--plot", str(plot)]) == 0
    assert "3 of 3 print alike" in capsys.readouterr().out
    with Image.open(plot) as picture:
        assert picture.width > 600
    assert cli.main(["bill", "SRNet VI"]) == 2
    assert "expected a table of" in capsys.readouterr().err

    times = tmp_path / "times.json"
    measured = [
        {"module": name, "side": side, "pass": "forward", "ours (ms)": side**power}
        for name, power in (("non_local", 4), ("squeeze_reasoning", 2))
        for side in (32, 96)
    ]
    times.write_text(json.dumps({"rows": measured}))
    assert cli.main(["claims", "--times", str(times), "--only", "S16", "--long"]) == 0
    said = capsys.readouterr().out
    assert "S16" in said and "exponents of N 2.00 and 1.00" in said and "D4" not in said
    assert cli.main(["claims", "--only", "C99"]) == 2
    assert "no claim is called 'C99'" in capsys.readouterr().err
    times.write_text("{}")
    assert cli.main(["claims", "--times", str(times)]) == 2
    assert "holds no measured times" in capsys.readouterr().err
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(tmp_path / "none"))
    assert cli.main(["claims", "--only", "[DS]1*"]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_the_ledger_is_told_in_lines_and_as_a_page(capsys, tmp_path):
    words = ["claims", "--only", "[DS]1[23]"]
    assert cli.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 claims: 1 right, ") and "1 misprint" in lines[0]
    assert any(line.startswith("misprint        S13  bus gains 17.4") for line in lines)
    assert "points; class means" not in "".join(lines)
    page, foreign = tmp_path / "ledger.html", tmp_path / "page.html"
    for _ in range(2):  # the second time it replaces its own
        assert cli.main([*words, "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "points; class means" in text and 'id="S13"' in text
    foreign.write_text("mine")
    assert cli.main([*words, "--html", str(foreign)]) == 2
    assert foreign.read_text() == "mine" and "page.html is there" in capsys.readouterr().err


def test_help_and_version_name_the_program(monkeypatch, capsys):
    for called, name in (
        ("/bin/contextlab", "contextlab"),
        ("x/__main__.py", "python -m contextlab"),
    ):
        monkeypatch.setattr(sys, "argv", [called])
        for words in (["--help"], ["train", "--help"]):
            with pytest.raises(SystemExit, match="0"):
                cli.main(words)
            assert capsys.readouterr().out.startswith(f"usage: {name} ")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"contextlab {contextlab.__version__}\n"


def test_the_budgets_of_the_options_are_those_of_training():
    assert tuple(training.BUDGETS) == BUDGETS


@pytest.mark.parametrize(
    "message, said",
    [
        ("pass weights='random', or the", "give --weights random, or the"),
        ("and pass weights='path/to/m.safetensors'", "and --weights path/to/m.safetensors"),
        (
            "as it is: pass img_size=(36, 48)",
            "as it is: give --backbone-option 'img_size=(36, 48)'",
        ),
        ("precision='no' if it was 'bf16'; and", "no --bf16; and"),
        ("in a batch: give the recipe a crop", "in a batch: give --crop HEIGHT WIDTH"),
        ("as test: give test= a share above 0", "as test: give --test-share a share above 0"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_messages_speak_the_command_line(message, said):
    assert _words.spoken(message).replace("pass --", "--") == said


def _process(*words, **environment):
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "0", **environment},
    )


@pytest.mark.parametrize(
    "encoding, read", [("cp1252", b"A^T th\xe9ta theta"), ("cp437", b" x "), ("gbk", b"^2")]
)
def test_output_in_an_old_encoding_comes_to_its_end(encoding, read):
    odd = "from contextlab import cli; s = cli.main(['catalogue']); print('Aᵀ théta θ'); exit(s)"
    process = _process("-c", odd, PYTHONIOENCODING=encoding)
    said, wrong = process.communicate(timeout=120)
    assert process.returncode == 0 and not wrong
    assert read in said and b"strip_pooling" in said


def test_a_reader_who_has_seen_enough_ends_it_quietly():
    process = _process("-c", "from contextlab import cli; exit(cli.main(['catalogue']))")
    process.stdout.close()
    assert process.wait(timeout=120) == 141 and process.stderr.read() == b""


def test_help_imports_nothing_that_it_does_not_need():
    code = (
        "import sys, contextlab\nbefore = set(sys.modules)\nfrom contextlab import cli\n"
        "try: cli.main(['train', '--help'])\nexcept SystemExit: pass\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - sys.stdlib_module_names), file=sys.stderr)"
    )
    process = _process("-c", code)
    said, new = process.communicate(timeout=120)
    assert b"--backbone" in said and new.decode().strip() == "['contextlab']"


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_in_a_real_process(tmp_path):
    words = [*STREETS, "--steps", "100000", "--batch", "2", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "contextlab", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 120
    while checkpoints.newest(tmp_path / "out" / "state") is None:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    stopped, continued = said.strip().splitlines()
    assert stopped.startswith("stopped after step ") and "the state is saved in" in stopped
    assert continued == f"To continue: python -m contextlab {' '.join(words)}"
    state = checkpoints.newest(tmp_path / "out" / "state")
    done = len(json.loads((state / "progress.json").read_text())["history"]["loss"])
    assert f"stopped after step {done} of" in stopped
