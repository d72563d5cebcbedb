"""The test set: scores, tables and pictures."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from tdsp.core.errors import StageError
from tdsp.evaluation.score_plots import (
    plot_calibration,
    plot_candidates,
    plot_errors,
    plot_metric_over_time,
)
from tdsp.evaluation.scores import (
    calibration_table,
    comparison_table,
    confusion_table,
    lift_table,
    metric_over_time,
    metrics_table,
    predictions_table,
    residual_table,
    rungs,
    score_sentence,
    score_test,
    short_metrics,
)
from tdsp.stats.metrics import METRICS, metrics_for
from tdsp.stats.plotting import description_of, themed_svg
from tdsp.stats.resampling import bootstrap, make_units, paired_difference

NAN = float("nan")
CLASSES = {"binary": ("on time", "<b>late</b>"), "multiclass": ("a", "b", "$c$"), "regression": ()}
MAIN = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "r2"}


def test_each_metric_has_digits_of_its_own():
    """An R² beside an error in hundreds keeps its decimals and its interval."""
    rows = [("R²", 0.502, 0.441, 0.577, "higher", 0.0), ("RMSE", 1234.5, 1100.2, 1399.9, "lower", 1800.0)]
    table = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "better", "no_skill"])
    assert short_metrics(table)["value"].tolist() == ["0.50 (0.44 to 0.58)", "1,234 (1,100 to 1,400)"]


def predicted_and_true(task, n=400, seed=0):
    """A calibrated model, a worse one and a constant, with their truth."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        x = rng.normal(10, 3, n)
        return x + rng.normal(size=n), {"winner": x, "runner_up": x + 1, "baseline": np.full(n, 10.0)}
    if task == "binary":
        p = rng.beta(1, 2, n)
        y = (rng.random(n) < p).astype(int)
        return y, {
            "winner": p,
            "runner_up": np.clip(p + rng.normal(scale=0.2, size=n), 0.01, 0.99),
            "baseline": p * 0 + 0.3,
        }
    p = rng.dirichlet((0.5, 0.5, 0.5), n)
    y = np.array([rng.choice(3, p=row) for row in p])
    return y, {"winner": p, "baseline": np.full((n, 3), 1 / 3)}


def scores_of(task, *, by=None, **changes):
    """Return the scores on such a test set."""
    y, y_pred = predicted_and_true(task)
    units = make_units(len(y), kind="random" if by is None else "group", by=by)
    options = {"n_resamples": 200, "random_state": 1, "target": "arrival delay", "classes": CLASSES[task]} | changes
    return score_test(y, y_pred, task=task, metric=METRICS[MAIN[task]], units=units, **options)


@pytest.mark.parametrize("task", list(CLASSES))
def test_the_one_pass_gives_what_single_calls_give(task):
    """Every estimate and difference equals `bootstrap` and `paired_difference` with the same seed."""
    found, (y, y_pred) = scores_of(task), predicted_and_true(task)
    assert list(found.estimates) == list(dict.fromkeys((MAIN[task], *metrics_for(task))))
    for name, estimate in found.estimates.items():
        assert estimate == bootstrap(METRICS[name], y, y_pred["winner"], n_resamples=200, random_state=1)
    metric = METRICS[MAIN[task]]
    alone = paired_difference(metric, y, y_pred["winner"], y_pred["baseline"], n_resamples=200, random_state=1)
    assert found.gain_over["baseline"] == alone and alone.value > 0


def test_units_reach_every_interval():
    """Resampling 20 groups is recorded, and is the same for every metric."""
    found = scores_of("binary", by=np.arange(400) % 20)
    assert {(e.n, e.resampled) for e in (*found.estimates.values(), *found.gain_over.values())} == {(20, "groups")}


def test_a_run_without_a_runner_up_is_complete():
    """When nothing beats the baseline there are two roles or one; nothing else is missing."""
    y, y_pred = predicted_and_true("binary")
    only = {"winner": y_pred["baseline"], "baseline": y_pred["baseline"]}
    found = score_test(y, only, task="binary", metric=METRICS["roc_auc"], units=make_units(400), random_state=1)
    assert list(found.roles) == ["winner", "baseline"]
    assert found.gain_over["baseline"].value == 0 and np.isnan(found.gain_over["baseline"].low)
    assert "the baseline scores the same" in score_sentence(found)


@pytest.mark.parametrize(
    ("y_pred", "message"),
    [
        ({}, "it got none"),
        ({"baseline": np.zeros(400)}, "it got baseline"),
        ({"winner": np.zeros(3)}, "3 predictions for 400"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(y_pred, message):
    """No winner, or another number of rows: an error before anything is computed."""
    y, _ = predicted_and_true("binary")
    with pytest.raises(StageError, match=message):
        score_test(y, y_pred, task="binary", metric=METRICS["roc_auc"], units=make_units(400), random_state=1)


@pytest.mark.parametrize("task", list(CLASSES))
def test_tables_of_a_look_hold_every_model_and_metric(task):
    """All metrics with their no-skill score, all roles with their distance, all predictions by row."""
    found = scores_of(task)
    assert len(metrics_table(found)) == len(metrics_for(task))
    assert comparison_table(found)["role"].iloc[0] == "this model"
    kept = predictions_table(found, np.arange(400))
    assert kept.columns[:3].tolist() == ["row_id", "y_true", "unit"] and len(kept) == 400
    assert ("winner_$c$" in kept) == (task == "multiclass")
    assert [r.kind for r in rungs(found, 0.5)][-1] == "limit"


def test_the_sentence_names_what_was_resampled():
    """A manager reads the score, its interval, what was resampled and the distance to the baseline."""
    y_pred = score_sentence(scores_of("binary", by=np.arange(400) % 20))
    assert "ROC-AUC is 0." in y_pred and "resampling 20 groups" in y_pred and "beyond noise" in y_pred


def test_a_score_without_an_interval_is_reported_without_one():
    """One unit cannot be resampled: the sentence gives the value alone."""
    assert "interval" not in score_sentence(scores_of("regression", by=np.zeros(400)))


# where it is wrong


@pytest.mark.parametrize("task", list(CLASSES))
def test_a_calibrated_model_is_seen_as_one(task):
    """Nearly every bin's interval holds the diagonal, and the bins hold all rows once."""
    table = calibration_table(scores_of(task))
    assert table["rows"].sum() == 400 and 8 <= len(table) <= 10
    covered = (table["low"] <= table["predicted"]) & (table["predicted"] <= table["high"])
    assert covered.sum() >= 7


def test_a_constant_prediction_has_one_bin():
    """Equal predictions share a bin; none is empty."""
    y, y_pred = predicted_and_true("binary")
    found = score_test(
        y,
        {"winner": y_pred["baseline"]},
        task="binary",
        metric=METRICS["roc_auc"],
        units=make_units(400),
        random_state=1,
    )
    assert calibration_table(found)["rows"].tolist() == [400]
    assert lift_table(found)["lift"].to_numpy() == pytest.approx(1)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_lift_ignores_the_order_of_rows(seed):
    """Ties are shared evenly, so shuffling rows changes nothing; all positives are found at the end."""
    y, y_pred = predicted_and_true("binary", seed=seed)
    p, order = y_pred["winner"].round(1), np.random.default_rng(seed).permutation(400)
    one, two = (
        lift_table(
            score_test(
                a,
                {"winner": b},
                task="binary",
                metric=METRICS["roc_auc"],
                units=make_units(400),
                n_resamples=2,
                random_state=1,
            )
        )
        for a, b in ((y, p), (y[order], p[order]))
    )
    pd.testing.assert_frame_equal(one, two)
    assert one["positives_found"].is_monotonic_increasing and one["positives_found"].iloc[-1] == 1


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_confusion_agrees_with_scikit_learn(task):
    """Same counts, names of the classes on both sides."""
    found = scores_of(task)
    y_pred = found.predictions["winner"]
    answer = y_pred >= 0.5 if task == "binary" else y_pred.argmax(axis=1)
    table = confusion_table(found)
    assert np.array_equal(table.to_numpy(), confusion_matrix(found.y_true, answer))
    assert tuple(table.index) == tuple(table.columns) == CLASSES[task]


def test_residuals_show_a_bias():
    """A model that says one too much has a median error near minus one in every bin."""
    y, y_pred = predicted_and_true("regression", n=4000)
    found = score_test(
        y,
        {"winner": y_pred["runner_up"]},
        task="regression",
        metric=METRICS["r2"],
        units=make_units(4000),
        n_resamples=2,
        random_state=1,
    )
    assert residual_table(found)["error_50%"].between(-1.3, -0.7).all()


def test_periods_are_as_fine_as_thirty_allow():
    """Ten days give days, three months weeks, two years months; rows are all counted."""
    found = scores_of("binary")
    for span, length in ((10, "day"), (90, "week"), (700, "month"), (2500, "quarter"), (9000, "year")):
        times = pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(np.linspace(0, span, 400), unit="D")
        table = metric_over_time(found, times, n_resamples=5)
        assert (table["length"].iloc[0], table["rows"].sum()) == (length, 400)
    assert len(metric_over_time(found, np.arange(400), n_resamples=5)) == 10


def test_a_period_that_cannot_be_scored_is_left_open():
    """A week without positives has no ROC-AUC: NaN in the table, and the picture is drawn from the rest."""
    found = scores_of("binary")
    times = pd.Timestamp("2013-01-01") + pd.to_timedelta(np.where(found.y_true == 1, 0, np.arange(400) % 20), unit="D")
    table = metric_over_time(found, times, n_resamples=5)
    assert table["value"].isna().any() and table["value"].notna().any()
    assert "by day" in plot_metric_over_time(found, times).get_title()


# pictures


def pictures(task):
    """Every picture of a task."""
    found = scores_of(task)
    board = pd.DataFrame(
        {"candidate": ["a" * 60, "dummy", "broken"], "mean": [0.7, 0.5, NAN], "standard_error": [0.1, NAN, NAN]}
    )
    times = pd.Timestamp("2013-10-19") + pd.to_timedelta(np.arange(400) // 6, unit="D")
    return {
        "candidates": plot_candidates(board, found.metric, winner="a" * 60, limit=0.6),
        "calibration": plot_calibration(found),
        "errors": plot_errors(found),
        "time": plot_metric_over_time(found, times, limit=0.6),
        "parts": plot_metric_over_time(found, np.arange(400)),
    }


@pytest.mark.parametrize("task", list(CLASSES))
def test_every_picture_says_what_it_shows(task):
    """A title of at most 44 characters, labels on the axes, alt text of its own, data, and hostile names escaped."""
    for name, ax in pictures(task).items():
        about = description_of(ax)
        assert len(ax.get_title()) <= 44, (name, ax.get_title())
        assert ax.get_xlabel() and (ax.get_ylabel() or name == "candidates"), name
        assert 30 < len(about.alt) < 260 and about.data is not None and len(about.data), name
        assert "<b>late" not in themed_svg(ax.figure), name


def test_a_table_without_times_gets_a_sentence_instead_of_a_picture():
    """A stage notebook must not branch: the same call gives something to show."""
    assert "no time column" in plot_metric_over_time(scores_of("binary"))["note"].iloc[0]


def test_a_picture_is_drawn_on_the_axes_it_is_given():
    """Panels of a larger figure."""
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 2)
    assert plot_calibration(scores_of("binary"), ax=axes[1]) is axes[1]
    assert not axes[0].has_data() and not math.isnan(axes[1].get_xlim()[0])
