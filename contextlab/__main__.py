"""The command line: train, evaluate, runs, catalogue, bill, claims."""

from __future__ import annotations

import argparse
import fnmatch
import shlex
import sys
from pathlib import Path

import torch

from contextlab import catalogue, claims, costs, runs, training
from contextlab.home import home

SETTINGS = {"camvid": runs.camvid, "streets": runs.streets}
CAMVID_ONLY = ("backbone", "output_stride", "weights", "root", "frozen")
ERRORS = (ValueError, FileNotFoundError, FloatingPointError, ConnectionError)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words of the command line; the process's own by default.

    Returns:
        The exit status: 0, 2 for a mistake that the message names, 130 after Ctrl-C.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(words)
    try:
        options.command(options)
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"\n{stopped or 'stopped'}", file=sys.stderr)
        print(f"To continue: python -m contextlab {shlex.join(words)}", file=sys.stderr)
        return 130
    finally:
        if training.processes()[1] > 1:
            torch.distributed.destroy_process_group()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m contextlab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a network, or continue its training")
    train.set_defaults(command=_train)
    train.add_argument("--data", choices=SETTINGS, required=True)
    train.add_argument("--context", default=None, help="a module (see catalogue); none is the FCN")
    train.add_argument("--weights", type=Path, help="a local file for the backbone's weights")
    train.add_argument("--root", type=Path, help="where the data set lies")
    train.add_argument("--out", type=Path, help="folder of the result; one in the home by default")
    train.add_argument("--backbone", help="a pretrained network by timm's name (camvid)")
    train.add_argument("--output-stride", type=int, help="of the backbone's last map (camvid)")
    train.add_argument(
        "--frozen", action="store_true", help="keep the pretrained backbone as it is (camvid)"
    )
    train.add_argument("--control", action="store_true", help="no demand (streets)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--budget", choices=training.BUDGETS, help="the machine's own by default")
    for name, kind in (("steps", int), ("batch", int), ("lr", float), ("weight-decay", float)):
        train.add_argument(f"--{name}", type=kind, help="instead of the setting's own")
    train.add_argument("--optimiser", choices=("adamw", "sgd"))
    train.add_argument("--bf16", action="store_true", help="mixed precision")
    train.add_argument("--workers", type=int, default=0, help="processes that load images")
    _add_progress(train)

    evaluate = commands.add_parser("evaluate", help="score a stored run again")
    evaluate.set_defaults(command=_evaluate)
    evaluate.add_argument("run", type=Path, help="folder of train, a run's name or JSON file")
    evaluate.add_argument("--root", type=Path, help="where the data set lies")
    evaluate.add_argument("--weights", type=Path, help="the backbone's, of a frozen run")
    evaluate.add_argument("--split", help="that of the run by default")
    evaluate.add_argument("--draw", type=Path, help="a PNG file for some predictions")

    shipped = commands.add_parser("runs", help="train the runs that the lessons show")
    shipped.set_defaults(command=_runs)
    shipped.add_argument(
        "--only", default="*", metavar="PATTERN", help="e.g. '*non_local*'; names planned runs too"
    )
    shipped.add_argument("--folder", type=Path, help=f"{runs.SHIPPED} by default")
    shipped.add_argument("--root", type=Path, help="where CamVid lies")
    shipped.add_argument("--weights", type=Path, help="a local file for the backbone's weights")
    shipped.add_argument("--list", action="store_true", help="say what is there and what is not")
    _add_progress(shipped)

    listed = commands.add_parser("catalogue", help="the context modules")
    listed.set_defaults(command=_catalogue)

    bill = commands.add_parser("bill", help="the papers' cost tables, recomputed row by row")
    bill.set_defaults(command=_bill)
    bill.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(costs.BILLS))

    claims = commands.add_parser("claims", help="claims, settled by counting and by finished runs")
    claims.set_defaults(command=_claims)
    claims.add_argument("--only", default="*", metavar="PATTERN", help="e.g. 'D*' or S8")
    claims.add_argument("--long", action="store_true", help="what was found, and over how many")
    claims.add_argument("--html", type=Path, metavar="FILE", help="write the ledger as a page")
    claims.add_argument("--times", type=Path, help="a JSON file of benchmarks/modules.py")
    return parser


def _add_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="a progress bar; on a terminal by default",
    )


def _config(options: argparse.Namespace) -> runs.Config:
    recipe = {
        name: value
        for name in ("steps", "batch", "lr", "weight_decay", "optimiser")
        if (value := getattr(options, name)) is not None
    }
    if options.bf16:
        recipe["precision"] = "bf16"
    given = {"seed": options.seed, "budget": options.budget, "recipe": recipe}
    if options.data == "camvid":
        if options.control:
            raise ValueError("--control belongs to streets")
        given["frozen"] = options.frozen
        for name in ("backbone", "output_stride"):
            if getattr(options, name) is not None:
                given[name] = getattr(options, name)
    elif any(getattr(options, name) for name in CAMVID_ONLY):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in CAMVID_ONLY)
        raise ValueError(f"{names} belong to camvid")
    else:
        given["control"] = options.control
    return SETTINGS[options.data](options.context, **given)


def _train(options: argparse.Namespace) -> None:
    config = _config(options)
    folder = options.out or home() / "trained" / config.name
    path, state = folder / "metrics.json", folder / "state"
    if path.is_file():
        run = runs.read(path, config)
        _say(f"{folder} holds this run already, made on {run.date}. Delete it to train anew.")
        _say(run.metrics)
        return
    _say(f"{config.name}: {config.recipe['steps']} steps of {config.recipe['batch']} images")
    _say(f"result in {folder}; if this is stopped, the same command continues it")
    run = runs.train(
        config,
        path,
        weights=folder / "weights.safetensors",
        state=state,
        half=False,
        root=options.root,
        pretrained=options.weights,
        save_every=25,
        workers=options.workers,
        progress=options.progress,
    )
    _say(run.metrics)
    seconds = run.history.seconds
    _say(f"{seconds:.0f} s of training, {seconds / run.history.done:.2f} s a step, {run.machine}")
    if training.processes()[0] == 0:
        _draw(run, folder / "predictions.png", options.root, options.weights)
        _say(f"metrics.json, weights.safetensors and predictions.png are in {folder}")


def _evaluate(options: argparse.Namespace) -> None:
    path = options.run / "metrics.json" if options.run.is_dir() else options.run
    run = None if path.exists() else runs.named(str(path))
    run = run or runs.read(path)
    split = options.split or run.config.split
    dataset = runs.build_data(run.config, split, root=options.root)
    model = _whole(run, options.weights)
    metrics = training.evaluate(_placed(model), dataset, limit=run.config.images)
    _say(f"{run.config.name}, {metrics.images} images of {split}")
    _say(metrics)
    if split == run.config.split:
        _say(f"stored: mIoU {100 * run.metrics.miou:.1f}")
    if options.draw:
        _draw(run, options.draw, options.root, options.weights)
        _say(f"predictions in {options.draw}")


def _runs(options: argparse.Namespace) -> None:
    folder = options.folder or runs.shipped_folder() or runs.SHIPPED
    files = claims.shipped_files(planned=True)
    file_of = {config.hash: name for name, group in files.items() for config in group}
    # what is planned takes days: it is trained only when it is called by name
    known = claims.shipped() + (claims.planned() if options.only != "*" else [])
    wanted = [c for c in known if fnmatch.fnmatch(c.name, f"*{options.only}*")]
    if not wanted:
        raise ValueError(f"no shipped run is called {options.only!r}; --list shows their names")
    for number, config in enumerate(wanted, 1):
        if (run := runs.find_in(folder, config)) is not None:
            how = "there"
        elif options.list:
            _say(f"{number:2}/{len(wanted)} missing  {config.name}")
            continue
        else:
            keep = claims.keeps_weights(config)
            real = config.data == "camvid"
            name = file_of[config.hash]
            run = runs.train(
                config,
                folder / f"{name}.jsonl",
                order=files[name],
                keep=keep,
                root=options.root if real else None,
                pretrained=options.weights,
                progress=options.progress,
            )
            how = f"{run.history.seconds:.0f} s"
        _say(
            f"{number:2}/{len(wanted)} {how:>7}  mIoU {100 * run.metrics.miou:5.1f}  {config.name}"
        )
    for words in claims.misplaced(folder):
        _say(words)


def _catalogue(options: argparse.Namespace) -> None:
    for name, entry in catalogue().items():
        _say(f"{name}: {entry.title} ({entry.source}; lesson {entry.lesson})")
        _say(f"    a node is {entry.node}; squeeze: {entry.squeeze}; reason: {entry.reason};")
        _say(f"    reconstruct: {entry.reconstruct}")


def _bill(options: argparse.Namespace) -> None:
    for table in options.tables or costs.BILLS:
        _say(f"{costs.bill(table)}\n")


def _claims(options: argparse.Namespace) -> None:
    known = claims.entries()
    names = [name for name in known if fnmatch.fnmatch(name, options.only)]
    if not names:
        raise ValueError(f"no claim is called {options.only!r}; without --only all are printed")

    def told(name: str) -> None:
        if sys.stderr.isatty():
            print(f"{name} ...", end="\r", file=sys.stderr, flush=True)

    found = claims.settle(names, times=options.times, told=told)
    if options.html:
        from contextlab.home import write_atomically
        from contextlab.views.ledger import ledger_page

        page = options.html.resolve()
        lessons = (runs.shipped_folder() or page).parent
        lessons = lessons if any(lessons.glob("*.ipynb")) else None
        write_atomically(page, ledger_page(found, lessons=lessons, beside=page.parent))
        _say(f"{len(found)} claims in {options.html}")
        return
    counts = ", ".join(f"{number} {verdict}" for verdict, number in claims.totals(found).items())
    _say(f"{len(found)} claims: {counts}\n")
    for claim in found:
        _say(f"{claim.verdict:14}  {claim.name:3}  {claim.sentence} ({claim.source})")
        if options.long:
            _say(f"{'':21}{claim.found}")
    if not options.long:
        _say("\n--long says what was found, --html FILE makes a page of it")


def _whole(run: runs.Run, weights: Path | None) -> torch.nn.Module:
    """A network that takes images: that of a frozen run needs its backbone's weights again."""
    return run.model(backbone=(weights or "imagenet") if run.config.frozen else None)


def _placed(model: torch.nn.Module) -> torch.nn.Module:
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def _draw(
    run: runs.Run, path: Path, root: Path | None, weights: Path | None, count: int = 4
) -> None:
    """Image, labels and prediction of some images, with a legend of the classes."""
    from contextlab.home import write_atomically
    from contextlab.views import new_figure, png, shrunk
    from contextlab.views.figures import legend_row, picture
    from contextlab.views.palette import paint, pixels

    dataset = runs.build_data(run.config, root=root)
    model = _whole(run, weights)
    chosen = [(2 * k + 1) * len(dataset) // (2 * count) for k in range(min(count, len(dataset)))]
    height, width = dataset[0][1].shape
    row = 3 * height / width + 0.25
    figure = new_figure(len(chosen) * row + 0.7)
    grid = figure.add_gridspec(len(chosen) + 1, 3, height_ratios=[row] * len(chosen) + [0.7])
    for line, index in enumerate(chosen):
        image, labels = dataset[index]
        maps = {
            f"image {index}": pixels(image),
            "labels": paint(labels.numpy(), dataset.palette),
            "prediction": paint(model(image[None]).argmax(1)[0].numpy(), dataset.palette),
        }
        for column, (title, shown) in enumerate(maps.items()):
            picture(figure.add_subplot(grid[line, column]), shown, title)
    colours = {name: colour / 255 for name, colour in zip(dataset.classes, dataset.palette)}
    legend_row(figure.add_subplot(grid[len(chosen), :]), colours, columns=6)
    write_atomically(path, shrunk(png(figure)))


def _say(words: object) -> None:
    if training.processes()[0] == 0:
        print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
