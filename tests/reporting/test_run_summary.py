"""What a run and its stages answer, in words, shapes and one number."""

from dataclasses import replace

import pytest

from tdsp.core.environment import describe_process
from tdsp.core.files import from_json
from tdsp.core.project import STAGES
from tdsp.core.record import new_record
from tdsp.core.results import Headline
from tdsp.reporting.run_summary import (
    gate_rows,
    goal_of,
    interval_words,
    key_figures,
    panel_of,
    plain_words,
    short_id,
    stage_line,
    tag_of,
    verdict_tag,
)
from tdsp.stats.gates import exact_gate

AUC = {"value": 0.679, "low": 0.654, "high": 0.701, "n": 74, "resampled": "days", "label": "ROC-AUC"}
HEAD = {
    "verdict": "met",
    "state": "ok",
    "sentence": "It clears the limit.",
    "metric": "auc",
    "ladder": [{"label": "Required", "value": 0.62, "low": None, "high": None, "kind": "limit"}],
}


def record(**changes):
    """A finished record with one metric, whose third stage names it."""
    made = new_record("flights-20261122T140500Z-7c1e", "flights", fixed=True)
    made |= {"status": "succeeded", "verdict": "accepted", "metrics": {"auc": AUC}}
    return made.with_stage(STAGES[2], status="succeeded", headline=from_json(Headline, HEAD)) | changes


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
def test_every_word_has_one_colour_and_one_shape(word, state, icon):
    """A crash looks different from a refusal, and an unknown word is never good."""
    assert (tag_of(word).state, tag_of(word).icon) == (state, icon)


def test_a_run_whose_process_is_gone_was_interrupted():
    """The record still says running; the reader is told the truth."""
    gone = {"pid": 1, "boot_id": "another", "started": 0.0}
    assert verdict_tag(record(status="running", process=gone)).word == "interrupted"
    assert verdict_tag(record(status="running", process=describe_process())).word == "running"


def test_no_verdict_is_not_a_good_one():
    """A run that ended without gates has no verdict."""
    assert verdict_tag(record(verdict=None)).word == "no verdict"


def test_panel_takes_number_interval_and_limit_from_the_record():
    """One word, one sentence, one number, its interval, its limit."""
    panel = panel_of(tag_of("met", "ok"), HEAD, record(), plain=True)
    assert (panel.word, panel.number, panel.interval) == ("Met", "0.679", "0.654 to 0.701")
    assert panel.notes == (
        "Given one row of each class, it ranks the right one higher 68 times in 100.",
        "Limit 0.620, set before the run. The interval comes from resampling 74 whole days.",
    )


def test_missing_headline_or_metric_gives_less_and_never_a_guess():
    """No headline: the word alone. No metric: no number."""
    assert panel_of(tag_of("running"), None, record()).sentence == ""
    assert panel_of(tag_of("met", "ok"), HEAD, record(metrics={})).number == ""
    assert goal_of(record(metrics={})) is None


def test_number_that_is_nan_is_not_measured():
    """The record keeps NaN as null; the page says so."""
    broken = AUC | {"value": None, "low": None, "high": None}
    assert panel_of(tag_of("met", "ok"), HEAD, record(metrics={"auc": broken})).number == "not measured"


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        (
            "ROC-AUC on the test part",
            0.9987,
            "Given one row of each class, it ranks the right one higher 99.9 times in 100.",
        ),
        ("Accuracy", 0.912, "It names the right class 91 times in 100."),
        ("R²", 0.44, "It explains 44\u202f% of the variance of the target."),
        ("Log loss", 0.2, ""),
    ],
)
def test_only_measures_with_an_honest_sentence_get_one(label, value, words):
    """A number that is not 1 is never 100 in 100."""
    assert plain_words({"label": label, "value": value}, {"parameters": {}}) == words


def test_rows_are_not_called_whole():
    """Only groups and days are resampled whole."""
    assert interval_words(AUC | {"resampled": "rows", "n": 114}) == "The interval comes from resampling 114 rows."
    assert interval_words(AUC | {"low": None}) == ""


def test_stage_line_says_number_and_limit_or_how_many_gates_passed():
    """What a stage adds below its verdict is a fact of the record."""
    made = record(gates=[exact_gate(str(limit), 1, limit) for limit in (1, 0)])
    made = replace(made, gates=tuple(replace(gate, stage=STAGES[3]) for gate in made.gates))
    head = from_json(Headline, HEAD | {"metric": ""})
    made = made.with_stage(STAGES[3], status="succeeded", headline=head)
    line = stage_line(made)
    assert [item["note"] for item in line[2:4]] == ["0.679, limit 0.620", "1 of 2 gates passed"]
    assert [item["word"] for item in line] == ["not run", "not run", "met", "met", "not run"]
    assert [bool(item["href"]) for item in line] == [False, False, True, True, False]


def test_gates_that_need_somebody_come_first():
    """No-go, then undecided, then go."""
    gate = {"rule": ">=", "value": 1.0, "low": None, "high": None, "limit": 1.0, "stage": STAGES[0]}
    gates = [gate | {"name": a, "answer": a} for a in ("go", "insufficient evidence", "no-go")]
    assert [row["name"] for row in gate_rows(gates)] == ["no-go", "insufficient evidence", "go"]


def test_key_figures_are_at_most_four_and_only_what_is_known():
    """Nothing noted, nothing shown."""
    assert key_figures(record()) == []
    facts = {"test_rows": 65_470, "parity": {"identical": False, "max_abs_difference": 0.02}, "size_mb": 1.5}
    facts |= {"latency_1_median_ms": 24.2}
    figures = key_figures(record(facts={key: {"value": value} for key, value in facts.items()}))
    assert [figure["value"] for figure in figures] == ["65,470", "Different", "24\u00a0ms", "1.5\u00a0MB"]


def test_draft_keeps_its_name():
    """Only ids that `tdsp run` gives have a short form."""
    assert short_id({"run_id": "flights-draft"}) == "flights-draft"
