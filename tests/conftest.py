"""Fixtures that the tests share: a project of their own, the sample tables, a browser, a JupyterLab."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no failure
hypothesis.settings.load_profile("any machine")


@pytest.fixture(autouse=True, scope="session")
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's Jupyter, IPython and tdsp settings, and those of `make test`, out of what a test starts."""
    folder = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_CONFIG_DIR", str(folder / "jupyter"))
        patch.setenv("MPLBACKEND", "agg")
        patch.setenv("TDSP_TRACK", "0")  # a test that sends runs to MLflow says so
        patch.setenv("TDSP_FRESH", "1")  # a test that reuses stages says so
        for name in ("TDSP_PROJECT", "MLFLOW_TRACKING_URI", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public sample tables beside the clone; the test is skipped where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no sample tables in {folder}")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder of the test's own: copies of the stage notebooks and the parameters, and no outputs yet."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    for notebook in ROOT.glob("notebooks/*.ipynb"):
        shutil.copy(notebook, folder / "notebooks")
    shutil.copytree(ROOT / "parameters", folder / "parameters")
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without a row, made once: making them takes seconds."""
    from tdsp.registry import tracking

    outputs = tmp_path_factory.mktemp("empty")
    tracking.open_client(outputs).search_experiments(max_results=1)
    return outputs / "mlflow.db"


@pytest.fixture
def outputs(tmp_path: Path, empty_database: Path) -> Path:
    """A folder of runs of its own, with an empty database."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


def _unavailable(reason: str) -> None:
    """Skip the test, or fail it where a browser was promised."""
    if os.environ.get("TDSP_REQUIRE_BROWSER"):
        pytest.fail(f"TDSP_REQUIRE_BROWSER is set, and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")  # not the session: while it is open, no other test could start an event loop
def browser() -> Iterator[Any]:
    """Debian's Chromium, or the one that CHROMIUM names, held by Playwright."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which(os.environ.get("CHROMIUM") or "chromium")
    if not chromium:
        _unavailable("there is no chromium: apt install chromium, or name one in CHROMIUM")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to start for root
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        yield opened
        opened.close()


@dataclass(slots=True)
class Visit:
    """A page that was opened, and what it did that a report must not do."""

    page: Any
    requests: list[str] = field(default_factory=list)  # anything fetched beside the page itself and data: URIs
    errors: list[str] = field(default_factory=list)  # console errors, scripts that failed, breaches of the CSP

    @property
    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Open a local HTML file as `visit(path, width=390, scheme="dark")`, each time in a browser context of its own."""
    contexts = []

    def open_page(path: Path, *, width: int = 1280, scheme: str = "light") -> Visit:
        url = Path(path).resolve().as_uri()
        contexts.append(browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme))
        seen = Visit(contexts[-1].new_page())
        seen.page.on("request", lambda r: r.url == url or r.url.startswith("data:") or seen.requests.append(r.url))
        seen.page.on("console", lambda m: m.type == "error" and seen.errors.append(m.text))
        seen.page.on("pageerror", lambda e: seen.errors.append(str(e)))
        seen.page.goto(url, wait_until="load")
        return seen

    yield open_page
    for context in contexts:
        context.close()


# Only here `evaluate` has a time limit: Playwright gives it none, and a dialog of JupyterLab would wait for ever.
@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The accessibility checker axe-core as script text, from npm."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm:
        subprocess.run([npm, "pack", "axe-core@4", "--silent"], cwd=folder, capture_output=True, check=False)
    found = list(folder.glob("axe-core-*.tgz"))
    if not found:
        _unavailable("npm cannot fetch axe-core here")
    with tarfile.open(found[0]) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


RUN_ALL = """async ([path, seconds]) => {
  const app = window.jupyterapp;
  const late = new Promise((_, fail) => setTimeout(() => fail(`${path}: no end after ${seconds} s`), 1000 * seconds));
  const work = async () => {
    await app.restored;
    const panel = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
    await panel.context.ready; await panel.revealed; await panel.sessionContext.ready;
    await app.commands.execute('notebook:run-all-cells');
    await app.commands.execute('docmanager:save');
    return panel.context.model.toJSON().cells.filter(cell => cell.cell_type === 'code');
  };
  return Promise.race([work(), late]);
}"""


@dataclass(slots=True)
class Lab:
    """A JupyterLab in the browser."""

    page: Any

    def run_all(self, notebook: str, *, seconds: int = 240) -> list[dict[str, Any]]:
        """Open a notebook, choose Run All, wait, save; return its code cells with their outputs."""
        return self.page.evaluate(RUN_ALL, [notebook, seconds])


@pytest.fixture
def lab(browser: Any, tmp_path: Path) -> Iterator[Callable[[Path], Lab]]:
    """Serve a folder by JupyterLab as `lab(folder).run_all(notebook)`.

    Give it a copy: JupyterLab saves the notebooks that it runs.
    """
    with contextlib.ExitStack() as stack:

        def open_lab(folder: Path) -> Lab:
            address, token = stack.enter_context(_lab_server(folder, tmp_path))
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            stack.callback(page.close)
            page.goto(f"{address}/lab?reset&token={token}")
            page.wait_for_function("window.jupyterapp?.commands", timeout=120_000)
            return Lab(page)

        yield open_lab


@contextlib.contextmanager
def _lab_server(folder: Path, scratch: Path) -> Iterator[tuple[str, str]]:
    """Yield address and token of a JupyterLab with settings of its own; it is ended by its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = scratch / "jupyter" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}  # the question about news would cover the page
    settings.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": quiet}))
    token = secrets.token_hex(16)  # in the environment: arguments show in the process list
    variables = {
        "JUPYTER_CONFIG_DIR": "jupyter",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "set",
        "JUPYTERLAB_WORKSPACES_DIR": "spaces",
    }
    env = os.environ | {k: str(scratch / v) for k, v in variables.items()} | {"JUPYTER_TOKEN": token}
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    options += ["--no-browser", "--ServerApp.ip=127.0.0.1", "--LabApp.expose_app_in_browser=True"]
    options += ["--LabApp.extension_manager=readonly"] + ["--allow-root"] * (os.geteuid() == 0)
    log = scratch / "lab.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_up(f"{address}/api/status?token={token}", server, log)
        yield address, token
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = monotonic() + 60
    while monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        sleep(0.2)
    pytest.fail("JupyterLab did not start:\n" + log.read_text()[-3000:])
