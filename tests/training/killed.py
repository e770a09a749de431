"""Train to the end, or until the process is killed: the subject of test_kill.py.

``python killed.py FOLDER`` trains, saving a state every three steps, and prints a line an image.

``python killed.py FOLDER every`` does so again and again in forked children, each of which kills
itself at another file operation of the code that saves the second state or the weights; a second
child continues what is left. It prints a line for every operation: what it was, and whether the
weights came out the same.

``python killed.py FOLDER twice`` trains in two forked children at once and prints how each ended.
"""

import hashlib
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from stand_ins import Squares, net

from contextlab.training import Recipe, checkpoints, fit, save_weights

RECIPE = Recipe(steps=6, batch=4, lr=1e-2, seed=3)
CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove"}


class Announcing(Squares):
    def __getitem__(self, index):
        print(index, flush=True)
        return super().__getitem__(index)


def train(folder: Path, dataset) -> None:
    torch.set_num_threads(1)
    model = net()
    fit(model, dataset, RECIPE, checkpoint=folder / "state", save_every=3)
    save_weights(folder / "weights.safetensors", model)


def die_at(number: int, folder: Path, log: Path) -> None:
    """Kill this process before the given change of files below the folder."""
    seen = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if (writes or event in CHANGES) and str(folder) in str(args[0]):
            if not any(folder.glob("state/state-*")):
                return  # still at the first state
            seen += 1
            if seen == number:
                os.write(descriptor, f"{event} {Path(str(args[0])).name}".encode())
                os.kill(os.getpid(), signal.SIGKILL)

    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY)
    sys.addaudithook(hook)


def forked(work) -> int:
    """Run in a child, which starts without any thread of its parent's."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def every_operation(folder: Path) -> None:
    def result() -> str:
        return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()[:12]

    assert forked(lambda: train(folder, Squares())) == 0
    expected, number = result(), 0
    while True:
        number += 1
        shutil.rmtree(folder)
        folder.mkdir()
        log = folder.with_name("log")
        log.unlink(missing_ok=True)

        def until_killed(number=number, log=log):
            die_at(number, folder, log)
            train(folder, Squares())

        if forked(until_killed) == 0:
            return  # fewer operations than that: all were tried
        status = forked(lambda: train(folder, Squares()))
        left = [path.name for path in folder.rglob(".partial*")]
        same = status == 0 and result() == expected and not left
        print(number, "same" if same else f"DIFFERENT {left}", log.read_text(), flush=True)


def twice(folder: Path) -> None:
    """The same run in two processes, which save at every step and clean up at the end."""
    torch.set_num_threads(1)
    children = []
    for name in ("one", "other"):
        children.append(os.fork())
        if children[-1] == 0:
            status, model = 1, net()
            try:
                recipe = replace(RECIPE, steps=40)
                fit(model, Squares(), recipe, checkpoint=folder / "state", save_every=1)
                save_weights(folder / name, model)
                save_weights(folder / "both", model)
                checkpoints.remove(folder / "state")
                status = 0
            finally:
                os._exit(status)
    for child in children:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    if sys.argv[2:] == ["every"]:
        every_operation(folder)
    elif sys.argv[2:] == ["twice"]:
        twice(folder)
    else:
        train(folder, Announcing())
