"""The verbs that look after a model: `monitor` and `cycle`."""

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdsp.cli.console import echo, echo_json, warn
from tdsp.cli.options import Json, Out, outputs_folder, shown_path
from tdsp.core.errors import ExitCode, ParameterError

if TYPE_CHECKING:
    from tdsp.runner.cycle import CycleOutcome
    from tdsp.runner.pipeline import PipelineEvent


def monitor(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="run, bundle folder, wheel, NAME@champion or NAME@3")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="any source of a run, or a service's log: outputs/predictions/NAME")
    ],
    labels: Annotated[str, typer.Option(metavar="COL", help="column of the data that holds the truth")] = "",
    labels_from: Annotated[
        str, typer.Option(metavar="TABLE", help="source that holds the truth, joined by --key")
    ] = "",
    key: Annotated[str, typer.Option(metavar="COL", help="column that joins labels and rows [a log: key]")] = "",
    window: Annotated[
        str, typer.Option(metavar="day|week|month|N", help="judged together [what fits the training]")
    ] = "",
    time: Annotated[str, typer.Option(metavar="COL", help="column with the time of a row [that of the training]")] = "",
    alert_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="TDSP_ALERT_WEBHOOK",
            show_default=False,
            help="webhook for a change of state, Slack's format; a secret: prefer the variable, a list of processes "
            "shows the option",
        ),
    ] = "",
    ask: Annotated[
        int, typer.Option(metavar="N", min=0, help="write ask.csv with the N rows most worth labeling by hand")
    ] = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Judge later rows by what the training rows themselves did: moved, broken, no longer accurate.

    Exit code 4 for an alarm, 0 for ok, watch, insufficient data and insufficient reference. All models:
    outputs/monitoring/index.html.
    """
    from tdsp.runner.alerts import deliver_state, require_webhook
    from tdsp.runner.monitoring import exit_code, run_monitor
    from tdsp.stages.monitoring import MonitorSettings

    outputs, webhook = outputs_folder(out), require_webhook(alert_url)
    settings = MonitorSettings(model, data, labels, labels_from, key, window, time, str(out or ""), ask)
    folder, result = run_monitor(settings, outputs)
    alert = deliver_state(folder, result, webhook)
    if alert.text:
        warn(alert.text)
    if as_json:
        echo_json(result | {"alert": alert.result})
    else:
        echo(f"{result['state']}: {result['sentence']}")
        for finding in result["findings"]:
            if finding["state"] != "ok":
                echo(f"  {finding['state']:<8} {finding['text']}  {finding['todo']}")
        if ask:
            chosen = shown_path(folder / "ask.csv")
            echo(f"Rows to label: {chosen}. Fill the column {result['target']} and leave all others as they are, then:")
            echo(f"  tdsp monitor {shlex.join([model, str(chosen), '--labels', result['target']])}")
        echo(f"Next: open {shown_path(folder / 'index.html')}")
    return exit_code(result["state"])


def cycle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="parameter file; its loop is in NAME.cycle.yaml")],
    until: Annotated[str, typer.Option(metavar="DATE", help="what counts as now, in UTC [now]")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="decide, and write nothing")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="print what would happen now and why; a dry run")] = False,
    schedule: Annotated[bool, typer.Option("--schedule", help="print lines for cron, systemd and CI services")] = False,
    replay: Annotated[
        str, typer.Option(metavar="month|week|day", help="what each way to retrain would have given in the past")
    ] = "",
    scheduled: Annotated[int, typer.Option(metavar="N", help="of a replay: windows between trainings [3, 4, 7]")] = 0,
    label_delay: Annotated[
        int | None, typer.Option(metavar="DAYS", help="of a replay: until a label is known [labels_late]")
    ] = None,
    cost: Annotated[
        float | None, typer.Option(metavar="N", help="of a replay: wholly wrong predictions that a training costs")
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Take one turn of the loop: monitor the last complete window, decide, train again, compare, promote or keep.

    A window is decided once; a turn that was cut off goes on with the next call. Exit code 0 decided, 4 alarm.
    """
    from tdsp.runner.alerts import VARIABLE, deliver_state, require_webhook
    from tdsp.runner.cycle import run_cycle
    from tdsp.runner.monitoring import render_dashboard

    if replay:
        if until or dry_run or explain or schedule:
            raise ParameterError("--replay goes with --scheduled, --label-delay, --cost, --out and --json only.")
        return print_replay(
            file, replay, scheduled=scheduled, label_delay=label_delay, cost=cost, out=out, as_json=as_json
        )
    if (scheduled, label_delay, cost) != (0, None, None):
        raise ParameterError("--scheduled, --label-delay and --cost belong to --replay month, week or day.")
    if schedule:
        from tdsp.config.cycle import read_cycle
        from tdsp.runner.preflight import plan_run
        from tdsp.runner.schedules import schedule_lines

        plan = plan_run(file, out=out)
        echo(schedule_lines(plan.file, plan.root, read_cycle(plan.file).every))
        return 0
    dry, webhook = dry_run or explain, require_webhook(os.environ.get(VARIABLE, ""))
    say = echo if explain and not as_json else warn
    try:
        found = run_cycle(file, until=until, dry=dry, out=out, say=say, watch=_show_stage)
    except KeyboardInterrupt:
        warn("Interrupted. The champion is as it was; the next call goes on with this turn.")
        return ExitCode.INTERRUPTED
    if found.decision is not None and not dry:
        render_dashboard(outputs_folder(out))
        report = outputs_folder(out) / found.decision.monitor
        if found.decision.monitor and (report / "monitor.json").is_file():  # an old report may be gone
            alert = deliver_state(report, json.loads((report / "monitor.json").read_bytes()), webhook)
            if alert.text:
                warn(alert.text)
    if as_json:
        echo_json({"busy": found.busy, "known": found.known, "dry_run": dry, "decision": found.decision})
    elif found.decision is not None:
        print_decision(found, outputs_folder(out), dry=dry)
    return _code_of(found)


def _show_stage(event: "PipelineEvent") -> None:
    if event.state not in ("running", "preparing"):
        warn(f"           {event.stage} {event.state}")


def _code_of(found: "CycleOutcome") -> int:
    """Return 4 for a decision on an alarm, 1 after a training that failed, 0 for others and for what is known."""
    from tdsp.runner.monitoring import exit_code

    if found.decision is None or found.known:
        return 0
    return 1 if found.decision.reason == "run_failed" else exit_code(found.decision.state)


def print_decision(found: "CycleOutcome", outputs: Path, *, dry: bool) -> None:
    """Print a decision and what to do next."""
    made = found.decision
    assert made is not None  # the caller has looked
    echo(f"{made.window}  {'would be ' if dry else ''}{made.decision} ({made.reason}): {made.text}")
    if dry:
        echo("Nothing was written.  Next: the same without --dry-run or --explain")
    elif made.monitor:
        echo(f"Next: open {shown_path(outputs.absolute() / made.monitor / 'index.html')}")
    else:
        echo(f"Next: tdsp models {made.model}")


def print_replay(
    file: Path, size: str, *, scheduled: int, label_delay: int | None, cost: float | None, out: Path | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Replay the history of a table, print its policies and the recommendation; return 0."""
    from tdsp.reporting.replay_page import policies_table
    from tdsp.runner.preflight import plan_run
    from tdsp.runner.replay import run_replay
    from tdsp.stages.replay import result_record

    folder, result = run_replay(
        file, size, plan_run(file, out=out).outputs, every=scheduled, label_delay=label_delay, cost=cost,
        progress=lambda line: warn(f"  {line}"),
    )  # fmt: skip
    if as_json:
        echo_json(result_record(result))
        return 0
    echo(policies_table(result).to_string(index=False))
    echo(result.recommendation)
    echo(f"Next: open {shown_path(folder / 'index.html')}")
    return 0
