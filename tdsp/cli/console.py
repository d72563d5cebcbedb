"""What the command line prints: results on stdout, progress and errors on stderr, bars and live tables on terminals."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from tdsp.core.files import to_json
from tdsp.core.formatting import format_seconds
from tdsp.core.record import RunRecord, StageRecord
from tdsp.runner.batch_runs import Progress
from tdsp.runner.pipeline import Step


def say(text: str) -> None:
    """Print a result; a reader that has left (`tdsp runs | head -1`) is no error."""
    _print(text, sys.stdout, "stdout")


def warn(text: str) -> None:
    """Print progress or an error."""
    _print(text, sys.stderr, "stderr")


def _print(text: str, stream: Any, name: str) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # it takes all that is still to be printed


def say_json(value: Any) -> None:
    """Print a result as JSON."""
    say(json.dumps(to_json(value), indent=1, ensure_ascii=False))


def say_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print rows in aligned columns."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def seconds_of(entry: RunRecord | StageRecord) -> str:
    """Return the seconds of a run or stage, as text."""
    return f"{entry.seconds:.1f}" if entry.seconds is not None else ""


# progress -----------------------------------------------------------------------------------------------------------
def watcher() -> AbstractContextManager[Callable[[Step], None]]:
    """Return what shows the progress of a run: a bar on a terminal, a line a stage otherwise."""
    return Bar() if sys.stderr.isatty() else nullcontext(print_step)


def print_step(step: Step) -> None:
    """Print the start of the work and the end of each stage as plain lines."""
    if step.state == "preparing":
        warn(f"{step.project}: checking parameters and data")
    elif step.state == "reused":
        warn(f"{step.project}: {step.stage} reused")
    elif step.state != "running":
        warn(f"{step.project}: {step.stage} {step.state} after {format_seconds(step.seconds)}")


class Bar:
    """A progress bar with stage, cell and seconds."""

    def __enter__(self) -> Callable[[Step], None]:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[cell]}")
        self.progress = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=False)
        self.task: Any = None
        self.name = ""
        self.progress.start()
        return self.step

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()

    def step(self, step: Step) -> None:
        """Show what a run is doing: one line a stage, the last one alive."""
        name = step.stage or "checking parameters and data"
        if self.task is None or self.name != name:
            if self.task is not None and not self.name[0].isdigit():
                self.progress.remove_task(self.task)
            self.task, self.name = self.progress.add_task(f"{name:<28}", total=None, cell=""), name
        if step.cells:
            self.progress.update(
                self.task, total=step.cells, completed=step.cell - 1, cell=f"cell {step.cell}/{step.cells}"
            )
        if step.state not in ("running", "preparing"):
            total = self.progress.tasks[-1].total or 1
            done = total if step.state in ("succeeded", "reused") else self.progress.tasks[-1].completed
            self.progress.update(self.task, total=total, completed=done, cell=step.state)
            self.progress.stop_task(self.task)


@contextmanager
def row_counter() -> Iterator[Callable[[int], None]]:
    """Yield what shows the number of rows done: one line that grows on a terminal, else a line every ten seconds."""
    last = time.monotonic()
    is_terminal = sys.stderr.isatty()

    def show(rows: int) -> None:
        nonlocal last
        if is_terminal:
            print(f"\r{rows:,} rows", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - last > 10:
            last = time.monotonic()
            warn(f"{rows:,} rows")

    yield show
    if is_terminal:
        warn("")


def board_watcher() -> AbstractContextManager[Callable[[list[Progress]], None]]:
    """Return what shows the progress of a batch: one live table on a terminal, a line a change otherwise."""
    return Board() if sys.stderr.isatty() else nullcontext(BoardLines())


class BoardLines:
    """A line whenever a member goes on to its next stage or ends."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def __call__(self, board: list[Progress]) -> None:
        """Print what has changed."""
        for progress in board:
            label, state = progress.member.label, progress.state
            if self.told.get(label, "waiting") != state:
                self.told[label] = state
                warn(f"{label}: {state}")


class Board:
    """One live table: a row a member, with stage, cell and seconds."""

    def __enter__(self) -> Callable[[list[Progress]], None]:
        """Show the table."""
        from rich.console import Console
        from rich.live import Live

        self.live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        self.live.start()
        return self.show

    def __exit__(self, *_: object) -> None:
        """Take the table away; the result follows on stdout."""
        self.live.stop()

    def show(self, board: list[Progress]) -> None:
        """Draw the table as things stand."""
        from rich.table import Table
        from rich.text import Text

        table = Table("run", "now", "cell", "seconds", box=None, pad_edge=False)
        for progress in board:
            step = progress.step if progress.exit_code is None else None
            cell = f"{step.cell}/{step.cells}" if step and step.cells else ""
            seconds = f"{step.seconds:.0f}" if step else seconds_of(progress.record) if progress.record else ""
            table.add_row(Text(progress.member.label), progress.state, cell, seconds)
        self.live.update(table)
