"""Which rows teach and which judge."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsp.core.errors import ParameterError
from tdsp.modeling.folds import make_folds
from tests.support.tables import CLASSES


@given(
    st.integers(6, 300), st.sampled_from(["random", "group", "time"]), st.sampled_from(list(CLASSES)), st.integers(2, 6)
)
@settings(max_examples=60, deadline=None)
def test_folds_are_disjoint_and_within_the_rows(n, kind, task, n_folds):
    """No row is learned and scored at once; by chance and by group every row is scored (single ones excepted)."""
    rng = np.random.default_rng(n)
    y = rng.normal(size=n) if task == "regression" else rng.integers(0, 2 if task == "binary" else 3, n)
    by = np.arange(n) % 7
    cv = make_folds(y, task=task, kind=kind, by=by, n_folds=n_folds, random_state=1)
    for fit, score in cv.pairs:
        assert not np.intersect1d(fit, score).size and len(fit) and len(score)
        if kind == "group":
            assert not np.intersect1d(by[fit], by[score]).size
        if kind == "time":
            assert by[fit].max() < by[score].min()
    if kind != "time" and (task == "regression" or np.bincount(y).min() > 1):
        assert np.array_equal(np.unique(np.concatenate([score for _, score in cv.pairs])), np.arange(n))


def test_time_folds_follow_time_in_any_row_order():
    """Zones, texts and numbers written as text are ranked; shuffled rows give the same blocks."""
    days = pd.date_range("2013-01-01", periods=100, tz="Europe/Berlin")
    order = np.random.default_rng(0).permutation(100)
    for by in (days, days.strftime("%Y-%m-%d"), np.arange(100).astype(str)):
        cv = make_folds(
            np.zeros(100), task="regression", kind="time", by=np.asarray(by)[order], n_folds=4, random_state=1
        )
        assert [order[fit].max() + 1 for fit, _ in cv.pairs] == [50, 62, 75, 87]
        assert [order[score].max() + 1 for _, score in cv.pairs] == [62, 75, 87, 100]


@pytest.mark.parametrize("kind", ["random", "group", "time"])
def test_a_sample_is_bounded_and_spread(kind):
    """At most `max_rows` rows; by time from the first day to the last; by group whole groups."""
    by = np.repeat(np.arange(100), 20)
    y = np.random.default_rng(0).integers(0, 2, 2000)
    cv = make_folds(y, task="binary", kind=kind, by=by, max_rows=500, random_state=1)
    used = np.unique(np.concatenate([np.concatenate(pair) for pair in cv.pairs]))
    assert cv.n_rows <= 500 and len(used) <= 500
    if kind == "time":
        assert len(np.unique(by[used])) == 100
    if kind == "group":
        assert (np.bincount(by[used])[np.unique(by[used])] == 20).all()


@pytest.mark.parametrize(
    ("n_rows", "task", "kind", "n_folds"),
    [
        (100, "binary", "random", 15),
        (300, "binary", "random", 8),
        (2499, "regression", "group", 8),
        (2500, "binary", "random", 5),
        (2500, "binary", "time", 3),
        (50_000, "binary", "random", 5),
        (50_002, "binary", "random", 1),
        (50_002, "binary", "time", 1),
        (50_002, "regression", "random", 5),
    ],
)
def test_the_number_of_folds_follows_the_rows(n_rows, task, kind, n_folds):
    """Repeated under 300 rows, eight under 2,500, three in time, one where classes times rows are very many."""
    y = np.tile([0, 1], n_rows // 2 + 1)[:n_rows]
    cv = make_folds(y, task=task, kind=kind, by=np.arange(n_rows) // 10, random_state=1)
    assert cv.n_folds == n_folds


def test_the_only_block_in_time_is_the_last_one():
    """Scored rows come after all rows that are learned from."""
    cv = make_folds(np.tile([0, 1], 30_000), task="binary", kind="time", by=np.arange(60_000), random_state=1)
    assert cv.pairs[0][0].max() < 50_000 <= cv.pairs[0][1].min()
    assert cv.sentence == "one last block of time, 60,000 rows"


def test_folds_by_a_column_need_the_column():
    """A missing column or a single value cannot make folds."""
    for by in (None, np.zeros(10)):
        with pytest.raises(ParameterError, match="at least two values"):
            make_folds(np.zeros(10), task="regression", kind="time", by=by, random_state=1)


def test_a_block_that_learns_from_one_class_only_is_left_out():
    """Events begin in the second half of the time."""
    y = np.r_[np.zeros(320, dtype=int), np.tile([0, 1], 140)]
    folds = make_folds(y, task="binary", kind="time", by=np.arange(600), random_state=0)
    assert folds.n_folds >= 1
    assert all(len(np.unique(y[fit])) == 2 for fit, _ in folds.pairs)


@pytest.mark.parametrize("n_later", [1, 2, 15])
def test_there_is_a_block_where_nearly_all_rows_share_the_earliest_time(n_later):
    """Blocks start after the first moment: one exists as soon as two moments do."""
    by = np.array([2012] * 100 + list(range(2013, 2013 + n_later)))
    cv = make_folds(np.arange(len(by)), task="regression", kind="time", by=by, random_state=1)
    assert cv.n_folds == min(n_later, 3) and by[cv.pairs[0][0]].max() == 2012
    assert sum(len(score) for _, score in cv.pairs) == n_later
