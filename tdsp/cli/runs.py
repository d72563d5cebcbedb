"""The verbs that look at runs: `runs`, `show`, `compare` and `report`."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdsp.cli.console import echo, echo_json, echo_table, seconds_of, warn
from tdsp.cli.options import Json, Out, RunName, outputs_folder, shown_path
from tdsp.cli.run import next_step_text
from tdsp.core.formatting import format_date, format_estimate
from tdsp.core.record import RunRecord, find_run, read_record, read_runs
from tdsp.core.results import Gate
from tdsp.core.summary import summarize

if TYPE_CHECKING:
    from tdsp.reporting.comparison.statistics import Comparison


def runs(
    project: Annotated[str, typer.Option(help="only the runs of this project")] = "",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="the newest so many")] = 20,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """List the runs, newest first."""
    records, faults = read_runs(outputs_folder(out))
    for fault in faults:
        warn(f"left out: {fault}")
    chosen = [(folder, record) for folder, record in records if project in ("", record.project)][:limit]
    if as_json:
        echo_json([record_json(folder, record) for folder, record in chosen])
        return 0
    if not chosen:
        echo("No run yet.  Next: tdsp run parameters/NAME.yaml")
        return 0
    rows = [row_of(record) for _, record in chosen]
    echo_table(("run", "started", "result", "number", "seconds"), rows)
    echo(f"\nNext: tdsp show {chosen[0][0].name}")
    return 0


def show(name: RunName, out: Out = None, as_json: Json = False) -> int:
    """Show one run: verdict, number, stages, gates."""
    folder = find_run(name, outputs_folder(out))
    record = read_record(folder)
    if as_json:
        echo_json(replace(record, status=record.current_status))
    else:
        print_run(folder, record)
    return 0


def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help="the reference, then one or more other runs")],
    margin: Annotated[
        float | None, typer.Option(min=0, help="difference that counts as none; else 5 % of the gain over guessing")
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Say whether runs are better than the first one, on the same test rows, and what can explain it.

    Exit code 2 when a run cannot be compared with the first one: other test rows, metric or target, or no result.
    """
    from tdsp.reporting import pages

    outputs = outputs_folder(out)
    folders = [find_run(name, outputs) for name in names]
    found, written = pages.render_comparison(folders, outputs, math.nan if margin is None else margin)
    if as_json:
        echo_json(found)
    else:
        print_comparison(found, written)
    for pair in found.pairs:
        if pair.verdict == "not comparable":
            warn(f"error: {pair.run} is not comparable with {pair.reference}: {pair.why}")
    return 0 if found.comparable else 2


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
    echo(str(written))
    if browse and sys.stdout.isatty():
        typer.launch(str(written))
    return 0


def print_run(folder: Path, record: RunRecord) -> None:
    """Print the board of one run."""
    echo(f"{record.title}\n{folder.name}   {format_date(record.started_at)}")
    summary = summarize(record)
    echo("   ".join(filter(None, (summary.result, summary.number_text))) + "\n")
    echo_table(
        ("stage", "status", "seconds", "result"),
        [(s.name, s.status, seconds_of(s), s.headline.verdict if s.headline else "") for s in record.stages],
    )
    if record.gates:
        echo("")
        echo_table(("gate", "value", "interval", "rule", "answer"), [gate_row(gate) for gate in record.gates])
    if summary.failure_text:
        echo(f"\n{summary.failure_text}")
    cover = folder / "index.html"
    echo(f"\n{shown_path(cover if cover.exists() else folder)}\nNext: {next_step_text(folder, record)}")


def gate_row(gate: Gate) -> tuple[str, ...]:
    """Return name, value, interval, rule and answer of a gate as texts."""
    value, interval = format_estimate(gate.value, gate.low, gate.high)
    return gate.name, value, interval, f"{gate.rule} {gate.limit:g}", gate.answer


def print_comparison(found: "Comparison", written: list[Path]) -> None:
    """Print each run's verdict against the reference, what differs, and the page."""
    from tdsp.reporting.comparison.page import rows_text
    from tdsp.reporting.comparison.statistics import gain_text

    same = ", on the same test rows" if any(pair.main for pair in found.pairs) else ""
    echo(f"Compared with {found.reference}{same}; a positive gain is better")
    gains = [(pair.main.label, gain_text(pair.main)) if pair.main else ("", "") for pair in found.pairs]
    rows = [(pair.run, pair.verdict, *gain) for pair, gain in zip(found.pairs, gains, strict=True)]
    echo_table(("run", "verdict", "measure", "gain, 95 % interval"), rows)
    for pair in found.pairs:
        if pair.main and pair.tested != (pair.rows, pair.rows):
            echo(f"{pair.run} is compared on {rows_text(pair)}")
    for gain in [pair.main for pair in found.pairs if pair.main and not pair.identical][:1]:
        echo(f"a difference below {gain.margin:.3g} of {gain.label} counts as none")
    for pair in found.pairs:
        echo(f"\n{pair.run}: {len(pair.changes)} difference{'s' * (len(pair.changes) != 1)} in the making")
        shown = [(change.what, change.before, change.now, change.answer) for change in pair.changes[:10]]
        changes = [tuple(map(shortened, row)) for row in shown]
        if changes:
            echo_table(("what", "before", "now", "can it explain the result?"), changes)
    if len(found.pairs) > 1:
        chance = min(100, 5 * len(found.pairs))
        echo(f"\nOf {len(found.pairs)} equal runs, one or more would be called different in up to {chance} % of cases.")
    echo("")
    for path in written:
        echo(f"Next: open {shown_path(path)}")


def shortened(text: str, most: int = 36) -> str:
    """Return a text cut to the width of a column."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def row_of(record: RunRecord) -> tuple[str, ...]:
    """Return a run as one row of `tdsp runs`."""
    when = format_date(record.started_at)
    summary = summarize(record)
    return record.run_id, when, summary.result, summary.number_text, seconds_of(record)


def record_json(folder: Path, record: RunRecord) -> dict[str, object]:
    """Return a run as `runs --json` prints it."""
    kept = ("run_id", "project", "verdict", "started_at", "seconds", "metrics", "gates")
    return {"folder": str(folder), "status": record.current_status} | {name: getattr(record, name) for name in kept}
