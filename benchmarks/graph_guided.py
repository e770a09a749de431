"""The heads of graph guided context fusion: time and peak memory, as ratios to one FULL head.

    python benchmarks/graph_guided.py [--maps 64x128 128x256] [--threads 1] [--json FILE]

In turns, with the same queries, keys and values: one fused FULL head, each LOCAL and GRID head, all
six one after the other, and where memory allows it the same heads as dense attention with a mask.
On a CPU the seconds are those that the process computed, which a busy machine changes little.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from modules import PASSES, command_line, parse, setting
from torch import Tensor

from contextlab.costs import Table, measure
from contextlab.modules.graph_guided import SIX, edges, guided_attention, parse_heads, support

WIDTH = 256
#: pixels up to which all affinities of all pairs, some times over, fit comfortably
LARGEST = 64 * 128


def full(maps: list[Tensor]) -> Tensor:
    nodes = (t.flatten(1, 2)[:, None] for t in maps)
    return F.scaled_dot_product_attention(*nodes)[:, 0].view_as(maps[0])


def ours(maps: list[Tensor], heads: tuple[str, ...]) -> Tensor:
    return sum(guided_attention(*maps, head, WIDTH**-0.5) for head in parse_heads(heads))


@functools.cache
def graph(head: str, h: int, w: int) -> Tensor:
    return torch.stack([support(head, h, w, (i // w, i % w)).flatten() for i in range(h * w)])


def dense(maps: list[Tensor], head: str) -> Tensor:
    query, key, value = (t.flatten(1, 2) for t in maps)
    logits = WIDTH**-0.5 * (query @ key.mT)
    away = ~graph(head, *maps[0].shape[1:3]).to(query.device)
    return (torch.softmax(logits.masked_fill(away, float("-inf")), -1) @ value).view_as(maps[0])


def call(version: Callable, maps: list[Tensor], backward: bool) -> None:
    with torch.set_grad_enabled(backward):
        y = version(maps)
        if backward:
            y.backward(y.detach())


def seconds(version: Callable, maps: list[Tensor], backward: bool) -> float:
    if maps[0].device.type != "cpu":
        options = {"repeats": 1, "warmup": 0, "memory": False, "device": maps[0].device}
        return measure(call, version, maps, backward, **options).seconds
    start = time.process_time()
    call(version, maps, backward)
    return time.process_time() - start


def rows_of(h: int, w: int, repeats: int, device: str) -> list[dict]:
    """One row for every version and pass."""
    torch.manual_seed(0)
    maps = [torch.randn(1, h, w, WIDTH, device=device) for _ in range(3)]
    versions: dict[str, Callable] = {"FULL, fused": full}
    versions |= {head: functools.partial(ours, heads=(head,)) for head in SIX}
    versions["all six"] = functools.partial(ours, heads=SIX)
    if h * w <= LARGEST:
        for head in SIX:
            versions[f"{head}, dense"] = functools.partial(dense, head=head)
            with torch.no_grad():
                torch.testing.assert_close(versions[head](maps), dense(maps, head))
    counts = {head: edges(head, h, w) for head in SIX}
    counts |= {f"{head}, dense": n for head, n in counts.items()}
    counts |= {"FULL, fused": edges("FULL", h, w), "all six": sum(map(counts.get, SIX))}
    rows = []
    for title, backward in PASSES.items():
        maps = [t.detach().requires_grad_(backward) for t in maps]
        spent = {name: [] for name in versions}
        for turn in range(repeats):
            for name in sorted(versions, reverse=turn % 2):
                print(f"{h} x {w}, {title}, {name}", file=sys.stderr)
                spent[name].append(seconds(versions[name], maps, backward))
        for name, version in versions.items():
            options = {"repeats": 1, "warmup": 0, "device": device}
            peak = measure(call, version, maps, backward, **options).peak_bytes
            ratios = [a / b for a, b in zip(spent["FULL, fused"], spent[name])]
            rows.append(
                {
                    "map": f"{h}x{w}",
                    "pass": title,
                    "version": name,
                    "ms": 1e3 * statistics.median(spent[name]),
                    "time, FULL / this": statistics.median(ratios),
                    "edges, FULL / this": edges("FULL", h, w) / counts[name],
                    "peak (MiB)": peak / 2**20,
                    "peak (maps of one head)": peak / maps[0].nbytes,
                }
            )
    return rows


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = command_line(__doc__)
    parser.add_argument("--maps", nargs="+", default=["64x128", "128x256"], metavar="HxW")
    chosen = parse(parser, arguments)
    where, rows = setting(chosen.device, WIDTH), []
    for size in chosen.maps:
        rows += rows_of(*map(int, size.split("x")), chosen.repeats, chosen.device)
        if chosen.json:  # after each map, since the large one takes long
            chosen.json.write_text(json.dumps(where | {"rows": rows}, indent=1))
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    print(Table(rows, digits=3))
    return rows


if __name__ == "__main__":
    main()
