"""Where contextlab keeps its things, on each platform."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contextlab.home import (
    MARK,
    blocked,
    claim,
    discard,
    home,
    made_here,
    partial,
    sweep,
    usable,
    write_atomically,
)


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


def test_no_home_is_one_sentence(monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_HOME", "~no-such-user/course")
    with pytest.raises(FileNotFoundError, match=r"no home folder is known.*set CONTEXTLAB_HOME"):
        home()
    monkeypatch.delenv("CONTEXTLAB_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(FileNotFoundError, match=r"determine home directory\): set CONTEXTLAB_HOME"):
        home()


def test_a_folder_is_made_and_tried(tmp_path):
    assert usable(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_that_cannot_be_used_is_one_sentence(monkeypatch, tmp_path, inside):
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path if inside else tmp_path / "other"))
    remedy = "set CONTEXTLAB_HOME to a folder" if inside else "choose a folder"
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            OSError, match=rf"the file .*file is in the way of a folder\): {remedy}"
        ):
            usable(folder)
    with pytest.raises(OSError, match=rf"MB are needed.*\): free some space, or {remedy}"):
        usable(tmp_path, need=10**18)
    denied = blocked(tmp_path, PermissionError(errno.EACCES, "Permission denied"))
    assert isinstance(denied, PermissionError) and denied.errno == errno.EACCES
    reason = f"{tmp_path} cannot be written to (Permission denied)"
    assert str(denied) == f"{reason}: {remedy} that you can write to"


def test_a_write_that_fails_names_file_and_remedy(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"below cannot be written to .*in the way"):
        write_atomically(tmp_path / "file" / "below", "x")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match=r"new cannot be written to \(No space left\): free some"):
        write_atomically(tmp_path / "new", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


WRITER = """
import sys
from contextlab.home import write_atomically
for i in range(100):
    write_atomically(sys.argv[1], sys.argv[2] * 2000)
"""


def test_two_processes_that_write_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "file"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter]) for letter in "ab"
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(path.read_text() if path.exists() else "")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"", "a" * 2000, "b" * 2000}
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_leftovers_go_when_their_process_has_gone(tmp_path):
    mine = partial(tmp_path / "w")
    gone = mine.with_name(mine.name.replace(f"-{os.getpid()}-", "-4194305-"))
    earlier = mine.with_name(mine.name.replace(mine.name.split("-")[3], "0" * 9))  # of my number
    elsewhere = mine.with_name(mine.name.replace(mine.name.split("-")[1], "0" * 6))
    theirs = tmp_path / ".partial-w"
    for path in (mine, gone, earlier, elsewhere, theirs):
        path.write_text("cut")
    sweep(tmp_path, "v")
    assert len(list(tmp_path.iterdir())) == 5
    sweep(tmp_path, "w")
    assert set(tmp_path.iterdir()) == {mine, elsewhere, theirs}
    os.utime(elsewhere, (time.time() - 10**6,) * 2)  # long ago: nobody writes there any more
    write_atomically(tmp_path / "w", "whole")
    assert set(tmp_path.iterdir()) == {mine, theirs, tmp_path / "w"}


def test_only_what_is_listed_is_the_programs_own(tmp_path):
    ours, theirs = tmp_path / "out" / "weights", tmp_path / "out" / "notes"
    claim(ours)
    assert not made_here(ours)  # nothing there yet
    ours.write_text("w"), theirs.write_text("n")
    assert made_here(ours) and not made_here(theirs)
    with pytest.raises(FileExistsError, match="notes is there already and was not made by"):
        claim(ours.with_name("more"), theirs)
    claim(ours)  # once more: it is ours to overwrite
    discard(ours.parent)
    assert [p.name for p in ours.parent.iterdir()] == ["notes"]
    theirs.unlink()
    discard(ours.parent)
    assert ours.parent.is_dir()  # it lists nothing as ours any more


def test_a_mark_of_somebody_else_proves_nothing(tmp_path):
    (tmp_path / MARK).write_text("settings of mine\nnotes\n")
    (tmp_path / "notes").write_text("n")
    assert not made_here(tmp_path / "notes") and not made_here(tmp_path)
    discard(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(FileExistsError, match=MARK):
        claim(tmp_path / "new")


def test_a_mark_leads_to_nothing_outside_its_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("x")
    claim(tmp_path / "out" / "a")
    with (tmp_path / "out" / MARK).open("a") as file:
        file.write(f"../outside\n{outside}\n")
    discard(tmp_path / "out")
    assert outside.exists() and not (tmp_path / "out").exists()
