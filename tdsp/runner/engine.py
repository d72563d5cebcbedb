"""A papermill engine whose record is true: cells, notebook and file say what happened, whatever happened."""

# Papermill 2.7 leaves an output that says `completed` when the kernel was killed or a cell passed its limit, and
# rewrites the file 2N+3 times in place. Here the status follows the exception, and the file is replaced whole, at
# most every two seconds. `papermill --engine tdsp` gets the same. Papermill loads this module while it is itself
# being imported (entry point `papermill.engine`), so nothing of it is imported at the top and the classes have no
# base of papermill's.

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdsp.core.files import Json, write_atomic
from tdsp.runner.kernels import START_LIMIT, Kernel, start_kernel

if TYPE_CHECKING:
    from nbformat import NotebookNode

SAVE_EVERY = 2.0  # seconds between two saves of a running notebook
OUTPUT_LIMIT = 60  # seconds for the outputs of a finished cell to arrive

Progress = Callable[[int, int, float], object]  # number of the code cell that starts, code cells, seconds so far


class TdspEngine:
    """The engine `tdsp`: runs a notebook in a kernel of its own that never outlives it."""

    @classmethod
    def nb_kernel_name(cls, nb: "NotebookNode", name: str | None = None) -> str:
        """Return the kernel to use: the caller's, else the notebook's."""
        return name or nb.metadata.get("kernelspec", {}).get("name", "python3")

    @classmethod
    def nb_language(cls, nb: "NotebookNode", language: str | None = None) -> str:
        """Return the language that decides how parameters are written."""
        return language or nb.metadata.get("kernelspec", {}).get("language", "python")

    @classmethod
    def execute_notebook(
        cls,
        nb: "NotebookNode",
        kernel_name: str,
        output_path: str | None = None,
        *,
        save_as: str | Path | None = None,  # instead of `output_path`, which papermill would write once more, in place
        progress: Progress | None = None,
        reporterbar: bool | dict[str, Json] = False,
        start_timeout: float = START_LIMIT,
        execution_timeout: float | None = None,
        kernel: Kernel | None = None,  # one that was started before; it ends with the notebook
        **_: Any,
    ) -> "NotebookNode":
        """Return the executed notebook. Raises what ended it, after the file says so; papermill raises cell errors."""
        reporter = NotebookProgress(nb, save_as or output_path, progress or _papermill_bar(nb, bool(reporterbar)))
        try:
            kernel = kernel or start_kernel(kernel_name)
            cls._execute(reporter, kernel, timeout=execution_timeout, startup_timeout=start_timeout)
        except BaseException as error:
            reporter.failed(error, kernel.explain(error, execution_timeout) if kernel else str(error))
            raise
        finally:
            if kernel is not None:
                kernel.end()
            reporter.close()
        return nb

    @staticmethod
    def _execute(reporter: "NotebookProgress", kernel: Kernel, **limits: float | None) -> None:
        """Let papermill's client run the cells."""
        from papermill.clientwrap import PapermillNotebookClient
        from papermill.log import logger

        client = PapermillNotebookClient(reporter, km=kernel.manager, log=logger, iopub_timeout=OUTPUT_LIMIT, **limits)
        try:
            client.execute()
        finally:
            if client.kc is not None:
                client.kc.stop_channels()


TruthfulEngine = TdspEngine  # what the metadata of an older editable installation names


def _papermill_bar(nb: "NotebookNode", wanted: bool) -> Progress | None:
    """Return the bar that `papermill` shows on its command line."""
    if not wanted:
        return None
    from tqdm.auto import tqdm

    bar = tqdm(total=sum(is_run(cell) for cell in nb.cells), unit="cell", desc="Executing")

    return lambda cell, *_: bar.update(cell - bar.n)


def is_run(cell: "NotebookNode") -> bool:
    """Whether a kernel gets to see the cell."""
    return bool(cell.cell_type == "code" and cell.source.strip())


class NotebookProgress:
    """The notebook as it is being executed, and its file. Papermill's client reports to it."""

    def __init__(self, nb: "NotebookNode", path: str | Path | None, progress: Progress | None = None):
        self.nb, self.path, self.progress = nb, Path(path) if path else None, progress
        self.current: NotebookNode | None = None  # the cell that was started last
        self.started, self.saved, self.pause = time.monotonic(), 0.0, SAVE_EVERY
        self.nb.metadata.setdefault("papermill", {})
        self.nb.metadata.papermill.update(start_time=_now(), end_time=None, duration=None, exception=None)
        for cell in nb.cells:
            cell.metadata["papermill"] = dict.fromkeys(("exception", "start_time", "end_time", "duration"))
            cell.metadata.papermill["status"] = "pending"
            if cell.cell_type == "code":
                cell.execution_count, cell.outputs = None, []
        self.save()

    def cell_start(self, cell: "NotebookNode", *_: int) -> None:
        """Note that a cell begins."""
        self.current = cell
        cell.metadata.papermill.update(status="running", exception=False, start_time=_now())
        if is_run(cell) and self.progress is not None:
            cells = [c for c in self.nb.cells if is_run(c)]
            number = next(i for i, c in enumerate(cells, start=1) if c is cell)
            self.progress(number, len(cells), time.monotonic() - self.started)
        self.autosave_cell()

    def cell_exception(self, *_: "NotebookNode", exception: BaseException | None = None, **__: int) -> None:
        """Note that a cell raised an exception."""
        self.failed(exception, getattr(exception, "evalue", "") or str(exception))

    def cell_complete(self, cell: "NotebookNode", **_: int) -> None:
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
