"""The states of a monitoring, from the rows to monitor.json."""

from pathlib import Path

import pandas as pd
import pytest

from tdsp.core.errors import DataError, ParameterError
from tdsp.stages import monitoring
from tdsp.stages.monitoring import MonitorResult, MonitorSettings
from tests.support.stations import hours, write_model


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one model."""
    folder = tmp_path_factory.mktemp("stations")
    write_model(folder)
    return folder


def judged(root: Path, frame: pd.DataFrame, **settings: str) -> MonitorResult:
    """The result for a table, as the notebook makes it."""
    data = root / "new.csv"
    frame.to_csv(data, index=False)
    found = MonitorSettings("stations-20260601T000000Z-aaaa", str(data), **settings)
    monitored = monitoring.open_monitor(found, root)
    drift = monitoring.judge_drift(monitored)
    performance = monitoring.judge_performance(monitored)
    return monitoring.conclude(monitored, drift, performance, monitoring.judge_contract(monitored))


LATER = {"first": "2026-05-04", "seed": 5}


def test_weeks_like_those_of_training_are_ok(root: Path):
    """Nothing is found in four later weeks of the same weather, and the monitor says how often it would have cried."""
    result = judged(root, hours(28, **LATER), labels="rain")
    assert result.state == "ok" and "of its own past this monitor would have cried" in result.sentence
    assert result.windows == 4 and len(result.performance) == 4


def test_a_unit_that_changed_is_an_alarm(root: Path):
    """The column, what happened to it and since when stand in the sentence."""
    later = hours(28, **LATER)
    late = later["time"] >= "2026-05-18"
    later["temp"] = later["temp"].mask(late, 1.8 * later["temp"] + 32)
    result = judged(root, later)
    assert result.state == "alarm" and "became Fahrenheit" in result.sentence
    assert "Since 2026-05-18" in result.sentence


def test_a_relation_that_changed_is_an_alarm_when_labels_are_in(root: Path):
    """Half of the labels exchanged: the bet wins, drift sees nothing."""
    result = judged(root, hours(56, **LATER, flip=0.5), labels="rain")
    assert result.state == "alarm" and result.findings[0].code == "performance"
    assert all(one.code != "moved" for one in result.findings)


def test_labels_may_come_from_another_table(root: Path):
    """Joined by the key; labels of other rows are counted."""
    later = hours(28, **LATER)
    labels = root / "labels.csv"
    pd.concat([later[["key", "rain"]].iloc[:400], pd.DataFrame({"key": ["x-1"], "rain": ["no"]})]).to_csv(
        labels, index=False
    )
    result = judged(root, later.drop(columns="rain"), labels_from=str(labels), key="key")
    assert any("1 labels belong to no row" in one.text for one in result.findings)
    assert result.performance and result.state == "ok"


def test_rows_that_break_the_contract_are_counted(root: Path):
    """A tenth of the rows with words for numbers is an alarm that names the column."""
    later = hours(28, **LATER).astype({"pressure": object})
    later.loc[later.index % 10 == 0, "pressure"] = "n/k"
    result = judged(root, later)
    assert result.state == "alarm" and result.findings[0].code == "contract" and result.findings[0].column == "pressure"


STATES = {
    "one row": ({"rows": 1}, "insufficient data"),
    "a window of a size that the reference lacks": ({"window": "30"}, "insufficient reference"),
    "labels of one class": ({"labels": "rain", "one": True}, "ok"),
    "no labels yet": ({"labels": "rain", "gone": True}, "ok"),
}


@pytest.mark.parametrize("case", STATES)
def test_every_table_ends_in_a_state(root: Path, case: str):
    """Too little to judge is a state, never an error."""
    change, state = STATES[case]
    later = hours(28, **LATER).iloc[: change.get("rows", 10_000)]
    if change.get("one"):
        later["rain"] = "no"
    if change.get("gone"):
        later["rain"] = ""
    settings = {name: value for name, value in change.items() if name in ("labels", "window")}
    assert judged(root, later, **settings).state == state


REFUSED = {
    "a column is gone": (lambda f: f.drop(columns="dewpoint"), {}, "no column 'dewpoint'"),
    "a column was renamed": (lambda f: f.rename(columns={"dewpoint": "dew_point"}), {}, "Did you mean 'dew_point'"),
    "a key twice": (lambda f: f.assign(key="a"), {"labels_from": "labels.csv", "key": "key"}, "twice|more than one"),
    "no such label column": (lambda f: f, {"labels": "rian"}, "no column 'rian'. Did you mean 'rain'"),
    "no time": (lambda f: f.assign(time="soon"), {}, "'soon', which is no ISO 8601 time"),
    "labels without a key": (lambda f: f, {"labels_from": "labels.csv"}, "--key"),
    "no window": (lambda f: f, {"window": "fortnight"}, "'fortnight' is no window"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_monitored_is_refused(root: Path, case: str):
    """One message that says what and where."""
    change, settings, match = REFUSED[case]
    hours(28, **LATER)[["key", "rain"]].to_csv(root / "labels.csv", index=False)
    if "labels_from" in settings:
        settings = {**settings, "labels_from": str(root / "labels.csv")}
    with pytest.raises((DataError, ParameterError), match=match):
        judged(root, change(hours(28, **LATER)), **settings)


def test_a_bundle_of_before_is_monitored_with_what_it_has(tmp_path: Path):
    """Without bounds of accuracy and without windows the rest is judged."""
    write_model(tmp_path, days=10, performance=False)
    result = judged(tmp_path, hours(28, **LATER), labels="rain", window="day")
    assert result.state == "insufficient reference"
    assert {one.code for one in result.findings} >= {"unjudged"}


def test_a_season_that_was_never_seen_is_not_judged(tmp_path: Path):
    """The reference ends in April: drift in summer is no alarm, and the page says so."""
    write_model(tmp_path, days=150)
    result = judged(tmp_path, hours(28, first="2025-08-04", seed=5), labels="rain", window="day")
    assert any("Drift is not judged from 2025-08-04" in one.text for one in result.findings)
    assert all(one.code != "moved" for one in result.findings)
