"""The recipe alone decides: what accelerate finds elsewhere changes no weight, and all stays.

Each case runs in a forked process, as accelerate keeps its settings for a whole process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = {
    "alone": {},
    "mixed": {"ACCELERATE_MIXED_PRECISION": "bf16"},
    "accumulation": {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3"},
    "launch": {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "ACCELERATE_DYNAMO_MODE": "default",
        "ACCELERATE_USE_FSDP": "true",
        "ACCELERATE_USE_CPU": "true",
    },
    "earlier": {},
    "earlier accumulation": {},
    "prepared": {},
    "autocast": {},
    "no gradients": {},
}
SCRIPT = """
import contextlib, json, os, sys, traceback
import torch
from accelerate import Accelerator
from stand_ins import Squares, net, same_weights
from contextlab.training import Recipe, fit


def work(case):
    recipe, around = Recipe(steps=3, batch=4, lr=1e-2), contextlib.nullcontext()
    environment, model, theirs = dict(os.environ), net(), None
    if case in ("earlier", "prepared"):
        theirs = Accelerator(mixed_precision="bf16", cpu=True)
    if case == "earlier accumulation":
        theirs = Accelerator(gradient_accumulation_steps=3, cpu=True)
    if case == "prepared":
        theirs.prepare(model)
        before = model.forward
    if case == "autocast":
        around = torch.autocast("cpu", torch.bfloat16)
    if case == "no gradients":
        around = torch.no_grad()
    with around:
        fit(model, Squares(), recipe, progress=False)
    assert dict(os.environ) == environment
    if case == "prepared":
        assert model.forward is before and model._is_accelerate_prepared
    else:
        left = {"forward", "_original_forward", "_is_accelerate_prepared"} & set(vars(model))
        assert not left and model.forward.__func__ is type(model).forward, left
    if theirs is not None:  # still with their own settings
        assert Accelerator().mixed_precision == theirs.mixed_precision
        assert theirs.gradient_state.num_steps == theirs.gradient_accumulation_steps
    else:
        theirs = Accelerator(mixed_precision="bf16", cpu=True)
    if case in ("mixed", "earlier"):  # and it prepares the model as any other
        assert "_original_forward" in vars(theirs.prepare(model))
    total = sum(float(t.double().sum()) for t in model.state_dict().values())
    print(case, total.hex(), sep=":", flush=True)


torch.set_num_threads(1)
for case, more in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        os.environ.update(more)
        try:
            work(case)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def sums() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(CASES)],
        env={**clean, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not done.returncode and "Error" not in done.stderr, done.stderr[-3000:]
    return dict(line.split(":") for line in done.stdout.splitlines())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cases are forked, which Windows cannot")
@pytest.mark.parametrize("case", CASES)
def test_what_is_set_elsewhere_changes_nothing_and_stays(case, sums):
    assert sums[case] == sums["alone"]
