"""Splits by key, as given and in file order hold, and rows that training has seen are counted."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsp.core.errors import DataError
from tdsp.data.repeats import find_repeats
from tdsp.data.splits import Split, row_hashes, split_table, units_of, write_parts


def table(n=400, **columns):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=n), "y": ["no", "yes"] * (n // 2)} | columns)


def split(df, **options):
    return split_table(df, target="y", task="binary", **options)


@given(n=st.integers(200, 800), more=st.integers(0, 400), share=st.floats(0.1, 0.5))
@settings(max_examples=20, deadline=None)
def test_rows_added_later_move_no_old_row(n, more, share):
    """A key tests in every delivery or in none, wherever its rows stand."""
    n, rng = 2 * (n // 2), np.random.default_rng(n)
    later = table(2 * ((n + more) // 2)).assign(key=lambda d: [f"k{i // 2}" for i in range(len(d))])
    old = split(later.head(n), kind="key", split_column="key", share=share)
    mixed = later.iloc[rng.permutation(len(later))].reset_index(drop=True)
    new = split(mixed, kind="key", split_column="key", share=share)
    tests, trains = (set(mixed["key"].iloc[part]) for part in (new.test, new.train))
    assert set(later["key"].iloc[old.test]) <= tests and not tests & trains
    assert new.kind == "group" and len(set(units_of(mixed, new))) == mixed["key"].nunique()


@pytest.mark.parametrize("keys", [range(400), [f"c{i}" for i in range(400)], pd.date_range("2013-01-01", periods=400)])
def test_a_key_of_any_kind_splits_near_the_share(keys):
    """A gap elsewhere that makes a float of a whole number changes nothing."""
    found = split(table(key=keys), kind="key", split_column="key")
    assert 0.13 < len(found.test) / 400 < 0.27 and found.kind == "random" and found.rule == "key"
    if isinstance(keys, range):
        as_float = split(table(key=np.arange(400.0)), kind="key", split_column="key")
        assert list(as_float.test) == list(found.test)


@pytest.mark.parametrize(
    "given", [[0, 0, 0, 1], [0.0, 0.0, 0.0, 1.0], [False, False, False, True], ["train"] * 3 + ["Test"]]
)
def test_a_given_column_is_obeyed(given):
    """0 and 1, truths and words."""
    found = split(table(is_test=np.repeat(given, 100)), kind="given", split_column="is_test")
    assert list(found.test) == list(range(300, 400)) and found.why == "as is_test says"


def test_file_order_is_taken_for_time():
    """The last rows test, and folds and intervals go by the row's number."""
    df = table()
    found = split(df, kind="order", share=0.25)
    assert list(found.test) == list(range(300, 400)) and (found.kind, found.cut) == ("time", "300")
    assert list(units_of(df.assign(row_id=range(400)).iloc[found.test], found)[:2]) == ["300", "301"]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"kind": "key"}, "needs split_column"),
        ({}, {"kind": "given", "split_column": "is_tset"}, "no column 'is_tset'"),
        ({"k": [None] + ["a"] * 399}, {"kind": "key", "split_column": "k"}, "'k' is empty in 1 rows"),
        ({"k": "a"}, {"kind": "key", "split_column": "k"}, "split by key: the (training|test) set has no row"),
        ({"k": 0}, {"kind": "given", "split_column": "k"}, "the test set has no row with a target"),
        ({"k": 2}, {"kind": "given", "split_column": "k"}, "holds '2'; write 1 for a test row"),
    ],
)
def test_a_split_that_cannot_be_is_refused(columns, options, message):
    """Each refusal names the column and what would do."""
    with pytest.raises(DataError, match=message):
        split(table(**columns), **options)


def test_rows_of_one_case_stay_on_one_side_of_a_split_at_random():
    """Every other row is a copy of the one before it; shares and classes stay those of the table."""
    df = table().reset_index(drop=True)
    cases = np.arange(len(df)) // 2
    found = split(df, cases=cases)
    assert found.kind == "group" and found.rule == "random" and not set(cases[found.train]) & set(cases[found.test])
    assert abs(len(found.test) / len(df) - 0.2) < 0.02
    alone = split(df, cases=np.arange(len(df)))
    assert list(alone.test) == list(split(df).test)


def test_letters_repeat_and_are_counted(shared_data):
    """The 1,332 repeated rows of a real table put some test rows into training."""
    from tdsp.data.ingest import load_source, to_frame

    df = to_frame(load_source("t", "letter_recognition/letterdata.csv", root=shared_data).table)
    found = split_table(df, target="letter", task="multiclass", random_state=0)
    X = df.drop(columns="letter")
    repeats = find_repeats(X, random_state=0)
    assert repeats.exact == 1332 and 200 < repeats.seen(found.train, found.test).sum() < 800


def test_a_short_test_part_of_a_split_between_days_has_days_for_its_units():
    """Eight days of hours are eight units, and not 192, where the cut lies between days."""
    hours = pd.DataFrame({"at": pd.date_range("2024-03-01", periods=8 * 24, freq="h")})
    none = np.empty(0, dtype=int)
    split = Split(train=none, test=none, kind="time", column="at", why="", dropped=0, test_sha256="", cut="2024-03-01")
    assert len(np.unique(units_of(hours, split))) == 8
    by_hour = Split(
        train=none, test=none, kind="time", column="at", why="", dropped=0, test_sha256="", cut="2024-03-01 12:00:00"
    )
    assert len(np.unique(units_of(hours, by_hour))) == 192


def test_a_row_is_known_by_its_cells_wherever_it_is_in_the_table():
    """Places, the order of columns, and floats in place of whole numbers change nothing; repeats are counted."""
    rows = pd.DataFrame({"row_id": range(4), "n": [1, 2, 2, 3], "who": ["a", "b", "b", None], "at": DAYS[:4]})
    rows.loc[2, "at"] = rows.loc[1, "at"]  # rows 1 and 2 are the same
    whole = row_hashes(rows)
    later = rows.iloc[1:].assign(n=lambda t: t["n"].astype(float), row_id=range(3), repeat_group=0)
    assert len({*whole}) == 4
    assert list(row_hashes(later[["at", "who", "repeat_group", "n", "row_id"]])) == list(whole[1:])
    assert np.isin(row_hashes(rows.iloc[:2]), whole).all() and np.isin(whole, row_hashes(rows.iloc[:2])).sum() == 2
    assert not np.isin(row_hashes(rows.assign(n=9)), whole).any()


DAYS = pd.date_range("2013-01-01", periods=40)
PARTED = {
    "order": ({}, {"kind": "order"}),
    "many days": ({"when": DAYS.repeat(10)}, {"kind": "time", "time_column": "when"}),
    "days as text": ({"when": DAYS.repeat(10).strftime("%Y-%m-%d")}, {"kind": "time", "time_column": "when"}),
    "hours of two days": (
        {"when": pd.date_range("2013-01-01", periods=400, freq="7min")}, {"kind": "time", "time_column": "when"},
    ),
    "months as text": (
        {"when": [f"2013-{1 + i // 40:02}" for i in range(400)]}, {"kind": "time", "time_column": "when"},
    ),
    "days without signs": ({"when": DAYS.repeat(10).strftime("%Y%m%d")}, {"kind": "time", "time_column": "when"}),
    "moments of one zone": (
        {"when": [f"{day:%Y-%m-%d}T23:30:00+02:00" for day in DAYS.repeat(10)]},
        {"kind": "time", "time_column": "when"},
    ),
    "numbers": ({"when": np.arange(400) // 7}, {"kind": "time", "time_column": "when"}),
    "mostly the first": ({"when": np.r_[np.zeros(390), np.ones(10)]}, {"kind": "time", "time_column": "when"}),
    "key": ({"id": np.arange(400) // 2}, {"kind": "key", "split_column": "id"}),
    "given as words": ({"part": ["train", "train", "Test", "Test"] * 100}, {"kind": "given", "split_column": "part"}),
    "given with decimals": ({"part": [0.0, 0.0, 1.0, 1.0] * 100}, {"kind": "given", "split_column": "part"}),
    "given as truth": ({"part": [False, False, True, True] * 100}, {"kind": "given", "split_column": "part"}),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTED)
def test_parts_that_are_written_row_by_row_are_those_of_the_split(tmp_path, name):
    """Every rule that looks at one row, and rows without a target left out."""
    columns, options = PARTED[name]
    df = table(**columns)
    df.loc[::50, "y"] = None
    df.to_parquet(tmp_path / "t.parquet")
    expected = split(df, **options)
    rows = write_parts(tmp_path / "t.parquet", target="y", folder=tmp_path / "new", **options)
    for part, positions in (("train", expected.train), ("test", expected.test)):
        assert pd.read_parquet(tmp_path / "new" / f"{part}.parquet")["row_id"].tolist() == positions.tolist()
        assert rows[part] == len(positions)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"when": ["2013-01-01"] * 400}, {"kind": "time", "time_column": "when"}, "the test set has no row"),
        (
            {"when": ["soon", *["2013-01-01"] * 399]},
            {"kind": "time", "time_column": "when"},
            "'when' holds 'soon' in row 1",
        ),
        ({"when": ["soon"] * 400}, {"kind": "time", "time_column": "when"}, "'when' holds 'soon' in row 1"),
        ({"when": ["infinity", *["2013-01-01"] * 399]}, {"kind": "time", "time_column": "when"}, "holds 'infinity'"),
        (
            {"when": ["2013-01-01T10:00+01:00", *["2013-01-01T10:00+02:00"] * 399]},
            {"kind": "time", "time_column": "when"},
            "mixes time zones",
        ),
        ({"part": [0.7, *[0.0, 1.0] * 199, 1]}, {"kind": "given", "split_column": "part"}, "holds 0.7 in row 1"),
        ({"y": ["a"] * 390 + ["b"] * 10}, {"kind": "order"}, "the training set has no row of class 'b'"),
        ({"y": ["a", "b"] * 100 + ["a"] * 200}, {"kind": "order"}, "the test set has no row of class 'b'"),
        ({}, {"kind": "order", "share": 1.0}, "a share of 1.0 cannot be held out"),
        ({"id": [None, *range(399)]}, {"kind": "key", "split_column": "id"}, "'id' holds nothing in row 1"),
        ({"part": [2, *[0, 1] * 199, 1]}, {"kind": "given", "split_column": "part"}, "'part' holds 2 in row 1"),
        ({"part": [0] * 400}, {"kind": "given", "split_column": "part"}, "the test set has no row"),
    ],
)
def test_parts_that_cannot_be_are_refused_before_anything_is_written(tmp_path, columns, options, message):
    """A row that no rule can place is named, and an empty part too."""
    table(**columns).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        write_parts(tmp_path / "t.parquet", target="y", folder=tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
