"""Probabilities, decisions and ranges learned from rows out of fold."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tdsp.core.errors import ParameterError
from tdsp.evaluation.calibration import calibrate, scale_temperature, with_temperature_scaling
from tdsp.evaluation.decisions import choose_decision, cost_matrix, cost_table
from tdsp.evaluation.prediction_intervals import coverage_table, fit_prediction_intervals, plot_prediction_intervals
from tdsp.evaluation.score_drop import ScoredRows, drop_between
from tdsp.packaging.bundle import describe_pipeline
from tdsp.stats.metrics import METRICS
from tdsp.stats.resampling import make_units

NAMES = ("on time", "late")


def flights(n=4000, seed=0):
    """True chances of being late, and who was."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(1, 2, n)
    return chance, (rng.random(n) < chance).astype(int)


@given(st.floats(0.2, 5), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_temperature_scaling_keeps_the_order_and_can_be_undone(inverse_temperature, seed):
    """No row overtakes another, sums stay 1, and the inverse power gives the probabilities back."""
    chance = flights(50, seed)[0].clip(0.02, 0.98)
    bent = scale_temperature(chance, inverse_temperature)
    assert (np.diff(bent[np.argsort(chance)]) >= -1e-12).all()
    assert scale_temperature(bent, 1 / inverse_temperature) == pytest.approx(chance, abs=1e-6)
    three = np.random.default_rng(seed).dirichlet((1, 1, 1), 20)
    assert scale_temperature(three, inverse_temperature).sum(axis=1) == pytest.approx(1)


def test_probabilities_are_scaled_only_where_it_helps_beyond_noise():
    """Overconfidence of 600 rows is seen and undone; true probabilities are left alone in 19 of 20 samples or more."""
    chance, late = flights(600)
    found = calibrate(late, scale_temperature(chance, 2.5), make_units(600), random_state=1)
    assert found.inverse_temperature == pytest.approx(0.4, abs=0.1) and "too bold" in found.sentence
    changed = [
        calibrate(y, p, make_units(300), random_state=1).inverse_temperature != 1
        for p, y in (flights(300, s) for s in range(40))
    ]
    assert sum(changed) <= 3


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("model", [LogisticRegression(), LGBMClassifier(n_estimators=10, verbose=-1)])
def test_the_packaged_model_has_the_scaled_probabilities(model, n_classes):
    """Only scikit-learn classes are added; it pickles, and agrees with `scale_temperature` of the bare pipeline."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["wind", "hour"])
    y = np.digitize(X["wind"] + rng.normal(size=300), [0, 1][: n_classes - 1])
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    scaled = pickle.loads(pickle.dumps(with_temperature_scaling(pipeline, 0.6, X.head(90), y[:90])))
    assert scaled.predict_proba(X) == pytest.approx(scale_temperature(pipeline.predict_proba(X), 0.6), abs=1e-6)
    assert list(scaled.classes_) == list(range(n_classes))
    assert describe_pipeline(scaled)["algorithm"] == f"StandardScaler → {type(model).__name__}, probabilities scaled"


def test_a_gain_without_an_interval_says_so():
    """Five days are too few for an interval; the sentence names them, and no number that is none."""
    chance, late = flights(500)
    days = make_units(500, kind="time", by=pd.Series(np.arange(500) // 100))
    found = calibrate(late, chance, days, random_state=1)
    assert "no interval: 5" in found.sentence and "nan" not in found.sentence


def test_the_threshold_follows_the_costs():
    """A missed late flight at five times a false alarm puts the threshold near a sixth; without costs it is a half."""
    chance, late = flights(20_000)
    careful = choose_decision(late, chance, {"late as on time": 5.0, "on time as late": 1.0}, NAMES)
    assert careful.threshold == pytest.approx(1 / 6, abs=0.05)
    assert choose_decision(late, chance, {}, NAMES).threshold == 0.5
    table = cost_table(late, chance, careful, make_units(len(late)), random_state=1).set_index("rule")
    assert table.loc[["always on time", "always late", "most probable class"], "saved_low"].min() > 0


def test_a_decision_that_never_pays_is_never_taken():
    """Where a false alarm costs everything and a miss nothing, no row is predicted late."""
    chance, late = flights(500)
    never = choose_decision(late, chance, {"on time as late": 1.0}, NAMES)
    assert never.predict(np.ones(5)).sum() == 0


def test_with_three_classes_the_cheapest_class_is_predicted():
    """Expected costs decide, not the most probable class."""
    costs = {"c as a": 10.0, "a as c": 1.0, "a as b": 1.0, "b as a": 1.0, "b as c": 1.0, "c as b": 1.0}
    decision = choose_decision(np.array([0, 1, 2]), np.eye(3), costs, ("a", "b", "c"))
    assert decision.predict(np.array([[0.7, 0.1, 0.2]])).tolist() == [2] and decision.threshold is None


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"late as on-time": 1.0}, "Did you mean 'late as on time'"),
        ({"late as late": 1.0}, "is no mistake"),
        ({"late as on time": -1.0}, "is -1.0"),
    ],
)
def test_costs_of_what_is_no_mistake_are_refused(costs, message):
    """A wrong pair comes with the closest; no cost is below 0."""
    with pytest.raises(ParameterError, match=message):
        cost_matrix(costs, NAMES)


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_intervals_have_their_nominal_coverage(level):
    """Over 40 samples with errors that grow, the mean coverage is within 2 points of the level, also with 150 rows."""
    held = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y_pred = rng.uniform(0, 10, 2150)
        truth = y_pred + rng.standard_t(4, 2150) * (0.2 + 0.2 * y_pred)
        low, high = fit_prediction_intervals(truth[:150], y_pred[:150], level=level).bounds(y_pred[150:])
        held.append(np.mean((low <= truth[150:]) & (truth[150:] <= high)))
    assert np.mean(held) == pytest.approx(level, abs=0.02)


def test_ranges_are_wide_where_errors_are_large():
    """Five groups by the size of the prediction; by time the table has a row for each fifth of the days."""
    rng = np.random.default_rng(1)
    y_pred = rng.uniform(0, 10, 3000)
    truth = y_pred + rng.normal(size=3000) * (0.1 + y_pred)
    intervals = fit_prediction_intervals(truth, y_pred, level=0.9)
    assert len(intervals.low) == 5 and intervals.high[-1] - intervals.low[-1] > 5 * (
        intervals.high[0] - intervals.low[0]
    )
    days = make_units(3000, kind="time", by=np.arange(3000) // 30)
    table = coverage_table(truth, y_pred, intervals, days, random_state=1)
    assert list(table["part"]) == ["all", *(f"time {k}" for k in range(1, 6))] and table["rows"].iloc[1:].sum() == 3000
    assert (
        plot_prediction_intervals(truth, y_pred, intervals, target="delay", coverage=0.9).get_title().startswith("90")
    )


def test_a_level_that_is_no_share_is_refused():
    """90 is not 0.9."""
    with pytest.raises(ParameterError, match="range_level: 90 is no share"):
        fit_prediction_intervals(np.zeros(9), np.zeros(9), level=90)


def test_a_drop_is_seen_where_there_is_one_and_its_interval_covers_none_where_there_is_none():
    """Rows that were learned by heart on one side: the whole interval lies above 0."""
    chance, late = flights()
    half = make_units(2000)
    honest = drop_between(METRICS["roc_auc"], ScoredRows(late[:2000], chance[:2000], half),
                          ScoredRows(late[2000:], chance[2000:], half), n_resamples=300, random_state=1)  # fmt: skip
    by_heart = drop_between(METRICS["roc_auc"], ScoredRows(late[:2000], 0.8 * chance[:2000] + 0.2 * late[:2000], half),
                            ScoredRows(late[2000:], chance[2000:], half), n_resamples=300, random_state=1)  # fmt: skip
    assert honest.low < 0 < honest.high and by_heart.low > 0


def test_ranges_are_finite_where_predictions_tie_at_the_least():
    """A model whose predictions are cut off at zero, and one that always says the same."""
    rng = np.random.default_rng(0)
    y = rng.gamma(1.0, 2.0, 2000)
    for y_pred in (np.maximum(y - 3 + rng.normal(size=2000), 0), np.full(2000, 2.0)):
        found = fit_prediction_intervals(y, y_pred, level=0.9)
        assert np.isfinite([*found.low, *found.high]).all()
