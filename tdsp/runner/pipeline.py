"""Runs the five stage notebooks of one parameter file, and keeps the record true whatever happens."""

# Everything a user can get wrong is found before a run folder exists. From then on each end (accepted, rejected, an
# error in a cell, a dead kernel, a cell past its limit, Ctrl-C) is in run.json before the caller gets it.

import logging
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, TypedDict

from tdsp.config.parameters import EVERYWHERE, describe_run
from tdsp.core.environment import write_code
from tdsp.core.errors import StageError
from tdsp.core.files import Json, canonical_json, write_atomic
from tdsp.core.project import STAGES, find_notebooks
from tdsp.core.record import (
    DONE,
    Failure,
    Run,
    RunRecord,
    Status,
    create_run,
    new_record,
    new_run_id,
    read_record,
    utc_now,
)
from tdsp.registry import tracking
from tdsp.runner.fingerprint import FileMemory, Fingerprints, Parts, local_inputs, total
from tdsp.runner.kernels import Kernel, modules_of, start_kernel
from tdsp.runner.preflight import Plan, check_plan, plan_run
from tdsp.runner.resume import PARTS, Reuse, find_reusable, find_unchanged, take_over

if TYPE_CHECKING:
    from tdsp.data.ingest import Table


@dataclass(frozen=True, slots=True)
class PipelineEvent:
    """An event of a run; `stage` is empty before the first one."""

    project: str
    stage: str
    state: str  # preparing, running, reused, or the stage's status at its end
    cell: int = 0  # that is running, from 1
    cells: int = 0
    seconds: float = 0.0  # of this stage so far


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """A run that has ended."""

    folder: Path
    record: RunRecord
    page_problem: str = ""  # why the pages could not be rendered
    unchanged: bool = False  # whether nothing had to run: it is an earlier run


class KernelPrefetch:
    """Starts the kernel of each stage while the work before it still goes on; none is left when the block ends."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.ready: dict[str, Kernel] = {}

    def __enter__(self) -> "KernelPrefetch":
        """Hold no kernel yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the kernels that were not taken."""
        for kernel in self.ready.values():
            kernel.end()

    def start(self, stage: str) -> None:
        """Start a stage's kernel in the project's folder; it imports what the notebook is going to."""
        import_papermill()
        notebook = find_notebooks(self.plan.root) / f"{stage}.ipynb"
        environment = {"TDSP_PARAMETERS": str(self.plan.file.parent)}
        self.ready[stage] = start_kernel(cwd=self.plan.root, environment=environment, preload=modules_of(notebook))

    def take(self, stage: str) -> Kernel:
        """Return the kernel of a stage, and start that of the next one."""
        if stage not in self.ready:
            self.start(stage)
        for following in STAGES[STAGES.index(stage) + 1 :][:1]:
            self.start(following)
        return self.ready.pop(stage)


@dataclass(frozen=True, slots=True)
class Job:
    """A run in progress: its plan, its folder and how it is watched."""

    plan: Plan
    run: Run
    kernels: KernelPrefetch
    watch: Callable[[PipelineEvent], object]
    cell_timeout: float | None = None
    start: str = STAGES[0]  # the stages before it are reused


def start_run(plan: Plan) -> Run:
    """Make the run folder: record, parameters with their origins, environment, code.zip."""
    run_id = new_run_id(plan.project)
    (plan.outputs / "runs" / run_id).mkdir(parents=True)  # fails rather than sharing a folder with another run
    record = describe_run(new_record(run_id, plan.project, fixed=True), plan.resolved, plan.root)
    run = create_run(plan.outputs / "runs" / run_id, record)
    files = sorted(p for p in plan.file.parent.iterdir() if p.name.startswith(f"{plan.file.stem}."))
    code = write_code(plan.root, run.folder / "code.zip", files)
    run.update(lambda record: replace(record, code=code))
    run.log(f"started from {plan.file}")
    return run


def pin_sources(run: Run, table: "Table") -> None:
    """Enter the hash of each source: the stages read these bytes and no others."""
    seen = {entry["name"]: entry["sha256"] for entry in table.inputs}
    run.update(lambda record: replace(record, pinned=seen))


class RunOptions(TypedDict, total=False):
    """Options of a run that do not change its result."""

    out: str | None  # folder of all runs; default: outputs/ of the project
    cell_timeout: float | None  # seconds
    start: str  # take the stages before it from the latest run with equal earlier parameters
    fresh: bool  # run all stages, also those that nothing has changed for
    paranoid: bool  # read every file anew to know whether it has changed
    track: bool  # send the run to MLflow after it has ended, in a process of its own


# the run ------------------------------------------------------------------------------------------------------------
def run_file(
    file: str | Path,  # parameters/NAME.yaml
    *,
    settings: Mapping[str, str] | None = None,  # `--set name=value`
    out: str | Path | None = None,  # folder of all runs; default: outputs/ of the project
    cell_timeout: float | None = None,  # seconds
    start: str = STAGES[0],  # take the stages before it from the latest run with equal earlier parameters
    fresh: bool = True,  # run all stages, also those that nothing has changed for
    paranoid: bool = False,  # read every file anew to know whether it has changed
    track: bool = False,  # send the run to MLflow after it has ended, in a process of its own
    progress: Callable[[PipelineEvent], object] | None = None,
) -> RunOutcome:
    """Run the five stages. Raises TdspError for what is found before the first one; later faults are in the record.

    Unless `fresh`, stages that nothing has changed for are those of an earlier run; where nothing has changed at all,
    the outcome is that run.
    """
    watch = progress or (lambda _: None)
    with interruptible():
        plan = plan_run(file, settings=settings, out=out)
        watch(PipelineEvent(plan.project, "", "preparing"))
        may_reuse, reuse = not fresh and start == STAGES[0], Reuse(None, start, {})
        prints = read_prints(plan, paranoid=paranoid) if may_reuse else {}
        if prints:
            reuse = find_unchanged(plan.outputs, plan.project, prints)
        if reuse.folder and reuse.start is None:
            return same_again(reuse.folder)
        with KernelPrefetch(plan) as kernels:
            kernels.start(reuse.start or start)
            table = check_plan(plan)
            digest = table.sha256 if table else ""
            prints = prints or read_prints(plan, table_sha256=digest, paranoid=paranoid)
            if may_reuse and digest:
                reuse = confirm_reuse(plan, reuse, prints, digest)
            elif start != STAGES[0]:
                found = find_reusable(plan.outputs, plan.project, start, plan.resolved, digest or None)
                reuse = Reuse(found, start, {})
            if reuse.folder and reuse.start is None:
                return same_again(reuse.folder)
            first = reuse.start or start
            run = start_run(plan)
            if table:  # a server or a growing table is not asked again: all stages see these rows
                pin_sources(run, table)
            if reuse.folder:
                take_over(run, reuse.folder, first)
            keep_prints(run, prints, first)
            try:
                if track:
                    tracking.enqueue(run.folder)
                outcome = run_stages(Job(plan, run, kernels, watch, cell_timeout, first))
            except OSError as error:  # what a stage runs into is in the record; here the record cannot be written
                raise StageError(
                    f"{run.folder} can no longer be written: {error.strerror}. The run has ended."
                ) from None
        if track:
            send_later(plan)
        return outcome


# what has changed ---------------------------------------------------------------------------------------------------
def read_prints(plan: Plan, *, table_sha256: str = "", paranoid: bool = False) -> dict[str, Parts]:
    """Return what each stage would depend on; nothing where only the table itself can say whether the data changed.

    `table_sha256` is that of the table where it was made, for sources that have to be fetched.
    """
    memory = FileMemory(plan.outputs / ".fingerprints.json", trusting=not paranoid)
    inputs = local_inputs(plan, memory)
    if inputs is None and table_sha256:
        inputs = {"the table": table_sha256}
    if inputs is None:
        return {}
    found = Fingerprints(plan, memory, inputs).all_stages()
    memory.save()
    return found


def confirm_reuse(plan: Plan, reuse: Reuse, prints: Mapping[str, Parts], table_sha256: str) -> Reuse:
    """Return the reuse by the table as it was made now: a run with another one, under the same files, is passed by."""
    if reuse.folder and read_record(reuse.folder).fact("table_sha256", table_sha256) == table_sha256:
        return reuse
    return find_unchanged(plan.outputs, plan.project, prints, table_sha256)


def explain_run(
    file: str | Path,
    *,
    settings: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    paranoid: bool = False,
) -> Reuse | None:
    """Return for each stage whether it would run and why, without data or execution.

    None where only the data themselves can say it: a source is remote, grows by a watermark, or there is none.
    """
    plan = plan_run(file, settings=settings, out=out)
    prints = read_prints(plan, paranoid=paranoid)
    return find_unchanged(plan.outputs, plan.project, prints) if prints else None


def same_again(folder: Path) -> RunOutcome:
    """Return an earlier run as the outcome, with its pages."""
    run = Run(folder)
    problem = "" if (folder / "index.html").exists() else render_pages(run)
    return RunOutcome(folder, run.record, problem, unchanged=True)


def keep_prints(run: Run, prints: Mapping[str, Parts], start: str) -> None:
    """Enter the fingerprint of each stage that will run; those taken over have theirs, and the next ones rest on it."""
    parts, digests, before = dict(prints), dict[str, str](), ""
    for stage in prints:
        if STAGES.index(stage) < STAGES.index(start):
            before = run.record.stage(stage).fingerprint
        else:
            parts[stage] = prints[stage] | {"the stage before": before}
            digests[stage] = before = total(parts[stage])

    def change(record: RunRecord) -> RunRecord:
        for stage, digest in digests.items():
            record = record.with_stage(stage, fingerprint=digest)
        return record

    run.update(change)
    write_atomic(run.folder / PARTS, canonical_json(parts))


def send_later(plan: Plan) -> None:
    """Start the process that sends waiting runs to MLflow, behind all other work; it outlives this one."""
    nice = [found, "-n", "10"] if (found := shutil.which("nice")) else []
    command = [*nice, sys.executable, "-m", "tdsp", "track", "--pending", "--out", str(plan.outputs)]
    silent = subprocess.DEVNULL
    subprocess.Popen(command, cwd=plan.root, start_new_session=True, stdin=silent, stdout=silent, stderr=silent)


def run_stages(job: Job) -> RunOutcome:
    """Run the stages in order until one does not succeed, then render the pages."""
    begin = time.monotonic()
    try:
        for stage in STAGES[: STAGES.index(job.start)]:
            job.watch(PipelineEvent(job.plan.project, stage, "reused"))
        for stage in STAGES[STAGES.index(job.start) :]:
            if stage == STAGES[-2]:
                threading.Thread(target=_prepare_pages, daemon=True).start()
            if not run_stage(job, stage):
                break
    except KeyboardInterrupt:
        with uninterrupted():
            end_stage(job.run, _unfinished(job.run), "interrupted", Failure("Interrupted", "between two stages"))
    with uninterrupted():
        seconds = round(time.monotonic() - begin, 1)
        job.run.update(lambda record: replace(record, seconds=seconds, finished_at=utc_now()))
        problem = render_pages(job.run)
        return RunOutcome(job.run.folder, job.run.record, problem)


def _unfinished(run: Run) -> str:
    """Return the first stage that has not succeeded."""
    return next((stage.name for stage in run.record.stages if stage.status not in DONE), STAGES[-1])


def run_stage(job: Job, stage: str) -> bool:
    """Execute one notebook and enter in the record how it ended; return whether it succeeded."""
    begin = time.monotonic()
    notebook = job.run.folder / f"{stage}.ipynb"
    job.watch(PipelineEvent(job.plan.project, stage, "running"))
    try:
        execute_notebook(job, stage, notebook)
        status, error = _own_account(job.run, stage)
    except KeyboardInterrupt as raised:
        status, error = "interrupted", describe_failure(notebook, raised)
    except Exception as raised:
        status, error = "failed", describe_failure(notebook, raised)
    with uninterrupted():
        end_stage(Run(job.run.folder, stage), stage, status, error, seconds=time.monotonic() - begin)
    job.watch(PipelineEvent(job.plan.project, stage, status, seconds=time.monotonic() - begin))
    return status == "succeeded"


def _own_account(run: Run, stage: str) -> tuple[Status, Failure | None]:
    """Return the notebook's own entry in the record: it succeeded where it states so."""
    if run.record.stage(stage).status == "succeeded":
        return "succeeded", None
    message = "The notebook ended without run.finish(...): its last cell has to state the result."
    return "failed", Failure("RunError", message)


def execute_notebook(job: Job, stage: str, target: Path) -> None:
    """Let papermill execute a stage notebook into `target`. Raises what ended it."""
    papermill = import_papermill()
    source = find_notebooks(job.plan.root) / f"{stage}.ipynb"
    kernel = job.kernels.take(stage)

    def show(cell: int, cells: int, seconds: float) -> None:
        job.watch(PipelineEvent(job.plan.project, stage, "running", cell, cells, seconds))

    papermill.execute_notebook(
        str(source).replace("{", "{{").replace("}", "}}"),  # papermill fills in names between braces
        None,
        injected_values(job, stage),
        engine_name="tdsp",
        save_as=target,
        progress=show,
        progress_bar=False,
        execution_timeout=job.cell_timeout,
        kernel=kernel,
    )


def import_papermill() -> ModuleType:
    """Import papermill in half its time, without its log lines on stderr."""
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # jsonschema's optional grammar, 0.9 s
    import papermill

    logging.getLogger("papermill").addHandler(logging.NullHandler())
    logging.getLogger("traitlets").addHandler(logging.NullHandler())
    return papermill


def injected_values(job: Job, stage: str) -> dict[str, Json]:
    """Return what the injected cell states: the run, and this stage's own parameters that are no defaults."""
    resolved = job.plan.resolved
    own = {
        name: value
        for name, value in resolved.values.items()
        if resolved.schema[name].stage == stage and resolved.origins[name] != "default" and name not in EVERYWHERE
    }
    return {"project": job.plan.project, "run_dir": str(job.run.folder)} | own


def end_stage(run: Run, stage: str, status: Status, error: Failure | None, *, seconds: float | None = None) -> None:
    """Enter the end of a stage in the record, with the executed notebook; what did not succeed also ends the run."""
    notebook = run.folder / f"{stage}.ipynb"
    if notebook.exists():
        Run(run.folder, stage).add_artifact(notebook, kind="notebook")

    def change(record: RunRecord) -> RunRecord:
        took = round(seconds, 1) if seconds else record.stage(stage).seconds
        ended = record.with_stage(stage, status=status, error=error, seconds=took)
        if status == "succeeded":
            return ended
        return replace(ended, status=status, verdict=None, finished_at=utc_now())

    run.update(change)
    if error is not None:
        run.log(f"{status}: {error.sentence(stage)}")


def _prepare_pages() -> None:
    """Import what renders the pages while the kernels are at work: a second less at the end."""
    with suppress(Exception):  # render_pages tells of it
        from tdsp.reporting import notebook_html

        notebook_html.exporter()


def render_pages(run: Run) -> str:
    """Render the run's pages; return what went wrong, which never hides the run's own result."""
    try:
        from tdsp.registry import registry
        from tdsp.reporting import pages

        outputs = run.folder.parents[1]
        pages.render_run(run.folder)
        pages.render_index(outputs, registry.runs_in_service(outputs))
    except Exception as error:
        run.log(f"pages not rendered: {type(error).__name__}: {error}\n{traceback.format_exc()}")
        return f"{type(error).__name__}: {error}"
    return ""


# what went wrong ----------------------------------------------------------------------------------------------------
def describe_failure(notebook: Path, error: BaseException) -> Failure:
    """Return what ended a notebook, from its file where that knows the cell."""
    trace = "".join(traceback.format_exception(error))[-20_000:]
    failure = Failure(type(error).__name__, str(error), traceback=trace)
    if not notebook.exists():
        return failure
    import nbformat

    executed = nbformat.read(notebook, 4)
    known = executed.metadata.papermill.get("error", {})
    failure = replace(failure, type=known.get("type", failure.type), message=known.get("message", failure.message))
    cells = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    number = next((i for i, c in enumerate(cells, start=1) if c.metadata.papermill.status == "failed"), None)
    if number is None:
        return failure
    cell = cells[number - 1]
    output = next((o for o in cell.outputs if o.output_type == "error"), None)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.traceback))[-20_000:] if output else ""  # without colors
    return replace(failure, cell=number, source=cell.source, line=_line(shown, number), traceback=shown or None)


def _line(shown: str, number: int) -> int | None:
    """Return the line in the cell where an error was raised: the innermost one that its traceback names."""
    found = re.findall(r"Cell In\[(\d+)\], line (\d+)", shown)
    lines = [line for cell, line in found if int(cell) == number] or [line for _, line in found]
    return int(lines[-1]) if lines else None


# signals ------------------------------------------------------------------------------------------------------------
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a run in the way Ctrl-C does; what the caller ignores (nohup) stays ignored."""

    def stop(*_: int | FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handlers(stop, [number for number in ENDINGS if signal.getsignal(number) != signal.SIG_IGN]):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Finish writing the record although Ctrl-C is pressed again."""
    with _handlers(signal.SIG_IGN, ENDINGS):
        yield


@contextmanager
def _handlers(handler: Handler, numbers: Sequence[signal.Signals]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python sets handlers in the main thread only
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
