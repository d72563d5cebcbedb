"""Profiles, effects and calibration: a window is judged by the reference's own windows."""

import json

import numpy as np
import pandas as pd
import pytest

from tdsp.core.errors import ParameterError
from tdsp.core.files import canonical_json
from tdsp.monitoring.drift import (
    EFFECTS,
    chance_effects,
    column_profile,
    leave_one_out_quantile,
    rank_p,
    reference_effects,
    window_effects,
)
from tdsp.monitoring.reference import build_reference, open_reference, reference_profiles
from tdsp.monitoring.windows import Window, complete_windows, cut_windows, fitting_size, reference_sizes, require_window
from tests.support.stations import SCHEMA, hours


def test_the_distance_of_numbers_is_that_of_scipy():
    """With few distinct values, the effect of a window is the two-sample statistic of Kolmogorov and Smirnov."""
    from scipy import stats

    rng = np.random.default_rng(1)
    old, new = pd.Series(rng.integers(0, 30, 900).astype(float)), pd.Series(rng.integers(3, 40, 200).astype(float))
    effect = window_effects(new.to_frame("x"), {"x": column_profile(old, "float")})[0, 0]
    assert effect == pytest.approx(stats.ks_2samp(old, new).statistic, abs=0.002)


def test_the_distance_of_levels_is_half_the_sum_of_differences():
    """A level that the reference does not have counts with the rare ones."""
    old, new = pd.Series(["a"] * 60 + ["b"] * 40), pd.Series(["a"] * 30 + ["b"] * 50 + ["new"] * 20)
    effect = window_effects(new.to_frame("x"), {"x": column_profile(old, "string")})[0, 0]
    assert effect == pytest.approx(0.3)


def test_gaps_new_values_and_steps_have_effects_of_their_own():
    """A gap, a half among whole numbers and a shuffle each move one effect."""
    rng = np.random.default_rng(1)
    values = pd.Series(np.cumsum(rng.integers(-1, 2, 3000)).clip(-20, 20).astype(float))
    profiles = {"x": column_profile(values, "float", ordered=True)}
    part = values.iloc[1000:1500]
    gaps = window_effects(part.mask(np.arange(500) < 50).to_frame("x"), profiles)[:, 0]
    halves = window_effects((part + 0.5).to_frame("x"), profiles)[:, 0]
    order = rng.permutation(500)
    shuffled = window_effects(part.iloc[order].reset_index(drop=True).to_frame("x"), profiles)[:, 0]
    calm = window_effects(part.to_frame("x"), profiles)[:, 0]
    at = EFFECTS.index
    assert gaps[at("gaps")] == pytest.approx(0.1)
    assert halves[at("new values")] > 0.5 and calm[at("new values")] == 0
    assert shuffled[at("steps")] > 1 > calm[at("steps")] and shuffled[at("values")] == calm[at("values")]


def test_an_own_window_is_compared_with_the_rest():
    """The closed form equals a profile that was made without the window."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"x": rng.integers(0, 9, 400).astype(float), "s": rng.choice(["a", "b"], 400)})
    profiles = {"x": column_profile(table["x"], "float"), "s": column_profile(table["s"], "string")}
    windows = [Window(str(i), np.arange(100 * i, 100 * i + 100)) for i in range(4)]
    found = reference_effects(table, windows, profiles)[2, 0]
    rest = table.drop(index=windows[2].rows)
    without = {"x": column_profile(rest["x"], "float"), "s": column_profile(rest["s"], "string")}
    assert found == pytest.approx(window_effects(table.iloc[windows[2].rows], without)[0], abs=0.01)


def test_the_quantile_of_the_others_leaves_each_out():
    """The same as deleting each row and taking numpy's quantile."""
    values = np.random.default_rng(1).normal(size=(23, 3))
    expected = [np.quantile(np.delete(values, i, axis=0), 0.9, axis=0) for i in range(23)]
    assert leave_one_out_quantile(values) == pytest.approx(np.array(expected))


def test_chance_alone_passes_its_floor_in_a_tenth_of_the_windows():
    """Rows drawn from the reference exceed the floor about as often as a 90 per cent quantile says."""
    rng = np.random.default_rng(1)
    whole = pd.DataFrame({"x": rng.normal(size=20_000), "s": rng.choice(list("abcde"), 20_000)})
    profiles = {"x": column_profile(whole["x"], "float"), "s": column_profile(whole["s"], "string")}
    floor = chance_effects(profiles, 500, 20_000)[0]
    drawn = [window_effects(whole.iloc[rng.integers(0, 20_000, 500)], profiles)[0] for _ in range(300)]
    share = (np.array(drawn) > floor).mean(axis=0)
    assert (share > 0.04).all() and (share < 0.18).all()


def test_the_rank_counts_the_window_itself():
    """The furthest of twenty has a p-value of 1/21."""
    assert rank_p(9.0, np.arange(1.0, 9.0)) == 1 / 9


def test_profiles_are_bounded_and_pool_rare_levels():
    """Wide tables get a coarser profile, not a larger one; a level under 0.1 % is counted with the others."""
    rng = np.random.default_rng(0)
    for n, columns in ((2000, 150), (12, 2500)):
        wide = pd.DataFrame(rng.normal(size=(n, columns)), columns=[f"x{i}" for i in range(columns)])
        schema = {"columns": [{"name": name, "type": "float"} for name in wide]}
        profiles, _ = reference_profiles(wide, schema, wide[[]])
        assert len(canonical_json(profiles)) < 1_000_000 and len(profiles["x7"]["quantiles"]) >= 3
    text = column_profile(pd.Series(["a"] * 5000 + ["b", "c", None]), "string")
    assert text["levels"] == {"a": 5000} and (text["pooled_levels"], text["pooled_rows"]) == (2, 2)


def test_windows_are_periods_or_rows_in_order():
    """Weeks end on Sunday; a rest of rows that fills no window is in none."""
    times = pd.Series(pd.date_range("2026-01-01", periods=100, freq="D"))[::-1].reset_index(drop=True)
    weeks = cut_windows(100, "week", times)
    assert [len(one.rows) for one in weeks[:2]] == [4, 7] and weeks[1].name == "2026-01-05"
    assert [len(one.rows) for one in cut_windows(100, "30")] == [30, 30, 30]
    assert reference_sizes(100, None) == []
    with pytest.raises(ParameterError, match="'fortnight' is no window"):
        require_window("fortnight")
    with pytest.raises(ParameterError, match="needs a time column"):
        cut_windows(100, "day")


def test_a_period_that_the_rows_cover_in_part_is_not_complete():
    """The first and the last week of a table begin on Wednesday and end on Monday; a shop is closed on Sunday."""
    times = pd.Series(pd.date_range("2025-01-01", "2025-02-10 23:00", freq="h"))
    open_days = times[times.dt.day_of_week < 6].reset_index(drop=True)
    for rows in (times, open_days):
        names = [one.name for one in complete_windows(cut_windows(len(rows), "week", rows), "week", rows)]
        assert names == ["2025-01-06", "2025-01-13", "2025-01-20", "2025-01-27", "2025-02-03"]
    week = times[(times >= "2025-01-06") & (times < "2025-01-13")].reset_index(drop=True)
    for days, complete in ((7, True), (6, True), (2, False)):
        rows = week.head(24 * days)
        assert bool(complete_windows(cut_windows(len(rows), "week", rows), "week", rows)) == complete
    assert len(complete_windows(cut_windows(100, "30"), "30")) == 3
    assert fitting_size(["week", "day"], 48, week.head(48)) == "day"


def test_predictions_of_few_training_rows_leave_no_gaps_to_judge():
    """Rows that were learned from have no prediction of their own; all later rows have one."""
    train, later = hours(400), hours(7, first="2026-02-09", seed=3)
    y_prob = np.random.default_rng(1).random(len(train) + len(later))
    predicted = pd.DataFrame({"probability": np.where(np.arange(len(train)) % 7 > 0, np.nan, y_prob[: len(train)])})
    built = build_reference(train, SCHEMA, predicted, times=train["time"], time_column="time", sizes=["week"],
                            random_state=1)  # fmt: skip
    opened = open_reference(built.record, built.models, "week")
    assert opened is not None
    judgment = opened.judge(Window("later", np.arange(168)), later.assign(probability=y_prob[len(train) :]))
    assert judgment.missing["probability"] < 1 and judgment.drift["probability"] < 1


def test_a_window_without_any_value_of_a_column_is_judged():
    """A sensor that is silent for a whole window: all gaps, no distance of values."""
    silent = pd.DataFrame({"x": np.tile(np.arange(10.0), 30)}).assign(x=lambda t: t["x"].where(t.index < 200))
    profiles = {"x": column_profile(silent["x"], "float", ordered=True)}
    windows = [Window(str(i), np.arange(100 * i, 100 * i + 100)) for i in range(3)]
    found = reference_effects(silent, windows, profiles)[2, :, 0]
    assert found[EFFECTS.index("gaps")] == 1 and found[EFFECTS.index("values")] == 0


def test_more_decimal_places_are_values_that_a_column_cannot_have():
    """Hundredths times 1.5 have a third place in half of the rows; the same values in single precision do not."""
    rng = np.random.default_rng(1)
    values = pd.Series(rng.integers(0, 10_000, 5000) / 100)
    profile = {"x": column_profile(values, "float")}
    at = EFFECTS.index("new values")
    assert profile["x"]["places"] == 2
    assert window_effects((values * 1.5).to_frame("x"), profile)[at, 0] == pytest.approx(0.5, abs=0.05)
    assert window_effects(values.astype("float32").to_frame("x"), profile)[at, 0] == 0
    assert "places" not in column_profile(pd.Series(rng.normal(size=500)), "float")


def test_the_order_of_values_does_not_depend_on_their_scale():
    """A random walk is as smooth when it is multiplied, and not when it is shuffled."""
    rng = np.random.default_rng(1)
    values = pd.Series(np.cumsum(rng.normal(size=2000)))
    profile, at = {"x": column_profile(values, "float", ordered=True)}, EFFECTS.index("order")
    smooth, scaled, shuffled = (
        window_effects(one.reset_index(drop=True).to_frame("x"), profile)[at, 0]
        for one in (values, 40 * values, values.sample(frac=1, random_state=1))
    )
    assert smooth == pytest.approx(scaled) and smooth < 0.2 and shuffled == pytest.approx(1.0, abs=0.1)


def test_a_reference_judges_the_same_after_it_was_written() -> None:
    """JSON sorts the names of columns; the effects of the own windows stay with their columns."""
    train = hours(200).rename(columns={"temp": "z_temp"})  # not in the order of the alphabet
    schema = SCHEMA | {
        "columns": [spec | {"name": spec["name"].replace("temp", "z_temp")} for spec in SCHEMA["columns"]]
    }
    predicted = pd.DataFrame({"probability": np.random.default_rng(1).random(len(train))})
    built = build_reference(
        train, schema, predicted, times=train["time"], time_column="time", ordered=True, random_state=1
    )
    whole = pd.concat([train, predicted], axis=1)
    stored = json.loads(canonical_json(built.record))
    fresh, read = (open_reference(record, built.models, "week") for record in (built.record, stored))
    assert fresh is not None and read is not None
    for window in cut_windows(len(train), "week", train["time"])[:10]:
        rows = whole.iloc[window.rows]
        assert fresh.judge(window, rows).drift == pytest.approx(read.judge(window, rows).drift)
