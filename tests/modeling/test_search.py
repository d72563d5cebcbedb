"""The search: plan, order, budget and results."""

import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.dummy import DummyRegressor

from tdsp.core.errors import StageError
from tdsp.evaluation.behavioral_tests import wrong_way
from tdsp.modeling.families import ENSEMBLE, FAMILIES
from tdsp.modeling.fitting import Candidate, fit_final, predict
from tdsp.modeling.folds import make_folds
from tdsp.modeling.proposals import plan, shortened, unsuited
from tdsp.modeling.search import _by_cost, _Search, search, settings_found
from tdsp.modeling.selection import candidates_table
from tdsp.modeling.trials import OutOfTimeError, SearchProblem, Trial, collect_trial
from tdsp.stats.metrics import METRICS
from tests.support.tables import CLASSES, NAN, mixed_table, target_of

LEARNERS = [name for name in FAMILIES if name != "dummy"]


def searched(names, X, y, task="binary", *, metric="roc_auc", n_folds=2, kind="random", by=None, **options):
    """Return the candidates of a search with few folds."""
    cv = make_folds(y, task=task, kind=kind, by=by, n_folds=n_folds, random_state=1)
    options = {"classes": CLASSES[task], "trials": len(names), "random_state": 1} | options
    return search(names, X, y, task=task, cv=cv, metric=METRICS[metric], **options)


def curved(n=1500, seed=0):
    """Columns and a target that is a line in one column, a wave in the second and steps in the third."""
    X = mixed_table(n, seed).assign(empty=np.random.default_rng(seed + 9).normal(size=n))
    noise = np.random.default_rng(seed).normal(scale=0.5, size=n)
    return X, (X['{"a":[1]}'] + np.sin(3 * X["empty"]) + (X["<b>origin</b>"] == "JFK") + noise).to_numpy()


def replaced(monkeypatch, name, build):
    """Let a family build something else."""
    monkeypatch.setitem(FAMILIES, name, replace(FAMILIES[name], build=build, early_stops=False))


@pytest.mark.parametrize(
    ("load", "task", "least"), [(load_breast_cancer, "binary", 0.98), (load_diabetes, "regression", 0.4)]
)
def test_the_comparison_on_real_data(load, task, least):
    """All candidates are scored, the linear one reaches what it is known for, unseen predictions cover all rows."""
    X, y = load(return_X_y=True, as_frame=True)
    y_pred = []
    metric = "roc_auc" if task == "binary" else "r2"
    found = searched(["linear", "lightgbm"], X, y, task, metric=metric, n_folds=5, progress=y_pred.append)
    assert [c.name for c in found] == ["dummy", "linear", "lightgbm"]
    assert found[1].mean > least and np.isfinite(found[1].predictions).all()
    assert y_pred[1].startswith("1 linear: ") and y_pred[1].endswith(", the best so far")


def test_trials_are_counted_and_named_in_order():
    """The usual settings by turns, then proposals; a name tells the family and the number."""
    X, y = mixed_table(), target_of(mixed_table(), "binary")
    found = searched(["linear", "tree"], X, y, trials=6)
    assert [c.name for c in found] == ["dummy", "linear", "tree", *(f"linear {i}" for i in range(2, 6))]
    assert found[5].settings["strength"] > 0 and found[1].settings == {}
    assert settings_found(found, METRICS["roc_auc"])[0]["mean"] == max(c.mean for c in found)


def test_a_skewed_target_is_learned_on_its_logarithm_too():
    """Second in turn, for the families that have settings to vary."""
    tried = plan(["linear", "lightgbm", "tree"], skewed=True)
    assert tried[3:5] == [("linear", {"log_target": True, "strength": 0.1}), ("lightgbm", {"log_target": True})]


def test_what_was_best_before_is_tried_first():
    """Its own settings, once; families that are not asked for stay out."""
    warm = [{"family": "lightgbm", "settings": {"num_leaves": 9}}, {"family": "mlp", "settings": {}}]
    tried = plan(["linear", "lightgbm"], skewed=False, warm=warm)
    assert tried[:2] == [("lightgbm", {"num_leaves": 9}), ("linear", {})] and "mlp" not in dict(tried)


def test_the_best_boosted_trees_are_tried_again_with_a_short_step():
    """The two best of LightGBM; a skewed target on its other scale too, and nothing that was tried before."""

    def tried(mean, family="lightgbm", **settings):
        return Candidate(f"{family} {mean}", (mean,), None, 1.0, 0.1, family=family, settings=settings)

    found = [tried(9.0, "dummy"), tried(1.0, "mlp"), tried(2.0, num_leaves=7, log_target=True), tried(3.0), tried(4.0)]
    short = {"learning_rate": 0.02}
    leaves = {"num_leaves": 7} | short
    assert shortened(found, METRICS["rmse"], skewed=False) == [
        ("lightgbm", leaves | {"log_target": True}), ("lightgbm", short)]  # fmt: skip
    more = shortened([*found, tried(5.0, learning_rate=0.02)], METRICS["rmse"], skewed=True)
    assert [settings for _, settings in more] == [
        leaves | {"log_target": True}, leaves, short | {"log_target": True}]  # fmt: skip


@pytest.mark.slow
def test_a_clock_that_ends_before_every_family_was_met_ends_the_search():
    """A trial that was not begun is neither a fault nor a line of the table."""

    def slow(lines):
        lines.append(time.sleep(1.8))

    X, lines = mixed_table(600), []
    warm = [{"family": "lightgbm", "settings": {"num_leaves": n}} for n in (5, 6, 7)]
    found = searched([*LEARNERS, ENSEMBLE], X, target_of(X, "binary"), budget_seconds=5, warm=warm,
                     progress=lambda _: slow(lines))  # fmt: skip
    assert found[1].mean > 0.5 and len({c.family for c in found}) < len(FAMILIES) and len(found) == len(lines)


def test_under_a_clock_cheap_families_come_first():
    """Entries that cost as little as LightGBM come first; what failed or was not met has no known cost."""

    def met(family, seconds, error=None):
        return Candidate(family, () if error else (1.0,), None, seconds, 0.0, error, family=family)

    plan = [("mlp", {"width": 256}), ("lightgbm", {}), ("extra_trees", {}), ("hist_gb", {}), ("linear", {})]
    found = [met("dummy", 0.0), met("mlp", 9.0), met("lightgbm", 3.0), met("linear", 1.0), met("hist_gb", 0.0, "slow")]
    cheap, dear = _by_cost(plan, found)
    assert [name for name, _ in cheap] == ["linear", "lightgbm"]
    assert [name for name, _ in dear] == ["mlp", "extra_trees", "hist_gb"]
    failed = [met("lightgbm", 0.0, "MemoryError"), *found[:2], *found[3:]]
    assert [name for name, _ in _by_cost(plan, failed)[0]] == ["linear", "mlp"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_comparison():
    """Scores and predictions agree to the last bit, proposals included."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    names, options = [*LEARNERS, ENSEMBLE], {"metric": "log_loss", "trials": 20}
    one, two = (searched(names, X, y, "multiclass", **options) for _ in range(2))
    assert [c.fold_scores for c in one] == [c.fold_scores for c in two] and len(one) > 20
    assert all(np.array_equal(a.predictions, b.predictions) for a, b in zip(one, two, strict=True) if not a.error)


def test_a_candidate_that_fails_is_recorded_and_the_rest_goes_on(monkeypatch):
    """The error has its type and text; the others go on."""

    def broken(task, settings):
        raise MemoryError("no room")

    replaced(monkeypatch, "hist_gb", broken)
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    found = searched(["hist_gb", "linear"], X, y)
    table = candidates_table(found, METRICS["roc_auc"])
    assert found[1].error == "MemoryError: no room" and found[2].mean > 0.9
    assert table["candidate"].iloc[-1] == "hist_gb" and "no room" in table["note"].iloc[-1]


def test_predictions_that_are_not_finite_count_as_a_failure(monkeypatch):
    """A model that answers NaN cannot win by accident; when all fail, the message says why."""

    class Silent(DummyRegressor):
        def predict(self, X):
            return np.full(len(X), NAN)

    replaced(monkeypatch, "linear", lambda *_: Silent())
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    with pytest.raises(StageError, match="linear: ValueError: some predictions are not finite"):
        searched(["linear"], X, y, "regression", metric="r2")


def test_a_table_without_any_usable_column_still_has_its_baseline():
    """All columns empty: the learners fail by name and the comparison says why."""
    X, y = pd.DataFrame({"empty": np.full(40, NAN)}), np.tile([0, 1], 20)
    with pytest.raises(StageError, match=r"(?s)No candidate could be fitted.*linear: "):
        searched(["linear"], X, y)


@pytest.mark.parametrize("name", LEARNERS)
def test_rare_classes_do_not_crash(name):
    """Classes of one and two rows beside two common ones: scored in every fold, finite."""
    X = mixed_table(300)
    y = np.r_[np.tile([0, 1], 148), 2, 3, 3, 3]
    found = searched([name], X, y, "multiclass", metric="log_loss", n_folds=5, classes=tuple("abcd"))
    assert found[1].error is None and np.isfinite(found[1].fold_scores).all()


def test_few_rows_and_many_columns_leave_out_what_does_not_suit_them():
    """A network on 90 rows and splines on 300 numbers are named, not tried; the rest is quick."""
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(180, 2000))).rename(columns="c{}".format)
    y = (X["c0"] + X["c1"] > 0).astype(int).to_numpy()
    found = {c.name: c for c in searched(["linear", "mlp", "lightgbm", "tree"], X, y, trials=6)}
    assert "90 rows are too few" in found["mlp"].error and "too many for splines" in found["linear 2"].error
    assert found["lightgbm"].mean > 0.55 and sum(c.fit_seconds for c in found.values()) < 30


def test_the_average_is_allowed_the_selection_optimism_of_the_best():
    """Each fold scores the candidate that the other folds would have chosen: what that loses, the best alone loses."""
    X, y = curved(200)
    found = searched(["linear", "lightgbm", "tree", ENSEMBLE], X, y, "regression", metric="rmse", n_folds=5,
                     trials=14)  # fmt: skip
    alone, mixed = [c for c in found[1:] if not c.error and not c.members], found[-1]
    scores = np.array([c.fold_scores for c in alone])  # three rounds of five folds: a round scores every row once
    others = [[j for j in range(15) if j // 5 == i // 5 and j != i] for i in range(15)]
    elsewhere = [scores[scores[:, other].mean(axis=1).argmin(), i] for i, other in enumerate(others)]
    lost = scores.mean(axis=1).min() - np.mean(elsewhere)
    assert mixed.name == ENSEMBLE and mixed.selection_optimism == pytest.approx(lost) and lost < -0.005
    assert not any(c.selection_optimism for c in found[:-1])


@pytest.mark.parametrize("kind", ["random", "time"])
def test_the_ensemble_predicts_what_its_folds_promised(kind):
    """By chance it averages the fits of the folds; in time it is fitted anew on all rows."""
    (X, y), (X_new, y_new) = curved(), curved(seed=1)
    names = ["linear", "lightgbm", "extra_trees", ENSEMBLE]
    options = {"metric": "rmse", "n_folds": 3, "kind": kind, "by": np.arange(1500), "trials": 6}
    found = {c.name: c for c in searched(names, X, y, "regression", **options)}
    mixed = found[ENSEMBLE]
    kept = [len(part.fits) for part, _ in mixed.members if part.family == "lightgbm"]
    assert mixed.mean <= min(c.mean for c in found.values()) and sum(w for _, w in mixed.members) == pytest.approx(1)
    assert set(kept) == {3 if kind == "random" else 0}
    y_pred = predict(fit_final(mixed, X, y, task="regression", random_state=1), X_new, task="regression")
    assert METRICS["rmse"].function(y_new, y_pred) == pytest.approx(mixed.mean, rel=0.1)


@pytest.mark.slow
def test_seconds_are_kept():
    """Search and final fit end within a tenth of the budget, whatever is left to try."""
    X = mixed_table(6000)
    y, began = target_of(X, "regression"), time.monotonic()
    found = searched([*LEARNERS, ENSEMBLE], X, y, "regression", metric="r2", n_folds=5, budget_seconds=12)
    best = max((c for c in found if not c.error), key=lambda c: c.mean)
    fit_final(best, X, y, task="regression", random_state=1)
    assert time.monotonic() - began < 13.2 and len(found) > 3


BYTES = """
import hashlib, os, pickle, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, range(int(sys.argv[1])))
import tdsp.modeling.search
from tests.modeling.test_search import LEARNERS, curved, searched
from tdsp.modeling.fitting import fit_final
tdsp.modeling.search.HALVING_ROWS = 100  # proposals begin on a quarter of the rows
X, y = curved(1200)
y = (y > 0.4).astype(int)
for c in searched([*LEARNERS, "ensemble"], X, y, trials=26):
    if not c.error:
        print(c.name, hashlib.sha256(pickle.dumps(fit_final(c, X, y, task="binary", random_state=1))).hexdigest())
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one core only")
@pytest.mark.slow
def test_a_search_gives_the_same_bytes_wherever_it_runs():
    """One core and two, another hash seed, time zone and language: every model has the same bytes."""
    started = []
    for n, seed, zone, language in (("1", "0", "UTC", "C"), ("2", "7", "Asia/Tokyo", "C.UTF-8")):
        env = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": language, "OMP_NUM_THREADS": n}
        command = [sys.executable, "-c", BYTES, n]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    one, two = (process.communicate()[0].splitlines() for process in started)
    assert len(one) >= 22 and one[-1].startswith("ensemble ") and one == two


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_a_demanded_way_is_kept_by_every_family_that_can(task):
    """The target falls with `wind`; held to go up, no candidate falls along it, and a network says why."""
    rng = np.random.default_rng(3)
    X = pd.DataFrame(
        {"wind": rng.normal(size=700), "gust": rng.normal(size=700), "origin": rng.choice(["JFK", "LGA"], 700)}
    )
    raw = 2 * X["gust"].to_numpy() - X["wind"].to_numpy() + rng.normal(size=700)
    y, metric = (raw, "rmse") if task == "regression" else ((raw > 0).astype(int), "roc_auc")
    names = ["tree", "extra_trees", "hist_gb", "lightgbm", "mlp", "ensemble"]
    found = searched(names, X, y, task, metric=metric, monotone={"wind": "up"}, trials=6)
    made = [c for c in found[1:] if not c.error]
    assert {c.family for c in made} >= {"tree", "extra_trees", "hist_gb", "lightgbm"}
    assert all("cannot be held" in c.error for c in found if c.family == "mlp")
    for c in made:
        fitted = fit_final(c, X, y, task=task, random_state=0)
        assert wrong_way(partial(predict, fitted, task=task), X.head(200), "wind", "up")[0] == 0, c.name


def test_settings_found_under_a_constraint_are_not_tried_twice():
    """The constraint of an earlier run is no setting: those of this run count."""
    warm = [{"family": "lightgbm", "settings": {"monotone": {"wind": "up"}}}]
    tried = plan(["lightgbm"], skewed=False, warm=warm)
    assert tried[0] == ("lightgbm", {}) and tried.count(("lightgbm", {})) == 1


def test_a_trial_whose_budget_ran_out_has_not_failed():
    """It is not tried, and the table says why."""
    X, y = mixed_table(100), target_of(mixed_table(100), "binary")
    cv = make_folds(y, task="binary", n_folds=2, random_state=1)
    problem = SearchProblem(X, np.asarray(y), "binary", cv, METRICS["roc_auc"], 2, 1)
    ended = Future()
    ended.set_exception(OutOfTimeError("the time was up"))
    made, _ = collect_trial(problem, Trial("tree", FAMILIES["tree"], {}), [ended])
    base = Candidate("dummy", (0.5, 0.5), None, 0.0, 0.0, family="dummy")
    assert not made.tried
    assert candidates_table([base, made], METRICS["roc_auc"])["note"][1] == "not tried: the time was up"


def test_the_seconds_of_a_fit_follow_the_line_through_two_fits():
    """A fixed cost of 3 s and 1 s for each 2,000 rows: 23 s on 40,000 rows, where a share would say 80."""
    state = _Search.__new__(_Search)
    with ThreadPoolExecutor(1) as state.pool:
        state.timed = lambda _, n_rows: 3 + n_rows / 2000
        assert state.expected_seconds(None, 40_000) == pytest.approx(23)


def test_the_facts_of_the_rows_are_counted_without_preparing_them(monkeypatch):
    """The limits of a family are compared with counts of rows and columns; no fold is encoded for it."""
    X, y = mixed_table(300), target_of(mixed_table(300), "binary")
    cv = make_folds(y, task="binary", n_folds=2, random_state=1)
    problem = SearchProblem(X, np.asarray(y), "binary", cv, METRICS["roc_auc"], 2, 1)
    monkeypatch.setattr(SearchProblem, "prepared", lambda *_: pytest.fail("prepared"))
    assert unsuited(problem, FAMILIES["mlp"], {}) == "not tried: 150 rows are too few for it"
    assert problem.facts is problem.facts


def test_a_budget_that_is_used_up_still_chooses_between_families():
    """With no time at all a small table has its baseline, a linear model and trees; no other trial is begun."""
    X = mixed_table(300)
    found = {
        c.name: c
        for c in searched(["linear", "lightgbm", "extra_trees"], X, target_of(X, "binary"), budget_seconds=0.01)
    }
    fitted = {name for name, candidate in found.items() if not candidate.error}
    assert {"linear", "lightgbm"} <= fitted and "extra_trees" not in fitted
