"""The verb that looks after a model: `monitor`."""

from typing import Annotated

import typer

from tdsp.cli.console import echo, echo_json, warn
from tdsp.cli.options import Json, Out, outputs_folder, shown_path


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
    settings = MonitorSettings(model, data, labels, labels_from, key, window, time, str(out or ""))
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
        echo(f"Next: open {shown_path(folder / 'index.html')}")
    return exit_code(result["state"])
