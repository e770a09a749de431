"""How context modules grow with the map, on the sides of SRNet's figure 5a: time and peak memory.

    python benchmarks/growth.py [--sides 32 48 64 96 128 160] [--json FILE]

All modules and their plain versions take turns on one map of a side before the next side, so that
each ratio is of calls close in time. Answers and gradients are compared at the smallest side.
"""

from __future__ import annotations

import functools
import json
import sys

import torch
from modules import PASSES, build, by_pixels, check, command_line, compare, parse, setting
from plain import PLAIN
from torch import nn

from contextlab.costs import Table, fit_exponent, measure

REFERENCE = "non_local"
#: name in the tables to module and options
CASES = {
    REFERENCE: (REFERENCE, {}),
    "squeeze_reasoning": ("squeeze_reasoning", {}),
    "coordinate_graph": ("coordinate_graph", {}),
    "coordinate_graph, d = 1": ("coordinate_graph", {"cell": 1}),
    "feature_graph": ("feature_graph", {}),
    "dual_graph": ("dual_graph", {}),
}
#: those whose plain version has a matrix of pixels x pixels, which only so much memory follows
QUADRATIC = frozenset({REFERENCE, "coordinate_graph, d = 1"})


def rows_of(modules: dict[str, nn.Module], x: torch.Tensor, largest: int, repeats: int) -> list:
    """One row for every module and pass on one map."""
    side, rows = x.shape[2], []
    fits = {name: side <= largest or name not in QUADRATIC for name in modules}
    versions = {f"{name}, ours": module for name, module in modules.items()}
    versions |= {
        f"{name}, plain": functools.partial(PLAIN[CASES[name][0]], module)
        for name, module in modules.items()
        if fits[name]
    }
    for title, backward in PASSES.items():
        print(f"{side} x {side}, {title}", file=sys.stderr)
        found = compare(versions, x, backward, repeats)
        for name, module in modules.items():
            row = {"module": name, "side": side, "pass": title}
            row["plain version"] = "apart" if fits[name] else "too large"
            for version in ("ours", "plain") if fits[name] else ("ours",):
                for unit in ("ms", "MiB"):
                    row[f"{version} ({unit})"] = found[f"{name}, {version} ({unit})"]
            if fits[name]:
                row["time, ours / plain"] = row["ours (ms)"] / row["plain (ms)"]
                row["memory, plain / ours"] = row["plain (MiB)"] / row["ours (MiB)"]
            reference = {unit: found.get(f"{REFERENCE}, ours ({unit})") for unit in ("ms", "MiB")}
            if reference["ms"]:
                row[f"time / {REFERENCE}"] = row["ours (ms)"] / reference["ms"]
                row[f"memory / {REFERENCE}"] = row["ours (MiB)"] / reference["MiB"]
            rows.append(row)
            module.zero_grad()
    return rows


def exponents(rows: list[dict]) -> list[dict]:
    """How time and peak memory grow with the number of pixels: slopes of the log-log lines."""
    fits = []
    for name in dict.fromkeys(row["module"] for row in rows):
        for title in PASSES:
            fit = {"module": name, "pass": title}
            for key in ("ours (ms)", "plain (ms)", "ours (MiB)", "plain (MiB)"):
                points = by_pixels(rows, name, title, key)
                if len(points) > 1:
                    line = fit_exponent(*zip(*points))
                    fit[f"exponent of {key}"] = round(line.exponent, 3)
                    fit[f"r² of {key}"] = round(line.r2, 4)
            fits.append(fit)
    return fits


def reasoning(module: nn.Module, rows: list[dict], repeats: int = 30) -> list[dict]:
    """What the nodes' talk takes of squeeze reasoning, whose nodes are as many on every map."""
    device = module.theta.weight.device
    states = module.theta.out_channels // module.nodes
    found = []
    for title, backward in PASSES.items():
        nodes = torch.randn(1, module.nodes, states, device=device, requires_grad=backward)

        def talk(nodes: torch.Tensor = nodes, backward: bool = backward) -> None:
            with torch.set_grad_enabled(backward):
                y = module.talk(nodes)
                if backward:
                    y.square().mean().backward()

        once = measure(talk, repeats=repeats, warmup=3, device=device)
        module.zero_grad()
        for row in rows:
            if (row["module"], row["pass"]) == ("squeeze_reasoning", title):
                found.append(
                    {
                        "side": row["side"],
                        "pass": title,
                        "reasoning (ms)": 1e3 * once.seconds,
                        "reasoning (KiB)": once.peak_bytes / 2**10,
                        "share of the time": 1e3 * once.seconds / row["ours (ms)"],
                        "share of the memory": once.peak_bytes / 2**20 / row["ours (MiB)"],
                    }
                )
    return found


def main(arguments: list[str] | None = None) -> dict:
    parser = command_line(__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="NAME", default=list(CASES))
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 48, 64, 96, 128, 160])
    parser.add_argument("--channels", type=int, default=512)
    limit = "for plain versions with all pairs of pixels in memory, which take 12 GiB at 160"
    parser.add_argument("--largest", type=int, default=128, metavar="SIDE", help=limit)
    chosen = parse(parser, arguments)

    sides, rows = sorted(set(chosen.sides)), []
    modules = {}
    for case in chosen.only:
        name, more = CASES[case]
        modules[case] = build(name, chosen.channels, **more).to(chosen.device)
    for side in sides:
        x = torch.randn(1, chosen.channels, side, side, device=chosen.device)
        if side == sides[0]:
            for name, module in modules.items():
                check(name, module, PLAIN[CASES[name][0]], x, gradients=True)
        rows += rows_of(modules, x, chosen.largest, chosen.repeats)
        found = {
            **setting(chosen.device, chosen.channels),
            "repeats": chosen.repeats,
            "rows": rows,
            "exponents": exponents(rows),
            "reasoning": reasoning(modules["squeeze_reasoning"], rows)
            if "squeeze_reasoning" in modules
            else [],
        }
        if chosen.json:  # after each side, since the last take long
            chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    for name in ("rows", "exponents", "reasoning"):
        if found[name]:
            print(Table(found[name], digits=3))
    return found


if __name__ == "__main__":
    main()
