"""The result of a run and of its stages, in words, shapes and one number."""

import math
from dataclasses import replace

import pytest

from tdsp.core.environment import ProcessInfo, describe_process
from tdsp.core.project import STAGES
from tdsp.core.record import Fact, MetricEntry, new_record
from tdsp.core.results import Gate, Headline, IntervalRow
from tdsp.core.summary import summarize
from tdsp.reporting.run_pages import origin
from tdsp.reporting.run_summary import (
    gate_rows,
    interval_origin,
    key_figures,
    metric_in_words,
    run_label,
    short_id,
    stage_line,
    status_label,
    verdict_panel,
)
from tdsp.stats.gates import exact_gate
from tests.support.records import made_record

AUC = MetricEntry(0.679, 0.654, 0.701, 74, "days", label="ROC-AUC")
HEAD = Headline("met", "ok", "It clears the limit.", "auc", (IntervalRow("Required", 0.62, kind="limit"),))


def record(**changes):
    """A finished record with one metric, whose third stage names it."""
    made = new_record("flights-20261122T140500Z-7c1e", "flights", fixed=True)
    made = replace(made, status="succeeded", verdict="accepted", metrics={"auc": AUC})
    made = replace(made, facts={"metric": Fact("roc_auc")}).with_stage(STAGES[2], status="succeeded", headline=HEAD)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("word", "state", "icon"),
    [
        ("accepted", "ok", "ok"),
        ("rejected", "bad", "bad"),
        ("insufficient evidence", "unsure", "unsure"),
        ("failed", "bad", "fail"),
        ("splendid", "off", "off"),
    ],
)
def test_every_word_has_one_color_and_one_shape(word, state, icon):
    """A crash looks different from a refusal, and an unknown word is never good."""
    assert (status_label(word).state, status_label(word).icon) == (state, icon)


def test_a_run_whose_process_is_gone_was_interrupted():
    """The record still says running; the reader sees what happened."""
    gone = ProcessInfo(1, "another", 0.0)
    assert run_label(record(status="running", process=gone)).word == "interrupted"
    assert run_label(record(status="running", process=describe_process())).word == "running"


def test_no_verdict_is_not_a_good_one():
    """A run that ended without gates has no verdict."""
    assert run_label(record(verdict=None)).word == "no verdict"


def test_panel_takes_number_interval_and_limit_from_the_record():
    """One word, one sentence, one number, its interval, its limit."""
    panel = verdict_panel(status_label("met", "ok"), HEAD, record(), in_words=True)
    assert (panel.label.heading, panel.number, panel.interval) == ("Met", "0.679", "0.654 to 0.701")
    assert panel.notes == (
        "Given one row of each class, it ranks the right one higher 68 times in 100.",
        "Limit 0.620, set before the run. The interval comes from resampling 74 whole days.",
    )


def test_missing_headline_or_metric_gives_less_and_never_a_guess():
    """No headline: the word alone. No metric: no number."""
    assert verdict_panel(status_label("running"), None, record()).sentence == ""
    assert verdict_panel(status_label("met", "ok"), HEAD, record(metrics={})).number == ""
    assert summarize(record(metrics={})).number_text == ""


def test_number_that_is_nan_is_not_measured():
    """The record keeps NaN as null; the page says so."""
    broken = replace(AUC, value=math.nan, low=math.nan, high=math.nan)
    assert verdict_panel(status_label("met", "ok"), HEAD, record(metrics={"auc": broken})).number == "not measured"


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        ("roc_auc", 0.9987, "Given one row of each class, it ranks the right one higher 99.9 times in 100."),
        ("accuracy", 0.912, "It names the right class 91 times in 100."),
        ("r2", 0.44, "It explains 44\u202f% of the variance of the target."),
        ("log_loss", 0.2, ""),
    ],
)
def test_only_measures_with_an_honest_sentence_get_one(metric, value, words):
    """A number that is not 1 is never 100 in 100."""
    assert metric_in_words(MetricEntry(value), metric) == words


def test_rows_are_not_called_whole():
    """Only groups and days are resampled whole."""
    rows = replace(AUC, resampled="rows", n=114)
    assert interval_origin(rows) == "The interval comes from resampling 114 rows."
    assert interval_origin(replace(AUC, low=math.nan)) == ""


def test_a_limit_has_the_digits_of_its_number_wherever_it_is_printed():
    """The first stage's number is the limit itself."""
    metrics = {"auc": AUC, "limit": MetricEntry(0.62, label="ROC-AUC required")}
    made = record(metrics=metrics).with_stage(STAGES[0], status="succeeded", headline=replace(HEAD, metric="limit"))
    assert summarize(made).limit_text == "0.620"
    assert stage_line(made)[0].note == "ROC-AUC required: 0.620"


def test_stage_line_says_number_and_limit_or_how_many_gates_passed():
    """The note below a verdict is a fact of the record."""
    made = record(gates=[exact_gate(str(limit), 1, limit) for limit in (1, 0)])
    made = replace(made, gates=tuple(replace(gate, stage=STAGES[3]) for gate in made.gates))
    made = made.with_stage(STAGES[3], status="succeeded", headline=replace(HEAD, metric=""))
    line = stage_line(made)
    assert [item.note for item in line[2:4]] == ["0.679, limit 0.620", "1 of 2 gates passed"]
    assert [item.label.word for item in line] == ["not run", "not run", "met", "met", "not run"]
    assert [bool(item.href) for item in line] == [False, False, True, True, False]


def test_gates_that_did_not_pass_come_first():
    """No-go, then undecided, then go."""
    values = {"go": (2.0, 2.0), "undecided": (0.0, 2.0), "no-go": (0.0, 0.0)}
    gates = [Gate(name, ">=", 1.0, low, high, 1.0, stage=STAGES[0]) for name, (low, high) in values.items()]
    assert [row.name for row in gate_rows(gates)] == ["no-go", "undecided", "go"]


def test_key_figures_are_at_most_four_and_only_what_is_known():
    """Nothing noted, nothing shown."""
    assert key_figures(record()) == []
    facts = {"test_rows": 65_470, "parity": {"identical": False, "max_abs_difference": 0.02}, "size_mb": 1.5}
    facts |= {"latency_1_median_ms": 24.2}
    figures = key_figures(record(facts={key: Fact(value) for key, value in facts.items()}))
    assert [figure.value for figure in figures] == ["65,470", "Different", "24\u00a0ms", "1.5\u00a0MB"]


def test_draft_keeps_its_name():
    """Only ids that `tdsp run` gives have a short form."""
    assert short_id("flights-draft") == "flights-draft"


def test_the_cover_says_how_many_of_the_test_rows_other_runs_have_scored():
    """By rows, where they were counted; by runs alone in a record of before."""
    read = [{"table": "test", "stage": STAGES[2], "at": "2026-11-22T14:05:00Z"}]

    def line(**facts):
        known = {name: {"value": value} for name, value in facts.items()}
        return dict(origin(made_record("a", "wine", reads=read, facts=known)))["Test set"]

    counted = line(test_looks=3, test_rows=650, test_rows_scored_before=648)
    assert counted == "read once for the score; 2 other runs of this project have scored 648 of these 650 rows"
    assert line(test_looks=2, test_rows=650).endswith("2 runs have scored these rows")
    assert line(test_looks=1, test_rows=650).endswith("no other run of this project has scored any of these rows")


def test_a_gain_that_is_larger_than_the_score_names_the_score_of_the_baseline():
    """R² of 0.88 with a gain of 1.5: the baseline is below zero, and the figure says where."""
    metrics = {"test_score": {"value": 0.88, "label": "R²"}, "gain_over_baseline": {"value": 1.5, "label": "R² gained"}}
    (figure,) = key_figures(made_record("a", "wine", metrics=metrics))
    assert "the baseline itself reaches −0.62 here" in figure.note
    metrics["gain_over_baseline"]["value"] = 0.5
    assert "baseline itself" not in key_figures(made_record("a", "wine", metrics=metrics))[0].note
