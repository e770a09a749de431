"""Label image files with a finished run: for each an overlay, and a PNG of class numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._asking import add_asking
from ._words import add_progress, say


def add(parser: argparse.ArgumentParser) -> None:
    """The words of the command."""
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE|FOLDER", help="of any size; folders whole"
    )
    parser.add_argument("--run", required=True, help="folder of train, a run's name or JSON file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the answers")
    parser.add_argument("--weights", help="the backbone's, of a frozen run: random, or a file")
    add_asking(parser)
    parser.add_argument(
        "--opacity", type=float, default=0.5, help="of the colours over the image, 0 to 1"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="files of these names too that others made"
    )
    add_progress(parser)


def run(options: argparse.Namespace) -> None:
    """Go through the images; one that cannot be read is named, and the others are labelled."""
    import numpy as np

    from contextlab import home, runs, training

    from . import _images
    from ._asking import asked_so, device_of

    if not 0 <= options.opacity <= 1:
        raise ValueError(f"--opacity is 0 to 1, not {options.opacity:g}")
    jobs = _images.jobs(options.images, options.out, home.made_here)
    _protect(jobs, options.overwrite)
    stored = runs.stored(options.run)
    if stored.config.network == "classifier":
        raise ValueError(f"{stored.config.name} gives one label to a whole image, none to a pixel")
    device, longest = device_of(options), stored.config.data_options.get("longest")
    model = runs.load(stored, weights=options.weights)
    names, palette = model.class_names, model.palette
    model, words = asked_so(model.to(device), stored, options)
    home.usable(options.out)
    say(f"{stored.config.name} on {device}{words and ', '}{words}; images: {len(jobs)}")
    counts, bad = np.zeros(len(names), np.int64), []
    bar = training.progress_bar(len(jobs), show=options.progress, title="images")
    with bar:
        for job in jobs:
            try:
                image = _images.read(job.image)
            except ValueError as error:
                bad.append(str(error))
            else:
                labels = _labels(model, image, device, job.image, longest)
                counts += np.bincount(labels.ravel(), minlength=len(names))
                overlay = _images.overlay_file(image, labels, palette, options.opacity)
                _write(job.labels, _images.label_file(labels, palette), options.overwrite)
                _write(job.overlay, overlay, options.overwrite)
            bar.update()
    if counts.any():
        say("\n".join(_images.shares(counts, names)))
        done = len(jobs) - len(bad)
        say(f"{done} of {len(jobs)} labelled; overlays and label files are in {options.out}")
    if bad:
        raise ValueError("\n".join([f"{len(bad)} of {len(jobs)} images are left out", *bad]))


def _protect(jobs: list, overwrite: bool) -> None:
    """Refuse before the work what would be refused after it."""
    from contextlab.home import made_here

    images = {job.image.resolve() for job in jobs}
    for job in jobs:
        for path in (job.labels, job.overlay):
            if path.resolve() in images:
                raise ValueError(
                    f"{path} is to be labelled, and would be overwritten: another --out"
                )
            if path.exists() and not overwrite and not made_here(path):
                raise FileExistsError(
                    f"{path} is there already and was not made by contextlab, so it is left alone: "
                    "choose another --out, or give --overwrite"
                )


def _write(path: Path, content: bytes, overwrite: bool) -> None:
    from contextlab.home import claim, made_here, write_atomically

    if overwrite and path.is_file() and not made_here(path):
        path.unlink()  # as it was asked for; what takes its place is ours
    claim(path)
    write_atomically(path, content)


def _labels(model, image, device: str, path: Path, longest: int | None):
    """Class numbers ``h w`` of an image ``h w 3``, which is asked as small as those of training."""
    import torch
    import torch.nn.functional as F

    pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
    size = pixels.shape[2:]
    if longest is not None and max(size) > longest:
        small = [max(1, round(side * longest / max(size))) for side in size]
        pixels = F.interpolate(pixels, small, mode="bilinear", antialias=True)
    try:
        with torch.inference_mode():
            labels = model(pixels).argmax(1, keepdim=True)
            if labels.shape[2:] != size:
                labels = F.interpolate(labels.float(), size, mode="nearest-exact").long()
            return labels[0, 0].cpu().numpy()
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on a CPU it has no name
        if "memory" not in str(error).lower():
            raise
        high, wide = image.shape[:2]
        raise ValueError(
            f"{path} of {wide} x {high} pixels is too large for the memory of {device}: "
            "give --window, such as --window 512 512"
        ) from error
