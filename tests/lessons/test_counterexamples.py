"""Every rule sees what it is there for: the sample obeys all, each spoilt copy breaks one."""

import base64
import copy
import io
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from PIL import Image

from tests.lessons.page import words
from tests.lessons.reader_rules import WIDGET
from tests.lessons.rules import RULES
from tests.lessons.sample import MACHINE, PIXEL, PROSE, SENTENCE, rewrite

BUFFER = io.BytesIO()
Image.new("RGB", (500, 267)).save(BUFFER, "PNG", compress_level=0)
LARGE = base64.b64encode(BUFFER.getvalue()).decode()  # one colour, not compressed


def code(notebook, source="", *outputs, tags=()):
    """Put one more code cell after the first text, and renumber the counts."""
    cell = new_code_cell(source or "x = 1", outputs=list(outputs))
    if tags:
        cell.metadata["tags"] = list(tags)
    notebook.cells.insert(PROSE + 1, cell)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, one in enumerate(cells, start=1):
        one.execution_count = count


def text(notebook, source):
    """Put text where the first paragraph stands."""
    notebook.cells[PROSE].source = f"{SENTENCE * 14}\n\n{source}"


def stream(value, name="stdout"):
    return new_output("stream", text=value, name=name)


def picture(alt, **data):
    metadata = {"image/png": {"alt": alt}} if alt is not None else {}
    return new_output("display_data", {"image/png": PIXEL} | data, metadata=metadata)


def widget(plain):
    return new_output("display_data", {WIDGET: {"model_id": "2"}, "text/plain": plain})


def find(notebook, part):
    marks = [cell.metadata.get("contextlab", {}).get("part") for cell in notebook.cells]
    return marks.index(part)


def drop(notebook, place):
    del notebook.cells[place]


def swap_headings(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("## Quiz", "## Test")


def error():
    return new_output("error", ename="ValueError", evalue="no", traceback=["ValueError: no"])


def replace(notebook, place, old, new):
    assert old in notebook.cells[place].source
    notebook.cells[place].source = notebook.cells[place].source.replace(old, new)


SPOILT = [
    ("size", lambda n: drop(n, slice(PROSE, PROSE + 6)), r"\d+ cells; a lesson has 35 to 80"),
    (
        "size",
        lambda n: n.cells.extend(new_markdown_cell("") for _ in range(50)),
        "cells; a lesson has",
    ),
    ("size", lambda n: text(n, "x" * 2**21), "bytes; a lesson stays under"),
    ("prose_length", lambda n: drop(n, slice(PROSE, PROSE + 3)), r"\d+ words; a lesson has 1500"),
    ("prose_length", lambda n: text(n, SENTENCE * 100), r"\d+ words; a lesson has 1500 to 3000"),
    ("code_layout", lambda n: code(n, "x = 1\n" * 41), "has 41 lines; at most 40"),
    ("code_layout", lambda n: code(n, f"x = '{'y' * 85}'"), "has a line of 91 columns"),
    ("code_layout", lambda n: code(n, " "), "is empty"),
    ("opening", lambda n: replace(n, 0, "# 98 ·", "# 97 ·"), "starts with '# 97 · Running means'"),
    ("opening", lambda n: replace(n, 0, "![A", "[A"), "no picture in the first three cells"),
    (
        "opening",
        lambda n: replace(n, 2, "**Objectives.**", "Aims."),
        r"\*\*Objectives\.\*\* does not",
    ),
    ("opening", lambda n: replace(n, 2, "**Time.**", "Time."), r"\*\*Time\.\*\* does not stand"),
    ("opening", lambda n: replace(n, 2, " or a GPU", ""), "does not say 'GPU'"),
    ("opening", lambda n: replace(n, 2, "**Prerequisites.**", "You know"), "Prerequisites"),
    ("opening", lambda n: n.cells[3].metadata.pop("tags"), "versions and device"),
    ("closing", swap_headings, "the last headings are .*'Test'"),
    ("closing", lambda n: n.cells.append(new_markdown_cell("## More")), "'More'"),
    ("navigation", lambda n: drop(n, 1), "none of the first three cells is the navigation"),
    ("navigation", lambda n: drop(n, -1), "the last cell is not the navigation"),
    ("figures", lambda n: code(n, "", picture(None)), "has the alt text ''"),
    ("figures", lambda n: code(n, "", picture("A curve.")), "has the alt text 'A curve.'"),
    (
        "figures",
        lambda n: code(
            n, "", picture("A long alt text indeed", **{"text/plain": "<Figure size 6>"})
        ),
        "<Figure ...>",
    ),
    (
        "figures",
        lambda n: code(n, "", new_output("display_data", {"text/html": "<img src='data:'>"})),
        "without alt text",
    ),
    (
        "figures",
        lambda n: code(n, "", new_output("display_data", {"image/svg+xml": "<svg></svg>"})),
        "svg of cell 7 has no <title>",
    ),
    ("figures", lambda n: text(n, "![](curve.png)"), "curve.png has the alt text ''"),
    (
        "small_figures",
        lambda n: code(n, "", picture("A square in one colour", **{"image/png": LARGE})),
        "the figure of cell 7 has 400,",
    ),
    ("figures", lambda n: text(n, '<img src="curve.png" width="3">'), "has the alt text ''"),
    ("figures", lambda n: text(n, "<svg><path/></svg>"), "svg without <title>"),
    (
        "figures",
        lambda n: text(n, "![A curve, drawn by hand](bare.svg)"),
        "bare.svg has no <title>",
    ),
    ("links", lambda n: text(n, "[other](97_other.ipynb)"), "97_other.ipynb: does not exist"),
    ("links", lambda n: text(n, "[other](/lessons/98.ipynb)"), "not a relative link"),
    ("links", lambda n: text(n, "[mail](mailto:a@b.c)"), "not a relative link"),
    ("links", lambda n: text(n, "[out](../../secret)"), "leads out of the project"),
    ("links", lambda n: text(n, "[part](#Nowhere)"), "has no such heading"),
    ("links", lambda n: text(n, "[part](98_running_means.ipynb#Nowhere)"), "has no such heading"),
    ("links", lambda n: text(n, '<a href="gone.md">x</a>'), "gone.md: does not exist"),
    ("links", lambda n: text(n, "[x]\n\n[x]: gone.md"), "gone.md: does not exist"),
    ("links", lambda n: text(n, "![A curve under a window](gone.png)"), "gone.png: does not exist"),
    ("links", lambda n: text(n, "[b](https://blog.example.org/post)"), "not an https page of"),
    ("links", lambda n: text(n, "[b](http://arxiv.org/abs/1)"), "not an https page of"),
    (
        "links",
        lambda n: text(n, "[b](https://huggingface.co/someone/model)"),
        "only its documentation",
    ),
    ("links", lambda n: code(n, "u = 'https://example.org/data.zip'"), "example.org/data.zip"),
    ("links", lambda n: n.cells[PROSE].update(attachments={"a.png": {}}), "has an attachment"),
    ("plain_words", lambda n: text(n, "A powerful idea."), "says 'powerful'"),
    ("plain_words", lambda n: text(n, "State-of-the-art."), "says 'state-of-the-art'"),
    ("widgets", lambda n: code(n, "", widget("A slider.")), "has no picture or text"),
    ("widgets", lambda n: code(n, "", widget("VBox(children=(IntSlider")), "reads 'VBox"),
    ("widgets", lambda n: code(n, "", widget("A slider.")), "1 widgets, but 0 rows"),
    (
        "executed",
        lambda n: n.cells[3].update(execution_count=None),
        "code cell 1 has the count None",
    ),
    ("executed", lambda n: n.cells[4].update(execution_count=7), "code cell 2 has the count 7"),
    ("no_errors", lambda n: code(n, "", error()), "ends with ValueError: no"),
    ("no_errors", lambda n: code(n, "", stream("careful", "stderr")), "writes to stderr"),
    ("no_errors", lambda n: code(n, "x", tags=["raises-exception"]), "and raises none"),
    ("stable_outputs", lambda n: code(n, "", stream(" 40%|####    | 4/10")), "progress bar"),
    ("stable_outputs", lambda n: code(n, "", stream("epoch 1\repoch 2")), "progress bar"),
    ("stable_outputs", lambda n: code(n, "", stream("8.1it/s")), "progress bar"),
    ("stable_outputs", lambda n: code(n, "", stream("<f at 0x7f0012ab>")), "address"),
    (
        "stable_outputs",
        lambda n: code(n, "", new_output("display_data", {"text/plain": "<f at 0xADDRESS>"})),
        "address",
    ),
    ("known_tags", lambda n: code(n, tags=["hide-input"]), "has the tag 'hide-input'"),
    (
        "volatile_cells",
        lambda n: code(n, "y = 2", tags=["nbval-ignore-output"]),
        r"not listed in 98\.toml: y = 2",
    ),
    ("volatile_cells", lambda n: n.cells[3].metadata.pop("tags"), "lists what is not there"),
    (
        "volatile_cells",
        lambda n: [code(n, MACHINE, tags=["nbval-ignore-output"]) for _ in range(6)],
        "7 cells are not compared; at most 6",
    ),
    ("no_absolute_paths", lambda n: code(n, "p = '/data/camvid'"), "'/data/camvid'"),
    ("no_absolute_paths", lambda n: code(n, "p = '~/camvid'"), "'~/c'"),
    ("no_absolute_paths", lambda n: code(n, "", stream("in /tmp")), "'/tmp'"),
    ("no_absolute_paths", lambda n: code(n, r"p = r'C:\camvid'"), "absolute path: 'C:"),
    ("no_absolute_paths", lambda n: text(n, "Look into /usr/share/fonts."), "'/usr/share/fonts"),
    ("no_absolute_paths", lambda n: code(n, "", stream("File '/a/b.py'")), "'/a/b.py'"),
    ("imports", lambda n: code(n, "import pandas as pd"), "imports pandas"),
    ("imports", lambda n: code(n, "from sklearn.svm import SVC"), r"imports sklearn\.svm"),
    ("imports", lambda n: code(n, "def f():\n    import pytest"), "imports pytest"),
    ("imports", lambda n: code(n, "from . import x"), r"imports \."),
    ("imports", lambda n: code(n, "%matplotlib inline"), "is not plain Python"),
    ("imports", lambda n: code(n, "!ls"), "is not plain Python"),
    ("no_semicolons", lambda n: code(n, "y = 1\nx;"), "cell 7 ends line 2 with a semicolon"),
    ("no_semicolons", lambda n: code(n, "x;  # quiet"), "ends line 1"),
    ("exercises", lambda n: drop(n, find(n, "stub")), "shows the exercises"),
    ("exercises", lambda n: drop(n, find(n, "questions")), "the quiz does not stand there once"),
    ("exercises", lambda n: replace(n, find(n, "stub"), "...", "3"), r"cells \[\d+\] differ from"),
    ("exercises", lambda n: replace(n, find(n, "questions"), "nothing", "all"), "differ from"),
    ("file_format", lambda n: n.metadata.kernelspec.update(name="mine"), "the kernel is 'mine'"),
    ("file_format", lambda n: n.metadata.update(widgets={}), "holds the state of widgets"),
    (
        "file_format",
        lambda n: n.cells[0].metadata.update(scrolled=True),
        r"metadata \['scrolled'\]",
    ),
    ("file_format", lambda n: n.cells[0].update(outputs=[]), "not a valid notebook"),
]


def test_the_sample_obeys_every_rule(sample):
    assert {name: said for name, rule in RULES.items() if (said := rule(sample))} == {}


@pytest.mark.parametrize(("name", "spoil", "message"), SPOILT)
def test_a_spoilt_lesson_is_named(sample, name, spoil, message):
    (sample.path.parent / "bare.svg").write_text("<svg></svg>")
    notebook = copy.deepcopy(sample.notebook)
    spoil(notebook)
    complaints = RULES[name](rewrite(sample, notebook))
    assert any(re.search(message, one) for one in complaints), complaints


def test_a_lesson_of_another_name_is_named(sample):
    page = rewrite(sample, sample.notebook, "98-running.ipynb")
    assert RULES["file_format"](page) == ["a lesson is named NN_topic.ipynb, not 98-running.ipynb"]


def test_a_lesson_without_a_source_is_named(sample):
    page = rewrite(sample, sample.notebook, "97_running_means.ipynb")
    assert "no exercises for lesson '97'" in RULES["exercises"](page)[0]


def test_too_few_exercises_and_no_quiz_are_named(sample, monkeypatch):
    import contextlab.exercises.lesson_98 as source

    monkeypatch.setattr(source, "EXERCISES", source.EXERCISES[:3])
    monkeypatch.setattr(source, "QUIZ", [])
    complaints = " ".join(RULES["exercises"](sample))
    assert "3 exercises; at least 4" in complaints and "no quiz" in complaints
    assert "no exercise 'smooth_twice'" in complaints


def test_a_rule_that_nothing_breaks_is_no_rule():
    assert {name for name, _, _ in SPOILT} == set(RULES)


@pytest.mark.parametrize(
    "source",
    [
        "and/or, 1/2/3, $a/b/c$, `/usr/bin/x`",
        "a/b/c.py",
        "</details>",
        "3 m/s/kg",
        "[x](../a/b.md)",
    ],
)
def test_what_looks_like_a_path_but_is_none(sample, source):
    text(sample.notebook, source)
    assert RULES["no_absolute_paths"](sample) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("two words", 2),
        ("$x$ and $$y = z$$ and `code`", 2),
        ("![not this](a.png) [this](b.md)", 1),
        ("```python\nnot this\n```\nthis", 1),
        ("<details><summary>Hint</summary>not this</details> this", 1),
        ("Laplace's half-width is 3", 3),
    ],
)
def test_words_are_counted_as_prose(source, count):
    assert len(words(new_markdown_cell(source))) == count
