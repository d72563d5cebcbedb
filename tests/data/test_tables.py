"""Tables from files, and training and test sets of plain DataFrames."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tdsp.core.errors import DataError, ParameterError
from tdsp.data.tables import feature_frame, plain_frame, read_table, require_frame, split

RNG = np.random.default_rng(0)
VISITS = pd.DataFrame(
    {
        "patient": np.arange(300) // 3,
        "day": pd.date_range("2013-01-01", periods=300),
        "age": RNG.normal(50, 9, 300).round(1),
        "ill": RNG.choice(["no", "yes"], 300, p=[0.7, 0.3]),
    },
    index=np.arange(1000, 1300),
)


def test_a_file_is_read_with_remarks(tmp_path: Path) -> None:
    """The frame, and what was detected; both unpack."""
    path = tmp_path / "flights.csv"
    path.write_text("day;delay\n01.10.2013;2,5\n13.10.2013;-99\n", encoding="utf-8")
    frame, remarks = read_table(path, missing_codes=[-99])
    assert frame["delay"].isna().tolist() == [False, True] and remarks
    found = read_table(str(path), read_as={"delay": "text"})
    assert found.frame["delay"].tolist() == ["2,5", "-99"]
    assert repr(found).startswith("flights.csv: 2 rows, 2 columns") and "<table>" in found._repr_html_()


def test_a_file_that_is_not_there_is_a_data_error(tmp_path: Path) -> None:
    """So is a column to read that no file has."""
    with pytest.raises(DataError, match=r"nothing\.csv"):
        read_table(tmp_path / "nothing.csv")


def test_frames_are_brought_into_plain_types() -> None:
    """Mixed columns become text, categories what they stand for; arrays get names."""
    mixed = pd.DataFrame({"size": [1, "XL"], 7: pd.Categorical(["a", "b"])}, index=[5, 6])
    assert plain_frame(mixed).to_dict("list") == {"size": ["1", "XL"], "7": ["a", "b"]}
    assert feature_frame(np.zeros((2, 2))).columns.tolist() == ["x0", "x1"]


@pytest.mark.parametrize(
    ("df", "words"),
    [
        ([[1, 2]], "a list; a pandas DataFrame"),
        (pd.DataFrame(), "0 rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "2 columns named 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "2 columns named '1'"),
    ],
)
def test_what_is_no_table_is_refused(df: object, words: str) -> None:
    """A list, no rows, a name that occurs twice."""
    with pytest.raises(ParameterError, match=words):
        require_frame(df)


def test_a_random_split_has_equal_shares_of_the_classes() -> None:
    """Every row is in one set, with its label; the seed decides."""
    train, test = split(VISITS, "ill")
    assert sorted([*train.index, *test.index]) == VISITS.index.tolist() and len(test) == 60
    assert abs((train["ill"] == "yes").mean() - (test["ill"] == "yes").mean()) < 0.01
    assert split(VISITS, "ill").test.equals(test) and not split(VISITS, "ill", random_state=1).test.equals(test)


def test_groups_and_time_are_kept_apart() -> None:
    """Whole groups test, or the latest rows."""
    by_group = split(VISITS, "ill", groups="patient")
    assert not set(by_group.train["patient"]) & set(by_group.test["patient"])
    by_time = split(VISITS, "ill", time="day")
    assert by_time.train["day"].max() < by_time.test["day"].min() and by_time.cut == "2013-08-29"


def test_what_a_split_hides_is_remarked() -> None:
    """Rows without a target, repeated rows, and a column of times that a random split ignores."""
    holes = VISITS.assign(ill=VISITS["ill"].where(VISITS["age"] < 60))
    found = split(pd.concat([holes, holes])[["age", "day", "ill"]], "ill")
    assert found.seen > 0 and "left out" in found.remarks[0] and "too good" in found.remarks[1]
    assert "time='day'" in split(VISITS, "ill").remarks[0]
    assert "too good" in found._repr_html_() and repr(found).endswith("at random")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"target": "il"}, DataError, "Did you mean 'ill'"),
        ({"groups": "patients"}, DataError, "Did you mean 'patient'"),
        ({"time": "day", "groups": "patient"}, ParameterError, "both given"),
        ({"groups": "ill"}, ParameterError, "is the target"),
        ({"test_size": 20}, DataError, "between 0 and 1"),
        ({"time": "ill"}, ParameterError, "is the target"),
        ({"target": "day"}, DataError, "is a date"),
    ],
)
def test_a_split_that_cannot_be_is_refused(options: dict, error: type[Exception], words: str) -> None:
    """Unknown names with the closest one, two rules, a share in percent, a date as target."""
    with pytest.raises(error, match=words):
        split(VISITS, **{"target": "ill", **options})


@pytest.mark.parametrize("dtype", ["category", "boolean", "float"])
def test_targets_of_every_type_are_split(dtype: str) -> None:
    """Categories, nullable booleans and numbers."""
    values = {"category": VISITS["ill"], "boolean": VISITS["ill"] == "yes", "float": VISITS["age"]}[dtype]
    train, test = split(VISITS[["age"]].assign(y=values.astype(dtype)), "y")
    assert len(train) + len(test) == 300
