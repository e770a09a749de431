"""Train a network, or continue its training."""

from __future__ import annotations

import argparse
import ast
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from ._own import WORDS, add_classes, add_files
from ._words import add_progress, say

if TYPE_CHECKING:
    from contextlab.runs import Config

BUDGETS = ("smoke", "quick", "full")
RECIPE = ("steps", "batch", "lr", "weight_decay", "optimiser", "crop")
CAMVID_ONLY = ("backbone", "backbone_option", "output_stride", "weights", "root", "frozen")
FILES = ("metrics.json", "weights.safetensors", "predictions.png")


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    parser.add_argument("--data", choices=("camvid", "folder", "streets"), required=True)
    parser.add_argument("--context", help="a module (see catalogue); none is the FCN")
    parser.add_argument(
        "--weights", help="of the backbone: imagenet (as by default), random, or a local file"
    )
    parser.add_argument("--root", type=Path, help="where the data set lies")
    add_files(parser)
    add_classes(parser)
    for name in ("val", "test"):
        parser.add_argument(
            f"--{name}-share", type=float, metavar="SHARE", help="of the pairs (folder)"
        )
    parser.add_argument(
        "--longest", type=int, metavar="PIXELS", help="shrink to on the longer side (folder)"
    )
    parser.add_argument("--out", type=Path, help="folder of the result; one in the home by default")
    parser.add_argument("--backbone", help="a pretrained network by timm's name (camvid, folder)")
    parser.add_argument(
        "--backbone-option",
        action="append",
        metavar="NAME=VALUE",
        type=_option,
        help="what timm's network takes besides (camvid, folder)",
    )
    parser.add_argument(
        "--output-stride", type=int, help="of the backbone's last map (camvid, folder)"
    )
    parser.add_argument(
        "--frozen", action="store_true", help="keep the pretrained backbone as it is (camvid)"
    )
    parser.add_argument("--control", action="store_true", help="no demand (streets)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", choices=BUDGETS, help="the machine's own by default")
    parser.add_argument(
        "--crop",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="instead of the setting's own",
    )
    for name, kind in (("steps", int), ("batch", int), ("lr", float), ("weight-decay", float)):
        parser.add_argument(f"--{name}", type=kind, help="instead of the setting's own")
    parser.add_argument("--optimiser", choices=("adamw", "sgd"))
    parser.add_argument("--bf16", action="store_true", help="mixed precision")
    parser.add_argument("--workers", type=int, default=0, help="processes that load images")
    add_progress(parser)


def run(options: argparse.Namespace) -> None:
    """Show the run that the folder holds, or train it."""
    from contextlab import home, runs, training

    from ._own import dataset, note, parts
    from ._pictures import predictions, write_picture

    own = dataset(options) if options.data == "folder" else None
    root = options.root if own is None else parts(own)
    config = _config(options, own and own.settings)
    folder = options.out or home.home() / "trained" / config.name
    path, weights, picture = (folder / name for name in FILES)
    if path.is_file():
        done = runs.stored(path)
        if different := _other(done.config, config):
            raise ValueError(
                f"{folder} holds a run of another configuration ({different}): "
                "choose another folder with --out"
            )
        say(f"{folder} holds this run already, made on {done.date}; another --out trains it anew.")
        say(done.metrics)
        return
    if training.processes()[0] == 0:
        home.usable(folder)
        home.claim(path, weights, picture)
        if own is not None:
            note(folder, own)
    say(f"{config.name}: {config.recipe['steps']} steps of {config.recipe['batch']} images")
    say(f"result in {folder}; if this is stopped, the same command continues it")
    done = runs.train(
        config,
        path,
        weights=weights,
        state=folder / "state",
        half=False,
        root=root,
        pretrained=options.weights,
        save_every=25,
        workers=options.workers,
        progress=options.progress,
    )
    say(done.metrics)
    seconds = done.history.seconds
    say(f"{seconds:.0f} s of training, {seconds / done.history.done:.2f} s a step, {done.machine}")
    if training.processes()[0] == 0:
        scenes = runs.build_data(config, root=root)
        model = runs.load(done, weights=options.weights)
        write_picture(picture, predictions(scenes, model))
        say(f"{FILES[0]}, {FILES[1]} and {FILES[2]} are in {folder}")


def _config(options: argparse.Namespace, own: dict | None) -> Config:
    from contextlab import runs

    recipe = {name: value for name in RECIPE if (value := getattr(options, name)) is not None}
    if options.bf16:
        recipe["precision"] = "bf16"
    given = {"seed": options.seed, "budget": options.budget, "recipe": recipe}
    if own is None and (named := [n for n in WORDS if getattr(options, n) is not None]):
        raise ValueError(f"--{named[0].replace('_', '-')} belongs to --data folder")
    if options.data == "streets":
        if any(getattr(options, name) for name in CAMVID_ONLY):
            names = ", ".join(f"--{name.replace('_', '-')}" for name in CAMVID_ONLY)
            raise ValueError(f"{names} belong to camvid, and all but --frozen to folder")
        return runs.streets(options.context, control=options.control, **given)
    if options.control:
        raise ValueError("--control belongs to streets")
    for name in ("backbone", "output_stride"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    given["frozen"] = options.frozen

    def setting(**more) -> Config:
        if own is not None:
            return runs.folder(own, options.context, **given, **more)
        return runs.camvid(options.context, **given, **more)

    usual = setting()
    more = dict(options.backbone_option or ())
    if options.weights == "random":  # another experiment, as a file of the same weights is not
        more["weights"] = "random"
    if not more:
        return usual
    return setting(backbone_options=usual.backbone_options | more)


def _other(one: Config, wanted: Config) -> str:
    """The settings in which two configurations differ, in words; nothing if they are the same."""
    if one.hash == wanted.hash:
        return ""
    have, want = one.to_dict(), wanted.to_dict()
    return ", ".join(key for key in have | want if have.get(key) != want.get(key))


def _option(words: str) -> tuple[str, object]:
    name, equals, value = words.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {words!r}")
    with contextlib.suppress(ValueError, SyntaxError):  # a word otherwise
        value = ast.literal_eval(value)
    return name, list(value) if isinstance(value, tuple) else value
