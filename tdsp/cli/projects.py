"""The verbs that prepare a run: `init`, `check` and `ingest`."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdsp.cli.console import echo, echo_json, echo_table, reraise_in_debug, warn
from tdsp.cli.options import Files, Json, Out, Sets, parse_settings, shown_path
from tdsp.config.parameters import Resolved
from tdsp.core.errors import ExitCode, ParameterError, TdspError
from tdsp.core.formatting import count_of
from tdsp.core.project import find_root
from tdsp.runner import preflight

if TYPE_CHECKING:
    from tdsp.data.ingest import Table
    from tdsp.runner.new_project import DraftColumn


def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="table: a file, a folder, or a URI")],
    target: Annotated[str, typer.Option("--target", metavar="COLUMN", help="column to predict")],
    name: Annotated[str, typer.Option("--name", help="of the project [default: from the file's name]")] = "",
    encoding: Annotated[str, typer.Option("--encoding", help="of a text file: cp1251, gb18030 [default: found]")] = "",
    sheet: Annotated[str, typer.Option("--sheet", help="of a workbook [default: the one with the target]")] = "",
    member: Annotated[str, typer.Option("--member", help="file of a zip [default: its only one]")] = "",
    drop: Annotated[list[str] | None, typer.Option("--drop", metavar="COLUMN", help="no feature; repeatable")] = None,
    as_json: Json = False,
) -> int:
    """Profile a table and write parameters/NAME.yaml, with the reason of every guess."""
    from tdsp.runner.new_project import write_draft

    if sheet and member:
        raise ParameterError("--sheet and --member name two parts of one file. Give one of them.")
    root = find_root()
    draft = write_draft(data, target, root=root, name=name, encoding=encoding, sheet=sheet or member, drop=drop or ())
    if as_json:
        echo_json(draft)
        return 0
    echo(f"{count_of(draft.rows, 'row')}, {count_of(draft.columns, 'column')}")
    for remark in draft.remarks:
        echo(f"  {remark}")
    echo_columns(draft.read)
    for sentence in draft.set_aside:
        echo(f"set aside: {sentence}")
    for key, guess in draft.guesses.items():
        echo(f"{key}: {guess.value if guess.value not in ('', []) else 'none'}  ({guess.why})")
    sql = draft.parameters.with_suffix(".sql")
    written = [draft.parameters, *([sql] if sql.exists() else []), draft.charter, draft.contract]
    written += [draft.notebooks] if draft.notebooks else []
    if root != Path.cwd():
        echo(f"The project is {root}, above this folder; for one of its own here, run mkdir parameters first")
    echo(f"Wrote {', '.join(shown_path(path) for path in written)}")
    echo(f"Next: tdsp run {shlex.quote(shown_path(draft.parameters))}")
    return 0


MAX_COLUMNS_SHOWN = 40


def echo_columns(columns: Sequence["DraftColumn"]) -> None:
    """Print what each column was read as, those with a guess first where there are too many for a screen."""
    few = len(columns) <= MAX_COLUMNS_SHOWN
    shown = columns if few else sorted(columns, key=lambda column: not column.note)[:MAX_COLUMNS_SHOWN]
    rows = [
        (_middle_cut(c.name), c.read_as, "; ".join(c.examples), f"{c.gaps:,}" if c.gaps else "", c.note) for c in shown
    ]
    echo_table(("column", "read as", "for example", "gaps", "guessed"), rows)
    if not few:
        echo(f"and {count_of(len(columns) - len(shown), 'column')} more; --json lists all")


def _middle_cut(name: str, most: int = 40) -> str:
    """A long name with its beginning and its end, as questions of a survey differ there."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def check(
    files: Files,
    settings: Sets = None,
    cached: Annotated[
        bool, typer.Option("--cached", help="say whether every result is current, without loading data")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Check parameter files, load and transform their data, without running a notebook.

    With --cached exit code 3 where a run would do something new, or nobody can know without fetching the data.
    """
    if cached:
        return check_current(files, parse_settings(settings), out, as_json)
    results = [check_file(file, parse_settings(settings), out) for file in files]
    for result in results:
        if result.problem:
            warn(f"error: {result.problem}")
        elif not as_json:
            echo(f"{result.file}: ready, {count_of(result.rows, 'row')}, {count_of(result.columns, 'column')}")
    ready = [result.file for result in results if not result.problem]
    if as_json:
        echo_json(results)
    elif ready:
        echo(f"Next: tdsp run {shlex.join(ready)}")
    return max((result.exit_code for result in results), default=0)


def check_current(files: Files, settings: dict[str, str], out: Path | None, as_json: bool) -> int:
    """Print for each file whether its newest run is what a run would give now; return 0 or 3."""
    from tdsp.runner.pipeline import explain_run

    current: dict[str, str] = {}
    for file in files:
        reuse = explain_run(file, settings=settings, out=out)
        unknown = "unknown: a source is remote, grows, or none is named"
        stale = next(iter(reuse.reasons.items()), ("", "")) if reuse else ("", "")
        current[str(file)] = unknown if reuse is None else f"stale: {stale[0]}, {stale[1]}" if stale[0] else "current"
    if as_json:
        echo_json(current)
    else:
        for name, state in current.items():
            echo(f"{name}: {state}")
    return ExitCode.DONE if set(current.values()) == {"current"} else ExitCode.NOT_ACCEPTED


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The findings of `check` for one file."""

    file: str
    problem: str = ""
    exit_code: int = ExitCode.DONE
    rows: int = 0
    columns: int = 0


def check_file(file: Path, settings: dict[str, str], out: Path | None) -> CheckResult:
    """Return what is wrong with one file, or the size of its table."""
    try:
        table = preflight.check_plan(preflight.plan_run(file, settings=settings, out=out))
    except TdspError as error:
        reraise_in_debug()
        problem = str(error) if str(file) in str(error) else f"{file}: {error}"
        return CheckResult(str(file), problem, error.exit_code)
    return CheckResult(str(file), rows=table.rows, columns=len(table.columns)) if table else CheckResult(str(file))


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
    divided = divide(table.path, plan.resolved, parts) if parts else {}
    version = publish(table.path, delta, table.sha256) if delta else None
    if as_json:
        kept = ("sha256", "rows", "columns", "inputs", "new_rows", "reused")
        more = {"path": str(table.path), "delta_version": version, "parts": divided}
        remarks = [str(remark) for remark in table.remarks]
        echo_json({name: getattr(table, name) for name in kept} | more | {"remarks": remarks})
        return 0
    echo_sources(table)
    if delta:
        echo(f"delta    version {version} of {delta}")
    if parts:
        learned, tested = count_of(divided["train"], "row"), f"{divided['test']:,}"
        echo(f"parts    {learned} to learn from, {tested} to test on: {shown_path(parts)}")
    echo(f"contract {shown_path(contract)}")
    echo(f"Next: tdsp run {shlex.quote(str(file))}")
    return 0


def echo_sources(table: "Table") -> None:
    """Print the sources that were fetched with their remarks, and the modeling table."""
    new = {name: f"{n:,}" for name, n in table.new_rows.items()}
    rows: list[tuple[str, ...]] = [
        (i["name"], f"{i['rows']:,}", new.get(i["name"], ""), f"{i['bytes']:,}", i["sha256"][:12]) for i in table.inputs
    ]
    echo_table(("source", "rows", "new", "bytes", "sha256"), rows)
    for remark in table.remarks:
        echo(f"  {remark}")
    made = "as before" if table.reused else "made"
    size = f"{count_of(table.rows, 'row')}, {count_of(len(table.columns), 'column')}"
    echo(f"table    {size}, {made}: {shown_path(table.path)}")


def divide(path: Path, resolved: Resolved, folder: Path) -> dict[str, int]:
    """Write a table's training and test rows to the folder; return how many there are of each."""
    from tdsp.data.splits import write_parts
    from tdsp.stages.data_acquisition import split_options

    return write_parts(path, folder=folder, **split_options(resolved.values))
