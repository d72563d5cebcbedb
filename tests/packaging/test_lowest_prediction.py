"""A number below the lowest possible one is predicted by no form of a model."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from tdsp.core.errors import ParameterError
from tdsp.data.target import lowest_prediction
from tdsp.packaging.loader import as_features, predict_features, predict_frame
from tdsp.packaging.onnx.export import onnx_form, open_session, predict_onnx

SCHEMA = {"task": "regression", "target": "n", "columns": [{"name": "x", "type": "float", "nullable": False}]}


@pytest.fixture(scope="module")
def line():
    """A straight line through counts, negative on the left, and rows on both sides."""
    rows = pd.DataFrame({"x": np.linspace(0, 9, 200)})
    return make_pipeline(LinearRegression()).fit(rows, np.maximum(2 * rows["x"] - 6, 0)), rows


def test_every_form_gives_the_same_and_nothing_below(line):
    """The package, the features of the service and ONNX raise what the model alone gives; the rest is untouched."""
    pipeline, rows = line
    schema = SCHEMA | {"lowest": 0.0}
    alone, found = (predict_frame(pipeline, rows, way).to_numpy() for way in (SCHEMA, schema))
    assert (alone < 0).sum() > 20 and found.min() == 0 and np.array_equal(found, np.maximum(alone, 0))
    assert np.array_equal(predict_features(pipeline, as_features(rows, schema), schema), found)
    form = onnx_form(pipeline, schema, rows)
    assert form.model, form.reason
    assert np.allclose(predict_onnx(open_session(form.model), rows, schema), found, atol=1e-12)


def test_the_lowest_prediction_is_guessed_from_targets_that_are_never_negative():
    """Amounts get 0, differences nothing; a number and `none` are kept; another word is refused."""
    amounts, differences = pd.Series([0.5, 3]), pd.Series([-0.5, 3])
    assert lowest_prediction("auto", amounts, "regression") == 0
    assert lowest_prediction("auto", differences, "regression") is None
    assert lowest_prediction("none", amounts, "regression") is None
    assert lowest_prediction("-2.5", amounts, "regression") == -2.5
    assert lowest_prediction("auto", pd.Series([0, 1]), "binary") is None
    with pytest.raises(ParameterError, match="write auto, none, or a number"):
        lowest_prediction("zero", amounts, "regression")
