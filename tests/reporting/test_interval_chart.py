"""One picture of evidence: rows on one scale, and the limit through all rows."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsp.core.record import MetricEntry
from tdsp.core.results import GUESS as GUESS_LABEL
from tdsp.core.results import Headline, IntervalRow
from tdsp.reporting.interval_chart import IntervalChart, Scale, interval_chart, scale_of

GUESS = IntervalRow("Guessing", 0.5)
LIMIT = IntervalRow("Required", 0.62, kind="limit")
MODEL = IntervalRow("This model", 0.679, 0.654, 0.701, "this")


def chart(*rows: IntervalRow, higher_is_better: bool = True) -> IntervalChart | None:
    """The chart of a headline with these rows."""
    metric = MetricEntry(0.679, label="Score", higher_is_better=higher_is_better)
    return interval_chart(Headline("met", "ok", "", "score", rows), metric)


def test_bars_start_at_the_score_of_guessing():
    """The lowest exact row of a score is the natural zero, and has no bar of its own."""
    assert scale_of([GUESS, LIMIT, MODEL], higher_is_better=True) == Scale(0.5, 0.701, bars=True)
    guess, limit, model = chart(GUESS, LIMIT, MODEL).rows
    assert guess.marks == limit.marks == ()
    assert [mark.kind for mark in model.marks] == ["bar", "tip"]


def test_records_of_before_name_a_reference_otherwise():
    """Their baseline is the natural zero as well."""
    assert scale_of([IntervalRow("baseline", 0.5, kind="ghost"), MODEL], higher_is_better=True).bars
    assert IntervalRow("baseline", 0.5, kind="ghost").kind == "reference"


def test_loss_starts_at_zero_and_is_better_to_the_left():
    """A measure of which less is better has 0 as its zero, and the caption says which side is enough."""
    rows = [replace(LIMIT, value=50.0), replace(MODEL, value=44.1, low=40.2, high=48.3)]
    assert scale_of(rows, higher_is_better=False).start == 0
    caption = chart(*rows, higher_is_better=False).caption
    assert caption == "Score. Left of the dashed line is enough; the pale tip is the interval."


def test_without_a_natural_zero_there_is_no_bar():
    """Values below zero and no guess among them: a block and a tick."""
    found = chart(replace(MODEL, value=-0.1, low=-0.3, high=0.1), LIMIT)
    assert [mark.kind for mark in found.rows[0].marks] == ["tip", "tick"]
    assert "the block is the interval" in found.caption


def test_all_rows_carry_the_same_decimals():
    """The narrowest interval decides."""
    rows = chart(GUESS, LIMIT, MODEL).rows
    assert [row.value for row in rows] == ["0.500", "0.620", "0.679"]
    assert rows[2].interval == "0.654 to 0.701"


@pytest.mark.parametrize("rows", [[], [replace(MODEL, value=math.nan)]])
def test_no_number_gives_no_picture(rows):
    """A row that was not measured is no zero."""
    assert chart(*rows) is None


numbers = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(numbers, numbers, numbers).map(sorted), min_size=1, max_size=6), st.booleans())
def test_marks_stay_inside_the_picture(triples, upward):
    """Whatever the numbers, no mark leaves the picture."""
    found = chart(*(IntervalRow("x", value, low, high) for low, value, high in triples), higher_is_better=upward)
    marks = [mark for row in found.rows for mark in row.marks]
    assert all(0 <= mark.start <= mark.end <= 100 for mark in marks)


def test_past_the_guess_is_not_called_enough():
    """Where no threshold is stated the line is the best constant guess, and better than it is no verdict."""
    rows = (IntervalRow(GUESS_LABEL, 0.5, kind="limit"), IntervalRow("This model", 0.7, 0.6, 0.8, kind="this"))
    chart = interval_chart(Headline("", "ok", "", "", rows), None)
    assert "Past the dashed line is better than guessing" in chart.caption
