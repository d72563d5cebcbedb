"""The verb `run`: one parameter file in this process, or several in processes of their own."""

import shlex
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from tdsp.cli.console import batch_watcher, echo, echo_json, echo_table, seconds_of, warn, watcher
from tdsp.cli.options import Files, Json, Out, Sets, parse_settings, shown_path
from tdsp.core.project import STAGES
from tdsp.core.record import RunRecord
from tdsp.core.summary import NextStep, summarize
from tdsp.runner import batch_runs, pipeline
from tdsp.runner.batch_runs import BatchRun, BatchRunStatus
from tdsp.runner.pipeline import RunOptions, RunOutcome
from tdsp.runner.resume import find_stage


def run(
    files: Files,
    settings: Sets = None,
    grid: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B", help="run once with each of these values; repeatable")
    ] = None,
    effort: Annotated[
        str, typer.Option(metavar="HOW", help="quick, normal or thorough: what is tried where nothing else is stated")
    ] = "",
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="runs at the same time")] = 1,
    start: Annotated[
        str, typer.Option("--from", metavar="STAGE", help="take the stages before it from the latest equal run")
    ] = "1",
    fresh: Annotated[
        bool, typer.Option("--fresh", envvar="TDSP_FRESH", help="run all stages, also those nothing has changed for")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="say what would run and why, and stop")] = False,
    paranoid: Annotated[
        bool, typer.Option("--paranoid", help="read every file anew to know whether it has changed")
    ] = False,
    out: Out = None,
    cell_timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="limit for one cell; 0: none")] = 0,
    track: Annotated[
        bool, typer.Option("--track/--no-track", envvar="TDSP_TRACK", help="send the run to MLflow when it has ended")
    ] = True,
    as_json: Json = False,
) -> int:
    """Run the five stages: verdict, pages and packaged model.

    A stage that nothing has changed for (parameters, code, data, environment) is taken from the run that made it.
    With several files, or --grid, every member runs, and a failing one does not stop the others.

    Exit code 0: accepted; 3: rejected or insufficient evidence; 1: failed; 2: bad input; 130: interrupted. Of several
    runs the worst counts: 130, 1, 2, 3, 0.
    """
    given = parse_settings(settings) | ({"effort": effort} if effort else {})
    batch = batch_runs.make_batch(files, given, batch_runs.parse_grid(grid or []))
    if explain:
        return explain_all(batch, out, paranoid)
    options = RunOptions(
        out=str(out) if out else None,
        cell_timeout=cell_timeout or None,
        start=find_stage(start),
        fresh=fresh,
        paranoid=paranoid,
        track=track,
    )
    return run_one(batch[0], options, as_json) if len(batch) == 1 else run_many(batch, jobs, options, as_json)


def explain_all(batch: list[BatchRun], out: Path | None, paranoid: bool) -> int:
    """Print for each stage of each run whether it would run and why; return 0."""
    for one in batch:
        reuse = pipeline.explain_run(one.file, settings=one.settings, out=out, paranoid=paranoid)
        if reuse is None:
            echo(f"{one.label}: no source, or one that is remote or grows; only a run can know what has changed")
            continue
        kept = f"taken from {reuse.folder.name}" if reuse.folder else ""
        rows = [(stage, f"runs: {why}" if (why := reuse.reasons.get(stage)) else kept) for stage in STAGES]
        echo_table((one.label, ""), rows)
    return 0


def run_one(one: BatchRun, options: RunOptions, as_json: bool) -> int:
    """Run one file in this process; return its exit code."""
    with watcher() as watch:
        outcome = pipeline.run_file(one.file, settings=one.settings, progress=watch, **options)
    if as_json:
        echo_json(outcome.record)
    else:
        print_outcome(outcome)
    if reason := summarize(outcome.record).failure_text:
        warn(f"error: {reason}")
    return outcome.record.exit_code


def run_many(batch: list[BatchRun], jobs: int, options: RunOptions, as_json: bool) -> int:
    """Run several files or settings in processes; return the severest exit code."""
    with batch_watcher() as watch:
        statuses = batch_runs.run_batch(batch, jobs=jobs, watch=watch, **options)
    if as_json:
        echo_json([batch_json(status) for status in statuses])
    else:
        print_batch(statuses)
    for status in statuses:
        if status.problem:
            warn(f"error: {status.run.label}: {status.problem}")
    return batch_runs.severest([status.exit_code for status in statuses if status.exit_code is not None])


def batch_json(status: BatchRunStatus) -> dict[str, object]:
    """Return how a run of a batch ended, as `--json` prints it."""
    about = {"file": status.run.file, "settings": status.run.settings, "exit_code": status.exit_code}
    return about | {"problem": status.problem, "folder": status.folder, "record": status.record or {}}


def print_outcome(outcome: RunOutcome) -> None:
    """Print verdict, number, page and next step of a run that has just ended."""
    from tdsp.reporting.next_steps import open_questions

    record, folder, summary = outcome.record, outcome.folder, summarize(outcome.record)
    if outcome.unchanged:
        echo(f"nothing has changed since {record.run_id}: this is its result (--fresh runs all stages again)")
    echo("   ".join(filter(None, (summary.result, summary.number_text))))
    cover = folder / "index.html"
    echo(f"{'page' if cover.exists() else 'run'}     {shown_path(cover if cover.exists() else folder)}")
    echo(f"seconds  {record.seconds or 0:.1f}{' at that time' if outcome.unchanged else ''}")
    if outcome.page_problem:
        warn(f"The pages could not be rendered: {outcome.page_problem} (details: {shown_path(folder / 'run.log')})")
    for question in open_questions(record):
        echo(f"question {question.text}\n{textwrap.indent(question.lines, '         ')}")
    for reason in summary.reasons:
        echo(f"reason   {reason}")
    echo(f"Next: {next_step_text(folder, record)}")


def next_step_text(folder: Path, record: RunRecord) -> str:
    """Return what a person does after a run, with the names of what is not stated."""
    summary = summarize(record)
    names = " and ".join(code.removeprefix("no_") for code in summary.unstated)
    state = f"state {names or 'what is missing'} in parameters/{record.project}.yaml, then run again"
    also = f"; also {state}" if names else ""
    texts = {
        NextStep.USE_MODEL: f"tdsp predict {shlex.quote(shown_path(folder / 'model'))} DATA -o OUT",
        NextStep.STATE_GOAL: state,
        NextStep.MEET_GATES: f"open the page: it names what was not met; tdsp show {folder.name} lists the gates{also}",
    }
    if record.current_status == "running":
        return "wait until it ends, or stop it with Ctrl+C where it was started"
    return texts.get(summary.next_step, f"tdsp show {folder.name}; correct the cause, then run again")


def print_batch(statuses: list[BatchRunStatus]) -> None:
    """Print how the runs of a batch ended."""
    echo_table(("run", "result", "number", "seconds", "folder"), [batch_row(status) for status in statuses])
    ran = any(status.folder for status in statuses)
    echo(f"\nNext: {'tdsp runs' if ran else 'correct what is named below, then run again'}")


def batch_row(status: BatchRunStatus) -> tuple[str, ...]:
    """Return a run of a batch as one row."""
    folder = shown_path(Path(status.folder)) if status.folder else ""
    if status.record is None:
        return status.run.label, status.state, "", "", folder
    number = summarize(status.record).number_text
    return status.run.label, status.state, number, seconds_of(status.record), folder
