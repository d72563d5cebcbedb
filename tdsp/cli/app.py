"""The command `tdsp`: each verb parses, calls one function, prints its result and says what to do next."""

# Results go to stdout, progress and errors to stderr. Exit codes: 0 done and accepted, 1 failed while running,
# 2 bad input, 3 rejected or insufficient evidence, 130 interrupted.

import os
import shlex
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tdsp.cli import models
from tdsp.cli.console import board_watcher, row_counter, say, say_json, say_table, seconds_of, warn, watcher
from tdsp.core.errors import ParameterError, TdspError, did_you_mean
from tdsp.core.formatting import format_date, format_estimate, format_seconds
from tdsp.core.project import find_root
from tdsp.core.record import RunRecord, find_run, list_runs, read_record
from tdsp.core.results import Gate
from tdsp.runner import batch_runs, pipeline, preflight
from tdsp.runner.pipeline import RunOutcome
from tdsp.runner.resume import find_stage

app = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Any verb takes --debug: errors then come with their traceback.",
)

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="parameter files: parameters/NAME.yaml", show_default=False)
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="run id, a unique part of it, a folder, or: latest")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="folder of all runs [default: outputs/ of the project]")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a parameter's value; repeatable")]


@app.callback()
def tdsp(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="print the version and stop")] = False,
) -> None:
    """From a table and a question to a verdict, reports and a packaged model, in five notebooks."""
    if version:
        from importlib.metadata import version as installed

        say(f"tdsp {installed('tdsp')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        warn(context.get_help())
        raise typer.Exit(2)


# verbs --------------------------------------------------------------------------------------------------------------
@app.command(epilog="Example: tdsp run parameters/flights.yaml --set cv_folds=3")
def run(
    files: Files,
    settings: Sets = None,
    grid: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B", help="run once with each of these values; repeatable")
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="runs at the same time")] = 1,
    start: Annotated[
        str, typer.Option("--from", metavar="STAGE", help="take the stages before it from the latest equal run")
    ] = "1",
    out: Out = None,
    cell_timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="limit for one cell; 0: none")] = 0,
    track: Annotated[
        bool, typer.Option("--track/--no-track", envvar="TDSP_TRACK", help="send the run to MLflow when it has ended")
    ] = True,
    as_json: Json = False,
) -> int:
    """Run the five stages: verdict, pages and packaged model.

    With several files, or --grid, every member runs, and a failing one does not stop the others.

    Exit code 0: accepted; 3: rejected or insufficient evidence; 1: failed; 2: bad input; 130: interrupted. Of several
    runs the worst counts: 130, 1, 2, 3, 0.
    """
    members = batch_runs.make_members(files, parse_settings(settings), batch_runs.parse_grid(grid or []))
    options = {
        "out": out and str(out),
        "cell_timeout": cell_timeout or None,
        "start": find_stage(start),
        "track": track,
    }
    return run_one(members[0], options, as_json) if len(members) == 1 else run_many(members, jobs, options, as_json)


def run_one(member: batch_runs.Member, options: dict[str, Any], as_json: bool) -> int:
    """Run one file in this process; return its exit code."""
    with watcher() as watch:
        outcome = pipeline.run_file(member.file, settings=member.settings, progress=watch, **options)
    if as_json:
        say_json(outcome.record)
    else:
        tell_outcome(outcome)
    if reason := pipeline.failure_of(outcome.record):
        warn(f"error: {reason}")
    return outcome.exit_code


def run_many(members: list[batch_runs.Member], jobs: int, options: dict[str, Any], as_json: bool) -> int:
    """Run several members in processes; return the worst exit code."""
    with board_watcher() as watch:
        board = batch_runs.run_batch(members, jobs=jobs, watch=watch, **options)
    if as_json:
        kept = ("exit_code", "problem", "folder", "record")
        told = [{"file": p.member.file, "settings": p.member.settings} for p in board]
        say_json([one | {name: getattr(p, name) for name in kept} for one, p in zip(told, board, strict=True)])
    else:
        tell_board(board)
    for progress in board:
        if progress.problem:
            warn(f"error: {progress.member.label}: {progress.problem}")
    return batch_runs.worst([p.exit_code for p in board if p.exit_code is not None])


@app.command(epilog="Example: tdsp init churn.csv --target churned")
def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="table: a file, a folder, or a URI")],
    target: Annotated[str, typer.Option("--target", metavar="COLUMN", help="column to predict")],
    name: Annotated[str, typer.Option("--name", help="of the project [default: from the file's name]")] = "",
    as_json: Json = False,
) -> int:
    """Profile a table and write parameters/NAME.yaml, with the reason of every guess."""
    from tdsp.runner.new_project import write_draft

    draft = write_draft(data, target, root=find_root(), name=name)
    if as_json:
        say_json(draft)
        return 0
    say(f"{draft.rows:,} rows, {draft.columns} columns")
    for remark in draft.remarks:
        say(f"  {remark}")
    for key, guess in draft.guesses.items():
        say(f"{key}: {guess.value if guess.value not in ('', []) else 'none'}  ({guess.why})")
    written = [draft.parameters, draft.charter, draft.contract, *([draft.notebooks] if draft.notebooks else [])]
    say(f"Wrote {', '.join(shown_path(path) for path in written)}")
    say(f"Next: tdsp run {shlex.quote(shown_path(draft.parameters))}")
    return 0


@app.command(epilog="Example: tdsp check parameters/flights.yaml")
def check(files: Files, settings: Sets = None, out: Out = None, as_json: Json = False) -> int:
    """Check parameter files, load and transform their data, without running a notebook."""
    results = [check_file(file, parse_settings(settings), out) for file in files]
    for result in results:
        if result["problem"]:
            warn(f"error: {result['problem']}")
        elif not as_json:
            say(f"{result['file']}: ready, {result['rows']:,} rows, {result['columns']} columns")
    ready = [result["file"] for result in results if not result["problem"]]
    if as_json:
        say_json(results)
    elif ready:
        say(f"Next: tdsp run {shlex.join(ready)}")
    return max((result["exit_code"] for result in results), default=0)


def check_file(file: Path, settings: dict[str, str], out: Path | None) -> dict[str, Any]:
    """Return what `check` found in one file."""
    result: dict[str, Any] = {"file": str(file), "problem": "", "exit_code": 0, "rows": 0, "columns": 0}
    try:
        table = preflight.check_plan(preflight.plan_run(file, settings=settings, out=out))
    except TdspError as error:
        _reraise_in_debug()
        told = str(error) if str(file) in str(error) else f"{file}: {error}"
        return result | {"problem": told, "exit_code": error.exit_code}
    return result | ({"rows": table.rows, "columns": len(table.columns)} if table else {})


@app.command(epilog="Example: tdsp ingest parameters/flights.yaml")
def ingest(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="parameter file: parameters/NAME.yaml")],
    settings: Sets = None,
    delta: Annotated[str, typer.Option(metavar="URL", help="Delta table that gets a new version")] = "",
    parts: Annotated[Path | None, typer.Option(metavar="FOLDER", help="gets train.parquet and test.parquet")] = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Fetch the sources into the lake, transform them, hold the table to its contract, and do nothing else.

    Run it as often as you like: what lies in the lake is not fetched again, and with a watermark only newer rows are.
    """
    from tdsp.data.delta import publish
    from tdsp.runner.new_project import draft_contract

    plan = preflight.plan_run(file, settings=parse_settings(settings), out=out)
    preflight.require_writable(plan.outputs)
    table = preflight.load_plan(plan)
    if table is None:
        raise ParameterError(f"{file} names no source. Give `sources`.")
    contract = draft_contract(plan.file, table.path, plan.resolved.values["target"])
    divided = divide(table.path, plan.resolved.values, parts) if parts else {}
    version = publish(table.path, delta, table.sha256) if delta else None
    if as_json:
        kept = ("path", "sha256", "rows", "columns", "inputs", "new_rows", "reused")
        told = {"path": str(table.path), "delta_version": version, "parts": divided} | {
            "remarks": [*map(str, table.remarks)]
        }
        say_json({name: getattr(table, name) for name in kept} | told)
        return 0
    new = {name: f"{n:,}" for name, n in table.new_rows.items()}
    rows: list[tuple[str, ...]] = [
        (i["name"], f"{i['rows']:,}", new.get(i["name"], ""), f"{i['bytes']:,}", i["sha256"][:12]) for i in table.inputs
    ]
    say_table(("source", "rows", "new", "bytes", "sha256"), rows)
    for remark in table.remarks:
        say(f"  {remark}")
    made = "as before" if table.reused else "made"
    say(f"table    {table.rows:,} rows, {len(table.columns)} columns, {made}: {shown_path(table.path)}")
    if delta:
        say(f"delta    version {version} of {delta}")
    if parts:
        say(f"parts    {divided['train']:,} rows to learn from, {divided['test']:,} to test on: {shown_path(parts)}")
    say(f"contract {shown_path(contract)}")
    say(f"Next: tdsp run {shlex.quote(str(file))}")
    return 0


def divide(path: Path, values: dict[str, Any], folder: Path) -> dict[str, int]:
    """Write a table's training and test rows to the folder; return how many there are of each."""
    from tdsp.data.splits import write_parts
    from tdsp.stages.data_acquisition import split_options

    return write_parts(path, folder=folder, **split_options(values))


@app.command(epilog="Example: tdsp runs --project flights")
def runs(
    project: Annotated[str, typer.Option(help="only the runs of this project")] = "",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="the newest so many")] = 20,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """List the runs, newest first."""
    records = [(folder, read_record(folder)) for folder in list_runs(outputs_folder(out))]
    chosen = [(folder, record) for folder, record in records if project in ("", record.project)][:limit]
    if as_json:
        say_json([summary_of(folder, record) for folder, record in chosen])
        return 0
    if not chosen:
        say("No run yet.  Next: tdsp run parameters/NAME.yaml")
        return 0
    rows = [row_of(record) for _, record in chosen]
    say_table(("run", "started", "result", "number", "seconds"), rows)
    say(f"\nNext: tdsp show {chosen[0][0].name}")
    return 0


@app.command(epilog="Example: tdsp show latest")
def show(name: RunName, out: Out = None, as_json: Json = False) -> int:
    """Show one run: verdict, number, stages, gates."""
    folder = find_run(name, outputs_folder(out))
    record = read_record(folder)
    if as_json:
        say_json(replace(record, status=record.current_status))
    else:
        tell_run(folder, record)
    return 0


@app.command(epilog="Example: tdsp compare 41d0 latest")
def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help="the reference, then one or more other runs")],
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Say whether runs are better than the first one, on the same test rows, and what can explain it.

    Exit code 2 when a run cannot be compared with the first one: other test rows, metric or target, or no result.
    """
    from tdsp.reporting import pages

    outputs = outputs_folder(out)
    found, written = pages.render_comparison([find_run(name, outputs) for name in names], outputs)
    if as_json:
        say_json(found)
    else:
        tell_comparison(found, written)
    for pair in found.pairs:
        if pair.verdict == "not comparable":
            warn(f"error: {pair.run} is not comparable with {pair.reference}: {pair.why}")
    return 0 if found.comparable else 2


@app.command(epilog="Example: tdsp report latest")
def report(
    name: RunName,
    out: Out = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="print all pages into report.pdf too; needs Chromium")] = False,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="open the page in a browser")] = True,
) -> int:
    """Render the pages of a run again from its record, executing nothing, and open the cover."""
    from tdsp.reporting import pages
    from tdsp.reporting import pdf as paper

    folder = find_run(name, outputs_folder(out))
    pages.render_run(folder)
    written = paper.print_run(folder) if pdf else folder / "index.html"
    say(str(written))
    if browse and sys.stdout.isatty():
        typer.launch(str(written))
    return 0


@app.command(epilog="Example: tdsp predict flights@champion new.csv -o scored.parquet")
def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="run, bundle folder, wheel, NAME@champion or NAME@3")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="CSV, Parquet or Delta, or the URI of a file or query")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="file to write: .csv or .parquet")],
    as_json: Json = False,
) -> int:
    """Predict a table of any size with a packaged model, after checking its hashes and the table's columns.

    Rows that do not fit the model go to a file of rejects beside the output, with the reason. The same command takes up
    what a kill has interrupted.
    """
    from tdsp.serving import batch

    with row_counter() as count:
        scored = batch.predict_file(model, data, output, progress=count)
    if as_json:
        say_json(scored)
        return 0
    say(f"{scored.rows:,} rows predicted in {format_seconds(scored.seconds)}: {', '.join(scored.columns)}")
    if scored.rejected:
        say(f"{scored.rejected:,} rows rejected, with the reasons in {scored.rejects}")
    if scored.resumed:
        say(f"{scored.resumed:,} rows were done by an earlier call that was interrupted")
    for remark in remarks_on(scored):
        say(remark)
    say(f"Next: open {output}")
    return 0


@app.command(epilog="Example: tdsp serve flights@champion")
def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name@champion, a folder model/, a wheel, or a run")],
    host: Annotated[
        str, typer.Option(help="address to answer at; any but this machine's own needs a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8000,
    token_env: Annotated[str, typer.Option(metavar="NAME", help="environment variable that holds the token")] = "",
    key: Annotated[
        str, typer.Option(metavar="COLUMN", help="column that names a row, for the log of predictions")
    ] = "",
    out: Out = None,
) -> int:
    """Answer requests with a packaged model: MLflow's /invocations, a form at /, /health, /ready, /metrics.

    A model named by an alias is followed: what is promoted answers within seconds, without a pause.
    """
    from tdsp.serving import app as service
    from tdsp.serving import security

    token = security.require_token(host, token_env, os.environ)
    service.serve(model, host=host, port=port, token=token, key=key, outputs=outputs_folder(out), report=say)
    return 0


def remarks_on(scored: Any) -> list[str]:
    """Return what the user of the predictions should know about the data."""
    counted = (
        ("missing values", scored.missing),
        ("categories the model has never seen", scored.unknown_levels),
        ("values outside the range it has seen", scored.out_of_range),
    )
    remarks = [f"{what}: " + ", ".join(f"{name} ({n:,})" for name, n in rows.items()) for what, rows in counted if rows]
    return remarks + ([f"columns the model does not use: {', '.join(scored.extra)}"] if scored.extra else [])


for verb in (models.track, models.models, models.promote, models.rollback):
    app.command(epilog=models.EXAMPLES[verb.__name__])(verb)


@app.command(epilog="Example: tdsp doctor")
def doctor(as_json: Json = False) -> int:
    """Say what is installed, what is missing and what to type."""
    findings = examine()
    if as_json:
        say_json([dict(zip(("what", "fine", "told", "remedy"), finding, strict=True)) for finding in findings])
    for what, fine, told, remedy in findings if not as_json else []:
        say(f"{'ok     ' if fine else 'MISSING'}  {what}: {told}" + ("" if fine else f"\n         {remedy}"))
    return 0 if all(fine for _, fine, _, _ in findings) else 1


def examine() -> list[tuple[str, bool, str, str]]:
    """Return what was looked at, whether it is fine, what was found, and what to do otherwise."""
    import importlib.metadata as metadata
    import platform
    import shutil

    from packaging.requirements import Requirement

    python = platform.python_version()
    findings = [("Python", sys.version_info >= (3, 11), python, "Install Python 3.11 or newer.")]
    for line in metadata.requires("tdsp") or []:
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(need.name)
            fine = need.specifier.contains(found, prereleases=True)
        except metadata.PackageNotFoundError:
            found, fine = "not installed", False
        findings.append((need.name, fine, found, f"pip install '{need.name}{need.specifier}'"))
    findings.append(_examine_lightgbm())
    root = find_root()
    try:
        preflight.require_writable(root / "outputs" / "runs")
        findings.append(("outputs", True, str(root / "outputs"), ""))
    except TdspError as error:
        findings.append(("outputs", False, str(error), "Work in a folder of your own."))
    free = shutil.disk_usage(root).free / 2**30
    findings.append(("disk", free >= 1, f"{free:.1f} GiB free", "Free at least 1 GiB."))
    return findings


def _examine_lightgbm() -> tuple[str, bool, str, str]:
    remedy = "It needs the OpenMP library. Debian, Ubuntu: apt install libgomp1; macOS: brew install libomp."
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        return "LightGBM loads", False, str(error), remedy
    return "LightGBM loads", True, str(lightgbm.__version__), ""


# what is told about runs --------------------------------------------------------------------------------------------
def tell_outcome(outcome: RunOutcome) -> None:
    """Print verdict, number, page and next step of a run that has just ended."""
    record, folder = outcome.record, outcome.folder
    say(f"{result_of(record)}" + (f"   {number_of(record)}" if number_of(record) else ""))
    cover = folder / "index.html"
    say(f"{'page' if cover.exists() else 'run'}     {shown_path(cover if cover.exists() else folder)}")
    say(f"seconds  {record['seconds']:.1f}")
    if outcome.page_problem:
        warn(f"The pages could not be rendered: {outcome.page_problem} (details: {shown_path(folder / 'run.log')})")
    say(f"Next: {next_step(folder, record)}")


def tell_board(board: list[batch_runs.Progress]) -> None:
    """Print how the members of a batch ended."""
    say_table(("run", "result", "number", "seconds", "folder"), [board_row(progress) for progress in board])
    ran = any(progress.folder for progress in board)
    say(f"\nNext: {'tdsp runs' if ran else 'mend what is named below, then run again'}")


def board_row(progress: batch_runs.Progress) -> tuple[str, ...]:
    """Return a member of a batch as one row."""
    record = progress.record
    folder = shown_path(Path(progress.folder)) if progress.folder else ""
    if record:
        return progress.member.label, progress.state, number_of(record), seconds_of(record), folder
    return progress.member.label, progress.state, "", "", folder


def next_step(folder: Path, record: RunRecord) -> str:
    """Return what a person does after a run."""
    if record.status != "succeeded":
        return f"tdsp show {folder.name}; mend the cause, then run again"
    if record.verdict == "accepted":
        return f"tdsp predict {shlex.quote(shown_path(folder / 'model'))} DATA -o OUT"
    return f"open the page: it names what was not met; tdsp show {folder.name} lists the gates"


def tell_run(folder: Path, record: RunRecord) -> None:
    """Print the board of one run."""
    say(f"{record['title']}\n{folder.name}   {format_date(record['started_at'])}")
    say(f"{result_of(record)}" + (f"   {number_of(record)}" if number_of(record) else "") + "\n")
    say_table(
        ("stage", "status", "seconds", "result"),
        [(s.name, s.status, seconds_of(s), s.headline.verdict if s.headline else "") for s in record.stages],
    )
    if record.gates:
        say("")
        say_table(("gate", "value", "interval", "rule", "answer"), [gate_row(gate) for gate in record.gates])
    if reason := pipeline.failure_of(record):
        say(f"\n{reason}")
    cover = folder / "index.html"
    say(f"\n{shown_path(cover if cover.exists() else folder)}\nNext: {next_step(folder, record)}")


def gate_row(gate: Gate) -> tuple[str, ...]:
    """Return name, value, interval, rule and answer of a gate as texts."""
    value, interval = format_estimate(gate.value, gate.low, gate.high)
    return gate.name, value, interval, f"{gate.rule} {gate.limit:g}", gate.answer


def tell_comparison(found: Any, written: list[Path]) -> None:
    """Print each run's verdict against the reference, what differs, and the page."""
    from tdsp.reporting.comparison.statistics import gain_text

    say(f"Compared with {found.reference}, on the same test rows; a positive gain is better")
    gains = [(pair.main.label, gain_text(pair.main)) if pair.main else ("", "") for pair in found.pairs]
    rows = [(pair.run, pair.verdict, *gain) for pair, gain in zip(found.pairs, gains, strict=True)]
    say_table(("run", "verdict", "measure", "gain, 95 % interval"), rows)
    for pair in found.pairs:
        say(f"\n{pair.run}: {len(pair.changes)} difference{'s' * (len(pair.changes) != 1)} in the making")
        shown = [(change.what, change.before, change.now, change.answer) for change in pair.changes[:10]]
        changes = [tuple(map(shortened, row)) for row in shown]
        if changes:
            say_table(("what", "before", "now", "can it explain the result?"), changes)
    if len(found.pairs) > 1:
        chance = min(100, 5 * len(found.pairs))
        say(f"\nOf {len(found.pairs)} equal runs, one or more would be called different in up to {chance} % of cases.")
    say("")
    for path in written:
        say(f"Next: open {shown_path(path)}")


def shortened(text: str, most: int = 36) -> str:
    """Return a text cut to the width of a column."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def result_of(record: RunRecord) -> str:
    """Return the verdict, or the status where there is none."""
    return record.verdict or record.current_status


def number_of(record: RunRecord) -> str:
    """Return the number that the verdict rests on, with its interval; empty where there is none."""
    headline = record.headline
    if headline is None or not record.verdict:
        return ""
    metric = record.metrics[headline.metric]
    value, interval = format_estimate(metric.value, metric.low, metric.high)
    return f"{metric.label} {value}" + (f", 95 % interval {interval}" if interval else "")


def row_of(record: RunRecord) -> tuple[str, ...]:
    """Return a run as one row of `tdsp runs`."""
    when = format_date(record.started_at)
    return record.run_id, when, result_of(record), number_of(record), seconds_of(record)


def summary_of(folder: Path, record: RunRecord) -> dict[str, Any]:
    """Return what `runs --json` tells of a run."""
    kept = ("run_id", "project", "verdict", "started_at", "seconds", "metrics", "gates")
    return {"folder": str(folder), "status": record.current_status} | {name: getattr(record, name) for name in kept}


def outputs_folder(out: Path | None) -> Path:
    """Return the folder of all runs."""
    return out or find_root() / "outputs"


def shown_path(path: Path) -> str:
    """Return a path as short as it can be typed here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def parse_settings(settings: list[str] | None) -> dict[str, str]:
    """Return `name=value` texts as a mapping. Raises ParameterError."""
    pairs: dict[str, str] = {}
    for text in settings or []:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise ParameterError(f"--set takes NAME=VALUE, not {text!r}: for example --set cv_folds=3")
        if name.strip() in pairs:
            raise ParameterError(f"--set gives {name.strip()} twice; keep one.")
        pairs[name.strip()] = value
    return pairs


# the end ------------------------------------------------------------------------------------------------------------
def _reraise_in_debug() -> None:
    if os.environ.get("TDSP_DEBUG"):
        raise


def call(arguments: list[str]) -> int:
    """Run one command; return its exit code. An error is one message on stderr."""
    if "--debug" in arguments:
        os.environ["TDSP_DEBUG"] = "1"  # core and the kernels read it too
        arguments = [text for text in arguments if text != "--debug"]
    try:
        return app(arguments, prog_name="tdsp", standalone_mode=False) or 0
    except TdspError as error:
        return _fail(error, str(error), error.exit_code)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own: a verb or option that does not exist
            return _fail(error, _usage(error), 2)
        if isinstance(error, OSError) and error.strerror:
            place = f": {error.filename}" if error.filename else ""
            return _fail(error, f"{error.strerror}{place}", 1)
        return _fail(error, f"{type(error).__name__}: {error}\nThis was not foreseen; --debug shows where.", 1)


def _fail(error: BaseException, message: str, code: int) -> int:
    if os.environ.get("TDSP_DEBUG"):
        warn("".join(traceback.format_exception(error)))
    warn(f"error: {message}")
    return code


def _usage(error: Any) -> str:
    """Return a usage error in the voice of the other errors."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "tdsp"
    message = error.format_message().rstrip(".")
    if message.startswith("No such command") and "Did you mean" not in message:
        word = message.split("'")[1]
        message += "." + did_you_mean(word, typer.main.get_group(app).commands)
    return f"{message.rstrip('.?')}{'?' if message.endswith('?') else '.'} `{path} --help` shows what there is."


def main() -> None:
    """Be the command `tdsp`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without the signs of a verdict still shows it
    sys.exit(call(sys.argv[1:]))


if __name__ == "__main__":
    main()
