"""Importance and dependence for any fitted model."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tdsp.core.errors import ParameterError
from tdsp.evaluation.explanation import explain

RNG = np.random.default_rng(0)
X = pd.DataFrame({"distance": RNG.normal(0, 1, 400), "noise": RNG.normal(0, 1, 400)})
X["miles"] = X["distance"] * 0.6 + RNG.normal(0, 0.01, 400)
X["carrier"] = pd.Categorical(RNG.choice(["UA", "B6"], 400))
LATE = np.where(X["distance"] + 2 * (X["carrier"] == "B6") + RNG.normal(0, 0.5, 400) > 1, "late", "on time")
MODEL = make_pipeline(
    make_column_transformer((OneHotEncoder(), ["carrier"]), remainder="passthrough"), LogisticRegression()
).fit(X[:200], LATE[:200])


def test_the_columns_that_matter_are_found_with_their_loss() -> None:
    """The first matters beyond noise, noise does not, alike columns are shuffled together."""
    found = explain(MODEL, X[200:], LATE[200:], n_repeats=2)
    assert found.sure[0] == "carrier" and "noise" not in found.sure and found.metric.name == "roc_auc"
    assert list(found.alike.values()) == [["distance", "miles"]]
    assert found.together["importance"].iloc[0] > found.importance.set_index("column")["importance"]["miles"]
    assert set(found.dependence["feature"]) == set(X.columns)


def test_a_model_sees_the_types_it_was_fitted_on() -> None:
    """A shuffled category stays one, an array stays an array."""

    class Strict:
        classes_ = MODEL.classes_

        def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
            assert rows.dtypes["carrier"] == X.dtypes["carrier"] and list(rows) == list(X)
            return MODEL.predict_proba(rows)

    assert explain(Strict(), X[200:], LATE[200:], n_repeats=1).sure[0] == "carrier"
    numbers = X[["distance", "noise"]].to_numpy()
    linear = LinearRegression().fit(numbers[:200], numbers[:200, 0])
    found = explain(linear, numbers[200:], numbers[200:, 0], n_repeats=1)
    assert (found.metric.name, found.sure) == ("r2", ["x0"])


def test_the_rows_of_a_group_are_resampled_together() -> None:
    """Copies of the same rows do not make the interval narrower when they are one group."""
    rows, y = pd.concat([X[200:300]] * 4, ignore_index=True), np.tile(LATE[200:300], 4)
    alone = explain(MODEL, rows, y, n_repeats=1).score.estimate
    grouped = explain(MODEL, rows, y, groups=np.tile(np.arange(100), 4), n_repeats=1).score.estimate
    assert grouped.resampled == "groups" and grouped.half_width > 1.5 * alone.half_width


def test_an_explanation_shows_and_draws_itself() -> None:
    """One line, a table, and figures on demand."""
    found = explain(MODEL, X[200:], LATE[200:], n_repeats=1)
    assert repr(found).startswith("carrier matters most: ROC-AUC falls by ")
    assert "mean prediction along it" in found._repr_html_()
    assert found.plot().get_title() == "carrier matters most" and len(found.plot_dependence().axes) == 4


@pytest.mark.parametrize(
    ("model", "y", "options", "words"),
    [
        (object(), LATE, {}, "predict_proba or predict"),
        (MODEL, LATE[:9], {}, "X has 400 rows and y 9"),
        (MODEL, LATE, {"metric": "acuracy"}, "Did you mean 'accuracy'"),
        (MODEL, LATE, {"groups": [1, 2]}, "groups has 2 rows"),
        (MODEL, LATE, {"positive": "early"}, "no class 'early'"),
    ],
)
def test_an_explanation_that_cannot_be_is_refused(model: object, y: object, options: dict, words: str) -> None:
    """No model, wrong lengths, unknown names."""
    with pytest.raises(ParameterError, match=words):
        explain(model, X, y, **options)
