"""The ONNX form predicts as the pipeline does, row by row, or there is none and the reason is given."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    TargetEncoder,
)

from tdsp.evaluation.calibration import with_temperature_scaling
from tdsp.modeling.families import FAMILIES
from tdsp.modeling.fitting import fit_final
from tdsp.packaging.loader import as_features
from tdsp.packaging.onnx.export import MIN_ROWS, awkward_rows, compare_forms, comparison_rows, onnx_form
from tdsp.packaging.onnx.graph import Graph, NotConvertible
from tdsp.packaging.onnx.models import onnx_bytes

NUMBERS = ["dose", "weight"]
TEXTS = ["ward", "city"]


def table(task: str, n: int = 1500) -> tuple[pd.DataFrame, dict[str, Any], np.ndarray]:
    """Rows with gaps, a text of few levels, one of 300, a truth, a time; the schema; the encoded target."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "dose": pd.Series(rng.gamma(2, 10, n).round(2)).mask(rng.random(n) < 0.1),
        "weight": rng.normal(70, 12, n),
        "ward": pd.Series(rng.choice(["north", "<b>south</b>", "öst"], n)).mask(rng.random(n) < 0.1),
        "city": pd.Series(rng.zipf(1.3, n) % 300).map("c{}".format),
        "urgent": pd.Series(rng.random(n) < 0.3).astype("boolean").mask(rng.random(n) < 0.1),
        "admitted": pd.Series(pd.date_range("2013-01-01", periods=n, freq="7h")),
    })  # fmt: skip
    kinds = {"ward": "string", "city": "string", "urgent": "boolean", "admitted": "timestamp"}
    columns = [{"name": name, "type": kinds.get(name, "float"), "min": None, "max": None} for name in frame]
    for spec in columns[:2]:
        spec |= {"min": float(frame[spec["name"]].min()), "max": float(frame[spec["name"]].max())}
    columns[-1] |= {"min": "2013-01-01T00:00:00", "max": "2014-03-01T00:00:00"}
    raw = frame["dose"].fillna(40) + 20 * (frame["ward"] == "north") + 5 * (frame["city"] == "c1") + rng.normal(0, 8, n)
    y = {"binary": raw > 30, "multiclass": np.digitize(raw, [20, 40]), "regression": 1000 * raw.clip(1)}[task]
    classes = {"binary": ["no", "yes"], "multiclass": ["a", "b", "c"]}.get(task, [])
    positive = "yes" if task == "binary" else None
    schema = {"task": task, "classes": classes, "positive_class": positive, "columns": columns}
    return frame, schema, np.asarray(y, dtype=float if task == "regression" else int)


def columns(levels: Any, numbers: Any) -> ColumnTransformer:
    return ColumnTransformer([("levels", levels, TEXTS), ("numbers", numbers, NUMBERS)])


def codes() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=200)


def flags() -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False)


def filled(*more: Any) -> Any:
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), *more)


def members(task: str) -> dict[str, Any]:
    """Members of an ensemble."""
    native = {"n_estimators": 40, "verbosity": -1, "n_jobs": 1, "random_state": 0, "categorical_feature": [0, 1]}
    ranks = columns(
        TargetEncoder(random_state=0), filled(QuantileTransformer(n_quantiles=300, output_distribution="normal"))
    )
    splines = columns(flags(), make_pipeline(SimpleImputer(), SplineTransformer(n_knots=6), RobustScaler()))
    if task == "regression":
        return {
            "trees": make_pipeline(columns(flags(), filled()), ExtraTreesRegressor(20, random_state=0)),
            "boosted": make_pipeline(columns(codes(), "passthrough"), LGBMRegressor(**native)),
            "splines": make_pipeline(splines, RidgeCV()),
            "network": make_pipeline(ranks, MLPRegressor(hidden_layer_sizes=(8,), activation="tanh", random_state=0)),
            "logged": TransformedTargetRegressor(
                make_pipeline(columns(codes(), "passthrough"), LGBMRegressor(objective="poisson", **native)),
                func=np.log1p, inverse_func=np.expm1,
            ),
        }  # fmt: skip
    return {
        "trees": make_pipeline(columns(flags(), filled()), ExtraTreesClassifier(20, max_depth=9, random_state=0)),
        "forest": make_pipeline(columns(codes(), "passthrough"), RandomForestClassifier(15, random_state=0)),
        "boosted": make_pipeline(columns(codes(), "passthrough"), LGBMClassifier(**native)),
        "splines": make_pipeline(splines, LogisticRegression(max_iter=200)),
        "network": make_pipeline(ranks, MLPClassifier((8, 4), max_iter=40, random_state=0)),
    }


def form_of(pipeline: Any, task: str) -> Any:
    frame, schema, y = table(task)
    return onnx_form(pipeline.fit(as_features(frame, schema), y), schema, frame)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_candidate_predicts_alike_in_onnx(name: str, task: str) -> None:
    """Each candidate of each task, on real rows, gaps, unseen levels and the ends of ranges, to the last digits."""
    frame, schema, y = table(task)
    pipeline = fit_final(name, as_features(frame, schema), y, task=task, random_state=0)
    form = onnx_form(pipeline, schema, frame)
    assert form.model, form.reason
    assert form.rows >= MIN_ROWS
    assert form.max_difference < 1e-10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_weighted_ensemble_of_unlike_members_predicts_alike(task: str) -> None:
    """Trees, boosting, splines, a network and a logged target, averaged with weights."""
    parts = list(members(task).items())
    weights = [0.3, 0.1, 0.25, 0.15, 0.2]
    vote = VotingRegressor(parts, weights=weights) if task == "regression" else VotingClassifier(
        parts, voting="soft", weights=weights
    )  # fmt: skip
    form = form_of(vote, task)
    assert form.model, form.reason
    assert form.max_difference < 1e-10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("name", ["linear", "hist_gb", "lightgbm"])
def test_a_calibrated_candidate_predicts_alike(name: str, task: str) -> None:
    """Probabilities raised to a power, from log odds as well as from probabilities."""
    frame, schema, y = table(task)
    X = as_features(frame, schema)
    pipeline = with_temperature_scaling(fit_final(name, X, y, task=task, random_state=0), 0.6, X, y)
    form = onnx_form(pipeline, schema, frame)
    assert form.model, form.reason
    assert form.max_difference < 1e-9


@pytest.mark.filterwarnings("ignore")
def test_splines_answer_alike_where_one_value_is_most_of_a_column() -> None:
    """Quantiles that coincide at the lower or the upper end, and values within, at and beyond both."""
    frame, schema, y = table("binary")
    rng = np.random.default_rng(1)
    frame["dose"] = np.where(rng.random(len(frame)) < 0.9, 10.0, rng.uniform(0, 10, len(frame)))
    frame["weight"] = np.where(rng.random(len(frame)) < 0.9, 0.0, rng.uniform(0, 5, len(frame)))
    for spec in schema["columns"][:2]:
        spec |= {"min": float(frame[spec["name"]].min()), "max": float(frame[spec["name"]].max())}
    bends = SplineTransformer(n_knots=6, knots="quantile", extrapolation="constant")
    pipeline = make_pipeline(columns(flags(), make_pipeline(SimpleImputer(), bends)), LogisticRegression(max_iter=200))
    form = onnx_form(pipeline.fit(as_features(frame, schema), y), schema, frame)
    assert form.model, form.reason
    assert form.max_difference < 1e-10


def test_rows_of_a_proof_need_not_keep_the_contract() -> None:
    """Limits and closed levels hold for rows that come; the proof looks at what lies beyond them, too."""
    frame, schema, y = table("binary", 400)
    closed = {
        "ward": {"closed": True, "levels": ["north", "<b>south</b>", "öst"]},
        "dose": {"minimum": 0.0, "maximum": 300.0},
    }
    schema = schema | {"columns": [spec | closed.get(spec["name"], {}) for spec in schema["columns"]]}
    form = onnx_form(fit_final("linear", as_features(frame, schema), y, task="binary", random_state=0), schema, frame)
    assert form.model, form.reason


def test_a_value_beside_a_threshold_takes_the_same_branch() -> None:
    """Thresholds are not rounded: values one step of a double apart are distinguished, where floats would not."""
    x = np.repeat(1 + np.arange(60) * 1e-9, 10)
    y = (np.arange(600) // 10 % 2).astype(int)
    frame = pd.DataFrame({"x": x})
    schema = {
        "task": "binary",
        "classes": ["0", "1"],
        "positive_class": "1",
        "columns": [{"name": "x", "type": "float"}],
    }
    model = LGBMClassifier(n_estimators=20, min_child_samples=1, max_bin=400, verbosity=-1, n_jobs=1).fit(frame, y)
    thresholds = list(model.booster_.trees_to_dataframe()["threshold"].dropna())
    near = np.array([[np.nextafter(t, -9), t, np.nextafter(t, 9)] for t in thresholds]).ravel()
    form = compare_forms(onnx_bytes(model, schema), model, pd.DataFrame({"x": near}), schema)
    assert len(thresholds) > 20
    assert form.max_difference < 1e-10


def test_the_same_pipeline_gives_the_same_bytes() -> None:
    """Bundles stay byte for byte alike."""
    frame, schema, y = table("binary")
    X = as_features(frame, schema)
    first, second = (onnx_bytes(fit_final("lightgbm", X, y, task="binary", random_state=0), schema) for _ in "ab")
    assert first == second


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (CalibratedClassifierCV(LogisticRegression(), cv=2), "CalibratedClassifierCV calibrates by 'sigmoid'"),
        (VotingClassifier([("one", LogisticRegression())], voting="hard"), "counts votes"),
        (HistGradientBoostingClassifier(max_iter=5), ""),
    ],
)
def test_what_does_not_convert_is_named(model: Any, reason: str) -> None:
    """The card can name the step that does not convert; what converts has a proof as its reason."""
    form = form_of(make_pipeline(columns(codes(), "passthrough"), SimpleImputer(), model), "binary")
    assert reason in form.reason
    assert bool(form.model) is not bool(reason)


def test_a_form_that_predicts_otherwise_is_refused() -> None:
    """A graph of another fit has no place in the bundle, however small the difference."""
    frame, schema, y = table("binary")
    X = as_features(frame, schema)
    one, other = (
        fit_final("linear", X[: len(X) - cut], y[: len(X) - cut], task="binary", random_state=0) for cut in (0, 9)
    )
    form = compare_forms(onnx_bytes(other, schema), one, frame, schema)
    assert not form.model
    assert form.reason.startswith("predicts otherwise on 1,500 rows")
    assert form.record == {"present": False, "reason": form.reason, "rows": 1500, "max_difference": form.max_difference}


def test_a_column_without_gaps_keeps_its_model() -> None:
    """Where the contract allows no gap, none is among the rows of the proof: not even as an empty text."""
    frame, schema, y = table("binary")
    frame = frame.dropna().reset_index(drop=True)
    y = y[: len(frame)]
    schema = schema | {"columns": [spec | {"nullable": False} for spec in schema["columns"]]}
    fitted = fit_final("linear", as_features(frame, schema), y, task="binary", random_state=0)
    assert onnx_form(fitted, schema, frame).model


def test_awkward_rows_hold_every_edge_of_every_column() -> None:
    """A gap, an unseen level, both ends and what lies beyond them, one cell a row; the last row is empty."""
    frame, schema, _ = table("binary")
    rows = awkward_rows(frame, schema)
    assert rows.isna().sum().min() >= 2
    assert {frame["dose"].min(), frame["dose"].max(), -1e12, 1e12, 0.0} <= set(rows["dose"].dropna())
    assert "a level nobody has seen" in set(rows["ward"])
    assert rows.iloc[-1].isna().all()
    assert rows["admitted"].max() == pd.Timestamp("2099-12-31")
    few = comparison_rows(frame.head(30), schema)
    assert len(few) == MIN_ROWS + len(awkward_rows(frame, schema))
    pd.testing.assert_frame_equal(few, comparison_rows(frame.head(30), schema))


def test_texts_and_numbers_in_one_step_are_no_tensor() -> None:
    """A step that would mix both is refused while the graph is made."""
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    frame, schema, y = table("binary")
    fitted = model.fit(as_features(frame, schema)[["ward", "dose"]], y)
    with pytest.raises(NotConvertible, match="texts and numbers together"):
        onnx_bytes(fitted, schema)
    assert Graph().constant([1.0]) == "constant_0"
