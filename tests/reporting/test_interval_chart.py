"""One picture of evidence: rows on one scale, and the limit through all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsp.reporting.interval_chart import Scale, ladder_of, scale_of

GUESS = {"label": "Guessing", "value": 0.5, "low": None, "high": None, "kind": "other"}
LIMIT = {"label": "Required", "value": 0.62, "low": None, "high": None, "kind": "limit"}
MODEL = {"label": "This model", "value": 0.679, "low": 0.654, "high": 0.701, "kind": "this"}


def record(**metric):
    """A record with one metric."""
    return {"metrics": {"score": {"label": "Score", "higher_is_better": True} | metric}}


def test_bars_start_at_what_guessing_gets():
    """The lowest exact rung of a score is the natural zero, and has no bar of its own."""
    rungs = [GUESS, LIMIT, MODEL]
    assert scale_of(rungs, higher_is_better=True) == Scale(0.5, 0.701, bars=True)
    guess, limit, model = ladder_of({"metric": "score", "ladder": rungs}, record()).rows
    assert guess.marks == limit.marks == ()
    assert [mark.kind for mark in model.marks] == ["bar", "tip"]


def test_loss_starts_at_zero_and_is_better_to_the_left():
    """A measure of which less is better has 0 as its zero, and the caption says which side is enough."""
    rungs = [LIMIT | {"value": 50.0}, MODEL | {"value": 44.1, "low": 40.2, "high": 48.3}]
    ladder = ladder_of({"metric": "score", "ladder": rungs}, record(higher_is_better=False))
    assert scale_of(rungs, higher_is_better=False).start == 0
    assert ladder.caption == "Score. Left of the dashed line is enough; the pale tip is the interval."


def test_without_a_natural_zero_there_is_no_bar():
    """Values below zero and no guess among them: a block and a tick."""
    rungs = [MODEL | {"value": -0.1, "low": -0.3, "high": 0.1}, LIMIT]
    ladder = ladder_of({"metric": "score", "ladder": rungs}, record())
    assert [mark.kind for mark in ladder.rows[0].marks] == ["tip", "tick"]
    assert "the block is the interval" in ladder.caption


def test_all_rows_carry_the_same_decimals():
    """The widest need decides."""
    rows = ladder_of({"metric": "score", "ladder": [GUESS, LIMIT, MODEL]}, record()).rows
    assert [row.value for row in rows] == ["0.500", "0.620", "0.679"]
    assert rows[2].interval == "0.654 to 0.701"


@pytest.mark.parametrize("rungs", [[], [MODEL | {"value": None}], None])
def test_no_number_gives_no_picture(rungs):
    """A rung that was not measured is no zero."""
    assert ladder_of({"metric": "score", "ladder": rungs}, record()) is None


numbers = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(numbers, numbers, numbers).map(sorted), min_size=1, max_size=6), st.booleans())
def test_marks_stay_inside_the_picture(triples, upward):
    """Whatever the numbers, no mark leaves the picture."""
    rungs = [{"label": "x", "value": v, "low": a, "high": b, "kind": "other"} for a, v, b in triples]
    ladder = ladder_of({"metric": "score", "ladder": rungs}, record(higher_is_better=upward))
    marks = [mark for row in ladder.rows for mark in row.marks]
    assert all(0 <= mark.a <= mark.b <= 100 for mark in marks)
