"""Verdicts, intervals and ranges keep their promises in small simulations; `bench_honesty.py` has the full numbers."""

import numpy as np
import pytest

from tdsp.stats.metrics import METRICS
from tdsp.stats.sample_size import expected_half_width
from tests.benchmarks.honesty import coverage, groups_of, held_share, regression_tables, run_once

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]


@pytest.mark.slow
def test_tables_without_signal_are_not_accepted():
    """Eight tables of chance: more than two accepted would be a false alarm rate far above 5 %."""
    found = [run_once(seed, n=600, distance=0.0) for seed in range(8)]
    assert sum(one.accepted(0.5) for one in found) <= 2
    assert np.mean([one.truth for one in found]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
def test_models_well_above_the_limit_are_accepted():
    """Four standard errors above it, every gate included: five of six at least, and at ten below none."""
    found = [run_once(100 + seed, n=1500, distance=1.0) for seed in range(6)]
    error = expected_half_width(METRICS["roc_auc"], 300, guess=float(np.mean([one.truth for one in found]))) / 1.96
    assert sum(one.accepted(one.truth - 4 * error, ">=") for one in found) >= 5
    assert not any(one.accepted(one.truth + 10 * error, ">=") for one in found)


def test_intervals_cover_when_rows_of_a_group_are_alike():
    """60 simulations of 60 groups; what a true coverage of 95 % falls below once in 1,000 times."""
    hits, of = coverage(groups_of, "regression", "mae", 60)
    assert hits / of >= 0.85


def test_ranges_hold_about_what_they_promise():
    """Three splits of a small real table, by default LightGBM and its rows out of fold."""
    X, y = regression_tables(None)["diabetes"]
    assert 0.85 <= np.mean([held_share(X, y, seed, 0.9) for seed in range(3)]) <= 0.97
