"""The states of a monitoring, from the rows to monitor.json."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp import show
from tdsp.core.errors import BundleError, DataError, ParameterError, RunError
from tdsp.stages import monitored_performance, monitoring
from tdsp.stages.monitoring import Monitored, MonitorResult, MonitorSettings
from tests.support.stations import SCHEMA, hours, write_model


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one model."""
    folder = tmp_path_factory.mktemp("stations")
    write_model(folder)
    return folder


def opened(root: Path, frame: pd.DataFrame, labels: str = "rain", **settings: str) -> Monitored:
    """The table, opened for monitoring."""
    data = root / "new.csv"
    frame.to_csv(data, index=False)
    named = {"data": str(data), **settings}
    found = MonitorSettings("stations-20260601T000000Z-aaaa", labels=labels, **named)
    return monitoring.open_monitor(found, root)


def judged(root: Path, frame: pd.DataFrame, **settings: str) -> MonitorResult:
    """The result for a table, as the notebook makes it."""
    monitored = opened(root, frame, **{"labels": "", **settings})
    drift = monitoring.judge_drift(monitored)
    performance = monitored_performance.judge_performance(monitored)
    performance = monitored_performance.explain_drop(monitored, performance, drift.faults)
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
    broken = next(one for one in result.findings if one.code == "broken")
    assert "Do not rely on the 336 predictions since 2026-05-18" in broken.todo
    assert all(one.todo == "" for one in result.findings if one.code == "contract" and one.column == "temp")


def test_a_week_out_of_bounds_is_named_though_it_is_no_alarm(root: Path):
    """One week of exchanged labels among good ones: a note with its score, and nothing to do."""
    frame = hours(28, **LATER)
    week = frame["time"].between("2026-05-11", "2026-05-18", inclusive="left")
    frame.loc[week, "rain"] = frame.loc[week, "rain"].sample(frac=1, random_state=1).to_numpy()
    result = judged(root, frame, labels="rain")
    (note,) = [one for one in result.findings if "one window alone may be chance" in one.text]
    assert (note.code, note.since, note.todo) == ("note", "2026-05-11", "") and result.performance[1]["out_of_bounds"]


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
    "an empty window": ({"rows": 0}, "insufficient data"),
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
    "a type changed": (
        lambda f: f.assign(pressure="high"),
        {},
        "'pressure' holds 'high' and the like in all rows.*trained on a number",
    ),
    "a file is not there": (lambda f: f, {"data": "nwe.csv"}, r"no file .*nwe\.csv"),
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


def test_thousands_of_windows_make_no_heavy_page(root: Path):
    """The plot shows the last 200 windows and counts all."""
    monitored = opened(root, hours(250, **LATER), labels="rain", window="day")
    performance = monitored_performance.judge_performance(monitored)
    axes = monitored_performance.plot_performance(monitored, performance)
    assert "of 209 windows out of bounds" in axes.get_title() and "the last 200 of 250" in axes.get_xlabel()
    assert all(len(line.get_xdata()) <= 200 for line in axes.lines)


def test_a_week_that_has_just_begun_is_not_judged(root: Path):
    """Half a Monday with one value of each column: the weeks before it count, and the page names what is left out."""
    later = hours(29, **LATER)
    later.loc[672:, ["temp", "dewpoint", "pressure", "sky"]] = later.loc[
        672, ["temp", "dewpoint", "pressure", "sky"]
    ].to_numpy()
    result = judged(root, later, labels="rain")
    assert result.state == "ok" and result.windows == 4
    assert "Not judged, because incomplete or with fewer than 20 rows: 2026-06-01." in texts(result)


def test_the_month_of_a_new_season_is_no_fault(tmp_path: Path):
    """August after a reference that ends in May: the month is new, which breaks nothing; a unit is still found."""
    write_model(tmp_path, days=150, performance=False, month=True)
    later = hours(28, first="2025-08-04", seed=5).assign(month=lambda f: f["time"].dt.month)
    assert all(one.code not in ("broken", "moved") for one in judged(tmp_path, later).findings)
    broken = judged(tmp_path, later.assign(temp=1.8 * later["temp"] + 32))
    assert [one.column for one in broken.findings if one.code == "broken"] == ["temp"]


def test_without_labels_accuracy_is_estimated_and_called_an_estimate(root: Path):
    """A value with its band and what it missed before, or a refusal; and that it cannot see the relation change."""
    result = judged(root, hours(28, **LATER, flip=0.5))
    assert result.state == "ok" and len(result.estimates) == 4 and not result.performance
    text = " ".join(one.text for one in result.findings)
    assert "Estimate without labels: ROC-AUC" in text and "cannot see the relation" in text
    assert all(one["low"] > 0.7 for one in result.estimates if not one["reason"])  # the truth was turned round


def test_a_drop_is_divided_and_its_parts_sum(root: Path):
    """Half of the labels exchanged is a matter of the relation."""
    result = judged(root, hours(28, **LATER, flip=0.5), labels="rain")
    mix, relation, faulty, whole = (one["value"] for one in result.parts)
    assert mix + relation + faulty == whole > 0.1 and faulty == 0
    assert result.parts[1]["low"] > 0 and relation > abs(mix)
    assert judged(root, hours(28, **LATER), labels="rain").state == "ok"


def test_a_faulty_column_carries_its_part(root: Path):
    """The dew point in Fahrenheit: put right, most of the rise is gone."""
    later = hours(28, **LATER)
    later["dewpoint"] = 1.8 * later["dewpoint"] + 32
    mix, relation, faulty, whole = (one["value"] for one in judged(root, later, labels="rain").parts)
    assert faulty > 0.5 * whole and mix + relation + faulty == whole


def labeled_by_hand(root: Path, later: pd.DataFrame, n: int, labeled: int) -> MonitorResult:
    """The result for ask.csv of n rows, of which a person labeled some."""
    later.to_csv(root / "unlabeled.csv", index=False)
    found = MonitorSettings("stations-20260601T000000Z-aaaa", str(root / "unlabeled.csv"), ask=n)
    assert f"{n} rows to label" in monitored_performance.write_ask(monitoring.open_monitor(found, root), n, str(root))
    chosen = pd.read_csv(root / "ask.csv")
    assert chosen["rain"].isna().all() and "probability" not in chosen and len(chosen) == n
    truth = later["rain"].iloc[chosen["row"] - 1].to_numpy()
    return judged(root, chosen.assign(rain=np.where(np.arange(n) < labeled, truth, "")), labels="rain")


def test_labels_by_hand_test_the_model_by_their_weights(root: Path):
    """150 of 672 rows: the truth lies in the interval; few rows are called few; none has no answer."""
    later = hours(28, **LATER)
    whole = judged(root, later, labels="rain").performance
    result = labeled_by_hand(root, later, 150, 150)
    row = result.performance[0]
    assert row["low"] < np.mean([one["value"] for one in whole]) < row["high"] and row["rows"] == 150
    assert any("weighted by the inverse" in one.text for one in result.findings)
    assert all(one.code not in ("moved", "gaps") for one in result.findings)
    few = labeled_by_hand(root, later, 12, 6)
    assert few.state == "insufficient data" and "too few for an interval" in few.sentence
    assert "6 of those that were drawn have no label" in few.sentence
    assert labeled_by_hand(root, later, 12, 0).state == "insufficient data"


def test_labels_by_hand_notice_a_bad_model(root: Path):
    """Half of the labels exchanged: out of the bounds, which is a reason to watch."""
    result = labeled_by_hand(root, hours(28, **LATER, flip=0.5), 150, 150)
    assert result.state == "watch" and "one of forty" in result.sentence


def test_texts_that_a_spreadsheet_would_run_come_back_as_they_were(root: Path):
    """A level with a formula is guarded in ask.csv and is the same level when it is read again."""
    later = hours(28, **LATER).assign(sky="=1+1")
    labeled_by_hand(root, later, 12, 12)
    assert "'=1+1" in (root / "ask.csv").read_text()
    found = MonitorSettings("stations-20260601T000000Z-aaaa", str(root / "ask.csv"), labels="rain")
    assert set(monitoring.open_monitor(found, root).rows.frame["sky"]) == {"=1+1"}
    with pytest.raises(ParameterError, match="chosen for labeling already"):
        monitoring.open_monitor(replace(found, ask=5), root)


def test_a_bet_goes_on_from_day_to_day_and_counts_a_day_once(root: Path):
    """Each day monitored alone ends with the wealth of all days at once; the same day again changes nothing."""
    later = hours(8, **LATER, flip=0.3)  # two bets of four days
    at_once = monitored_performance.judge_performance(opened(root, later)).wealth.iloc[-1]
    reports = root / "outputs" / "monitoring" / "stations"
    for i, day in enumerate([*range(8), 2, 5]):
        rows = later[later["time"].dt.day_of_year == later["time"].dt.day_of_year.iloc[0] + day]
        monitored = opened(root, rows)
        performance = monitored_performance.judge_performance(monitored)
        result = monitoring.conclude(monitored, monitoring.Drift([], [], [], (0, 0)), performance, [])
        (reports / f"{i:03}").mkdir(parents=True)
        monitoring.write_result(result, str(reports / f"{i:03}"))
    assert performance.wealth.iloc[-1] == pytest.approx(at_once) and len(performance.losses) == 1
    assert any("goes on from earlier reports: 7" in one.text for one in performance.findings)
    (reports / "001" / "monitor.json").write_text("{")  # a report that was cut
    assert len(monitored_performance.judge_performance(opened(root, rows)).wealth) == len(performance.wealth) - 1
    shutil.rmtree(reports)


def texts(result: MonitorResult) -> str:
    """All findings in one text."""
    return " ".join(one.text for one in result.findings)


def test_rows_given_twice_are_counted_once(root: Path):
    """The third week came twice: the same judgments as without it, and a finding that says so."""
    later = hours(28, **LATER)
    once = judged(root, later, labels="rain")
    twice = judged(root, pd.concat([later, later.iloc[336:504]]), labels="rain")
    assert "168 rows (20.0%) came twice, in windows from 2026-05-18 on: counted once" in texts(twice)
    assert twice.judgments == once.judgments and twice.performance == once.performance and twice.rows == once.rows
    assert [one["doubled"] for one in twice.ingestion] == [0, 0, 168, 0]


def test_a_stuck_feed_is_no_repetition(root: Path):
    """Rows with equal values at other times are all counted."""
    later = hours(28, **LATER)
    values = ["temp", "dewpoint", "pressure", "sky"]
    later.loc[336:, values] = later.loc[336, values].to_numpy()
    result = judged(root, later)
    assert result.rows == len(later) and "came twice" not in texts(result) and result.state == "alarm"


def test_another_time_zone_is_a_note(root: Path):
    """Offsets are brought to UTC, and the page says what that means."""
    later = hours(28, **LATER)
    later["time"] = later["time"].dt.strftime("%Y-%m-%dT%H:%M:%S+02:00")
    result = judged(root, later)
    assert "time is in another time zone (+02:00) and was brought to UTC" in texts(result)
    assert result.ingestion[0]["rows"] == 2  # the first two hours belong to the Sunday before


def test_a_clock_that_was_set_back_is_a_note(root: Path):
    """From the second week on the hours are one less; nothing is lost."""
    later = hours(28, **LATER)
    later["time"] -= pd.to_timedelta((later.index >= 168).astype(int), unit="h")
    later["time"] -= pd.to_timedelta((later.index >= 336).astype(int), unit="h")
    result = judged(root, later)
    assert "time goes back" not in texts(result)  # an hour that follows an hour: equal times, no step back
    later["time"] -= pd.to_timedelta((later.index >= 336).astype(int), unit="h")
    result = judged(root, later)
    assert "time goes back 1 time, first from 2026-05-17 22:00:00 to 2026-05-17 21:00:00" in texts(result)
    assert result.rows == len(later) and result.state == "ok"


def test_labels_before_predictions_wait(root: Path):
    """Labels of rows that are not there yet are counted and do no harm."""
    later = hours(28, **LATER)
    labels = root / "early.csv"
    hours(56, **LATER)[["key", "rain"]].to_csv(labels, index=False)
    result = judged(root, later, labels_from=str(labels), key="key")
    assert "672 labels belong to no row here" in texts(result) and result.performance


def test_a_load_that_is_incomplete_is_a_watch(root: Path):
    """Half of the rows of a week, or a week that is absent, with the numbers that are usual."""
    later = hours(35, **LATER)
    half = later.drop(later.index[(later.index >= 504) & (later.index < 672) & (later.index % 2 == 0)])
    found = judged(root, half)
    assert found.state == "watch" and "1 window with fewer rows than the reference ever had: 84 in 2026-05-25" in texts(
        found
    )
    gone = judged(root, later.drop(later.index[504:672]))
    assert gone.state == "watch" and "No rows between the weeks of 2026-05-18 and 2026-06-01: 14 days, 7 are" in texts(
        gone
    )


def test_rows_of_another_version_are_a_note(root: Path):
    """The log holds another model's predictions."""
    later = hours(28, **LATER)
    place = root / "outputs" / "predictions" / "stations" / "0123456789ab"
    place.mkdir(parents=True)
    at = pd.Series(later["time"] + pd.Timedelta(hours=2)).dt.tz_localize("UTC")
    columns = {"key": pa.array(later["key"]), "time": pa.array(at)}
    columns |= {f"sent.{one['name']}": pa.array(later[one["name"]]) for one in SCHEMA["columns"]}
    table = pa.table({**columns, "predicted.probability": pa.array([0.5] * len(later))})
    pq.write_table(table, place / "part-1.parquet")
    found = MonitorSettings("stations-20260601T000000Z-aaaa", str(place.parent), window="day")
    monitored = monitoring.open_monitor(found, root)
    notes = " ".join(one.text for one in monitoring.judge_contract(monitored))
    assert "other versions predicted: 0123456789ab (672 rows)" in notes
    assert monitored.rows.versions == {"0123456789ab": 672}


def test_many_windows_take_linear_time_and_little_of_the_page(root: Path):
    """Five times as many windows take less than fifteen times as long; ten thousand fit on a small page."""
    frame, spent = hours(100, first="2025-02-01", seed=6), []
    for days in (20, 100):
        started = time.process_time()
        result = judged(root, frame.iloc[: 24 * days], window="day")
        spent.append(time.process_time() - started)
    assert len(result.judgments) == 100 and spent[1] < 15 * spent[0]
    found = MonitorSettings("stations-20260601T000000Z-aaaa", str(root / "new.csv"), window="day")
    drift = monitoring.judge_drift(monitoring.open_monitor(found, root))
    many = replace(drift, judgments=drift.judgments * 100, known=[*drift.known] * 100)
    rows = replace(result, judgments=result.judgments * 100, ingestion=result.ingestion * 100)
    shown = [monitoring.plot_windows(many), monitoring.windows_table(rows), pd.DataFrame(rows.ingestion)]
    assert sum(len(show(None, one, f"many{i}").html) for i, one in enumerate(shown)) < 200_000


@pytest.mark.parametrize("half", ["half.csv", "half.csv.gz", "half.parquet"])
def test_half_a_file_is_refused(root: Path, half: str):
    """Cut in the middle of a row, of a compressed block, of a Parquet file."""
    later, place = hours(14, **LATER), root / half
    if half.endswith("parquet"):
        later.to_parquet(place)
    else:
        later.to_csv(place, index=False)
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2 - (1 if half.endswith("gz") else 0)])
    with pytest.raises(DataError, match="half"):
        monitoring.open_monitor(MonitorSettings("stations-20260601T000000Z-aaaa", str(place)), root)


def test_a_bundle_that_is_gone_or_damaged_is_refused(tmp_path: Path):
    """The file is named; nothing is loaded."""
    model = write_model(tmp_path, days=30, performance=False) / "model"
    hours(7, **LATER).to_csv(tmp_path / "new.csv", index=False)
    found = MonitorSettings("stations-20260601T000000Z-aaaa", str(tmp_path / "new.csv"))
    (model / "schema.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"schema\.json"):
        monitoring.open_monitor(found, tmp_path)
    shutil.rmtree(model)
    with pytest.raises((BundleError, RunError), match="stations-2026"):
        monitoring.open_monitor(found, tmp_path)


def test_without_data_the_test_set_of_the_run_is_judged(root: Path):
    """As Run All of the notebook does it."""
    monitored = monitoring.open_monitor(MonitorSettings("stations-20260601T000000Z-aaaa"), root)
    assert len(monitored.rows.frame) == 60 * 24 and monitored.rows.labels is not None


def test_a_reference_with_one_window_judges_the_rest(tmp_path: Path):
    """Thirty rows to learn from give no windows: broken contracts and new levels are still seen."""
    write_model(tmp_path, days=2, performance=False)
    later = hours(28, **LATER).assign(sky="violet")
    result = judged(tmp_path, later, labels="rain", window="day")
    assert result.state == "insufficient reference" and "sky" in texts(result)
