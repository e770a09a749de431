"""A lesson that obeys every rule, as small as it can be; each counterexample spoils one thing."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from contextlab.exercises import _notebook
from tests.lessons.page import Page

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
SENTENCE = "A window moves along the values and every position keeps the mean of what it covers. "
MACHINE = 'import torch\n\nprint("device", torch.__version__)'
PROSE = 6  # the place of the first cell of running text


def sample_notebook(path: Path) -> NotebookNode:
    """The notebook, with generated cells in place and outputs as an execution would store them."""

    def placeholder(title: str) -> NotebookNode:
        return new_code_cell("", metadata={"title": title})

    figure = new_output(
        "display_data",
        {"image/png": PIXEL, "text/plain": "A curve and its running mean."},
        metadata={"image/png": {"alt": "A curve and its running mean."}},
    )
    machine = new_code_cell(MACHINE, outputs=[new_output("stream", text="device 2.9\n")])
    machine.metadata["tags"] = ["nbval-ignore-output"]
    cells = [
        new_markdown_cell("# 98 · Running means\n\n![A curve under a window](curve.png)"),
        placeholder("navigation"),
        new_markdown_cell(
            "**Objectives.** After this lesson you can\n- average\n\n"
            "**Time.** 5 minutes; the code runs in 1 minute on a CPU or a GPU.\n\n"
            "**Prerequisites.** Sums; see [what to remember](#What-to-remember)."
        ),
        machine,
        new_code_cell("from contextlab import exercises"),
        new_markdown_cell(
            "## The idea\n\n$y = x$, see [the paper](https://arxiv.org/abs/1706.03762)."
        ),
        *(new_markdown_cell(f"Part {part}. " + SENTENCE * 14) for part in range(8)),
        new_code_cell(
            "x = [1, 2, 3]\nprint(sum(x) / len(x))", outputs=[new_output("stream", text="2.0\n")]
        ),
        new_code_cell("figure = x", outputs=[figure]),
        *(
            placeholder(f"exercise: {name}")
            for name in ("hops", "running_mean", "gate", "smooth_twice")
        ),
        new_markdown_cell("## What to remember\n\n" + SENTENCE),
        new_markdown_cell("## Quiz"),
        placeholder("quiz"),
        new_markdown_cell("## Further reading\n\n[Means](https://doi.org/10.1000/182)"),
        placeholder("navigation"),
    ]
    notebook = _notebook.sync(new_notebook(cells=cells), path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        if cell.metadata.get("contextlab", {}).get("part") == "widget":
            data = {
                "text/plain": "Quiz.",
                "application/vnd.jupyter.widget-view+json": {"model_id": "1"},
            }
            cell.outputs = [new_output("execute_result", data, execution_count=count)]
    return notebook


def write_sample(folder: Path) -> Page:
    """The sample lesson in `folder`/lessons, with its picture and its list of volatile cells."""
    lessons = folder / "lessons"
    lessons.mkdir(parents=True)
    path = lessons / "98_running_means.ipynb"
    (lessons / "curve.png").write_bytes(b"")
    (folder / "98.toml").write_text("'import torch' = 'the version differs'\n", encoding="utf-8")
    nbformat.write(sample_notebook(path), path)
    return Page(path, volatile_folder=folder)


def rewrite(page: Page, notebook: NotebookNode, name: str = "") -> Page:
    """The page again, with this notebook, under another name if one is given."""
    path = page.path.with_name(name) if name else page.path
    if name:
        shutil.move(page.path, path)
    nbformat.write(notebook, path)
    return Page(path, volatile_folder=page.volatile_folder)
