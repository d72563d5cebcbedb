"""Policies of retraining on a triangle of losses."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsp.monitoring.replay import (
    LossHistory,
    cheapest_by_cost,
    mean_by_days,
    policies_of,
    served_by_cost,
    served_in_hindsight,
    served_on_alarm,
    served_scheduled,
    trained_in,
)


def history(excess: np.ndarray) -> LossHistory:
    """Windows of ten days of ten rows; `excess[t, w]` is what model t loses in window w beyond 0.2."""
    n = len(excess)
    window = np.repeat(np.arange(n), 10)
    noise = np.random.default_rng(1).normal(0, 0.01, len(window))
    sums = np.where(window >= np.arange(n)[:, None], 10 * (0.2 + excess[:, window] + noise), np.nan)
    days = pd.date_range("2025-01-01", periods=len(window)).to_numpy()
    rows = np.full(len(window), 10.0)
    return LossHistory(tuple(map(str, range(n))), days, window, rows, sums, np.full(n, 0.2), np.arange(n), np.ones(n))


BROKEN = np.array([[0.3 * (w >= 3 and t < 4) for w in range(8)] for t in range(8)])


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10), st.floats(0, 2))
def test_hindsight_is_the_cheapest_of_all_walks(values: list[float], cost: float):
    """No sequence of trainings costs less than the one that dynamic programming finds."""
    totals = np.zeros((4, 4))
    totals[np.triu_indices(4)] = values

    def spent(served: np.ndarray) -> float:
        return float(totals[served, np.arange(4)].sum() + cost * len(trained_in(served)))

    walks = []
    for choice in itertools.product([False, True], repeat=3):
        served = np.maximum.accumulate(np.where([True, *choice], np.arange(4), 0))
        walks.append(spent(served))
    assert spent(served_in_hindsight(totals, cost)) == pytest.approx(min(walks))


def test_schedules_and_alarms_walk_through_the_triangle():
    """Each alarm makes the model of the window in which it is known, and that one is watched in turn."""
    assert served_scheduled(6, 6).tolist() == [0] * 6 and served_scheduled(6, 1).tolist() == list(range(6))
    assert served_on_alarm(6, {0: 2, 2: 5, 5: 6}.__getitem__).tolist() == [0, 0, 2, 2, 2, 5]


def test_by_cost_trains_once_after_a_break_and_not_where_it_is_too_dear():
    """The forecast needs to see the break, then a new model has nothing left to gain."""
    made = history(BROKEN)
    assert len(trained_in(served_by_cost(made, horizon=1, cost=1.0))) == 1
    assert not len(trained_in(served_by_cost(made, horizon=1, cost=1e6)))


def test_the_cost_at_which_never_is_cheapest_is_its_gain_over_its_trainings():
    """One training saves 0.3 of 400 rows: from a cost of about 120 rows on, never is cheapest."""
    made = history(BROKEN)
    outcomes, best = policies_of(made, lambda t: 4 if t < 4 else 8, every=3, cost=1.0, random_state=1)
    cheapest = cheapest_by_cost(outcomes, made.rows.sum())
    assert cheapest[-1][1] == "never" and cheapest[-1][0] == pytest.approx(120, abs=3)
    assert [at for at, _ in cheapest] == sorted(at for at, _ in cheapest)
    assert best.trained == ("4",) and outcomes[2].worth == pytest.approx(120, abs=3)


def test_that_windows_differ_is_no_dependence_between_days():
    """A break does not make blocks of days; days are resampled, and their mean lies in the interval."""
    made = history(BROKEN)
    found = mean_by_days(made, made.daily(np.zeros(8, dtype=int)), random_state=1)
    assert found.resampled == "days" and found.low < 0.2 + 0.3 * 5 / 8 < found.high
