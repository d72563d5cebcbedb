"""The limits of a log: days, bytes, and no sensitive column unless it is wanted."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tdsp.core.errors import DataError
from tdsp.core.formatting import format_bytes
from tdsp.packaging.bundle import Manifest, load_model
from tdsp.serving.monitored_rows import read_monitored
from tdsp.serving.prediction_log import LEFT_OUT, LogLimits, PredictionLog, prune_parts
from tdsp.serving.predictor import ServedModel, load_served, sensitive_columns
from tests.support.serving import write_model


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """A model whose columns `dose` and `ward` are sensitive."""
    found = load_served(str(write_model(tmp_path_factory.mktemp("model") / "model", candidate="linear", rows=200)))
    return replace(found, sensitive=frozenset({"dose", "ward", "not a column"}))


def part(folder: Path, days_ago: float, size: int, version: str = "1") -> Path:
    """A part of a log as old and as large as that."""
    stamp = (datetime.now(UTC) - timedelta(days=days_ago)).strftime("%Y%m%dT%H%M%S.%fZ")
    place = folder / version / f"part-{stamp}-1.parquet"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"x" * size)
    return place


def test_the_oldest_parts_leave_by_age_and_by_size(tmp_path: Path):
    """Over all versions of a model; the newest part stays, and what is no part is not touched."""
    parts = [part(tmp_path, age, 100, version) for age, version in ((0, "2"), (1, "2"), (2, "1"), (5, "1"), (90, "1"))]
    other = tmp_path / "1" / "notes.parquet"
    other.write_bytes(b"x" * 1000)
    assert prune_parts(tmp_path, LogLimits(days=30, bytes=1000)) == 1 and not parts[4].exists()
    assert prune_parts(tmp_path, LogLimits(days=30, bytes=250)) == 2
    assert [one.exists() for one in parts] == [True, True, False, False, False]
    assert prune_parts(tmp_path, LogLimits(days=0.0, bytes=0)) == 1 and parts[0].exists() and other.exists()


def logged(served: ServedModel, folder: Path, limits: LogLimits) -> PredictionLog:
    """A log with the example of the model in one part."""
    rows = served.reader.read_json(json.dumps({"instances": [served.example] * 3}).encode())
    log = PredictionLog(folder, limits)
    log.add(served, rows, served.predict(rows.tensors), "r")
    log.flush()
    return log


def test_a_log_prunes_while_it_writes(served: ServedModel, tmp_path: Path):
    """A part that is too old goes with the next part that is written, and is counted."""
    old = part(tmp_path / served.name, 200, 10)
    log = logged(served, tmp_path, LogLimits(days=90))
    assert not old.exists() and (log.removed, log.written) == (1, 3)


@pytest.mark.parametrize("wanted", [False, True])
def test_sensitive_columns_are_logged_only_when_wanted(served: ServedModel, tmp_path: Path, wanted: bool):
    """All other columns and the predictions are there; the part itself names what was left out."""
    logged(served, tmp_path, LogLimits(sensitive=wanted))
    table = pq.read_table(next(tmp_path.rglob("part-*.parquet")))
    names = {name.removeprefix("sent.") for name in table.column_names if name.startswith("sent.")}
    every = {spec["name"] for spec in served.schema["columns"]}
    assert names == (every if wanted else every - {"dose", "ward"})
    assert set(json.loads(table.schema.metadata[LEFT_OUT])) == every - names and table.num_rows == 3


def test_the_limits_are_one_sentence(served: ServedModel):
    """Days, size and what is left out, also where that is not known."""
    assert LogLimits().sentence(served) == (
        f"the last 90 days, at most {format_bytes(5e9)}; older parts are removed. Without the sensitive dose, ward."
    )
    assert "With the sensitive dose" in LogLimits(sensitive=True).sentence(served)
    assert "not known of this bundle: all are logged" in LogLimits().sentence(replace(served, sensitive=None))
    assert LogLimits().sentence(replace(served, sensitive=frozenset())).endswith("No column is sensitive.")


def test_who_says_which_columns_are_sensitive(tmp_path: Path):
    """The bundle, else the record of its run, else nobody: no column is taken to be harmless in silence."""
    stated: Manifest = {"bundle_version": 1, "name": "x", "files": {}, "sensitive": ["age"]}
    without: Manifest = {"bundle_version": 1, "name": "x", "files": {}}
    assert sensitive_columns(tmp_path / "model", stated) == {"age"}
    assert sensitive_columns(tmp_path / "model", without) is None


def test_a_bundle_states_its_sensitive_columns(tmp_path: Path):
    """The list is in bundle.json, under its seal, and the service reads it from there."""
    folder = write_model(tmp_path / "model", candidate="linear", rows=200, sensitive=["ward"])
    assert load_served(str(folder)).sensitive == {"ward"}


def test_a_log_without_a_column_that_the_model_needs_cannot_be_monitored(tmp_path: Path):
    """The refusal names the column, why it is not there, and what to do."""
    folder = write_model(tmp_path / "model", candidate="linear", rows=200, sensitive=["ward"])
    served = load_served(str(folder))
    logged(served, tmp_path / "log", LogLimits())
    with pytest.raises(DataError, match=r"leaves out ward, which is sensitive.*--log-sensitive"):
        read_monitored(load_model(folder), str(tmp_path / "log" / served.name), time_column="time")
