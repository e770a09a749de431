"""Exercises of the lessons: prompts, checks, hints, solutions, quizzes and saved progress.

In a lesson three calls are enough::

    from contextlab import exercises

    hops = exercises.check("hops", hops)  # right or wrong; returns what the lesson goes on with
    exercises.hint("hops")  # one step of help
    exercises.progress()  # what is solved so far

Each `lesson_NN.py` beside this file is the single source of one lesson's exercises and quiz.
"""

from contextlab.extras import need

need(__name__, "numpy", "ipywidgets")

from contextlab.exercises._checks import (
    Unsolved,
    Wrong,
    call,
    finite,
    largest_tensor,
    raises,
    same,
)
from contextlab.exercises._core import (
    Exercise,
    WrongAnswer,
    check,
    find,
    hint,
    judge,
    lesson,
    lessons,
    progress,
    reference,
    solution,
)
from contextlab.exercises._quiz import Question, quiz

__all__ = [
    "Exercise",
    "Question",
    "Unsolved",
    "Wrong",
    "WrongAnswer",
    "call",
    "check",
    "find",
    "finite",
    "hint",
    "judge",
    "largest_tensor",
    "lesson",
    "lessons",
    "progress",
    "quiz",
    "raises",
    "reference",
    "same",
    "solution",
]
