"""Averages and how much the best of many gains by chance: chosen by some folds, scored by others."""

import numpy as np
import pytest

from tdsp.modeling.ensemble import MAX_MEMBERS, EnsembleSelection, blocks_of, greedy_weights
from tdsp.modeling.folds import Folds, make_folds
from tdsp.stats.metrics import METRICS

NAN = float("nan")


def squared(truth):
    """Return the mean squared error against this truth as a loss."""
    return lambda y_pred: float(((y_pred - truth) ** 2).mean())


def guesses(y, cv, n=20, seed=0):
    """Return candidates that know nothing, the baseline first."""
    rng = np.random.default_rng(seed)
    y_pred = {"dummy": [np.full(len(rows), 0.5) for _, rows in cv.pairs]}
    return y_pred | {f"guess {i}": [rng.uniform(size=len(rows)) for _, rows in cv.pairs] for i in range(n)}


def test_greedy_weights_average_errors_away():
    """The best errs one way and the third the other way: they are mixed, and of the second little is left."""
    truth, rng = np.sin(np.arange(500.0)), np.random.default_rng(0)
    y_pred = [truth + 0.3, truth + 0.31 + rng.normal(0, 0.1, 500), truth - 0.35]
    loss = squared(truth)
    weights = greedy_weights(loss, y_pred)
    assert weights[2] > 0.4 and loss(weights @ y_pred) < 0.01 < loss(y_pred[0])


def test_an_average_has_few_parts():
    """Twelve candidates with errors of their own would all help: the first few that help most are what it has."""
    truth, rng = np.zeros(4000), np.random.default_rng(0)
    y_pred = [rng.normal(0, 1 + k / 50, 4000) for k in range(12)]
    weights = greedy_weights(squared(truth), y_pred)
    assert (weights > 0).sum() == MAX_MEMBERS and weights.sum() == pytest.approx(1)
    best = squared(truth)(np.mean(y_pred[:MAX_MEMBERS], axis=0))
    assert squared(truth)(weights @ y_pred) < 1.05 * best


def test_what_no_fold_can_score_is_averaged_from_the_two_best():
    """Without a score there is no reason for other weights, and no end to wait for."""
    y_pred = [np.zeros(9), np.ones(9), np.ones(9)]
    assert greedy_weights(lambda _: NAN, y_pred).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("kind", ["random", "time"])
def test_a_single_fold_is_chosen_by_its_halves(kind):
    """Every other row by chance, before and after in time; guesses averaged so are worth nothing, and say so."""
    y = np.random.default_rng(1).integers(0, 2, 4000)
    (fit, score), n = (np.arange(2000), np.arange(2000, 4000)), 2000
    cv = Folds(kind, ((fit, score),), 4000, "one")
    halves = [b.rows for b in blocks_of(cv)]
    assert np.array_equal(np.sort(np.concatenate(halves)), score) and [len(h) for h in halves] == [n // 2, n // 2]
    assert (halves[0][-1] < halves[1][0]) == (kind == "time")
    selection = EnsembleSelection(y, cv, METRICS["roc_auc"], guesses(y, cv))
    names = [*selection.predictions][1:]
    (mixed,), auc = selection.mixed(names, keep=lambda w: w), METRICS["roc_auc"].function
    best = max(auc(y[score], selection.predictions[name][0]) for name in names)
    assert best > 0.515 and auc(y[score], mixed) < 0.512 and selection.selection_optimism(names) > 0.5 * (best - 0.5)


def test_a_fold_that_cannot_be_scored_does_not_hide_selection_optimism():
    """One fold of one class only: the others still tell that the best guess leads by chance."""
    y = np.r_[np.random.default_rng(2).integers(0, 2, 450), np.zeros(150, dtype=int)]
    cv = Folds("time", tuple((np.arange(100), np.arange(a, a + 100)) for a in (100, 200, 300, 500)), 600, "four")
    selection = EnsembleSelection(y, cv, METRICS["roc_auc"], guesses(y, cv))
    names = [*selection.predictions][1:]
    best = np.nanmax([np.nanmean(selection.gains[name]) for name in names])
    assert np.isnan(selection.gains[names[0]][-1]) and selection.selection_optimism(names) > 0.5 * best > 0.03
    assert all(np.isfinite(one).all() for one in selection.mixed(names, keep=lambda w: w))


def test_a_single_fold_of_groups_is_cut_between_them():
    """Rows of interleaved groups are scored in the order of their groups: at most one group is in both halves."""
    many = make_folds(np.tile([0, 1], 60_000), task="binary", kind="group", by=np.arange(120_000) % 700, random_state=0)
    one, two = (set(np.arange(120_000)[b.rows] % 700) for b in blocks_of(many))
    assert many.n_folds == 1 and len(one) > 50 and len(one & two) <= 1


def test_folds_that_share_rows_do_not_choose_for_one_another():
    """Of three rounds over few rows, only the folds of the same round choose."""
    y = np.tile([0.0, 1.0, 2.0], 40)
    cv = make_folds(y, task="regression", n_folds=5, random_state=0)
    selection = EnsembleSelection(y, cv, METRICS["rmse"], {"dummy": [np.ones(len(rows)) for _, rows in cv.pairs]})
    assert cv.n_folds == 15 and [len(selection.elsewhere(i)) for i in range(15)] == [4] * 15


def test_what_is_dropped_for_want_of_time_is_not_in_the_score():
    """`keep` leaves one part: the predictions of each fold are that part's alone."""
    y = np.random.default_rng(3).integers(0, 2, 300)
    cv = make_folds(y, task="binary", n_folds=3, random_state=0)
    selection = EnsembleSelection(y, cv, METRICS["roc_auc"], guesses(y, cv, n=4))
    names = [*selection.predictions][1:]
    alone = selection.mixed(names, keep=lambda _: {names[2]: 1.0})
    assert all(np.array_equal(a, b) for a, b in zip(alone, selection.predictions[names[2]], strict=True))
