"""Rules about what the reader of a lesson sees: each returns complaints, none when it is obeyed."""

from __future__ import annotations

import base64
import re
from urllib.parse import urlsplit

from contextlab.exercises import _notebook
from contextlab.views import shrunk
from tests.browser.trials import TRIALS
from tests.lessons.page import (
    Page,
    dead,
    headings,
    pictures,
    prose,
    static,
    tags,
    targets,
    words,
)

CELLS, LINES, COLUMNS, WORDS = (35, 80), 40, 88, (1500, 3000)
BYTES, ALT = 2 * 2**20, 15
WIDGET = "application/vnd.jupyter.widget-view+json"
# where a link may lead: identifiers of papers, and the documentation of what the course builds on
HOSTS = {
    "arxiv.org",
    "doi.org",
    "docs.python.org",
    "docs.pytorch.org",
    "einops.rocks",
    "huggingface.co",
    "ipywidgets.readthedocs.io",
    "jupyter.org",
    "jupyterlab.readthedocs.io",
    "lightning.ai",
    "matplotlib.org",
    "numpy.org",
    "pytorch.org",
}
HYPE = {
    "amazing",
    "awesome",
    "blazing",
    "breathtaking",
    "cutting-edge",
    "delve",
    "effortless",
    "effortlessly",
    "exciting",
    "game-changing",
    "groundbreaking",
    "incredible",
    "incredibly",
    "leverage",
    "leverages",
    "magic",
    "magical",
    "magically",
    "powerful",
    "revolutionary",
    "seamless",
    "seamlessly",
    "state-of-the-art",
    "stunning",
    "supercharge",
    "ultimate",
    "unleash",
    "unlock",
    "unlocks",
    "world-class",
}


def size(page: Page) -> list[str]:
    """35 to 80 cells, under 2 MiB."""
    said = []
    if not CELLS[0] <= len(page.cells) <= CELLS[1]:
        said.append(f"{len(page.cells)} cells; a lesson has {CELLS[0]} to {CELLS[1]}")
    if (stored := page.path.stat().st_size) >= BYTES:
        said.append(f"{stored} bytes; a lesson stays under {BYTES}")
    return said


def prose_length(page: Page) -> list[str]:
    """1,500 to 3,000 words, not counting code, formulas, folded parts and the quiz."""
    count = sum(len(words(cell)) for _, cell in page.markdown())
    wrong = not WORDS[0] <= count <= WORDS[1]
    return [f"{count} words; a lesson has {WORDS[0]} to {WORDS[1]}"] if wrong else []


def code_layout(page: Page) -> list[str]:
    """Code cells of at most 40 lines and 88 columns, none of them empty."""
    said = []
    for place, cell in page.code():
        lines = cell.source.splitlines()
        if not cell.source.strip():
            said.append(f"cell {place} is empty")
        if len(lines) > LINES:
            said.append(f"cell {place} has {len(lines)} lines; at most {LINES}")
        for line in lines:
            if len(line) > COLUMNS:
                said.append(f"cell {place} has a line of {len(line)} columns: {line[:40]}...")
    return said


def opening(page: Page) -> list[str]:
    """Title, picture, objectives, time, prerequisites, versions and device in the first cells."""
    said = []
    first = [cell.source for cell in page.cells[:4] if cell.cell_type == "markdown"]
    title = first[0].splitlines()[0] if first else ""
    if page.cells[0].cell_type != "markdown" or not re.match(rf"# {page.number} · \S", title):
        said.append(f"the first cell starts with {title!r}; expected '# {page.number} · Title'")
    if not any(pictures(cell) for cell in page.cells[:3] if cell.cell_type == "markdown"):
        said.append("no picture in the first three cells")
    text = "\n\n".join(first)
    for word in ("Objectives", "Time", "Prerequisites"):
        if f"**{word}.**" not in text:
            said.append(f"**{word}.** does not stand in the first four cells")
    times = [part for part in text.split("\n\n") if "**Time.**" in part]
    for word in ("minute", "CPU", "GPU"):
        if times and word not in times[0]:
            said.append(f"the paragraph **Time.** does not say {word!r}")
    machine = [cell for _, cell in page.code() if "__version__" in cell.source][:1]
    if not any(
        "device" in cell.source and "nbval-ignore-output" in tags(cell) and cell in page.cells[:8]
        for cell in machine
    ):
        said.append("no tagged cell among the first eight prints versions and device")
    return said


def closing(page: Page) -> list[str]:
    """What to remember, the quiz and further reading, in this order, at the end."""
    titles = [title for _, title in headings(page)]
    want = ["What to remember", "Quiz", "Further reading"]
    have = titles[-3:]
    return [] if have == want else [f"the last headings are {have}; expected {want}"]


def navigation(page: Page) -> list[str]:
    """Links to the lessons before and after: within the first three cells and in the last one."""
    source = _notebook.navigation_cells(page.path)[0].source
    said = []
    if not any(cell.source == source for cell in page.cells[:3]):
        said.append(f"none of the first three cells is the navigation: {source}")
    if page.cells[-1].source != source:
        said.append(f"the last cell is not the navigation: {source}")
    return said


def figures(page: Page) -> list[str]:
    """Every figure has alt text that says something; no svg without a title."""
    said = []
    for place, _, output in page.outputs():
        data = output.get("data", {})
        alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
        if "image/png" in data and len(alt.strip()) < ALT:
            said.append(f"the figure of cell {place} has the alt text {alt!r}; use views.show")
        if str(data.get("text/plain", "")).startswith("<Figure"):
            said.append(f"cell {place} shows '<Figure ...>' where pictures are not shown")
        if "image/jpeg" in data or "<img" in str(data.get("text/html", "")):
            said.append(f"cell {place} shows a picture without alt text")
        if "<title" not in str(data.get("image/svg+xml", "<title")):
            said.append(f"the svg of cell {place} has no <title>")
    for place, cell in page.markdown():
        for alt, target in pictures(cell):
            if len(alt.strip()) < ALT:
                said.append(f"cell {place}: {target} has the alt text {alt!r}")
            file = page.path.parent / target
            if (
                target.endswith(".svg")
                and file.exists()
                and "<title" not in file.read_text("utf-8")
            ):
                said.append(f"cell {place}: {target} has no <title>")
        if "<svg" in cell.source and "<title" not in cell.source:
            said.append(f"cell {place}: an svg without <title>")
    return said


def small_figures(page: Page) -> list[str]:
    """Figures are stored in few bytes: nothing is a fifth longer than it need be."""
    return [
        f"the figure of cell {place} has {len(content):,} bytes where {least:,} would do: "
        "python -m contextlab.exercises shrink"
        for place, _, output in page.outputs()
        if "image/png" in output.get("data", {})
        for content in [base64.b64decode(output["data"]["image/png"])]
        if (least := len(shrunk(content))) < 0.8 * len(content)
    ]


def links(page: Page) -> list[str]:
    """Links within the project are relative and alive; others lead to papers and documentation."""
    said = []
    for place, cell in page.markdown():
        for target in targets(cell):
            if problem := dead(page, target):
                said.append(f"cell {place}: {target}: {problem}")
        if cell.get("attachments"):
            said.append(f"cell {place} has an attachment; put the picture beside the lessons")
    for place, cell in enumerate(page.cells):
        for address in re.findall(r"\bhttps?://[^\s)>\]\"'`]+", cell.source):
            parts = urlsplit(address.rstrip(".,;"))
            if parts.scheme != "https" or parts.hostname not in HOSTS or parts.path in ("", "/"):
                said.append(
                    f"cell {place}: {address}: not an https page of {', '.join(sorted(HOSTS))}"
                )
            elif parts.hostname == "huggingface.co" and not parts.path.startswith("/docs/"):
                said.append(f"cell {place}: {address}: only its documentation")
    return said


def plain_words(page: Page) -> list[str]:
    """No hype."""
    said = []
    for place, cell in page.markdown():
        text = prose(cell.source).lower()
        found = [word for word in sorted(HYPE) if re.search(rf"(?<![\w-]){word}(?![\w-])", text)]
        said += [f"cell {place} says {word!r}" for word in found]
    return said


def widgets(page: Page) -> list[str]:
    """A widget has a static twin close by, one line where no kernel is, and a browser trial."""
    said, count = [], 0
    for place, cell, output in page.outputs():
        if WIDGET not in output.get("data", {}):
            continue
        is_quiz = "quiz" in cell.metadata.get("contextlab", {})
        count += not is_quiz
        near = page.cells[place : place + 3]
        if not any(static(one) for one in near):
            said.append(f"the widget of cell {place} has no picture or text in the two cells below")
        plain = str(output.data.get("text/plain", ""))
        if "children=" in plain or len(plain) > 200:
            said.append(f"the widget of cell {place} reads {plain[:50]!r} without a kernel")
    tried = sum(trial.lesson == page.number for trial in TRIALS)
    if tried < count:
        said.append(f"{count} widgets, but {tried} rows in tests/browser/trials.py")
    return said
