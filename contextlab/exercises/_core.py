"""The mechanism: an exercise, how an answer is judged, what `exercises.check` does in a lesson."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import itertools
import linecache
import math
import pkgutil
import random
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import einops
import numpy as np
import torch
import torch.nn.functional as F

from contextlab.exercises import _progress
from contextlab.exercises._checks import Unsolved, Wrong, call, explain

UNSOLVED = "Not solved yet. The reference solution steps in, so that the lesson can go on."
SOLVED = "Solved."
WRONG = (
    "Not right yet: {message}\nThe reference solution steps in. "
    'Change your cell and run it again; exercises.hint("{name}") helps.'
)


@dataclass(frozen=True)
class WrongAnswer:
    """A classic mistake: source that defines the answer, and a pattern its message must match."""

    source: str
    message: str


@dataclass(frozen=True)
class Exercise:
    """One exercise: everything that a lesson shows of it and everything that judges it.

    Args:
        name: unique in the course, a Python identifier.
        lesson: two digits.
        title: a few words.
        prompt: markdown; what to do.
        stub: source of the cell that the learner completes; it runs as it is.
        solution: source that defines the answer; runs by itself (see `namespace`).
        check: called with the learner's object; raises `Wrong` with words that help.
        hint: markdown; one step of help.
        wrong: the classic wrong answers, each with the message that it must get.
        defines: the name that stub and solution define; `name` itself unless given.
        needs: names of earlier exercises whose solutions this one's source uses.
        called: what the folded solution is; "Solution", or that it is only somebody's guess.
    """

    name: str
    lesson: str
    title: str
    prompt: str
    stub: str
    solution: str
    check: Callable[[Any], None]
    hint: str
    wrong: tuple[WrongAnswer, ...] = ()
    defines: str = ""
    needs: tuple[str, ...] = ()
    called: str = "Solution"

    def __post_init__(self) -> None:
        for key in ("name", "defines"):
            if not (getattr(self, key) or self.name).isidentifier():
                raise ValueError(f"exercise {self.name!r}: {key} must be a Python identifier")
        if not re.fullmatch(r"\d\d", self.lesson):
            raise ValueError(
                f"exercise {self.name!r}: lesson must be two digits, got {self.lesson!r}"
            )
        object.__setattr__(self, "defines", self.defines or self.name)
        object.__setattr__(self, "wrong", tuple(self.wrong))
        for key in ("prompt", "stub", "solution", "hint"):
            object.__setattr__(self, key, inspect.cleandoc(getattr(self, key)))


@dataclass(frozen=True)
class Verdict:
    """How an answer was judged: "unsolved", "solved" or "wrong", and the message of a wrong one."""

    state: str
    message: str = ""


@dataclass(frozen=True)
class Lesson:
    """The exercises and the quiz of one lesson, as `lesson_NN.py` holds them."""

    number: str
    title: str
    exercises: tuple[Exercise, ...]
    quiz: tuple = field(default=())


def lessons() -> list[str]:
    """The lessons that have exercises, as two digits, in order."""
    package = importlib.import_module("contextlab.exercises")
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return sorted(name[-2:] for name in names if re.fullmatch(r"lesson_\d\d", name))


def lesson(number: str) -> Lesson:
    """The exercises and the quiz of lesson `number` ("03")."""
    if number not in lessons():
        raise ValueError(
            f"no exercises for lesson {number!r}; there are {', '.join(lessons()) or 'none'}"
        )
    module = importlib.import_module(f"contextlab.exercises.lesson_{number}")
    return Lesson(number, module.TITLE, tuple(module.EXERCISES), tuple(module.QUIZ))


def find(name: str) -> Exercise:
    """The exercise of this name; ValueError with the nearest names when there is none."""
    known = {
        exercise.name: exercise for number in lessons() for exercise in lesson(number).exercises
    }
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or sorted(known)
        raise ValueError(f"no exercise {name!r}; did you mean {', '.join(near)}?")
    return known[name]


def namespace() -> dict[str, Any]:
    """What sources may use without importing it: what every lesson imports."""
    return {
        "__name__": "answer",
        "math": math,
        "np": np,
        "torch": torch,
        "nn": torch.nn,
        "F": F,
        "Tensor": torch.Tensor,
        **{key: getattr(einops, key) for key in ("einsum", "rearrange", "reduce", "repeat")},
    }


def build(exercise: Exercise, source: str) -> Any:
    """Run `source` (after the solutions that the exercise needs) and return what it defines."""
    names = namespace()
    for needed in exercise.needs:
        other = find(needed)
        names[other.defines] = reference(other)
    # a name of its own, known to linecache, so that messages can quote the line
    path = f"<answer {exercise.name} {abs(hash(source)):x}>"
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    exec(compile(source, path, "exec"), names)
    if exercise.defines not in names:
        raise ValueError(
            f"exercise {exercise.name!r}: the source does not define {exercise.defines!r}"
        )
    return names[exercise.defines]


def reference(exercise: Exercise) -> Any:
    """The object that the reference solution defines."""
    return build(exercise, exercise.solution)


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Judge an answer; never raises, and leaves all random generators as they were."""
    if answer is None or answer is Ellipsis or _is_stub(answer, exercise):
        return Verdict("unsolved")
    if callable(answer) and not isinstance(answer, (type, torch.nn.Module)):
        answer = _guard(answer)
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        # seeded, so that the same answer always gets the same message
        # gradients are recorded, whatever the learner has switched off
        grad = torch.inference_mode(False), torch.enable_grad()
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), grad[0], grad[1]:
            torch.default_generator.manual_seed(0)  # torch.manual_seed would reach the GPUs' too
            np.random.seed(0)
            random.seed(0)
            exercise.check(answer)
    except Unsolved:
        return Verdict("unsolved")
    except Wrong as wrong:
        return Verdict("wrong", str(wrong))
    except Exception as error:
        return Verdict("wrong", f"the check stopped with {explain(error)}")
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
    return Verdict("solved")


def check(name: str, answer: Any) -> Any:
    """Judge an answer, print one or two lines, save the progress, return what goes on.

    Args:
        name: the exercise.
        answer: the learner's function, class, module, number or tensor.

    Returns:
        The answer when it is right, else the reference solution's object.
    """
    exercise = find(name)
    verdict = judge(exercise, answer)
    if verdict.state == "unsolved":
        print(UNSOLVED)
        return reference(exercise)
    problem = _progress.record(exercise.name, verdict.state)
    if verdict.state == "solved":
        print(SOLVED)
    else:
        print(WRONG.format(message=verdict.message, name=name))
    if problem:
        print(problem)
    return answer if verdict.state == "solved" else reference(exercise)


def hint(name: str) -> None:
    """Print the hint of an exercise."""
    print(find(name).hint)


def solution(name: str) -> None:
    """Print the reference solution of an exercise."""
    print(find(name).solution)


def progress() -> None:
    """Print a table: each lesson, how many of its exercises are solved, and its quiz."""
    saved = _progress.read()
    rows = [("lesson", "solved", "still to do", "quiz")]
    for number in lessons():
        part = lesson(number)
        states = {
            one.name: saved["exercises"].get(one.name, {}).get("state") for one in part.exercises
        }
        done = sum(state == "solved" for state in states.values())
        todo = ", ".join(name for name, state in states.items() if state != "solved") or "nothing"
        result = saved["quizzes"].get(number)
        answered = f"{result['right']} of {result['total']}" if result else "-"
        rows.append((f"{number} {part.title}", f"{done} of {len(states)}", todo, answered))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _guard(function: Callable) -> Callable:
    """The same function, called through `call`: its errors come as words."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return call(function, *args, **kwargs)

    return guarded


def _is_stub(answer: Any, exercise: Exercise) -> bool:
    """Whether the answer's code is still that of the stub, line by line."""
    if not inspect.isclass(answer) and isinstance(answer, torch.nn.Module):
        answer = type(answer)
    stubs = _codes(compile(exercise.stub, "<stub>", "exec"))
    code = stubs.get(exercise.defines)
    if code is None:
        return False
    if inspect.isclass(answer):
        if "__qualname__" not in code.co_names:  # the stub is no class
            return False
        methods = {
            key: inspect.unwrap(value) for key, value in vars(answer).items() if callable(value)
        }
        wanted = {key: value for key, value in _codes(code).items() if not key.startswith("<")}
        own = {key: value.__code__ for key, value in methods.items() if hasattr(value, "__code__")}
        return own.keys() == wanted.keys() and all(_same_code(own[key], wanted[key]) for key in own)
    own = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    return own is not None and _same_code(own, code)


def _codes(code: types.CodeType) -> dict[str, types.CodeType]:
    return {part.co_name: part for part in code.co_consts if isinstance(part, types.CodeType)}


def _same_code(one: types.CodeType, other: types.CodeType) -> bool:
    if (one.co_code, one.co_names, one.co_varnames) != (
        other.co_code,
        other.co_names,
        other.co_varnames,
    ):
        return False
    pairs = itertools.zip_longest(one.co_consts, other.co_consts)
    # nested code compares its line numbers too, so it is compared part by part
    return all(
        _same_code(a, b)
        if isinstance(a, types.CodeType) and isinstance(b, types.CodeType)
        else a == b
        for a, b in pairs
    )
