"""Faults put into a window are found, and named where undoing them brings the column back."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tdsp.core.schema import Schema
from tdsp.monitoring.faults import Fault, name_fault
from tdsp.monitoring.reference import Reference, build_reference, open_reference
from tdsp.monitoring.states import alarm_rule, drift_findings, since, state_of
from tdsp.monitoring.windows import Window
from tests.support.stations import MONTH, SCHEMA, hours

WEEK = slice(24 * 140, 24 * 147)


@pytest.fixture(scope="module")
def reference() -> Reference:
    """The reference of a year and some weeks, without one of its weeks."""
    rows = hours(400).drop(index=range(WEEK.start, WEEK.stop)).reset_index(drop=True)
    built = build_reference(
        rows, SCHEMA, rows[[]], times=rows["time"], time_column="time", ordered=True, sizes=["week"], random_state=1
    )
    opened = open_reference(built.record, built.models, "week")
    assert opened is not None
    return opened


def week() -> pd.DataFrame:
    """The week that the reference has not seen."""
    return hours(400).iloc[WEEK].reset_index(drop=True)


WINDOW = Window("2025-05-21", np.arange(168))


def test_a_week_like_the_others_is_no_news(reference: Reference):
    """The held-out week is within the reference, and no relation broke."""
    judgment = reference.judge(WINDOW, week())
    assert not judgment.beyond and name_fault(reference, WINDOW, week(), judgment) is None


FAULTS: list[tuple[str, str, str, Callable[[pd.DataFrame], pd.DataFrame]]] = [
    ("temp", "unit", "Celsius became Fahrenheit", lambda f: f.assign(temp=1.8 * f["temp"] + 32)),
    ("pressure", "unit", "hectopascal became inches", lambda f: f.assign(pressure=0.02953 * f["pressure"])),
    ("pressure", "factor", "multiplied by 100", lambda f: f.assign(pressure=100 * f["pressure"])),
    ("temp", "stuck", "every value is 7.5", lambda f: f.assign(temp=7.5)),
    ("temp", "swapped", "exchanged", lambda f: f.assign(temp=f["pressure"], pressure=f["temp"])),
    ("pressure", "shifted", r"all values lie \+", lambda f: f.assign(pressure=f["pressure"] + 40)),
]


@pytest.mark.parametrize(("column", "kind", "text", "fault"), FAULTS, ids=[f"{one[0]} {one[1]}" for one in FAULTS])
def test_a_fault_is_named_with_its_column(
    reference: Reference, column: str, kind: str, text: str, fault: Callable[[pd.DataFrame], pd.DataFrame]
):
    """Units, factors, exchanges, stuck and shifted values are distinguished."""
    frame = fault(week())
    judgment = reference.judge(WINDOW, frame)
    found = name_fault(reference, WINDOW, frame, judgment)
    assert judgment.beyond and found is not None
    assert found.kind == kind and pd.Series([found.text]).str.contains(text).item()
    assert found.column == column or kind == "swapped"


def test_one_value_is_no_fault_where_own_windows_have_one():
    """A month has one value in each week: the next one moved, and is not called stuck."""
    rows = hours(150).assign(month=lambda f: f["time"].dt.month)
    schema: Schema = {**SCHEMA, "columns": [*SCHEMA["columns"], MONTH]}
    built = build_reference(rows, schema, rows[[]], times=rows["time"], time_column="time", sizes=["week"],
                            random_state=1)  # fmt: skip
    opened = open_reference(built.record, built.models, "week")
    assert opened is not None and opened.own["constant"] == ["month"]
    later = rows.iloc[WEEK.start - 24 * 14 : WEEK.start - 24 * 7].reset_index(drop=True).assign(month=9)
    judgment = opened.judge(WINDOW, later)
    fault = name_fault(opened, WINDOW, later, judgment)
    assert judgment.drift["month"] > 1 and (fault is None or fault.kind != "stuck")


def test_a_window_of_the_usual_value_is_not_stuck(reference: Reference):
    """Ten miles of sight in most hours, and in every hour of a clear week: no fault, where seven would be one."""
    rows = hours(400).assign(sight=lambda f: np.where(f["time"].dt.hour < 20, 10.0, f["time"].dt.hour - 14.0))
    schema: Schema = {**SCHEMA, "columns": [*SCHEMA["columns"], {**MONTH, "name": "sight"}]}
    built = build_reference(rows, schema, rows[[]], times=rows["time"], time_column="time", sizes=["week"],
                            random_state=1)  # fmt: skip
    opened = open_reference(built.record, built.models, "week")
    assert opened is not None
    kinds = []
    for value in (10.0, 7.0):
        frame = rows.iloc[WEEK].reset_index(drop=True).assign(sight=value)
        fault = name_fault(opened, WINDOW, frame, opened.judge(WINDOW, frame))
        kinds.append(fault.kind if fault else "none")
    assert kinds[0] != "stuck" and kinds[1] == "stuck"


def test_gaps_are_found_where_there_were_none(reference: Reference):
    """Eight per cent of the values missing is beyond, and the share of gaps is what is named."""
    judgment = reference.judge(WINDOW, week().assign(dewpoint=lambda f: f["dewpoint"].mask(f.index % 12 == 0)))
    findings = drift_findings([judgment], [None], None, "week", {"dewpoint": 0.6}, [True])
    assert judgment.beyond and findings[0].code == "gaps" and findings[0].column == "dewpoint"
    assert findings[0].state == "watch" and "60% of the model's importance" in findings[0].text


def test_a_broken_column_is_mended_not_learned(reference: Reference):
    """A column that lies far out alarms at once and says that retraining cannot help."""
    frame = week().assign(temp=lambda f: 1.8 * f["temp"] + 32)
    judgment = reference.judge(WINDOW, frame)
    found = drift_findings([judgment], [name_fault(reference, WINDOW, frame, judgment)], (2, 2), "week", {}, [True])
    assert [one.code for one in found] == ["broken"] and "Retraining cannot help" in found[0].todo
    assert state_of(found) == "alarm"


def test_a_broken_day_is_an_alarm_when_it_comes_again(reference: Reference):
    """One of 365 days a year is watched; the second in a row, or the only one there is, is an alarm."""
    frame = week().assign(temp=lambda f: 1.8 * f["temp"] + 32)
    judgment = reference.judge(WINDOW, frame)
    fault = name_fault(reference, WINDOW, frame, judgment)
    assert judgment.broken["temp"] >= 2

    def state(*faults: Fault | None) -> str:
        n = len(faults)
        return state_of(drift_findings([judgment] * n, faults, None, "day", {}, [True] * n))

    assert [state(None, fault), state(fault, fault), state(fault)] == ["watch", "alarm", "alarm"]


def test_the_rule_of_an_alarm_follows_from_the_reference():
    """A calm reference allows the quickest rule, one that cries in bursts, or by days, none of the quick ones."""
    assert alarm_rule([False] * 40, 1, "week") == (2, 2)
    bursts = ([True] * 3 + [False] * 7) * 4
    assert alarm_rule(bursts, 1, "week") not in {(2, 2), (2, 3), (3, 4)}
    assert alarm_rule([False] * 5, 1, "week") is None
    assert alarm_rule([False] * 200, 1, "day") == (5, 8)  # three days of a storm are no lasting drift
    assert since([False, True, False, True, True]) == 1 and since([True, False, False, True]) == 3


def test_words_and_moments_never_stop_the_search_for_a_fault():
    """A level that is the only one left and a column that nothing predicts end in a sentence or in none."""
    rng = np.random.default_rng(1)
    rows = hours(400).assign(noise=rng.integers(0, 900, 24 * 400) / 10)
    schema: Schema = {**SCHEMA, "columns": [SCHEMA["columns"][3], {"name": "noise", "type": "float"}]}
    built = build_reference(rows, schema, rows[[]], times=rows["time"], time_column="time", sizes=["week"],
                            random_state=1)  # fmt: skip
    opened = open_reference(built.record, built.models, "week")
    assert opened is not None
    one_word = rows.iloc[WEEK].reset_index(drop=True).assign(sky="gray")
    miles = rows.iloc[WEEK].reset_index(drop=True).assign(noise=lambda f: f["noise"] * 1.609344)
    judged = [opened.judge(WINDOW, frame) for frame in (one_word, miles)]
    named = [name_fault(opened, WINDOW, *pair) for pair in zip((one_word, miles), judged, strict=True)]
    assert judged[0].drift["sky"] > 1 and named[0] is None
    assert named[1] is not None and (named[1].column, named[1].kind) == ("noise", "unit")
