"""The best of several families, and its score on rows that had no part in the choice."""

import numpy as np
import pandas as pd
import pytest

from tdsp.core.errors import DataError, ParameterError
from tdsp.modeling.quick_search import search
from tdsp.stats.scoring import score

RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "distance": RNG.integers(90, 5000, 300),
        "carrier": pd.Categorical(RNG.choice(["UA", "AA", "B6"], 300)),
        "plane": np.arange(300) // 3,
        "day": pd.date_range("2013-01-01", periods=300),
    }
)
LATE = np.where(RNG.random(300) < 0.2 + 0.5 * (X["carrier"] == "B6"), "late", "on time")
QUICK = {"candidates": ["linear"], "trials": 1}


def test_the_score_is_that_of_held_out_rows() -> None:
    """The model scores the same when asked again; a second search finds the same."""
    found = search(X, LATE, **QUICK)
    again = found.model.predict_proba(X.iloc[found.held_out])[:, 0]
    assert found.model.classes_.tolist() == ["late", "on time"] and len(found.held_out) == 60
    assert score(LATE[found.held_out], again, positive="late").estimate == found.score.estimate
    assert search(X, LATE, **QUICK).score == found.score
    assert "Positive class: late" in found.remarks[0] and found.candidates["candidate"].tolist() == ["linear", "dummy"]


def test_labels_keep_their_type() -> None:
    """Booleans stay booleans, whole numbers whole numbers; probabilities make one."""
    for y in (LATE == "late", np.where(LATE == "late", 2, 1)):
        model = search(X, y, **QUICK).model
        assert model.predict(X).dtype == y.dtype and model.predict_proba(X).sum(axis=1) == pytest.approx(1)
        assert (model.predict(X) == model.classes_[model.predict_proba(X).argmax(axis=1)]).all()


def test_several_classes_and_numbers_are_learned() -> None:
    """Classes sorted as scikit-learn sorts them; numbers have no probabilities."""
    several = search(X[["distance", "carrier"]], X["carrier"], metric="accuracy", **QUICK)
    assert several.model.classes_.tolist() == ["AA", "B6", "UA"] and several.score.value == 1.0
    numbers = search(X[["distance"]], X["distance"] * 2.5 + RNG.normal(0, 9, 300), **QUICK)
    assert numbers.score.metric.name == "r2" and numbers.score.value > 0.99
    with pytest.raises(ParameterError, match="use predict"):
        numbers.model.predict_proba(X)


@pytest.mark.parametrize("given", ["plane", X["plane"].to_numpy()])
def test_whole_groups_are_held_out(given: object) -> None:
    """By a column of the table or by one value a row; such a column is no feature."""
    found = search(X, LATE, groups=given, **QUICK)
    held = set(X["plane"].iloc[found.held_out])
    assert not held & set(X["plane"].drop(index=found.held_out)) and found.score.estimate.resampled == "groups"
    assert ("plane" in found.model.columns) == (not isinstance(given, str))


def test_the_latest_rows_are_held_out_by_time() -> None:
    """The folds go forward in time as well."""
    found = search(X, LATE, time="day", **QUICK)
    assert X["day"].iloc[found.held_out].min() > X["day"].drop(index=found.held_out).max()
    assert "forward in time" in found.folds


def test_a_result_shows_itself() -> None:
    """One line, and a table of the candidates."""
    found = search(X[["distance"]].to_numpy(), LATE, **QUICK)
    assert "held out" in repr(found) and "\n" not in repr(found)
    assert "<table>" in found._repr_html_() and found.model.columns == ["x0"]


@pytest.mark.parametrize(
    ("y", "options", "error", "words"),
    [
        (LATE[:99], {}, ParameterError, "X has 300 rows and y 99"),
        (pd.Series(LATE, index=X.index[::-1]), {}, ParameterError, "different row labels"),
        (np.repeat("late", 300), {}, DataError, "nothing to predict"),
        (LATE, {"metric": "rocauc"}, ParameterError, "Did you mean 'roc_auc'"),
        (LATE, {"groups": "planes"}, ParameterError, "Did you mean 'plane'"),
        (LATE, {"groups": "plane", "time": "day"}, ParameterError, "both given"),
        (LATE, {"candidates": ["lightgmb"]}, ParameterError, "Did you mean 'lightgbm'"),
        (LATE, {"groups": [None] * 150 + [1] * 150}, ParameterError, "groups is missing"),
        (LATE, {"positive": "early"}, DataError, "no class 'early'"),
    ],
)
def test_a_search_that_cannot_be_is_refused(y: object, options: dict, error: type[Exception], words: str) -> None:
    """Lengths, row labels, names and classes that do not fit."""
    with pytest.raises(error, match=words):
        search(X, y, **(QUICK | options))


def test_the_model_names_a_column_that_is_absent() -> None:
    """With the closest name of the table."""
    model = search(X[["distance", "carrier"]], LATE, **QUICK).model
    with pytest.raises(ParameterError, match=r"no column 'carrier'.*Did you mean 'carriers'"):
        model.predict(X.rename(columns={"carrier": "carriers"}))


def test_all_absent_columns_are_named_at_once():
    """Each with its own line of advice, in one error."""
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 3)), columns=["wind", "gust", "rain"])
    model = search(X, X["wind"] + X["gust"], candidates=["linear"], trials=1).model
    with pytest.raises(ParameterError, match=r"no column 'wind'.*no column 'gust'"):
        model.predict(X[["rain"]])
