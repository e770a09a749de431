"""The lessons in JupyterLab in a real (headless) browser: they open, run, and their widgets answer.

Chromium is found by name or by $CHROMIUM; screenshots go to $CONTEXTLAB_SHOTS if it is set.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from contextlab.exercises import _notebook, lesson
from tests.browser.trials import TRIALS
from tests.lessons.page import LESSONS, pages, tags

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]
TOKEN = "contextlab"
KINDS = ("application/vnd.jupyter.stderr", "application/vnd.jupyter.error")
ERRORS = ", ".join(f'[data-mime-type="{kind}"]' for kind in KINDS)
SETTINGS = {  # no dialog in the way, and every cell in the page, even off screen
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
}
# the first lesson always, and every lesson with a widget of its own
OPENED = [page for page in pages() if page.number in {"00", *(trial.lesson for trial in TRIALS)}]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it or set $CHROMIUM"),
    pytest.mark.timeout(600),
]


class Lab:
    """A JupyterLab server over a copy of the lessons."""

    def __init__(self, root: Path):
        self.root = root
        shutil.copytree(LESSONS, root / "lessons", ignore=shutil.ignore_patterns(".*"))
        # without stored outputs and counts: what is seen then was made here
        for path in (root / "lessons").glob("*.ipynb"):
            _notebook.write(_notebook.stripped(_notebook.read(path)), path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for plugin, values in SETTINGS.items():
            file = root / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        environment = _notebook.kernel_environment(root / "home") | {
            "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces"),
            "JUPYTER_CONFIG_DIR": str(root / "config"),
        }
        options = [
            "--allow-root",
            "--ip=127.0.0.1",
            "--no-browser",
            f"--port={self.port}",
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={root}",
            "--ServerApp.port_retries=0",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
        ]
        self.log = (root / "lab.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={TOKEN}"

    def ask(self, path: str):
        with urllib.request.urlopen(self.address(path), timeout=5) as answer:
            return json.load(answer)

    def wait_until_up(self) -> None:
        end = time.monotonic() + 120
        while True:
            try:
                self.ask("api")
                return
            except OSError:
                said = (self.root / "lab.log").read_text()[-3000:]
                assert self.process.poll() is None, said
                assert time.monotonic() < end, said
                time.sleep(0.2)

    def stop(self) -> None:
        if os.name == "posix":  # twice: the server asks back once
            self.process.send_signal(signal.SIGINT)
            self.process.send_signal(signal.SIGINT)
        else:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    server = Lab(tmp_path_factory.mktemp("lab"))
    try:
        server.wait_until_up()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def shots(tmp_path):
    folder = Path(os.environ.get("CONTEXTLAB_SHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_and_run(lab, browser, name):
    """The page of a lesson after Run All Cells, and the errors that its scripts raised."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    local = f"http://127.0.0.1:{lab.port}/", "data:", "blob:"

    def only_local(route):
        route.continue_() if route.request.url.startswith(local) else route.abort()

    page.route("**/*", only_local)
    page.goto(lab.address(f"lab/tree/lessons/{name}") + "&reset", wait_until="domcontentloaded")
    notebook = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    notebook.locator(".jp-CodeCell").first.wait_for(timeout=120_000)
    wait_for_kernel(lab, page, name)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return page, notebook, errors


def wait_for_kernel(lab, page, name):
    # before a kernel is attached and idle, Run All Cells would open a dialog
    end = time.monotonic() + 120
    while True:
        own = [one for one in lab.ask("api/sessions") if one["path"].endswith(name)]
        if any(one["kernel"]["execution_state"] == "idle" for one in own):
            break
        assert time.monotonic() < end, "no kernel after two minutes"
        page.wait_for_timeout(100)
    idle = page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first
    idle.wait_for(state="attached", timeout=60_000)


def wait_until_run(notebook, opened):
    """Until all code cells have their count in the margin; fails at an error that is not meant."""
    count = sum(1 for _ in opened.code())
    meant = sum("raises-exception" in tags(cell) for _, cell in opened.code())
    last = notebook.locator(".jp-CodeCell").nth(count - 1).locator(".jp-InputPrompt")
    failed = notebook.locator(ERRORS)
    end = time.monotonic() + 400
    while f"[{count}]" not in last.inner_text().replace(" ", ""):
        assert failed.count() <= meant, failed.last.inner_text()
        assert time.monotonic() < end, "the cells did not finish"
        notebook.page.wait_for_timeout(200)
    assert failed.count() <= meant, failed.last.inner_text()


def state_of(element):
    """What a reader can see of an element: its text and its picture."""
    return element.evaluate("e => [e.innerText, e.src || '', e.querySelector('img')?.src || '']")


def operate(notebook, trial):
    """Work a widget as its row in the table says, and wait until what it watches has changed."""
    watched = notebook.locator(trial.watch).first
    watched.scroll_into_view_if_needed()
    before = state_of(watched)
    handle = notebook.locator(trial.operate).first
    handle.scroll_into_view_if_needed()
    if trial.keys:
        handle.focus()
        for key in trial.keys:
            notebook.page.keyboard.press(key)
    else:
        handle.click()
    end = time.monotonic() + 60
    while state_of(notebook.locator(trial.watch).first) == before:
        assert time.monotonic() < end, f"{trial.widget}: {trial.watch} did not change"
        notebook.page.wait_for_timeout(100)


def answer_quiz(notebook, number):
    """Choose the right answer of the first question and read what the quiz says."""
    question = lesson(number).quiz[0]
    group = (
        notebook.locator(".widget-radio").filter(has_text=question.choices[question.answer]).first
    )
    group.scroll_into_view_if_needed()
    group.locator("input").nth(question.answer).click()
    notebook.locator(".widget-htmlmath-content").filter(has_text="Right.").first.wait_for(
        timeout=60_000
    )


@pytest.mark.parametrize("opened", [pytest.param(page, id=page.path.stem) for page in OPENED])
def test_the_lesson_runs_and_its_widgets_answer(lab, browser, shots, opened):
    page, notebook, errors = open_and_run(lab, browser, opened.path.name)
    try:
        wait_until_run(notebook, opened)
        page.screenshot(path=shots / f"{opened.number}_run.png")
        for place, trial in enumerate(t for t in TRIALS if t.lesson == opened.number):
            operate(notebook, trial)
            page.screenshot(path=shots / f"{opened.number}_widget_{place}.png")
        answer_quiz(notebook, opened.number)
        page.screenshot(path=shots / f"{opened.number}_quiz.png")
        assert not errors, errors
    except BaseException:
        page.screenshot(path=shots / f"{opened.number}_failed.png")
        raise
    finally:
        page.close()


def test_every_trial_belongs_to_a_lesson():
    assert {trial.lesson for trial in TRIALS} <= {page.number for page in pages()}
