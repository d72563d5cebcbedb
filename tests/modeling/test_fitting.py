"""Candidates fitted on hostile rows, and the pipelines that combine fits."""

import pickle
import pickletools
import warnings

import numpy as np
import pandas as pd
import pytest

from tdsp.modeling.families import FAMILIES, task_of
from tdsp.modeling.fitting import Candidate, combine, default_candidate, fit_final, fit_rows, predict, prepare_rows
from tdsp.stats.metrics import METRICS
from tests.support.tables import CLASSES, NAN, mixed_table, target_of

LEARNERS = [name for name in FAMILIES if name != "dummy"]


@pytest.mark.parametrize("task", list(CLASSES))
@pytest.mark.parametrize("name", list(FAMILIES))
def test_every_candidate_takes_hostile_tables(name, task):
    """Odd names, gaps, an empty column, rare and unknown levels: fitted, and finite predictions for all rows."""
    X = mixed_table()
    pipeline = fit_final(name, X, target_of(X, task), task=task, random_state=1)
    new = X.head(5).assign(**{"<b>origin</b>": "a level never seen", "x, y:z": NAN, "empty": 3.0})
    y_pred = predict(pipeline, new, task=task, n_classes=3 if task == "multiclass" else 2)
    assert y_pred.shape == ((5, 3) if task == "multiclass" else (5,))
    assert np.isfinite(y_pred).all()


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


@pytest.mark.parametrize("name", list(FAMILIES))
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


def test_columns_without_a_value_are_left_out_of_the_fit():
    """Empty and text columns are distinguished by the rows' values."""
    facts = task_of(mixed_table(), "binary", 1)
    assert facts.text == ("<b>origin</b>",)
    assert set(facts.numbers) == {'{"a":[1]}', "x, y:z", "constant"}


def test_a_class_that_was_not_seen_keeps_a_small_chance():
    """Laplace's rule, rows sum to one, and the order of classes is that of the codes."""
    X = mixed_table(60)
    y = np.where(target_of(X, "binary") == 1, 2, 0)
    y_pred = predict(
        fit_final("linear", X, y, task="multiclass", random_state=1), X, task="multiclass", n_classes=3, n_seen=60
    )
    assert y_pred.sum(axis=1) == pytest.approx(1)
    assert set(y_pred[:, 1]) == {1 / 63}


def test_fitting_is_silent_and_leaves_its_arguments_alone():
    """No warning repeats in every fold, and the table is not changed."""
    X = mixed_table()
    before = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in FAMILIES:
            fit_final(name, X, target_of(X, "binary"), task="binary", random_state=1)
    pd.testing.assert_frame_equal(X, before)


def half_and_half(X, y, task):
    """An average of a linear and a boosted model, packaged."""
    parts = tuple((default_candidate(name), 0.5) for name in ("linear", "lightgbm"))
    return fit_final(Candidate("ensemble", (), None, 0, 0, members=parts), X, y, task=task, random_state=1)


@pytest.mark.parametrize("task", list(CLASSES))
def test_an_average_is_one_pipeline_of_library_classes(task):
    """It answers with the mean of its members, and another team can load it without tdsp."""
    X = mixed_table()
    y, n_classes = target_of(X, task), 3 if task == "multiclass" else 2
    packed = half_and_half(X, y, task)
    apart = [
        predict(fit_final(name, X, y, task=task, random_state=1), X, task=task, n_classes=n_classes)
        for name in ("linear", "lightgbm")
    ]
    assert np.allclose(predict(packed, X, task=task, n_classes=n_classes), np.mean(apart, axis=0))
    assert b"tdsp" not in pickle.dumps(packed)


def test_fits_with_the_same_preparation_share_it():
    """Trees of five folds that met the same levels read the table once."""
    X, y = mixed_table().drop(columns="<b>origin</b>"), target_of(mixed_table(), "binary")
    rows = [prepare_rows("tree", X[i:], y[i:], task="binary", random_state=1) for i in range(5)]
    packed = combine([(fit_rows(FAMILIES["lightgbm"], {}, r), 0.2) for r in rows], "binary")
    assert [name for name, _ in packed.steps] == ["columns", "model"] and len(packed[-1].estimators_) == 5


def test_a_model_learned_on_the_logarithm_predicts_in_the_unit_of_the_target():
    """Targets around a thousand come back around a thousand."""
    X = mixed_table(400)
    y = np.exp(target_of(X, "regression") + 7)
    made = Candidate("x", (), None, 0, 0, family="mlp", settings={"log_target": True})
    y_pred = predict(fit_final(made, X, y, task="regression", random_state=1), X, task="regression")
    assert np.corrcoef(np.log(y_pred), np.log(y))[0, 1] > 0.8


@pytest.mark.parametrize("family", ["lightgbm", "mlp"])
def test_the_clock_ends_a_fit_and_its_best_step_is_kept(family):
    """With the time already up one step is made, and the model answers."""
    X = mixed_table(1200)
    y = target_of(X, "binary")
    kind = FAMILIES[family].columns
    rows = prepare_rows(kind, X[:900], y[:900], task="binary", random_state=1, scored=(X[900:], y[900:]))
    fit = fit_rows(FAMILIES[family], {}, rows, deadline=0.0)
    assert fit.steps == 1 and np.isfinite(fit.model.predict_proba(rows.X_scored)).all()


def test_words_and_columns_of_many_levels_are_learned_from():
    """Sentences and a code with hundreds of levels carry the whole signal."""
    rng = np.random.default_rng(0)
    code, word = rng.integers(0, 400, 4000), rng.choice(["calm", "storm"], 4000)
    notes = [f"{w} on day {i} of the year" for i, w in enumerate(word)]
    X = pd.DataFrame(
        {"code": pd.Series([f"c{k:03d}" for k in code], dtype=object), "note": pd.Series(notes, dtype=object)}
    )
    y = ((code % 2) + (word == "storm") >= 1).astype(int)
    facts = task_of(X, "binary", 1)
    assert (facts.many, facts.prose) == (("code",), ("note",))
    for name in ("linear", "lightgbm", "extra_trees"):
        fitted = fit_final(name, X[:3000], y[:3000], task="binary", random_state=1)
        assert METRICS["roc_auc"].function(y[3000:], predict(fitted, X[3000:], task="binary")) > 0.85, name
