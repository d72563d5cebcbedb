"""Rows of a request: MLflow's formats, the loader's rules, one message for each part that does not fit."""

import json
import math
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsp.core.cells import CellReading
from tdsp.packaging.loader import SchemaError, as_features, frame_notes
from tdsp.packaging.onnx.export import tensors_of
from tdsp.serving.requests import BadRequest, FieldProblem, Reader, columns_of, parse_json, parse_timestamp

SCHEMA: dict[str, Any] = {"task": "binary", "classes": ["no", "yes"], "positive_class": "yes", "columns": [
    {"name": "dose", "type": "float", "min": 0.0, "max": 10.0},
    {"name": "ward", "type": "string", "levels": ["north", "south"]},
    {"name": "urgent", "type": "boolean"},
    {"name": "admitted", "type": "timestamp", "min": "2013-01-01", "max": "2014-01-01"},
    {"name": "weight", "type": "float", "min": 40.0, "max": 120.0},
]}  # fmt: skip
ROW = {"dose": 1.5, "ward": "north", "urgent": True, "admitted": "2013-10-19T10:30:00", "weight": 70}
READER = Reader(SCHEMA, key="id")
NAMES = list(ROW)


def body_of(**document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_records": [ROW, ROW]},
        {"dataframe_split": {"columns": NAMES, "data": [list(ROW.values())] * 2, "index": [5, 6]}},
        {"instances": [ROW, ROW]},
        {"instances": [list(ROW.values())] * 2},
        {"inputs": {name: [value] * 2 for name, value in ROW.items()}},
        {"inputs": [ROW, ROW], "params": None},
    ],
)
def test_every_format_of_mlflow_gives_the_same_rows(document: dict[str, Any]) -> None:
    """Two rows each; their tensors are those of the loader."""
    rows = READER.read_json(body_of(**document))
    frame = pd.DataFrame([ROW, ROW]).assign(admitted=pd.Timestamp(ROW["admitted"]))
    expected = tensors_of(as_features(frame, SCHEMA), SCHEMA)
    assert rows.count == 2
    assert (rows.tensors["numbers"] == expected["numbers"]).all()
    assert rows.tensors["texts"].tolist() == [["north"], ["north"]]
    assert rows.warnings == []


def test_csv_is_typed_as_in_training() -> None:
    """Numbers, truths and times come out of text; an empty cell is a gap."""
    rows = READER.read_csv(b"dose,ward,urgent,admitted,weight,id\n1.5,north,true,2013-10-19 10:30:00,70,a1\n,,,,,a2\n")
    as_json = READER.read_json(body_of(dataframe_records=[ROW | {"id": "a1"}, dict.fromkeys(ROW) | {"id": "a2"}]))
    np.testing.assert_array_equal(rows.tensors["numbers"], as_json.tensors["numbers"])
    assert rows.tensors["texts"].tolist() == [["north"], ["(missing)"]]
    assert rows.keys == as_json.keys == ["a1", "a2"]
    assert rows.raw_columns == {
        "ward": ["north", None],
        "urgent": [True, None],
        "admitted": [datetime(2013, 10, 19, 10, 30), None],
    }


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**25), 10**25), st.floats(allow_nan=False), st.text(max_size=4),
    st.sampled_from(["north", "2013-10-19", "2013-10-19T10:30:00+02:00", "NaT", "9999-12-31T23:59:59-05:00", 10**400]),
    st.lists(st.none(), max_size=1), st.dictionaries(st.text(max_size=1), st.none(), max_size=1),
)  # fmt: skip
RECORDS = st.fixed_dictionaries({name: st.one_of(st.just(value), st.none(), CELLS) for name, value in ROW.items()})


@settings(max_examples=40, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_the_quick_way_and_the_loader_agree_on_any_cells(records: list[dict[str, Any]]) -> None:
    """Whatever JSON holds, tensors, warnings and refusals are those that the loader gives for the same table."""
    require_agreement(records)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_the_quick_way_and_the_loader_agree_on_many_cells(records: list[dict[str, Any]]) -> None:
    """The same at length."""
    require_agreement(records)


def require_agreement(records: list[dict[str, Any]]) -> None:
    """Read the rows in both ways and compare."""
    columns = {name: [row[name] for row in records] for name in NAMES}
    frame = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})
    try:
        features = as_features(frame, SCHEMA)
    except SchemaError as refusal:
        problems = [problem.column for problem in refusal.problems]
        with pytest.raises(BadRequest, match="do not fit") as caught:
            READER.read(dict(columns))
        assert [field.column for field in caught.value.fields] == problems
        return
    rows = READER.read(dict(columns))
    expected, notes = tensors_of(features, SCHEMA), frame_notes(frame, SCHEMA)
    np.testing.assert_array_equal(rows.tensors["numbers"], expected["numbers"])
    assert rows.tensors["texts"].tolist() == expected["texts"].tolist()
    assert len(rows.warnings) == len(notes["unknown_levels"]) + len(notes["out_of_range"])


def test_what_is_unusual_is_answered_with_a_warning() -> None:
    """A new level, a number out of range, a column too many: an answer, and a word about each."""
    rows = READER.read_json(body_of(dataframe_records=[ROW | {"ward": "west", "dose": 11, "note": "x", "id": 7}, ROW]))
    assert rows.warnings == [
        "ward: 1 with a level the model has never seen",
        "dose: 1 outside the range the model has seen",
        "not used by the model: 'note'",
    ]
    assert rows.keys == ["7", None]


def test_a_closed_column_takes_no_new_level() -> None:
    """Where the contract knows all levels, another one is an error that names them."""
    columns = [spec | {"closed": True} if spec["name"] == "ward" else spec for spec in SCHEMA["columns"]]
    with pytest.raises(BadRequest, match="'ward': 'west' in row 1, expected one of") as caught:
        Reader(SCHEMA | {"columns": columns}).read_json(body_of(instances=[ROW | {"ward": "west"}]))
    assert caught.value.fields[0].expected == "one of 'north', 'south'"


def test_a_number_beyond_the_contracts_limits_is_refused() -> None:
    """With its row and the limits, whichever way the request is read; the ends themselves are allowed."""
    bounds = {"minimum": 1.0, "maximum": 9.0}
    columns = [spec | bounds if spec["name"] == "dose" else spec for spec in SCHEMA["columns"]]
    reader = Reader(SCHEMA | {"columns": columns})
    assert reader.read_json(body_of(instances=[ROW | {"dose": 1}, ROW | {"dose": 9}, ROW | {"dose": None}])).count == 3
    with pytest.raises(BadRequest, match=r"'dose': '0.5' in row 2, expected at least 1 by the contract") as caught:
        reader.read_csv(b"dose,ward,urgent,admitted,weight\n1,north,true,2013-10-19,70\n0.5,north,true,2013-10-19,70\n")
    assert caught.value.fields == [FieldProblem("dose", found="'0.5'", expected="at least 1 by the contract", row=2)]
    with pytest.raises(BadRequest, match="'dose': '12' in row 1, expected at most 9"):
        reader.read_json(body_of(instances=[ROW | {"dose": 12}]))
    columns = [spec | {"maximum": "2013-12-31T00:00:00"} if spec["name"] == "admitted" else spec for spec in columns]
    reader = Reader(SCHEMA | {"columns": columns})
    late = {"admitted": "2014-01-01T00:00:00"}
    for body in (body_of(instances=[ROW, ROW | late]), body_of(instances=[ROW | {"urgent": None}, ROW | late])):
        with pytest.raises(BadRequest, match=r"'admitted': .* in row 2, expected at most 2013-12-31 00:00:00"):
            reader.read_json(body)


def test_limits_under_their_former_names_are_held() -> None:
    """Bundles of before call minimum and maximum `least` and `most`."""
    columns = [spec | {"least": 1.0, "most": 9.0} if spec["name"] == "dose" else spec for spec in SCHEMA["columns"]]
    reader = Reader(SCHEMA | {"columns": columns})
    assert reader.read_json(body_of(instances=[ROW | {"dose": 9}])).count == 1
    with pytest.raises(BadRequest, match="'dose': '12' in row 1, expected at most 9 by the contract"):
        reader.read_json(body_of(instances=[ROW | {"dose": 12}]))


def test_a_gap_is_taken_where_the_schema_allows_one() -> None:
    """null in a nullable column is a gap; in another it is refused with its row."""
    rows = READER.read_json(body_of(instances=[dict.fromkeys(ROW)]))
    assert np.isnan(rows.tensors["numbers"]).all()
    strict = Reader(SCHEMA | {"columns": [spec | {"nullable": False} for spec in SCHEMA["columns"]]})
    with pytest.raises(BadRequest, match="no value in row 2") as caught:
        strict.read_json(body_of(instances=[ROW, ROW | {"dose": None}]))
    assert caught.value.fields == [
        FieldProblem("dose", found="no value", expected="one in every row, as in training", row=2)
    ]  # fmt: skip


def test_a_gap_in_one_column_does_not_make_a_request_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside columns that are never empty, null in one that may be does not go through the loader's check."""
    required = {"dose": {"nullable": False}, "ward": {"nullable": False}}
    mixed = SCHEMA | {"columns": [spec | required.get(spec["name"], {}) for spec in SCHEMA["columns"]]}
    sent = [ROW | {"weight": None, "urgent": None, "admitted": None, "new": 1}, ROW]
    frame = pd.DataFrame(sent)[NAMES].assign(admitted=pd.to_datetime([None, ROW["admitted"]]))
    expected = tensors_of(as_features(frame, mixed), mixed)
    reader = Reader(mixed)
    with pytest.raises(BadRequest, match=r"'ward'.*no value in row 1"):
        reader.read_json(body_of(instances=[ROW | {"ward": None}]))
    monkeypatch.delattr(Reader, "_checked")  # the slow way
    rows = reader.read_json(body_of(instances=sent))
    assert np.array_equal(rows.tensors["numbers"], expected["numbers"], equal_nan=True)
    assert rows.tensors["texts"].tolist() == expected["texts"].tolist()


def test_every_fault_of_a_row_is_named_at_once() -> None:
    """Column, what was found, what was expected, the closest name."""
    wrong = {"dose": "much", "wrad": "north", "urgent": "yes", "admitted": "soon", "weight": True}
    with pytest.raises(BadRequest, match="do not fit") as caught:
        READER.read_json(body_of(instances=[wrong]))
    assert [(field.column, field.closest) for field in caught.value.fields] == [("ward", "wrad")]
    with pytest.raises(BadRequest, match="do not fit") as caught:
        READER.read_json(body_of(instances=[wrong | {"ward": 5}]))
    assert [field.column for field in caught.value.fields] == ["dose", "ward", "urgent", "admitted", "weight"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b'{"instances": [{"dose": NaN}]}', "NaN is no JSON value; send null"),
        (b'{"instances": [{"dose": -Infinity}]}', "-Infinity is no JSON value"),
        (b'{"instances": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"instances": [{"dose": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}]}", "do not fit|nested too deeply"),
        (b"{}", "exactly one of .* it has none of them, but nothing"),
        (b'{"instances": [], "inputs": []}', "has instances and inputs"),
        (b'{"columns": ["a"], "data": [[1]]}', "none of them, but 'columns', 'data'"),
        (b'{"instances": [{}], "params": {"t": 1}}', "takes no params; remove 't'"),
        (b'{"instances": 5}', "instances must be a list of rows"),
        (b'{"instances": [1]}', "must be a list of lists"),
        (b'{"instances": [[1], {}]}', "must be an object"),
        (b'{"instances": [[1, 2]]}', "row 1 has 2 cells, expected 5"),
        (b'{"dataframe_records": [[1, 2]]}', "must be an object"),
        (b'{"dataframe_records": {}}', "must be a list of rows"),
        (b'{"dataframe_records": []}', "'dose': missing"),
        (b'{"dataframe_split": []}', "must be an object with"),
        (b'{"dataframe_split": {"data": [[1]]}}', "must be an object with"),
        (b'{"dataframe_split": {"columns": [1], "data": [[1]]}}', "list of texts"),
        (b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}', "column 'a' is there 2 times"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}', "row 2 has 2 cells, expected 1"),
        (b'{"dataframe_split": {"columns": ["a"], "data": {}}}', "list of lists"),
        (b'{"inputs": {"dose": 1}}', "each column must be a list"),
        (b'{"inputs": {"dose": [1], "ward": []}}', "all of one length"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_table_is_refused_with_the_reason(body: bytes, message: str) -> None:
    """One message that says what was found and what is expected."""
    with pytest.raises(BadRequest, match=message):
        READER.read_json(body)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"dose": 1e999}, "'dose': infinity"),
        ({"dose": 10**400}, "'dose': a value out of range"),
        ({"dose": "one"}, "'dose': 'one' in row 1"),
        ({"dose": [1]}, "'dose'"),
        ({"dose": True}, "'dose': boolean"),
        ({"ward": 5}, "'ward': integer"),
        ({"ward": "\ud800"}, "'ward': a text is not valid Unicode"),
        ({"urgent": 1}, "'urgent': integer"),
        ({"admitted": 1382178600}, "'admitted': integer"),
        ({"admitted": "2013-13-01"}, "'admitted': '2013-13-01' in row 1"),
    ],
)
def test_a_cell_of_another_kind_is_named(cells: dict[str, Any], message: str) -> None:
    """The column, what was found in it, and nothing is guessed."""
    body = json.dumps({"instances": [ROW | cells]}).encode()
    with pytest.raises(BadRequest, match=message):
        READER.read_json(body.replace(b"Infinity", b"1e999"))


DATE: CellReading = {"kind": "date"}


def test_times_are_utc_and_keep_no_zone() -> None:
    """An offset is counted in; a date is midnight; what is no time stays for the check."""
    assert parse_timestamp("2013-10-19T10:30:00+02:00", DATE) == datetime(2013, 10, 19, 8, 30)
    assert parse_timestamp("2013-10-19", DATE) == datetime(2013, 10, 19)
    assert parse_timestamp("NaT", DATE) is None
    assert parse_timestamp("soon", DATE) == "soon"
    assert parse_timestamp(5, DATE) == 5


def test_parsing_leaves_numbers_as_they_are() -> None:
    """Whole numbers stay whole and large ones large until the schema has seen them."""
    document = parse_json(b'{"instances": [{"a": 12345678901234567890, "b": 1e3}]}')
    assert columns_of(document, ["a"]) == {"a": [12345678901234567890], "b": [1000.0]}
    assert math.isinf(parse_json(b'{"a": 1e999}')["a"])


def test_ages_of_plain_cells_are_those_of_the_loader() -> None:
    """JSON whose cells are of their types already takes the short way: same features, whatever the order of columns."""
    columns = [
        {"name": "born", "type": "timestamp", "parts": ["days", "year", "hour", "age"]},
        {"name": "dose", "type": "float"},
        {"name": "sent", "type": "timestamp", "parts": ["age", "month"]},
    ]
    schema = {"task": "regression", "columns": columns, "time_column": {"name": "seen", "type": "timestamp"}}
    rows = [
        {"born": "1960-02-29T12:00:00.7", "dose": 1.5, "sent": "2020-03-01", "seen": "2020-02-29T00:00:00.1"},
        {"born": None, "dose": None, "sent": "1899-12-31T23:59:59.9", "seen": "2020-01-01"},
        {"born": "2020-01-02", "dose": 2.0, "sent": "2020-01-02", "seen": None},
    ]
    read = Reader(schema).read_json(json.dumps({"dataframe_records": rows}).encode())
    expected = tensors_of(as_features(pd.DataFrame(rows), schema), schema)
    np.testing.assert_array_equal(read.tensors["numbers"], expected["numbers"])
    assert set(read.raw_columns) >= {"seen"}
