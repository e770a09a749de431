"""What to say where a library is missing that contextlab alone does not bring.

The context modules, the networks and counting need torch and einops; everything else is an extra.
"""

from __future__ import annotations

import importlib.util

INSTALL = 'pip install "contextlab[full]"'


def need(who: str, *libraries: str) -> None:
    """See that libraries are installed, without importing them.

    Args:
        who: what needs them, as the message names it.
        libraries: the names that they are imported by.

    Raises:
        ModuleNotFoundError: one is missing; the message says what to install.

    Example:
        >>> need("this line", "torch", "einops")
    """
    missing = [name for name in libraries if not _there(name)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise ModuleNotFoundError(
            f"{who} needs {', '.join(missing)}, which {are} not installed here: {INSTALL}",
            name=missing[0],
        )


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
    except ValueError:  # imported already, by something that gave it no specification
        return True
