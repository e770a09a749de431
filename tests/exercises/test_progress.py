"""The saved progress: nothing lost, nothing half written; a bad file does not stop a lesson."""

import json

import pytest

from contextlab import exercises
from contextlab.exercises import _progress


def state(name):
    return _progress.read()["exercises"].get(name, {}).get("state")


def test_nothing_is_saved_for_an_unsolved_exercise():
    exercises.check("hops", ...)
    assert not _progress.path().exists()


def test_a_wrong_answer_then_a_right_one_then_a_wrong_one_stays_solved():
    exercises.check("hops", 4)
    assert state("hops") == "wrong"
    exercises.check("hops", 3)
    assert state("hops") == "solved"
    exercises.check("hops", 4)
    assert state("hops") == "solved"
    assert _progress.read()["exercises"]["hops"]["tries"] == 2


def test_only_the_progress_file_is_left_in_the_home():
    exercises.check("hops", 3)
    assert [one.name for one in _progress.path().parent.iterdir()] == ["progress.json"]


@pytest.mark.parametrize("content", ['{"exercises": {"ho', "[]", "", "\x00"])
def test_an_unreadable_file_is_set_aside(content):
    _progress.path().parent.mkdir(parents=True)
    _progress.path().write_text(content)
    exercises.check("hops", 3)
    assert state("hops") == "solved"
    assert _progress.path().with_suffix(".unreadable").read_text() == content


def test_entries_of_the_wrong_kind_are_ignored():
    _progress.path().parent.mkdir(parents=True)
    _progress.path().write_text(
        json.dumps({"exercises": [1], "quizzes": {"98": {"right": 1, "total": 2}}})
    )
    assert _progress.read() == {"exercises": {}, "quizzes": {"98": {"right": 1, "total": 2}}}


def test_a_home_that_cannot_be_written_is_said_and_the_lesson_goes_on(
    monkeypatch, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "file" / "home"))
    assert exercises.check("hops", 3) == 3
    printed = capsys.readouterr().out
    assert printed.startswith("Solved.\nThe progress could not be saved: ")


def test_without_a_home_the_progress_is_kept_in_memory(monkeypatch, capsys):
    monkeypatch.setenv("CONTEXTLAB_HOME", "~no-such-user/home")
    _progress._kept.pop("", None)
    assert exercises.check("hops", 3) == 3
    printed = capsys.readouterr().out
    assert "set CONTEXTLAB_HOME to a folder" in printed and "until the kernel stops" in printed
    assert state("hops") == "solved"
    exercises.progress()
    assert "1 of 4" in capsys.readouterr().out


def test_a_home_that_comes_back_gets_what_was_kept(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(_progress.os, "replace", full)
        assert "No space left" in _progress.record("hops", "solved")
    assert _progress.record_quiz("98", 1, 2) == ""
    assert json.loads(_progress.path().read_text())["exercises"]["hops"]["state"] == "solved"


@pytest.mark.parametrize("content", ['{"version": 3}', '{"a": [1]}'])
def test_a_file_of_somebody_else_is_left_alone(content):
    _progress.path().parent.mkdir(parents=True)
    _progress.path().write_text(content)
    assert "is no progress of these exercises" in _progress.record("hops", "solved")
    assert state("hops") == "solved" and _progress.path().read_text() == content


def test_a_second_unreadable_file_does_not_take_the_place_of_the_first():
    _progress.path().parent.mkdir(parents=True)
    for content in ("first", "second"):
        _progress.path().write_text(content)
        assert _progress.record("hops", "solved") == ""
    left = sorted(p.read_text() for p in _progress.path().parent.glob("*.unreadable*"))
    assert left == ["first", "second"]


def test_an_interrupted_write_leaves_the_old_file(monkeypatch):
    exercises.check("hops", 4)
    old = _progress.path().read_text()

    def cut(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_progress.os, "replace", cut)
    assert "No space left" in _progress.record("hops", "solved")
    assert _progress.path().read_text() == old


def test_progress_prints_the_lesson_and_what_is_left(capsys):
    exercises.check("hops", 3)
    _progress.record_quiz("98", 1, 2)
    capsys.readouterr()
    exercises.progress()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["lesson", "solved", "still", "to", "do", "quiz"]
    row = next(line for line in lines if line.startswith("98 Running means"))
    assert "1 of 4" in row and "running_mean, gate, smooth_twice" in row and row.endswith("1 of 2")


def test_the_best_quiz_result_stays():
    _progress.record_quiz("98", 2, 2)
    _progress.record_quiz("98", 1, 2)
    assert _progress.read()["quizzes"]["98"] == {"right": 2, "total": 2}
    _progress.record_quiz("98", 1, 3)  # the quiz has changed
    assert _progress.read()["quizzes"]["98"] == {"right": 1, "total": 3}
