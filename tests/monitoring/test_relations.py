"""Relations between columns: the windows that calibrate them, and units that would explain a break."""

import numpy as np
import pandas as pd
import pytest

from tdsp.core.schema import Schema
from tdsp.monitoring.faults import name_fault, suspect
from tdsp.monitoring.reference import Built, Reference, build_reference, open_reference, relation_folds
from tdsp.monitoring.relations import residual_statistics, window_folds
from tdsp.monitoring.windows import Window, cut_windows

SCHEMA: Schema = {
    "task": "binary", "target": "late", "classes": ["no", "yes"], "positive_class": "yes",
    "columns": [{"name": name, "type": "float", "nullable": False} for name in ("month", "temp", "humid", "wind")],
}  # fmt: skip
MAY = slice(24 * 140, 24 * 147)
WINDOW = Window("2024-05-20", np.arange(168))


def weather() -> pd.DataFrame:
    """Ten months by the hour in degrees Fahrenheit, with cold and warm weeks that humidity and month tell in part."""
    rng = np.random.default_rng(3)
    time = pd.date_range("2024-01-01", periods=24 * 7 * 44, freq="h")
    n, weeks = len(time), len(time) // 168
    season = 54 + 26 * np.cos(2 * np.pi * (time.day_of_year.to_numpy() - 200) / 365)
    lasting = rng.normal(0, 8, weeks).repeat(168)
    temp = season + lasting + 6 * np.sin(2 * np.pi * time.hour.to_numpy() / 24) + rng.normal(0, 2, n)
    humid = 60 + 0.4 * lasting + rng.normal(0, 4, n)
    wind = 12 - 0.2 * (humid - 60) + rng.normal(0, 2, n)
    return pd.DataFrame({"time": time, "month": time.month, "temp": temp, "humid": humid, "wind": wind})


@pytest.fixture(scope="module")
def built() -> Built:
    """The reference of all weeks but one of May."""
    rows = weather().drop(index=range(MAY.start, MAY.stop)).reset_index(drop=True)
    return build_reference(rows, SCHEMA, rows[[]], times=rows["time"], time_column="time", ordered=True,
                           sizes=["week"], random_state=1)  # fmt: skip


def week() -> pd.DataFrame:
    """The week that the reference has not seen."""
    return weather().iloc[MAY].reset_index(drop=True)


def opened(built: Built, statistics: int = 4) -> Reference:
    """The reference, with so many statistics of each relation: of before there were three."""
    own, n = built.record["windows"]["week"], len(built.record["relations"])
    kept = own | {"relations": [row[: statistics * n] for row in own["relations"]]}
    reference = open_reference(built.record | {"windows": {"week": kept}}, built.models, "week")
    assert reference is not None
    return reference


def test_windows_go_by_turns_or_in_long_runs():
    """Eight windows in four folds: the second is in the second fold, or still in the first."""
    windows = cut_windows(80, "10")
    assert window_folds(80, windows, apart=False)[::10].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert window_folds(80, windows, apart=True)[::10].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_days_of_a_week_are_in_one_fold():
    """A day is predicted by models that know its season and none of its week; rows without time by distant ones."""
    times = pd.Series(pd.date_range("2024-01-01", periods=24 * 7 * 20, freq="h"))
    days, weeks = (cut_windows(len(times), size, times) for size in ("day", "week"))
    folds = relation_folds(len(times), [days], times)
    assert [folds[week.rows].min() for week in weeks] == [folds[week.rows].max() for week in weeks]
    assert len(np.unique(folds[: 24 * 7 * 4])) == 4
    assert len(np.unique(relation_folds(len(times), [days], None)[: 24 * 7 * 4])) == 1


def test_another_scale_makes_the_residuals_smaller():
    """Degrees Celsius where Fahrenheit is expected gain by the scale; a cold week gains nothing by it."""
    expected = np.linspace(50, 90, 400)
    noise = np.random.default_rng(1).normal(0, 4, 400)
    celsius, cold = (expected + noise - 32) / 1.8, expected + noise - 15
    gains = [residual_statistics(values - expected, values)[3] for values in (celsius, cold)]
    assert gains[0] > 8 and gains[1] < 0.5
    assert np.isnan(residual_statistics(np.full(20, np.nan), np.arange(20.0))).all()


def test_celsius_within_the_range_of_the_year_is_found(built: Built):
    """A warm day in Celsius is a cold one in Fahrenheit; the column is named, and a true week is none."""
    celsius, reference = week().assign(temp=lambda f: (f["temp"] - 32) / 1.8), opened(built)
    judgment = reference.judge(WINDOW, celsius)
    fault = name_fault(reference, WINDOW, celsius, judgment)
    assert judgment.beyond and suspect(judgment) == "temp"
    assert judgment.broken["temp"] > 1.5 * opened(built, 3).judge(WINDOW, celsius).broken["temp"] > 0
    assert fault is not None and "Fahrenheit became Celsius" in fault.text
    assert not reference.judge(WINDOW, week()).beyond


def test_a_reference_of_before_is_judged_by_the_statistics_it_has(built: Built):
    """Three statistics a column: a true week is none, a column turned about is broken."""
    reference = opened(built, 3)
    assert not reference.judge(WINDOW, week()).beyond
    assert reference.judge(WINDOW, week().assign(wind=lambda f: -f["wind"])).broken["wind"] >= 1


def test_a_date_is_not_checked_by_the_others(built: Built):
    """The month has one value a week: in a new season it would be broken whatever the others say."""
    assert "month" not in {one["column"] for one in built.record["relations"]}
    assert "month" in built.record["relation_columns"] and "temp" in {
        one["column"] for one in built.record["relations"]
    }
