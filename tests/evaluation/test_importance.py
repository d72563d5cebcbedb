"""Importance, dependence and contributions of columns."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from tdsp.evaluation.importance import (
    Contributions,
    alike_columns,
    contributions,
    feature_groups,
    partial_dependence,
    permutation_importance,
    plot_dependence,
    plot_importance,
    worst_rows,
)
from tdsp.modeling.fitting import predict, refit
from tdsp.stats.metrics import METRICS
from tdsp.stats.plotting import description_of, themed_svg
from tdsp.stats.resampling import make_units

NAN = float("nan")


def trips(n=600, seed=0):
    """A late flight depends on wind, less on the hour, not on the tail."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["wind", "hour", "<i>tail</i>"])
    return X, (X["wind"] + 0.4 * X["hour"] + rng.normal(scale=0.5, size=n) > 0).to_numpy().astype(int)


def chance(X):
    """The true probability, more or less."""
    return 1 / (1 + np.exp(-2 * X["wind"].to_numpy() - 0.8 * X["hour"].to_numpy()))


def importance(X, y, *, predict=chance, metric="roc_auc", units=None, **more):
    """With few resamples."""
    units = units or make_units(len(X))
    return permutation_importance(
        predict, X, y, metric=METRICS[metric], units=units, random_state=1, n_resamples=50, **more
    )


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_columns_are_ranked_by_what_shuffling_them_costs(metric):
    """Positive where the score gets worse, in both directions of metrics; zero for a column that is not used."""
    table = importance(*trips(), metric=metric)
    assert list(table["column"]) == ["wind", "hour", "<i>tail</i>"]
    assert table["low"].iloc[0] > 0 and table["importance"].iloc[2] == 0
    assert table.iloc[2][["low", "high"]].isna().all()  # nothing moved, so nothing is known of chance


def test_the_raw_repeats_are_kept_and_the_importance_is_their_mean():
    """One column a repeat, each an independent shuffle."""
    table = importance(*trips(), n_repeats=4)
    repeats = table[[f"repeat_{i}" for i in (1, 2, 3, 4)]]
    assert table["importance"].to_numpy() == pytest.approx(repeats.mean(axis=1).to_numpy())
    assert repeats.iloc[0].nunique() == 4


def test_a_seed_gives_one_table_and_a_column_does_not_depend_on_those_after_it():
    """The same seed gives the same numbers; the table that is explained is left as it is."""
    X, y = trips()
    before = X.copy()
    one = importance(X, y)
    pd.testing.assert_frame_equal(one, importance(X, y))
    pd.testing.assert_frame_equal(X, before)
    alone = importance(X, y, groups={"wind": ["wind"]})
    pd.testing.assert_frame_equal(one.head(1), alone)


def test_features_of_one_column_are_shuffled_together():
    """Two copies hide one another when shuffled alone, and not as a group."""
    X, y = trips()
    X = X.assign(copy=X["wind"])

    def either(table):
        return np.maximum(table["wind"], table["copy"]).to_numpy()

    apart, together = (
        importance(X, y, predict=either),
        importance(X, y, predict=either, groups={"wind": ["wind", "copy"]}),
    )
    assert together["importance"].iloc[0] > 1.5 * apart["importance"].iloc[0]


def test_a_time_is_one_column_of_four_features():
    """Groups come from the schema, in its order."""
    schema = {"columns": [{"name": "departure", "type": "timestamp"}, {"name": "origin", "type": "string"}]}
    groups = feature_groups(schema)
    assert list(groups) == ["departure", "origin"] and len(groups["departure"]) == 4 and groups["origin"] == ["origin"]


def test_rows_are_limited_and_spread():
    """At most `max_rows` rows are predicted, as they are and all shuffles of a column at once."""
    seen = []

    def watch(X):
        seen.append(len(X))
        return chance(X)

    importance(*trips(), predict=watch, max_rows=100, n_repeats=4)
    assert set(seen) == {100, 400}


def test_intervals_come_from_the_units():
    """Groups of alike rows widen the interval."""
    X, y = trips(60)
    X, y, group = X.loc[X.index.repeat(10)].reset_index(drop=True), y.repeat(10), np.arange(60).repeat(10)
    by_row, by_group = importance(X, y), importance(X, y, units=make_units(600, kind="group", by=group))
    width = [table.iloc[0]["high"] - table.iloc[0]["low"] for table in (by_row, by_group)]
    assert width[1] > 1.5 * width[0]


def test_wide_tables_get_a_close_look_at_fifty_columns():
    """150 columns: all are ranked, those in front have repeats and an interval."""
    X, y = trips(200)
    X = pd.concat([X, pd.DataFrame(np.zeros((200, 147)), columns=[f"c{i}" for i in range(147)])], axis=1)
    table = importance(X, y)
    assert len(table) == 150 and table["column"].iloc[0] == "wind"
    assert table["repeat_3"].notna().sum() == 50


def test_very_wide_tables_are_shuffled_in_bundles_first():
    """1,000 columns take a few hundred predictions, and those that matter are still found and ranked."""
    X, y = trips(200)
    noise = np.random.default_rng(1).normal(size=(200, 997))
    X = pd.concat([pd.DataFrame(noise, columns=[f"c{i}" for i in range(997)]), X], axis=1)
    calls = []

    def watch(X):
        calls.append(1)
        return chance(X)

    table = importance(X, y, predict=watch)
    assert list(table["column"].head(2)) == ["wind", "hour"] and len(table) == 1000
    assert len(calls) < 510 and table["importance"].notna().sum() == 200


def test_the_picture_names_the_first_column_and_survives_hostile_names():
    """Title, labels, alt text and data; markup in a column name is escaped in the drawing."""
    X, y = trips()
    table = importance(
        X.rename(columns={"wind": "<script>$x$" + "y" * 60}),
        y,
        predict=lambda X: chance(X.set_axis(["wind", "hour", "t"], axis=1)),
    )
    ax = plot_importance(table, METRICS["roc_auc"])
    assert (
        ax.get_title().startswith("<script>") and ax.get_title().endswith("matters most") and len(ax.get_title()) <= 44
    )
    assert "<script" not in themed_svg(ax.figure)
    assert "2 columns matter beyond noise" in description_of(ax).alt and description_of(ax).data is table


def test_a_model_that_looks_at_nothing_is_drawn_as_such():
    """A constant prediction: no column matters, and the picture says so."""
    table = importance(*trips(), predict=lambda X: np.full(len(X), 0.3))
    assert plot_importance(table, METRICS["roc_auc"]).get_title() == "No single column matters"


# columns that say the same, curves, contributions, words


def test_columns_that_say_the_same_make_a_group_also_over_a_third():
    """a and b, b and c are alike, so all three are shuffled together; text and constants have no part."""
    X, _ = trips()
    wind = X["wind"]
    X = X.assign(gust=wind + 0.2, speed=wind**3, still=1.0, carrier="UA")
    assert alike_columns(X, {name: [name] for name in X}) == {"wind and 2 alike": ["wind", "gust", "speed"]}
    together = {"departure": ["wind", "gust"], "speed": ["speed"]}
    assert alike_columns(X, together) == {"departure and 1 alike": ["wind", "gust", "speed"]}


def test_a_curve_follows_the_model_and_a_column_without_effect_is_flat():
    """Numbers on a grid, levels by name; the band of a flat curve has no width."""
    X, _ = trips()
    X = X.assign(carrier=np.where(np.arange(len(X)) % 2, "UA", None))
    table = partial_dependence(lambda T: chance(T), X, ["wind", "carrier", "<i>tail</i>"]).groupby("feature")
    assert table.get_group("wind")["mean"].is_monotonic_increasing
    assert np.ptp(table.get_group("<i>tail</i>")["mean"]) == 0 and list(table.get_group("carrier")["value"]) == ["UA"]


def test_the_curves_of_several_classes_show_the_one_that_moves():
    """Three classes, the second of which answers to the wind; hostile names survive the drawing."""

    def three(T):
        p = 1 / (1 + np.exp(-T["wind"].to_numpy()))
        return np.column_stack([np.full(len(T), 0.1), 0.6 * p + 0.2, 0.7 - 0.6 * p])

    table = partial_dependence(three, trips()[0], ["wind", "<i>tail</i>"])
    assert set(table.loc[table["feature"] == "wind", "class"]) <= {1, 2}
    figure = plot_dependence(table, target="<script>$y$", classes=("a", "b", "c"))
    assert figure.get_suptitle().startswith("wind moves it by") and "<script" not in themed_svg(figure)
    assert "wind 0." in description_of(figure.axes[0]).alt and len(figure.get_suptitle()) <= 44


ALONE = {name: [name] for name in ("wind", "hour", "<i>tail</i>")}


def test_contributions_of_a_line_are_exact():
    """Coefficient times distance from the mean of the other rows, on the scale of log odds."""
    X, y = trips()
    model = LogisticRegression().fit(X.to_numpy(), y)
    settings = {"task": "binary", "of": np.array([1, 1, 0]), "additive": True, "random_state": 1}
    added = contributions(lambda T: model.predict_proba(T.to_numpy())[:, 1], X.head(3), X.head(100), ALONE, **settings)
    expected = model.coef_[0] * (X.head(3) - X.head(100).mean()).to_numpy() * np.array([[1], [1], [-1]])
    assert added.errors is None and added.values.to_numpy() == pytest.approx(expected, abs=1e-6)


def test_contributions_of_lightgbm_are_its_own_and_add_up():
    """Also behind an encoder, for the predicted class; with the mean they give the raw prediction."""
    X, y = trips()
    X = X.assign(carrier=np.where(np.arange(len(X)) % 3, "UA", "AA"))
    columns = ColumnTransformer(
        [("levels", OrdinalEncoder(), ["carrier"]), ("numbers", "passthrough", ["wind", "hour"])]
    )
    pipeline = Pipeline([("columns", columns), ("model", LGBMClassifier(n_estimators=20, verbose=-1))]).fit(X, y)
    groups = {"wind": ["wind"], "hour": ["hour"], "carrier": ["carrier"]}
    settings = {"task": "binary", "additive": False, "pipeline": pipeline, "random_state": 1}
    added = contributions(None, X.head(5), X, groups, of=np.ones(5, dtype=int), **settings)
    raw = pipeline[-1].booster_.predict(pipeline[:-1].transform(X), raw_score=True)
    mean = raw.mean()
    assert added.errors is None and (raw[:5] - added.values.sum(axis=1)).to_numpy() == pytest.approx(mean, abs=0.05)
    against = contributions(None, X.head(5), X, groups, of=np.zeros(5, dtype=int), **settings)
    assert against.values.to_numpy() == pytest.approx(-added.values.to_numpy())


def test_lightgbm_on_hashed_words_is_explained_by_sampling():
    """Words have no names there: a model that rests on them ends no run, and their column has its contribution."""
    rng = np.random.default_rng(0)
    X, _ = trips(400)
    good = rng.random(400) < 0.5
    notes = np.where(good, "runs well and was kept dry all winter", "leaks oil and does not start at all")
    X = X.assign(notes=[f"{text} number {i % 97} in row {i}" for i, text in enumerate(notes)])
    pipeline = refit("lightgbm", X, good.astype(int), task="binary", random_state=1)
    added = contributions(
        lambda T: predict(pipeline, T, task="binary"), X.head(3), X, {name: [name] for name in X}, task="binary",
        of=np.ones(3, dtype=int), additive=False, pipeline=pipeline, n_orders=10, random_state=1,
    )  # fmt: skip
    assert added.errors is not None and (added.values.abs().idxmax(axis=1) == "notes").all()


@pytest.mark.slow
def test_sampled_contributions_have_errors_that_cover_the_exact_ones():
    """300 orders of an additive model: nearly all values lie within two of their errors."""
    X, _ = trips()
    exact, sampled = (
        contributions(chance, X.head(20), X.head(100), {"both": ["wind", "hour"], "t": ["<i>tail</i>"]}, task="binary",
                      of=np.ones(20, dtype=int), additive=additive, n_orders=300, random_state=1)
        for additive in (True, False)
    )  # fmt: skip
    off = (exact.values["both"] - sampled.values["both"]).abs() / sampled.errors["both"]
    assert (off < 2).sum() >= 17 and (sampled.values["t"] == 0).all()


def test_errors_are_worded_with_their_largest_contributions():
    """Numbers go up or down, classes have their chance, and an unsure right answer is no mistake."""
    rows = pd.DataFrame({"wind": [3.0, 1.0], "<i>tail</i>": ["a", "b"]})
    added = Contributions(pd.DataFrame({"wind": [2.0, -5.0], "<i>tail</i>": [-1.0, 0.0]}), None, "target")
    y_pred = worst_rows(rows, np.array([10.0, 50.0]), np.array([30.0, 20.0]), added, [7, 8])
    assert y_pred["words"].tolist() == [
        "Predicted 30, actual 10. Largest contributions upwards: wind = 3 (+2) (in units of the target).",
        "Predicted 20, actual 50. Largest contributions downwards: wind = 1 (−5) (in units of the target).",
    ]
    names = ("on time", "late")
    unsure = worst_rows(rows, np.array([1, 1]), np.array([0.2, 0.6]), added, [7, 8], classes=names)["words"]
    assert unsure[0].startswith("Predicted on time (80") and "actual the same, but unsure" in unsure[1]


def test_a_contribution_of_a_date_names_the_feature_that_carries_it():
    """The column has no value of its own among the features, its age has one."""
    rows = pd.DataFrame({"visit.days": [19000.0], "visit.age": [12.0]})
    added = Contributions(pd.DataFrame({"visit": [2.0]}), None, "log odds")
    words = [
        worst_rows(rows, np.array([0]), np.array([0.9]), added, [7], classes=("no", "yes"), features=features)["words"]
        for features in (None, {"visit": "visit.age"})
    ]
    assert "class: visit (+2)" in words[0][0] and "class: visit.age = 12 (+2)" in words[1][0]


@pytest.mark.parametrize("n_classes", [0, 3])
def test_trees_of_numbers_and_of_three_classes_have_exact_contributions_too(n_classes):
    """One block a class, or one value a row."""
    X, _ = trips()
    X = X.rename(columns={"<i>tail</i>": "tail"})
    target = np.digitize(X["wind"], [-0.5, 0.5]) if n_classes else X["wind"].to_numpy()
    model = (LGBMClassifier if n_classes else LGBMRegressor)(n_estimators=20, verbose=-1).fit(X, target)
    added = contributions(None, X.head(9), X, {name: [name] for name in X}, additive=False, random_state=1,
                          task="multiclass" if n_classes else "regression", of=np.full(9, 2 * bool(n_classes)),
                          pipeline=Pipeline([("model", model)]))  # fmt: skip
    assert np.corrcoef(added.values["wind"], X["wind"].head(9))[0, 1] > 0.7


def test_a_column_without_a_value_among_the_rows_looked_at_has_no_curve():
    """The others have theirs."""
    X = pd.DataFrame({"empty": np.full(50, np.nan), "x": np.arange(50.0)})
    table = partial_dependence(lambda rows: rows["x"].to_numpy(), X, ["empty", "x"])
    assert set(table["feature"]) == {"x"}
