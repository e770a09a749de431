"""A lesson on the disk, and how the rules read it."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode

from contextlab.exercises import _notebook

ROOT = Path(__file__).parents[2]
LESSONS = ROOT / "lessons"
VOLATILE = Path(__file__).parent / "volatile"


@dataclass(frozen=True)
class Page:
    """A lesson on the disk."""

    path: Path
    volatile_folder: Path = VOLATILE

    @property
    def number(self) -> str:
        return self.path.name[:2]

    @cached_property
    def notebook(self) -> NotebookNode:
        return _notebook.read(self.path)

    @property
    def cells(self) -> list[NotebookNode]:
        return self.notebook.cells

    def code(self) -> Iterator[tuple[int, NotebookNode]]:
        return ((i, cell) for i, cell in enumerate(self.cells) if cell.cell_type == "code")

    def markdown(self) -> Iterator[tuple[int, NotebookNode]]:
        return ((i, cell) for i, cell in enumerate(self.cells) if cell.cell_type == "markdown")

    def outputs(self) -> Iterator[tuple[int, NotebookNode, NotebookNode]]:
        return ((i, cell, output) for i, cell in self.code() for output in cell.outputs)


def pages(folder: Path = LESSONS) -> list[Page]:
    """The lessons in reading order."""
    return [Page(path) for path in sorted(folder.glob("*.ipynb"))]


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def plain(source: str) -> str:
    """Markdown without code and formulas."""
    source = re.sub(r"^(```|~~~).*?^\1[^\n]*$", " ", source, flags=re.MULTILINE | re.DOTALL)
    source = re.sub(r"\$\$.*?\$\$", " ", source, flags=re.DOTALL)
    return re.sub(r"(?<!\\)\$[^$\n]*?(?<!\\)\$|`[^`\n]+`", " ", source)


def prose(source: str) -> str:
    """The running text of a markdown cell: no pictures, addresses, tags or folded parts."""
    source = re.sub(r"<details>.*?</details>", " ", plain(source), flags=re.DOTALL)
    source = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", source)
    source = re.sub(r"\]\([^)]*\)", " ", source)
    return re.sub(r"<[^>\n]+>|https?://\S+", " ", source)


def words(cell: NotebookNode) -> list[str]:
    """The words that count as prose."""
    mark = cell.metadata.get("contextlab", {})
    if "quiz" in mark or mark.get("part") == "navigation":
        return []
    return re.findall(r"[^\W\d_][\w'’-]*", prose(cell.source))


def headings(page: Page) -> list[tuple[int, str]]:
    """The second-level headings, with the place of their cell."""
    found = []
    for place, cell in page.markdown():
        text = re.sub(r"^(```|~~~).*?^\1", "", cell.source, flags=re.MULTILINE | re.DOTALL)
        found += [(place, title.strip()) for title in re.findall(r"^## (.+)$", text, re.MULTILINE)]
    return found


def anchors(notebook: NotebookNode) -> set[str]:
    """What a #link may name: JupyterLab puts hyphens for the blanks of a heading."""
    titles = [
        title
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for title in re.findall(r"^#{1,6} (.+)$", cell.source, re.MULTILINE)
    ]
    return {re.sub(r"[`*]", "", title).strip().replace(" ", "-") for title in titles}


def pictures(cell: NotebookNode) -> list[tuple[str, str]]:
    """(alt text, file) of every picture in a markdown cell."""
    text = plain(cell.source)
    found = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)", text)
    for tag in re.findall(r"<img\b[^>]*>", text):
        parts = dict(re.findall(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']", tag))
        found.append((parts.get("alt", ""), parts.get("src", "")))
    return found


def targets(cell: NotebookNode) -> list[str]:
    """Everything that a markdown cell links to or shows, other than web addresses."""
    text = plain(cell.source)
    found = re.findall(r"\]\(\s*([^)\s]*)[^)]*\)", text)
    found += re.findall(r"(?:href|src)\s*=\s*[\"']([^\"']*)[\"']", text)
    found += re.findall(r"^\s*\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    return [target for target in found if not re.match(r"https?://", target)]


def dead(page: Page, target: str) -> str:
    """Why a link within the project leads nowhere; empty when it is alive."""
    file, _, anchor = unquote(target).partition("#")
    if not target or re.match(r"[a-z]+:|/|\\", file):
        return "not a relative link"
    path = (page.path.parent / file).resolve() if file else page.path.resolve()
    if not path.is_relative_to(page.path.parent.resolve().parent):
        return "leads out of the project"
    if not path.exists():
        return "does not exist"
    if anchor and path.suffix == ".ipynb" and anchor not in anchors(_notebook.read(path)):
        return "has no such heading"
    return ""


def static(cell: NotebookNode) -> bool:
    """Whether this cell shows a picture, or the quiz as text, on a page without a kernel."""
    if cell.cell_type == "markdown":
        quiz = cell.metadata.get("contextlab", {}).get("part") == "questions"
        return quiz or bool(pictures(cell))
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def texts(page: Page) -> Iterator[tuple[int, NotebookNode, str]]:
    """Every text that stands in the outputs."""
    for place, cell, output in page.outputs():
        values = [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
        values += [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
        yield from ((place, cell, value) for value in values if isinstance(value, str) and value)


def importable() -> set[str]:
    """What a lesson may import: the standard library, contextlab, and its declared packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["full"], *extras["notebooks"]]
    names = {normal(re.match(r"[\w.-]+", line)[0]) for line in declared}
    third = {
        module
        for module, distributions in packages_distributions().items()
        if names & {normal(one) for one in distributions}
    }
    return third | set(sys.stdlib_module_names) | {"contextlab"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
