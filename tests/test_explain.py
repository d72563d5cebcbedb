"""What the model looks at."""

import numpy as np
import pandas as pd
import pytest

from tdsp.display import description_of, themed_svg
from tdsp.explain import feature_groups, permutation_importance, plot_importance
from tdsp.stats import METRICS, make_units

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
    assert table["low"].iloc[0] > 0 and table.iloc[2][["importance", "low", "high"]].tolist() == [0, 0, 0]


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
    """At most `max_rows` rows are predicted, from the first to the last."""
    seen = []

    def watch(X):
        seen.append(len(X))
        return chance(X)

    importance(*trips(), predict=watch, max_rows=100)
    assert set(seen) == {100}


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
    assert table["low"].notna().sum() == 50


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
