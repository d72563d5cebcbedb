"""Estimates without labels, the parts of a drop and labels by hand, each where the truth is known."""

import numpy as np
import pandas as pd
import pytest

from tdsp.monitoring.decomposition import Losses, decompose
from tdsp.monitoring.estimates import (
    LabeledRows,
    backtest,
    bin_codes,
    bins_of,
    build_estimate,
    estimate_both,
    estimate_window,
    expected_score,
    rake,
    shares_toward,
)
from tdsp.monitoring.sampling import doubt_of, draw_rows, inclusion_probabilities, weighted_estimate
from tdsp.monitoring.windows import Window
from tdsp.stats.metrics import METRICS

BRIER, AUC = METRICS["brier"], METRICS["roc_auc"]


def cases(n: int, clear: np.ndarray | float, seed: int, flip: float = 0.0) -> LabeledRows:
    """Rows whose probabilities are right; `clear` says how far they lie from one half, `flip` breaks the relation."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(0, 1, n) * clear))
    y = (rng.random(n) < np.where(rng.random(n) < flip, 1 - p, p)).astype(int)
    return LabeledRows(np.searchsorted([0.1, 0.3, 0.7, 0.9], p)[:, None], p, y)


def test_a_shifted_mix_is_followed_by_both_estimates():
    """Rows that became clearer: the Brier score falls, and so do the estimates."""
    past, now = cases(4000, 1.0, 1), cases(1000, 4.0, 2)
    truth = BRIER.function(now.y_true, now.y_pred)
    cbpe, weighted, distance = estimate_both(BRIER, past, now, [5])
    assert BRIER.function(past.y_true, past.y_pred) - truth > 0.05
    assert cbpe == pytest.approx(truth, abs=0.02) and weighted == pytest.approx(truth, abs=0.02)
    assert distance > 0.1


def test_a_relation_that_changed_is_not_seen():
    """Half of the truth turned round: the score falls, the estimate stays where it was."""
    past, now = cases(4000, 2.0, 1), cases(1000, 2.0, 2, flip=0.5)
    cbpe, weighted, _ = estimate_both(AUC, past, now, [5])
    assert AUC.function(now.y_true, now.y_pred) < 0.6 < 0.8 < min(cbpe, weighted)


@pytest.mark.parametrize(("metric", "seed"), [("rmse", 1), ("mae", 2), ("r2", 3)])
def test_numbers_are_estimated_by_the_errors_of_rows_that_were_predicted_alike(metric: str, seed: int):
    """Errors grow with the prediction; a window of large ones is estimated within a tenth."""
    rng = np.random.default_rng(seed)
    y_pred = rng.uniform(1, 10, 5000)
    rows = LabeledRows(np.zeros((5000, 1), dtype=int), y_pred, y_pred + rng.normal(0, 0.2 * y_pred))
    late = np.flatnonzero(y_pred > 6)[:1500]
    truth = METRICS[metric].function(rows.y_true[late], rows.y_pred[late])
    found = expected_score(METRICS[metric], rows, np.ones(5000), rows.y_pred[late])
    assert found == pytest.approx(truth, rel=0.1)


def test_an_estimate_that_is_no_better_than_a_constant_is_refused():
    """Nothing changes in the past, so nothing can be estimated better than by its mean."""
    rows = cases(6000, 2.0, 4)
    windows = [Window(str(i), np.arange(i, i + 150)) for i in range(0, 6000, 150)]
    found = backtest(AUC, rows, windows, [5], ordered=True)
    assert found["method"] == "" and "constant" in found["reason"]
    few = backtest(AUC, rows, windows[:20], [5], ordered=True)
    assert few["method"] == "" and "are needed" in few["reason"]


def seasons(n: int, seed: int) -> LabeledRows:
    """Rows whose clearness changes slowly and much."""
    return cases(n, 1.5 + np.sin(np.arange(n) / 400), seed)


def test_the_band_of_the_past_holds_for_what_follows():
    """Windows after the past, of the same kind: the band covers at least nine in ten."""
    rows = seasons(16_000, 5)
    windows = [Window(str(i), np.arange(i, i + 200)) for i in range(0, 16_000, 200)]
    frame = pd.DataFrame({"x": np.log(rows.y_pred / (1 - rows.y_pred)), "probability": rows.y_pred})
    schema = {"task": "binary", "columns": [{"name": "x", "type": "float", "nullable": False}]}
    kept = build_estimate(
        frame[:8000], schema, rows.y_pred[:8000], rows.y_true[:8000], metric="brier", unit=np.arange(8000) // 200,
        tested=2000, windows={"200": windows[:40]}, ordered=True,
    )  # fmt: skip
    assert kept["sizes"]["200"]["method"]
    given, covered = 0, 0
    for one in windows[40:]:
        found = estimate_window(kept, "200", one.name, frame.iloc[one.rows], rows.y_pred[one.rows])
        given += not found["reason"]
        covered += found["low"] <= BRIER.function(rows.y_true[one.rows], rows.y_pred[one.rows]) <= found["high"]
    assert given >= 30 and covered >= 0.9 * given


def test_rows_that_the_past_has_not_seen_are_not_estimated():
    """All rows in a bin that was rare: the window lies too far."""
    rows = seasons(8000, 5)
    windows = [Window(str(i), np.arange(i, i + 200)) for i in range(0, 8000, 200)]
    frame = pd.DataFrame({"x": np.log(rows.y_pred / (1 - rows.y_pred)), "probability": rows.y_pred})
    schema = {"task": "binary", "columns": [{"name": "x", "type": "float", "nullable": False}]}
    kept = build_estimate(
        frame, schema, rows.y_pred, rows.y_true, metric="brier", unit=np.arange(8000) // 200, tested=2000,
        windows={"200": windows}, ordered=True,
    )  # fmt: skip
    high = frame.nlargest(200, "x")
    found = estimate_window(kept, "200", "high", high, high["probability"].to_numpy())
    assert np.isnan(found["value"]) and "further" in found["reason"]


def test_raked_weights_have_the_shares_of_the_window():
    """Two columns at once, gaps and unknown levels in bins of their own."""
    rng = np.random.default_rng(1)
    old = np.column_stack([rng.integers(0, 4, 3000), rng.integers(0, 3, 3000)])
    now = np.column_stack([rng.choice(4, 1000, p=[0.1, 0.2, 0.3, 0.4]), rng.choice(3, 1000, p=[0.6, 0.3, 0.1])])
    targets = shares_toward(now, old, [4, 3])
    weights = rake(old, targets)
    for column, target in zip(old.T, targets, strict=True):
        assert np.bincount(column, weights) / weights.sum() == pytest.approx(target, abs=1e-3)
    bins = bins_of(pd.Series(["a", "b", None, "a"]), "string")
    assert bin_codes(pd.Series(["b", None, "c"]), bins).tolist() == [3, 0, 1]


def losses(n: int, hard: float, seed: int, more: float = 0.0, fault: float = 0.0) -> Losses:
    """Rows of two kinds, the hard ones lose 0.4, the others 0.1, each `more`, and `fault` through a column."""
    rng = np.random.default_rng(seed)
    kind = rng.random(n) < hard
    right = np.where(kind, 0.4, 0.1) + more + rng.normal(0, 0.02, n)
    return Losses(kind[:, None].astype(int), right + fault, right, np.arange(n) // 20)


CAUSES = {
    "mix": ({"hard": 0.7}, (0.12, 0.0, 0.0)),
    "relation": ({"hard": 0.3, "more": 0.1}, (0.0, 0.1, 0.0)),
    "faulty columns": ({"hard": 0.3, "fault": 0.2}, (0.0, 0.0, 0.2)),
    "all three": ({"hard": 0.7, "more": 0.1, "fault": 0.2}, (0.12, 0.1, 0.2)),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_drop_is_divided_by_its_causes(cause: str):
    """Each part is near its truth and inside its interval; the parts sum to the whole exactly."""
    change, truth = CAUSES[cause]
    found = decompose(losses(2000, 0.3, 1), losses(1000, seed=2, **change), [2])
    assert found[0]["value"] + found[1]["value"] + found[2]["value"] == found[3]["value"]
    for part, expected in zip(found, truth, strict=False):
        assert part["value"] == pytest.approx(expected, abs=0.03)
        assert part["low"] - 0.02 <= expected <= part["high"] + 0.02


def test_weighted_labels_give_the_score_of_all_rows():
    """Over 300 draws of 100 rows the mean is the truth; the doubtful rows alone would be far from it."""
    rows = cases(5000, 3.0, 7)
    truth = BRIER.function(rows.y_true, rows.y_pred)
    doubt = doubt_of("binary", rows.y_pred)
    chances = inclusion_probabilities(doubt, 100)
    found, plain = [], []
    for seed in range(300):
        at = draw_rows(chances, rows.y_pred, seed)
        assert len(at) == 100
        found.append(BRIER.function(rows.y_true[at], rows.y_pred[at], 1 / chances[at]))
        plain.append(BRIER.function(rows.y_true[at], rows.y_pred[at]))
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - truth) < 3 * error and np.mean(plain) - truth > 10 * error


def test_the_interval_of_weighted_labels_holds_the_truth():
    """In at least nine of ten draws."""
    rows = cases(5000, 3.0, 7)
    truth = BRIER.function(rows.y_true, rows.y_pred)
    chances = inclusion_probabilities(doubt_of("binary", rows.y_pred), 150)
    inside = 0
    for seed in range(60):
        at = draw_rows(chances, rows.y_pred, seed)
        found = weighted_estimate(BRIER, rows.y_true[at], rows.y_pred[at], chances[at], n_resamples=200)
        inside += found.low <= truth <= found.high
    assert inside >= 54


def test_chances_are_never_above_one_and_sum_to_the_rows_wanted():
    """Very doubtful rows are certain; more rows than there are means all."""
    chances = inclusion_probabilities(np.array([100.0, *np.full(99, 0.001)]), 20)
    assert chances.max() == 1 and chances.sum() == pytest.approx(20) and chances.min() > 0.05
    assert inclusion_probabilities(np.ones(5), 20).tolist() == [1.0] * 5
