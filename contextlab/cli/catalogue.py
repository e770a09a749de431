"""List the context modules: what a node is, and the three steps."""

from __future__ import annotations

import argparse

from contextlab import catalogue

from ._words import say


def add(parser: argparse.ArgumentParser) -> None:
    """The command has no words of its own."""


def run(options: argparse.Namespace) -> None:
    """Print the catalogue in the order of the lessons."""
    for name, entry in catalogue().items():
        say(f"{name}: {entry.title} ({entry.source}; lesson {entry.lesson})")
        say(f"    a node is {entry.node}; squeeze: {entry.squeeze}; reason: {entry.reason};")
        say(f"    reconstruct: {entry.reconstruct}")
