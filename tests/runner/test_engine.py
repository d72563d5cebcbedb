"""The papermill engine: what the executed notebook says after each kind of end."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil

from tdsp.core import files
from tdsp.runner import kernels

TOO_LONG = "import re; re.match('(a+)+$', 'a' * 40 + 'b')"  # one C call that holds the interpreter's lock
WRITE_PID = "import os, pathlib; pathlib.Path('pid').write_text(str(os.getpid()))"


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook whose first cell is tagged `parameters`."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.cells[0].metadata.tags = ["parameters"]
    nbformat.write(notebook, path)
    return path


def execute(folder: Path, *cells: str, **options):
    """Execute some cells; return the notebook as the file has it, and the exception."""
    import papermill

    source, error = write_notebook(folder / "in.ipynb", "n: int = 1", *cells), None
    try:
        papermill.execute_notebook(str(source), None, {"n": 2}, engine_name="tdsp", progress_bar=False,
                                   save_as=folder / "out.ipynb", **options)  # fmt: skip
    except BaseException as raised:
        error = raised
    return nbformat.read(folder / "out.ipynb", 4), error


def statuses(notebook) -> list[str]:
    """Return the status of each cell."""
    return [cell.metadata.papermill.status for cell in notebook.cells]


def test_a_good_notebook_is_completed_and_its_parameters_are_injected(tmp_path):
    """Every cell is completed, the notebook has no exception, and the progress counts the cells that run."""
    seen = []
    notebook, error = execute(tmp_path, "n * 21", "", progress=lambda *step: seen.append(step))
    assert error is None
    assert statuses(notebook) == ["completed"] * 4
    assert notebook.metadata.papermill.exception is False
    assert notebook.cells[2].outputs[0].data["text/plain"] == "42"
    assert [step[:2] for step in seen] == [(1, 3), (2, 3), (3, 3)]


def test_an_exception_fails_its_cell_and_leaves_the_rest_pending(tmp_path):
    """The failed cell is marked, no marker cells are added, and later cells are not run."""
    notebook, error = execute(tmp_path, "1 / 0", "3")
    assert type(error).__name__ == "PapermillExecutionError"
    assert statuses(notebook) == ["completed", "completed", "failed", "pending"]
    assert notebook.metadata.papermill.error == {"type": "ZeroDivisionError", "message": "division by zero"}


def test_a_killed_kernel_is_not_called_completed(tmp_path):
    """After SIGKILL the cell and the notebook are failed, and the signal is named."""
    notebook, error = execute(tmp_path, "import os; os.kill(os.getpid(), 9)", "3")
    assert type(error).__name__ == "DeadKernelError"
    assert statuses(notebook) == ["completed", "completed", "failed", "pending"]
    assert notebook.metadata.papermill.exception is True
    assert "killed by SIGKILL" in notebook.metadata.papermill.error["message"]


def test_a_cell_past_its_limit_fails_and_its_kernel_is_gone(tmp_path):
    """After the limit the cell is failed, and no kernel keeps computing."""
    begin = time.monotonic()
    notebook, error = execute(tmp_path, "import os; print(os.getpid(), flush=True)", TOO_LONG, execution_timeout=1)
    assert type(error).__name__ == "CellTimeoutError"
    assert statuses(notebook)[-1] == "failed"
    assert "limit of 1 seconds" in notebook.metadata.papermill.error["message"]
    assert not psutil.pid_exists(int(notebook.cells[2].outputs[0].text))
    assert time.monotonic() - begin < 20


def test_an_interrupt_fails_the_running_cell(tmp_path):
    """Ctrl-C reaches the caller as KeyboardInterrupt, after the file says what was running."""

    def press(cell: int, *_) -> None:
        if cell == 4:
            threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()

    cells = "import os; print(os.getpid(), flush=True)", "import time; time.sleep(60)"
    notebook, error = execute(tmp_path, *cells, progress=press)
    assert isinstance(error, KeyboardInterrupt)
    assert statuses(notebook)[-1] == "failed"
    assert notebook.metadata.papermill.error["type"] == "KeyboardInterrupt"
    assert not psutil.pid_exists(int(notebook.cells[2].outputs[0].text))


def test_a_kernel_dies_with_the_process_that_started_it(tmp_path):
    """After kill -9 of the caller the kernel is gone, even inside one long C call."""
    write_notebook(tmp_path / "in.ipynb", "n: int = 1", f"{WRITE_PID}\n{TOO_LONG}")
    code = "import papermill as p; p.execute_notebook('in.ipynb', 'out.ipynb', engine_name='tdsp', progress_bar=False)"
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    kernel = int((tmp_path / "pid").read_text())
    assert psutil.pid_exists(kernel)
    caller.kill()
    caller.wait()
    wait_until(lambda: not alive(kernel), seconds=5)


def wait_until(condition, seconds: float = 60) -> None:
    """Return as soon as a condition holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_kernel_ignores_the_users_own_setup(tmp_path, monkeypatch):
    """Start-up files, a plotting backend and a hash seed of the shell do not reach a run."""
    (tmp_path / "start.py").write_text("intruder = 1")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "start.py"))
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    facts = "os.environ['MPLBACKEND'], hash('a'), sys.executable, 'intruder' in globals(), os.getcwd()"
    look = f"import os, sys; print({facts})"
    (tmp_path / "b").mkdir()
    first, _ = execute(tmp_path, look, kernel=kernels.start_kernel(cwd=tmp_path / "b"))
    second, _ = execute(tmp_path, look, kernel=kernels.start_kernel(cwd=tmp_path / "b"))
    text = first.cells[2].outputs[0].text
    assert text == second.cells[2].outputs[0].text
    assert text.startswith("module://matplotlib_inline")
    assert text.split()[2:] == [sys.executable, "False", str(tmp_path / "b")]


def test_tcp_replaces_ipc_where_a_socket_cannot_be_bound(tmp_path, monkeypatch):
    """Without Unix sockets the notebook still runs."""
    monkeypatch.setattr(kernels, "can_bind", lambda _: False)
    notebook, error = execute(tmp_path, "n + 1")
    assert error is None
    assert statuses(notebook)[-1] == "completed"


def test_saves_are_throttled_and_whole(tmp_path, monkeypatch):
    """Sixty quick cells are written a few times, not twice each, and through a temporary file."""
    writes = []
    real = files.write_atomic
    monkeypatch.setattr(files, "write_atomic", lambda path, data: (writes.append(path), real(path, data)))
    notebook, _ = execute(tmp_path, *["n"] * 60)
    assert statuses(notebook) == ["completed"] * 62
    assert len(writes) <= 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.ipynb", "out.ipynb"]


def test_the_papermill_command_finds_the_engine(tmp_path):
    """`papermill --engine tdsp` runs, and its exit code tells of a killed kernel."""
    write_notebook(tmp_path / "in.ipynb", "n: int = 1", "import os; os.kill(os.getpid(), 9)")
    papermill = Path(sys.executable).with_name("papermill")
    done = subprocess.run([papermill, "in.ipynb", "out.ipynb", "--engine", "tdsp", "-p", "n", "3"],
                          cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 138, done.stderr
    assert statuses(nbformat.read(tmp_path / "out.ipynb", 4)) == ["completed", "completed", "failed"]


def test_a_kernel_started_early_has_imported_what_the_notebook_asks_for(tmp_path):
    """Modules of the first cell are there before it runs; one that does not exist is left to the notebook."""
    path = write_notebook(tmp_path / "in.ipynb", "import colorsys\nfrom wave import Wave_read\nimport no_such_module")
    assert kernels.modules_of(path) == ["colorsys", "wave", "no_such_module"]
    kernel = kernels.start_kernel(preload=kernels.modules_of(path))
    look = "import sys; print([name in sys.modules for name in ('colorsys', 'wave', 'chunk')], 'colorsys' in globals())"
    notebook, error = execute(tmp_path, look, kernel=kernel)
    assert error is None
    assert notebook.cells[2].outputs[0].text == "[True, True, False] False\n"
    assert not kernel.folder.exists() and kernel.process.returncode is not None


def test_modules_of_a_notebook_that_cannot_be_read_are_none(tmp_path):
    """A broken notebook or a syntax error is reported when it is executed."""
    (tmp_path / "a.ipynb").write_text("{")
    assert kernels.modules_of(tmp_path / "a.ipynb") == []
    assert kernels.modules_of(write_notebook(tmp_path / "b.ipynb", "import (")) == []
    drawing = write_notebook(tmp_path / "c.ipynb", "from tdsp import open_run, show")
    assert kernels.modules_of(drawing) == ["tdsp", "matplotlib.pyplot"]


def test_folders_of_killed_processes_are_swept_and_those_in_use_are_not(tmp_path):
    """A folder whose lock nobody holds goes, one that is in use or that is not ours stays."""
    used, other = kernels.start_kernel(), tmp_path / "tdsp-other"
    left = tmp_path / "tdsp-left"
    for folder in (left, other):
        folder.mkdir()
    (left / "lock").touch()
    kernels.sweep(tmp_path)
    kernels.sweep(used.folder.parent)
    assert not left.exists() and other.exists() and used.folder.exists()
    used.end()
    assert not used.folder.exists()
