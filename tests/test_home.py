"""Where contextlab keeps its things, on each platform."""

import sys
from pathlib import Path

import pytest

from contextlab.home import home


def test_the_variable_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "here"))
    assert home() == tmp_path / "here"
    assert not home().exists()  # asking makes nothing


def test_a_tilde_in_the_variable_is_the_users_folder(monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(Path("~", "course")))
    assert home() == Path.home() / "course"


@pytest.mark.parametrize(
    "platform, variable, value, expected",
    [
        ("linux", "XDG_CACHE_HOME", "{tmp}/xdg", "{tmp}/xdg/contextlab"),
        ("linux", "XDG_CACHE_HOME", "relative/is/invalid", "{user}/.cache/contextlab"),
        ("linux", "XDG_CACHE_HOME", None, "{user}/.cache/contextlab"),
        ("darwin", "XDG_CACHE_HOME", None, "{user}/Library/Caches/contextlab"),
        ("win32", "LOCALAPPDATA", "{tmp}/local", "{tmp}/local/contextlab"),
        ("win32", "LOCALAPPDATA", None, "{user}/AppData/Local/contextlab"),
    ],
)
def test_the_platforms_cache_folder(monkeypatch, tmp_path, platform, variable, value, expected):
    monkeypatch.delenv("CONTEXTLAB_HOME", raising=False)
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value.format(tmp=tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert home() == Path(expected.format(tmp=tmp_path, user=Path.home())).absolute()
