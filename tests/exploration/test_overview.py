"""Profiles and leak reports of plain DataFrames."""

import numpy as np
import pandas as pd
import pytest

from tdsp.core.errors import DataError, ParameterError
from tdsp.exploration.findings import LIST
from tdsp.exploration.overview import LEAKING, find_leaks, profile

RNG = np.random.default_rng(0)
DELAY = RNG.normal(0, 30, 400)
FLIGHTS = pd.DataFrame(
    {
        "flight": np.arange(400),
        "distance": RNG.integers(90, 5000, 400),
        "carrier": pd.Categorical(RNG.choice(["UA", "AA", "B6"], 400)),
        "gate": np.where(RNG.random(400) < 0.3, None, "A1"),
        "arr_delay": DELAY,
        "late": DELAY > 15,
    }
)


def test_a_profile_counts_every_column() -> None:
    """Types, gaps and the strength of the link with the target."""
    found = profile(FLIGHTS, "late")
    columns = found.columns.set_index("column")
    assert (found.rows, found.task, len(columns)) == (400, "binary", 6)
    assert columns.loc["gate", "missing"] == pytest.approx(FLIGHTS["gate"].isna().mean())
    assert columns["association"].idxmax() == "arr_delay" and columns.loc["late", "type"] == "true/false"
    assert {"id", "tick-box", "few-rows"} <= {finding.code for finding in found.findings}


def test_a_profile_needs_no_target() -> None:
    """Without one there is no finding about it."""
    found = profile(FLIGHTS)
    assert (found.target, found.task) == ("", "") and found.columns["association"].isna().all()
    assert "association" not in found._repr_html_()


def test_a_profile_shows_itself() -> None:
    """One line, and HTML in which names and values are escaped."""
    found = profile(FLIGHTS.rename(columns={"carrier": "<carrier>"}), "late")
    assert repr(found).startswith("400 rows, 6 columns, target late (binary): ")
    assert "&lt;carrier&gt;" in found._repr_html_() and "<carrier>" not in found._repr_html_()
    assert len(found.table) == len(found.findings)


def test_a_column_that_gives_the_target_away_is_found() -> None:
    """By what it predicts alone, by its gaps and by its name."""
    odd = FLIGHTS.assign(fee=np.where(DELAY > 15, 80.0, np.nan), late_fee=RNG.random(400))
    found = find_leaks(odd, "late")
    assert {"arr_delay", "fee", "late_fee"} <= set(found.columns) and not {"distance", "carrier"} & set(found.columns)
    assert "flight" not in found.columns and "arr_delay" in found._repr_html_()
    assert {suspect.code for suspect in found.suspects} >= {"leads-alone", "filled-after", "target-in-name"}


def test_a_table_without_a_leak_says_so() -> None:
    """No suspicion for chance."""
    clean = find_leaks(FLIGHTS[["distance", "carrier"]].assign(y=RNG.integers(0, 2, 400)), "y")
    assert (clean.columns, len(clean.table)) == ([], 0) and repr(clean).startswith("no leak")


def test_leaks_of_numbers_and_of_several_classes_are_found() -> None:
    """The sum that gives a number, the code that gives a class."""
    numbers = pd.DataFrame({"a": RNG.random(200), "b": RNG.random(200)}).assign(y=lambda t: t["a"] + t["b"])
    assert set(find_leaks(numbers, "y").columns) == {"a", "b"}
    kinds = pd.DataFrame({"x": RNG.random(300), "kind": RNG.choice(list("abc"), 300)})
    kinds["code"] = kinds["kind"].map({"a": 7, "b": 9, "c": 1})
    assert find_leaks(kinds, "kind").columns == ["code"]


@pytest.mark.parametrize(
    ("df", "target", "error", "words"),
    [
        (FLIGHTS, "lat", DataError, "Did you mean 'late'"),
        (FLIGHTS.assign(late=1), "late", DataError, "nothing to predict"),
        (FLIGHTS.head(5), "late", DataError, "too few"),
        (FLIGHTS.to_numpy(), "late", ParameterError, "a pandas DataFrame"),
        (FLIGHTS.assign(parts=[[1, 2]] * 400), "late", DataError, "parts"),
    ],
)
def test_a_table_that_cannot_be_looked_at_is_refused(
    df: object, target: str, error: type[Exception], words: str
) -> None:
    """Unknown or constant targets, few rows, arrays, nested values."""
    for look in (profile, find_leaks):
        with pytest.raises(error, match=words):
            look(df, target)


def test_codes_of_leaks_are_codes_of_findings() -> None:
    """A renamed finding would otherwise be lost."""
    assert set(LEAKING) <= set(LIST)


def test_a_heading_keeps_the_names_of_columns() -> None:
    """Only the first letter becomes a capital."""
    shown = find_leaks(FLIGHTS.rename(columns={"arr_delay": "ArrDelay", "late": "Late"}), "Late")._repr_html_()
    assert "may give Late away: ArrDelay" in shown
