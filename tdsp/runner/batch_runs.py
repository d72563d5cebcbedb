"""Many parameter files, or one with many values, in a few processes; a run that fails does not stop the others."""

# Each worker is a process of its own that runs one member after another and reports it in JSON lines. Members need no
# common state: every run has its own folder, and what they share in the lake is written whole or not at all.

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tdsp.core.errors import ParameterError, TdspError
from tdsp.core.record import RunRecord, read_record
from tdsp.runner.pipeline import INTERRUPTED, Step, failure_of, interruptible, run_file, uninterrupted

WORST = (INTERRUPTED, 1, 2, 3, 0)


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a batch."""

    file: str
    settings: dict[str, str]
    shown: dict[str, str]  # the settings in which the members differ

    @property
    def label(self) -> str:
        """The name of the file, with the values that set this member apart."""
        return " ".join([Path(self.file).stem, *(f"{name}={value}" for name, value in self.shown.items())])


@dataclass(slots=True)
class Progress:
    """What is known of a member."""

    member: Member
    step: Step | None = None
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
        if self.step is None:
            return "waiting"
        return self.step.stage or "checking"


ENDS = {2: "bad input", INTERRUPTED: "not started"}


def make_members(files: Sequence[Path], settings: Mapping[str, str], grid: Mapping[str, Sequence[str]]) -> list[Member]:
    """Return every file with every combination of the grid's values. Raises ParameterError when two are the same."""
    both = sorted(set(settings) & set(grid))
    if both:
        raise ParameterError(f"{both[0]} is given by --set and by --grid; keep one.")
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    members = [Member(str(file), dict(settings) | values, values) for file in files for values in combinations]
    seen = [(str(Path(member.file).absolute()), member.settings) for member in members]
    twice = next((member for i, member in enumerate(members) if seen[i] in seen[:i]), None)
    if twice is not None:
        raise ParameterError(f"{twice.label} is asked for twice; keep one.")
    return members


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
    """Yield the parts between commas that stand outside brackets."""
    depth, begin = 0, 0
    for position, sign in enumerate(text):
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0:
            yield text[begin:position]
            begin = position + 1
    yield text[begin:]


def worst(codes: Sequence[int]) -> int:
    """Return the exit code of a batch."""
    return min(codes, key=WORST.index, default=0)


# the parent --------------------------------------------------------------------------------------------------------
def run_batch(
    members: Sequence[Member],
    *,
    jobs: int = 1,
    watch: Callable[[list[Progress]], object] | None = None,  # called at every news, in the calling thread
    **options: Any,  # of run_file: out, cell_timeout, start
) -> list[Progress]:
    """Run the members in `jobs` processes; return how each ended. An interrupt ends what runs and starts no more."""
    board = [Progress(member) for member in members]
    news: SimpleQueue[None] = SimpleQueue()
    waiting = iter(board)
    count = min(jobs, len(board))
    lock, workers = threading.Lock(), [Worker(options, (number, count)) for number in range(count)]
    stopped = threading.Event()

    def serve(worker: Worker) -> None:
        while not stopped.is_set():
            with lock:
                progress = next(waiting, None)
            if progress is None:
                break
            worker.run(progress, lambda: news.put(None))
            news.put(None)
        worker.close()

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in workers]
    with interruptible():
        try:
            _watch(threads, board, news, watch or (lambda _: None))
        except KeyboardInterrupt:
            with uninterrupted():
                stopped.set()
                for worker in workers:
                    worker.interrupt()
                for thread in threads:
                    thread.join()
    for progress in board:
        if progress.exit_code is None:
            progress.exit_code, progress.problem = INTERRUPTED, "Interrupted before it started."
    return board


def _watch(
    threads: list[threading.Thread], board: list[Progress], news: "SimpleQueue[None]", watch: Callable[..., object]
) -> None:
    """Start the threads and show what they tell until all have ended."""
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with suppress(Empty):
            news.get(timeout=0.2)
        watch(board)
    watch(board)


class Worker:
    """A process that runs members one after another; a new one takes its place when it dies."""

    def __init__(self, options: Mapping[str, Any], share: tuple[int, int] = (0, 1)):
        self.options = dict(options)
        self.share = share  # its number, and how many there are
        self.process: subprocess.Popen[str] | None = None
        self.interrupted = False

    def run(self, progress: Progress, tell: Callable[[], object]) -> None:
        """Run one member and enter in `progress` what is heard of it."""
        job = {"file": progress.member.file, "settings": progress.member.settings} | self.options
        process = self._process()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                heard = json.loads(line)
                if "step" in heard:
                    progress.step = Step(**heard["step"])
                    tell()
                    continue
                progress.exit_code, progress.problem = heard["exit_code"], heard["problem"]
                if heard["folder"]:
                    progress.folder, progress.record = heard["folder"], read_record(heard["folder"])
                return
        except BrokenPipeError:
            pass  # it died before it could take the job
        code = process.wait()
        told = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        progress.problem = f"The process that ran it ended with {told}."
        progress.exit_code = INTERRUPTED if self.interrupted else 1

    def _process(self) -> "subprocess.Popen[str]":
        if self.process is None or self.process.poll() is not None:
            command = [sys.executable, "-m", "tdsp.runner.batch_runs", *map(str, (os.getpid(), *self.share))]
            # A session of its own: Ctrl-C in the terminal reaches the parent alone, which tells the workers once.
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
        return self.process

    def interrupt(self) -> None:
        """Let the worker end its run as Ctrl-C does; one that is between two runs ends silently."""
        self.interrupted = True
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Let the worker go."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.wait()


# the worker --------------------------------------------------------------------------------------------------------
def work(parent: int, number: int, count: int) -> None:
    """Run the jobs that come as JSON lines on stdin, tell of them on stdout, and end with the parent."""
    take_share(number, count)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with _own_stdout() as tell:
        for line in sys.stdin:
            job = json.loads(line)
            result = _run(job, lambda step: tell({"step": asdict(step)}))
            tell(result)
            if result["exit_code"] == INTERRUPTED:
                return


def take_share(number: int, count: int) -> None:
    """Keep to a part of the processors, where the system can: workers that each use all of them crowd one another."""
    if hasattr(os, "sched_setaffinity"):
        every = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, every[number::count] or [every[number % len(every)]])


def _run(job: dict[str, Any], watch: Callable[[Step], object]) -> dict[str, Any]:
    """Return how a member ended, whatever happened."""
    ended: dict[str, Any] = {"exit_code": 1, "problem": "", "folder": ""}
    try:
        outcome = run_file(**job, progress=watch)
    except TdspError as error:
        return ended | {"exit_code": error.exit_code, "problem": str(error)}
    except KeyboardInterrupt:
        return ended | {"exit_code": INTERRUPTED, "problem": "Interrupted before its first stage."}
    except Exception as error:
        return ended | {"problem": f"{type(error).__name__}: {error}"}
    problem = failure_of(outcome.record)
    return {"exit_code": outcome.exit_code, "problem": problem, "folder": str(outcome.folder)}


@contextmanager
def _own_stdout() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Keep the pipe to the parent for JSON lines; what anything else prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as pipe:
        os.dup2(2, 1)

        def tell(message: dict[str, Any]) -> None:
            print(json.dumps(message), file=pipe, flush=True)

        yield tell


def _end_with(parent: int) -> None:
    """End the run in the way SIGTERM does once the parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    work(*map(int, sys.argv[1:4]))
