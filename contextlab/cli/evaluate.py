"""Score a stored run again."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._own import add_files
from ._words import say


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    parser.add_argument("run", type=Path, help="folder of train, a run's name or JSON file")
    parser.add_argument("--root", type=Path, help="where the data set lies")
    add_files(parser)
    parser.add_argument("--weights", help="the backbone's, of a frozen run: random, or a file")
    parser.add_argument("--split", help="that of the run by default")
    parser.add_argument("--draw", type=Path, help="a PNG file for some predictions")


def run(options: argparse.Namespace) -> None:
    """Print the figures class by class, and draw some predictions if they are wanted."""
    from contextlab.home import claim

    from ._own import place
    from ._pictures import predictions, whole, write_picture
    from ._stored import stored

    stored_run = stored(options.run)
    if options.draw:
        claim(options.draw)  # before the work
    import torch

    from contextlab import runs, training

    split = options.split or stored_run.config.split
    root = place(options, stored_run, options.run)
    dataset = runs.build_data(stored_run.config, split, root=root)
    trained_on = stored_run.config.data_options.get("fingerprint")
    if trained_on is not None and dataset.fingerprint != trained_on:
        say("these are not the files that the run was trained on, or they are split otherwise")
    model = whole(stored_run, options.weights).to("cuda" if torch.cuda.is_available() else "cpu")
    metrics = training.evaluate(model, dataset, limit=stored_run.config.images)
    say(f"{stored_run.config.name}, {metrics.images} images of {split}")
    say(metrics)
    if split == stored_run.config.split:
        say(f"stored: mIoU {100 * stored_run.metrics.miou:.1f}")
    if options.draw:
        write_picture(options.draw, predictions(stored_run, root, options.weights))
        say(f"predictions in {options.draw}")
