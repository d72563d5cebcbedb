"""Acceptance of the served model: its predictions are judged, and only people sign."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tdsp.config.charter import Charter, read_charter
from tdsp.core.errors import BundleError
from tdsp.core.record import MetricEntry, Run, RunRecord, create_run, new_record
from tdsp.core.results import Goal
from tdsp.data.target import Target
from tdsp.evaluation.slices import Condition
from tdsp.packaging.bundle import load_model
from tdsp.stages.context import StageContext, random_split_label
from tdsp.stages.customer_acceptance import (
    ServedTestSet,
    ServiceResult,
    accept_limits,
    as_json,
    call_service,
    checklist,
    kept_slices,
    reference_rows,
    service_gate,
    signature,
)
from tdsp.stats.resampling import make_units
from tests.packaging.test_bundle import write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A model with every kind of column and gaps in each, and its rows."""
    return write(tmp_path_factory.mktemp("served") / "model", "binary", "lightgbm")


def test_every_row_comes_back_over_http_as_the_package_predicts_it(bundle: tuple[Path, pd.DataFrame]) -> None:
    """Gaps, times, truths and signs of markup included, in several requests."""
    folder, frame = bundle
    model = load_model(folder)
    result = call_service(folder, frame, model.schema, at_once=100)
    assert result.rows == len(frame) > 500
    gate = service_gate(result, model.predict(frame))
    assert gate.answer == "go", gate
    assert result.predictions.index.equals(frame.index)
    assert 0 < result.one_row_ms < 5000


def test_a_service_that_predicts_otherwise_is_no_go(bundle: tuple[Path, pd.DataFrame]) -> None:
    """The rows of another model, or too few rows."""
    folder, frame = bundle
    model = load_model(folder)
    result = call_service(folder, frame.head(50), model.schema)
    assert service_gate(result, model.predict(frame.head(50)) + 1e-4).answer == "no-go"
    assert service_gate(result, model.predict(frame)).answer == "insufficient evidence"


def test_rows_that_the_service_refuses_end_the_stage(bundle: tuple[Path, pd.DataFrame]) -> None:
    """With the service's own message."""
    folder, frame = bundle
    schema = load_model(folder).schema
    odd = frame.head(3).assign(ward=pd.Series([1, 2, 3], dtype=object))
    with pytest.raises(BundleError, match=r"refused rows of the test set \(4\d\d\).*ward"):
        call_service(folder, odd, schema)


def test_a_service_that_cannot_start_says_why(bundle: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    """A changed bundle is refused by the service too."""
    folder = Path(shutil.copytree(bundle[0], tmp_path / "model"))
    (folder / "golden.parquet").write_bytes(b"changed")
    with pytest.raises(BundleError, match=r"did not start: error: .*golden\.parquet was changed"):
        call_service(folder, bundle[1], {"columns": []})


def test_slices_come_back_from_the_record_as_they_were(tmp_path: Path) -> None:
    """JSON has no infinity, conditions have."""
    run = create_run(tmp_path / "run", new_record("a-1", "a", fixed=True))
    assert kept_slices(Run(run.folder, "5_customer_acceptance")) == []
    parts = [(Condition("hour", low=5.0), Condition("carrier", level="UA")), (Condition("wind", missing=True),)]
    Run(run.folder, "3_modeling").write_json("weak_slices", parts)
    assert kept_slices(Run(run.folder, "5_customer_acceptance")) == parts


def test_stated_limits_are_judged_by_what_the_service_answered(tmp_path: Path) -> None:
    """One group gets the opposite of the truth, and a row takes longer than allowed; unstated, neither is judged."""
    run = Run(create_run(tmp_path / "run", new_record("a-1", "a", fixed=True)).folder, "5_customer_acceptance")
    run.note(decision_threshold=0.5)
    rng = np.random.default_rng(0)
    y, group = rng.integers(0, 2, 600), np.repeat(["w", "m"], 300)
    y_pred = np.where(group == "w", y, 1 - y).astype(float)
    outcome = Target("y", "binary", ("no", "yes"), "yes", 600, 0, "")
    served = ServedTestSet(pd.DataFrame({"group": group}), outcome, y, y_pred, make_units(600))
    result = ServiceResult(pd.DataFrame({"probability": y_pred}), 600, 1.0, 30.0)
    stated = {"max_latency_ms": 20.0, "sensitive": ["group"], "costs": {}, "max_unfairness": 0.1, "random_state": 0}
    accept_limits(StageContext(run, SimpleNamespace(**stated)), result, served)
    assert {gate.name: gate.answer for gate in run.record.gates} == {
        "Time for one row as served": "no-go",
        "Difference between groups, as served": "no-go",
    }
    silent = accept_limits(
        StageContext(run, SimpleNamespace(**stated | {"max_latency_ms": 0.0, "sensitive": []})), result, served
    )
    assert list(silent) == ["note"]


def test_nobody_is_named_who_was_not_stated(tmp_path: Path) -> None:
    """Without a charter the decision is open; with one, its names are shown and the rest stays open."""
    run = create_run(tmp_path / "run", new_record("a-1", "a", fixed=True))
    empty = signature(run, Charter()).set_index("field")["answer"]
    assert empty["Decided by"].startswith("open: state decisions.acceptance.by")
    flights = read_charter(ROOT / "parameters/flights.charter.yaml")
    service = type("", (), {"start_seconds": 1.0, "rows": 5})()
    items = checklist(run, flights, service).set_index("item")
    assert items.loc["It has an owner", "evidence"] == "tdsp maintainers"
    assert items.loc["The package is there, known by its hash", "answer"] == "open"
    assert checklist(run, Charter(), service).set_index("item").loc["It has an operator", "answer"] == "open"


def test_numbers_and_gaps_travel_without_loss() -> None:
    """Numbers survive JSON bit for bit."""
    import json

    values = np.random.default_rng(0).normal(size=100) * 1e-7
    frame = pd.DataFrame({"x": [*values, np.nan]})
    sent = json.loads(json.dumps(as_json(frame, {"columns": [{"name": "x", "type": "float"}]})))
    back = [row[0] for row in sent["dataframe_split"]["data"]]
    assert back == [*values.tolist(), None]


def test_the_score_of_a_random_split_is_shown_beside_a_goal_in_the_same_metric_only() -> None:
    """A quick model's ROC-AUC is a reference row for a goal in ROC-AUC, not for one in log loss."""
    entry = MetricEntry(0.8, 0.7, 0.9, label=random_split_label("ROC-AUC"))
    record = RunRecord(metrics={"random_split": entry})
    (row,) = reference_rows(record, Goal("binary", "late", "roc_auc", label="ROC-AUC"))
    assert (row.value, row.low, row.high, row.kind) == (0.8, 0.7, 0.9, "reference")
    assert reference_rows(record, Goal("binary", "late", "log_loss", label="Log loss")) == ()
