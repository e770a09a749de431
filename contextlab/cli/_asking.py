"""How a network is asked: where, in windows, at which scales, mirrored."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from contextlab.runs import Run


def add_asking(parser: argparse.ArgumentParser) -> None:
    """The options of a network's answer."""
    parser.add_argument(
        "--window", nargs=2, type=int, metavar=("H", "W"), help="ask in windows of so many pixels"
    )
    parser.add_argument(
        "--stride",
        nargs=2,
        type=int,
        metavar=("DOWN", "RIGHT"),
        help="from window to window; two thirds of one by default",
    )
    parser.add_argument(
        "--scales", nargs="+", type=float, metavar="S", help="average over sizes, e.g. 0.75 1 1.25"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirror image")
    parser.add_argument("--device", help="such as cuda:1, mps or cpu; the best by default")


def device_of(options: argparse.Namespace) -> str:
    """The device that was asked for, or the best that there is.

    Raises:
        ValueError: there is no such device.
    """
    import torch

    if options.device is None:
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        return "cuda" if torch.cuda.is_available() else mps
    try:
        torch.zeros(1, device=options.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {options.device} cannot be used here ({reason})") from error
    return options.device


def asked_so(network: nn.Module, run: Run, options: argparse.Namespace) -> tuple[nn.Module, str]:
    """The network that answers as the options say, and the options in words.

    Returns:
        The network as it is, and no words, where nothing is asked for.

    Raises:
        ValueError: the options make no sense, or not for this run.
    """
    if not (options.window or options.stride or options.scales or options.flip):
        return network, ""
    if run.config.network == "classifier":
        raise ValueError(
            f"{run.config.name} gives one label to a whole image: "
            "--window, --stride, --scales and --flip are for labels of pixels"
        )
    from contextlab.inference import Averaged, average

    given = {"window": options.window, "stride": options.stride, "flip": options.flip}
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    given["scales"] = tuple(options.scales or (1.0,))
    words = []
    if options.window:
        words.append("windows of {} x {}".format(*options.window))
    if options.stride:
        words.append("every {} x {}".format(*options.stride))
    if options.scales:
        words.append("scales " + ", ".join(f"{scale:g}" for scale in options.scales))
    if options.flip:
        words.append("mirrored too")
    import torch

    # mistakes are named before any work: a network of nothing takes the same options
    average(torch.nn.Identity(), torch.zeros(1, 1, 1, 1), **given)
    return Averaged(network, **given), ", ".join(words)
