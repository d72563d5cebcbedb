"""The verbs that use a model: `predict` and `serve`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdsp.cli.console import echo, echo_json, row_counter
from tdsp.cli.options import Json, Out, RequireSignature, VerifyKey, outputs_folder, required_key, shown_path
from tdsp.core.formatting import count_of, format_seconds

if TYPE_CHECKING:
    from tdsp.serving.batch import BatchResult


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="run, bundle folder, wheel, NAME@champion or NAME@3")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="CSV, Parquet or Delta, or the URI of a file or query")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="file to write: .csv or .parquet")],
    require_signature: RequireSignature = False,
    verify_key: VerifyKey = None,
    safe_cells: Annotated[
        bool, typer.Option("--safe-cells", help="apostrophe before CSV texts that a spreadsheet would run (=, +, -, @)")
    ] = False,
    as_json: Json = False,
) -> int:
    """Predict a table of any size with a packaged model, after checking its hashes and the table's columns.

    Rows that do not fit the model go to a file of rejects beside the output, with the reason. The same command takes up
    what a kill has interrupted.
    """
    from tdsp.serving import batch

    signer = required_key(require_signature, verify_key)
    with row_counter() as count:
        scored = batch.predict_file(model, data, output, progress=count, verify_key=signer, safe_cells=safe_cells)
    if as_json:
        echo_json(scored)
        return 0
    echo(f"{count_of(scored.rows, 'row')} predicted in {format_seconds(scored.seconds)}: {', '.join(scored.columns)}")
    echo(f"The verdict on this model: {scored.verdict}")
    if scored.rejected:
        echo(f"{count_of(scored.rejected, 'row')} rejected, with the reasons in {scored.rejects}")
    if scored.resumed:
        echo(f"{count_of(scored.resumed, 'row')} done by an earlier call that was interrupted")
    for remark in remarks_on(scored):
        echo(remark)
    echo(f"Next: open {output}")
    return 0


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
    log_days: Annotated[float, typer.Option(min=0.01, help="days of predictions that the log keeps")] = 90,
    log_gb: Annotated[float, typer.Option(min=0.001, help="GB of them; older parts are removed")] = 5,
    log_sensitive: Annotated[
        bool, typer.Option("--log-sensitive", help="log columns named `sensitive` too; they are left out otherwise")
    ] = False,
    grafana: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="serve nothing: write a Grafana dashboard and Prometheus rules, then end"),
    ] = None,
    require_signature: RequireSignature = False,
    verify_key: VerifyKey = None,
    out: Out = None,
) -> int:
    """Answer requests with a packaged model: MLflow's /invocations, a form at /, /health, /ready, /metrics.

    A model named by an alias is followed: what is promoted answers within seconds, without a pause. Predictions are
    logged in outputs/predictions/NAME for `tdsp monitor`.
    """
    from tdsp.serving import app as service
    from tdsp.serving import security
    from tdsp.serving.prediction_log import LogLimits

    token = security.require_token(host, token_env, os.environ)
    signer, outputs = required_key(require_signature, verify_key), outputs_folder(out)
    if grafana is not None:
        return _write_dashboards(model, grafana, outputs, signer)
    service.serve(
        model, host=host, port=port, token=token, key=key, outputs=outputs, verify_key=signer, report=echo,
        log_limits=LogLimits(log_days, round(log_gb * 1e9), log_sensitive),
    )  # fmt: skip
    return 0


def _write_dashboards(model: str, folder: Path, outputs: Path, signer: Path | None) -> int:
    """Write what Grafana and Prometheus need to show this model's service."""
    from tdsp.serving.dashboards import write_dashboards
    from tdsp.serving.predictor import load_served

    board, rules = write_dashboards(load_served(model, outputs=outputs, verify_key=signer), folder)
    echo(f"Grafana: import {shown_path(board)} (Dashboards, New, Import).")
    echo(f"Prometheus: name {shown_path(rules)} in rule_files; `promtool check rules` reads it.")
    echo(f"Next: tdsp serve {model}, and let Prometheus read /metrics")
    return 0


ALONE = (
    "no record of a run is beside it, so its hashes show that its files fit one another, not who made it. "
    "`tdsp verify MODEL` shows what is known; --require-signature takes signed models only."
)


def remarks_on(scored: "BatchResult") -> list[str]:
    """Return what the user of the predictions should know about the data."""
    counted = (
        ("missing values", scored.missing),
        ("categories the model has never seen", scored.unknown_levels),
        ("values outside the range it has seen", scored.out_of_range),
    )
    remarks = [f"{what}: " + ", ".join(f"{name} ({n:,})" for name, n in rows.items()) for what, rows in counted if rows]
    if not scored.model_run:
        remarks.append(f"the model lies alone: {ALONE}")
    return remarks + ([f"columns the model does not use: {', '.join(scored.extra)}"] if scored.extra else [])
