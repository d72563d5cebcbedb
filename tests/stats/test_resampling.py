"""Estimates, gates, metrics and resampling: what a verdict rests on."""

import math
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk

from tdsp.core.errors import ParameterError
from tdsp.core.results import Gate
from tdsp.stats.gates import disproof_gate, exact_gate, gate, verdict_of
from tdsp.stats.metrics import METRICS, metrics_for, require_metric
from tdsp.stats.resampling import (
    Estimate,
    Units,
    bootstrap,
    degrees_of_freedom,
    estimate_of,
    make_units,
    paired_difference,
    resample_weights,
    share_estimate,
)
from tdsp.stats.sample_size import expected_half_width, rows_needed

NAN = float("nan")


def binary(n=400, seed=0, positives=0.3, signal=1.0):
    """Targets and probabilities with ties."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < positives).astype(int)
    return y, np.round(1 / (1 + np.exp(-signal * y - rng.normal(size=n))), 2)


def multiclass(n=300, k=4, seed=0):
    """Codes and probabilities of k classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    raw = rng.normal(size=(n, k))
    raw[np.arange(n), y] += 1
    return y, np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)


# gates


@pytest.mark.parametrize(
    ("rule", "low", "high", "answer"),
    [
        (">=", 0.62, 0.70, "go"),
        (">=", 0.50, 0.61, "no-go"),
        (">=", 0.61, 0.63, "insufficient evidence"),
        (">=", 0.50, 0.62, "insufficient evidence"),
        ("<=", 0.50, 0.62, "go"),
        ("<=", 0.63, 0.70, "no-go"),
        ("<=", 0.62, 0.70, "insufficient evidence"),
        ("<=", 0.61, 0.63, "insufficient evidence"),
        (">", 0.62, 0.70, "insufficient evidence"),
        (">", 0.63, 0.70, "go"),
        (">", 0.50, 0.62, "no-go"),
    ],
)
def test_a_gate_opens_only_when_the_whole_interval_keeps_the_rule(rule, low, high, answer):
    """The limit itself keeps >= and <= but not >; an interval across it decides nothing."""
    assert Gate("score", rule, (low + high) / 2, low, high, limit=0.62).answer == answer


@given(st.data())
@settings(max_examples=200)
def test_nothing_that_is_not_a_number_ever_opens_a_gate(data):
    """NaN or infinity as value or limit, NaN as a bound, or bounds upside down: insufficient evidence."""
    odd = st.sampled_from([NAN, math.inf, -math.inf])
    fields = {"value": 0.7, "low": 0.65, "high": 0.75, "limit": 0.6}
    name = data.draw(st.sampled_from(["value", "limit", "low", "high"]))
    fields[name] = data.draw(odd) if name in ("value", "limit") else NAN
    assert Gate("score", data.draw(st.sampled_from([">=", "<="])), **fields).answer == "insufficient evidence"
    assert Gate("score", ">=", 0.7, 0.9, 0.8, 0.6).answer == "insufficient evidence"


def test_a_gate_refuses_another_rule():
    """Only >=, > and <= have a meaning."""
    with pytest.raises(ParameterError, match="Use '>=', '>' or '<='"):
        Gate("score", "<", 1, 1, 1, 0)


@pytest.mark.parametrize(
    ("estimate", "why"),
    [
        (Estimate(0.9, 0.8, 0.95, n=9, resampled="days"), "9 days are too few"),
        (Estimate(1.0, 1.0, 1.0, n=50, resampled="rows"), "same value"),
        (Estimate(0.9, NAN, NAN, n=50, resampled="rows"), "too few could be scored"),
        (Estimate(NAN, NAN, NAN, n=50, resampled="rows"), "could not be computed"),
    ],
)
def test_an_interval_that_cannot_be_trusted_decides_nothing_and_says_why(estimate, why):
    """Few units, no spread, no interval, no value: each has its own sentence."""
    found = gate("score", estimate, 0.1)
    assert found.answer == "insufficient evidence"
    assert why in found.note


def test_a_count_needs_no_interval():
    """Sizes and counts are compared as they are; the limit is kept when equal."""
    assert [exact_gate("size", v, limit=50).answer for v in (50, 51, NAN)] == ["go", "no-go", "insufficient evidence"]


def test_the_verdict_is_the_worst_that_is_sure():
    """One no-go rejects, one open question leaves open, no gate accepts nothing."""
    go, stop, unsure = (exact_gate("x", v, limit=1) for v in (0, 2, NAN))
    found = [verdict_of(g) for g in ([], [go], [go, unsure], [go, unsure, stop])]
    assert found == ["insufficient evidence", "accepted", "insufficient evidence", "rejected"]


# metrics


@pytest.mark.parametrize("name", metrics_for("binary"))
def test_binary_metrics_agree_with_scikit_learn_also_with_weights_and_ties(name):
    """Same value as the reference, on predictions with many ties and unequal weights."""
    y, p = binary()
    w = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    label = {"balanced_accuracy", "accuracy"}
    reference = {
        "roc_auc": sk.roc_auc_score,
        "average_precision": sk.average_precision_score,
        "log_loss": sk.log_loss,
        "brier": sk.brier_score_loss,
        "balanced_accuracy": sk.balanced_accuracy_score,
        "accuracy": sk.accuracy_score,
    }[name]
    expected = reference(y, p >= 0.5 if name in label else p, sample_weight=w)
    assert METRICS[name].function(y, p, w) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", metrics_for("multiclass"))
def test_multiclass_metrics_agree_with_scikit_learn(name):
    """Same value as the reference, with weights."""
    y, p = multiclass()
    w = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    expected = {
        "roc_auc_ovr": lambda: sk.roc_auc_score(y, p, multi_class="ovr", sample_weight=w),
        "log_loss": lambda: sk.log_loss(y, p, sample_weight=w),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(y, p.argmax(1), sample_weight=w),
        "accuracy": lambda: sk.accuracy_score(y, p.argmax(1), sample_weight=w),
    }[name]()
    assert METRICS[name].function(y, p, w) == pytest.approx(expected, abs=1e-12)


def test_regression_metrics_agree_with_scikit_learn():
    """R², RMSE and MAE with weights, on a target far from zero."""
    rng = np.random.default_rng(0)
    y, w = 1e6 + rng.normal(size=200), rng.random(200)
    p = y + rng.normal(size=200)
    expected = {
        "r2": sk.r2_score(y, p, sample_weight=w),
        "rmse": sk.root_mean_squared_error(y, p, sample_weight=w),
        "mae": sk.mean_absolute_error(y, p, sample_weight=w),
    }
    assert {name: METRICS[name].function(y, p, w) for name in expected} == pytest.approx(expected, rel=1e-6)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_score_ignores_the_order_of_rows(seed):
    """Shuffling rows and predictions together changes nothing."""
    order = np.random.default_rng(seed).permutation(300)
    for names, (y, p) in ((metrics_for("binary"), binary(300, seed)), (metrics_for("multiclass"), multiclass(300))):
        for name in names:
            m = METRICS[name]
            assert m.function(y[order], p[order]) == pytest.approx(m.function(y, p), abs=1e-12)


@pytest.mark.parametrize("name", metrics_for("binary"))
def test_a_metric_of_broken_predictions_is_nan(name):
    """A NaN or an infinity among the predictions, or no rows at all, cannot give a number."""
    y, p = binary(50)
    for broken in (np.where(np.arange(50) == 3, NAN, p), np.where(np.arange(50) == 3, math.inf, p)):
        assert math.isnan(METRICS[name].function(y, broken))
    assert math.isnan(METRICS[name].function([], []))


def test_a_metric_that_does_not_exist_for_the_data_is_nan():
    """ROC-AUC of one class, R² of a constant target."""
    assert math.isnan(METRICS["roc_auc"].function([1, 1, 1], [0.1, 0.2, 0.3]))
    assert math.isnan(METRICS["r2"].function([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]))


def test_guessing_scores_what_no_skill_says():
    """The best constant prediction reaches `no_skill` in every metric where a constant is a prediction."""
    y, _ = binary(500)
    constant = np.full(500, y.mean())
    for name in ("roc_auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy"):
        assert METRICS[name].function(y, constant) == pytest.approx(METRICS[name].no_skill(y))
    y = np.random.default_rng(0).exponential(size=500)
    for name, value in {"r2": y.mean(), "rmse": y.mean(), "mae": np.median(y)}.items():
        assert METRICS[name].function(y, np.full(500, value)) == pytest.approx(METRICS[name].no_skill(y), abs=1e-12)


def test_a_metric_that_does_not_fit_names_those_that_do():
    """The message lists the metrics of the task, and the closest name for a typing error."""
    with pytest.raises(ParameterError, match=r"does not fit a regression task.*r2, rmse, mae"):
        require_metric("roc_auc", "regression")
    with pytest.raises(ParameterError, match="Did you mean 'log_loss'"):
        require_metric("logloss", "binary")
    with pytest.raises(ParameterError, match="task 'ranking' is unknown"):
        require_metric("auto", "ranking")
    defaults = [require_metric("auto", task).name for task in ("binary", "multiclass", "regression")]
    assert defaults == ["roc_auc", "log_loss", "r2"]


# resampling


def test_units_are_drawn_whole():
    """Rows of a group share one weight, and each resample draws as many groups as there are."""
    groups = make_units(6, kind="group", by=["b", "a", "b", None, "c", "a"])
    assert (groups.n, groups.name) == (4, "groups")
    for w in resample_weights(groups, 20, 0):
        assert w[0] == w[2] and w[1] == w[5]
        assert w[0] + w[1] + w[3] + w[4] == 4


def test_times_are_cut_to_days():
    """A split by time resamples days; numbers are taken as they are."""
    times = np.array(["2013-12-24T07:00", "2013-12-24T23:59", "2013-12-25T00:00"], dtype="datetime64[m]")
    assert list(make_units(3, kind="time", by=times).row_labels()) == ["2013-12-24", "2013-12-24", "2013-12-25"]
    assert make_units(3, kind="time", by=[2013, 2014, 2014]).n == 2


def test_days_follow_the_clock_of_their_zone():
    """Times with a zone are cut at its midnight; numbers written as text sort as numbers."""
    late = pd.Series(pd.to_datetime(["2013-12-24 23:30", "2013-12-25 00:30"])).dt.tz_localize("America/New_York")
    assert list(make_units(2, kind="time", by=late).labels) == ["2013-12-24", "2013-12-25"]
    assert list(make_units(3, kind="time", by=["9", "10", "9"]).labels) == [9, 10]
    assert list(make_units(4, kind="group", by=["b", None, 3, "b"]).codes) == [1, 2, 0, 1]


def _spells(rng, days=400, memory=0.6):
    """One error a day around 2, alike from day to day."""
    error = rng.normal(size=days)
    for day in range(1, days):
        error[day] = memory * error[day - 1] + math.sqrt(1 - memory**2) * error[day]
    return np.zeros(days), 2 + 0.5 * error, make_units(days, kind="time", by=np.arange(days))


def test_days_that_are_alike_are_joined_into_blocks():
    """Independent days stay days; with a correlation of 0.6 blocks are drawn, named, and cover the truth."""
    for seed in range(10):
        y, p, days = _spells(np.random.default_rng(seed), memory=0.0)
        assert bootstrap(METRICS["mae"], y, p, units=days, n_resamples=2).resampled == "days"
    y, p, days = _spells(np.random.default_rng(0))
    found = bootstrap(METRICS["mae"], y, p, units=days)
    assert found.resampled.startswith("blocks of ") and found.n < 100
    assert _coverage(_spells, "mae", 2.0, 100) >= 0.87
    assert paired_difference(METRICS["mae"], y, p + 0.1, p, units=days).n <= 400


def test_a_seed_gives_one_interval_whatever_the_order_of_groups():
    """The same seed gives the same bytes; with units, the order of rows does not matter."""
    y, p = binary(300)
    groups = np.repeat(np.arange(30), 10)
    order = np.random.default_rng(3).permutation(300)
    one = bootstrap(METRICS["roc_auc"], y, p, units=groups, random_state=5)
    two = bootstrap(METRICS["roc_auc"], y[order], p[order], units=groups[order], random_state=5)
    assert one == bootstrap(METRICS["roc_auc"], y, p, units=groups, random_state=5)
    assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high), abs=1e-12)


def test_resamples_without_a_class_are_left_out_and_too_many_leave_no_interval():
    """Two positives: 14 % of the resamples lack both, so there is no interval; with eight there is one."""
    y = np.zeros(200, dtype=int)
    y[:2] = 1
    p = np.linspace(1, 0, 200)
    assert math.isnan(bootstrap(METRICS["roc_auc"], y, np.roll(p, 30)).low)
    y[:8] = 1
    assert not math.isnan(bootstrap(METRICS["roc_auc"], y, np.roll(p, 30)).low)


def test_one_unit_or_no_row_has_no_interval():
    """Nothing to resample: the value has no interval, or is NaN."""
    y, p = binary(50)
    alone = bootstrap(METRICS["log_loss"], y, p, units=np.zeros(50))
    assert math.isnan(alone.low) and alone.n == 1 and not math.isnan(alone.value)
    assert math.isnan(bootstrap(METRICS["log_loss"], [], []).value)


def test_few_units_or_no_spread_give_no_interval():
    """Nine days, or a constant score: a value without bounds."""
    y, p = binary(90)
    for predicted, units in ((p, np.arange(90) % 9), (np.full(90, 0.3), None)):
        found = bootstrap(METRICS["roc_auc"], y, predicted, units=units)
        assert not math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.high)


def test_a_flawless_ranking_has_the_exact_bound_of_its_disjoint_pairs():
    """30 pairs of 30 right: Clopper and Pearson's bound; whole groups give fewer pairs."""
    y = np.repeat([0, 1], [70, 30])
    rows = bootstrap(METRICS["roc_auc"], y, y / 2)
    groups = bootstrap(METRICS["roc_auc"], y, y / 2, units=np.arange(100) % 20)
    assert (rows.value, rows.high) == (1, 1) and rows.low == pytest.approx(0.025 ** (1 / 30))
    assert groups.low == pytest.approx(0.025 ** (1 / 10))  # 20 groups hold ten disjoint pairs


@pytest.mark.parametrize(("hits", "n"), [(0, 14), (14, 14), (3, 40)])
def test_a_share_of_rows_has_clopper_and_pearsons_interval(hits, n):
    """Also where no row or every row hits; fewer than ten rows have none."""
    found = share_estimate(np.arange(n) < hits, make_units(n))
    theirs = binomtest(hits, n).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert math.isnan(share_estimate(np.ones(9), make_units(9)).low)


def test_a_fault_that_no_row_could_have_shown_is_not_testable():
    """A loss of the whole gain would not have been proven: never go; a proven one is no-go all the same."""
    wide = disproof_gate("lost", Estimate(0.1, -0.9, 1.1, 30, "rows"), 0.5, worst=1.0)
    sure = disproof_gate("lost", Estimate(0.1, 0.0, 0.2, 300, "rows"), 0.5, worst=1.0)
    broken = disproof_gate("lost", Estimate(0.8, 0.6, 1.0, 300, "rows"), 0.5, worst=1.0)
    assert [g.answer for g in (wide, sure, broken)] == ["not testable", "go", "no-go"]
    assert sure.detectable == pytest.approx(0.6) and "0.6 or more would have been proven" in sure.power_text
    assert verdict_of([sure, wide]) == "accepted" and verdict_of([wide]) == "insufficient evidence"


def test_nothing_is_accepted_while_threshold_or_question_is_open():
    """All gates go, and no threshold is stated."""
    go = exact_gate("size", 1, 2)
    assert verdict_of([go]) == "accepted" and verdict_of([go], ("no_threshold",)) == "insufficient evidence"
    assert verdict_of([exact_gate("size", 3, 2)], ("no_threshold",)) == "rejected"


def test_no_mistake_on_few_rows_is_not_proof_of_perfection():
    """36 of 36 right: the exact bound of Clopper and Pearson; balanced accuracy falls with the smallest class."""
    y = np.repeat([0, 1, 2], [12, 14, 10])
    p = np.eye(3)[y]
    accuracy, balanced = (bootstrap(METRICS[name], y, p) for name in ("accuracy", "balanced_accuracy"))
    assert (accuracy.value, accuracy.high) == (1, 1)
    assert accuracy.low == pytest.approx(0.025 ** (1 / 36))
    assert 0.85 < balanced.low < accuracy.low + 0.01
    assert gate("accuracy", accuracy, 0.9).answer == "go"


def test_the_rare_class_decides_how_few_facts_there_are():
    """Nine positives count as about nine for ROC-AUC, and as all rows for log loss."""
    y = np.repeat([1, 0], [9, 300])
    assert 7 < degrees_of_freedom(METRICS["roc_auc"], y, make_units(309)) < 10
    assert degrees_of_freedom(METRICS["log_loss"], y, make_units(309)) == 308


def test_a_difference_is_positive_when_the_first_is_better():
    """In both directions of metrics, and its interval is narrower than that of either score."""
    y, p = binary(500)
    blurred = 0.5 + 0.3 * (p - 0.5) + np.random.default_rng(0).normal(scale=0.05, size=500)
    for name in ("roc_auc", "log_loss"):
        gain = paired_difference(METRICS[name], y, p, np.clip(blurred, 0.01, 0.99))
        assert gain.value == pytest.approx(-paired_difference(METRICS[name], y, np.clip(blurred, 0.01, 0.99), p).value)
    alike = paired_difference(METRICS["roc_auc"], y, p, p)
    assert alike.value == 0 and math.isnan(alike.low)


def test_a_thousand_resamples_of_the_flights_take_seconds():
    """67,336 rows in under two seconds of processor time, by rows and by days."""
    y, p = binary(67_336, positives=0.23)
    days = Units(75, "days", np.arange(67_336) % 75)
    for units in (None, days):
        began = time.process_time()
        bootstrap(METRICS["roc_auc"], y, p, units=units)
        assert time.process_time() - began < 2


# honesty, by simulation with fixed seeds: each bound is what a true coverage of 95 % meets 999 times in 1,000


def _coverage(make, metric, truth, simulations):
    hits = 0
    for i in range(simulations):
        y, p, units = make(np.random.default_rng(i))
        found = bootstrap(METRICS[metric], y, p, units=units, n_resamples=300, random_state=i)
        hits += found.low <= truth <= found.high
    return hits / simulations


def _separated(rng, n=150):
    y = (rng.random(n) < 0.4).astype(int)
    return y, 1 / (1 + np.exp(-rng.normal(size=n) - y)), None


def _clustered(rng, groups=20, rows=20):
    unit = np.repeat(np.arange(groups), rows)
    y = rng.normal(size=groups)[unit] + rng.normal(size=groups * rows)
    return y, np.zeros(groups * rows) + 0.5, unit


def test_intervals_of_roc_auc_cover_the_truth():
    """Two normal classes one standard deviation apart: the truth is Phi(1 / sqrt 2)."""
    assert 0.90 <= _coverage(_separated, "roc_auc", 0.760250, 200) <= 0.99


def test_intervals_cover_when_rows_of_a_group_are_alike():
    """20 groups of 20 rows, half of the variance between groups; rows as units would cover half as often."""
    truth = float(np.sqrt(2 + 0.25))
    assert 0.90 <= _coverage(_clustered, "rmse", truth, 200) <= 0.99
    assert _coverage(lambda rng: (*_clustered(rng)[:2], None), "rmse", truth, 100) < 0.75


def test_a_gate_seldom_opens_where_there_is_no_signal():
    """At the edge of the rule (ROC-AUC 0.5, limit 0.5) at most 2.5 % of the runs may pass: 12 of 200 are too many."""
    passed = 0
    for i in range(200):
        rng = np.random.default_rng(i)
        y, p = rng.integers(0, 2, 120), rng.random(120)
        found = bootstrap(METRICS["roc_auc"], y, p, n_resamples=300, random_state=i)
        passed += gate("signal", found, 0.5).answer == "go"
    assert passed < 12


def test_a_gate_opens_where_the_truth_is_four_standard_errors_above():
    """ROC-AUC 0.76 with 250 rows against a limit of 0.64: nine of ten pass."""
    passed = 0
    for i in range(100):
        y, p, _ = _separated(np.random.default_rng(i), n=250)
        found = bootstrap(METRICS["roc_auc"], y, p, n_resamples=300, random_state=i)
        passed += gate("signal", found, 0.64).answer == "go"
    assert passed >= 90


# power


@pytest.mark.parametrize(
    ("metric", "make", "assumed"),
    [
        ("roc_auc", lambda: binary(3000), {"guess": 0.76, "share": 0.3}),
        ("accuracy", lambda: multiclass(3000), {"guess": 0.55, "classes": 4}),
        ("balanced_accuracy", lambda: multiclass(3000), {"guess": 0.55, "classes": 4, "share": 0.25}),
        ("roc_auc_ovr", lambda: multiclass(3000), {"guess": 0.76, "classes": 4, "share": 0.25}),
    ],
)
def test_the_expected_width_is_near_the_one_measured(metric, make, assumed):
    """Within 30 % of the bootstrap's width on data like the guess."""
    y, p = make()
    found = bootstrap(METRICS[metric], y, p, n_resamples=500)
    assert expected_half_width(METRICS[metric], 3000, **assumed) == pytest.approx(found.half_width, rel=0.3)


def test_the_expected_width_of_r2_and_rmse_is_near_the_one_measured():
    """Normal errors, R² of 0.5."""
    rng = np.random.default_rng(0)
    p = rng.normal(size=3000)
    y = p + rng.normal(size=3000)
    for name, guess in {"r2": 0.5, "rmse": 1.0, "mae": 0.8}.items():
        found = bootstrap(METRICS[name], y, p, n_resamples=500)
        assert expected_half_width(METRICS[name], 3000, guess=guess) == pytest.approx(found.half_width, rel=0.3)


@pytest.mark.parametrize("name", list(METRICS))
def test_rows_needed_is_the_smallest_number_that_does(name):
    """One row fewer is not enough; and an impossible precision needs no number."""
    m = METRICS[name]
    assumed = {"guess": 0.4 if m.higher_is_better else 0.2, "share": 0.3, "classes": 3}
    n = rows_needed(m, 0.05, **assumed)
    assert expected_half_width(m, n, **assumed) <= 0.05 < expected_half_width(m, n - 1, **assumed)
    assert rows_needed(m, 0.0, **assumed) == 0


@pytest.mark.parametrize("guess", [-5.0, 0.0, 1.0, 7.0])
@pytest.mark.parametrize("name", list(METRICS))
def test_any_guess_has_a_width(name, guess):
    """Guesses at or beyond the ends of a metric are brought inside; they never crash the first stage."""
    width = expected_half_width(METRICS[name], 200, guess=guess, share=0.2, classes=3)
    assert width >= 0 and math.isfinite(width)


def test_rows_that_repeat_one_another_count_less():
    """A design effect of 4 makes 400 rows worth 100."""
    one, four = (
        expected_half_width(METRICS["accuracy"], n, guess=0.8, design_effect=d) for n, d in ((100, 1.0), (400, 4.0))
    )
    assert one == four
    assert expected_half_width(METRICS["accuracy"], 20, guess=0.8, design_effect=4.0) == math.inf


def test_an_estimate_keeps_within_the_bounds_it_is_given():
    """A share cannot be above one, whatever the resamples say."""
    found = estimate_of(np.linspace(0.9, 1.3, 400), make_units(60), bounds=(0.0, 1.0))
    assert found.high == 1.0
