"""What one card does with the course, in ten minutes: modules, networks, training and its tests.

    python benchmarks/gpu.py [--minutes 10] [--json benchmarks/gpu.json]

The figures are written after each measurement, what says the most first. When the minutes are over,
or the command is stopped, the same command goes on where it was. What does not fit the card's
memory, or fails, is a row that says so. ``--smoke`` goes the same way in tiny sizes, on a CPU too.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from cgrseg import NETWORKS as PUBLISHED
from cgrseg import SMALL, throughput
from modules import PASSES, build, call, setting
from torch import nn

from contextlab import catalogue, networks, runs
from contextlab.costs import Table, measure
from contextlab.home import home, write_atomically
from contextlab.training import segmentation_loss

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "non_local"
VERSIONS = ("float32", "bf16", "compiled")
TRAINED = (
    "squeeze_reasoning",
    "dual_graph",
    "non_local",
    "criss_cross",
    "pyramid_pooling",
    "squeeze_excite",
)
CUDA_TEST = "needs a CUDA device"  # the reason that such a test gives for being left out
RANDOM = {"weights": "random"}
#: network to how it is built and the batch of one step
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "fcn": (lambda: networks.network(13, context=REFERENCE, width=64), (16, 3, 64, 128)),
    "dgcnet": (lambda: networks.dgcnet(19, **RANDOM), (2, 3, 769, 769)),
    "srnet": (lambda: networks.srnet(19, **RANDOM), (2, 3, 769, 769)),
    "realtime": (
        lambda: networks.realtime(19, context="squeeze_reasoning"),
        (4, 3, 1024, 1024),
    ),
    "classifier": (
        lambda: networks.classifier(100, backbone_options=RANDOM, context="squeeze_reasoning"),
        (32, 3, 224, 224),
    ),
}
Job = tuple[str, dict, Callable[[], dict | None]]  # section, what names the row, and the work


class Book:
    """The figures so far, in a file that is whole at any moment."""

    def __init__(self, path: Path | None, where: dict) -> None:
        self.path, self.data = path, {"environment": where, "rows": [], "tries": {}}
        if path is None or not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            old, rows = found["environment"], found["rows"]
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"{path}: expected figures of this benchmark ({error!r})") from error
        for key in ("card", "torch", "smoke"):
            if old.get(key) != where[key]:
                raise SystemExit(
                    f"{path}: its {key} is {old.get(key)}, here it is {where[key]}; give --json "
                    "another file"
                )
        self.data = {"environment": old, "rows": rows, "tries": found.get("tries", {})}

    @property
    def rows(self) -> list[dict]:
        return self.data["rows"]

    def find(self, key: dict) -> dict | None:
        return next((row for row in self.rows if key.items() <= row.items()), None)

    def add(self, row: dict) -> None:
        """Take a row in, in place of the unfinished one of the same name."""
        key = {k: row[k] for k in row if k in ("section", "name", "map", "version", "pass")}
        if (old := self.find(key)) is not None:
            self.rows.remove(old)
        self.rows.append(row)
        self.data["tries"] = {}
        self._compare()
        self.write()

    def begin(self, name: str) -> int:
        """Note a measurement that begins, and say how often it had begun before and not ended."""
        tries = self.data["tries"]
        before = tries.get(name, 0)
        self.data["tries"] = {name: before + 1}
        self.write()
        return before

    def write(self) -> None:
        if self.path is not None:
            write_atomically(self.path, json.dumps(self.data, indent=1) + "\n")

    def _compare(self) -> None:
        for row in self.rows:
            if row["section"] != "modules" or "ms" not in row:
                continue
            key = {k: row[k] for k in ("section", "map", "version", "pass")}
            reference = self.find({**key, "name": REFERENCE}) or {}
            if "ms" in reference:
                row[f"time / {REFERENCE}"] = row["ms"] / reference["ms"]
                row[f"memory / {REFERENCE}"] = row["MiB"] / reference["MiB"]


def environment(device: str, smoke: bool) -> dict:
    """The card, its driver, torch and the date."""
    where = {**setting(device, 32 if smoke else 512), "smoke": smoke, "card": None, "driver": None}
    if torch.device(device).type == "cuda":
        about = torch.cuda.get_device_properties(device)
        where |= {"card": about.name, "memory (GiB)": about.total_memory / 2**30}
        where |= {"capability": f"{about.major}.{about.minor}", "cuda": torch.version.cuda}
        ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            found = subprocess.run(ask, capture_output=True, text=True, timeout=10)
            where["driver"] = found.stdout.split("\n")[0].strip() or None
        except (OSError, subprocess.TimeoutExpired):
            pass
    return where


def attempt(work: Callable[[], dict], device: str) -> dict:
    """What a measurement finds, or why there is nothing: one that fails must not end the others."""
    try:
        return work()
    except torch.OutOfMemoryError:
        state = "out of memory"
    except Exception as error:
        state = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:200]
    # outside of the handlers, which hold what did not fit
    module_on.cache_clear()
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    return {"state": state}


def figures(function: Callable[[], None], device: str, repeats: int) -> dict:
    """Median time and peak memory of a call."""
    began = time.perf_counter()
    function()  # compiles what is to be compiled
    first = time.perf_counter() - began
    once = measure(function, repeats=repeats, warmup=repeats > 1, device=device)
    return {
        "state": "measured",
        "ms": 1e3 * once.seconds,
        "spread (ms)": 1e3 * once.spread,
        "MiB": None if once.peak_bytes is None else once.peak_bytes / 2**20,
        "first call (s)": first,
    }


@functools.lru_cache(maxsize=1)
def module_on(name: str, channels: int, device: str) -> nn.Module:
    return build(name, channels).to(device)


def one_pass(
    name: str, size: tuple[int, ...], version: str, backward: bool, device: str, smoke: bool
) -> dict:
    """A module in one precision or compiled, forward or forward and backward."""
    module = module_on(name, size[1], device)
    x = torch.randn(size, device=device, requires_grad=backward)
    run: Callable = module
    if version == "compiled":
        torch.compiler.reset()
        run = torch.compile(module, backend="eager" if smoke else "inductor")

    def once() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16, version == "bf16"):
            call(run, x, backward)

    found = figures(once, device, 1 if smoke else 7)
    module.zero_grad()
    return found


def one_step(name: str, version: str, device: str, smoke: bool) -> dict:
    """A training step of a network: forward, loss, backward and the optimiser."""
    make, size = NETWORKS[name]
    if smoke:
        size = (2, 3, 64, 64)
    torch.manual_seed(0)
    model = make().to(device).train()
    images = torch.randn(size, device=device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, version == "bf16"):
            output = model(images)
        logits = output[0] if isinstance(output, tuple) else output
        labels = torch.zeros(logits.shape[:1] + logits.shape[2:], dtype=torch.long, device=device)
        segmentation_loss(output, labels).backward()
        optimiser.step()
        optimiser.zero_grad()

    found = figures(step, device, 1 if smoke else 5)
    return {**found, "images": list(size), "images a second": 1e3 * size[0] / found["ms"]}


def fastest(name: str, device: str, smoke: bool) -> dict:
    """Images a second of a published network at the largest batch."""
    networks, side, largest = (SMALL, 64, 2) if smoke else (PUBLISHED, 512, 1024)
    return {"state": "measured", **throughput(networks[name]().to(device), side, device, largest)}


def boxed(command: list[str], seconds: float) -> tuple[int | None, str]:
    """A command's exit status, None where its time was over, and what it wrote."""
    where = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **where, **pipes) as process:
        try:
            text, _ = process.communicate(timeout=max(seconds, 1))
            return process.returncode, text
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # a training saves its state
            try:
                return None, process.communicate(timeout=10)[0]
            except subprocess.TimeoutExpired:
                return None, ""
        finally:
            process.kill()


def tests(seconds: float) -> dict:
    """The tests of the suite that a machine without CUDA leaves out."""
    files = [p for p in sorted((ROOT / "tests").rglob("test_*.py")) if CUDA_TEST in p.read_text()]
    if not files:
        return {"state": "no tests here"}
    options = ["-q", "-rs", "-k", "gpu or cuda", "-p", "no:cacheprovider", "--no-header"]
    code, text = boxed([sys.executable, "-m", "pytest", *options, *map(str, files)], seconds)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", text)}
    state = "cut" if code is None else "passed" if code == 0 else "failed"
    return {"state": state, **counts, **({} if code == 0 else {"tail": text[-2000:]})}


def trained(name: str, budget: str, seconds: float) -> dict:
    """A run on streets at a budget; cut, it goes on from its saved state at the next command."""
    config = runs.streets(name, budget=budget)
    run, began = runs.find_in(home() / "runs", config), time.perf_counter()
    if run is None:
        code = (
            "from contextlab import runs; "
            f"runs.load_or_train(runs.streets({name!r}, budget={budget!r}), progress=False)"
        )
        status, text = boxed([sys.executable, "-c", code], seconds)
        run = runs.find_in(home() / "runs", config)
        if run is None:
            state = "cut" if status is None else "failed"
            return {"state": state, "waited (s)": time.perf_counter() - began, "tail": text[-500:]}
    return {
        "state": "measured",
        "run": config.name,
        "precision": config.recipe["precision"],
        "steps": run.history.done,
        "seconds": run.history.seconds,
        "ms a step": 1e3 * run.history.seconds / run.history.done,
        "mIoU": run.metrics.miou,
        "machine": run.machine,
        "demands": {k: None if v != v else v for k, v in run.metrics.demands.items()},
    }


def jobs(chosen: argparse.Namespace, left: Callable[[], float]) -> Iterator[Job]:
    """All there is to do, what says the most first."""
    device, smoke = chosen.device, chosen.smoke
    names = [name for name in (REFERENCE, *catalogue()) if name in chosen.only]
    names = list(dict.fromkeys(names))  # the reference first
    sizes = [(1, 32, 8, 8), (1, 32, 8, 16)] if smoke else [(1, 512, 96, 96), (1, 512, 128, 256)]

    def modules(size: tuple[int, ...], versions: tuple[str, ...]) -> Iterator[Job]:
        for name in names:
            for version in versions:
                for title, backward in PASSES.items():
                    key = {"name": name, "map": list(size), "version": version, "pass": title}
                    work = functools.partial(one_pass, name, size, version, backward, device, smoke)
                    yield "modules", key, work

    yield "tests", {"name": "CUDA tests"}, lambda: tests(min(90, 0.2 * left()))
    yield from modules(sizes[0], VERSIONS[:2])
    for name in NETWORKS:
        for version in VERSIONS[: 1 if smoke else 2]:
            key = {"name": name, "version": version}
            yield "networks", key, functools.partial(one_step, name, version, device, smoke)
    for name in SMALL if smoke else PUBLISHED:
        yield "throughput", {"name": name}, functools.partial(fastest, name, device, smoke)
    budget = "smoke" if smoke else "full"
    # what trains takes half of what is left at most, so that the rest is measured too
    share = {"end": 0.0}
    for name in [n for n in TRAINED if n in chosen.only]:

        def work(name: str = name) -> dict:
            share["end"] = share["end"] or left() / 2
            return trained(name, budget, min(left() - share["end"], left() - 20))

        yield "runs", {"name": name}, work
    yield from modules(sizes[1], VERSIONS[:2])
    for size in sizes:
        yield from modules(size, VERSIONS[2:])


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="the command ends by then")
    parser.add_argument("--json", type=Path, help="the figures; those there are gone on with")
    parser.add_argument("--device", help="cuda, or with --smoke what is there")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: the way, not the figures")
    parser.add_argument("--only", nargs="+", choices=list(catalogue()), metavar="MODULE",
                        default=list(catalogue()))  # fmt: skip
    chosen = parser.parse_args(arguments)
    if chosen.device is None:
        chosen.device = "cuda" if torch.cuda.is_available() or not chosen.smoke else "cpu"
    if torch.device(chosen.device).type == "cuda" and not torch.cuda.is_available():
        parser.error("expected a CUDA device, found none: --smoke goes without")
    if chosen.minutes <= 0:
        parser.error(f"expected minutes above 0, got {chosen.minutes}")
    if chosen.json is None and not chosen.smoke:
        chosen.json = ROOT / "benchmarks" / "gpu.json"
    end = time.monotonic() + 60 * chosen.minutes
    book = Book(chosen.json, environment(chosen.device, chosen.smoke))

    def left() -> float:
        return end - time.monotonic()

    # one measurement that hangs (a compilation, say) must not outlast the minutes
    watch = threading.Timer(left(), _give_up)
    watch.daemon = True
    watch.start()
    try:
        for section, key, work in jobs(chosen, left):
            old = book.find({"section": section, **key})
            if old is not None and old["state"] != "cut":
                continue
            if left() < 5:
                print("The minutes are over; the same command goes on.", file=sys.stderr)
                break
            title = " ".join(map(str, (section, *key.values())))
            print(title, file=sys.stderr)
            # one that took the whole command with it twice is left out the third time
            lost = book.begin(title) >= 2 and section in ("modules", "networks", "throughput")
            found = {"state": "ended the command twice"} if lost else attempt(work, chosen.device)
            book.add({"section": section, **key, **found})
    finally:
        watch.cancel()
    report(book)
    return book.data


def _give_up() -> None:
    print("The minutes are over within a measurement; the same command goes on.", file=sys.stderr)
    sys.stderr.flush()
    os._exit(3)


def report(book: Book) -> None:
    """The sections as tables."""
    print(", ".join(f"{key} {value}" for key, value in book.data["environment"].items()))
    for section in dict.fromkeys(row["section"] for row in book.rows):
        rows = [row for row in book.rows if row["section"] == section]
        hidden = ("section", "tail", "demands", "spread (ms)", "run")
        plain = [
            {k: str(v) if isinstance(v, list) else v for k, v in row.items() if k not in hidden}
            for row in rows
        ]
        print(Table(plain, digits=3, title=f"\n{section}"))


if __name__ == "__main__":
    main()
