"""Two processes that share every batch, against one that has it alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import shared
import torch
from safetensors.torch import load_file
from stand_ins import Squares

from contextlab.training import evaluate

LAUNCH = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    script = Path(shared.__file__)
    # without a GPU: two processes on a single one would not be able to talk to each other
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", *LAUNCH, str(script), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[:3000]
    return folder


def read(folder: Path, rank: int) -> dict:
    return json.loads((folder / f"{rank}.json").read_text())


@pytest.mark.parametrize("recipe, kind", [(shared.RECIPE, "weights"), (shared.MINING, "mined")])
def test_two_processes_train_what_one_does(folder, recipe, kind):
    model, history = shared.train(recipe=recipe)
    together = load_file(folder / f"{kind}-0.safetensors")
    first = shared.net(norm=False).state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(together[name], weight, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(together[name], first[name], atol=1e-3)  # and it is much
    assert read(folder, 0)["world"] == 2
    losses = read(folder, 0)["loss" if kind == "weights" else kind]
    assert losses == pytest.approx(history.loss, rel=1e-5)


def test_mining_is_another_training(folder):
    assert read(folder, 0)["mined"] != pytest.approx(read(folder, 0)["loss"], rel=0.01)


def test_both_end_with_the_same_weights_and_figures(folder):
    for kind in ("weights", "dropped", "mined"):
        one, other = (load_file(folder / f"{kind}-{rank}.safetensors") for rank in (0, 1))
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert read(folder, 0) == read(folder, 1)


def test_each_image_is_scored_once(folder):
    model = shared.net(norm=False)
    model.load_state_dict(load_file(folder / "weights-0.safetensors"))
    alone = evaluate(model, Squares(7)).to_dict()
    found = read(folder, 0)
    assert {key: found[key] for key in alone} == json.loads(json.dumps(alone))


def test_an_interrupted_shared_run_ends_the_same(folder):
    whole, resumed = (load_file(folder / f"{k}-0.safetensors") for k in ("dropped", "resumed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_one_process_does_not_continue_the_state_of_two(folder):
    with pytest.raises(ValueError, match="number of processes was 2 and is 1"):
        shared.train(folder / "state")
