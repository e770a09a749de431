"""The real-time network of SRNet's Table V: pyramid pooling, SR or nothing on DF2's last map.

    python benchmarks/realtime.py [--heights 512 1024] [--json FILE]

The networks take turns on one image, twice as wide as high. The paper prints 55 frames a second
with the pyramid and 65 with SR, for 1024 x 2048 on one card.
"""

from __future__ import annotations

import json
import sys

import torch
from modules import command_line, compare, parse, setting

from contextlab.costs import Table
from contextlab.networks.realtime import realtime

CASES = {"PPM": "pyramid_pooling", "SR": "squeeze_reasoning", "none": None}
CLASSES = 19


def rows_of(height: int, device: str, repeats: int) -> list[dict]:
    """A row for each network: time and peak memory, and of what stands in the slot alone."""
    networks = {
        name: realtime(CLASSES, backbone="df2", context=module).eval().to(device)
        for name, module in CASES.items()
    }
    image = torch.rand(1, 3, height, 2 * height, device=device)
    with torch.inference_mode():
        coarsest = networks["none"].maps(image)[-1].clone()
    print(f"{height} x {2 * height}", file=sys.stderr)
    whole = compare(networks, image, False, repeats)
    slots = {name: network.context for name, network in networks.items() if name != "none"}
    alone = compare(slots, coarsest, False, 3 * repeats)
    rows = []
    for name in networks:
        row = {"slot": name, "height": height, "map": list(coarsest.shape[2:])}
        row |= {unit: whole[f"{name} ({unit})"] for unit in ("ms", "MiB")}
        row["frames a second"] = 1e3 / row["ms"]
        row["time / PPM"] = row["ms"] / whole["PPM (ms)"]
        if name in slots:
            row["slot alone (ms)"] = alone[f"{name} (ms)"]
            row["slot alone, share"] = row["slot alone (ms)"] / row["ms"]
        rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> dict:
    parser = command_line(__doc__, repeats=5)
    parser.add_argument("--heights", type=int, nargs="+", default=[512, 1024])
    chosen = parse(parser, arguments)
    rows = []
    for height in chosen.heights:
        rows += rows_of(height, chosen.device, chosen.repeats)
        found = {**setting(chosen.device, 512), "repeats": chosen.repeats, "rows": rows}
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    print(Table([{k: v for k, v in row.items() if k != "map"} for row in rows], digits=3))
    return found


if __name__ == "__main__":
    main()
