"""The series that a service exports for Prometheus about its rows, and the dashboard and rules made for it."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tdsp.cli.app import call
from tdsp.serving import statistics
from tdsp.serving.dashboards import dashboard, rules, rules_text
from tdsp.serving.predictor import ServedModel, load_served
from tdsp.serving.requests import FieldProblem
from tdsp.serving.statistics import LiveStatistics, ServedRows, labels_of, open_window
from tests.packaging.test_onnx import table
from tests.support.serving import Running, running
from tests.support.serving import write_model as write_mixed
from tests.support.stations import SCHEMA, hours, write_model


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one model of the weather."""
    folder = tmp_path_factory.mktemp("served")
    write_model(folder, days=200, performance=False)
    return folder


@pytest.fixture(scope="module")
def served(root: Path) -> ServedModel:
    """That model, ready to predict."""
    return load_served(str(next((root / "outputs" / "runs").iterdir()) / "model"))


@pytest.fixture(scope="module")
def service(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It serves, has predicted a window and refused a request."""
    with running(next((root / "outputs" / "runs").iterdir()) / "model", tmp_path_factory.mktemp("outputs")) as found:
        found.post({"dataframe_records": [one | {"sky": "green"} for one in records(300)]})
        found.post({"dataframe_records": [{"temp": "warm"}]})
        for _ in range(100):  # the thread of the log has them by the time they are in a file
            if len(found.logged()):
                break
            time.sleep(0.1)
        yield found


def records(n: int, **changed: Any) -> list[dict[str, Any]]:
    """Rows of later hours as a client sends them."""
    frame = hours(-(-n // 24), first="2025-03-01", seed=7)[:n].assign(**changed)
    return frame[[one["name"] for one in SCHEMA["columns"]]].to_dict("records")


def seen(served: ServedModel, rows: list[dict[str, Any]]) -> ServedRows:
    """The rows and their predictions."""
    read = served.reader.read_json(json.dumps({"dataframe_records": rows}).encode())
    return ServedRows(read, served.predict(read.tensors))


def series(found: LiveStatistics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, read by Prometheus' own parser."""
    registry = CollectorRegistry()
    registry.register(found)
    text = generate_latest(registry).decode()
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    keys = [(one.name, *(one.labels[label] for label in sorted(one.labels))) for one in samples]
    assert len(keys) == len(set(keys))
    return {key: one.value for key, one in zip(keys, samples, strict=True)}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look judges anew."""
    monkeypatch.setattr(statistics, "JUDGE_SECONDS", 0.0)


def test_rows_like_those_of_training_are_within(served: ServedModel):
    """The window fills, gaps and predictions stand beside those of the reference, no drift is beyond."""
    found = LiveStatistics(served)
    full = series(found)["tdsp_window_full_rows",]
    found.add(served, [seen(served, records(int(full)))])
    now = series(found)
    assert now["tdsp_window_rows",] == full and now["tdsp_missing_share", "temp", "window"] == 0
    assert now["tdsp_missing_share", "temp", "reference"] == 0
    assert {("tdsp_prediction_quantile", of, "probability", "0.5") in now for of in ("window", "reference")} == {True}
    assert 0 <= now["tdsp_prediction_mean", "probability"] <= 1
    assert {name[1] for name in now if name[0] == "tdsp_drift_level"} == {
        "temp",
        "dewpoint",
        "pressure",
        "sky",
        "probability",
    }


def test_a_changed_unit_gaps_and_new_levels_show_by_column(served: ServedModel):
    """The column that changed lies beyond, in levels of the reference; a new level is counted."""
    found = LiveStatistics(served)
    n = int(series(found)["tdsp_window_full_rows",])
    rows = [
        one | {"pressure": 30.0, "sky": "green" if i % 2 else "blue", "temp": None} for i, one in enumerate(records(n))
    ]
    found.add(served, [seen(served, rows)])
    now = series(found)
    assert now["tdsp_drift_level", "pressure"] > 1 and now["tdsp_missing_share", "temp", "window"] == 1
    assert now["tdsp_unseen_levels_total", "sky"] == n // 2 and now["tdsp_window_p",] <= 0.05


def test_a_window_that_is_not_half_full_is_not_judged(served: ServedModel):
    """Twenty rows are no window: they are counted, drift is absent and no zero."""
    found = LiveStatistics(served)
    found.add(served, [seen(served, records(20))])
    now = series(found)
    assert now["tdsp_window_rows",] == 20 and not [
        key for key in now if key[0] in ("tdsp_drift_level", "tdsp_window_p")
    ]


def test_the_window_and_its_memory_are_bounded(served: ServedModel):
    """However many rows and whatever texts come, one window of known objects is kept."""
    found = LiveStatistics(served)
    n = int(series(found)["tdsp_window_full_rows",])
    for i in range(3):
        found.add(served, [seen(served, [one | {"sky": f"{i}" * 5000} for one in records(n)])])
    window = found._window
    assert {len(cells) for cells in window.cells.values()} == {n}
    assert set(window.cells["sky"]) == {statistics.UNSEEN}


def test_another_model_begins_a_window_of_its_own(served: ServedModel):
    """A model that was promoted is not judged by the rows of the one before."""
    found = LiveStatistics(served)
    found.add(served, [seen(served, records(50))])
    found.add(replace(served, sha256="f" * 64), [seen(served, records(30))])
    assert series(found)["tdsp_window_rows",] == 30


@pytest.mark.parametrize(("kept", "status"), [((), "no reference"), (("columns", "predictions"), "too few windows")])
def test_a_bundle_without_reference_says_so(served: ServedModel, kept: tuple[str, ...], status: str):
    """Bundles of before: their rows are counted, and the metrics name what is missing."""
    old = replace(served, reference={name: served.reference[name] for name in kept})
    found = LiveStatistics(old)
    found.add(old, [seen(old, records(100))])
    now = series(found)
    assert now["tdsp_reference_info", status, ""] == 1 and now["tdsp_window_rows",] == 100
    assert "TdspDrift" not in {rule.name for rule in rules(old)}


def test_refused_requests_are_counted_by_known_columns(served: ServedModel):
    """A client invents no series."""
    found = LiveStatistics(served)
    for name in ("temp", "temp", "x" * 9999, "nonsense"):
        found.reject(served, [FieldProblem(name, "a text", "a number")])
    found.reject(served, [])
    now = {key[1]: value for key, value in series(found).items() if key[0] == "tdsp_rejected_fields_total"}
    assert now == {"temp": 2, "other": 3}


def test_a_fault_in_the_statistics_costs_no_other_metric(served: ServedModel, monkeypatch: pytest.MonkeyPatch):
    """A window that cannot be judged is logged, and the collector gives nothing."""
    monkeypatch.setattr(statistics, "judge_window", lambda _: 1 / 0)
    assert series(LiveStatistics(served)) == {}


def test_hostile_names_are_labels_and_no_two_are_alike():
    """Signs that would end a label, names beyond all length, half characters."""
    names = ['a"b\nc\\', "x" * 200, "x" * 300, "\ud800", "}", "x" * 70 + " #2"]
    labels = labels_of(names)
    assert len(set(labels.values())) == len(names) and max(map(len, labels.values())) <= 80
    "".join(labels.values()).encode()


def test_hostile_names_reach_prometheus_as_they_are(served: ServedModel):
    """A column with quotes, braces and newlines is one series; Prometheus' parser reads it."""
    name = 'odd"} 1\n# {{ $x }}'
    columns = [spec | {"name": name} if spec["name"] == "temp" else spec for spec in served.schema["columns"]]
    odd = replace(served, name=name, schema=served.schema | {"columns": columns}, reference={})
    found = LiveStatistics(odd)
    found.add(odd, [ServedRows(seen(served, records(30)).rows, np.zeros((30, 1)))])
    assert 'odd"} 1 # {{ $x }}' in {key[1] for key in series(found) if key[0] == "tdsp_missing_share"}


# the dashboard and the rules ----------------------------------------------------------------------------------------
def names_in(expr: str) -> set[str]:
    """The metrics that an expression names; by a parser of PromQL where one is installed."""
    try:
        import promql_parser as promql
    except ImportError:
        outside = re.sub(r'"(?:\\.|[^"\\])*"', '""', expr)
        assert outside.count("(") == outside.count(")") and outside.count("{") == outside.count("}")
        return set(re.findall(r"\btdsp_\w+", outside))
    found: set[str] = set()
    promql.walk(
        promql.parse(expr), lambda node: found.add(node.name) if isinstance(node, promql.VectorSelector) else None
    )
    return found


def exported(service: Running) -> set[str]:
    """The names of all samples and families that the service exports."""
    families = list(text_string_to_metric_families(service.get("/metrics")[1]))
    return {sample.name for family in families for sample in family.samples} | {
        f"{family.name}_total" for family in families if family.type == "counter"
    }


def expressions(served: ServedModel) -> list[str]:
    """Every expression of the dashboard and of the rules."""
    queries = [target["expr"] for panel in dashboard(served)["panels"] for target in panel["targets"]]
    return queries + [rule.expr for rule in rules(served)]


def test_every_metric_of_the_dashboard_and_the_rules_is_exported_by_the_service(served: ServedModel, service: Running):
    """The names in each expression, against what the running service answers."""
    named = set().union(*map(names_in, expressions(served)))
    assert len(named) > 12 and named <= exported(service)


def test_the_service_exports_what_it_was_sent(service: Running):
    """Rows arrive through the thread of the log; a refused column is counted by name."""
    assert service.metric("tdsp_window_rows") == service.metric("tdsp_window_full_rows") == 100
    assert service.metric("tdsp_unseen_levels_total") == 300 and service.metric("tdsp_rejected_fields_total") >= 1
    assert 'status="ok"' in service.get("/metrics")[1]


def test_the_dashboard_is_what_grafana_imports(served: ServedModel):
    """Grafana's classic model: the documented fields, unique ids, a grid without overlaps, each query's source."""
    board = json.loads(json.dumps(dashboard(served)))
    assert {"id", "uid", "title", "tags", "timezone", "editable", "graphTooltip", "panels", "time", "timepicker",
            "templating", "annotations", "refresh", "schemaVersion", "version", "links"} <= board.keys()  # fmt: skip
    assert board["id"] is None and 8 <= len(board["uid"]) <= 40 and re.fullmatch(r"[\w-]+", board["uid"])
    assert board["templating"]["list"][0]["type"] == "datasource" and board["graphTooltip"] in (0, 1, 2)
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not own & cells
        cells |= own
        assert panel["type"] == "timeseries" and panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_rules_are_what_prometheus_reads(served: ServedModel):
    """Groups of rules with the fields that Prometheus knows, durations and valid names of alerts and labels."""
    document = yaml.safe_load(rules_text(served))
    assert set(document) == {"groups"} and {"name", "rules"} == set(document["groups"][0])
    found = document["groups"][0]["rules"]
    assert {"TdspDrift", "TdspRequestsFail", "TdspLogIncomplete"} <= {rule["alert"] for rule in found}
    for rule in found:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[mh]", rule["for"]) and re.fullmatch(r"\w+", rule["alert"])
        assert rule["labels"]["severity"] in ("warning", "critical") and names_in(rule["expr"])


def test_a_hostile_name_of_a_model_stays_a_text(served: ServedModel):
    """Quotes, templates and YAML's own signs in the name: the expressions parse, and no template runs."""
    odd = replace(served, name='a"} or vector(1) #{{ $value }}\n- x: *y', title="{{ . }}")
    document = yaml.safe_load(rules_text(odd))
    for rule in document["groups"][0]["rules"]:
        assert names_in(rule["expr"]) <= set().union(*map(names_in, expressions(served)))
        assert "{{ $value" not in rule["annotations"]["summary"]
    json.loads(json.dumps(dashboard(odd)))


def test_the_command_writes_both_files(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`tdsp serve MODEL --grafana FOLDER` serves nothing and says what to do with them."""
    model = str(next((root / "outputs" / "runs").iterdir()) / "model")
    assert call(["serve", model, "--grafana", str(tmp_path / "ops")]) == 0
    assert {path.name for path in (tmp_path / "ops").iterdir()} == {"stations.grafana.json", "stations.rules.yml"}
    assert "rule_files" in capsys.readouterr().out


def test_every_kind_of_column_is_judged(tmp_path: Path):
    """Numbers, texts of few and of many levels, truths and times, from JSON and from CSV, of a model of numbers."""
    mixed = load_served(str(write_mixed(tmp_path / "model", candidate="linear", task="regression")))
    frame, _, _ = table("regression")
    n = open_window(mixed).rows
    text = frame[: n // 2].to_csv(index=False).encode()
    parts = [
        mixed.reader.read_csv(text),
        mixed.reader.read_json(json.dumps({"instances": [mixed.example] * n}).encode()),
    ]
    found = LiveStatistics(mixed)
    found.add(mixed, [ServedRows(rows, mixed.predict(rows.tensors)) for rows in parts])
    now = series(found)
    names = {*(spec["name"] for spec in mixed.schema["columns"]), *mixed.columns}
    assert {key[1] for key in now if key[0] == "tdsp_drift_level"} == names
    assert now["tdsp_drift_level", "dose"] > 1  # one row again and again
