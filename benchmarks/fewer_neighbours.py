"""What fewer neighbours cost, and how far sparse graphs see, in every trained network of two rows.

    python benchmarks/fewer_neighbours.py [--json FILE]

FULL and LOCAL + GRID of the experiment "G, heads", all seeds whose weights are there. Each is
pruned to shares of its neighbours, by affinity, at random and by the lowest affinity, and the share
is chosen on one half of the images and judged on the other. Then windows of the image are covered,
and gradients taken, at marked pixels; there as many FULL heads are the control, whose weights do
not come with the course. Half an hour on one core.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from contextlab import claims, runs
from contextlab.probes import effective, held_area, occlusion, pruning

NETWORKS, CONTROL = ("FULL", "LOCAL + GRID"), "FULL x 6"
KEEPS = (0.7, 0.5, 0.3, 0.1, 0.05, 0.02, 0.01)
LOWEST = (0.5, 0.1)  # the control that keeps the worst
IMAGES, FIELDS, WINDOW = 96, 12, 8
HERE = Path(__file__).with_suffix(".json")


def trained(label: str, folder: Path | None) -> dict[int, nn.Module]:
    """The networks of a row that keep their weights, by seed."""
    found = {}
    for config in claims.configs("G, heads")[label]:
        run = (folder and runs.find_in(folder, config)) or runs.find(config)
        if run is not None and run.weights is not None:
            found[config.seed] = run.model().eval()
    return found


def pruned(label: str, seed: int, network: nn.Module, dataset, images: int) -> tuple[list, list]:
    """Rows of scores, and rows of gains where the share is chosen on the other half."""
    scores = pruning.pruning(network, dataset, KEEPS, rules=("top", "random"), images=images)
    scores += pruning.pruning(network, dataset, LOWEST, rules=("lowest",), images=images)
    name = {"network": label, "seed": seed}
    gains = [{**name, "rule": rule, **pruning.judged(scores, rule)} for rule in ("top", "random")]
    return pruning.rows(scores, **name), gains


def fields(label: str, seed: int, network: nn.Module, dataset, images: int) -> list[dict]:
    """Areas that hold 90 % of the response at two marked pixels of each image, in cells alike."""
    rows = []
    for i in range(images):
        image, _ = dataset[i]
        h, w = image.shape[1:]
        marked = [(h // 2, w // 4), (3 * h // 4, w // 2)]
        covered = occlusion(network, image, marked, window=WINDOW, stride=WINDOW)
        four = image.expand(4, -1, -1, -1)  # signs differ from one to the next
        slopes = [effective(network, images=four, position=place) for place in marked]
        cells = [F.avg_pool2d(field[None], WINDOW)[0] for field in slopes]
        row = {"network": label, "seed": seed, "image": i}
        for name, maps in (("covering", covered), ("gradient", cells)):
            row[name] = round(sum(held_area(field) for field in maps) / len(marked), 4)
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, help="folder with finished runs and their weights")
    parser.add_argument("--images", type=int, default=IMAGES, help="images for the pruning")
    parser.add_argument("--json", type=Path, default=HERE)
    options = parser.parse_args(arguments)
    found: dict[str, object] = {
        "date": datetime.date.today().isoformat(),
        "images": options.images,
        "pruning": [],
        "judged": [],
        "fields": [],
    }
    for label in (*NETWORKS, CONTROL):
        for seed, network in trained(label, options.runs).items():
            print(f"{label}, seed {seed}", file=sys.stderr)
            dataset = runs.build_data(claims.configs("G, heads")[label][0])
            if label != CONTROL:
                scores, gains = pruned(label, seed, network, dataset, options.images)
                found["pruning"] += scores
                found["judged"] += gains
            found["fields"] += fields(label, seed, network, dataset, min(FIELDS, options.images))
    lines = (
        f"{json.dumps(name)}: "
        + (
            "[\n  " + ",\n  ".join(json.dumps(row) for row in value) + "\n ]"
            if isinstance(value, list)
            else json.dumps(value)
        )
        for name, value in found.items()
    )
    options.json.write_text("{\n " + ",\n ".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
