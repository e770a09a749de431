"""The command line: data, train, evaluate, predict, runs, catalogue, bill, claims.

One file a command: ``add`` gives it its words, ``run`` does its work. Whatever a command needs is
imported when it runs and not before, so that help answers at once and needs no extra installed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from pathlib import Path

import contextlab

from ._words import plain_output, spoken

COMMANDS = {
    "data": "look at your own images and masks before a training",
    "train": "train a network, or continue its training",
    "evaluate": "score a stored run again",
    "predict": "label image files with a finished run",
    "runs": "train the runs that the lessons show",
    "catalogue": "the context modules",
    "bill": "the papers' cost tables, recomputed row by row",
    "claims": "claims, settled by counting and by finished runs",
}
ERRORS = (ValueError, OSError, FloatingPointError, ModuleNotFoundError)
BROKEN_PIPE = 128 + 13  # what a shell gives for a process that SIGPIPE ended


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words of the command line; the process's own by default.

    Returns:
        The exit status: 0, 1 where a check found something to mend, 2 for a mistake that the
        message names, 130 after Ctrl-C, 141 where nobody reads the output any more.
    """
    words = sys.argv[1:] if arguments is None else arguments
    plain_output()
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        # Python flushes once more when it ends, into nothing then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _run(words: list[str]) -> int:
    options = _parser().parse_args(words)
    try:
        return options.command(options) or 0
    except BrokenPipeError:
        raise
    except ERRORS as error:
        print(f"error: {spoken(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"\n{stopped or 'stopped'}", file=sys.stderr)
        print(f"To continue: {program()} {shlex.join(words)}", file=sys.stderr)
        return 130
    finally:
        _leave_the_others()


def program() -> str:
    """How the program was called: by its console command, or as a module of Python."""
    return "contextlab" if Path(sys.argv[0]).stem == "contextlab" else "python -m contextlab"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program(), description=__doc__.splitlines()[0])
    version = f"contextlab {contextlab.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, does in COMMANDS.items():
        command = importlib.import_module(f"contextlab.cli.{name}")
        words = commands.add_parser(name, help=does, description=command.__doc__)
        words.set_defaults(command=command.run)
        command.add(words)
    return parser


def _leave_the_others() -> None:
    """Take leave of the other processes of a training by several."""
    if "contextlab.training" in sys.modules:
        import torch

        from contextlab import training

        if training.processes()[1] > 1:
            torch.distributed.destroy_process_group()
