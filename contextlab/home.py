"""Where contextlab keeps what it makes and fetches: runs, data sets, progress of the exercises."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """Folder for runs, fetched data and saved progress; nothing is created by asking for it.

    ``$CONTEXTLAB_HOME`` if it is set, else ``contextlab`` in the platform's cache folder:
    ``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux, ``~/Library/Caches`` on macOS,
    ``%LOCALAPPDATA%`` on Windows.

    Returns:
        An absolute path.

    Example:
        >>> home().is_absolute()
        True
    """
    if chosen := os.environ.get("CONTEXTLAB_HOME"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        cache = Path(local) if local else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        # the XDG rule: a relative path there is invalid and must be ignored
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not cache.is_absolute():
            cache = Path.home() / ".cache"
    return (cache / "contextlab").absolute()
