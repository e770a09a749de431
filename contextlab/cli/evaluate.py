"""Score a stored run again."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ._asking import add_asking
from ._own import add_files
from ._words import say

if TYPE_CHECKING:
    from contextlab.probes.detail import Detail
    from contextlab.training import Metrics


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    parser.add_argument("run", type=Path, help="folder of train, a run's name or JSON file")
    parser.add_argument("--root", type=Path, help="where the data set lies")
    add_files(parser)
    parser.add_argument("--weights", help="the backbone's, of a frozen run: random, or a file")
    parser.add_argument("--split", help="that of the run by default")
    add_asking(parser)
    parser.add_argument("--confusion", action="store_true", help="what is taken for what, a table")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="the same as a PNG file")
    parser.add_argument(
        "--detail", action="store_true", help="IoU at borders, and by the size of objects"
    )
    parser.add_argument("--draw", type=Path, help="a PNG file for some predictions")


def run(options: argparse.Namespace) -> None:
    """Print the figures class by class, and draw what is wanted."""
    from contextlab import runs, training
    from contextlab.home import claim

    from ._asking import asked_so, device_of
    from ._own import place
    from ._pictures import predictions, write_picture

    stored_run = runs.stored(options.run)
    claim(*(path for path in (options.draw, options.picture) if path))  # before the work
    split = options.split or stored_run.config.split
    root = place(options, stored_run, options.run)
    dataset = runs.build_data(stored_run.config, split, root=root)
    trained_on = stored_run.config.data_options.get("fingerprint")
    if trained_on is not None and dataset.fingerprint != trained_on:
        say("these are not the files that the run was trained on, or they are split otherwise")
    model = runs.load(stored_run, weights=options.weights).to(device_of(options))
    model, words = asked_so(model, stored_run, options)
    metrics = training.evaluate(model, dataset, limit=stored_run.config.images)
    say(f"{stored_run.config.name}, {metrics.images} images of {split}")
    if words:
        say(words)
    say(metrics)
    if split == stored_run.config.split:
        say(f"stored: mIoU {100 * stored_run.metrics.miou:.1f}")
    if options.confusion:
        say(f"\n{confusion_table(metrics)}")
    if options.detail:
        from contextlab.probes.detail import detail

        say(f"\n{detail_table(metrics, detail(model, dataset, metrics.images))}")
    if options.picture:
        from contextlab.views import confusion_figure, png

        title = f"{stored_run.config.name}, {split}"
        figure, _ = confusion_figure(metrics.confusion, metrics.classes, title=title)
        write_picture(options.picture, png(figure))
        say(f"the confusion matrix is in {options.picture}")
    if options.draw:
        write_picture(options.draw, predictions(dataset, model))
        say(f"predictions in {options.draw}")


def confusion_table(metrics: Metrics) -> str:
    """For each class of the labels, the share of its pixels that is called so, in per cent."""
    names = [f"{i} {name}" for i, name in enumerate(metrics.classes)]
    wide = max(map(len, names))
    lines = ["of the pixels of a class, so many per cent are called"]
    lines += [" " * wide + "".join(f"{i:>5}" for i in range(len(names)))]
    for name, row in zip(names, metrics.confusion):
        total = sum(row)
        shares = (f"{100 * n / total:5.1f}" if total else "    -" for n in row)
        lines.append(f"{name:<{wide}}{''.join(shares)}")
    return "\n".join(lines)


def detail_table(metrics: Metrics, found: Detail) -> str:
    """Boundary IoU by class, and the figures by size, in per cent."""

    def percent(value: float) -> str:
        return "    -" if math.isnan(value) else f"{100 * value:5.1f}"

    wide = max(len("pixel accuracy"), *map(len, metrics.classes))
    rows = [*zip(metrics.classes, found.boundary), ("mean", found.mean_boundary)]
    lines = ["boundary IoU, within 2 % of the image's diagonal"]
    lines += [f"{name:<{wide}} {percent(value)}" for name, value in rows]
    lines += ["", "objects, % of the image   objects   pixel accuracy    mIoU"]
    for row in found.sizes:
        sizes = f"{100 * row['from']:g} to {100 * row['to']:g}"
        lines.append(
            f"{sizes:<23}{row['objects']:>10}{percent(row['accuracy']):>17}{percent(row['miou']):>8}"
        )
    return "\n".join(lines)
