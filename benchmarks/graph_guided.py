"""The heads of graph guided context fusion: time and peak memory, as ratios to one FULL head.

    python benchmarks/graph_guided.py [--maps 64x128 128x256] [--threads 1] [--json FILE]

In turns, with the same queries, keys and values: one fused FULL head, each LOCAL and GRID head, all
six one after the other, and where memory allows it a head as dense attention with a mask.
On a CPU the seconds are those that the process computed, which a busy machine changes little.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator

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


def call(version: Callable, maps: list[Tensor], backward: bool, spent: list[float]) -> None:
    start = time.process_time()
    with torch.set_grad_enabled(backward):
        y = version(maps)
        if backward:
            y.backward(y.detach())
    spent.append(time.process_time() - start)


def rows_of(h: int, w: int, repeats: int, device: str) -> Iterator[list[dict]]:
    """One row for every version of a pass, pass by pass."""
    torch.manual_seed(0)
    maps = [torch.randn(1, h, w, WIDTH, device=device) for _ in range(3)]
    versions: dict[str, Callable] = {"FULL, fused": full}
    versions |= {head: functools.partial(ours, heads=(head,)) for head in SIX}
    versions["all six"] = functools.partial(ours, heads=SIX)
    counts = {head: edges(head, h, w) for head in SIX}
    counts |= {"FULL, fused": edges("FULL", h, w), "all six": sum(counts.values())}
    if h * w <= LARGEST:
        for head in SIX:
            with torch.no_grad():
                torch.testing.assert_close(versions[head](maps), dense(maps, head))
        # the same for each head, since all pairs are written down
        versions["one head, dense"] = functools.partial(dense, head=SIX[0])
        counts["one head, dense"] = counts["FULL, fused"]
    for title, backward in PASSES.items():
        maps = [t.detach().requires_grad_(backward) for t in maps]
        spent, peaks = {name: [] for name in versions}, {}
        for turn in range(repeats):
            for name in sorted(versions, reverse=turn % 2):
                print(f"{h} x {w}, {title}, {name}", file=sys.stderr)
                last = turn == repeats - 1
                options = {"repeats": 1, "warmup": 0, "memory": last, "device": device}
                process: list[float] = []
                once = measure(call, versions[name], maps, backward, process, **options)
                cpu = torch.device(device).type == "cpu"
                spent[name].append(min(process) if cpu else once.seconds)
                peaks[name] = once.peak_bytes
        yield [
            {
                "map": f"{h}x{w}",
                "pass": title,
                "version": name,
                "ms": 1e3 * statistics.median(spent[name]),
                "time, FULL / this": statistics.median(
                    [a / b for a, b in zip(spent["FULL, fused"], spent[name])]
                ),
                "edges, FULL / this": edges("FULL", h, w) / counts[name],
                "peak (MiB)": peaks[name] / 2**20,
                "peak (maps of one head)": peaks[name] / maps[0].nbytes,
            }
            for name in versions
        ]


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = command_line(__doc__)
    parser.add_argument("--maps", nargs="+", default=["64x128", "128x256"], metavar="HxW")
    chosen = parse(parser, arguments)
    where, rows = setting(chosen.device, WIDTH), []
    for size in chosen.maps:
        for found in rows_of(*map(int, size.split("x")), chosen.repeats, chosen.device):
            rows += found
            if chosen.json:  # after each pass, since those of a large map take long
                chosen.json.write_text(json.dumps(where | {"rows": rows}, indent=1))
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    print(Table(rows, digits=3))
    return rows


if __name__ == "__main__":
    main()
