"""Six criteria, a price on each, and the one that goes forward."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from tdsp.core.errors import ParameterError
from tdsp.core.results import Estimate
from tdsp.modeling.criteria import (
    FinalCandidate,
    MeasurementData,
    _with_optimism,
    columns_needed,
    explainability,
    fidelity,
    follow,
    learning_curve,
    measure,
    monotone_share,
)
from tdsp.modeling.ranking import excluded_by, plot_pareto, rank, utilities
from tdsp.stats.metrics import METRICS
from tdsp.stats.plotting import description_of
from tdsp.stats.resampling import make_units

R2 = METRICS["r2"]


def trips(n=900, seed=0):
    """Delay grows with wind and turns with the hour; the tail tells nothing."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["wind", "hour", "tail"])
    return X, (2 * X["wind"] + X["hour"] ** 2 + rng.normal(scale=0.3, size=n)).to_numpy()


def data(n=900, metric=R2):
    """Two thirds of the rows to learn from, the others to score."""
    X, y = trips(n)
    cut = 2 * n // 3
    units = make_units(n - cut)
    return MeasurementData(X, y, np.arange(cut), np.arange(cut, n), units, metric, lambda model, T: model.predict(T), 1)


def candidate(name, model, score=0.9):
    """A candidate that fits clones of a model."""
    from sklearn.base import clone

    return FinalCandidate(
        name, name, lambda X, y: clone(model).fit(X, y), Estimate(score, score - 0.02, score + 0.02, 99, "rows")
    )


LINE = candidate("line", make_pipeline(StandardScaler(), Ridge()), 0.6)
TREES = candidate("trees", HistGradientBoostingRegressor(max_iter=30, random_state=1), 0.9)


def row(name, score, explained, **more):
    """A row of the table of criteria."""
    base = {"candidate": name, "score": score, "low": score - 0.01, "high": score + 0.01, "explainability": explained}
    speed = {"latency_1_ms": 2.0, "size_mb": 1.0, "cpu_seconds": 1.0, "last_doubling": 0.0, "allowance": 0.0}
    return base | speed | {"columns": 9, "columns_needed": 3} | more


@pytest.mark.parametrize(
    ("model", "form", "most"),
    [
        (DummyRegressor(), "constant", 1),
        (make_pipeline(StandardScaler(), Ridge()), "additive", 3),
        (DecisionTreeRegressor(max_depth=2), "rules", 2),
        (RandomForestRegressor(5, max_depth=3), "interactions", 15),
        (HistGradientBoostingRegressor(max_iter=10, max_leaf_nodes=8), "interactions", 30),
        (VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=2))]), "interactions", 5),
        (StackingRegressor([("a", Ridge())], DecisionTreeRegressor(max_depth=1), cv=2), "interactions", 4),
    ],
)
def test_how_a_model_predicts_is_read_from_what_was_fitted(model, form, most):
    """Constant, additive, rules or interactions, and the numbers that one prediction uses; ensembles add up."""
    assert follow(model.fit(*trips(100))) == (form, pytest.approx(most))


def test_what_few_rules_can_tell_is_imitated_and_what_they_cannot_is_not():
    """Fidelity is 1 for a step, near 0 for noise, and 1 for a constant; texts and gaps are no obstacle."""
    X = trips(2000)[0].assign(carrier=["UA", None] * 1000)
    step = np.where(X["carrier"].isna(), 1.0, 0.0)
    noise = np.random.default_rng(1).normal(size=2000)
    assert fidelity(X, step, 1) == pytest.approx(1) and fidelity(X, step * 0, 1) == 1 and fidelity(X, noise, 1) < 0.1


def test_a_line_is_easier_to_explain_than_boosted_trees():
    """The index follows form, steps and fidelity; a column that turns back is not counted as monotone."""
    g = data()
    line, trees = (explainability(g, c.fit(g.X, g.y)) for c in (LINE, TREES))
    assert line["explainability"] > 0.8 > trees["explainability"] and line["monotone"] == 1
    assert monotone_share(lambda T: T["hour"].to_numpy() ** 2 + T["wind"].to_numpy(), g.X[["wind", "hour"]]) == 0.5


def test_more_rows_help_a_hungry_model_and_not_one_that_is_full():
    """The last doubling of 600 rows is proven for trees and worth nothing to a line of three numbers."""
    g = data()
    hungry, full = (learning_curve(c, g, c.fit(g.X.iloc[g.learn], g.y[g.learn])) for c in (TREES, LINE))
    assert hungry["last_doubling_low"] > 0 and hungry["last_doubling"] > hungry["next_doubling"] > 0
    assert abs(full["last_doubling"]) < 0.02


@pytest.mark.slow
def test_the_fewest_columns_are_those_that_matter():
    """Two of three columns carry the target; the scored rows have no say in their order."""
    g = data()
    assert columns_needed(TREES, g) == {"columns": 3, "columns_needed": 2}


def test_two_measurements_give_the_same_table_times_apart():
    """However long the fits take, the same is measured: rows and columns decide, no clock."""

    def slowly(X, y):
        time.sleep(0.05)
        return LINE.fit(X, y)

    table, again = (measure([one], data(), price=3600) for one in (LINE, replace(LINE, fit=slowly)))
    timed = ["cpu_seconds", "peak_mib", "cost", "latency_1_ms", "latency_1000_ms"]
    pd.testing.assert_frame_equal(table.drop(columns=timed), again.drop(columns=timed))
    assert table["note"].eq("").all() and table[["last_doubling", "columns_needed"]].notna().all(axis=None)
    assert table[["explainability", "latency_1_ms", "size_mb"]].notna().all(axis=None)
    assert table["cost"].to_numpy() == pytest.approx(table["cpu_seconds"].to_numpy())


def test_a_contender_that_fails_on_fewer_rows_keeps_what_was_measured():
    """The note has the reason, and the other candidate is measured as if nothing had happened."""

    def fit(X, y):
        if len(X) < 400:
            raise ValueError("needs 400 rows")
        return Ridge().fit(X, y)

    picky = FinalCandidate("picky", "picky", fit, LINE.score)
    table = measure([picky, TREES], data()).set_index("candidate")
    assert "needs 400 rows" in table.loc["picky", "note"] and table.loc["trees", "note"] == ""
    assert np.isnan(table.loc["picky", "last_doubling"]) and table.loc["picky", "explainability"] > 0.8


@pytest.mark.parametrize(
    ("weights", "winner"),
    [
        ({"performance": 1.0}, "trees"),
        ({"performance": 1.0, "explainability": 0.01}, "trees"),
        ({"performance": 1.0, "explainability": 0.2}, "line"),
        ({"performance": 1.0, "inference": 1.0}, "line"),
    ],
)
def test_a_weight_says_how_much_of_the_gain_a_criterion_may_cost(weights, winner):
    """5 % of the gain is lost for 0.5 of explainability: worth it at 0.2, not at 0.01."""
    table = pd.DataFrame([row("trees", 0.80, 0.4, latency_1_ms=100.0), row("line", 0.76, 0.9)])
    found = rank(table, R2, baseline=0.0, weights=weights)
    assert found.names[0] == winner and found.sentence.startswith(f"{winner} goes forward with R²")


def test_a_loss_counts_like_a_score():
    """Where lower is better the lower one gains more over the baseline."""
    table = pd.DataFrame([row("trees", 0.4, 0.4), row("line", 0.5, 0.9)])
    useful = utilities(table, METRICS["log_loss"], 0.9)
    assert useful["performance"].tolist() == pytest.approx([1, 0.8])
    assert rank(table, METRICS["log_loss"], baseline=0.9, weights={"performance": 1}).names == ("trees", "line")


def test_constraints_exclude_before_anything_is_ranked():
    """The best one is too slow; the reason has its number, and nothing is left when all are."""
    table = pd.DataFrame([row("trees", 0.9, 0.4, latency_1_ms=50.0), row("line", 0.6, 0.9)])
    assert excluded_by(table, {"max_latency_ms": 10}) == {"trees": "takes 50 ms a row, 10 are allowed"}
    kept = rank(table, R2, baseline=0.0, weights={"performance": 1}, limits={"max_latency_ms": 10})
    assert kept.names == ("line",) and "0.3 behind trees, which takes 50 ms" in kept.sentence
    none = rank(table, R2, baseline=0.0, weights={"performance": 1}, limits={"min_explainability": 0.95})
    assert none.names == () and none.sentence.startswith("Every candidate breaks a constraint: trees has")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"speed": 1.0}, "'speed' is no criterion"),
        ({"rows": -1.0}, "rows is -1"),
        ({"explainabilty": 1.0}, "Did you mean"),
    ],
)
def test_a_weight_that_makes_no_sense_is_refused(weights, message):
    """Unknown names come with the closest, and no weight is below 0."""
    with pytest.raises(ParameterError, match=message):
        rank(pd.DataFrame([row("a", 0.5, 0.5)]), R2, baseline=0.0, weights=weights)


def test_the_picture_names_what_goes_forward_and_tells_the_front():
    """A candidate that is beaten in both has no place on the front."""
    table = pd.DataFrame([row("trees", 0.9, 0.4), row("line", 0.6, 0.9), row("worse", 0.5, 0.3)])
    ax = plot_pareto(rank(table, R2, baseline=0.0, weights={"performance": 1}), R2)
    assert ax.get_title() == "trees goes forward"
    assert "line 0.6 at 0.90, trees 0.9 at 0.40" in description_of(ax).alt and "worse" not in description_of(ax).alt


def test_speed_and_size_are_those_of_what_would_be_packaged(monkeypatch):
    """Eight fits packaged together are larger than the one that the other criteria look at."""
    monkeypatch.setattr("tdsp.modeling.criteria._attempt", lambda *_: ({}, ""))  # no fits on fewer rows and columns
    here, model = data(), HistGradientBoostingRegressor(max_iter=30, random_state=1)
    many = VotingRegressor([(f"m{i}", model) for i in range(8)]).fit(here.X, here.y)
    table = measure([TREES, replace(TREES, name="many", whole=lambda: many)], here).set_index("candidate")
    assert table.loc["many", "size_mb"] > 4 * table.loc["trees", "size_mb"]
    assert table.loc["many", "latency_1_ms"] > 2 * table.loc["trees", "latency_1_ms"]


def test_what_the_folds_have_chosen_makes_room_for_the_average():
    """The best score gains 0.02 from being chosen by its folds: the average, 0.01 behind, goes forward and says so."""
    table = pd.DataFrame([row("trees", 0.81, 0.4), row("ensemble", 0.80, 0.3, allowance=0.02, columns_needed=2)])
    found = rank(table, R2, baseline=0.0, weights={"performance": 1})
    assert found.names == ("ensemble", "trees")
    assert "0.01 behind trees, whose score gains 0.02 from being chosen by the folds that score it" in found.sentence
    assert rank(table.assign(allowance=0.0), R2, baseline=0.0, weights={"performance": 1}).names[0] == "trees"


def test_what_is_behind_and_nowhere_better_does_not_go_forward():
    """An average with a lower score, harder to explain: that it is allowed for the choice of the best is no reason."""
    table = pd.DataFrame([row("linear", 0.707, 0.67), row("ensemble", 0.692, 0.36, allowance=0.031)])
    found = rank(table.assign(fold_mean=[0.709, 0.695]), R2, baseline=0.5, weights={"performance": 1})
    assert found.names == ("linear", "ensemble")
    assert "0.707 on the rows of all folds at once (mean of the folds 0.709)" in found.sentence


def test_selection_optimism_is_that_of_the_candidate_that_has_it():
    """Of the best one alone, which the folds chose and score; the average has none."""
    table = pd.DataFrame({"score": [0.70, 0.71, 0.69], "allowance": [0.0, 0.0, 0.03]})
    assert list(_with_optimism(table, R2)["selection_optimism"]) == [0.0, 0.03, 0.0]
    assert not _with_optimism(table.assign(allowance=0.0), R2)["selection_optimism"].any()


def test_a_selection_optimism_that_does_not_decide_is_no_reason():
    """The average would be behind even so: what speaks for it is that it trains faster."""
    table = pd.DataFrame([row("trees", 0.81, 0.3), row("ensemble", 0.80, 0.3, allowance=0.001)])
    found = rank(table.assign(cpu_seconds=[500, 1]), R2, baseline=0.0, weights={"performance": 1, "training": 1})
    assert found.names[0] == "ensemble" and "behind trees, but trains faster" in found.sentence


@pytest.mark.parametrize(
    ("better", "weights", "words"),
    [
        ({"latency_1_ms": 1.0}, {"inference": 1}, "but predicts faster"),
        ({"explainability": 0.9}, {"explainability": 1}, "but easier to explain (0.90 against 0.30)"),
        ({"columns_needed": 2}, {"columns": 1}, "but needs fewer columns"),
        ({"latency_1_ms": 1.0, "columns_needed": 2}, {"columns": 1, "inference": 0.1}, "but needs fewer columns"),
    ],
)
def test_the_criterion_that_decided_is_named(better, weights, words):
    """The largest weighted gain over the one with the best score."""
    same = {"latency_1_ms": 900.0, "columns_needed": 10, "columns": 10}
    table = pd.DataFrame([row("trees", 0.81, 0.3) | same, row("line", 0.8, 0.3) | same | better])
    found = rank(table, R2, baseline=0.0, weights={"performance": 0.1} | weights)
    assert found.names[0] == "line" and words in found.sentence
