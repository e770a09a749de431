"""Every module of the catalogue against its plainest correct version: time and peak memory.

    python benchmarks/modules.py [--only criss_cross ocr] [--sides 32 64 96] [--json FILE]
    python benchmarks/modules.py --public --sides 48 64 --threads 1 --repeats 30

Both use the same weights in one process and take turns; the benchmark stops where their answers or
their gradients differ. A module whose equation is already what one would write down is its own
plain version (see ``benchmarks/plain.py``): its time and memory stand alone. With ``--public`` the
peer is the form in common use, for the modules that have one, and the ratio comes with quartiles.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from plain import ITSELF, LARGEST, PLAIN, PUBLIC
from torch import Tensor, nn

from contextlab import catalogue, context
from contextlab.costs import Table, fit_exponent, measure

PASSES = {"forward": False, "forward + backward": True}


def build(name: str, channels: int, **options) -> nn.Module:
    """The module with norms at their stored statistics, and no zero start that hides a part."""
    torch.manual_seed(0)
    module = context(name, channels, **options).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                fan = parameter[0].numel()
                parameter.uniform_(0.5, 1) if parameter.ndim == 1 else parameter.normal_(
                    0, fan**-0.5
                )
    return module


def check(name: str, module: nn.Module, plain: Callable, x: Tensor, gradients: bool) -> None:
    """Stop where the answers differ, and where asked for, the gradients."""
    x = x.clone().requires_grad_(gradients)
    inputs = {"the map": x, **dict(module.named_parameters())}
    inputs = {key: value for key, value in inputs.items() if value.requires_grad}
    found = []
    for version in (module, functools.partial(plain, module)):
        with torch.set_grad_enabled(gradients):
            y = version(x)
        grads = ()
        if gradients:
            grads = torch.autograd.grad(y.square().mean(), inputs.values(), materialize_grads=True)
        found.append([y.detach(), *grads])
    for what, ours, theirs in zip(("answers", *inputs), *found):
        error, size = (ours - theirs).abs().max().item(), theirs.abs().max().item()
        if not error <= 1e-3 * size + 1e-7:
            raise SystemExit(f"{name}: {what} differ by {error:.2g}, where they reach {size:.2g}")


def call(version: Callable, x: Tensor, backward: bool) -> None:
    with torch.set_grad_enabled(backward):
        y = version(x)
        if backward:
            y.square().mean().backward()


def call_alone(version: Callable, x: Tensor, backward: bool) -> None:
    """Without a loss, which takes as long as a quick module and would hide what that takes."""
    with torch.set_grad_enabled(backward):
        y = version(x)
        if backward:
            y.backward(y.detach())


def compare(
    versions: dict[str, Callable], x: Tensor, backward: bool, repeats: int, call: Callable = call
) -> dict:
    """Median times, their ratio in turns, and peak bytes of one or two versions."""
    x = x.clone().requires_grad_(backward)
    seconds, row = {key: [] for key in versions}, {}
    for turn in range(repeats + 1):  # the first is the warm-up, the last takes the memory too
        for key in sorted(versions, reverse=turn % 2):  # who comes second finds other caches
            version = versions[key]
            options = {"repeats": 1, "warmup": 0, "memory": turn == repeats, "device": x.device}
            once = measure(call, version, x, backward, **options)
            if turn:
                seconds[key].append(once.seconds)
            if turn == repeats:
                row[f"{key} (ms)"] = 1e3 * statistics.median(seconds[key])
                row[f"{key} (MiB)"] = once.peak_bytes / 2**20
    for peer in versions.keys() & {"plain", "public"}:
        ratios = [ours / theirs for ours, theirs in zip(seconds["ours"], seconds[peer])]
        row[f"time, ours / {peer}"] = statistics.median(ratios)
        if peer == "public" and len(ratios) > 1:
            row["quartiles"] = [round(q, 2) for q in statistics.quantiles(ratios)[::2]]
        row[f"memory, {peer} / ours"] = row[f"{peer} (MiB)"] / row["ours (MiB)"]
    return row


def public_rows(name: str, sides: list[int], channels: int, repeats: int, device: str) -> list:
    """One row for every side and pass, against the form in common use."""
    module, rows = build(name, channels).to(device), []
    public = functools.partial(PUBLIC[name], module)
    for side in sides:
        x = torch.randn(1, channels, side, side, device=device)
        check(name, module, PUBLIC[name], x, gradients=True)
        for title, backward in PASSES.items():
            print(f"{name}, {side} x {side}, {title}", file=sys.stderr)
            versions = {"ours": module, "public": public}
            row = {"module": name, "side": side, "pass": title}
            rows.append(row | compare(versions, x, backward, repeats, call_alone))
            module.zero_grad()
    return rows


def rows_of(name: str, sides: list[int], channels: int, repeats: int, device: str) -> list[dict]:
    """One row for every side and pass."""
    if name not in ITSELF | PLAIN.keys():
        raise SystemExit(f"{name}: expected an entry in benchmarks/plain.py, found none")
    module, plain = build(name, channels).to(device), PLAIN.get(name)
    largest = LARGEST.get(name, max(sides))
    if plain and largest < min(sides):
        sides = [largest // 2, largest, *sides]  # where the plain version can follow
    rows = []
    for side in sides:
        x = torch.randn(1, channels, side, side, device=device)
        versions, state = {"ours": module}, "itself"
        if plain and side <= largest:
            check(name, module, plain, x, gradients=side == min(sides))
            versions["plain"], state = functools.partial(plain, module), "apart"
        elif plain:
            state = "too large"
        for title, backward in PASSES.items():
            print(f"{name}, {side} x {side}, {title}", file=sys.stderr)
            row = {"module": name, "side": side, "pass": title, "plain version": state}
            rows.append(row | compare(versions, x, backward, repeats))
            module.zero_grad()
    return rows


def by_pixels(rows: list[dict], name: str, title: str, key: str) -> list[tuple[int, float]]:
    """The number of pixels and one figure, over the sides of a module and a pass."""
    mine = [row for row in rows if (row["module"], row["pass"]) == (name, title)]
    return [(row["side"] ** 2, row[key]) for row in mine if key in row]


def exponents(rows: list[dict]) -> list[dict]:
    """How the peak memory of each version grows with the number of pixels."""
    fits = []
    for name in dict.fromkeys(row["module"] for row in rows):
        for title in PASSES:
            fit = {"module": name, "pass": title}
            for version in ("ours", "plain", "public"):
                key = f"{version} (MiB)"
                points = by_pixels(rows, name, title, key)
                if len(points) > 1:
                    fit[f"memory exponent, {version}"] = round(
                        fit_exponent(*zip(*points)).exponent, 2
                    )
            fits.append(fit)
    return fits


def setting(device: str, channels: int) -> dict:
    """On what, and with what, a benchmark ran."""
    return {
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "device": device,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "channels": channels,
    }


def command_line(doc: str, repeats: int = 3) -> argparse.ArgumentParser:
    """What every benchmark takes: repeats, threads, device, and the file of the figures."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--threads", type=int, help="threads of a CPU; torch's own choice without")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """The options that were chosen; the threads are set."""
    chosen = parser.parse_args(arguments)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    return chosen


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = command_line(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(catalogue()), metavar="NAME")
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 96])
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--public", action="store_true", help="against the forms in common use")
    chosen = parse(parser, arguments)
    names = chosen.only or list(PUBLIC if chosen.public else catalogue())
    if chosen.public and (missing := set(names) - PUBLIC.keys()):
        parser.error(f"expected --only among {', '.join(PUBLIC)}, got {', '.join(sorted(missing))}")

    where = setting(chosen.device, chosen.channels)
    sides, rows, fits = sorted(set(chosen.sides)), [], []
    measured = public_rows if chosen.public else rows_of
    for name in names:
        rows += measured(name, sides, chosen.channels, chosen.repeats, chosen.device)
        fits = exponents(rows)
        if chosen.json:  # after each module, since all of them take long
            chosen.json.write_text(json.dumps(where | {"rows": rows, "exponents": fits}, indent=1))
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    print(Table(rows, digits=3))
    print(Table(fits))
    return rows


if __name__ == "__main__":
    main()
