"""The quiz at a lesson's end: radio buttons that answer in words; the same questions as text."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from contextlab.exercises import _progress


@dataclass(frozen=True)
class Question:
    """One question of a quiz.

    Args:
        text: the question; markdown, formulas between dollars allowed.
        choices: two or more answers in plain text (a radio button renders no formula).
        answer: index of the right one.
        why: a sentence or two that explain it.
    """

    text: str
    choices: tuple[str, ...]
    answer: int
    why: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
        if len(self.choices) < 2 or len(set(self.choices)) != len(self.choices):
            raise ValueError(f"question {self.text!r} needs two or more different choices")
        if not 0 <= self.answer < len(self.choices):
            raise ValueError(
                f"question {self.text!r}: answer {self.answer} of {len(self.choices)} choices"
            )
        if any("$" in choice for choice in self.choices):
            raise ValueError(f"question {self.text!r}: choices are plain text, without formulas")


def respond(question: Question, index: int | None) -> str:
    """What the quiz answers to the choice of `index`; empty as long as nothing is chosen."""
    if index is None:
        return ""
    if index == question.answer:
        return f"Right. {question.why}"
    return "Not this one. Read the question again, or open the answer below."


def score(questions: tuple[Question, ...], chosen: list[int | None]) -> int:
    """How many of the chosen indices are right."""
    return sum(index == question.answer for question, index in zip(questions, chosen))


class Quiz(widgets.VBox):
    """The questions of a lesson as radio buttons; without a kernel, one line of text."""

    def __init__(self, number: str, questions: tuple[Question, ...]) -> None:
        self.number, self.questions = number, questions
        wide = widgets.Layout(width="auto")
        self.buttons = [
            widgets.RadioButtons(options=question.choices, index=None, layout=wide)
            for question in questions
        ]
        below = widgets.Layout(margin="0 0 16px 0")
        self.answers = [widgets.HTMLMath(layout=below) for _ in questions]
        for button in self.buttons:
            button.observe(self._update, names="index")
        rows = []
        for place, question in enumerate(questions):
            head = widgets.HTMLMath(f"<b>{place + 1}.</b> {_html(question.text)}")
            rows += [head, self.buttons[place], self.answers[place]]
        super().__init__(rows)

    def _update(self, _change: Any) -> None:
        chosen = [button.index for button in self.buttons]
        for question, index, line in zip(self.questions, chosen, self.answers):
            line.value = _html(respond(question, index))
        _progress.record_quiz(self.number, score(self.questions, chosen), len(self.questions))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            count = len(self.questions)
            data["text/plain"] = (
                f"Quiz of lesson {self.number}: {count} questions, also below as text."
            )
        return bundle


def _html(text: str) -> str:
    # the little markdown that questions use; formulas between dollars are left to the widget
    text = html.escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)


def quiz(number: str) -> Quiz:
    """The quiz of lesson `number` ("03")."""
    from contextlab.exercises._core import lesson

    return Quiz(number, lesson(number).quiz)
