"""The log of a service as a source: one table of all parts, with the origin of each row."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp.core.errors import DataError
from tdsp.data.ingest import load_table
from tdsp.data.sources import is_volatile

HOUR = 3_600_000_000


def write_part(root: Path, name: str = "part-1-1", version: str = "a1", **columns: list[object]) -> Path:
    """One file of the log of `late`, an hour between rows."""
    place = root / "outputs" / "predictions" / "late" / version
    place.mkdir(parents=True, exist_ok=True)
    keys = [f"{name}-{i}" for i in range(len(next(iter(columns.values()))))]
    at = pa.array([HOUR * i for i in range(len(keys))], pa.timestamp("us", "UTC"))
    given = {column.replace("__", "."): values for column, values in columns.items()}
    pq.write_table(pa.table({"key": keys, "time": at, "request": keys} | given), place / f"{name}.parquet")
    return place / f"{name}.parquet"


def served(root: Path, uri: str = "predictions:late") -> pd.DataFrame:
    """The table of the source alone."""
    return load_table({"served": uri}, None, root=root, lake=root / "lake").frame


def test_versions_are_one_table(tmp_path: Path):
    """A column that only the later version has is a gap before; equal logs give equal tables."""
    write_part(tmp_path, sent__wind=[1.0, 2.0], predicted__probability=[0.1, 0.2])
    write_part(tmp_path, "part-2-1", "b2", sent__wind=[3.0], sent__rain=[0.5], predicted__probability=[0.3])
    table = load_table({"served": "predictions:late"}, None, root=tmp_path, lake=tmp_path / "lake")
    assert table.frame["served_by"].to_list() == ["a1", "b2", "a1"] and table.frame["rain"].isna().sum() == 2
    assert table.sha256 == load_table({"served": "predictions:late"}, None, root=tmp_path, lake=tmp_path / "l2").sha256
    assert served(tmp_path, "predictions:outputs/predictions/late/b2")["wind"].to_list() == [3.0]
    assert is_volatile("predictions:late")  # a run keeps to what its first stage found


def test_of_several_classes_the_likeliest_is_the_prediction(tmp_path: Path):
    """Text, as the classes are."""
    write_part(
        tmp_path,
        sent__x=[1.0, 2.0],
        **{"predicted__probability_it's": [0.2, 0.9], "predicted__probability_b": [0.8, 0.1]},
    )
    assert served(tmp_path)["served_prediction"].to_list() == ["b", "it's"]


def test_a_column_with_the_name_of_an_origin_is_refused(tmp_path: Path):
    """The two would be one name."""
    write_part(tmp_path, sent__served_at=[1.0, 2.0])
    with pytest.raises(DataError, match="the model has a column 'served_at'"):
        served(tmp_path)


def test_a_part_that_is_cut_is_named(tmp_path: Path):
    """With what to do, and what it costs."""
    part = write_part(tmp_path, sent__x=[1.0, 2.0])
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"part-1-1\.parquet cannot be read.*Remove it, its rows are lost"):
        served(tmp_path)


def test_a_folder_without_parts_is_no_log(tmp_path: Path):
    """Nor is a Parquet file of another kind that lies there."""
    (tmp_path / "outputs" / "predictions" / "late").mkdir(parents=True)
    with pytest.raises(DataError, match="without a log of predictions"):
        served(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "outputs" / "predictions" / "late" / "part-1.parquet")
    with pytest.raises(DataError, match="no part of a service's log"):
        served(tmp_path)
