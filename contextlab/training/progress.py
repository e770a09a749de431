"""A progress bar for whoever is watching, and nothing for whoever is not."""

from __future__ import annotations

import os
import sys

from tqdm.auto import tqdm


def watched() -> bool:
    """Whether a person is likely to see a progress bar.

    True on a terminal, and in a notebook whose front end can answer questions: JupyterLab can, a
    program that executes notebooks cannot. False where ``CI`` is set.

    Returns:
        Whether to draw.
    """
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        return False
    kernel = _kernel()
    if kernel is not None:
        return bool(getattr(kernel, "_allow_stdin", False))
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


def bar(total: int, *, done: int = 0, show: bool | None = None, title: str = "training") -> tqdm:
    """A progress bar with the time that is left.

    Args:
        total: steps in all.
        done: steps of an earlier part of the run.
        show: draw it or not; ``None`` asks `watched`.
        title: what stands before the bar.

    Returns:
        The bar; call ``update`` and ``close``.
    """
    show = watched() if show is None else show
    plain = {} if _kernel() is not None else {"dynamic_ncols": True}
    return tqdm(
        total=total, initial=done, desc=title, disable=not show, leave=False, unit="step", **plain
    )


def _kernel() -> object | None:
    """The notebook kernel that this code runs in, if it does."""
    shell = sys.modules.get("IPython")
    shell = shell.get_ipython() if shell is not None else None
    return getattr(shell, "kernel", None)
