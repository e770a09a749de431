"""Notebook cells from their single source, and a clean execution."""

import base64

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from contextlab import exercises, views
from contextlab.exercises import _notebook
from contextlab.exercises.__main__ import main


@pytest.fixture
def draft(tmp_path):
    """A lesson as its author hands it over: placeholders where the generated cells belong."""

    def placeholder(title):
        return new_code_cell("", metadata={"title": title})

    folder = tmp_path / "lessons"
    folder.mkdir()
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("# 97 · Before")]), folder / "97_before.ipynb"
    )
    path = folder / "98_running_means.ipynb"
    cells = [
        new_markdown_cell("# 98 · Running means"),
        placeholder("navigation"),
        new_code_cell("import torch\nfrom torch import nn\n\nfrom contextlab import exercises"),
        placeholder("exercise: hops"),
        placeholder("exercise: running_mean"),
        new_code_cell("print(hops, running_mean(torch.arange(4.0), 2).tolist())"),
        new_code_cell("# quiz"),
        placeholder("navigation"),
    ]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def parts(notebook):
    marks = [cell.metadata.get("contextlab", {}) for cell in notebook.cells]
    return [
        mark.get("exercise", mark.get("quiz", "")) + " " + mark["part"] for mark in marks if mark
    ]


def test_sync_puts_the_cells_where_the_placeholders_were(draft):
    notebook = _notebook.sync(_notebook.read(draft), draft)
    nbformat.validate(notebook)
    assert parts(notebook) == [
        " navigation",
        *(f"hops {part}" for part in ("prompt", "stub", "check", "help")),
        *(f"running_mean {part}" for part in ("prompt", "stub", "check", "help")),
        "98 widget",
        "98 questions",
        " navigation",
    ]
    by_part = dict(zip(parts(notebook), (c for c in notebook.cells if "contextlab" in c.metadata)))
    assert by_part["running_mean prompt"].source.startswith(
        "### Exercise 98.2: Running mean\n\nWrite"
    )
    assert by_part["running_mean stub"].source == exercises.find("running_mean").stub
    check = by_part["running_mean check"].source
    assert check == 'running_mean = exercises.check("running_mean", running_mean)'
    help_cell = by_part["running_mean help"].source
    assert help_cell.count("<details>") == help_cell.count("</details>") == 2
    assert f"```python\n{exercises.find('running_mean').solution}\n```" in help_cell
    assert "<details><summary>Answer</summary>\n\n(b) So many" in by_part["98 questions"].source


def test_sync_twice_changes_nothing(draft):
    once = _notebook.sync(_notebook.read(draft), draft)
    assert _notebook.sync(once, draft) == once
    assert len({cell.id for cell in once.cells}) == len(once.cells)


def test_sync_repairs_an_edited_cell_and_keeps_the_outputs_of_the_others(draft):
    notebook = _notebook.sync(_notebook.read(draft), draft)
    stub, check = (c for c in notebook.cells if parts_of(c) in ("hops stub", "hops check"))
    stub.source = "hops = 3"
    check.outputs = [new_output("stream", text="Solved.\n")]
    check.execution_count = 7
    fresh = _notebook.sync(notebook, draft)
    cells = {parts_of(cell): cell for cell in fresh.cells}
    assert cells["hops stub"].source == "hops = ..."
    assert cells["hops check"].outputs == check.outputs
    assert cells["hops check"].execution_count == 7
    assert len(_notebook.stale(notebook, fresh)) == 1


def parts_of(cell):
    mark = cell.metadata.get("contextlab", {})
    return f"{mark.get('exercise', '')} {mark.get('part', '')}"


def test_navigation_links_the_neighbours_that_exist(draft):
    source = _notebook.navigation_cells(draft)[0].source
    assert (
        source == "Previous: [97 · Before](97_before.ipynb) | Next: this is the last lesson so far"
    )
    first = _notebook.navigation_cells(draft.parent / "97_before.ipynb")[0].source
    assert "this is the first lesson | Next: [98 · Running means](98_running_means.ipynb)" in first


def test_metadata_of_whoever_saved_it_goes(draft):
    notebook = _notebook.read(draft)
    notebook.metadata = {"kernelspec": {"name": "mine"}, "widgets": {"a": 1}, "toc": 1}
    notebook.cells[0].metadata = {"collapsed": True, "tags": ["raises-exception"]}
    fresh = _notebook.sync(notebook, draft)
    assert fresh.metadata.kernelspec.name == "python3"
    assert set(fresh.metadata) == {"kernelspec", "language_info"}
    assert fresh.cells[0].metadata == {"tags": ["raises-exception"]}


def test_addresses_and_kernel_files_are_taken_out_of_outputs():
    path = "/some/where/ipykernel_12/345.py:3: UserWarning"
    cell = new_code_cell(
        "f", outputs=[new_output("execute_result", {"text/plain": "<f at 0x7f12ab34cd>"})]
    )
    cell.outputs.append(new_output("stream", text=path))
    _notebook.normalise(new_notebook(cells=[cell]))
    assert cell.outputs[0].data["text/plain"] == "<f at 0xADDRESS>"
    assert cell.outputs[1].text == "CELL:3: UserWarning"


def test_solved_replaces_every_stub(draft):
    notebook = _notebook.solved(_notebook.sync(_notebook.read(draft), draft))
    stubs = [cell.source for cell in notebook.cells if parts_of(cell).endswith("stub")]
    assert stubs == [exercises.find(name).solution for name in ("hops", "running_mean")]


def test_stripped_leaves_neither_outputs_nor_counts():
    cell = new_code_cell("1", execution_count=3, outputs=[new_output("stream", text="1")])
    notebook = new_notebook(cells=[new_markdown_cell("text"), cell])
    bare = _notebook.stripped(notebook)
    assert (bare.cells[1].outputs, bare.cells[1].execution_count) == ([], None)
    assert notebook.cells[1].execution_count == 3


def test_a_file_that_is_not_named_like_a_lesson_is_refused():
    with pytest.raises(ValueError, match="NN_topic"):
        _notebook.number_of("running.ipynb")
    with pytest.raises(ValueError, match="no title"):
        _notebook.title_of(new_notebook())


def test_the_kernel_sees_an_own_home_one_thread_and_no_shipped_folder(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("CONTEXTLAB_RUNS", "elsewhere")
    environment = _notebook.kernel_environment("home", "smoke")
    assert "MPLBACKEND" not in environment and "CONTEXTLAB_RUNS" not in environment
    assert environment["CONTEXTLAB_HOME"] == "home" and environment["CONTEXTLAB_BUDGET"] == "smoke"
    assert environment["OMP_NUM_THREADS"] == "1"


def test_stale_sees_text_and_alt_but_neither_bytes_nor_volatile_cells():
    def notebook(text="a", alt="b", png="c", seen="d"):
        figure = new_output(
            "display_data", {"image/png": png}, metadata={"image/png": {"alt": alt}}
        )
        cells = [
            new_code_cell("1", outputs=[new_output("stream", text=text), figure]),
            new_code_cell("2", outputs=[new_output("stream", text=seen)]),
        ]
        cells[1].metadata["tags"] = ["nbval-ignore-output"]
        return new_notebook(cells=cells)

    assert _notebook.stale(notebook(), notebook(png="x", seen="y")) == []
    assert _notebook.stale(notebook(), notebook(text="x")) == [0]
    assert _notebook.stale(notebook(), notebook(alt="x")) == [0]


def test_commands_sync_check_and_refresh(draft, capsys, monkeypatch):
    # the kernel learns of the sample lesson as this process did
    sample = exercises.__path__[-1]
    notebook = _notebook.read(draft)
    notebook.cells[2].source += f"\nexercises.__path__.append({sample!r})"
    nbformat.write(notebook, draft)

    assert main(["check", str(draft)]) == 1
    assert main(["sync", str(draft)]) == 0
    assert main(["sync", str(draft)]) == 0
    assert main(["check", str(draft)]) == 0
    printed = [line.rsplit(" (", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert [line.split(": ")[1] for line in printed[1:]] == ["written", "unchanged", "up to date"]
    assert "are not up to date" in printed[0]

    monkeypatch.chdir(draft.parent)
    assert main(["refresh", "98_*.ipynb"]) == 0
    fresh = _notebook.read(draft)
    code = [cell for cell in fresh.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    texts = [
        output.text for cell in code for output in cell.outputs if output.output_type == "stream"
    ]
    unsolved = "Not solved yet. The reference solution steps in, so that the lesson can go on.\n"
    assert texts == [unsolved, unsolved, "3 [0.5, 1.5, 2.5]\n"]
    assert code[-1].outputs[0].data["text/plain"].startswith("Quiz of lesson 98: 2 questions")
    assert main(["check", "--run", str(draft)]) == 0

    code[-2].outputs[0].text = "4\n"
    nbformat.write(fresh, draft)
    assert main(["check", str(draft)]) == 0
    assert main(["check", "--run", str(draft)]) == 1


def test_shrink_makes_stored_figures_small_and_leaves_the_rest(draft, capsys):
    content = views.png(views.new_figure(1))
    picture = base64.b64encode(content).decode()
    shown = {"image/png": picture, "text/plain": "An empty figure."}
    cell = new_code_cell("show()", outputs=[new_output("display_data", shown)], execution_count=3)
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A"), cell]), draft)
    assert main(["shrink", str(draft)]) == 0 and "written" in capsys.readouterr().out
    (output,) = _notebook.read(draft).cells[1].outputs
    small = base64.b64decode(output.data.pop("image/png"))
    assert small == views.shrunk(content) and len(small) < len(content)
    assert output.data == {"text/plain": "An empty figure."}
    assert _notebook.read(draft).cells[1].execution_count == 3
    assert main(["shrink", str(draft)]) == 0 and "unchanged" in capsys.readouterr().out


def test_a_lesson_that_fails_is_left_as_it_was(draft, capsys):
    notebook = _notebook.read(draft)
    notebook.cells = [notebook.cells[0], new_code_cell("1 / 0")]
    nbformat.write(notebook, draft)
    before = draft.read_text()
    assert main(["refresh", str(draft)]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert draft.read_text() == before


def test_no_lesson_at_all_is_said():
    with pytest.raises(SystemExit, match="no lessons match"):
        main(["sync", "nowhere/*.ipynb"])
