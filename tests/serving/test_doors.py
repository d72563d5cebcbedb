"""A cell means the same in a piece or a whole file, in any order of rows and columns, as CSV, JSON or DataFrame."""

import json
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsp.packaging.loader import SchemaError, as_features
from tdsp.serving.batch import text_frame
from tdsp.serving.requests import BadRequest, Reader
from tdsp.serving.row_validation import validate_rows

NOISE = ["", "NA", "?", "soon", "unknown", "-999", " ", "0,461", "1.234", "12/11/10", "2021-02-30", "−5", "nan"]
CELLS = {
    "debt": ["2.908,53", "9.600", "9,5", "-3", "1.000.000,1", "5 EUR", "7-"],
    "weight": ["51 kg", "1,200kg", "63", "1.5e3", "3k", "8 lb", ".5"],
    "signed": ["01/12/2021", "2021-12-01", "31.12.2020 10:30", "5. Mai 2023", "03/06/60", "13/13/2021", "20210101"],
    "start": ["21:42", "1:23:45", "7", "25:61"],
    "member": ["TRUE", "false", "yes"],
    "country": ["NA", "ZA", " BW ", "Namibia", ""],
    "now": ["2022-05-01", "2022-05-01 13:00:00.5", ""],
}
SCHEMA: dict[str, Any] = {
    "task": "regression",
    "target": "y",
    "columns": [
        {"name": "debt", "type": "float", "reading": {"kind": "number", "decimal": ",", "missing": ["-999"]}},
        {
            "name": "weight",
            "type": "float",
            "reading": {"kind": "number", "affixes": [["", "kg", 1.0], ["", "k", 1e3]]},
        },
        {
            "name": "signed",
            "type": "timestamp",
            "parts": ["days", "year", "month", "weekday", "hour", "age"],
            "reading": {"kind": "date", "order": "day first", "latest_year": 2033},
        },
        {"name": "start", "type": "float", "reading": {"kind": "clock"}},
        {"name": "member", "type": "boolean", "reading": {"kind": "boolean"}},
        {"name": "country", "type": "string", "reading": {"kind": "text", "kept": ["NA"]}},
    ],
    "time_column": {"name": "now", "type": "timestamp", "reading": {"kind": "date"}},
}
NAMES = list(CELLS)
ROWS = st.lists(
    st.fixed_dictionaries({n: st.sampled_from(c + NOISE) for n, c in CELLS.items()}), min_size=1, max_size=8
)
READER = Reader(SCHEMA)


def fates_of(rows: list[dict[str, str]], names: list[str] = NAMES) -> list[tuple[str, bytes]]:
    """By row: the reason why it was rejected or nothing, and the features it came to, read together as one piece."""
    cells = pa.table({name: [row[name] for row in rows] for name in names})
    frame, reasons = validate_rows(text_frame(cells, SCHEMA), SCHEMA)
    good = frame.drop(index=list(reasons))
    features = dict(zip(good.index, as_features(good, SCHEMA).itertuples(index=False), strict=True))
    return [(reasons.get(i, ""), repr(tuple(features[i])).encode() if i in features else b"") for i in range(len(rows))]


def require_same_fates(rows: list[dict[str, str]], random: Random, size: int) -> None:
    """Read the rows whole, in pieces, in another order of rows and of columns, and compare."""
    whole = fates_of(rows)
    pieces = [fate for start in range(0, len(rows), size) for fate in fates_of(rows[start : start + size])]
    assert pieces == whole
    order = random.sample(range(len(rows)), len(rows))
    assert fates_of([rows[i] for i in order]) == [whole[i] for i in order]
    turned = fates_of(rows, random.sample(NAMES, len(NAMES)))
    assert [features for _, features in turned] == [features for _, features in whole]


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 8))
def test_a_rows_fate_depends_on_the_row_and_the_schema_alone(rows, random, size):
    """Any split into pieces and any order of rows and columns gives the same features, rejects and reasons."""
    require_same_fates(rows, random, size)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 8))
def test_a_rows_fate_depends_on_the_row_and_the_schema_at_length(rows, random, size):
    """The same for many more rows."""
    require_same_fates(rows, random, size)


def require_agreement(rows: list[dict[str, str]]) -> None:
    """Send each row as DataFrame, JSON and CSV, and compare."""
    for row, (reason, _) in zip(rows, fates_of(rows), strict=True):
        frame = pd.DataFrame([row])
        body = json.dumps({"dataframe_records": [row]}).encode()
        text = (",".join(NAMES) + "\n" + ",".join(f'"{row[name]}"' for name in NAMES) + "\n").encode()
        if reason:
            with pytest.raises(SchemaError):
                as_features(frame, SCHEMA)
            with pytest.raises(BadRequest, match="do not fit"):
                READER.read_json(body)
            with pytest.raises(BadRequest, match="do not fit"):
                READER.read_csv(text)
            continue
        features = as_features(frame, SCHEMA)
        for read in (READER.read_json(body), READER.read_csv(text)):
            numbers = [name for name in features if name != "country"]
            by_name = dict(zip(["debt", "weight", "start"], read.floats[:, 0].tolist(), strict=True))
            assert {n: repr(v) for n, v in by_name.items()} == {n: repr(float(features[n].iloc[0])) for n in by_name}
            assert read.tensors["texts"].tolist() == [[features["country"].iloc[0]]]
            np.testing.assert_array_equal(
                np.sort(read.tensors["numbers"][0]), np.sort(features[numbers].to_numpy(dtype=float)[0])
            )


@settings(max_examples=20, deadline=None)
@given(ROWS)
def test_csv_json_and_frames_agree(rows):
    """The service refuses what a batch rejects, a DataFrame of texts too; what is taken has the same numbers."""
    require_agreement(rows)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(ROWS)
def test_csv_json_and_frames_agree_at_length(rows):
    """The same for many more rows."""
    require_agreement(rows)


def test_a_code_is_a_gap_whatever_the_other_cells_are():
    """-999 as a number beside a text that is read by the loader, and beside plain numbers."""
    schema = {"task": "regression", "target": "y", "reading": {"missing_codes": ["-999"]}, "columns": [
        {"name": "a", "type": "float"}, {"name": "b", "type": "float"},
    ]}  # fmt: skip
    for b in (1.5, "1.5"):
        rows = Reader(schema).read_json(json.dumps({"instances": [{"a": -999, "b": b}]}).encode())
        assert np.isnan(rows.floats[0, 0]) and rows.floats[1, 0] == 1.5


def test_no_row_that_was_sent_is_left_out():
    """Cells that begin with # are cells; a row of another length is named."""
    schema = {"task": "regression", "target": "y", "columns": [
        {"name": name, "type": "string"} for name in ("tag", "color")
    ]}  # fmt: skip
    assert Reader(schema).read_csv(b"tag,color\n#a,#fff\n#b,#000\n").count == 2
    with pytest.raises(BadRequest, match="line 3"):
        Reader(schema).read_csv(b"tag,color\nx,y\n#odd,1,2\nu,v\n")
