"""The share of real windows inside a reference on which a monitor cries, and the faults that it finds.

    python -m tests.benchmarks.monitoring alarms          false alarms, beside Evidently's default rule and mean ± 3 σ
    python -m tests.benchmarks.monitoring resampled       the same of rows drawn at random, 1,000 to 1,000,000
    python -m tests.benchmarks.monitoring faults          faults put into held-out real windows: found, named
    python -m tests.benchmarks.monitoring life            the accuracy rule on stable years, and its delays
    python -m tests.benchmarks.monitoring cost            seconds and memory beside a loop over scipy tests

A stream's windows are held out in five interleaved folds; each fold is judged by a reference built from the others.
"""

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import lightgbm
import numpy as np
import pandas as pd
from scipy import stats as distributions

from tdsp.data.schema import infer_schema
from tdsp.monitoring.faults import name_fault, suspect
from tdsp.monitoring.reference import LEVEL, Reference, build_reference, open_reference, usable_windows
from tdsp.monitoring.windows import Window, complete_windows, cut_windows
from tdsp.stats.resampling import share_interval
from tests.benchmarks.monitoring_cost import cost
from tests.benchmarks.monitoring_life import accuracy, alarm_years, daily_losses
from tests.support.streams import Stream, streams

FOLDS = 5
SEED = 2013
CASES = [("flights", "day"), ("flights", "week"), ("electricity", "336"), ("bike", "week"), ("bike", "day"),
         ("bank", "500"), ("acs", "2500")]  # fmt: skip


@cache
def predictions_of(name: str) -> np.ndarray:
    """Predictions of a small model for the rows of the reference, each by a fit on the other blocks of time."""
    stream = next(streams(name))
    X = stream.features.iloc[: stream.reference].copy()
    for column in X.select_dtypes(exclude="number"):
        X[column] = X[column].astype("category")
    y, found = stream.y[: stream.reference], np.empty(len(X))
    kind = lightgbm.LGBMClassifier if stream.task == "binary" else lightgbm.LGBMRegressor
    for at in np.array_split(np.arange(len(X)), FOLDS):
        rest = np.setdiff1d(np.arange(len(X)), at)
        model = kind(n_estimators=100, verbose=-1, random_state=SEED, n_jobs=1).fit(X.iloc[rest], y[rest])
        found[at] = model.predict_proba(X.iloc[at])[:, 1] if stream.task == "binary" else model.predict(X.iloc[at])
    return found


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Windows of a stream that a reference has not seen."""

    reference: Reference
    frame: pd.DataFrame  # the whole reference period, with predictions
    windows: list[Window]
    rest: pd.DataFrame  # rows that the reference was built from
    rest_windows: list[Window]


def held_out(stream: Stream, size: str) -> Iterator[HeldOut]:
    """The folds of a stream."""
    frame = stream.frame.iloc[: stream.reference].reset_index(drop=True)
    times = None if stream.time is None else stream.time.iloc[: stream.reference].reset_index(drop=True)
    features = frame.drop(columns=stream.target)
    schema = infer_schema(features, target=stream.target, task=stream.task, classes=["0", "1"], positive_class="1")
    predicted = pd.DataFrame({"prediction": predictions_of(stream.name)})
    both = features.assign(prediction=predicted["prediction"])
    windows = complete_windows(usable_windows(cut_windows(len(frame), size, times)), size, times)
    for fold in range(FOLDS):
        out, kept = windows[fold::FOLDS], [w for i, w in enumerate(windows) if i % FOLDS != fold]
        rows = np.concatenate([window.rows for window in kept])
        rows.sort()
        built = build_reference(
            features.iloc[rows].reset_index(drop=True), schema, predicted.iloc[rows].reset_index(drop=True),
            times=None if times is None else times.iloc[rows].reset_index(drop=True), time_column="", random_state=SEED,
            sizes=[size], ordered=stream.name != "acs",
        )  # fmt: skip
        reference = open_reference(built.record, built.models, size)
        if reference is None:
            print(f"{stream.name} {size}: insufficient reference")
            return
        yield HeldOut(reference, both, out, both.iloc[rows], kept)


# false alarms -------------------------------------------------------------------------------------------------------
def evidently_default(window: pd.DataFrame, rest: pd.DataFrame) -> bool:
    """Any column drifted by Evidently's default for more than 1,000 rows: Wasserstein / σ, Jensen-Shannon, ≥ 0.1."""
    for name in window:
        a, b = window[name].dropna(), rest[name].dropna()
        if pd.api.types.is_numeric_dtype(a):
            spread = b.std()
            drifted = distributions.wasserstein_distance(a, b) / spread >= 0.1 if spread > 0 else False
        else:
            shares = pd.concat([a.value_counts(normalize=True), b.value_counts(normalize=True)], axis=1).fillna(0)
            p, q = shares.to_numpy().T
            middle = (p + q) / 2
            drifted = np.sqrt((distributions.entropy(p, middle, 2) + distributions.entropy(q, middle, 2)) / 2) >= 0.1
        if drifted:
            return True
    return False


def three_sigma(window: pd.DataFrame, rest: list[pd.DataFrame]) -> bool:
    """Any number's mean outside mean ± 3 σ of the means of the reference's own windows."""
    numbers = window.select_dtypes("number").columns
    means = np.array([part[numbers].mean() for part in rest])
    away = np.abs(window[numbers].mean() - means.mean(0)) > 3 * means.std(0, ddof=1)
    return bool(away.any())


def alarms(*names: str) -> None:
    """Print the share of held-out windows beyond calibration, pooled and by stream; `quick` without the other rules."""
    pooled, compare = np.zeros(2, dtype=int), "quick" not in names
    for name, size in CASES:
        if set(names) - {"quick"} and not {name, f"{name}-{size}"} & set(names):
            continue
        for stream in streams(name):
            began, counts, own = time.monotonic(), np.zeros(4, dtype=int), []
            judged: dict[int, tuple[bool, bool]] = {}
            for fold in held_out(stream, size):
                parts = [fold.frame.iloc[window.rows] for window in fold.rest_windows]
                own.append([bool(p <= LEVEL) for p in fold.reference.own_p])
                for window in fold.windows:
                    part = fold.frame.iloc[window.rows]
                    judgment = fold.reference.judge(window, part)
                    broke = judgment.beyond and max(judgment.broken.values(), default=0) >= 2
                    judged[int(window.rows[0])] = judgment.beyond, broke
                    counts[:2] += [1, judgment.beyond]
                    if compare:
                        counts[2:] += [evidently_default(part, fold.rest), three_sigma(part, parts)]
            n, ours = int(counts[0]), int(counts[1])
            low, high = share_interval(ours, n)
            pooled += counts[:2]
            print(
                f"{name:12}{size:>6} {n:4} windows: beyond {ours:3} = {ours / max(n, 1):.1%} ({low:.1%}-{high:.1%}); "
                + (f"Evidently {counts[2] / max(n, 1):.0%}, 3 sigma {counts[3] / max(n, 1):.0%}; " if compare else "")
                + f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
            beyond, grave = (list(one) for one in zip(*(judged[first] for first in sorted(judged)), strict=True))
            print(f"{'':18} {alarm_years(beyond, grave, own, size)}", flush=True)
    low, high = share_interval(int(pooled[1]), int(pooled[0]))
    print(f"pooled {pooled[1]} of {pooled[0]} = {pooled[1] / pooled[0]:.1%} ({low:.1%}-{high:.1%})")


def resampled(*names: str) -> None:
    """Print the share of random draws beyond calibration; the reference is built from the other half of the rows."""
    for stream in streams(*(names or ("acs", "bike"))):
        order = np.random.default_rng(SEED).permutation(stream.reference)
        frame = stream.frame.iloc[order].reset_index(drop=True).drop(columns=stream.target)
        schema = infer_schema(frame, target="", task=stream.task, classes=["0", "1"], positive_class="1")
        half = len(frame) // 2
        built = build_reference(frame.head(half), schema, frame.head(half)[[]], random_state=SEED)
        reference = open_reference(built.record, built.models)
        assert reference is not None
        for n, draws in ((1_000, 200), (10_000, 100), (100_000, 50), (1_000_000, 20)):
            rng = np.random.default_rng(n)
            out = sum(
                reference.judge(Window("drawn", np.arange(n)), frame.iloc[rng.integers(half, len(frame), n)]).beyond
                for _ in range(draws)
            )
            low, high = share_interval(out, draws)
            print(
                f"{stream.name:12} {n:9,} rows: {out} of {draws} = {out / draws:.1%} ({low:.1%}-{high:.1%})", flush=True
            )


# faults -------------------------------------------------------------------------------------------------------------
Fault = Callable[[pd.DataFrame], pd.DataFrame]


def changed(column: str, function: Callable[[pd.Series], pd.Series]) -> Fault:
    """The fault that changes one column."""
    return lambda frame: frame.assign(**{column: function(frame[column])})


def swapped(a: str, b: str) -> Fault:
    """The fault that exchanges two columns."""
    return lambda frame: frame.assign(**{a: frame[b], b: frame[a]})


def shuffled(values: pd.Series) -> pd.Series:
    """The values in another order."""
    return pd.Series(np.random.default_rng(1).permutation(values.to_numpy()), values.index)


def with_gaps(values: pd.Series) -> pd.Series:
    """Five per cent of the values gone."""
    return values.astype(float).mask(np.random.default_rng(2).random(len(values)) < 0.05)


def faults_of(stream: Stream) -> dict[str, tuple[str, Fault]]:
    """Faults by name, each with its column."""
    if stream.name == "flights":
        pairs = {
            "°F to °C": ("temp", lambda v: (v - 32) / 1.8), "°F + 5": ("temp", lambda v: v + 5),
            "hPa to inHg": ("pressure", lambda v: v * 0.02953), "miles to km": ("distance", lambda v: v * 1.609344),
            "mph to m/s": ("wind_speed", lambda v: v * 0.44704), "feet to m": ("dest_alt", lambda v: v * 0.3048),
            "distance + 5 %": ("distance", lambda v: v * 1.05),
            "clock - 5 h": ("departure_minute", lambda v: (v - 300) % 1440),
        }  # fmt: skip
        more, swap, half = (
            ["temp", "distance", "humid"],
            ("departure_minute", "arrival_minute"),
            ["temp", "humid", "distance"],
        )
    elif stream.name == "bike":
        pairs, more, swap, half = {}, ["temp", "hum", "hr"], ("temp", "hum"), ["temp", "hum", "windspeed"]
    else:
        pairs, more, swap, half = {}, ["nswprice", "nswdemand"], ("nswdemand", "vicdemand"), ["nswprice", "nswdemand"]
    found = {name: (column, changed(column, function)) for name, (column, function) in pairs.items()}
    for column in more:
        spread = float(stream.frame[column].std())
        found |= {
            f"{column} x 1.5": (column, changed(column, lambda v: v * 1.5)),
            f"{column} + 1 sigma": (column, changed(column, lambda v, s=spread: v + s)),
            f"{column} stuck": (column, changed(column, lambda v: v * 0 + v.median())),
            f"{column} shuffled": (column, changed(column, shuffled)),
            f"{column} 5 % gaps": (column, changed(column, with_gaps)),
        }
    for column in half:
        spread = float(stream.frame[column].std())
        found[f"{column} + 0.5 sigma"] = (column, changed(column, lambda v, s=spread: v + s / 2))
    return found | {f"{swap[0]} and {swap[1]} swapped": (swap[0], swapped(*swap))}


def faults(*names: str) -> None:
    """Print the share of held-out windows in which each fault is found, and the share in which its column is named.

    `third` takes every third window.
    """
    for name, size in [("flights", "week"), ("bike", "week"), ("electricity", "336")]:
        if set(names) - {"third"} and name not in names:
            continue
        for stream in streams(name):
            rows: dict[str, list[tuple[bool, bool]]] = {}
            for fold in held_out(stream, size):
                for window in fold.windows[:: 3 if "third" in names else 1]:
                    part = fold.frame.iloc[window.rows]
                    for label, (column, harm) in faults_of(stream).items():
                        harmed = harm(part)
                        judgment = fold.reference.judge(window, harmed)
                        named = judgment.beyond and suspect(judgment) in (
                            column,
                            *label.replace(" swapped", "").split(" and "),
                        )
                        fault = name_fault(fold.reference, window, harmed, judgment) if judgment.beyond else None
                        rows.setdefault(label, []).append((judgment.beyond, named, fault.text if fault else "moved"))
            for label, found in rows.items():
                n, hit, named = len(found), sum(one[0] for one in found), sum(one[1] for one in found)
                text, times = Counter(one[2] for one in found if one[0]).most_common(1)[0] if hit else ("", 0)
                print(
                    f"{name:12} {label:42} found {hit / n:4.0%} column {named / n:4.0%} of {n}; {times} x {text}",
                    flush=True,
                )


# the life of a model ------------------------------------------------------------------------------------------------
def life(*names: str) -> None:
    """Print how often a stable model is accused within a year, and how soon a fallen one is."""
    for stream in streams(*(names or ("flights", "electricity", "bike"))):
        accuracy(stream.name, *daily_losses(stream, predictions_of(stream.name)))


def main() -> None:
    """Run the named measurement."""
    what = sys.argv[1:2] or ["alarms"]
    {"alarms": alarms, "resampled": resampled, "faults": faults, "life": life, "cost": cost}[what[0]](*sys.argv[2:])
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
