"""Lessons as files: cells made from their single source, and outputs made by a clean execution.

An author writes `# %% exercise: NAME`, `# %% quiz` and `# %% navigation` where these cells belong;
`sync` puts the cells there and keeps them equal to their source. `refresh` executes a lesson and
stores what it prints; `shrink` makes its figures small.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from contextlab.exercises._core import Exercise, find, lesson
from contextlab.views import shrunk

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# what differs from run to run although nothing has changed; tests/sanitize.cfg holds the same
VOLATILE = (
    (r"0x[0-9a-fA-F]{6,}", "0xADDRESS"),
    (r"""[^\s"']*ipykernel_\d+[\\/]\d+\.py""", "CELL"),
)


def read(path: Path | str) -> NotebookNode:
    """The notebook at `path`, in format 4.5."""
    return nbformat.read(path, as_version=4)


def number_of(path: Path | str) -> str:
    """The lesson's number, from its file name `NN_topic.ipynb`."""
    match = re.match(r"(\d\d)_\w+\.ipynb$", Path(path).name)
    if match is None:
        raise ValueError(f"a lesson is named NN_topic.ipynb, got {Path(path).name!r}")
    return match[1]


def title_of(notebook: NotebookNode) -> str:
    """The text of the first heading."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (
            match := re.search(r"^# (.+)$", cell.source, re.MULTILINE)
        ):
            return match[1].strip()
    raise ValueError("the notebook has no title: a markdown line that starts with '# '")


def exercise_cells(exercise: Exercise) -> list[NotebookNode]:
    """The four cells of an exercise: prompt, stub, check, help."""
    names = [one.name for one in lesson(exercise.lesson).exercises]
    head = f"### Exercise {int(exercise.lesson)}.{names.index(exercise.name) + 1}: {exercise.title}"
    parts = {
        "prompt": new_markdown_cell(f"{head}\n\n{exercise.prompt}"),
        "stub": new_code_cell(exercise.stub),
        "check": new_code_cell(
            f'{exercise.defines} = exercises.check("{exercise.name}", {exercise.defines})'
        ),
        "help": new_markdown_cell(
            f"<details><summary>Hint</summary>\n\n{exercise.hint}\n\n</details>\n\n"
            f"<details><summary>{exercise.called}</summary>\n\n"
            f"```python\n{exercise.solution}\n```\n\n</details>"
        ),
    }
    for part, cell in parts.items():
        cell.metadata["contextlab"] = {"exercise": exercise.name, "part": part}
    return list(parts.values())


def quiz_cells(number: str) -> list[NotebookNode]:
    """The quiz as a widget, and its static twin: the same questions with folded answers."""
    text = ["The same questions on paper:"]
    for place, question in enumerate(lesson(number).quiz):
        choices = "\n".join(
            f"{chr(97 + index)}. {choice}" for index, choice in enumerate(question.choices)
        )
        choices = re.sub(r"^([a-z])\. ", r"- (\1) ", choices, flags=re.MULTILINE)
        answer = f"({chr(97 + question.answer)}) {question.why}"
        text.append(
            f"**{place + 1}.** {question.text}\n\n{choices}\n\n"
            f"<details><summary>Answer</summary>\n\n{answer}\n\n</details>"
        )
    cells = [new_code_cell(f'exercises.quiz("{number}")'), new_markdown_cell("\n\n".join(text))]
    for part, cell in zip(("widget", "questions"), cells):
        cell.metadata["contextlab"] = {"quiz": number, "part": part}
    return cells


def navigation_cells(path: Path | str) -> list[NotebookNode]:
    """One cell that links the lessons before and after this one in its folder."""
    path = Path(path)
    files = sorted({*path.parent.glob("[0-9][0-9]_*.ipynb"), path})
    place = files.index(path)
    links = ["Previous: this is the first lesson", "Next: this is the last lesson so far"]
    if place > 0:
        links[0] = f"Previous: [{title_of(read(files[place - 1]))}]({files[place - 1].name})"
    if place + 1 < len(files):
        links[1] = f"Next: [{title_of(read(files[place + 1]))}]({files[place + 1].name})"
    cell = new_markdown_cell(" | ".join(links))
    cell.metadata["contextlab"] = {"part": "navigation"}
    return [cell]


def sync(notebook: NotebookNode, path: Path | str) -> NotebookNode:
    """A copy whose generated cells equal their source; outputs of cells that did not change stay.

    Args:
        notebook: the lesson; placeholders and generated cells may be mixed.
        path: where it stands, `.../NN_topic.ipynb`.

    Returns:
        The notebook with generated cells, normalised metadata and ids that follow from the content.
    """
    fresh = copy.deepcopy(notebook)
    cells: list[NotebookNode] = []
    previous = None
    for cell in fresh.cells:
        key = _key(cell)
        if key is None:
            cells.append(cell)
        elif key != previous or key == "navigation" or _placeholder(cell):
            cells += _keep_outputs(list(_generated(key, path)), fresh.cells)
        previous = key
    fresh.cells = cells
    return normalise(fresh)


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Leave nothing in the notebook that depends on who saved it; in place; returns it."""
    metadata = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    notebook.metadata = nbformat.from_dict(metadata)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: set[str] = set()
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in ("contextlab", "tags") if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        while digest in seen:
            digest = hashlib.sha256(digest.encode()).hexdigest()[:8]
        seen.add(digest)
        cell["id"] = digest
        for output in cell.get("outputs", []):
            _sanitise(output)
    return notebook


def solved(notebook: NotebookNode) -> NotebookNode:
    """A copy in which every stub is replaced by the reference solution."""
    fresh = copy.deepcopy(notebook)
    for cell in fresh.cells:
        mark = cell.metadata.get("contextlab", {})
        if mark.get("part") == "stub":
            cell.source = find(mark["exercise"]).solution
    return fresh


def stripped(notebook: NotebookNode) -> NotebookNode:
    """A copy without outputs and counts."""
    fresh = copy.deepcopy(notebook)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return fresh


def kernel_environment(home: Path | str, budget: str = "quick") -> dict[str, str]:
    """The environment in which lessons are executed for their stored outputs and by the tests.

    One thread and no GPU, so that digits agree from machine to machine; an own home folder, so that
    nobody's runs and progress show in a lesson.
    """
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("MPLBACKEND", "CONTEXTLAB_RUNS")
    }
    return environment | {
        "CONTEXTLAB_HOME": str(home),
        "CONTEXTLAB_BUDGET": budget,
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "KINETO_LOG_LEVEL": "99",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def execute(
    notebook: NotebookNode, folder: Path | str, *, environment: dict[str, str], timeout: int = 1800
) -> NotebookNode:
    """A copy, executed from the first cell to the last in a new kernel that works in `folder`.

    Raises:
        RuntimeError: naming the cell that failed, with its source and the error.
    """
    fresh = copy.deepcopy(notebook)
    client = NotebookClient(
        fresh,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        raise RuntimeError(f"a cell of the lesson failed.\n{error}") from error
    return normalise(fresh)


def refresh(path: Path | str) -> NotebookNode:
    """The lesson at `path`, generated cells from their source, outputs from a clean execution."""
    path = Path(path).absolute()
    with tempfile.TemporaryDirectory(prefix="contextlab-") as home:
        made = execute(sync(read(path), path), path.parent, environment=kernel_environment(home))
    return shrink(made)


def shrink(notebook: NotebookNode) -> NotebookNode:
    """A copy whose figures look the same in fewer bytes; done twice it changes nothing more."""
    fresh = copy.deepcopy(notebook)
    for cell in fresh.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                picture = shrunk(base64.b64decode(data["image/png"]))
                data["image/png"] = base64.b64encode(picture).decode("ascii")
    return fresh


def stale(old: NotebookNode, new: NotebookNode) -> list[int]:
    """Places of the cells whose source or (untagged) outputs differ; pictures by their alt text."""
    if len(old.cells) != len(new.cells):
        return list(range(min(len(old.cells), len(new.cells)), max(len(old.cells), len(new.cells))))
    return [
        place
        for place, pair in enumerate(zip(old.cells, new.cells))
        if _text(pair[0]) != _text(pair[1])
    ]


def write(notebook: NotebookNode, path: Path | str) -> bool:
    """Store the notebook if it differs from what is there; whether it did."""
    text = nbformat.writes(notebook) + "\n"
    path = Path(path)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8", newline="\n")
    return True


def _key(cell: NotebookNode) -> str | None:
    """Which generated block a cell belongs to: "exercise NAME", "quiz", "navigation", or None."""
    mark = cell.metadata.get("contextlab", {})
    if "exercise" in mark:
        return f"exercise {mark['exercise']}"
    if "quiz" in mark:
        return "quiz"
    if mark.get("part") == "navigation":
        return "navigation"
    text = _placeholder(cell)
    return re.sub(r":\s*", " ", text) if text else None


def _placeholder(cell: NotebookNode) -> str:
    text = cell.source.strip().lstrip("# ") or str(cell.metadata.get("title", ""))
    return text if re.fullmatch(r"exercise:\s*\w+|quiz|navigation", text) else ""


def _generated(key: str, path: Path | str) -> Iterator[NotebookNode]:
    if key == "quiz":
        yield from quiz_cells(number_of(path))
    elif key == "navigation":
        yield from navigation_cells(path)
    else:
        yield from exercise_cells(find(key.removeprefix("exercise ")))


def _keep_outputs(new: list[NotebookNode], old: list[NotebookNode]) -> list[NotebookNode]:
    for cell in new:
        for other in old if cell.cell_type == "code" else ():
            if (other.cell_type, other.source) == ("code", cell.source) and _key(other) == _key(
                cell
            ):
                cell.outputs, cell.execution_count = other.outputs, other.execution_count
    return new


def _sanitise(output: NotebookNode) -> None:
    for pattern, text in VOLATILE:
        if isinstance(output.get("text"), str):
            output.text = re.sub(pattern, text, output.text)
        for kind, value in output.get("data", {}).items():
            if kind.startswith("text/") and isinstance(value, str):
                output.data[kind] = re.sub(pattern, text, value)


def _text(cell: NotebookNode) -> list:
    shown = [cell.cell_type, cell.source]
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        return shown
    for output in cell.get("outputs", []):
        data = {
            key: value for key, value in output.get("data", {}).items() if key.startswith("text/")
        }
        alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
        shown.append(
            (output.output_type, output.get("text", ""), output.get("evalue", ""), data, alt)
        )
    return shown
