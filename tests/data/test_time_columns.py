"""The time by which rows are split: found in one column or several, and never one that is written after the outcome."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from tdsp.core.cells import CellReading
from tdsp.core.errors import ParameterError
from tdsp.data.guesses import guess_settings
from tdsp.data.schema import infer_schema, require_date_parts
from tdsp.data.sql import open_duckdb
from tdsp.data.time_columns import find_time_parts, guess_time, later_than
from tdsp.stages.data_acquisition import date_steps

N = 240
RNG = np.random.default_rng(0)
OPENED = pd.Series(pd.Timestamp("2022-01-01") + pd.to_timedelta(RNG.integers(0, 400, N), "D"))
EVENT = pd.Series(RNG.random(N) < 0.4)


def table(**columns: object) -> pd.DataFrame:
    """Cases with their day of opening, and further columns."""
    return pd.DataFrame({"opened": OPENED, "x": RNG.normal(size=N), "y": EVENT} | columns)


def days(n: object) -> pd.Series:
    """Dates so many days after the opening."""
    return OPENED + pd.to_timedelta(n, "D")


LATE = {
    "distance": days(np.where(EVENT, RNG.integers(1, 9, N), RNG.integers(30, 90, N))),
    "one value": OPENED.where(EVENT, pd.Timestamp("2099-12-31")),
    "filled": days(3).where(EVENT),
}


@pytest.mark.parametrize("evidence", LATE)
def test_a_date_after_the_outcome_is_passed_over_with_its_evidence(evidence):
    """Whatever its name is; the line that takes it all the same is there."""
    guess = guess_time(table(stage_day=LATE[evidence]), "y")
    assert guess.value == "opened" and "stage_day is written after the outcome" in guess.why
    assert "write time_column: stage_day" in guess.why


def test_a_duration_as_target_gives_the_end_away():
    """Closing is opening plus the days that are asked for."""
    took = RNG.integers(1, 60, N).astype(float)
    guess = guess_time(table(day_of_end=days(took), y=took), "y")
    assert guess.value == "opened" and "its distance to opened gives y" in guess.why


def test_a_time_with_a_gap_names_the_lines_that_take_it():
    """One empty cell does not turn a split by time into one at random without a word."""
    guess = guess_time(table(opened=OPENED.sort_values(ignore_index=True).mask(np.arange(N) == 7)), "y")
    assert guess.value == "" and "opened is empty in 1 row" in guess.why and "time_column: opened" in guess.why


def test_a_date_later_than_the_time_of_its_row_is_doubted():
    """However little it says of the target; a plan, a constant distance and a birth are not."""
    settled = days(RNG.integers(5, 90, N))
    guess = guess_time(table(settled=settled), "y")
    assert guess.value == "opened" and "settled is later than opened in 100\u202f% of the rows, by" in guess.why
    assert "forbidden" in guess.why
    for name, dates in (("due_day", settled), ("next_day", days(1)), ("born", days(-9000 - RNG.integers(0, 9000, N)))):
        assert later_than(dates.rename(name), OPENED.rename("opened")) == ""


@pytest.mark.parametrize("name", ["reservation_status_date", "last_review", "closed_at", "termination_date"])
def test_a_name_alone_makes_a_doubt(name):
    """The only date is not taken, even where the rows are in its order; the reason says how to take it."""
    dates = OPENED.sort_values(ignore_index=True)
    guess = guess_time(pd.DataFrame({name: dates, "y": EVENT}), "y")
    assert guess.value == "" and f"{name} may be written after the outcome" in guess.why and "time_column" in guess.why


def test_an_ordinary_date_is_taken_though_the_share_of_events_drifts():
    """Time may well be related to the target."""
    rising = pd.Series(RNG.random(N) < np.linspace(0.1, 0.8, N))
    frame = pd.DataFrame({"created": OPENED.sort_values(ignore_index=True), "y": rising})
    assert guess_time(frame, "y").value == "created"


PARTS = {
    "numbers": {"year": OPENED.dt.year, "month": OPENED.dt.month, "day": OPENED.dt.day},
    "names": {
        "arrivalYear": OPENED.dt.year,
        "arrivalMonth": OPENED.dt.month_name(),
        "arrivalDayOfMonth": OPENED.dt.day,
    },
    "hours": {"yr": OPENED.dt.year, "mnth": OPENED.dt.month, "day": OPENED.dt.day, "hr": RNG.integers(0, 24, N)},
    "months": {"YEAR": OPENED.dt.year.astype(float), "Month": OPENED.dt.strftime("%b")},
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_time_in_several_columns_is_put_together(kind):
    """By SQL that gives the same moments; the columns themselves stay."""
    frame = pd.DataFrame({**PARTS[kind], "y": EVENT})
    parts = find_time_parts(frame, "y")
    assert parts is not None and [*parts.columns.values()] == [*PARTS[kind]]
    with open_duckdb() as duck:
        duck.register("table", frame)
        made = duck.sql(parts.sql).df()
    assert [*made.columns] == [*frame.columns, parts.name]
    assert (made[parts.name].to_numpy() == parts.moments.to_numpy()).all()
    assert guess_time(frame.assign(**{parts.name: parts.moments}), "y", parts).value == parts.name


HOURS = pd.Series(pd.date_range("2024-03-01", periods=24 * 40, freq="h"))


def hourly(**more: object) -> pd.DataFrame:
    """Forty days with a row an hour, whose parts stand in columns of German names."""
    parts = {"Jahr": HOURS.dt.year, "Monat": HOURS.dt.month, "Tag": HOURS.dt.day}
    return pd.DataFrame({**parts, **more, "y": RNG.random(len(HOURS))})


@pytest.mark.parametrize("name", ["Std", "Std.", "h", "HH", "heure", "hora", "Ora", "uur", "Timme", "slot"])
def test_the_hour_is_known_by_many_names_and_by_what_it_holds(name):
    """Rows of one day have an hour each, and that alone tells; wind repeats within a day."""
    parts = find_time_parts(hourly(wind=RNG.integers(0, 24, len(HOURS)), **{name: HOURS.dt.hour}), "y")
    assert parts is not None and parts.columns["hour"] == name
    assert (parts.moments.to_numpy() == HOURS.to_numpy()).all()


def test_the_hour_that_comes_twice_when_clocks_are_set_back_is_one():
    """One day in forty has 25 rows."""
    frame = hourly(slot=HOURS.dt.hour)
    parts = find_time_parts(pd.concat([frame.iloc[:3], frame.iloc[2:]], ignore_index=True), "y")
    assert parts is not None and parts.columns["hour"] == "slot"


def test_a_height_is_no_hour_and_rows_that_share_a_day_are_counted():
    """The day is still the time of the row, and the reason says what is not known."""
    frame = hourly(h=RNG.integers(40, 90, len(HOURS)))
    parts = find_time_parts(frame, "y")
    assert parts is not None and "hour" not in parts.columns
    guess = guess_time(frame.assign(**{parts.name: parts.moments}), "y", parts)
    assert guess.value == parts.name
    assert "24 rows share one day, as no column of hours is known" in guess.why


@pytest.mark.parametrize(
    "columns",
    [
        {"birth_year": OPENED.dt.year, "birth_month": OPENED.dt.month, "birth_day": OPENED.dt.day},
        {"month": OPENED.dt.month, "day": OPENED.dt.day},
        {"year": OPENED.dt.year, "month": OPENED.dt.month.where(EVENT), "day": OPENED.dt.day},
        {"year": OPENED.dt.year, "month": OPENED.dt.month + 1},
    ],
)
def test_parts_that_are_no_time_of_the_row_are_none(columns):
    """Births, months without a year, gaps, a month 13."""
    assert find_time_parts(pd.DataFrame({**columns, "y": EVENT}), "y") is None


def test_a_measure_is_no_group():
    """Neither by its name, nor by its unit, nor as a fraction; a customer is one."""
    values = RNG.integers(1, 60, N)
    percent: CellReading = {"kind": "number", "affixes": [("", "%", 1.0)]}
    for name, column, readings in (
        ("customer_rate", values, {}),
        ("store", values, {"store": percent}),
        ("device", values + 0.5, {}),
    ):
        assert (
            guess_settings(pd.DataFrame({name: column, "y": EVENT}), "y", readings=readings)["group_column"].value == ""
        )
    assert guess_settings(pd.DataFrame({"customer": values, "y": EVENT}), "y")["group_column"].value == "customer"


def test_a_number_of_a_case_is_a_group_also_beside_a_time():
    """Codes written alike that come back; in a split by time the line is shown that tests new ones."""
    numbers = pd.Series([f"P-{i:05d}" for i in RNG.integers(0, 60, N)])
    frame = pd.DataFrame({"Policennummer": numbers, "x": RNG.normal(size=N), "y": EVENT})
    assert guess_settings(frame, "y")["group_column"].value == "Policennummer"
    beside = guess_settings(frame.assign(opened=OPENED.sort_values(ignore_index=True)), "y")["group_column"]
    assert beside.value == "" and "split: group and group_column: Policennummer" in beside.why
    rooms = pd.DataFrame({"room_number": RNG.choice(["1", "2", "12"], N), "y": EVENT})
    assert guess_settings(rooms, "y")["group_column"].value == ""


def test_the_schema_stores_the_parts_of_dates_and_the_time_up_to_which_ages_count():
    """Without a time column there is no age; a part named like another column is left out; one line undoes it."""
    days = pd.date_range("2020-01-01", periods=60)
    train = pd.DataFrame({
        "signed": days[::-1], "signed.month": range(60), "seen": days, "dose": np.arange(60) % 7, "y": range(60)
    })  # fmt: skip
    made = partial(infer_schema, train, target="y", task="regression")
    found = made(exclude=["seen"], time_column="seen")
    assert found["columns"][0]["parts"] == ["days", "year", "weekday", "hour", "age"]
    assert found["time_column"]["name"] == "seen"
    (step,) = date_steps(found)
    assert step.text == "signed: features of the date: days since 1970, year, weekday, hour, age (days up to seen)"
    assert step.undo() == 'date_parts: ["days"]'
    plain = made(exclude=["seen"], time_column="seen", date_parts=["days"])
    assert plain["columns"][0]["parts"] == ["days"] and "time_column" not in plain
    assert "age" not in made(exclude=["seen"])["columns"][0]["parts"]
    with pytest.raises(ParameterError, match="date_parts: 'years' is none of days, year"):
        require_date_parts(["days", "years"])
