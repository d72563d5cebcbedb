"""The gain from each group of columns in the flights model, out of fold on the training rows, with intervals by day.

    python -m tests.benchmarks.flights

The history of a route is the share of its flights that were late in the 28 days that end two days before the flight:
every one of them had landed when the prediction is asked for. It is no column of flights.sql; here it is only measured.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tdsp.data.ingest import load_table
from tdsp.data.schema import infer_schema
from tdsp.data.splits import split_table, units_of
from tdsp.data.target import require_target
from tdsp.modeling.folds import make_folds
from tdsp.modeling.search import search
from tdsp.packaging.loader import as_features
from tdsp.stats.metrics import METRICS
from tdsp.stats.resampling import make_units, paired_difference

ROOT = Path(__file__).parents[2]
GROUPS = {
    "schedule": ["departure", "month", "weekday", "departure_minute", "arrival_minute", "carrier", "distance"],
    "weather": ["temp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"],
    "plane": ["plane_age", "manufacturer", "engine", "seats"],
    "airport": ["origin", "dest", "dest_lat", "dest_lon", "dest_alt", "dest_tz"],
    "history of the route": ["route_late"],
}


def with_history(flights: pd.DataFrame, days: int = 28, gap: int = 2) -> pd.DataFrame:
    """Add `route_late`, the late share of origin and destination over `days` days that end `gap` days before."""
    day = flights["departure"].dt.normalize()
    late = (flights["late"] == "late").astype(float)
    keys = [day.rename("day"), flights["origin"], flights["dest"]]
    daily = late.groupby(keys).agg(["sum", "count"]).unstack(["origin", "dest"])
    daily = daily.reindex(pd.date_range(day.min(), day.max(), name="day")).fillna(0).rolling(days, 1).sum().shift(gap)
    share = (daily["sum"] / daily["count"]).stack(["origin", "dest"], future_stack=True).rename("route_late")
    route = pd.DataFrame({"day": day, "origin": flights["origin"], "dest": flights["dest"]})
    found = route.merge(share.reset_index(), on=["day", "origin", "dest"], how="left")["route_late"]
    return flights.assign(route_late=found.to_numpy())


def main() -> None:
    """Print a row a group: the score with all groups up to it, and what it added."""
    values = yaml.safe_load((ROOT / "parameters" / "flights.yaml").read_text())
    with tempfile.TemporaryDirectory() as lake:
        made = load_table(values["sources"], ROOT / "parameters" / values["sql"], root=ROOT, lake=Path(lake))
        flights = with_history(made.frame)
    target = require_target(flights, "late", positive_class="late")
    split = split_table(flights, target="late", task="binary", kind="time", time_column="departure")
    train = flights.iloc[split.train].reset_index(drop=True)
    y, by = target.encode(train["late"]), units_of(train, split)
    cv = make_folds(y, task="binary", kind="time", by=by, max_rows=50_000, random_state=2013)
    metric, before, columns = METRICS["roc_auc"], None, []
    for group, names in GROUPS.items():
        columns += names
        began = time.monotonic()
        schema = infer_schema(
            train[columns], target="late", task="binary", classes=target.classes, positive_class="late"
        )
        options = {"task": "binary", "cv": cv, "metric": metric, "classes": target.classes, "random_state": 2013}
        y_prob = search(["lightgbm"], as_features(train, schema), y, trials=1, **options)[1].predictions
        at = np.flatnonzero(np.isfinite(y_prob))
        units = make_units(len(at), kind="time", by=by[at])
        line = f"{'+ ' + group if before is not None else group:24} ROC-AUC {metric.function(y[at], y_prob[at]):.4f}"
        if before is not None:
            added = paired_difference(metric, y[at], y_prob[at], before[at], units=units, n_resamples=500)
            line += f", adds {added.value:+.4f} ({added.low:+.4f} to {added.high:+.4f}, {added.n} {added.resampled})"
        print(f"{line}, {time.monotonic() - began:.0f} s", flush=True)
        before = y_prob


if __name__ == "__main__":
    main()
