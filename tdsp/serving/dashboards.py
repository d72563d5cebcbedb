"""A Grafana dashboard and Prometheus alert rules for a model, made from its bundle: what `tdsp serve` exports."""

# Grafana's classic JSON model, schemaVersion 39 (https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/),
# which every version from 10 on imports; rules as Prometheus' `rule_files` and `promtool check rules` take them.

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from tdsp.core.files import Json, sha256_bytes, write_atomic
from tdsp.core.formatting import shorten
from tdsp.serving.predictor import ServedModel
from tdsp.serving.statistics import open_window

Panel: TypeAlias = dict[str, Json]
SOURCE = {"type": "prometheus", "uid": "${source}"}  # chosen in Grafana when the dashboard is opened
WIDTH = 24  # of Grafana's grid


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule of Prometheus."""

    name: str
    expr: str
    lasting: str  # before it fires
    severity: str
    summary: str


def write_dashboards(served: ServedModel, folder: Path) -> tuple[Path, Path]:
    """Write MODEL.grafana.json and MODEL.rules.yml into the folder; return their paths."""
    paths = folder / f"{served.name}.grafana.json", folder / f"{served.name}.rules.yml"
    write_atomic(paths[0], json.dumps(dashboard(served), indent=1, ensure_ascii=True) + "\n")
    write_atomic(paths[1], rules_text(served))
    return paths


def of_model(served: ServedModel, expr: str) -> str:
    """Return an expression restricted to the instances that serve this model."""
    name = json.dumps(served.name, ensure_ascii=False)
    return f"({expr}) and on (instance, job) tdsp_model{{name={name}}}"


# rules --------------------------------------------------------------------------------------------------------------
def rules(served: ServedModel) -> list[Rule]:
    """Return the rules of a model: what its service can see without labels."""
    by = "sum by (instance, job)"
    failing = f'{by} (rate(tdsp_requests_total{{status=~"5.."}}[5m])) > 0'
    every = 'tdsp_requests_total{path="/invocations"}[15m]'
    refused = every.replace("}", ',status=~"4.."}')
    found = [
        Rule("TdspRequestsFail", failing, "5m", "critical", "the service cannot predict"),
        Rule("TdspRequestsRefused", f"{by} (rate({refused})) > 0.05 * {by} (rate({every}))", "15m", "warning",
             "more than 5 % of the requests do not fit the model"),
        Rule("TdspLogIncomplete", "delta(tdsp_log_rows_dropped[15m]) > 0", "1m", "warning",
             "predictions are missing in the log, and so in monitoring"),
        Rule("TdspReloadRefused", 'increase(tdsp_reloads_total{result="refused"}[15m]) > 0', "1m", "warning",
             "a promoted model could not be taken in; the one before serves on"),
    ]  # fmt: skip
    if open_window(served).status == "ok":
        found += [
            Rule("TdspDrift", "tdsp_drift_level > 1", "1h", "warning",
                 "{{ $labels.column }} lies further out than 95 % of the windows of the training rows; "
                 "`tdsp monitor` says whether it moved or broke"),
            Rule("TdspDriftFar", "tdsp_drift_level > 3", "15m", "critical",
                 "{{ $labels.column }} lies beyond three times the level that 5 % of training windows pass"),
        ]  # fmt: skip
    return [replace(rule, expr=of_model(served, rule.expr)) for rule in found]


def rules_text(served: ServedModel) -> str:
    """Return the rules as YAML; every text is a JSON text, which is YAML as well, whatever a name holds."""
    lines = ["groups:", f"  - name: {json.dumps('tdsp ' + served.name)}", "    rules:"]
    for rule in rules(served):
        lines += [
            f"      - alert: {rule.name}",
            f"        expr: {json.dumps(rule.expr)}",
            f"        for: {rule.lasting}",
            f"        labels: {{severity: {rule.severity}, model: {json.dumps(served.name)}}}",
            "        annotations:",
            f"          summary: {json.dumps(f'{_literal(shorten(served.name, 60))}: {rule.summary}')}",
        ]
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    """A text of data in which Prometheus' templates find nothing to run."""
    return text.replace("{{", "{ {").replace("}}", "} }")


# dashboard ----------------------------------------------------------------------------------------------------------
def dashboard(served: ServedModel) -> dict[str, Json]:
    """Return the dashboard: traffic, errors and time; then drift, gaps and predictions against the reference."""
    judged = open_window(served).status == "ok"

    def panel(title: str, *queries: tuple[str, str], unit: str = "short", limit: float | None = None) -> Panel:
        own = [(of_model(served, expr), legend) for expr, legend in queries]
        return _panel(title, own, unit=unit, limit=limit)

    each = "sum by (instance, job)"
    latency = f"histogram_quantile(0.95, {each.replace('(', '(le, ', 1)} (rate(tdsp_request_seconds_bucket[5m])))"
    statuses = f"{each.replace('(', '(status, ', 1)} (rate(tdsp_requests_total[5m]))"
    drift = [
        panel("Drift by column; 1 is passed by 5 % of the reference's windows", ("tdsp_drift_level", "{{column}}"),
              limit=1.0),
        panel("Rank of the running window among the reference's own", ("tdsp_window_p", "p")),
    ]  # fmt: skip
    panels = [
        panel("Rows predicted a second", (f"{each} (rate(tdsp_predictions_total[5m]))", "{{instance}}")),
        panel("Responses a second", (statuses, "{{status}}")),
        panel("Time of a response, 95 % within", (latency, "{{instance}}"), unit="s"),
        panel("Refused requests by column", ("rate(tdsp_rejected_fields_total[15m])", "{{column}}")),
        *(drift if judged else []),
        panel("Rows in the running window", ("tdsp_window_rows", "rows"), ("tdsp_window_full_rows", "full")),
        panel("Share without a value", ("tdsp_missing_share", "{{column}} {{of}}"), unit="percentunit"),
        panel("Predictions", ("tdsp_prediction_quantile", "{{output}} {{quantile}} {{of}}"),
              ("tdsp_prediction_mean", "{{output}} mean")),
        panel("Levels never seen in training, a second", ("rate(tdsp_unseen_levels_total[15m])", "{{column}}")),
    ]  # fmt: skip
    name = served.name.encode(errors="replace").decode()
    variable: Panel = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus", "hide": 0}
    return {
        "id": None, "uid": f"tdsp-{sha256_bytes(name.encode())[:16]}", "title": f"tdsp: {shorten(name, 80)}",
        "description": f"{shorten(served.title or name, 200)}. {_about(served)}", "tags": ["tdsp"],
        "timezone": "utc", "editable": True, "graphTooltip": 1, "schemaVersion": 39, "version": 1, "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"}, "timepicker": {}, "links": [], "annotations": {"list": []},
        "templating": {"list": [variable]},
        "panels": [panel | {"id": i + 1, "gridPos": _place(i)} for i, panel in enumerate(panels)],
    }  # fmt: skip


def _about(served: ServedModel) -> str:
    window = open_window(served)
    if window.status == "ok":
        return f"Drift is judged on the last {window.rows:,} rows, in levels of the training rows' own windows."
    return f"Drift is not shown: the bundle has {window.status}."


def _place(i: int) -> dict[str, Json]:
    return {"x": WIDTH // 2 * (i % 2), "y": 8 * (i // 2), "w": WIDTH // 2, "h": 8}


def _panel(title: str, queries: Sequence[tuple[str, str]], *, unit: str = "short", limit: float | None = None) -> Panel:
    """A panel of lines; `limit` is a dashed line."""
    steps: list[Json] = [{"color": "blue", "value": None}]
    steps += [] if limit is None else [{"color": "orange", "value": limit}]
    custom = {"thresholdsStyle": {"mode": "off" if limit is None else "dashed"}}
    return {
        "type": "timeseries", "title": title, "datasource": SOURCE,
        "targets": [
            {"refId": chr(65 + i), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
            for i, (expr, legend) in enumerate(queries)
        ],
        "fieldConfig": {"defaults": {"unit": unit, "custom": custom,
                                     "thresholds": {"mode": "absolute", "steps": steps}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                    "tooltip": {"mode": "multi", "sort": "desc"}},
    }  # fmt: skip
