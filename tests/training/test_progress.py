import io
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient

from contextlab.training import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(progress, "_kernel", lambda: None)


def test_a_terminal_is_watched_and_a_file_is_not(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert progress.watched()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not progress.watched()


@pytest.mark.parametrize("value, watched", [("true", False), ("1", False), ("0", True), ("", True)])
def test_ci_is_quiet_even_on_a_terminal(monkeypatch, value, watched):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("CI", value)
    assert progress.watched() is watched


@pytest.mark.parametrize("person", [True, False])
def test_a_notebook_is_watched_where_a_person_can_answer(monkeypatch, person):
    monkeypatch.setattr(progress, "_kernel", lambda: SimpleNamespace(_allow_stdin=person))
    assert progress.watched() is person


def test_an_executed_notebook_gets_no_output():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})",
        "import torch; torch.set_num_threads(1)",
        "from stand_ins import Squares, net",
        "from contextlab.training import Recipe, evaluate, fit",
        "from contextlab.training.progress import _kernel, watched",
        "assert _kernel() is not None and not watched()",
        "assert fit(net(), Squares(), Recipe(steps=2)).finished",
        "metrics = evaluate(net(), Squares())",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\n".join(code))])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert notebook.cells[0].execution_count == 1
    assert notebook.cells[0].outputs == []
