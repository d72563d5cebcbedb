"""A history replayed: policies, page, replay.json, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tdsp.cli.app import call
from tdsp.core.errors import DataError, ParameterError
from tdsp.core.record import create_run, new_record
from tdsp.modeling.fitting import default_candidate
from tdsp.monitoring.replay import LossHistory, ReplayResult, recommended
from tdsp.reporting.replay_page import replay_heading, replay_page
from tdsp.runner.replay import _settings, run_replay
from tdsp.stages.replay import replay_past
from tdsp.stages.replayed_models import ReplaySettings, Trainer, fit_past, open_past, recipe_of

TURN = pd.Timestamp("2025-05-20")
VALUES = {
    "time_column": "when", "target": "y", "task": "auto", "positive_class": "", "metric": "auto", "drop": [],
    "forbidden": [], "group_column": "", "split_column": "", "split": "time", "random_state": 1,
}  # fmt: skip
CHEAP = ReplaySettings(cost=1.0)


def stream(*, turned: bool, rows: int = 3_000, last: str = "2025-08-31 23:00") -> pd.DataFrame:
    """Rows of eight months; the relation of `y` to `x` turns around on 20 May, or never."""
    rng = np.random.default_rng(1)
    when = pd.date_range("2025-01-01", last, periods=rows)
    x = rng.normal(size=rows)
    sign = np.where(turned & (when >= TURN), -1, 1)
    yes = rng.random(rows) < 1 / (1 + np.exp(-3 * sign * x))
    return pd.DataFrame({"when": when, "x": x, "other": rng.normal(size=rows), "y": np.where(yes, "yes", "no")})


def replayed(table: pd.DataFrame, settings: ReplaySettings = CHEAP) -> ReplayResult:
    """Return the replay of a table by a linear model."""
    recipe = default_candidate("linear"), "a linear model"
    return replay_past("made", open_past(table, VALUES, settings), VALUES, recipe, settings)


@pytest.fixture(scope="module")
def turned() -> ReplayResult:
    """A stream whose relation turns around in its fifth month."""
    return replayed(stream(turned=True))


def test_after_a_break_the_alarm_trains_and_never_regrets_most(turned: ReplayResult):
    """The monitor's own alarm makes a new model after the break; who never trains loses most."""
    by_name = {one.policy: one for one in turned.outcomes}
    assert list(by_name) == ["never", "scheduled", "on alarm", "always", "by cost"]
    assert max(turned.outcomes, key=lambda one: one.regret.value).policy == "never"
    assert by_name["on alarm"].trained and min(by_name["on alarm"].trained) >= "2025-06-01"
    assert by_name["on alarm"].gain.low > 0 and turned.policy != "never"
    assert turned.alarms[0].code == "performance" and turned.alarms[0].trained in by_name["on alarm"].trained


def test_age_costs_more_the_longer_a_model_serves(turned: ReplayResult):
    """The staleness curve starts at nothing and rises, with an interval where days are enough."""
    excess = [one.excess for one in turned.aged]
    assert excess[0].value == 0 and excess[-1].value > excess[1].value > 0
    assert excess[1].low <= excess[1].value <= excess[1].high


def test_the_answer_turns_to_never_at_the_cost_that_is_reported(turned: ReplayResult):
    """Above the last cost of the list never is recommended, below it another policy costs least."""
    flip, policy = turned.cheapest[-1]
    assert policy == "never" and flip > 0
    for cost, is_never in ((1.5 * flip, True), (0.1 * flip, False)):
        found = recommended(turned.history, turned.outcomes, cost=cost, random_state=1)
        assert (found.policy == "never") is is_never


def test_on_a_stable_stream_nothing_is_recommended():
    """Where nothing changes no policy beats never beyond chance, and the sentence says so."""
    found = replayed(stream(turned=False))
    assert found.policy == "never" and found.recommendation.startswith("Do not retrain by the calendar")
    assert replay_heading(found) == "Retraining has not paid"


def fitted(table: pd.DataFrame, settings: ReplaySettings = CHEAP) -> LossHistory:
    """Return the losses of all models, without a monitor."""
    trainer = Trainer(open_past(table, VALUES, settings), VALUES, default_candidate("linear"), settings.label_delay)
    return fit_past(trainer, settings, str).history


def test_late_labels_come_late_to_training_and_to_decisions(turned: ReplayResult):
    """With labels a month late each model has fewer rows, and fewer windows are known to a policy."""
    settings = replace(CHEAP, label_delay=30)
    past = open_past(stream(turned=True), VALUES, settings)
    assert all(past.known_rows(t, 30) < n for t, n in enumerate(turned.train_rows))
    assert turned.history.known.tolist() == [0, 1, 2, 3, 4]
    assert fitted(stream(turned=True), settings).known.tolist() == [0, 0, 1, 2, 3]


def test_nothing_is_learned_from_later_rows(turned: ReplayResult):
    """Losses before the turn are the same whatever comes after it."""
    other = stream(turned=True)
    other.loc[other["when"] >= TURN, "y"] = "no"
    early = turned.history.days < TURN.to_datetime64()
    np.testing.assert_array_equal(fitted(other).sums[:, early], turned.history.sums[:, early])


def test_names_from_data_are_text_on_the_page(turned: ReplayResult):
    """Markup in the name of a column, of an alarm's text and of the model is shown, not run."""
    bad = "<script>alert(1)</script>"
    alarms = tuple(replace(one, text=bad) for one in turned.alarms)
    page = replay_page(replace(turned, model=bad, alarms=alarms, recipe=bad)).html()
    assert "<script" not in page and "&lt;script&gt;" in page


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one parameter file and its table."""
    root = tmp_path_factory.mktemp("replays")
    (root / "parameters").mkdir()
    stream(turned=True).to_csv(root / "rows.csv", index=False)
    lines = "project: made\nsources:\n  rows: rows.csv\ntarget: y\nsplit: time\ntime_column: when\n"
    (root / "parameters" / "made.yaml").write_text(lines)
    return root


def test_a_replay_has_a_table_a_page_and_a_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The terminal shows the policies, the page the finding with its figures, replay.json all losses."""
    monkeypatch.chdir(project)
    assert call([*VERB, "--cost", "1"]) == 0
    shown = capsys.readouterr().out
    folder = next((project / "outputs" / "monitoring" / "made").glob("replay-*"))
    page, record = (folder / "index.html").read_text(), json.loads((folder / "replay.json").read_text())
    assert "on alarm" in shown and record["recommendation"] in shown
    assert "<script" not in page and len(page) < 300_000 and page.count("<img alt=") == 2
    assert "<h1>Retraining" in page and "with its usual settings, as there is no accepted run" in page
    assert [one["policy"] for one in record["policies"]][-1] == "best in hindsight"
    assert [len(row) for row in record["losses"]] == list(range(len(record["windows"]), 0, -1))


VERB = ["cycle", "parameters/made.yaml", "--replay", "month"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"size": "year"}, "day, week or month"), ({"size": "month", "label_delay": -1}, "from 0 on"),
     ({"size": "month", "cost": float("nan")}, "no cost"), ({"size": "month", "label_delay": 400}, "no first model")],
)  # fmt: skip
def test_a_mistake_is_refused_and_leaves_nothing(project: Path, tmp_path: Path, setting: dict, message: str):
    """A window, a delay or a cost that cannot be is named; no folder of a replay is made."""
    with pytest.raises((ParameterError, DataError), match=message):
        run_replay(project / "parameters" / "made.yaml", outputs=tmp_path, **setting)
    assert not list(tmp_path.rglob("replay-*"))


def accepted_run(outputs: Path, started: str, winner: str) -> None:
    """Write an accepted run of the project `made` whose search found two models."""
    name = f"made-{started}T000000Z-aaaa"
    run = create_run(outputs / "runs" / name, replace(new_record(name, "made", fixed=True), verdict="accepted"))
    found = [{"name": "lightgbm-2", "family": "lightgbm", "settings": {"num_leaves": 7}, "steps": 80, "mean": 0.9},
             {"name": "linear", "family": "linear", "settings": {}, "steps": 0, "mean": 0.8}]  # fmt: skip
    run.write_json("search", found)
    run.note(winner=winner)


def test_the_recipe_is_that_of_an_accepted_run_and_its_look_ahead_is_named(tmp_path: Path):
    """The winner with its settings and steps; of an average the best single model; damaged runs are passed over."""
    assert recipe_of("made", tmp_path)[1].startswith("LightGBM with its usual settings")
    accepted_run(tmp_path, "20260101", "linear")
    recipe, text = recipe_of("made", tmp_path)
    assert recipe.family == "linear" and "replayed here as the future" in text
    accepted_run(tmp_path, "20260102", "ensemble")
    recipe, text = recipe_of("made", tmp_path)
    assert (recipe.family, recipe.settings, recipe.steps) == ("lightgbm", {"num_leaves": 7}, 80)
    assert "best single model" in text
    newest = tmp_path / "runs" / "made-20260102T000000Z-aaaa"
    (newest / "artifacts" / "search.json").write_text("[]")
    assert recipe_of("made", tmp_path)[0].family == "linear"
    assert recipe_of("other", tmp_path)[1].startswith("LightGBM with its usual settings")


def test_the_settings_of_the_loop_are_those_of_the_replay(project: Path):
    """NAME.cycle.yaml says how late labels are, how often training is planned and what it costs; options go first."""
    file = project / "parameters" / "loop.yaml"
    own = {"every": "month", "retrain_every": 2, "labels_late": 30, "cost": 50, "value_of_loss": 10}
    file.with_name("loop.cycle.yaml").write_text("".join(f"{name}: {value}\n" for name, value in own.items()))
    assert _settings(file, "month", 0, None, None) == ReplaySettings("month", 2, 30, 5.0)
    assert _settings(file, "week", 0, 0, 7.0) == ReplaySettings("week", 0, 0, 7.0)


def test_options_of_a_replay_without_one_are_refused(project: Path, capsys: pytest.CaptureFixture[str]):
    """A cost without a replay would do nothing; exit code 2."""
    assert call(["cycle", str(project / "parameters" / "made.yaml"), "--cost", "5"]) == 2
    assert "belong to --replay" in capsys.readouterr().err


def test_a_history_that_is_too_short_is_refused():
    """Fewer than six windows are an anecdote; the message names a way out."""
    with pytest.raises(DataError, match=r"span 3 months; 6 are the least.*shorter window"):
        open_past(stream(turned=True, last="2025-03-20"), VALUES, CHEAP)


def test_rows_without_a_time_are_refused():
    """No time column, numbers and words in place of times: each has its message."""
    table = stream(turned=True)
    with pytest.raises(ParameterError, match="time_column"):
        open_past(table, {**VALUES, "time_column": ""}, CHEAP)
    with pytest.raises(DataError, match="holds numbers"):
        open_past(table, {**VALUES, "time_column": "x"}, CHEAP)
    with pytest.raises(DataError, match="is no time in 3,000 rows"):
        open_past(table.assign(when="soon"), VALUES, CHEAP)


def test_a_first_third_of_one_class_is_refused():
    """Without both classes there is no first model."""
    table = stream(turned=True)
    table.loc[table["when"] < "2025-04-15", "y"] = "no"
    with pytest.raises(DataError, match="one class only"):
        open_past(table, VALUES, CHEAP)
