"""The catalogue: every context module by name, with its row of the course map."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

_ENTRIES: dict[str, "Entry"] = {}


@dataclass(frozen=True)
class Entry:
    """One row of the course map: what a node is, and the three steps, in words."""

    name: str
    title: str
    module: type[nn.Module]
    node: str
    squeeze: str
    reason: str
    reconstruct: str
    source: str
    lesson: str

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options that the module takes after ``channels``."""
        return tuple(inspect.signature(self.module).parameters)[1:]


def register(
    name: str,
    *,
    title: str,
    node: str,
    squeeze: str,
    reason: str,
    reconstruct: str,
    source: str,
    lesson: str,
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Enter the decorated module into the catalogue; a name can be taken only once."""

    def enter(module: type[nn.Module]) -> type[nn.Module]:
        if name in _ENTRIES:
            taken = _ENTRIES[name].module.__name__
            raise ValueError(f"expected a new name for {module.__name__}, got {name!r} of {taken}")
        _ENTRIES[name] = Entry(
            name, title, module, node, squeeze, reason, reconstruct, source, lesson
        )
        return module

    return enter


def catalogue() -> dict[str, Entry]:
    """Every registered context module, in the order of the lessons.

    Example:
        >>> catalogue()["non_local"].lesson
        '03'
    """
    return dict(sorted(_ENTRIES.items(), key=lambda item: (item[1].lesson, item[0])))


def context(name: str, channels: int, **options) -> nn.Module:
    """Build a context module by its name.

    Args:
        name: a key of :func:`catalogue`.
        channels: the number of channels of the map that the module receives and returns.
        options: the module's own options, by name.

    Raises:
        ValueError: the name or an option is unknown, or an option's value is refused.

    Example:
        >>> import torch
        >>> context("non_local", 64, heads=2)(torch.randn(1, 64, 5, 7)).shape
        torch.Size([1, 64, 5, 7])
    """
    if name not in _ENTRIES:
        raise ValueError(_unknown("context module", name, tuple(catalogue())))
    entry = _ENTRIES[name]
    for option in options:
        if option not in entry.options:
            raise ValueError(_unknown(f"option of {name!r}", option, entry.options))
    return entry.module(channels, **options)


def _unknown(kind: str, found: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(str(found), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"expected as {kind} one of {', '.join(known)}; got {found!r}{hint}"
