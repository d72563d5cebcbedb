"""The verb that looks after a model: `monitor`."""

import shlex
from typing import Annotated

import typer

from tdsp.cli.console import echo, echo_json
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
    ask: Annotated[
        int, typer.Option(metavar="N", min=0, help="write ask.csv with the N rows most worth labeling by hand")
    ] = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Judge later rows by what the training rows themselves did: moved, broken, no longer accurate.

    Exit code 4 for an alarm, 0 for ok, watch, insufficient data and insufficient reference.
    """
    from tdsp.runner.monitoring import exit_code, run_monitor
    from tdsp.stages.monitoring import MonitorSettings

    outputs = outputs_folder(out)
    settings = MonitorSettings(model, data, labels, labels_from, key, window, time, str(out or ""), ask)
    folder, result = run_monitor(settings, outputs)
    if as_json:
        echo_json(result)
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
