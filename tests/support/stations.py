"""Weather of a station by the hour, a model of it, and its bundle: what the tests of monitoring look at."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from tdsp.core.record import Run, create_run, new_record
from tdsp.core.schema import ColumnSpec, Schema
from tdsp.modeling.fitting import fit_final
from tdsp.monitoring.estimates import EstimateReference, build_estimate
from tdsp.monitoring.performance import loss_bound, loss_scale, row_loss, unit_losses
from tdsp.monitoring.reference import build_reference, usable_windows
from tdsp.monitoring.windows import cut_windows
from tdsp.packaging.bundle import choose_golden, write_bundle
from tdsp.packaging.loader import as_features, predict_frame

SCHEMA: Schema = {
    "task": "binary", "target": "rain", "classes": ["no", "yes"], "positive_class": "yes",
    "columns": [
        {"name": "temp", "type": "float", "nullable": True}, {"name": "dewpoint", "type": "float", "nullable": True},
        {"name": "pressure", "type": "float", "nullable": True},
        {"name": "sky", "type": "string", "nullable": True, "levels": ["blue", "gray"]},
    ],
}  # fmt: skip
MONTH: ColumnSpec = {"name": "month", "type": "float", "nullable": False}


def hours(days: int, *, first: str = "2025-01-01", seed: int = 1, flip: float = 0.0) -> pd.DataFrame:
    """Rows by the hour: seasons, weather that lasts, rain when it is humid; `flip` exchanges so many of the labels."""
    rng = np.random.default_rng(seed)
    n = 24 * days
    time = pd.date_range(first, periods=n, freq="h")
    lasting = pd.Series(rng.normal(size=days)).rolling(3, min_periods=1).mean().to_numpy().repeat(24)
    year = np.cos(2 * np.pi * (time.day_of_year.to_numpy() - 200) / 365)
    temp = 12 + 9 * year + 4 * lasting + 3 * np.sin(2 * np.pi * time.hour.to_numpy() / 24) + rng.normal(0, 0.7, n)
    humid = rng.normal(size=days).repeat(24) + rng.normal(0, 0.3, n)
    rain = humid + rng.normal(0, 0.8, n) > 0.6
    flipped = rng.random(n) < flip
    return pd.DataFrame(
        {
            "time": time, "temp": temp.round(1), "dewpoint": (temp - 6 + 2 * humid).round(1),
            "pressure": (1015 - 5 * humid + rng.normal(0, 2, n)).round(1),
            "sky": np.where(humid + rng.normal(0, 0.5, n) > 0, "gray", "blue"),
            "rain": np.where(rain ^ flipped, "yes", "no"), "key": [f"{seed}-{i}" for i in range(n)],
        }
    )  # fmt: skip


def _estimate(train: pd.DataFrame, test: pd.DataFrame, pipeline: Pipeline, sizes: list[str]) -> EstimateReference:
    both = pd.concat([train, test], ignore_index=True)
    y_prob = predict_frame(pipeline, both, SCHEMA)["probability"].to_numpy()
    frame = both[[spec["name"] for spec in SCHEMA["columns"]]].assign(probability=y_prob)
    windows = {size: usable_windows(cut_windows(len(both), size, both["time"])) for size in sizes if size == "week"}
    return build_estimate(
        frame, SCHEMA, y_prob, (both["rain"] == "yes").to_numpy().astype(int), metric="roc_auc",
        unit=both["time"].dt.date.factorize()[0], tested=len(test), windows=windows, ordered=True,
    )  # fmt: skip


def pack_model(
    run: Run, train: pd.DataFrame, test: pd.DataFrame, *, performance: bool = True, schema: Schema = SCHEMA
) -> None:
    """Fit a model of `hours` and write its bundle, with its reference, and its test set into the run's folder."""
    y = (train["rain"] == "yes").to_numpy().astype(int)
    pipeline = fit_final("linear", as_features(train, schema), y, task="binary", random_state=0)
    built = build_reference(
        train, schema, predict_frame(pipeline, train, schema), times=train["time"], time_column="time", ordered=True,
        importance={"temp": 0.1, "dewpoint": 0.6, "pressure": 0.3, "sky": 0.0}, random_state=1,
    )  # fmt: skip
    if performance:
        y_true = (test["rain"] == "yes").to_numpy().astype(int)
        y_prob = predict_frame(pipeline, test, schema)["probability"].to_numpy()
        daily = unit_losses(row_loss("binary", y_true, y_prob), test["time"])
        scale = loss_scale("binary", y_true, y_prob)
        bound = loss_bound(daily, scale=scale, unit="day", random_state=1)
        built.record["performance"] = {
            "metric": "roc_auc", "value": 0.9, "low": 0.85, "high": 1.0, "higher_is_better": True, "rows": len(test),
            "loss": bound,
        }  # fmt: skip
        built.record["estimate"] = _estimate(train, test, pipeline, list(built.record["windows"]))
    bundle = write_bundle(
        run.folder / "model", name=run.record.project, pipeline=pipeline, schema=schema,
        golden_frame=choose_golden(test, schema, 50), reference=built.record, reference_models=built.models,
    )  # fmt: skip
    run.add_artifact(bundle.folder, kind="bundle", title="The packaged model")
    run.write_table("test", test)


def write_model(root: Path, *, days: int = 400, performance: bool = True, month: bool = False) -> Path:
    """outputs/runs/stations-…: a run folder with the bundle of a model of `hours` and its reference; return it."""
    run = create_run(root / "outputs" / "runs" / "stations-20260601T000000Z-aaaa",
                     new_record("stations-20260601T000000Z-aaaa", "stations", fixed=True))  # fmt: skip
    train, test = hours(days), hours(60, first="2026-02-05", seed=2)
    if month:
        train, test = (rows.assign(month=rows["time"].dt.month) for rows in (train, test))
    schema: Schema = {**SCHEMA, "columns": [*SCHEMA["columns"], *([MONTH] if month else [])]}
    pack_model(run, train, test, performance=performance, schema=schema)
    return run.folder
