"""Rules about what the cells of a lesson do: each returns complaints, none when it is obeyed."""

from __future__ import annotations

import ast
import io
import itertools
import re
import tokenize
import tomllib

import nbformat

from contextlab.exercises import _notebook, lesson
from tests.lessons.page import Page, importable, plain, tags, texts

EXERCISES, VOLATILE_CELLS = 4, 6
TAGS = {"nbval-ignore-output", "raises-exception"}
# what stands on one machine only: /two/parts, ~/home, C:\, file://; not a fraction, not a tag
ABSOLUTE = re.compile(
    r"(?<![\w.)\]}>:/<$\\~-])/(?:(?:[\w.-]+/)+[\w.-]+|(?:tmp|root|home|usr|var|opt|mnt|etc|Users)\b)"
    r"|(?<![\w/])~/\w|\b[A-Za-z]:\\\\?\w|\bfile://"
)
PROGRESS = re.compile(r"\d+%\|| ?\d+(?:\.\d+)?(?:it/s|s/it)\b|\r(?!\n)|\x1b\[\d*[A-K]")
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}|\b0xADDRESS\b|ipykernel_\d+")


def executed(page: Page) -> list[str]:
    """Every code cell was run, in order."""
    counts = [cell.execution_count for _, cell in page.code()]
    if counts == list(range(1, len(counts) + 1)):
        return []
    wrong = next(i for i, count in enumerate(counts) if count != i + 1)
    return [f"code cell {wrong + 1} has the count {counts[wrong]}: run make lessons"]


def no_errors(page: Page) -> list[str]:
    """No error in the outputs, nothing on stderr; an error shown on purpose is tagged."""
    said = []
    for place, cell, output in page.outputs():
        tagged = "raises-exception" in tags(cell)
        if output.output_type == "error" and not tagged:
            said.append(f"cell {place} ends with {output.ename}: {output.evalue}")
        if output.get("name") == "stderr":
            said.append(f"cell {place} writes to stderr: {output.text[:60]!r}")
    for place, cell in page.code():
        if "raises-exception" in tags(cell) and "error" not in [
            o.output_type for o in cell.outputs
        ]:
            said.append(f"cell {place} is tagged raises-exception and raises none")
    return said


def stable_outputs(page: Page) -> list[str]:
    """No progress bars and no addresses in what is printed."""
    said = []
    for place, _, text in texts(page):
        if PROGRESS.search(text):
            said.append(f"cell {place} shows a progress bar")
        if ADDRESS.search(text):
            said.append(f"cell {place} prints the address of an object")
    return said


def known_tags(page: Page) -> list[str]:
    """Only the tags that the checks know."""
    return [
        f"cell {place} has the tag {tag!r}; known are {', '.join(sorted(TAGS))}"
        for place, cell in enumerate(page.cells)
        for tag in tags(cell)
        if tag not in TAGS
    ]


def volatile_cells(page: Page) -> list[str]:
    """Cells whose output is not compared are few, and listed with the reason."""
    file = page.volatile_folder / f"{page.number}.toml"
    listed = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    ignored = [cell for _, cell in page.code() if "nbval-ignore-output" in tags(cell)]
    lines = [cell.source.strip().splitlines()[0] for cell in ignored if cell.source.strip()]
    said = [f"not listed in {file.name}: {line}" for line in lines if not listed.get(line)]
    said += [f"{file.name} lists what is not there: {line}" for line in listed if line not in lines]
    if len(ignored) > VOLATILE_CELLS:
        said.append(f"{len(ignored)} cells are not compared; at most {VOLATILE_CELLS}")
    return said


def no_absolute_paths(page: Page) -> list[str]:
    """No path that exists on one machine only, neither in sources nor in outputs."""
    found = [(place, cell.source) for place, cell in page.code()]
    found += [(place, plain(cell.source)) for place, cell in page.markdown()]
    found += [(place, text) for place, _, text in texts(page)]
    return [
        f"cell {place} holds an absolute path: {match[0]!r}"
        for place, text in found
        for match in ABSOLUTE.finditer(re.sub(r"https?://\S+", "", text))
    ]


def imports(page: Page) -> list[str]:
    """Plain Python that imports only what the environment declares for the lessons."""
    allowed = importable()
    said = []
    for place, cell in page.code():
        try:
            tree = ast.parse(cell.source)
        except SyntaxError as error:
            said.append(f"cell {place} is not plain Python: line {error.lineno}: {error.text}")
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "." * node.level]
            else:
                continue
            wrong = [name for name in names if name.split(".")[0] not in allowed]
            said += [f"cell {place} imports {name}" for name in wrong]
    return said


def no_semicolons(page: Page) -> list[str]:
    """No statement ends with a semicolon: it hides outputs in JupyterLab, but not in tests."""
    said = []
    for place, cell in page.code():
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(cell.source).readline))
        except (tokenize.TokenError, SyntaxError):
            continue  # `imports` says that this is not Python
        ends = (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER)
        for token, after in itertools.pairwise(tokens):
            if token.exact_type == tokenize.SEMI and after.type in ends:
                said.append(f"cell {place} ends line {token.start[0]} with a semicolon")
    return said


def exercises(page: Page) -> list[str]:
    """Four exercises or more and a quiz, all of them there once, equal to their source."""
    try:
        part = lesson(page.number)
    except ValueError as error:
        return [str(error)]
    said = []
    if len(part.exercises) < EXERCISES:
        said.append(f"{len(part.exercises)} exercises; at least {EXERCISES}")
    if not part.quiz:
        said.append("no quiz")
    marks = [cell.metadata.get("contextlab", {}) for cell in page.cells]
    shown = [mark["exercise"] for mark in marks if mark.get("part") == "stub"]
    if sorted(shown) != sorted(one.name for one in part.exercises):
        said.append(f"shows the exercises {shown}, has {[one.name for one in part.exercises]}")
    if [mark.get("part") for mark in marks if "quiz" in mark] != ["widget", "questions"]:
        said.append("the quiz does not stand there once")
    try:
        places = _notebook.stale(page.notebook, _notebook.sync(page.notebook, page.path))
    except ValueError as error:
        return [*said, str(error)]
    if places:
        said.append(f"cells {places} differ from their source: python -m contextlab.exercises sync")
    return said


def file_format(page: Page) -> list[str]:
    """A valid notebook, named NN_topic.ipynb, for python3, with nothing of who saved it."""
    said = []
    if not re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", page.path.name):
        said.append(f"a lesson is named NN_topic.ipynb, not {page.path.name}")
    try:
        nbformat.validate(page.notebook)
    except nbformat.ValidationError as error:
        said.append(f"not a valid notebook: {error.message}")
    kernel = page.notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        said.append(f"the kernel is {kernel!r}; expected 'python3'")
    if "widgets" in page.notebook.metadata:
        said.append("holds the state of widgets, which no page shows")
    for place, cell in enumerate(page.cells):
        if extra := set(cell.metadata) - {"contextlab", "tags"}:
            said.append(f"cell {place} has the metadata {sorted(extra)}")
    return said
