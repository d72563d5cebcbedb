"""Accuracy without labels: the error of the estimate beside a constant, CBPE and the re-weighted one, and its band.

    python -m tests.benchmarks.estimate [STREAM…]

The model learns from the first three quarters of a stream's reference; what it did not learn from (folds, and the last
quarter) is the past that the estimate is tested on. The later rows of the stream, cut into windows, are what comes in.
"""

import sys
import time
from functools import cache

import lightgbm
import numpy as np
import pandas as pd

from tdsp.monitoring import estimates
from tdsp.monitoring.estimates import METHODS, LabeledRows, backtest, bin_codes, bins_of, n_codes
from tdsp.monitoring.reference import usable_windows
from tdsp.monitoring.windows import Window, cut_windows
from tdsp.stats.metrics import METRICS
from tdsp.stats.resampling import evenly_spaced, share_interval
from tests.support.streams import Stream, streams

FOLDS = 5
SEED = 2013
CASES = [("acs", "2500"), ("acs", "5000"), ("electricity", "336"), ("bank", "500"), ("flights", "week"),
         ("flights", "day"), ("bike", "week"), ("bike", "day")]  # fmt: skip
COLUMNS = 8  # the most important ones


@cache
def predicted(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of all rows, each by a model that had not learned from it, and the columns' importance."""
    stream = next(streams(name))
    X, y = stream.features.copy(), stream.y
    for column in X.select_dtypes(exclude="number"):
        X[column] = X[column].astype("category")
    kind = lightgbm.LGBMClassifier if stream.task == "binary" else lightgbm.LGBMRegressor
    n, found = stream.reference * 3 // 4, np.empty(len(X))

    def fitted(at: np.ndarray, then: np.ndarray) -> lightgbm.LGBMModel:
        model = kind(n_estimators=100, verbose=-1, random_state=SEED, n_jobs=1).fit(X.iloc[at], y[at])
        found[then] = (
            model.predict_proba(X.iloc[then])[:, 1] if stream.task == "binary" else model.predict(X.iloc[then])
        )
        return model

    for out in np.array_split(np.arange(n), FOLDS):
        fitted(np.setdiff1d(np.arange(n), out), out)
    model = fitted(np.arange(n), np.arange(n, len(X)))
    return found, model.booster_.feature_importance("gain")


def three_sigma(metric: str, rows: LabeledRows, n: int) -> float:
    """Three standard deviations of the metric over random draws of so many rows."""
    rng = np.random.default_rng(SEED)
    drawn = [rows.take(rng.integers(0, len(rows.y_true), n)) for _ in range(30)]
    return 3 * float(np.std([METRICS[metric].function(one.y_true, one.y_pred) for one in drawn]))


def coded(stream: Stream, y_pred: np.ndarray, importance: np.ndarray) -> tuple[LabeledRows, list[int]]:
    """All rows with coarse columns; the bins are those of the reference."""
    names = stream.features.columns[np.argsort(-importance)][:COLUMNS]
    table = stream.features[list(names)].assign(prediction=y_pred)
    kinds = {name: "float" if pd.api.types.is_numeric_dtype(table[name]) else "string" for name in table}
    bins = {name: bins_of(table[name].iloc[: stream.reference], kinds[name]) for name in table}
    codes = np.column_stack([bin_codes(table[name], bins[name]) for name in table])
    return LabeledRows(codes, y_pred, stream.y), [n_codes(one) for one in bins.values()]


def measured(stream: Stream, size: str, metric: str) -> str:
    """One line of the table."""
    rows, sizes = coded(stream, *predicted(stream.name))
    windows = usable_windows(cut_windows(len(rows.y_true), size, stream.time))
    past = [one for one in windows if one.rows[-1] < stream.reference]
    began = time.process_time()
    made = backtest(METRICS[metric], rows, past, sizes, ordered=stream.name != "acs")
    seconds = time.process_time() - began
    known = np.arange(stream.reference)[evenly_spaced(stream.reference, estimates.MAX_SAMPLE)]
    sample, constant = rows.take(known), float(np.mean([score(metric, rows, one) for one in past]))
    later = [one for one in windows if one.rows[0] >= stream.reference]
    found = []
    for one in later:
        cbpe, weighted, distance = estimates.estimate_both(METRICS[metric], sample, rows.take(one.rows), sizes)
        unseen = estimates.unseen_share(sample, rows.take(one.rows), sizes) > estimates.MAX_UNSEEN
        found.append((constant, cbpe, weighted, score(metric, rows, one), np.inf if unseen else distance))
    return line(stream, size, metric, made, np.array(found), three_sigma(metric, sample, len(later[0].rows)), seconds)


def score(metric: str, rows: LabeledRows, window: Window) -> float:
    """The metric of a window by its labels."""
    return METRICS[metric].function(rows.y_true[window.rows], rows.y_pred[window.rows])


def line(
    stream: Stream, size: str, metric: str, made: estimates.Backtest, table: np.ndarray, sigma: float, seconds: float
) -> str:
    """Errors in later windows, then coverage of the band."""
    score, plain = table[:, 3:4], table[:, :3]
    errors = np.abs(plain - score)
    text = f"{stream.name:12}{size:>6} {metric:8} {len(table):4} later windows; mean |error| "
    text += " ".join(f"{name} {one:.4f}" for name, one in zip(METHODS, errors.mean(axis=0), strict=True))
    text += f"; 3 sigma covers {np.mean(errors[:, 1] <= sigma):.0%}; past ({made['blocks']}) "
    text += " ".join(f"{one:.4f}" for one in made["error"].values())
    if not made["method"]:
        return f"{text}; REFUSED: {made['reason']}; {seconds:.1f} s"
    own = np.abs(
        [estimates.on_line(one, made["line"]) for one in plain[:, METHODS.index(made["method"])]] - score[:, 0]
    )
    given = table[:, 4] <= made["furthest"]
    hits, n = int((own[given] <= made["band"]).sum()), int(given.sum())
    low, high = share_interval(hits, n)
    own, level = own[given], errors[given, 0]
    return (
        f"{text}; {made['method']} ± {made['band']:.4f}, past coverage {made['covered']:.0%}: covered {hits} of {n} "
        f"({low:.0%}-{high:.0%}), {len(table) - n} too far; |error| {own.mean() if n else np.nan:.4f}, of a constant "
        f"{level.mean() if n else np.nan:.4f}; {seconds:.1f} s"
    )


def main() -> None:
    """Print the table."""
    for name, size in CASES:
        if not sys.argv[1:] or name in sys.argv[1:]:
            for stream in streams(name):
                for metric in ("roc_auc", "brier") if stream.task == "binary" else ("r2", "rmse"):
                    print(measured(stream, size, metric), flush=True)


if __name__ == "__main__":
    main()
