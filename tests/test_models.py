"""Candidates, folds and the rule of choice."""

import os
import pickle
import pickletools
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline

from tdsp.core import ParameterError, StageError
from tdsp.models import (
    CANDIDATES,
    Candidate,
    candidates_table,
    choose,
    cross_validate,
    fit_final,
    fit_held_out,
    make_folds,
    predict,
    require_candidates,
    task_of,
)
from tdsp.stats import METRICS

NAN = float("nan")
LEARNERS = [name for name in CANDIDATES if name != "dummy"]
CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}


def mixed_table(n=240, seed=0):
    """Text with rare levels, numbers with gaps, names that LightGBM dislikes, an empty and a constant column."""
    rng = np.random.default_rng(seed)
    text = pd.Series(rng.choice(["JFK", "LGA", "(missing)", "größe"], n), dtype=object)
    text[0] = "seen once"
    X = pd.DataFrame({'{"a":[1]}': rng.normal(size=n), "x, y:z": rng.normal(size=n), "<b>origin</b>": text})
    X.loc[::7, "x, y:z"] = NAN
    return X.assign(empty=NAN, constant=1.0)


def target_of(X, task, seed=0):
    """A target that the columns explain in part."""
    signal = X['{"a":[1]}'] + (X["<b>origin</b>"] == "JFK") + np.random.default_rng(seed).normal(scale=0.5, size=len(X))
    if task == "regression":
        return signal.to_numpy()
    return np.digitize(signal, np.quantile(signal, [0.6] if task == "binary" else [0.3, 0.7]))


def scored(name, *scores, error=None):
    """A candidate with these fold scores."""
    return Candidate(name, scores, None, 0.1, 0.1, error)


# candidates


@pytest.mark.parametrize("task", list(CLASSES))
@pytest.mark.parametrize("name", list(CANDIDATES))
def test_every_candidate_takes_hostile_tables(name, task):
    """Odd names, gaps, an empty column, rare and unknown levels: fitted, and finite predictions for all rows."""
    X = mixed_table()
    pipeline = fit_final(name, X, target_of(X, task), task=task, random_state=1)
    new = X.head(5).assign(**{"<b>origin</b>": "a level never seen", "x, y:z": NAN, "empty": 3.0})
    told = predict(pipeline, new, task=task, n_classes=3 if task == "multiclass" else 2)
    assert told.shape == ((5, 3) if task == "multiclass" else (5,))
    assert np.isfinite(told).all()


@pytest.mark.parametrize("task", list(CLASSES))
@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_beats_guessing(name, task):
    """On a table with signal in a number and in a text column, by the default metric of the task."""
    X, X_new = mixed_table(600), mixed_table(600, seed=1)
    metric = METRICS[{"binary": "roc_auc", "multiclass": "log_loss", "regression": "r2"}[task]]
    y, y_new = target_of(X, task), target_of(X_new, task, seed=1)
    pipeline = fit_final(name, X, y, task=task, random_state=1)
    score = metric.function(y_new, predict(pipeline, X_new, task=task, n_classes=3 if task == "multiclass" else 2))
    better = score - metric.no_skill(y_new) if metric.higher_is_better else metric.no_skill(y_new) - score
    assert better > 0.2


@pytest.mark.parametrize("name", list(CANDIDATES))
def test_only_library_classes_are_pickled(name):
    """Another team can load the model without tdsp: no class of ours inside."""
    X = mixed_table()
    dump = pickle.dumps(fit_final(name, X, target_of(X, "binary"), task="binary", random_state=1))
    modules = {arg.split()[0].split(".")[0] for op, arg, _ in pickletools.genops(dump) if op.name == "GLOBAL"}
    strings = [arg for op, arg, _ in pickletools.genops(dump) if isinstance(arg, str)]
    assert "tdsp" not in modules
    assert not [s for s in strings if s.startswith("tdsp")]


def test_lightgbm_splits_levels_as_categories():
    """The positions given to the constructor count, whatever its warning says: an integer order would need more."""
    rng = np.random.default_rng(0)
    level = rng.integers(0, 30, 1500)
    X = pd.DataFrame({"level": pd.Series([f"l{i:02d}" for i in level], dtype=object), "noise": rng.normal(size=1500)})
    y = np.isin(level, rng.permutation(30)[:15]).astype(int)
    pipeline = fit_final("lightgbm", X, y, task="binary", random_state=1)
    first = pipeline[-1].booster_.dump_model()["tree_info"][0]["tree_structure"]
    assert first["decision_type"] == "=="


FIT = """
import pickle, sys, hashlib
sys.path.insert(0, "tests")
from test_models import mixed_table, target_of
from tdsp import models
from tdsp.models import CANDIDATES, fit_final
models._threads = lambda n_rows: 2  # as from a million rows on
few = {"hist_gb": {"model__max_iter": 5}, "lightgbm": {"model__n_estimators": 5}}  # so that it does not take long
X = mixed_table(3000)
for name, build in list(CANDIDATES.items()):
    CANDIDATES[name] = lambda task: build(task).set_params(**few.get(name, {}))
    fitted = fit_final(name, X, target_of(X, "binary"), task="binary", random_state=1)
    print(hashlib.sha256(pickle.dumps(fitted)).hexdigest())
"""


def test_a_model_is_the_same_bytes_on_any_number_of_cores():
    """Two processes, one with a single thread and another hash seed: all pickles agree."""
    started = []
    for threads, seed in (("1", "0"), ("2", "7")):
        env = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": seed}
        started.append(subprocess.Popen([sys.executable, "-c", FIT], env=env, stdout=subprocess.PIPE, text=True))
    found = [process.communicate()[0].split() for process in started]
    assert len(found[0]) == len(CANDIDATES) and found[0] == found[1]


def test_columns_without_a_value_are_left_out_of_the_fit():
    """Empty and text columns are told apart by what the rows hold, and few rows take one thread."""
    facts = task_of(mixed_table(), "binary", 1)
    assert (facts.text, facts.threads) == (("<b>origin</b>",), 1)
    assert set(facts.numbers) == {'{"a":[1]}', "x, y:z", "constant"}


def test_a_table_without_any_usable_column_still_has_its_baseline():
    """All columns empty: the learners fail by name and the comparison says why."""
    X, y = pd.DataFrame({"empty": np.full(40, NAN)}), np.tile([0, 1], 20)
    cv = make_folds(y, task="binary", random_state=1)
    with pytest.raises(StageError, match=r"(?s)No candidate could be fitted.*linear: "):
        cross_validate(["linear"], X, y, task="binary", cv=cv, metric=METRICS["roc_auc"], random_state=1)


def test_an_unknown_candidate_is_named_with_the_closest_one():
    """All unknown names at once; the baseline is always among the candidates."""
    with pytest.raises(ParameterError, match=r"'lightgmb' is unknown\. Did you mean 'lightgbm'.*'forest' is unknown"):
        require_candidates(["lightgmb", "forest"])
    assert require_candidates([]) == ["dummy"]


def test_a_class_that_was_not_seen_keeps_a_small_chance():
    """Laplace's rule, rows sum to one, and the order of classes is that of the codes."""
    X = mixed_table(60)
    y = np.where(target_of(X, "binary") == 1, 2, 0)
    told = predict(
        fit_final("linear", X, y, task="multiclass", random_state=1), X, task="multiclass", n_classes=3, n_seen=60
    )
    assert told.sum(axis=1) == pytest.approx(1)
    assert set(told[:, 1]) == {1 / 63}


# folds


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


def test_tiny_tables_are_folded_three_times():
    """Under 300 rows one round says more about the shuffle than about the models."""
    assert make_folds(np.tile([0, 1], 50), task="binary", random_state=1).n_folds == 15
    assert make_folds(np.tile([0, 1], 150), task="binary", random_state=1).n_folds == 5


def test_folds_by_a_column_need_the_column():
    """A missing column or a single value cannot make folds."""
    for by in (None, np.zeros(10)):
        with pytest.raises(ParameterError, match="at least two values"):
            make_folds(np.zeros(10), task="regression", kind="time", by=by, random_state=1)


@pytest.mark.parametrize("name", LEARNERS)
def test_rare_classes_do_not_crash(name):
    """Classes of one and two rows beside two common ones: scored in every fold, finite."""
    X = mixed_table(120)
    y = np.r_[np.tile([0, 1], 58), 2, 3, 3, 3]
    cv = make_folds(y, task="multiclass", random_state=1)
    found = cross_validate(
        [name], X, y, task="multiclass", cv=cv, metric=METRICS["log_loss"], classes=tuple("abcd"), random_state=1
    )
    assert found[1].error is None and np.isfinite(found[1].fold_scores).all()


# comparison and choice


@pytest.mark.parametrize(
    ("load", "task", "least"), [(load_breast_cancer, "binary", 0.98), (load_diabetes, "regression", 0.4)]
)
def test_the_comparison_on_real_data(load, task, least):
    """All candidates are scored, the linear one reaches what it is known for, unseen predictions cover all rows."""
    X, y = load(return_X_y=True, as_frame=True)
    metric = METRICS["roc_auc" if task == "binary" else "r2"]
    told = []
    found = cross_validate(
        ["linear", "lightgbm"],
        X,
        y,
        task=task,
        cv=make_folds(y, task=task, random_state=1),
        metric=metric,
        classes=CLASSES[task],
        random_state=1,
        progress=lambda *args: told.append(args),
    )
    assert [c.name for c in found] == ["dummy", "linear", "lightgbm"]
    assert found[1].mean > least and np.isfinite(found[1].predictions).all()
    assert told == [(0, 3, "dummy"), (1, 3, "linear"), (2, 3, "lightgbm")]


def test_the_same_seed_gives_the_same_comparison():
    """Scores and predictions agree to the last bit."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    cv = make_folds(y, task="multiclass", n_folds=2, random_state=1)
    options = {
        "task": "multiclass",
        "cv": cv,
        "metric": METRICS["log_loss"],
        "classes": ("a", "b", "c"),
        "random_state": 1,
    }
    one, two = (cross_validate(LEARNERS, X, y, **options) for _ in range(2))
    assert [c.fold_scores for c in one] == [c.fold_scores for c in two]
    assert all(np.array_equal(a.predictions, b.predictions) for a, b in zip(one, two, strict=True))


def test_a_candidate_that_fails_is_recorded_and_the_rest_goes_on(monkeypatch):
    """The error has its type and text; the choice is made among the others."""

    def broken(task):
        raise MemoryError("no room")

    monkeypatch.setitem(CANDIDATES, "hist_gb", broken)
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    cv = make_folds(y, task="binary", n_folds=2, random_state=1)
    found = cross_validate(["hist_gb", "linear"], X, y, task="binary", cv=cv, metric=METRICS["roc_auc"], random_state=1)
    choice = choose(found, METRICS["roc_auc"])
    assert found[1].error == "MemoryError: no room"
    assert choice.winner == "linear" and "no room" in choice.excluded["hist_gb"]
    assert candidates_table(found, METRICS["roc_auc"])["candidate"].iloc[-1] == "hist_gb"


def test_predictions_that_are_not_finite_count_as_a_failure(monkeypatch):
    """A model that answers NaN cannot win by accident."""

    class Silent(DummyRegressor):
        def predict(self, X):
            return np.full(len(X), NAN)

    monkeypatch.setitem(CANDIDATES, "linear", lambda _: Pipeline([("model", Silent())]))
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    cv = make_folds(y, task="regression", random_state=1)
    with pytest.raises(StageError, match="linear: ValueError: some predictions are not finite"):
        cross_validate(["linear"], X, y, task="regression", cv=cv, metric=METRICS["r2"], random_state=1)


def test_the_best_mean_wins():
    """A clear lead decides, in either direction of the metric."""
    up = [scored("dummy", 0.5, 0.5, 0.5), scored("linear", 0.6, 0.61, 0.6), scored("lightgbm", 0.7, 0.72, 0.71)]
    down = [scored("dummy", 1.1, 1.1, 1.1), scored("linear", 0.5, 0.5, 0.5), scored("lightgbm", 0.7, 0.7, 0.7)]
    assert choose(up, METRICS["roc_auc"]).winner == "lightgbm"
    assert choose(up, METRICS["roc_auc"]).runner_up == "linear"
    assert choose(down, METRICS["log_loss"]).winner == "linear"


def test_a_simpler_model_that_is_level_goes_first():
    """Behind by less than the standard error of the difference; the reason says so."""
    found = [scored("dummy", 0.5, 0.5, 0.5), scored("lightgbm", 0.70, 0.72, 0.68), scored("linear", 0.71, 0.70, 0.68)]
    choice = choose(found, METRICS["roc_auc"])
    assert (choice.winner, choice.runner_up) == ("linear", "lightgbm")
    assert "simpler than lightgbm and level with it" in choice.reason


def test_a_simpler_model_that_is_far_behind_does_not_pass_through_a_wide_error():
    """One hard fold widens the standard error; a twentieth of the gain is still too much to give away."""
    found = [scored("dummy", 0.0, 0.0, 0.0), scored("hist_gb", 0.85, 0.86, 0.84), scored("linear", 0.84, 0.86, 0.30)]
    assert choose(found, METRICS["r2"]).winner == "hist_gb"


def test_no_better_than_the_baseline_is_out_and_named():
    """A diverging model loses to the prior; when all do, the baseline wins and the reason says so."""
    base, wild = scored("dummy", 1.2, 1.2), scored("hist_gb", 4.0, 3.0)
    choice = choose([base, wild, scored("linear", 0.9, 0.8)], METRICS["log_loss"])
    assert choice.winner == "linear" and "no better than the baseline" in choice.excluded["hist_gb"]
    lost = choose([base, wild], METRICS["log_loss"])
    assert (lost.winner, lost.runner_up) == ("dummy", None)
    assert lost.reason == "No candidate beats the baseline: hist_gb."


def test_folds_that_cannot_be_scored_are_left_out_of_the_mean():
    """A fold without positives has no ROC-AUC; the others count."""
    found = scored("linear", 0.7, NAN, 0.8)
    assert found.mean == pytest.approx(0.75) and found.standard_error == pytest.approx(0.05)
    assert np.isnan(scored("linear", error="x").mean)


def test_explanations_use_rows_that_were_not_learned():
    """The last fold's rows are not among those fitted; by time they are the most recent."""
    X = mixed_table(200)
    y = target_of(X, "binary")
    cv = make_folds(y, task="binary", kind="time", by=np.arange(200), random_state=1)
    unseen = fit_held_out("linear", X, y, task="binary", cv=cv, classes=CLASSES["binary"], random_state=1)
    assert unseen.rows.min() == 180 and len(unseen.predict(X.iloc[unseen.rows])) == 20


def test_fitting_is_silent_and_leaves_its_arguments_alone():
    """No warning repeats in every fold, and the table is not changed."""
    X = mixed_table()
    before = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in CANDIDATES:
            fit_final(name, X, target_of(X, "binary"), task="binary", random_state=1)
    pd.testing.assert_frame_equal(X, before)
