"""What the commands say, where they say it, and in whose language."""

from __future__ import annotations

import argparse
import codecs
import re
import shlex
import sys
import unicodedata

# signs that a terminal or a file in an old encoding cannot hold, and what is read instead
PLAIN = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "²": "^2", "³": "^3", "×": "x", "·": "*", "≥": ">=",
    "≤": "<=", "≈": "~", "→": "->", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"', "±": "+-",
    "√": "sqrt", "←": "<-", "ᵀ": "^T", "₁": "_1", "₂": "_2", "‖": "||",
}  # fmt: skip
# what the library calls a thing that the command line has an option for
OPTIONS = (
    (r"pass weights='random'", "give --weights random"),
    (r"weights='([^']*)'", r"--weights \1"),
    (r"pass the path of a \.safetensors file", "give --weights the path of a .safetensors file"),
    (r"give (val|test)= a share", r"give --\1-share a share"),
    (r"give the recipe a crop", "give --crop HEIGHT WIDTH"),
    (r"name its folder: root", "name its folder with --root"),
    (r"precision='no' if it was 'bf16'", "no --bf16"),
    (r"stem='plain'", "another --backbone"),
    (r"a smaller lr, a longer warmup", "a smaller --lr"),
    (r"load_or_train\(config(?:, retrain=True)?\)", "train"),
    (r"\bpass (?=\w*img_)", "give "),
)


def say(words: object) -> None:
    """Print a line; of several processes only the first does."""
    training = sys.modules.get("contextlab.training")
    if training is None or training.processes()[0] == 0:
        print(words, flush=True)


def spoken(message: str) -> str:
    """A message of the library in the words of the command line.

    >>> spoken("bring the file of this very network, or pass weights='random'")
    'bring the file of this very network, or give --weights random'
    """
    for pattern, instead in OPTIONS:
        message = re.sub(pattern, instead, message)
    return re.sub(
        r"\w*img_\w+=(\([^)]*\)|\w+)",
        lambda found: f"--backbone-option {shlex.quote(found[0])}",
        message,
    )


def plain_output() -> None:
    """Let output in an encoding without some sign go on with a plain one instead."""
    codecs.register_error("contextlab.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        usual = getattr(stream, "errors", None) in ("strict", "backslashreplace")
        if usual and hasattr(stream, "reconfigure"):  # what somebody chose otherwise stays
            stream.reconfigure(errors="contextlab.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(map(_plain_sign, signs)), error.end


def _plain_sign(sign: str) -> str:
    name = unicodedata.name(sign, "")
    letter = name.rpartition(" ")[2].lower() if name.startswith("GREEK") else "?"
    return PLAIN.get(sign, letter)


def add_progress(parser: argparse.ArgumentParser) -> None:
    """The option that a training's bar has."""
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="a progress bar; on a terminal by default",
    )
