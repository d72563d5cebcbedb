"""Labels and predictions as people have them: converted where one meaning is possible, else refused."""

import numpy as np
import pandas as pd
import pytest

from tdsp.core.errors import ParameterError
from tdsp.stats.inputs import read_labels, read_predictions, read_units

HAM = ["ham", "spam", "ham", "spam"]
CHANCE = [0.1, 0.8, 0.4, 0.6]


@pytest.mark.parametrize(
    ("y", "positive", "codes"),
    [
        ([0, 1, 0, 1], None, [0, 1, 0, 1]),
        ([-1, 1, -1, 1], None, [0, 1, 0, 1]),
        ([False, True, False, True], None, [0, 1, 0, 1]),
        (pd.Series([False, True, False, True], dtype="boolean"), None, [0, 1, 0, 1]),
        (HAM, "spam", [0, 1, 0, 1]),
        (pd.Categorical(HAM), "ham", [1, 0, 1, 0]),
        ([1, 2, 1, 2], 2, [0, 1, 0, 1]),
        (np.array([[0], [1], [0], [1]]), None, [0, 1, 0, 1]),
    ],
)
def test_two_classes_become_0_and_1(y: object, positive: object, codes: list[int]) -> None:
    """Numbers, booleans, categories and text; the positive class is 1."""
    labeled = read_labels(y, CHANCE, positive=positive)
    assert (labeled.task, labeled.metric.name, labeled.y.tolist()) == ("binary", "roc_auc", codes)
    assert read_predictions(CHANCE, labeled).tolist() == CHANCE


def test_columns_of_predict_proba_follow_the_sorted_labels() -> None:
    """Of an array the second of two columns is that of the later label; a DataFrame names its columns."""
    both = np.column_stack([1 - np.array(CHANCE), CHANCE])
    assert read_predictions(both, read_labels(HAM, both)).tolist() == CHANCE
    assert read_predictions(both, read_labels(HAM, both, positive="ham")) == pytest.approx(1 - np.array(CHANCE))
    named = pd.DataFrame({"spam": CHANCE, "ham": 1 - np.array(CHANCE)})
    assert read_predictions(named, read_labels(HAM, named, positive="spam")).tolist() == CHANCE


def test_several_classes_are_coded_in_the_order_of_the_columns() -> None:
    """Of an array sorted, of a DataFrame by name (also as packaged models name them), else as `classes` says."""
    y, p = ["c", "a", "b", "a"], np.full((4, 3), 1 / 3)
    assert read_labels(y, p).y.tolist() == [2, 0, 1, 0]
    named = pd.DataFrame(p, columns=["probability_b", "probability_a", "probability_c"])
    assert read_labels(y, named).y.tolist() == [2, 1, 0, 1]
    assert read_labels(["c", "a", "c", "a"], p, classes=["a", "b", "c"]).y.tolist() == [2, 0, 2, 0]


def test_numbers_are_a_regression() -> None:
    """One column of predictions for more than two numbers."""
    assert read_labels([1.5, 2.0, 7.1], [1.0, 2.5, 6.0]).metric.name == "r2"


@pytest.mark.parametrize(
    ("y", "p", "options", "words"),
    [
        (HAM, CHANCE, {}, "positive='spam'"),
        (HAM, CHANCE, {"positive": "spma"}, "Did you mean 'spam'"),
        ([1, 2, 1, 2], CHANCE, {}, "positive=2"),
        (HAM, ["ham", "spam", "ham", "ham"], {"positive": "spam"}, "predict_proba"),
        ([0, 1, None, 1], CHANCE, {}, r"missing or infinite in 1 of 4 rows \(first: row 2\)"),
        ([0, 1, 0, 1], [0.1, 0.2, np.nan, 0.4], {}, r"y_prob is missing or infinite in 1 of 4"),
        ([0, 1, 0], CHANCE, {}, "y_prob has 4 rows and y_true 3"),
        ([0, 1, 0, 1], CHANCE, {"metric": "rocauc"}, "Did you mean 'roc_auc'"),
        ([0, 0, 0, 0], CHANCE, {}, "in every row"),
        ([], [], {}, "no rows"),
        ([0, 1, 2, 1], CHANCE, {"metric": "roc_auc"}, "predict_proba"),
        ([0, 1, 2, 1], [0, 1, 2, 2], {}, "predict_proba"),
        (["a", "b", "c", "a"], CHANCE, {}, "a column for each"),
        (["a", "b", "c", "a"], np.full((4, 4), 0.25), {}, "classes=model.classes_"),
        (
            ["a", "b", "c", "a"],
            pd.DataFrame(np.full((4, 3), 1 / 3), columns=list("abd")),
            {},
            "no column for class 'c'",
        ),
        (["a", "b", "c", "a"], np.full((4, 3), 0.5), {}, "adds up to 1.5 in row 0"),
        (["a", "b", "c", "a"], np.full((4, 3), 1 / 3), {"metric": "roc_auc"}, "does not fit a multiclass"),
        (["a", "b", "c", "a"], np.full((4, 3), 1 / 3), {"metric": "r2"}, "needs numbers"),
        ([0, 1, 0, 1], [0.1, 1.2, 0.3, 0.4], {"metric": "brier"}, "between 0 and 1"),
        ([1.5, 2.5, 3.5, 1.0], np.full((4, 2), 0.5), {"metric": "r2"}, "2 columns; 1 is needed"),
        (np.zeros((4, 2)), CHANCE, {}, "one value a row"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(y: object, p: object, options: dict, words: str) -> None:
    """The message names the argument, the value found and what to give instead."""
    with pytest.raises(ParameterError, match=words):
        read_predictions(p, read_labels(y, p, **options))


def test_pandas_objects_with_other_row_labels_are_refused() -> None:
    """Sorted or filtered apart, they would be scored against the wrong rows."""
    y, p = pd.Series([0, 1, 0, 1]), pd.Series(CHANCE, index=[3, 2, 1, 0])
    with pytest.raises(ParameterError, match=r"different row labels \(row 0: 3 and 0\).*\.loc"):
        read_predictions(p, read_labels(y, p))
    assert len(read_predictions(p.to_numpy(), read_labels(y, p.to_numpy()))) == 4


def test_units_are_rows_groups_or_days() -> None:
    """Text dates are parsed, numbers are moments, one value only is refused."""
    labeled = read_labels([0, 1, 0, 1], CHANCE)
    assert read_units(labeled, None, None).name == "rows"
    assert (read_units(labeled, list("aabb"), None).n, read_units(labeled, list("aabb"), None).name) == (2, "groups")
    days = read_units(labeled, None, ["2013-10-19", "2013-10-19T18:00", "2013-10-20", "2013-10-21"])
    assert (days.n, days.name, days.ordered) == (3, "days", True)
    assert read_units(labeled, None, [2010, 2011, 2012, 2013]).name == "moments"


@pytest.mark.parametrize(
    ("groups", "time", "words"),
    [
        (list("aaaa"), None, "one value in all rows"),
        (list("aab"), None, "groups has 3 rows"),
        (["a", None, "b", "b"], None, "groups is missing"),
        (None, ["soon", "later", "now", "then"], "time holds 'soon'"),
        (list("aabb"), [1, 2, 3, 4], "one of the two"),
    ],
)
def test_units_that_cannot_be_resampled_are_refused(groups: object, time: object, words: str) -> None:
    """Wrong lengths, gaps, a single group, two rules at once."""
    with pytest.raises(ParameterError, match=words):
        read_units(read_labels([0, 1, 0, 1], CHANCE), groups, time)
