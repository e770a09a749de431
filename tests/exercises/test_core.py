"""The mechanism: how answers are judged and what a lesson prints and goes on with."""

import functools
import random
import re

import numpy as np
import pytest
import torch

from contextlab import exercises
from contextlab.exercises import _core

KINDS = ["hops", "running_mean", "gate", "smooth_twice"]


def answer(name, source):
    return _core.build(exercises.find(name), source)


@pytest.mark.parametrize("name", KINDS)
def test_a_stub_is_unsolved(name):
    exercise = exercises.find(name)
    assert exercises.judge(exercise, answer(name, exercise.stub)).state == "unsolved"


@pytest.mark.parametrize("name", KINDS)
def test_a_stub_typed_into_a_lesson_is_unsolved(name):
    # other line numbers and another file name, as in a kernel
    exercise = exercises.find(name)
    assert (
        exercises.judge(exercise, answer(name, "\n\n# mine\n" + exercise.stub)).state == "unsolved"
    )


@pytest.mark.parametrize("name", KINDS)
def test_the_solution_is_right(name):
    exercise = exercises.find(name)
    assert exercises.judge(exercise, exercises.reference(exercise)) == _core.Verdict("solved")


@pytest.mark.parametrize("name", KINDS)
def test_each_wrong_answer_gets_its_message(name):
    exercise = exercises.find(name)
    for wrong in exercise.wrong:
        verdict = exercises.judge(exercise, answer(name, wrong.source))
        assert verdict.state == "wrong"
        assert re.search(wrong.message, verdict.message), verdict.message


@pytest.mark.parametrize(
    "source",
    [
        "def running_mean(x, k): return ...",
        "def running_mean(x, k):\n    print('here')\n    raise NotImplementedError",
        "running_mean = None",
        "running_mean = ...",
    ],
)
def test_other_empty_answers_are_unsolved(source, capsys):
    verdict = exercises.judge(exercises.find("running_mean"), answer("running_mean", source))
    assert verdict.state == "unsolved"


@pytest.mark.parametrize("thing", [3, "text", [1], object(), torch.ones(2), dict])
def test_an_object_of_the_wrong_kind_is_explained(thing):
    verdict = exercises.judge(exercises.find("running_mean"), thing)
    assert verdict.state == "wrong" and verdict.message


def test_an_error_in_the_check_itself_does_not_stop_the_lesson():
    def broken(_answer):
        raise KeyError("missing")

    exercise = exercises.Exercise("n", "98", "t", "p", "n = ...", "n = 1", broken, "h")
    verdict = exercises.judge(exercise, 1)
    assert verdict.state == "wrong" and "KeyError" in verdict.message


def test_judging_leaves_the_random_generators_alone():
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = state()
    exercise = exercises.find("running_mean")
    exercises.judge(exercise, exercises.reference(exercise))
    exercises.judge(exercise, answer("running_mean", "def running_mean(x, k): return x.sum()"))
    assert state() == before


def test_a_message_does_not_depend_on_the_random_state():
    exercise = exercises.find("gate")
    wrong = answer("gate", exercise.wrong[1].source)
    messages = []
    for seed in range(3):
        torch.manual_seed(seed)
        messages.append(exercises.judge(exercise, wrong).message)
    assert len(set(messages)) == 1


def test_check_of_an_unsolved_exercise_prints_one_line_and_gives_the_reference(capsys):
    stub = answer("running_mean", exercises.find("running_mean").stub)
    going_on = exercises.check("running_mean", stub)
    assert capsys.readouterr().out == _core.UNSOLVED + "\n"
    assert going_on(torch.tensor([1.0, 3.0]), 2).tolist() == [2.0]


def test_check_of_a_right_answer_gives_it_back(capsys):
    mine = answer("running_mean", exercises.find("running_mean").solution)
    assert exercises.check("running_mean", mine) is mine
    assert capsys.readouterr().out == "Solved.\n"


def test_check_of_a_wrong_answer_says_why_and_gives_the_reference(capsys):
    assert exercises.check("hops", 4) == 3
    printed = capsys.readouterr().out
    assert printed.startswith("Not right yet: the number of hops is 4")
    assert 'exercises.hint("hops")' in printed


def test_hint_and_solution_print(capsys):
    exercises.hint("running_mean")
    assert "unfold" in capsys.readouterr().out
    exercises.solution("hops")
    assert capsys.readouterr().out == "hops = 3\n"


def test_unknown_names_and_lessons_are_named():
    with pytest.raises(ValueError, match=r"no exercise 'running_men'; did you mean running_mean"):
        exercises.check("running_men", 1)
    with pytest.raises(ValueError, match="no exercises for lesson '97'"):
        exercises.lesson("97")


def test_a_source_that_defines_something_else_is_named():
    with pytest.raises(ValueError, match="does not define 'hops'"):
        answer("hops", "hop = 3")


@pytest.mark.parametrize(
    ("key", "value"), [("name", "two words"), ("lesson", "3"), ("defines", "a b")]
)
def test_a_malformed_exercise_is_refused(key, value):
    options = {
        "name": "n",
        "lesson": "98",
        "title": "t",
        "prompt": "p",
        "stub": "n = ...",
        "solution": "n = 1",
        "check": print,
        "hint": "h",
    }
    with pytest.raises(ValueError, match=repr(options["name"] if key != "name" else value)):
        exercises.Exercise(**options | {key: value})


def test_a_half_filled_class_is_not_taken_for_the_stub():
    source = exercises.find("gate").stub.replace("return ...", "return x")
    verdict = exercises.judge(exercises.find("gate"), answer("gate", source))
    assert verdict.state == "wrong"


def test_other_callables_are_judged_as_functions_are():
    exercise = exercises.find("running_mean")
    right = functools.partial(exercises.reference(exercise))
    assert exercises.judge(exercise, right).state == "solved"
    nothing = exercises.judge(exercise, functools.partial(print, end=""))
    assert nothing.state == "wrong" and "returned None" in nothing.message


def test_an_instance_of_the_stub_class_is_unsolved():
    stub = answer("gate", exercises.find("gate").stub)
    assert exercises.judge(exercises.find("gate"), stub(4)).state == "unsolved"
