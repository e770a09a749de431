"""Every exercise of the course: its stub, its solution, and each classic wrong answer."""

import re

import pytest
import torch

from contextlab import exercises
from contextlab.exercises import _core
from tests.lessons.reader_rules import COLUMNS, LINES

ALL = [one for number in exercises.lessons() for one in exercises.lesson(number).exercises]
EACH = pytest.mark.parametrize("exercise", ALL, ids=[f"{one.lesson}-{one.name}" for one in ALL])
WRONG = [
    pytest.param(one, wrong, id=f"{one.lesson}-{one.name}-{place}")
    for one in ALL
    for place, wrong in enumerate(one.wrong)
]


@EACH
def test_the_stub_is_unsolved(exercise):
    verdict = exercises.judge(exercise, _core.build(exercise, exercise.stub))
    assert verdict.state == "unsolved", verdict.message


@EACH
def test_the_solution_is_right(exercise):
    verdict = exercises.judge(exercise, exercises.reference(exercise))
    assert verdict.state == "solved", verdict.message


@EACH
@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_that_are_switched_off_change_no_verdict(exercise, off):
    with off():
        verdict = exercises.judge(exercise, exercises.reference(exercise))
        assert verdict.state == "solved", verdict.message
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(("exercise", "wrong"), WRONG)
def test_the_wrong_answer_is_refused_with_its_message(exercise, wrong):
    verdict = exercises.judge(exercise, _core.build(exercise, wrong.source))
    assert verdict.state == "wrong"
    assert re.search(wrong.message, verdict.message, re.DOTALL), verdict.message


@EACH
def test_the_exercise_is_complete(exercise):
    assert len(exercise.wrong) >= 2, "name the classic mistakes"
    for part in ("title", "prompt", "hint"):
        assert getattr(exercise, part).strip(), part
    # an empty pattern would accept every message
    assert all(len(wrong.message) >= 8 for wrong in exercise.wrong)


@EACH
def test_the_sources_fit_into_a_cell(exercise):
    for source in (exercise.stub, exercise.solution):
        assert len(source.splitlines()) <= LINES
        assert max(map(len, source.splitlines())) <= COLUMNS


def test_names_are_unique():
    names = [exercise.name for exercise in ALL]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("number", exercises.lessons())
def test_quiz_answers_are_not_all_in_one_place(number):
    answers = [question.answer for question in exercises.lesson(number).quiz]
    assert len(set(answers)) > 1
