"""Output of the command line: results on stdout, progress and errors on stderr, bars and live tables on terminals."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, TextIO

from tdsp.core.files import to_json
from tdsp.core.formatting import count_of, format_seconds
from tdsp.core.record import RunRecord, StageRecord

if TYPE_CHECKING:
    from rich.progress import TaskID

    from tdsp.runner.batch_runs import BatchRunStatus
    from tdsp.runner.pipeline import PipelineEvent


def echo(text: str) -> None:
    """Print a result; a reader that has left (`tdsp runs | head -1`) is no error."""
    _print(text, sys.stdout, "stdout")


def warn(text: str) -> None:
    """Print progress or an error."""
    _print(text, sys.stderr, "stderr")


# Signs that move a terminal's cursor, change its title or turn the direction of writing: data may hold them.
_RANGES = ((0, 8), (11, 31), (127, 159), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069))
_CONTROLS = {code: f"\\u{code:04x}" for first, last in _RANGES for code in range(first, last + 1)}


def _print(text: str, stream: TextIO, name: str) -> None:
    try:
        print(text.translate(_CONTROLS), file=stream, flush=True)
    except BrokenPipeError:
        setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # it takes all that is still to be printed


def reraise_in_debug() -> None:
    """Raise the present error again where TDSP_DEBUG asks for its traceback."""
    if os.environ.get("TDSP_DEBUG"):
        raise


def echo_json(value: object) -> None:
    """Print a result as JSON."""
    echo(json.dumps(to_json(value), indent=1, ensure_ascii=False))


def echo_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in aligned columns."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def seconds_of(entry: RunRecord | StageRecord) -> str:
    """Return the seconds of a run or stage, as text."""
    return f"{entry.seconds:.1f}" if entry.seconds is not None else ""


# progress -----------------------------------------------------------------------------------------------------------
def watcher() -> AbstractContextManager[Callable[["PipelineEvent"], None]]:
    """Return what shows the progress of a run: a bar on a terminal, a line a stage otherwise."""
    return Bar() if sys.stderr.isatty() else nullcontext(print_event)


def print_event(event: "PipelineEvent") -> None:
    """Print the start of the work and the end of each stage as plain lines."""
    if event.state == "preparing":
        warn(f"{event.project}: checking parameters and data")
    elif event.state == "reused":
        warn(f"{event.project}: {event.stage} reused")
    elif event.state != "running":
        warn(f"{event.project}: {event.stage} {event.state} after {format_seconds(event.seconds)}")


class Bar:
    """A progress bar with stage, cell and seconds."""

    def __enter__(self) -> Callable[["PipelineEvent"], None]:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[cell]}")
        self.progress = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=False)
        self.task: TaskID | None = None
        self.name = ""
        self.progress.start()
        return self.show

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()

    def show(self, event: "PipelineEvent") -> None:
        """Show what a run is doing: one line a stage, the last one alive."""
        name = event.stage or "checking parameters and data"
        if self.task is None or self.name != name:
            if self.task is not None and not self.name[0].isdigit():
                self.progress.remove_task(self.task)
            self.task, self.name = self.progress.add_task(f"{name:<28}", total=None, cell=""), name
        if event.cells:
            self.progress.update(
                self.task, total=event.cells, completed=event.cell - 1, cell=f"cell {event.cell}/{event.cells}"
            )
        if event.state not in ("running", "preparing"):
            total = self.progress.tasks[-1].total or 1
            done = total if event.state in ("succeeded", "reused") else self.progress.tasks[-1].completed
            self.progress.update(self.task, total=total, completed=done, cell=event.state)
            self.progress.stop_task(self.task)


@contextmanager
def row_counter() -> Iterator[Callable[[int], None]]:
    """Yield what shows the number of rows done: one line that grows on a terminal, else a line every ten seconds."""
    last = time.monotonic()
    is_terminal = sys.stderr.isatty()

    def show(rows: int) -> None:
        nonlocal last
        if is_terminal:
            print(f"\r{count_of(rows, 'row')}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - last > 10:
            last = time.monotonic()
            warn(count_of(rows, "row"))

    yield show
    if is_terminal:
        warn("")


def batch_watcher() -> AbstractContextManager[Callable[[list["BatchRunStatus"]], None]]:
    """Return what shows the progress of a batch: one live table on a terminal, a line a change otherwise."""
    return BatchTable() if sys.stderr.isatty() else nullcontext(BatchLines())


class BatchLines:
    """A line whenever a run goes on to its next stage or ends."""

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}

    def __call__(self, statuses: list["BatchRunStatus"]) -> None:
        """Print what has changed."""
        for status in statuses:
            if self.shown.get(status.run.label, "waiting") != status.state:
                self.shown[status.run.label] = status.state
                warn(f"{status.run.label}: {status.state}")


class BatchTable:
    """One live table: a row a run, with stage, cell and seconds."""

    def __enter__(self) -> Callable[[list["BatchRunStatus"]], None]:
        """Show the table."""
        from rich.console import Console
        from rich.live import Live

        self.live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        self.live.start()
        return self.show

    def __exit__(self, *_: object) -> None:
        """Take the table away; the result follows on stdout."""
        self.live.stop()

    def show(self, statuses: list["BatchRunStatus"]) -> None:
        """Draw the present state."""
        from rich.table import Table
        from rich.text import Text

        table = Table("run", "now", "cell", "seconds", box=None, pad_edge=False)
        for status in statuses:
            event = status.event if status.exit_code is None else None
            cell = f"{event.cell}/{event.cells}" if event and event.cells else ""
            seconds = f"{event.seconds:.0f}" if event else seconds_of(status.record) if status.record else ""
            table.add_row(Text(status.run.label), status.state, cell, seconds)
        self.live.update(table)
