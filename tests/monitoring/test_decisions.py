"""From evidence to a decision, and the comparison that a promotion rests on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tdsp.config.cycle import CycleSettings, read_cycle
from tdsp.core.errors import RunError
from tdsp.monitoring.costs import CostForecast
from tdsp.monitoring.decisions import (
    Decision,
    Evidence,
    append_decision,
    compare_losses,
    decide,
    describe_target,
    judge_challenger,
    largest_difference,
    read_decisions,
)
from tdsp.monitoring.performance import row_loss

SETTINGS = read_cycle(Path("none.yaml"))
NORMAL = Evidence("ok", (), (), 900, 5000, 1, True)
ALARM = replace(NORMAL, state="alarm", alarms=("It is worse.",))
PAYS = CostForecast(gain=900.0, low=200.0, high=1600.0, cost=100.0)


@pytest.mark.parametrize(
    ("evidence", "settings", "expected"),
    [
        (NORMAL, SETTINGS, ("keep", "none", "no_trigger")),
        (ALARM, SETTINGS, ("retrain", "alarm", "by_alarm")),
        (ALARM, replace(SETTINGS, on_alarm=False), ("keep", "none", "no_trigger")),
        (replace(NORMAL, age=3), replace(SETTINGS, retrain_every=3), ("retrain", "schedule", "by_schedule")),
        (replace(NORMAL, age=2), replace(SETTINGS, retrain_every=3), ("keep", "none", "no_trigger")),
        (NORMAL, replace(SETTINGS, new_labels=5000), ("retrain", "labels", "by_labels")),
        (NORMAL, replace(SETTINGS, new_labels=5001), ("keep", "none", "no_trigger")),
        (replace(NORMAL, forecast=PAYS), SETTINGS, ("retrain", "cost", "by_cost")),
        (replace(NORMAL, forecast=replace(PAYS, cost=201.0)), SETTINGS, ("keep", "none", "no_trigger")),
        (replace(ALARM, has_rested=False), SETTINGS, ("wait", "alarm", "cool_down")),
        (replace(ALARM, new_labels=99), SETTINGS, ("wait", "alarm", "few_labels")),
        (replace(ALARM, faults=("pressure",)), SETTINGS, ("data_fault", "none", "broken_column")),
        (replace(NORMAL, rows=0), SETTINGS, ("wait", "none", "no_rows")),
    ],
)
def test_each_trigger_and_what_forbids_a_training(
    evidence: Evidence, settings: CycleSettings, expected: tuple[str, str, str]
):
    """A broken column comes before every trigger; labels and rest come before a training."""
    action = decide(evidence, settings)
    assert (action.decision, action.trigger, action.reason) == expected
    assert action.text.endswith(".")


def line(window: str) -> Decision:
    """A decision on a window."""
    return Decision("2026-01-01T00:00:00Z", window, "m", "m@1", "ok", "keep", "none", "no_trigger", "Nothing.")


def test_a_window_has_one_decision(tmp_path: Path):
    """A second one for the same window is not written; what is no decision is named with its line."""
    path = tmp_path / "decisions.jsonl"
    for window in ("2026-01", "2026-02", "2026-01"):
        append_decision(path, line(window))
    assert [one.window for one in read_decisions(path)] == ["2026-01", "2026-02"]
    path.write_text(path.read_text() + "{half")
    with pytest.raises(RunError, match=r"decisions.jsonl:3 is no decision"):
        read_decisions(path)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_no_truth_makes_the_losses_differ_by_more_than_is_stated(task: str):
    """The bound on the difference of two losses holds for every truth, and some truth nearly reaches it."""
    rng = np.random.default_rng(0)
    shape = {"binary": (200,), "multiclass": (200, 3), "regression": (200,)}[task]
    p, q = rng.random(shape), rng.random(shape)
    if task == "multiclass":
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    truths = np.linspace(-2, 3, 401) if task == "regression" else np.arange(3 if task == "multiclass" else 2)
    apart = [row_loss(task, np.full(200, t), p, 0.5) - row_loss(task, np.full(200, t), q, 0.5) for t in truths]
    found, bound = np.abs(apart).max(axis=0), largest_difference(task, p, q, 0.5)
    assert (found <= bound + 1e-9).all() and (found >= bound - 0.05).all()


def looks(mean: float, lives: int, seed: int) -> list[str]:
    """The first decisive judgment of each life that is looked at every 15 days for half a year; else the last one."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(lives):
        gain, reach = pd.Series(rng.normal(mean, 0.01, 180)), pd.Series(np.full(180, 0.08))
        choices = [
            judge_challenger(compare_losses(gain[:n], reach[:n], metric="loss", rows=n))[0] for n in range(15, 181, 15)
        ]
        found.append(next((one for one in choices if one != "insufficient_evidence"), choices[-1]))
    return found


def test_looking_at_every_turn_promotes_an_equal_model_in_at_most_5_per_cent():
    """Twelve looks each at 40 pairs of equal models; 5 per cent would give more than 4 once in twenty times."""
    assert looks(0.0, 40, 1).count("promote") <= 4


def test_a_better_model_is_found_and_a_worse_one_is_kept_out():
    """Half a day's standard deviation is clear in half a year, in either direction."""
    assert looks(0.005, 10, 2).count("promote") >= 9
    assert looks(-0.005, 10, 3).count("keep") >= 9


def test_without_rows_or_with_equal_predictions_nothing_is_shown():
    """No bet, no bound."""
    nothing = compare_losses(pd.Series(dtype=float), pd.Series(dtype=float), metric="loss", rows=0)
    same = compare_losses(pd.Series(np.zeros(30)), pd.Series(np.zeros(30)), metric="loss", rows=30)
    assert judge_challenger(nothing)[1] == "no_common_rows"
    assert judge_challenger(same)[0] == "insufficient_evidence"


def test_a_target_that_left_what_was_learned_is_named():
    """Only the newest window counts, and only where it lies outside."""
    shares = pd.Series({"2013-07": 0.30, "2013-08": 0.24, "2013-09": 0.137})
    text = describe_target(shares, ["2013-07", "2013-08"], "The share of late")
    assert text == "The share of late is 0.137 in 2013-09; the champion has seen 0.24 to 0.3."
    assert describe_target(shares[:2], ["2013-07", "2013-08"], "The share of late") == ""
