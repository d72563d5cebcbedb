"""The file that ships in every bundle: features, probabilities, the check before anything is opened."""

import ast
import datetime
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression

from tdsp.data.ingest import load_table
from tdsp.data.schema import infer_schema
from tdsp.packaging.bundle import loader_source
from tdsp.packaging.loader import (
    BundleCheckError,
    SchemaError,
    as_features,
    canonical,
    check_bundle,
    feature_names,
    frame_notes,
    predict_frame,
    read_manifest,
    sealed,
)


def column(name: str, type_: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "nullable": True, "min": None, "max": None, "levels": None} | rest


def schema(*columns: dict[str, Any], task: str = "binary", classes: tuple[str, ...] = ("no", "yes")) -> dict[str, Any]:
    positive = classes[1] if task == "binary" else None
    return {
        "task": task,
        "target": "y",
        "classes": list(classes),
        "positive_class": positive,
        "columns": list(columns),
    }


def features_of(values: Any, type_: str, **rest: Any) -> list[list[Any]]:
    return as_features(pd.DataFrame({"x": values}), schema(column("x", type_, **rest))).to_numpy().tolist()


def test_it_imports_nothing_that_a_bundle_lacks() -> None:
    """Standard library, numpy and pandas; what scikit-learn itself needs inside a function; never tdsp."""
    tree = ast.parse(loader_source())
    found = {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    found |= {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert found - sys.stdlib_module_names == {"numpy", "pandas", "joblib", "threadpoolctl"}
    assert not any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(tree))


def test_features_come_in_schema_order_and_keep_the_index() -> None:
    """The table's own order, further columns and index do not matter."""
    frame = pd.DataFrame({"key": [7, 8], "b": [True, False], "a": ["u", None]}, index=[50, 40])
    features = as_features(frame, schema(column("a", "string"), column("b", "boolean")))
    assert list(features) == ["a", "b"]
    assert features.index.tolist() == [50, 40]
    assert features["a"].tolist() == ["u", "(missing)"]
    assert features["b"].tolist() == [1.0, 0.0]


def test_a_time_becomes_four_numbers_in_utc() -> None:
    """Zones are converted, a missing time gives missing numbers, far dates do not overflow."""
    zoned = pd.to_datetime(pd.Series(["1970-01-02T01:30:00+02:00", None]))
    rows = features_of(zoned, "timestamp")
    assert rows[0] == [0.0, 1.0, 3.0, 23.5]
    assert np.isnan(rows[1]).all()
    assert features_of([datetime.date(9999, 12, 31)], "timestamp") == [[2932896.0, 12.0, 4.0, 0.0]]


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, None], "float"),
        (pd.array([1, None], dtype="Int64"), "float"),
        (pd.array([True, None], dtype="boolean"), "boolean"),
        ([True, None], "boolean"),
        ([None, None], "string"),
        ([None, None], "timestamp"),
        (pd.Categorical(["a", None]), "string"),
        ([datetime.date(2013, 1, 1), None], "timestamp"),
    ],
)
def test_lossless_forms_of_a_type_are_taken(values: Any, type_: str) -> None:
    """Integers, nullable types, categories and dates say the same thing in another form."""
    assert len(features_of(values, type_)) == 2


@pytest.mark.parametrize(
    ("values", "type_", "message"),
    [
        (["3,5"], "float", "'3,5' in row 1, expected a number"),
        ([True], "float", "boolean such as 'True', expected a number"),
        ([7], "string", "integer such as '7', expected text"),
        (["a", 1], "string", "such as '1' in row 2, expected text"),
        ([0, 1], "boolean", "expected true or false"),
        (["2013-01-01", "1/2/2013"], "timestamp", "'1/2/2013' in row 2, expected a date or time"),
        ([1.0, np.inf], "float", "infinity in row 2"),
        (pd.Series([10**400], dtype=object), "float", "out of range"),
    ],
)
def test_a_wrong_type_is_named(values: Any, type_: str, message: str) -> None:
    """The message says what was found, where and what was expected."""
    with pytest.raises(SchemaError, match=message):
        features_of(values, type_)


def test_a_missing_value_needs_a_nullable_column() -> None:
    """Where training had no gap, a gap is refused with the first row that has one."""
    with pytest.raises(SchemaError, match="no value in 2 rows, the first in row 2"):
        features_of([1.0, None, None], "float", nullable=False)


def test_every_difference_is_reported_at_once() -> None:
    """Absent and doubled columns come together, the closest name beside."""
    frame = pd.DataFrame([[1, 2, 3]], columns=["mean_radus", "area", "area"])
    wanted = schema(column("mean_radius", "float"), column("area", "float"), column("zzz", "string"))
    with pytest.raises(SchemaError, match="mean_radius") as caught:
        as_features(frame, wanted)
    assert [(p.column, p.found, p.closest) for p in caught.value.problems] == [
        ("mean_radius", "missing", "mean_radus"),
        ("area", "there 2 times", ""),
        ("zzz", "missing", ""),
    ]


def test_two_features_of_one_name_are_refused() -> None:
    """A time `t` gives `t.days`: a column of that name would replace it without a word."""
    frame = pd.DataFrame({"t": pd.to_datetime(["2013-01-01"]), "t.days": [1.0]})
    with pytest.raises(SchemaError, match=r"second feature 't\.days'"):
        as_features(frame, schema(column("t", "timestamp"), column("t.days", "float")))


def test_notes_count_what_is_unusual_but_no_error() -> None:
    """Unknown levels and values beyond the training range pass, and are counted."""
    wanted = schema(column("x", "float", min=0, max=1), column("s", "string", levels=["a"]))
    frame = pd.DataFrame({"x": [0.5, 2, None], "s": ["a", "b", None], "id": [1, 2, 3]})
    assert frame_notes(frame, wanted) == {"extra": ["id"], "unknown_levels": {"s": 1}, "out_of_range": {"x": 1}}
    assert as_features(frame, wanted)["s"].tolist() == ["a", "b", "(missing)"]


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)), st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
def test_features_of_a_row_do_not_depend_on_other_rows(order: list[int], values: list[float]) -> None:
    """Reordering the rows reorders the features and changes nothing else."""
    frame = pd.DataFrame({"x": values, "s": [None, "a", "b", "", " ", "(missing)"]})
    wanted = schema(column("x", "float"), column("s", "string"))
    whole = as_features(frame, wanted).iloc[order]
    pd.testing.assert_frame_equal(whole, as_features(frame.iloc[order], wanted))


def test_feature_names_are_the_columns_of_the_features() -> None:
    """The kinds in the schema of features agree with the columns of features."""
    wanted = schema(column("t", "timestamp"), column("s", "string"), column("b", "boolean"), column("x", "float"))
    frame = pd.DataFrame({"t": pd.to_datetime(["2013-01-01"]), "s": ["a"], "b": [True], "x": [1]})
    features = as_features(frame, wanted)
    kinds = {n: "text" if features[n].dtype == object else "number" for n in features}
    assert feature_names(wanted) == kinds


@pytest.mark.parametrize("labels", [[0, 1, 1, 0], ["no", "yes", "yes", "no"]])
def test_the_probability_is_the_positive_class(labels: list[Any]) -> None:
    """Class numbers and class names lead to the same column."""
    frame = pd.DataFrame({"x": [0.0, 1, 1, 0]})
    model = LogisticRegression().fit(frame, labels)
    predicted = predict_frame(model, frame, schema(column("x", "float")))
    assert predicted["probability"].tolist() == model.predict_proba(frame)[:, 1].tolist()


def test_a_class_the_model_never_saw_has_probability_zero() -> None:
    """A fold without a class keeps the columns of all classes in place."""
    frame = pd.DataFrame({"x": [0.0, 1, 1, 0]})
    model = LogisticRegression().fit(frame, [0, 2, 2, 0])
    predicted = predict_frame(model, frame, schema(column("x", "float"), task="multiclass", classes=("a", "b", "c")))
    assert list(predicted) == ["probability_a", "probability_b", "probability_c"]
    assert (predicted["probability_b"] == 0).all()
    assert np.allclose(predicted.sum(axis=1), 1)


def test_regression_gives_one_number_a_row_and_no_rows_give_none() -> None:
    """The index is kept; an empty table is checked and answered with an empty one."""
    frame = pd.DataFrame({"x": [0.0, 1, 2]}, index=[3, 1, 2])
    model = LinearRegression().fit(frame, [1.0, 3.0, 5.0])
    wanted = schema(column("x", "float"), task="regression", classes=())
    predicted = predict_frame(model, frame, wanted)
    assert predicted.index.tolist() == [3, 1, 2]
    assert np.allclose(predicted["prediction"], [1, 3, 5])
    assert predict_frame(model, frame.head(0), wanted).shape == (0, 1)
    with pytest.raises(SchemaError, match="'x': missing"):
        predict_frame(model, frame.head(0).rename(columns={"x": "z"}), wanted)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A well-formed bundle of empty files."""
    files = ["code/tdsp_bundle/__init__.py", "pipeline.joblib", "schema.json"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = {name: {"bytes": 0, "sha256": hashlib.sha256().hexdigest()} for name in files}
    write_manifest(tmp_path, {"bundle_version": 1, "needs_tdsp": "0.1", "files": listed})
    return tmp_path


def write_manifest(folder: Path, document: dict[str, Any]) -> None:
    (folder / "bundle.json").write_bytes(canonical(sealed(document)))


def test_a_bundle_as_written_passes(bundle: Path) -> None:
    """Also with the sha256 that the run recorded."""
    recorded = hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest()
    assert set(check_bundle(bundle, recorded)["files"]) == set(check_bundle(bundle)["files"])


def with_link(folder: Path) -> None:
    (folder / "schema.json").rename(folder.parent / "outside.json")
    (folder / "schema.json").symlink_to(folder.parent / "outside.json")


def with_linked_folder(folder: Path) -> None:
    (folder / "code").rename(folder.parent / f"{folder.name}-code")
    (folder / "code").symlink_to(folder.parent / f"{folder.name}-code")


def with_stray_link(folder: Path) -> None:
    (folder / "sklearn").symlink_to("/tmp")


def with_bytecode(folder: Path) -> None:
    (folder / "code/tdsp_bundle/__pycache__").mkdir()


def with_pipe(folder: Path) -> None:
    (folder / "schema.json").unlink()
    os.mkfifo(folder / "schema.json")


def without_file(folder: Path) -> None:
    (folder / "pipeline.joblib").unlink()


def with_unsorted_manifest(folder: Path) -> None:
    document = json.loads((folder / "bundle.json").read_bytes())
    (folder / "bundle.json").write_text(json.dumps(document))


def with_other_hash(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_bytes(path.read_bytes().replace(b"e3b0", b"e3b1", 1))


def with_path_outside(folder: Path) -> None:
    document = json.loads((folder / "bundle.json").read_bytes())
    document["files"]["../outside"] = {"bytes": 0, "sha256": hashlib.sha256().hexdigest()}
    write_manifest(folder, document)


def without_manifest(folder: Path) -> None:
    (folder / "bundle.json").unlink()


def with_garbage(folder: Path) -> None:
    (folder / "bundle.json").write_bytes(b"[" * 100_000)


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (with_link, "schema.json is"),
        (with_linked_folder, "code is not part"),
        (with_stray_link, "sklearn is not part"),
        (with_bytecode, "__pycache__ is not part"),
        (with_pipe, "schema.json is"),
        (without_file, "pipeline.joblib is missing"),
        (with_unsorted_manifest, "was changed"),
        (with_other_hash, "was changed"),
        (with_path_outside, "was changed"),
        (without_manifest, "bundle.json is missing"),
        (with_garbage, "cannot be read"),
    ],
)
def test_a_tampered_folder_is_refused(bundle: Path, tamper: Callable[[Path], None], message: str) -> None:
    """Links, pipes, strays, gaps and any other spelling of the manifest stop the check."""
    tamper(bundle)
    with pytest.raises(BundleCheckError, match=message):
        check_bundle(bundle)


def test_a_resealed_manifest_is_refused_by_the_recorded_hash(bundle: Path) -> None:
    """Whoever rewrites the seal as well is stopped by what the run wrote down."""
    recorded = hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest()
    write_manifest(bundle, json.loads((bundle / "bundle.json").read_bytes()) | {"title": "other"})
    assert check_bundle(bundle)
    with pytest.raises(BundleCheckError, match="not the one that the run recorded"):
        check_bundle(bundle, recorded)


def test_a_newer_form_is_refused_with_the_version_it_needs(bundle: Path) -> None:
    """Its form is not judged: it may look different by then."""
    (bundle / "bundle.json").write_text('{"bundle_version": 2, "needs_tdsp": "0.9"}')
    with pytest.raises(BundleCheckError, match=r"bundle version 2 needs tdsp 0\.9"):
        read_manifest(bundle)


def test_a_date_gives_the_parts_that_its_schema_names_and_its_age_up_to_the_time_column() -> None:
    """The time column is needed and no feature; where it is a gap the age is one; older schemas give four parts."""
    named = {**column("born", "timestamp"), "parts": ["year", "age"]}
    wanted = {**schema(named), "time_column": column("seen", "timestamp")}
    frame = pd.DataFrame({
        "born": ["1960-02-29 12:00:00.7", "2020-01-02", None, "2020-01-01"],
        "seen": ["2020-02-29", "2020-01-01", "2020-01-01", None],
    })  # fmt: skip
    features = as_features(frame, wanted)
    assert list(features) == list(feature_names(wanted)) == ["born.year", "born.age"]
    np.testing.assert_array_equal(features["born.age"], [21914.5, -1.0, np.nan, np.nan])
    with pytest.raises(SchemaError, match="'seen': missing"):
        as_features(frame[["born"]], wanted)
    with pytest.raises(SchemaError, match="'soon' in row 2"):
        as_features(frame.assign(seen=["2020-02-29", "soon", None, None]), wanted)
    assert list(feature_names(schema(column("born", "timestamp")))) == [
        "born.days", "born.month", "born.weekday", "born.hour"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM heat",
        'SELECT * FROM (SELECT * FROM heat) WHERE ("load" <= 45) IS NOT FALSE',
        "WITH w AS (SELECT h.* FROM heat h WHERE y IS NOT NULL) SELECT w.load, w.free, w.when, w.y FROM w",
    ],
)
def test_cells_as_they_stand_in_the_training_file_give_the_features_of_training(tmp_path: Path, sql: str) -> None:
    """Whatever SQL has handed the columns through: the raw rows are the rows that were learned from."""
    rows = "".join(
        f"{i % 28 + 1}.01.2024;{'-999' if i % 9 == 4 else f'{i % 50},5'};{'ja' if i % 3 else 'nein'};{i % 2}\n"
        for i in range(200)
    )
    (tmp_path / "heat.csv").write_text(f"when;load;free;y\n{rows}")
    (tmp_path / "q.sql").write_text(sql)
    options: dict[str, Any] = {"root": tmp_path, "lake": tmp_path / "lake", "missing_codes": ["-999"]}
    table = load_table({"heat": "heat.csv"}, tmp_path / "q.sql", **options)
    stored = infer_schema(table.frame, target="y", task="binary", classes=("0", "1"), readings=table.readings)
    raw = pd.read_csv(tmp_path / "heat.csv", sep=";", dtype=str)
    learned = as_features(table.frame, stored)
    cells = as_features(raw, stored)[list(learned)]
    common = learned.sort_values(list(learned)).drop_duplicates().reset_index(drop=True)
    given = cells.sort_values(list(learned)).drop_duplicates().reset_index(drop=True)
    assert common.merge(given).shape == common.shape
