"""Prediction of whole files: any mistake in them is named, and the output is whole or not there."""

import csv
import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp.core.errors import BundleError, DataError
from tdsp.data.csv_reader import read_cells
from tdsp.data.ingest import load_table
from tdsp.modeling.fitting import fit_final
from tdsp.packaging.bundle import load_model, write_bundle
from tdsp.packaging.loader import as_features
from tdsp.serving import batch
from tdsp.serving.batch import predict_file, text_frame
from tdsp.serving.output_parts import without_formulas

ROWS = 400
SCHEMA: dict[str, Any] = {
    "task": "binary",
    "target": "late",
    "classes": ["no", "yes"],
    "positive_class": "yes",
    "columns": [
        {"name": "distance", "type": "float", "nullable": True, "min": 17.0, "max": 5000.0, "levels": None},
        {"name": "origin", "type": "string", "nullable": True, "levels": ["EWR", "JFK", "LGA"]},
        {"name": "scheduled", "type": "timestamp", "nullable": True},
        {"name": "holiday", "type": "boolean", "nullable": False},
    ],
}


def flights() -> pd.DataFrame:
    """Rows with a key that looks like a number and a remark that looks like a formula."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "flight": [f"{i:05d}" for i in range(ROWS)],
            "distance": rng.integers(17, 4000, ROWS).astype(float),
            "origin": rng.choice(["EWR", "JFK", "LGA"], ROWS),
            "scheduled": pd.date_range("2013-01-01 05:15", periods=ROWS, freq="3h"),
            "holiday": rng.random(ROWS) < 0.1,
            "remark": ['=HYPERLINK("x")', 'said "hi", left', "two\nlines", "-1"] * (ROWS // 4),
        }
    )


READINGS = {  # of a training table that was written the German way
    "distance": {"kind": "number", "decimal": ","},
    "scheduled": {"kind": "date", "order": "day first", "latest_year": 2030},
}


def flights_model(folder: Path, readings: dict[str, dict[str, Any]]) -> Path:
    """A LightGBM bundle whose schema holds these readings."""
    frame = flights()
    y = (frame["distance"] > 2000).to_numpy().astype(int)
    pipeline = fit_final("lightgbm", as_features(frame, SCHEMA), y, task="binary", random_state=0)
    columns = [
        spec | ({"reading": readings[spec["name"]]} if spec["name"] in readings else {}) for spec in SCHEMA["columns"]
    ]
    schema = SCHEMA | {"columns": columns}
    write_bundle(folder, name="late", pipeline=pipeline, schema=schema, golden_frame=frame.head(20), reference={})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose training table had plain numbers and dates in ISO 8601."""
    return flights_model(tmp_path_factory.mktemp("late") / "model", {})


@pytest.fixture(scope="module")
def german_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with `READINGS`."""
    return flights_model(tmp_path_factory.mktemp("german") / "model", READINGS)


def german_flights() -> pd.DataFrame:
    """The flights with decimal commas, groups of thousands and the day first."""
    frame = flights().drop(columns="remark")
    frame["distance"] = [f"{value:,.1f}".translate(str.maketrans(",.", ".,")) for value in frame["distance"]]
    frame["scheduled"] = frame["scheduled"].dt.strftime("%d.%m.%Y %H:%M")
    return frame


@pytest.fixture
def expected(model: Path) -> np.ndarray:
    """The predictions of the rows in memory."""
    return load_model(model).predict(flights())["probability"].to_numpy()


def save(path: Path, frame: pd.DataFrame | None = None, **options: Any) -> Path:
    frame = flights() if frame is None else frame
    frame.to_parquet(path, index=False) if path.suffix == ".parquet" else frame.to_csv(path, index=False, **options)
    return path


# right ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["new.csv", "new.parquet", "new.tsv", "new.csv.gz"])
@pytest.mark.parametrize("target", ["scored.csv", "scored.parquet"])
def test_all_formats_give_the_predictions_of_memory(
    model: Path, expected: np.ndarray, tmp_path: Path, source: str, target: str
) -> None:
    """Rows in order, keys and remarks as they were, one probability a row."""
    data = save(tmp_path / source, sep="\t" if "tsv" in source else ",")
    scored = predict_file(model, data, tmp_path / target)
    read = pd.read_parquet if target.endswith("parquet") else lambda path: pd.read_csv(path, dtype={"flight": str})
    found = read(tmp_path / target)
    assert found["probability"].tolist() == expected.tolist()
    assert found["flight"].tolist() == flights()["flight"].tolist()
    assert found["remark"].tolist() == flights()["remark"].tolist()
    assert (scored.rows, scored.extra, scored.rejected) == (ROWS, ["flight", "remark"], 0)
    assert scored.columns == ["probability", "model_version", "model_run"]
    assert set(found["model_version"]) == {load_model(model).version}


def test_a_large_file_in_pieces_gives_the_same_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit the text is streamed; the output does not show it."""
    data = save(tmp_path / "new.csv")
    predict_file(model, data, tmp_path / "whole.csv")
    monkeypatch.setattr(batch, "MAX_WHOLE_BYTES", 100)
    monkeypatch.setattr(batch, "PIECE_BYTES", 4000)
    predict_file(model, data, tmp_path / "pieces.csv")
    assert (tmp_path / "pieces.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_cells_go_out_as_they_came_in(model: Path, tmp_path: Path) -> None:
    """Formulas, quotes and leading zeros are not rewritten: keys must join back."""
    data = save(tmp_path / "new.csv")
    predict_file(model, data, tmp_path / "out.csv")
    with open(data, newline="") as before, open(tmp_path / "out.csv", newline="") as after:
        assert [row[:-3] for row in csv.reader(after)] == list(csv.reader(before))


def test_a_file_is_read_as_training_read_it(
    german_model: Path, model: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the readings in the schema, whole, in pieces and a row alone; a model with other readings refuses the file."""
    data = save(tmp_path / "new.csv", german_flights(), sep=";")
    predict_file(german_model, data, tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["probability"].tolist() == expected.tolist()
    predict_file(german_model, save(tmp_path / "one.csv", german_flights().iloc[7:8], sep=";"), tmp_path / "out1.csv")
    assert pd.read_csv(tmp_path / "out1.csv")["probability"].tolist() == [expected[7]]
    with pytest.raises(DataError, match=r"'distance': '3.405,0' in 400 rows.*column 'scheduled': '01"):
        predict_file(model, data, tmp_path / "other.csv")
    monkeypatch.setattr(batch, "MAX_WHOLE_BYTES", 100)
    monkeypatch.setattr(batch, "PIECE_BYTES", 6000)
    predict_file(german_model, data, tmp_path / "pieces.csv")
    assert (tmp_path / "pieces.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()


def test_typed_cells_equal_the_table_that_training_sees(tmp_path: Path) -> None:
    """The same file through `ingest` and through `batch` gives the same columns."""
    data = save(tmp_path / "new.csv", flights().drop(columns=["flight", "remark"]))
    trained = load_table({"table": data.name}, None, root=tmp_path, lake=tmp_path / "lake").frame
    cells = read_cells(data.read_bytes(), data.name).table
    pd.testing.assert_frame_equal(
        as_features(text_frame(cells, SCHEMA), SCHEMA), as_features(trained, SCHEMA), check_exact=True
    )


def test_a_text_column_of_digits_stays_text(model: Path, tmp_path: Path) -> None:
    """In a file of two rows nothing says that these are no numbers; the schema does."""
    (tmp_path / "new.csv").write_text("distance,origin,scheduled,holiday\n733,10001,2013-01-01,true\n,7,,false\n")
    scored = predict_file(model, tmp_path / "new.csv", tmp_path / "out.csv")
    assert scored.unknown_levels == {"origin": 2}
    assert scored.missing == {"distance": 1, "scheduled": 1}


def test_unusual_values_are_counted(model: Path, tmp_path: Path) -> None:
    """They are predicted, and the result counts them."""
    frame = flights().assign(distance=9999.0)
    frame.loc[:9, "origin"] = "SFO"
    scored = predict_file(model, save(tmp_path / "new.parquet", frame), tmp_path / "out.parquet")
    assert (scored.unknown_levels, scored.out_of_range) == ({"origin": 10}, {"distance": ROWS})


def test_other_columns_of_a_parquet_file_keep_their_types(model: Path, tmp_path: Path) -> None:
    """Lists, decimals and categories that the model does not use pass through."""
    table = pa.Table.from_pandas(flights()).append_column("legs", pa.array([[1, 2]] * ROWS))
    pq.write_table(table, tmp_path / "new.parquet")
    predict_file(model, tmp_path / "new.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").select(table.column_names).equals(table)


# rejected ------------------------------------------------------------------------------------------------------------

ODD = {
    "no number": ("far,EWR,2013-01-01 05:15,true", "distance: 'far', expected a number"),
    "no date": ("733,EWR,soon,true", "scheduled: 'soon', expected a date or time"),
    "no truth": ("733,EWR,2013-01-01 05:15,maybe", "holiday: 'maybe', expected true or false"),
    "no value": ("733,EWR,2013-01-01 05:15,", "holiday: no value, expected one in every row, as in training"),
    "two faults": (
        "far,EWR,soon,true",
        "distance: 'far', expected a number; scheduled: 'soon', expected a date or time",
    ),
}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_odd_rows_go_to_the_rejects_with_their_reasons(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, whole: bool
) -> None:
    """Each with its number in the file; the others are predicted as without them, whole or in pieces."""
    good = GOOD * 7
    (tmp_path / "good.csv").write_text(HEAD + good)
    lines = [line for line, _ in ODD.values()]
    (tmp_path / "new.csv").write_text(HEAD + good + "\n".join(lines) + "\n")
    if not whole:
        monkeypatch.setattr(batch, "MAX_WHOLE_BYTES", 10)
        monkeypatch.setattr(batch, "PIECE_BYTES", 90)
    scored = predict_file(model, tmp_path / "new.csv", tmp_path / f"out{suffix}")
    read = pd.read_parquet if suffix == ".parquet" else pd.read_csv
    rejects = read(scored.rejects)
    assert (scored.rows, scored.rejected, scored.rejects) == (7, len(ODD), tmp_path / f"out.rejects{suffix}")
    assert rejects["rejected_row"].tolist() == list(range(8, 8 + len(ODD)))
    assert rejects["rejected_for"].tolist() == [reason for _, reason in ODD.values()]
    predict_file(model, tmp_path / "good.csv", tmp_path / f"plain{suffix}")
    assert (
        read(tmp_path / f"out{suffix}")["probability"].tolist()
        == read(tmp_path / f"plain{suffix}")["probability"].tolist()
    )


@pytest.mark.parametrize("beside", ["733", "far"])
def test_an_infinite_number_of_a_text_is_a_gap_as_in_training(model: Path, tmp_path: Path, beside: str) -> None:
    """Whatever else is in the column, and in a Parquet file too."""
    (tmp_path / "new.csv").write_text(HEAD + GOOD + f"1e999,EWR,2013-01-01,true\n{beside},EWR,2013-01-01,true\n")
    scored = predict_file(model, tmp_path / "new.csv", tmp_path / "out.csv")
    assert (scored.missing, scored.rejected) == ({"distance": 1}, int(beside == "far"))
    frame = flights().assign(distance=lambda f: f["distance"].where(f.index > 0, np.inf))
    scored = predict_file(model, save(tmp_path / "new.parquet", frame), tmp_path / "out.parquet")
    assert (scored.missing, scored.rejected) == ({"distance": 1}, 0)


def test_a_level_outside_a_closed_list_is_rejected(tmp_path: Path) -> None:
    """Where the contract closed the list; else it is predicted and counted."""
    schema = SCHEMA | {"columns": [spec | {"closed": spec["name"] == "origin"} for spec in SCHEMA["columns"]]}
    frame, folder = flights(), tmp_path / "m"
    y = (frame["distance"] > 2000).to_numpy().astype(int)
    pipeline = fit_final("linear", as_features(frame, schema), y, task="binary", random_state=0)
    write_bundle(folder, name="late", pipeline=pipeline, schema=schema, golden_frame=frame.head(20), reference={})
    frame.loc[:9, "origin"] = "SFO"
    scored = predict_file(folder, save(tmp_path / "new.parquet", frame), tmp_path / "out.parquet")
    assert scored.rejected == 10
    assert set(pd.read_parquet(scored.rejects)["rejected_for"]) == {
        "origin: 'SFO', expected one of 'EWR', 'JFK', 'LGA'"
    }


def test_values_beyond_the_contracts_limits_are_rejected(tmp_path: Path) -> None:
    """Numbers and dates, by the batch row by row and by the model itself as a whole; other rows are predicted."""
    limits = {"distance": {"minimum": 0.0, "maximum": 6000.0}, "scheduled": {"minimum": "2013-01-01T00:00:00"}}
    schema = SCHEMA | {"columns": [spec | limits.get(spec["name"], {}) for spec in SCHEMA["columns"]]}
    frame, folder = flights(), tmp_path / "m"
    y = (frame["distance"] > 2000).to_numpy().astype(int)
    pipeline = fit_final("linear", as_features(frame, schema), y, task="binary", random_state=0)
    write_bundle(folder, name="late", pipeline=pipeline, schema=schema, golden_frame=frame.head(20), reference={})
    frame.loc[:1, "distance"] = [-3.0, 7000.0]
    frame.loc[2, "scheduled"] = pd.Timestamp("2012-12-31 23:59")
    scored = predict_file(folder, save(tmp_path / "new.parquet", frame), tmp_path / "out.parquet")
    assert scored.rejected == 3
    with pytest.raises(DataError, match=r"'distance': '-3.0' in row 1, expected at least 0 by the contract"):
        load_model(folder).predict(frame)
    reasons = pd.read_parquet(scored.rejects)["rejected_for"].tolist()
    assert reasons == [
        "distance: '-3.0', expected at least 0 by the contract",
        "distance: '7000.0', expected at most 6000 by the contract",
        "scheduled: '2012-12-31 23:59:00', expected at least 2013-01-01 00:00:00 by the contract",
    ]


def test_rejects_of_yesterday_do_not_lie_beside_todays_output(model: Path, tmp_path: Path) -> None:
    """Where no row is rejected, there is no file of rejects."""
    (tmp_path / "out.rejects.csv").write_text("old")
    assert predict_file(model, save(tmp_path / "new.csv"), tmp_path / "out.csv").rejects is None
    assert not (tmp_path / "out.rejects.csv").exists()


# killed --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "kills"),
    [
        pytest.param(".csv", [1500], id=".csv"),
        pytest.param(".csv", [500, 1500, 2500], marks=pytest.mark.slow, id=".csv, three kills"),
        pytest.param(".parquet", [500, 1500, 2500], marks=pytest.mark.slow, id=".parquet, three kills"),
    ],
)
def test_a_killed_batch_is_taken_up_with_the_same_output(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, kills: list[int]
) -> None:
    """Killed by SIGKILL after some of the parts, the last call predicts the rest; the bytes are the same."""
    frame = pd.concat([flights().drop(columns="remark")] * 8, ignore_index=True)
    data = save(tmp_path / "new.parquet", frame)
    script = (
        "import os, signal, sys; from tdsp.serving import batch; batch.PIECE_ROWS = 500; kill_at = int(sys.argv[4])\n"
        "stop = lambda rows: rows >= kill_at and os.kill(os.getpid(), signal.SIGKILL)\n"
        "batch.predict_file(*sys.argv[1:4], progress=stop)"
    )
    monkeypatch.setattr(batch, "PIECE_ROWS", 500)
    whole, killed = (tmp_path / f"{name}{suffix}" for name in ("whole", "killed"))
    assert predict_file(model, data, whole).rows == 3200
    for kill_at in kills:
        arguments = [str(model), str(data), str(killed), str(kill_at)]
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=False)
        assert done.returncode == -9
        assert not killed.exists()
    scored = predict_file(model, data, killed)
    assert (scored.resumed, scored.rows) == (kills[-1], 3200)
    assert killed.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_parts_of_other_data_are_not_taken_up(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file was written anew between the two calls."""
    monkeypatch.setattr(batch, "PIECE_ROWS", 100)
    data = save(tmp_path / "new.parquet")

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        predict_file(model, data, tmp_path / "out.parquet", progress=stop)
    save(data, flights().assign(distance=17.0))
    assert predict_file(model, data, tmp_path / "out.parquet").resumed == 0
    assert pd.read_parquet(tmp_path / "out.parquet")["distance"].unique().tolist() == [17.0]


def test_two_calls_do_not_write_one_output(model: Path, tmp_path: Path) -> None:
    """The second says so, and the first goes on."""
    data = save(tmp_path / "new.csv")

    def again(rows: int) -> None:
        with pytest.raises(DataError, match="is being written by another process"):
            predict_file(model, data, tmp_path / "out.csv")

    assert predict_file(model, data, tmp_path / "out.csv", progress=again).rows == ROWS


# elsewhere -----------------------------------------------------------------------------------------------------------


def test_a_delta_table_is_predicted(model: Path, expected: np.ndarray, tmp_path: Path) -> None:
    """Of several files and two versions: the newest, every row once."""
    import deltalake

    frame = flights().drop(columns=["remark"])
    for part in (frame.iloc[:100], frame.iloc[100:]):
        deltalake.write_deltalake(
            str(tmp_path / "new"), pa.Table.from_pandas(part, preserve_index=False), mode="append"
        )
    scored = predict_file(model, tmp_path / "new", tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet").sort_values("flight")
    assert (scored.rows, found["probability"].tolist()) == (ROWS, expected.tolist())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out.parquet"]


def test_a_query_is_predicted(
    model: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a database, in the order that the query states."""
    import sqlite3

    monkeypatch.chdir(tmp_path)
    with sqlite3.connect(tmp_path / "air.db") as connection:
        frame = flights().drop(columns=["remark"]).assign(scheduled=lambda f: f["scheduled"].astype(str))
        frame.astype({"holiday": str}).to_sql("flights", connection, index=False)
    query = f"sqlite:{tmp_path}/air.db?query=SELECT * FROM flights ORDER BY flight"
    predict_file(model, query, tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["probability"].tolist() == expected.tolist()


def test_a_source_that_cannot_be_reached_leaves_nothing(model: Path, tmp_path: Path) -> None:
    """The message names it, and no folder of parts is left."""
    with pytest.raises(DataError, match=r"none\.db"):
        predict_file(model, f"sqlite:{tmp_path}/none.db?table=flights", tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []


# wrong ---------------------------------------------------------------------------------------------------------------

HEAD = "distance,origin,scheduled,holiday\n"
GOOD = "733,EWR,2013-01-01 05:15,true\n"

BAD_TEXT = {
    "no column": ("distance,orign,scheduled,holiday\n" + GOOD, r"'origin': missing \(closest: 'orign'\)"),
    "two columns gone": ("distance,holiday\n733,true\n", "'origin': missing.*'scheduled': missing"),
    "no number anywhere": (HEAD + "far,EWR,2013-01-01,true\n" * 2, "'distance': 'far' in 2 rows, the first in row 1"),
    "no date anywhere": (HEAD + "733,EWR,soon,true\n" * 2, "'scheduled': .*expected a date or time"),
    "no truth anywhere": (HEAD + "733,EWR,2013-01-01,maybe\n" * 2, "'holiday': .*expected true or false"),
    "no value anywhere": (HEAD + "733,EWR,2013-01-01,\n" * 2, "'holiday': no value in 2 rows, the first in row 1"),
    "short row": (HEAD + GOOD * 2 + "733,EWR\n", "line 4: 2 fields where the other rows have 4"),
    "header alone": (HEAD, "has a header and no rows"),
    "nothing": ("", "is empty"),
    "blank": ("\n\n", "is empty"),
    "twice": (
        "distance,origin,origin,scheduled,holiday\n1,EWR,JFK,2013-01-01,true\n",
        "'origin' occurs twice",
    ),
    "an output": (HEAD.strip() + ",probability\n" + GOOD.strip() + ",0.5\n", "has a column 'probability' already"),
}


@pytest.mark.parametrize("name", BAD_TEXT)
def test_a_bad_file_is_named_and_nothing_is_written(model: Path, tmp_path: Path, name: str) -> None:
    """The message says which column or line, and no output is left, not even a part."""
    content, message = BAD_TEXT[name]
    (tmp_path / "new.csv").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        predict_file(model, tmp_path / "new.csv", tmp_path / "out.csv")
    assert "new.csv" in str(caught.value) or "The data" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


BAD_BYTES = {
    "garbage.csv": (os.urandom(4000) + b"\x00\x01\n" * 50, "binary data|neither UTF-8"),
    "no.parquet": (b"distance,origin\n", r"no\.parquet cannot be read"),
    "cut.csv.gz": (gzip.compress(HEAD.encode() * 1000)[:-20], "damaged or cut off"),
    "table.xlsx": (b"PK", "files of type '.xlsx' are not read"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_a_file_of_another_kind_is_named(model: Path, tmp_path: Path, name: str) -> None:
    """Binary garbage, a wrong suffix, a cut archive."""
    content, message = BAD_BYTES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        predict_file(model, tmp_path / name, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_wrong_type_in_a_parquet_file_is_named(model: Path, tmp_path: Path) -> None:
    """Text where the model was trained on numbers, and a file without rows."""
    data = save(tmp_path / "new.parquet", flights().assign(distance="far"))
    with pytest.raises(DataError, match=r"'distance': 'far' in 400 rows.*expected a number"):
        predict_file(model, data, tmp_path / "out.csv")
    with pytest.raises(DataError, match=r"empty\.parquet has no rows"):
        predict_file(model, save(tmp_path / "empty.parquet", flights().head(0)), tmp_path / "out.csv")


def test_a_damaged_parquet_file_is_named(model: Path, tmp_path: Path) -> None:
    """Its end is whole, so it opens; the damage shows while its rows are read."""
    data = save(tmp_path / "new.parquet")
    content = bytearray(data.read_bytes())
    content[4:2000] = os.urandom(1996)
    data.write_bytes(content)
    with pytest.raises(DataError, match=r"new\.parquet cannot be read"):
        predict_file(model, data, tmp_path / "out.csv")


def test_a_late_mistake_leaves_nothing_and_keeps_the_former_output(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line with a cell too many, after pieces that were done; the former output is kept."""
    data = save(tmp_path / "new.csv", flights().drop(columns="remark"))
    data.write_text(data.read_text() + "one,two,three,four,five,six\n")
    (tmp_path / "out.csv").write_text("yesterday's")
    monkeypatch.setattr(batch, "MAX_WHOLE_BYTES", 100)
    monkeypatch.setattr(batch, "PIECE_BYTES", 4000)
    with pytest.raises(DataError, match=r"new\.csv from line \d+ on, line \d+: 6 fields where the other rows have 5"):
        predict_file(model, data, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "yesterday's"
    assert {path.name for path in tmp_path.iterdir()} == {"new.csv", "out.csv"}


def test_a_cell_that_contradicts_the_reading_rejects_its_row_alone(
    german_model: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    """Wherever it is: the other rows are predicted, and the reason has cell and order."""
    frame = german_flights()
    frame.loc[4, "scheduled"], frame.loc[9, "distance"] = "01/13/2013 10:00", "far"
    result = predict_file(german_model, save(tmp_path / "new.csv", frame, sep=";"), tmp_path / "out.csv")
    rejects = pd.read_csv(result.rejects)
    assert rejects["rejected_row"].tolist() == [5, 10]
    assert rejects["rejected_for"].tolist() == [
        "scheduled: '01/13/2013 10:00', expected a date or time, day first",
        "distance: 'far', expected a number",
    ]
    kept = np.delete(expected, [4, 9]).tolist()
    assert pd.read_csv(tmp_path / "out.csv")["probability"].tolist() == kept


def test_lines_above_the_names_are_left_out_of_the_first_piece_only(
    model: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A title above the names costs no row further down."""
    monkeypatch.setattr(batch, "MAX_WHOLE_BYTES", 100)
    monkeypatch.setattr(batch, "PIECE_BYTES", 6000)
    data = save(tmp_path / "new.csv", flights().drop(columns="remark"))
    data.write_text("Flights of the week,,,,\nall airports,,,,\n" + data.read_text())
    predict_file(model, data, tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["probability"].tolist() == expected.tolist()


def test_pieces_end_where_rows_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break inside quotes ends no row, wherever the file is cut; a quote that is never closed is named."""
    rows = "".join(f'{i},"two\nlines, ""{i}"""\n' for i in range(50))
    (tmp_path / "new.csv").write_text("number,note\n" + rows)
    for size in (7, 64, 1000):
        monkeypatch.setattr(batch, "PIECE_BYTES", size)
        blocks = list(batch._blocks(tmp_path / "new.csv"))
        assert b"".join(block for block, _ in blocks).decode() == "number,note\n" + rows
        assert all(block.endswith(b'"\n') or block == b"number,note\n" for block, _ in blocks)
        assert [line for _, line in blocks][:2] == [1, 1 + blocks[0][0].count(b"\n")]


@pytest.mark.parametrize(
    ("data", "out", "message"),
    [
        ("nwe.csv", "out.csv", r"no file .*nwe\.csv\. Did you mean 'new\.csv'"),
        (".", "out.csv", "is a folder"),
        ("new.csv", "new.csv", "is the data itself"),
        ("new.csv", ".", "is a folder"),
        ("new.csv", "out.xlsx", r"written as \.csv or \.parquet"),
    ],
)
def test_a_wrong_path_is_named(model: Path, tmp_path: Path, data: str, out: str, message: str) -> None:
    """Before anything is read."""
    before = save(tmp_path / "new.csv").read_bytes()
    with pytest.raises(DataError, match=message):
        predict_file(model, tmp_path / data, tmp_path / out)
    assert (tmp_path / "new.csv").read_bytes() == before


def test_lists_cannot_be_written_as_csv(model: Path, tmp_path: Path) -> None:
    """The message says what would work."""
    table = pa.Table.from_pandas(flights()).append_column("legs", pa.array([[1, 2]] * ROWS))
    pq.write_table(table, tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"Write \.parquet instead"):
        predict_file(model, tmp_path / "new.parquet", tmp_path / "out.csv")


def test_an_output_that_cannot_be_written_is_named(model: Path, tmp_path: Path) -> None:
    """A file is in the place of a folder."""
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"out\.csv cannot be written"):
        predict_file(model, save(tmp_path / "new.csv"), tmp_path / "file" / "out.csv")


def test_a_full_disk_leaves_nothing(model: Path, tmp_path: Path) -> None:
    """Every write beyond 8 kB fails, as on a full disk; the message says so and the former output stays."""
    data = save(tmp_path / "new.csv")
    (tmp_path / "out.csv").write_text("yesterday's")
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from tdsp.serving.batch import predict_file; import tdsp.modeling.selection\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); predict_file(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, str(model), str(data), str(tmp_path / "out.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert "out.csv cannot be written: File too large" in done.stderr
    assert (tmp_path / "out.csv").read_text() == "yesterday's"
    assert {path.name for path in tmp_path.iterdir()} == {"new.csv", "out.csv"}


def test_a_changed_model_is_refused_before_the_data_are_read(model: Path, tmp_path: Path) -> None:
    """One bit of the loader; nothing runs, nothing is written."""
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    code = folder / "code/tdsp_bundle/__init__.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + code.read_text())
    with pytest.raises(BundleError, match=r"__init__\.py was changed"):
        predict_file(folder, save(tmp_path / "new.csv"), tmp_path / "out.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "new.csv"}


@pytest.fixture
def stated(tmp_path: Path) -> Path:
    """A model whose training rows had a decimal comma and -1 for a gap, as stated."""
    schema = SCHEMA | {"columns": SCHEMA["columns"][:1], "reading": {"decimal": ",", "missing_codes": ["-1"]}}
    frame, folder = flights()[["distance"]], tmp_path / "m"
    y = (frame["distance"].fillna(0) > 2000).to_numpy().astype(int)
    pipeline = fit_final("linear", as_features(frame, schema), y, task="binary", random_state=0)
    write_bundle(folder, name="late", pipeline=pipeline, schema=schema, golden_frame=frame.head(20), reference={})
    return folder


@pytest.mark.parametrize("whole", [True, False])
def test_rows_are_read_as_training_read_them(stated: Path, tmp_path: Path, monkeypatch, whole: bool) -> None:
    """Also where one odd cell makes a text of the column, and where the file is read in pieces."""
    monkeypatch.setattr(batch, "MAX_WHOLE_BYTES", batch.MAX_WHOLE_BYTES if whole else 10)
    (tmp_path / "new.csv").write_text("distance;note\n1.234;a\n2.345,5;b\n-1;c\nfar;d\n")
    pd.DataFrame({"distance": [1234, 2345.5, np.nan]}).to_parquet(tmp_path / "same.parquet")
    scored = predict_file(stated, tmp_path / "new.csv", tmp_path / "out.csv")
    predict_file(stated, tmp_path / "same.parquet", tmp_path / "same.csv")
    found, same = (pd.read_csv(tmp_path / name, sep=",")["probability"] for name in ("out.csv", "same.csv"))
    assert scored.rejected == 1 and found.tolist() == same.tolist()
    assert scored.missing == {"distance": 1}


def test_corrected_rejects_are_not_overwritten_by_their_own_output(model: Path, tmp_path: Path) -> None:
    """`out.rejects.csv` is the data: the output of another name is asked for."""
    data = save(tmp_path / "out.rejects.csv")
    with pytest.raises(DataError, match="or its file of rejects is the data itself"):
        predict_file(model, data, tmp_path / "out.csv")
    assert data.exists()


def test_files_of_one_source_may_order_their_columns_but_not_differ(model: Path, tmp_path: Path) -> None:
    """A pattern of two files: the second one's columns go under the names of the first."""
    (tmp_path / "in").mkdir()
    first, second = flights().head(5), flights().tail(5)
    first.to_parquet(tmp_path / "in/1.parquet")
    second[second.columns[::-1]].to_parquet(tmp_path / "in/2.parquet")
    predict_file(model, f"file://{tmp_path}/in/*.parquet", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["distance"].tolist() == pytest.approx([*first["distance"], *second["distance"]], nan_ok=True)
    second.drop(columns="flight").to_parquet(tmp_path / "in/2.parquet")
    with pytest.raises(DataError, match="its files differ in the columns 'flight'"):
        predict_file(model, f"file://{tmp_path}/in/*.parquet", tmp_path / "out.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_long_text_in_wide_characters_is_refused(model, tmp_path, monkeypatch, encoding):
    """A cut between bytes would break its characters: it is to be saved in UTF-8."""
    monkeypatch.setattr(batch, "MAX_WHOLE_BYTES", 1000)
    path = tmp_path / "wide.csv"
    path.write_bytes(flights().to_csv(index=False).encode(encoding))
    with pytest.raises(DataError, match=r"wide\.csv is in UTF-16 or UTF-32 .* Save it in UTF-8"):
        predict_file(model, path, tmp_path / "out.csv")


def test_the_password_of_an_address_is_not_written():
    """The address that identifies a job is kept on disk until it ends."""
    identity = batch._identity("postgresql://me:sesame@host/flights?table=late")
    assert identity["uri"] == "postgresql://me:***@host/flights?table=late"


def test_formulas_are_made_harmless_where_it_is_wanted(model: Path, tmp_path: Path) -> None:
    """Texts and names that a spreadsheet would run, in the output and in the rejects; numbers and other cells stay."""
    evil = ["=cmd|' /C calc'!A0", "+1+2", "-2+3", "@SUM(A1)", "\t=1+1", " =1", "\r=1"]
    plain = ["-2", "+1.5e3", "-12 %", "a=b", "'=1", ""]
    table = pa.table(
        {"=HYPERLINK(1)": [*evil, *plain], "-5": list(range(13)), "x": pa.array(["=1"] * 13).dictionary_encode()}
    )
    harmless = without_formulas(table)
    assert harmless.column_names == ["'=HYPERLINK(1)", "-5", "x"]
    assert harmless.column(0).to_pylist() == [*(f"'{text}" for text in evil), *plain]
    assert harmless.column(1).to_pylist() == list(range(13)) and harmless.column(2).to_pylist() == ["'=1"] * 13
    rows = pd.read_parquet(model / "golden.parquet").filter(regex="^(?!expected)").head(6).assign(note="=1+1")
    for safe, cell in ((False, "=1+1"), (True, "'=1+1")):
        predict_file(model, save(tmp_path / "new.csv", rows), tmp_path / "out.csv", safe_cells=safe)
        assert set(pd.read_csv(tmp_path / "out.csv")["note"]) == {cell}
