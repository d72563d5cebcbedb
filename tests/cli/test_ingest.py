"""`tdsp ingest` and the stages take the same way from the parameters to the table."""

import json
import sqlite3
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from tdsp.cli import app
from tdsp.core.errors import DataError
from tdsp.core.record import create_run, new_record
from tdsp.data.splits import split_table
from tdsp.runner.preflight import load_plan, plan_run
from tdsp.stages.context import modeling_table, read_options


@pytest.fixture
def growing(project, monkeypatch):
    """A project whose parameters name a database that grows and a file that detection would read wrongly."""
    monkeypatch.chdir(project)
    with sqlite3.connect(project / "air.db") as base:
        base.execute("CREATE TABLE flights (id INTEGER, plane TEXT, late TEXT)")
    add_flights(project, range(60))
    (project / "planes.txt").write_text("plane:weight\n" + "".join(f"N{i}:1.{i:03d}\n" for i in range(10)))
    (project / "parameters" / "air.sql").write_text(
        "SELECT f.id, p.weight, f.late FROM flights f JOIN planes p USING (plane)"
    )
    values = {
        "project": "air", "sql": "air.sql", "target": "late", "watermark": {"flights": "id"},
        "sources": {"flights": "sqlite:air.db?table=flights", "planes": "planes.txt"},
        "separator": {"planes": ":"}, "thousands": {"planes": "."},
    }  # fmt: skip
    file = project / "parameters" / "air.yaml"
    file.write_text(yaml.safe_dump(values, default_style='"'))
    return file


def add_flights(folder, ids):
    with sqlite3.connect(folder / "air.db") as base:
        base.executemany("INSERT INTO flights VALUES (?, ?, ?)", [(i, f"N{i % 10}", "ny"[i % 2]) for i in ids])


def call(capsys, *arguments):
    capsys.readouterr()
    code = app.call([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_ingest_says_what_came_and_what_is_new(growing, capsys):
    """Rows, new rows, bytes and hash of each source, the remarks, the table, and the next step."""
    code, out, err = call(capsys, "ingest", growing)
    assert (code, err) == (0, "") and "flights  60    60" in out and "Next: tdsp run" in out
    assert "colon" in out or "':' between values" in out
    add_flights(growing.parents[1], range(60, 65))
    code, out, _ = call(capsys, "ingest", growing, "--json")
    found = json.loads(out)
    assert (code, found["rows"], found["new_rows"]) == (0, 65, {"flights": 5})
    assert found["columns"] == ["id", "weight", "late"] and len(found["sha256"]) == 64
    code, out, _ = call(capsys, "ingest", growing)
    assert "flights  65    0" in out and "65 rows, 3 columns, as before" in out


def test_what_a_person_states_reaches_the_reader(growing):
    """1.004 is a thousand and four where the parameters say so."""
    frame = load_plan(plan_run(growing)).frame
    assert (frame["weight"].min(), frame["weight"].max()) == (1000, 1009)


def test_a_statement_about_no_source_is_refused(growing, capsys):
    """With the closest name, exit code 2 and no traceback."""
    growing.write_text(growing.read_text().replace('"thousands":\n  "planes"', '"thousands":\n  "plaens"'))
    code, _, err = call(capsys, "ingest", growing)
    assert code == 2 and "thousands names 'plaens', which is no source. Did you mean 'planes'" in err
    with pytest.raises(DataError, match="watermark names 'x'"):
        read_options({"sources": {"t": "t.csv"}, "watermark": {"x": "id"}})


def test_a_stage_sees_the_rows_that_its_run_has_begun_with(growing, monkeypatch):
    """Rows that arrive between the look ahead and the last stage belong to the next run."""
    from tdsp.config.parameters import load_parameters
    from tdsp.stages.context import open_table

    project = growing.parents[1]
    plan = plan_run(growing)
    first = load_plan(plan)
    add_flights(project, range(60, 70))
    assert load_plan(plan).rows == 70
    folder = project / "outputs" / "runs" / "air-20261122T140500Z-7c1e"
    pinned = {entry["name"]: entry["sha256"] for entry in first.inputs}
    run = create_run(folder, replace(new_record(folder.name, "air", fixed=True), pinned=pinned))
    run.stage = "1_business_understanding"

    class Values:
        """The parameters as a stage has them."""

        time_column = ""

        def as_dict(self):
            return load_parameters(growing, root=project).values

    assert open_table(run, Values()).sha256 == first.sha256
    assert [entry.rows for entry in run.record.inputs] == [60, 10]
    add_flights(project, range(70, 80))
    assert open_table(run, Values()).sha256 == first.sha256
    values = load_parameters(growing, root=project).values
    fresh = modeling_table(values, root=project, folder=growing.parent, lake=project / "outputs" / "lake")
    assert fresh.rows == 80


def test_the_table_can_become_the_newest_version_of_a_delta_table(growing, capsys):
    """New rows make a version, the same rows none, every version stays; what is no place for a table is named."""
    import deltalake

    there = growing.parents[1] / "house" / "air"
    for ids, version in ((range(0), 0), (range(0), 0), (range(60, 65), 1)):
        add_flights(growing.parents[1], ids)
        code, out, err = call(capsys, "ingest", growing, "--delta", there)
        assert (code, err) == (0, "") and f"delta    version {version} of" in out
    rows = [len(deltalake.DeltaTable(there, version=version).to_pyarrow_table()) for version in (0, 1)]
    assert rows == [60, 65]
    code, _, err = call(capsys, "ingest", growing, "--delta", growing)
    assert code == 2 and str(growing) in err and "Traceback" not in err


def test_ingest_divides_a_table_of_any_size(growing, capsys):
    """By a rule that looks at one row, with the rows of the run's own split; another rule is refused, and why."""
    parts = growing.parents[1] / "parts"
    code, out, err = call(capsys, "ingest", growing, "--parts", parts, "--set", "split=key", "--set", "split_column=id")
    assert (code, err) == (0, "") and "rows to learn from" in out
    table = load_plan(plan_run(growing)).frame
    own = split_table(table, target="late", task="binary", kind="key", split_column="id")
    assert pd.read_parquet(parts / "test.parquet")["row_id"].tolist() == own.test.tolist()
    assert pd.read_parquet(parts / "train.parquet")["row_id"].tolist() == own.train.tolist()
    code, out, err = call(capsys, "ingest", growing, "--parts", parts)
    assert code == 2 and "split: random has to see all rows at once" in err and "Traceback" not in err
    code, _, err = call(capsys, "ingest", growing, "--parts", parts, "--set", "split=key", "--set", "split_column=di")
    assert code == 2 and "no column 'di' to split by" in err
