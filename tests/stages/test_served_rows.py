"""Predictions come back as rows to learn from: typed, with their origin, and never as test rows of before."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp.config.parameters import Parameters, load_parameters
from tdsp.core.errors import DataError
from tdsp.core.record import Run, create_run, new_record
from tdsp.core.results import Estimate
from tdsp.data.ingest import Table
from tdsp.data.served_log import SERVED
from tdsp.data.splits import Split
from tdsp.stages.context import modeling_table
from tdsp.stages.data_acquisition import columns_left_out, split_by, write_split
from tdsp.stages.served_rows import Origins, origins_of, without_test_rows

SQL = """SELECT * FROM history
UNION ALL BY NAME
SELECT served.*, truth.late FROM served JOIN truth ON truth.key = served.served_key"""


def rows(n: int, seed: int) -> pd.DataFrame:
    """Flights: wind decides, with chance."""
    rng = np.random.default_rng(seed)
    wind = rng.normal(size=n).round(6)
    late = np.where(wind + rng.normal(size=n) > 0, "yes", "no")
    return pd.DataFrame({"wind": wind, "carrier": rng.choice(["AA", "UA"], n), "late": late})


def write_log(root: Path, frame: pd.DataFrame, version: str = "1") -> None:
    """The log of a service that predicted these rows, one every ten minutes; keys are k0, k1, …"""
    place = root / "outputs" / "predictions" / "delays" / version
    place.mkdir(parents=True)
    at = pd.Series(pd.date_range("2026-01-01", periods=len(frame), freq="10min", tz="UTC"))
    columns = {"key": [f"k{i}" for i in range(len(frame))], "time": at, "request": ["r"] * len(frame),
               "sent.wind": frame["wind"].astype(float), "sent.carrier": frame["carrier"],
               "predicted.probability": 1 / (1 + np.exp(-frame["wind"]))}  # fmt: skip
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), place / "part-1-1.parquet")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A history of 300 rows, 600 served rows with labels, and a parameter file that puts them together."""
    rows(300, 1).to_csv(tmp_path / "history.csv", index=False)
    served = rows(600, 2)
    write_log(tmp_path, served)
    served.assign(key=[f"k{i}" for i in range(600)])[["key", "late"]].to_csv(tmp_path / "truth.csv", index=False)
    (tmp_path / "parameters").mkdir()
    sources = {"history": "history.csv", "served": "predictions:delays", "truth": "truth.csv"}
    text = f"project: delays\nsources: {json.dumps(sources)}\nsql: delays.sql\ntarget: late\n"
    (tmp_path / "parameters" / "delays.yaml").write_text(text)
    (tmp_path / "parameters" / "delays.sql").write_text(SQL)
    return tmp_path


def opened(root: Path, run_id: str = "delays-20260301T000000Z-bbbb") -> tuple[Run, Parameters, Table, Split]:
    """Run, parameters, table and split as the second notebook has them."""
    p = Parameters(load_parameters(root / "parameters" / "delays.yaml", root=root).entries())
    run = create_run(root / "outputs" / "runs" / run_id, new_record(run_id, "delays", fixed=True))
    run = Run(run.folder, "2_data_acquisition")
    table = modeling_table(p.as_dict(), root=root, folder=root / "parameters", lake=root / "outputs" / "lake")
    return run, p, table, split_by(table.frame, p.as_dict(), "binary")


def origins(root: Path) -> tuple[Run, Origins]:
    """The origins as the second notebook shows them."""
    run, p, table, divided = opened(root)
    return run, origins_of(run, p, table, without_test_rows(run, p, table.frame, divided))


def test_history_and_served_rows_are_one_table(project: Path):
    """Each served row has its own columns under their names, and five that say where it came from, no features."""
    run, p, table, divided = opened(project)
    assert table.rows == 900 and table.frame["served_by"].value_counts().to_dict() == {"1": 600}
    assert table.frame["wind"].notna().all() and set(SERVED) <= set(table.columns)
    train, _ = write_split(run, p, table.frame, divided)
    assert not set(SERVED) & set(columns_left_out(p, train))
    shown = origins_of(run, p, table, divided)
    assert shown.table["origin"].to_list() == ["history", "served by version 1"] and not shown.findings
    assert shown.table["rows"].to_list() == [300, 600] == [sum(pair) for pair in shown.table.iloc[:, 2:4].to_numpy()]
    assert run.fact("origins")[1]["served from"].startswith("2026-01-01")


@pytest.mark.parametrize(("chosen", "severity"), [("high", "severe"), ("often", "watch"), ("middle", "severe")])
def test_labels_that_the_model_chose_are_a_finding(project: Path, chosen: str, severity: str):
    """Labels for high predictions only, more often for these, or for the uncertain rows only."""
    served, rng = rows(600, 2).assign(key=[f"k{i}" for i in range(600)]), np.random.default_rng(3)
    kept = {"high": served["wind"] > 0.3, "often": rng.random(600) < np.where(served["wind"] > 0, 0.8, 0.3),
            "middle": served["wind"].abs() < 0.4}[chosen]  # fmt: skip
    served[kept][["key", "late"]].to_csv(project / "truth.csv", index=False)
    _, shown = origins(project)
    assert [(one.code, one.severity) for one in shown.findings] == [("feedback", severity)]
    assert "of those predicted" in shown.findings[0].evidence and "drawn at random" in shown.findings[0].remedy


def test_labels_that_are_late_or_missing_by_chance_are_none(project: Path):
    """The newest rows have no label yet, and of the others a random half."""
    served = rows(600, 2).assign(key=[f"k{i}" for i in range(600)])
    some = (np.random.default_rng(4).random(600) < 0.5) & (np.arange(600) < 400)
    served[some][["key", "late"]].to_csv(project / "truth.csv", index=False)
    _, shown = origins(project)
    assert not shown.findings and "no choice by the predictions is seen" in shown.caption


def test_a_test_row_that_comes_back_is_not_learned_from(project: Path):
    """An earlier run tested on 40 of the rows that were served: they are left out and counted, and nothing else is."""
    before = create_run(project / "outputs" / "runs" / "delays-20260101T000000Z-aaaa",
                        new_record("delays-20260101T000000Z-aaaa", "delays", fixed=True))  # fmt: skip
    test = pd.concat([rows(600, 2).iloc[:40], rows(300, 1).iloc[:7]])
    before.write_table("test", test)
    before.write_json("split", {"test_sha256": "1"})
    before.write_json("schema", {"columns": [{"name": "wind"}, {"name": "carrier"}], "target": "late"})
    before.add_metric("test_score", Estimate(0.8), label="ROC-AUC")
    run, p, table, divided = opened(project)
    kept = without_test_rows(run, p, table.frame, divided)
    gone = table.frame.iloc[np.setdiff1d(divided.train, kept.train)]
    assert set(gone["served_key"]) <= {f"k{i}" for i in range(40)}
    assert len(gone) == np.isin(table.frame["served_key"].iloc[divided.train], [f"k{i}" for i in range(40)]).sum() > 20
    assert (kept.test == divided.test).all()
    shown = origins_of(run, p, table, kept)
    assert {one.code for one in shown.findings} == {"served-tested", "trained-tested"}
    assert f"{len(gone)} rows" in shown.findings[0].evidence


def test_equal_rows_are_left_out_as_often_as_they_were_tested():
    """Where few values repeat, a test row can have come back once."""
    from tdsp.stages.served_rows import came_back

    assert came_back(np.array([5, 5, 5, 7]), np.array([5, 5, 9])).tolist() == [True, True, False, False]


def test_rows_without_their_key_are_of_unknown_origin(project: Path):
    """The SQL drops the key: which rows were served is unknown, and stated as unknown."""
    sql = SQL.replace("served.*,", "served.wind, served.carrier,")
    (project / "parameters" / "delays.sql").write_text(sql)
    _, shown = origins(project)
    assert [one.code for one in shown.findings] == ["served-unknown"] and "not known" in shown.caption


def test_a_run_without_a_log_says_so(project: Path):
    """History alone: one origin, nothing else."""
    yaml = project / "parameters" / "delays.yaml"
    yaml.write_text('project: delays\nsources: {"history": "history.csv"}\ntarget: late\n')
    _, shown = origins(project)
    assert shown.table["origin"].to_list() == ["history"] and not shown.findings


def test_a_log_that_is_not_there_is_named(project: Path):
    """The name of a log that exists is suggested."""
    yaml = project / "parameters" / "delays.yaml"
    yaml.write_text(yaml.read_text().replace("predictions:delays", "predictions:delay"))
    with pytest.raises(DataError, match=r"no log of a service.*Did you mean 'delays'"):
        opened(project)
