"""A papermill engine that tells the truth: cells, notebook and file say what happened, whatever happened.

Papermill 2.7 leaves an output that says `completed` when the kernel was killed or a cell passed its limit, and rewrites
the file 2N+3 times in place. Here the status follows the exception, and the file is replaced whole, at most every two
seconds. `papermill --engine tdsp` gets the same. Papermill loads this module while it is itself being imported (entry
point `papermill.engine`), so nothing of it is imported at the top and the classes have no base of papermill's.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tdsp.core import write_atomic

SAVE_EVERY = 2.0  # seconds between two saves of a running notebook
START_LIMIT = 120  # seconds for a kernel to answer on a busy machine
OUTPUT_LIMIT = 60  # seconds for the outputs of a finished cell to arrive
SOCKET_PATH = 80  # characters; macOS takes 103 for the whole path of a socket

Progress = Callable[[int, int, float], object]  # number of the code cell that starts, code cells, seconds so far


class TruthfulEngine:
    """The engine `tdsp`: runs a notebook in a kernel of its own that never outlives it."""

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        """Return the kernel to use: the caller's, else the notebook's."""
        return name or nb.metadata.get("kernelspec", {}).get("name", "python3")

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        """Return the language that decides how parameters are written."""
        return language or nb.metadata.get("kernelspec", {}).get("language", "python")

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        *,
        save_as: str | Path | None = None,  # instead of `output_path`, which papermill would write once more, in place
        progress: Progress | None = None,
        progress_bar: bool | dict[str, Any] = False,
        start_timeout: float = START_LIMIT,
        execution_timeout: float | None = None,
        cwd: str | Path | None = None,
        environment: dict[str, str] | None = None,
        **_: Any,
    ) -> Any:
        """Return the executed notebook. Raises what ended it, after the file says so; papermill raises cell errors."""
        from papermill.clientwrap import PapermillNotebookClient
        from papermill.log import logger

        transcript = Transcript(nb, save_as or output_path, progress or _papermill_bar(nb, bool(progress_bar)))
        try:
            with private_kernel(kernel_name, cwd=cwd, environment=environment) as kernel:
                client = PapermillNotebookClient(
                    transcript, km=kernel.manager, log=logger, startup_timeout=start_timeout,
                    timeout=execution_timeout, iopub_timeout=OUTPUT_LIMIT,
                )  # fmt: skip
                try:
                    client.execute()
                except BaseException as error:
                    transcript.failed(error, kernel.explain(error, execution_timeout))
                    raise
                finally:
                    if client.kc is not None:
                        client.kc.stop_channels()
        except BaseException as error:
            transcript.failed(error, str(error))
            raise
        finally:
            transcript.close()
        return nb


def _papermill_bar(nb: Any, wanted: bool) -> Progress | None:
    """Return the bar that `papermill` shows on its command line."""
    if not wanted:
        return None
    from tqdm.auto import tqdm

    bar = tqdm(total=sum(is_run(cell) for cell in nb.cells), unit="cell", desc="Executing")

    return lambda cell, *_: bar.update(cell - bar.n)


def is_run(cell: Any) -> bool:
    """Whether a kernel gets to see the cell."""
    return bool(cell.cell_type == "code" and cell.source.strip())


class Transcript:
    """The notebook as it is being executed, and its file. Papermill's client reports to it."""

    def __init__(self, nb: Any, path: str | Path | None, progress: Progress | None = None):
        self.nb, self.path, self.progress = nb, Path(path) if path else None, progress
        self.current: Any = None  # the cell that was started last
        self.started, self.saved, self.pause = time.monotonic(), 0.0, SAVE_EVERY
        self.nb.metadata.setdefault("papermill", {})
        self.nb.metadata.papermill.update(start_time=_now(), end_time=None, duration=None, exception=None)
        for cell in nb.cells:
            cell.metadata["papermill"] = dict.fromkeys(("exception", "start_time", "end_time", "duration"))
            cell.metadata.papermill["status"] = "pending"
            if cell.cell_type == "code":
                cell.execution_count, cell.outputs = None, []
        self.save()

    def cell_start(self, cell: Any, *_: Any) -> None:
        """Note that a cell begins."""
        self.current = cell
        cell.metadata.papermill.update(status="running", exception=False, start_time=_now())
        if is_run(cell) and self.progress is not None:
            cells = [c for c in self.nb.cells if is_run(c)]
            number = next(i for i, c in enumerate(cells, start=1) if c is cell)
            self.progress(number, len(cells), time.monotonic() - self.started)
        self.autosave_cell()

    def cell_exception(self, *_: Any, exception: Any = None, **__: Any) -> None:
        """Note that a cell raised an exception."""
        self.failed(exception, getattr(exception, "evalue", "") or str(exception))

    def cell_complete(self, cell: Any, **_: Any) -> None:
        """Note that a cell ended; papermill calls this after an exception too."""
        facts = cell.metadata.papermill
        facts["end_time"] = _now()
        facts["duration"] = _seconds(facts["start_time"], facts["end_time"])
        if facts["status"] == "running":
            facts["status"] = "completed"
        self.autosave_cell()

    def failed(self, error: BaseException | None, message: str) -> None:
        """Note what ended the notebook; the first cause stays."""
        if self.nb.metadata.papermill["exception"]:
            return
        self.nb.metadata.papermill["exception"] = True
        self.nb.metadata.papermill["error"] = {
            "type": getattr(error, "ename", type(error).__name__),
            "message": message,
        }
        if self.current is not None:
            self.current.metadata.papermill.update(status="failed", exception=True)

    def close(self) -> None:
        """Write the final state."""
        facts = self.nb.metadata.papermill
        facts["end_time"] = _now()
        facts["duration"] = _seconds(facts["start_time"], facts["end_time"])
        facts["exception"] = bool(facts["exception"])
        self.save()

    def autosave_cell(self) -> None:
        """Save, unless that was done a moment ago."""
        if time.monotonic() - self.saved >= self.pause:
            self.save()

    def save(self) -> None:
        """Replace the file; a notebook that takes long to write is written less often."""
        if self.path is None:
            return
        import nbformat

        begin = time.monotonic()
        write_atomic(self.path, nbformat.writes(self.nb) + "\n")
        self.saved = time.monotonic()
        self.pause = max(SAVE_EVERY, 20 * (self.saved - begin))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


# kernels ------------------------------------------------------------------------------------------------------------
class Kernel:
    """A kernel process and the manager that talks to it."""

    def __init__(self, manager: Any, folder: Path):
        self.manager, self.folder = manager, folder

    def explain(self, error: BaseException, limit: float | None) -> str:
        """Return in one sentence or two why the kernel did not finish."""
        kind = type(error).__name__
        if kind == "CellTimeoutError" and "IOPub" not in str(error):
            return f"The cell ran longer than its limit of {limit:g} seconds. Raise it with --cell-timeout."
        if kind == "DeadKernelError" or (kind == "RuntimeError" and "died" in str(error)):
            return f"The kernel {self._end()}.{self._last_words()}"
        return "Interrupted." if isinstance(error, KeyboardInterrupt) else str(error)

    def _end(self) -> str:
        process = getattr(self.manager.provisioner, "process", None)
        code = process.poll() if process is not None else None
        if code is None or code >= 0:
            return f"ended by itself with exit code {code}" if code is not None else "is gone"
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (": often the system had no memory left" if name == "SIGKILL" else "")

    def _last_words(self) -> str:
        text = (self.folder / "kernel.log").read_text(encoding="utf-8", errors="replace").strip()
        return f" Its last words:\n{text[-2000:]}" if text else ""

    def end(self) -> None:
        """Kill the kernel with all it started, and wait until it is gone."""
        provisioner = self.manager.provisioner
        process = getattr(provisioner, "process", None)
        if process is None:
            return
        with suppress(ProcessLookupError):  # it ended before us, with its whole group
            os.killpg(provisioner.pgid or process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def private_kernel(
    name: str,
    *,
    cwd: str | Path | None = None,
    environment: dict[str, str] | None = None,  # added to this process's own
) -> Iterator[Kernel]:
    """Start a kernel whose sockets only this user can reach; it is gone when the block ends, or this process does."""
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.util import run_sync

    folder = Path(tempfile.mkdtemp(prefix=f"tdsp-{os.getpid()}-", dir=_short_folder()))
    kernel = Kernel(None, folder)
    try:
        kernel.manager = AsyncKernelManager(
            kernel_name=name, kernel_spec_manager=_specs(name, folder), connection_file=str(folder / "k.json"),
            transport="ipc" if can_bind(folder) else "tcp",
        )  # fmt: skip
        options: dict[str, Any] = {"preexec_fn": _die_with_parent} if sys.platform == "linux" else {}
        if name == "python3":
            options["extra_arguments"] = ["--HistoryManager.enabled=False"]
        with open(folder / "kernel.log", "wb") as log:
            run_sync(kernel.manager.start_kernel)(
                cwd=str(cwd or Path.cwd()),
                env=kernel_environment(folder) | (environment or {}),
                stdout=log,
                stderr=log,
                **options,
            )
        yield kernel
    finally:
        if kernel.manager is not None:
            kernel.end()
        shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= SOCKET_PATH - 40 or not os.access("/tmp", os.W_OK) else "/tmp"


def can_bind(folder: Path) -> bool:
    """Whether a socket can be made in a folder; some file systems and long paths refuse."""
    path = folder / "probe"
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        path.unlink()
    except OSError:
        return False
    return len(str(folder)) <= SOCKET_PATH


def _specs(name: str, folder: Path) -> Any:
    """Return where a kernel is looked up: `python3` is this very interpreter, whatever the user has registered."""
    from jupyter_client.kernelspec import KernelSpecManager

    if name != "python3":
        return KernelSpecManager()
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = folder / "kernels" / name / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    return KernelSpecManager(kernel_dirs=[str(folder / "kernels")], ensure_native_kernel=False)


def kernel_environment(folder: Path) -> dict[str, str]:
    """Return this process's environment without what a user's own set-up would change in a run."""
    dropped = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONHASHSEED", "IPYTHONDIR")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    waiting = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that spin while others work cost minutes on busy cores
    return waiting | kept | {"PYTHONHASHSEED": "0", "IPYTHONDIR": str(folder / "ipython")}


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it is gone, however that came about."""
    assert _LIBC is not None
    _LIBC.prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
