"""The quiz: what a click answers, what a page without a kernel shows."""

import pytest

from contextlab import exercises
from contextlab.exercises import _progress, _quiz

QUESTION = exercises.Question(
    "Is `x` in $[0, 1]$?", ("yes", "no"), 0, "So it is built: **always**."
)


def test_respond():
    assert _quiz.respond(QUESTION, None) == ""
    assert _quiz.respond(QUESTION, 0) == "Right. So it is built: **always**."
    assert _quiz.respond(QUESTION, 1).startswith("Not this one")


def test_score_counts_the_right_ones():
    assert _quiz.score((QUESTION, QUESTION, QUESTION), [0, 1, None]) == 1


def test_choosing_answers_and_saves_the_score():
    quiz = exercises.quiz("98")
    assert [line.value for line in quiz.answers] == ["", ""]
    quiz.buttons[0].index = 1
    assert quiz.answers[0].value.startswith("Not this one") and quiz.answers[1].value == ""
    quiz.buttons[0].index = 0
    assert quiz.answers[0].value.startswith("Right.")
    assert _progress.read()["quizzes"]["98"] == {"right": 1, "total": 2}


def test_a_quiz_shows_one_line_where_no_kernel_is():
    data = exercises.quiz("98")._repr_mimebundle_()
    data = data[0] if isinstance(data, tuple) else data
    assert data["text/plain"] == "Quiz of lesson 98: 2 questions, also below as text."
    assert "application/vnd.jupyter.widget-view+json" in data


def test_the_markup_of_questions_reaches_the_page():
    html = _quiz._html("`a < b` and **c**, $x < y$")
    assert html == "<code>a &lt; b</code> and <b>c</b>, $x &lt; y$"


@pytest.mark.parametrize(
    ("choices", "answer", "message"),
    [
        (("one",), 0, "two or more"),
        (("one", "one"), 0, "different"),
        (("one", "two"), 2, "answer 2 of 2 choices"),
        (("one", "$x$"), 0, "plain text"),
    ],
)
def test_a_malformed_question_is_refused(choices, answer, message):
    with pytest.raises(ValueError, match=message):
        exercises.Question("Which?", choices, answer, "Because.")
