"""Runs many parameter files, or one with many values, in processes; a run that fails does not stop the others."""

# Each run has a process of its own, which reports in JSON lines. Runs need no common state: every run has its own
# folder, and what they share in the lake is written whole or not at all.

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack

from tdsp.core.errors import ExitCode, ParameterError, TdspError
from tdsp.core.files import from_json
from tdsp.core.record import RunRecord, read_record
from tdsp.core.summary import summarize
from tdsp.runner.pipeline import PipelineEvent, RunOptions, interruptible, run_file, uninterrupted

SEVEREST_FIRST = (
    ExitCode.INTERRUPTED,
    ExitCode.FAILED,
    ExitCode.BAD_INPUT,
    ExitCode.NOT_ACCEPTED,
    ExitCode.DONE,
)


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One run of a batch."""

    file: str
    settings: dict[str, str]
    shown: dict[str, str]  # the settings in which the runs differ

    @property
    def label(self) -> str:
        """The name of the file, with the values that distinguish this run."""
        return " ".join([Path(self.file).stem, *(f"{name}={value}" for name, value in self.shown.items())])


class RunJob(RunOptions):
    """One run, as its process gets it."""

    file: str
    settings: dict[str, str]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run, as its process reports it."""

    exit_code: int
    problem: str = ""
    folder: str = ""  # empty where none was made


@dataclass(slots=True)
class BatchRunStatus:
    """The progress of a run in a batch."""

    run: BatchRun
    event: PipelineEvent | None = None  # the last one
    exit_code: int | None = None  # None: not ended
    folder: str = ""
    record: RunRecord | None = None
    problem: str = ""

    @property
    def state(self) -> str:
        """In a word or two: waiting, what it does, or how it ended."""
        if self.exit_code is not None:
            record = self.record
            return (record and (record.verdict or record.status)) or ENDS.get(self.exit_code, "failed")
        if self.event is None:
            return "waiting"
        return self.event.stage or "checking"


ENDS: dict[int, str] = {ExitCode.BAD_INPUT: "bad input", ExitCode.INTERRUPTED: "not started"}


def make_batch(files: Sequence[Path], settings: Mapping[str, str], grid: Mapping[str, Sequence[str]]) -> list[BatchRun]:
    """Return every file with every combination of the grid's values. Raises ParameterError when two are the same."""
    both = sorted(set(settings) & set(grid))
    if both:
        raise ParameterError(f"{both[0]} is given by --set and by --grid; keep one.")
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    batch = [BatchRun(str(file), dict(settings) | values, values) for file in files for values in combinations]
    seen = [(str(Path(run.file).absolute()), run.settings) for run in batch]
    twice = next((run for i, run in enumerate(batch) if seen[i] in seen[:i]), None)
    if twice is not None:
        raise ParameterError(f"{twice.label} is given twice; keep one.")
    return batch


def parse_grid(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return `name=a,b` texts as a mapping; commas inside brackets separate nothing. Raises ParameterError."""
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, sign, values = text.partition("=")
        parts = [part.strip() for part in split_commas(values)]
        if not sign or not name.strip() or not all(parts):
            raise ParameterError(f"--grid takes NAME=A,B, not {text!r}: for example --grid cv_folds=3,5")
        if name.strip() in grid:
            raise ParameterError(f"--grid gives {name.strip()} twice; keep one.")
        grid[name.strip()] = parts
    return grid


def split_commas(text: str) -> Iterator[str]:
    """Yield the texts between commas that are outside brackets."""
    depth, begin = 0, 0
    for position, sign in enumerate(text):
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0:
            yield text[begin:position]
            begin = position + 1
    yield text[begin:]


def severest(codes: Sequence[int]) -> int:
    """Return the exit code of a batch from those of its runs."""
    return min(codes, key=SEVEREST_FIRST.index, default=0)


# the parent --------------------------------------------------------------------------------------------------------
def run_batch(
    batch: Sequence[BatchRun],
    *,
    jobs: int = 1,
    watch: Callable[[list[BatchRunStatus]], object] | None = None,  # called at every change, in the calling thread
    **options: Unpack[RunOptions],
) -> list[BatchRunStatus]:
    """Run a batch, `jobs` at a time; return how each run ended. An interrupt ends what runs and starts no more."""
    statuses = [BatchRunStatus(run) for run in batch]
    count = max(min(jobs, len(batch)), 1)
    workers = Workers(count, options)
    with ThreadPoolExecutor(count) as pool, interruptible():
        try:
            pending = {pool.submit(workers.run, status) for status in statuses}
            while pending:
                done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                if watch:
                    watch(statuses)
        except KeyboardInterrupt:
            with uninterrupted():
                workers.interrupt()
                pool.shutdown(cancel_futures=True)
    for status in statuses:
        if status.exit_code is None:
            status.exit_code, status.problem = ExitCode.INTERRUPTED, "Interrupted before it started."
    return statuses


class Workers:
    """Processes that execute one run each, `count` at a time, on their shares of the processors."""

    def __init__(self, count: int, options: RunOptions):
        self.count, self.options = count, options
        self.free = set(range(count))  # numbers of the shares that no process has
        self.running: set[subprocess.Popen[str]] = set()
        self.interrupted = False
        self.lock = threading.Lock()

    def run(self, status: BatchRunStatus) -> None:
        """Execute one run in a process and enter in `status` what it reports."""
        with self.lock:
            if self.interrupted:
                return
            share = self.free.pop()
            process = self._start(status, share)
        for line in process.stdout or ():
            _enter(status, line)
        code = process.wait()
        with self.lock:
            self.running.discard(process)
            self.free.add(share)
        if status.exit_code is None:
            ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            status.problem = f"The process that ran it ended with {ended}."
            status.exit_code = ExitCode.INTERRUPTED if self.interrupted else ExitCode.FAILED

    def _start(self, status: BatchRunStatus, share: int) -> "subprocess.Popen[str]":
        job: RunJob = {"file": status.run.file, "settings": status.run.settings, **self.options}
        numbers = map(str, (os.getpid(), share, self.count))
        command = [sys.executable, "-m", "tdsp.runner.batch_runs", *numbers, json.dumps(job)]
        # A session of its own: Ctrl-C in the terminal reaches the parent alone, which signals each process once.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.running.add(process)
        return process

    def interrupt(self) -> None:
        """Let the processes end their runs as Ctrl-C does, and start no more."""
        with self.lock:
            self.interrupted = True
            for process in self.running:
                process.send_signal(signal.SIGTERM)


def _enter(status: BatchRunStatus, line: str) -> None:
    """Enter one message of a process: an event, or the end."""
    message = json.loads(line)
    if "event" in message:
        status.event = from_json(PipelineEvent, message["event"])
        return
    end = from_json(RunEnd, message["end"])
    if end.folder:
        status.folder, status.record = end.folder, read_record(end.folder)
    status.exit_code, status.problem = end.exit_code, end.problem


# the worker --------------------------------------------------------------------------------------------------------
def worker_main(parent: int, share: int, count: int, job: RunJob) -> None:
    """Execute one run, report on stdout in JSON lines, and end with the parent."""
    set_cpu_affinity(share, count)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with _own_stdout() as report:
        report(_run(job, report))


def set_cpu_affinity(share: int, count: int) -> None:
    """Keep to some of the processors, where the system can: workers on the same ones slow one another down."""
    if hasattr(os, "sched_setaffinity"):
        every = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, every[share::count] or [every[share % len(every)]])


def _run(job: RunJob, watch: Callable[[PipelineEvent], None]) -> RunEnd:
    """Return how a run ended, whatever happened."""
    try:
        outcome = run_file(**job, progress=watch)
    except TdspError as error:
        return RunEnd(error.exit_code, str(error))
    except KeyboardInterrupt:
        return RunEnd(ExitCode.INTERRUPTED, "Interrupted before its first stage.")
    except Exception as error:
        return RunEnd(ExitCode.FAILED, f"{type(error).__name__}: {error}")
    problem = summarize(outcome.record).failure_text
    return RunEnd(outcome.record.exit_code, problem, str(outcome.folder))


@contextmanager
def _own_stdout() -> Iterator[Callable[[PipelineEvent | RunEnd], None]]:
    """Keep the pipe to the parent for JSON lines; what anything else prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as pipe:
        os.dup2(2, 1)

        def report(message: PipelineEvent | RunEnd) -> None:
            kind = "event" if isinstance(message, PipelineEvent) else "end"
            print(json.dumps({kind: asdict(message)}), file=pipe, flush=True)

        yield report


def _end_with(parent: int) -> None:
    """End the run in the way SIGTERM does once the parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    worker_main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), job=json.loads(sys.argv[4]))
