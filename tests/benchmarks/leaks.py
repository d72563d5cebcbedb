"""Planted leaks that are found or missed, and clean tables that raise an alarm, each with its exact 95 % interval.

    python -m tests.benchmarks.leaks [development|validation]

Every kind of leak is planted into some of the tables, without and with noise (the values of a twentieth of the rows are
exchanged among them). Half of the cases, drawn by the hash of their name, were used while the thresholds were set; the
other half is for validation. Each case goes through `tdsp.find_leaks`, the search of stage 2, on drawn rows.

Leaks that real tables have, as shared/data/SOURCES.md names them, are taken out beforehand (TRUE_LEAKS).
"""

import hashlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import pandas as pd

import tdsp
from tdsp.data.ingest import load_source, to_frame
from tdsp.data.schema import find_exclusions
from tdsp.data.target import guess_task
from tdsp.stats.resampling import share_interval
from tests.support.strangers import DATA, TABLES

ROWS, NOISE, TABLES_A_KIND, VARIANTS = 1_000, 0.05, 2, 3
ASKED_ABOUT_ELSEWHERE = ("prediction", "target-in-name", "telling-gap")  # findings that open no question
TRUE_LEAKS = {
    "bank_marketing": ["duration"],
    "bike_sharing": ["casual", "registered"],
    "acs_employment": ["prediction", "predicted_probability"],
    "taxi_fare": ["dropoff_hour", "dropoff_minute", "dropoff_second"],
}
BUILT_IN = ("breast_cancer", "wine", "iris", "diabetes", "digits")
UNUSED = (  # kept for the validation of the models' quality, and looked at for nothing else
    "air_quality", "arrhythmia", "diamonds", "german_credit", "horse_colic", "oil_spill", "student_grades",
)  # fmt: skip


def generated(name: str) -> tuple[pd.DataFrame, str]:
    """A table with signal in many columns: two classes, four classes with one rare, or a number."""
    rng = np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
    X = pd.DataFrame(rng.normal(size=(ROWS, 8)), columns=[f"x{i}" for i in range(8)])
    X = X.assign(group=rng.choice(list("abcde"), ROWS), gaps=np.where(rng.random(ROWS) < 0.3, np.nan, X["x0"]))
    signal = X["x0"] + X["x1"] * X["x2"] + 0.5 * X["x3"] + rng.normal(0, 1, ROWS)
    if name.endswith("number"):
        return X.assign(y=np.exp(signal / 2).round(3)), "y"
    edges = {"two": [0.5], "rare": [0.9], "four": [0.4, 0.7, 0.9]}[name.split("_")[1]]
    codes = np.searchsorted(np.quantile(signal, edges), signal)
    return X.assign(y=np.array(["none", "claim", "appeal", "court"])[codes]), "y"


@cache
def load(name: str) -> tuple[pd.DataFrame, str]:
    """The table without its own leaks and ids, at most ROWS rows with a target."""
    if name.startswith("made_"):
        return generated(name)
    file, target = (f"sklearn:{name}", "target") if name in BUILT_IN else TABLES[name][:2]
    df = to_frame(load_source("t", file, root=DATA).table).drop(columns=TRUE_LEAKS.get(name, []), errors="ignore")
    df = df[df[target].notna()]
    df = df.sample(min(ROWS, len(df)), random_state=0).reset_index(drop=True)
    if guess_task(df[target]).value != "regression":
        df = df[df.groupby(target)[target].transform("size") >= 10].reset_index(drop=True)
    return df.drop(columns=list(find_exclusions(df, without=[target]))), target


NAMES = [
    *(name for name in TABLES if name not in UNUSED), *BUILT_IN,
    "made_two", "made_rare", "made_four", "made_number", "made_another_number",
]  # fmt: skip


DAY = pd.Timedelta("1D")

# --- leaks of classes: codes y (0 is the most frequent class), random numbers -> columns ----------------------------


def _event(y):
    return y == y.max()


def _note(rng, hint, n):
    words = ["customer", "called", "about", "the", "contract", "bill", "then", "wants", "help", "with", "new", "device"]
    return [" ".join([*rng.choice(words, 9), *([hint[i]] if hint[i] else []), *rng.choice(words, 4)]) for i in range(n)]


def _blocks(y, rng):
    numbers = np.sort(rng.choice(len(y) * 9, len(y), replace=False)) + 40_000
    found = np.empty(len(y), dtype=int)
    found[np.argsort(y + 0.5 * rng.random(len(y)), kind="stable")] = numbers
    return found


def _xor(y, rng):
    key = rng.integers(0, y.max() + 1, len(y))
    return {"leak_a": (y + key) % (y.max() + 1), "leak_b": key}


def _and(y, rng):
    a, b = np.array([(0, 0), (0, 1), (1, 0)])[rng.integers(0, 3, len(y))].T
    return {"leak_a": np.where(_event(y), 1, a), "leak_b": np.where(_event(y), 1, b)}


def _days(y, rng):
    begin = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 700, len(y)), "D")
    return {"leak_a": begin, "leak_b": begin + pd.to_timedelta(30 * y + rng.integers(0, 30, len(y)), "D")}


CLASSES: dict[str, Callable[[np.ndarray, np.random.Generator], dict[str, object]]] = {
    "copy": lambda y, _: {"leak": np.array([f"state {c}" for c in "KQTWXZABCDEFGHIJLMNOPRSUVY"])[y]},
    "number": lambda y, _: {"leak": 7 - y},
    "levels": lambda y, rng: {"leak": [f"c{c}-{v}" for c, v in zip(y, rng.integers(0, 7, len(y)), strict=True)]},
    "filled": lambda y, rng: {"leak": np.where(_event(y), rng.normal(50, 9, len(y)).round(1), np.nan)},
    "partly": lambda y, rng: {
        "leak": np.where(_event(y) & (rng.random(len(y)) < 0.6), rng.gamma(3, 9, len(y)), np.nan)
    },
    "amount": lambda y, rng: {"leak": np.where(_event(y), rng.gamma(3, 9, len(y)).round(2), 0.0)},
    "score": lambda y, rng: {"leak": y + rng.normal(0, 0.12, len(y))},
    "closed": lambda y, rng: {
        "leak": (pd.Timestamp("2022-03-01") + pd.Series(rng.integers(0, 90, len(y))) * DAY).where(_event(y))
    },
    "row number": lambda y, rng: {"leak": _blocks(y, rng)},
    "note": lambda y, rng: {"leak": _note(rng, np.where(_event(y), "escalated", ""), len(y))},
    "xor": _xor,
    "and": _and,
    "days": _days,
}  # fmt: skip
ONLY_BINARY = ("and", "filled", "partly", "amount", "closed", "note")  # each says one class only


# --- leaks of numbers -------------------------------------------------------------------------------------------------


def _part(y, rng):
    part = rng.gamma(2, np.std(y), len(y))
    return part, y - part


NUMBERS: dict[str, Callable[[np.ndarray, np.random.Generator], dict[str, object]]] = {
    "affine": lambda y, _: {"leak": 0.907 * y + 3},
    "falling": lambda y, _: {"leak": -np.cbrt(y - y.mean())},
    "noisy": lambda y, rng: {"leak": y + rng.normal(0, 0.02 * np.std(y), len(y))},
    "rounded": lambda y, _: {"leak": np.round(pd.Series(y).rank(pct=True) * 40)},
    "threshold": lambda y, _: {"leak": np.where(y > np.quantile(y, 0.7), "high", "low")},
    "bands": lambda y, _: {"leak": np.array(list("CADBE"))[np.searchsorted(np.quantile(y, [0.2, 0.4, 0.6, 0.8]), y)]},
    "filled": lambda y, rng: {"leak": np.where(y > np.quantile(y, 0.8), rng.normal(5, 2, len(y)), np.nan)},
    "sum": lambda y, rng: dict(zip(("leak_a", "leak_b"), _part(y, rng), strict=True)),
    "difference": lambda y, rng: {"leak_a": y + (part := rng.gamma(2, 2 * np.std(y), len(y))), "leak_b": part},
    "product": lambda y, rng: {"leak_a": y / (k := rng.integers(1, 40, len(y))), "leak_b": k},
    "ratio": lambda y, rng: {"leak_a": y * (k := rng.integers(1, 40, len(y))), "leak_b": k},
    "days": lambda y, rng: {
        "leak_a": (begin := pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 700, len(y)), "D")),
        "leak_b": begin + pd.to_timedelta(50 * (y - y.min()) / np.ptp(y), "D").round("min"),
    },
}  # fmt: skip


def with_noise(column: pd.Series, rng: np.random.Generator) -> pd.Series:
    """Some of the rows exchange their values."""
    rows, found = np.flatnonzero(rng.random(len(column)) < NOISE), column.copy()
    found.iloc[rows] = column.iloc[rng.permutation(rows)].to_numpy()
    return found


def planted(name: str, kind: str, noisy: bool) -> tuple[pd.DataFrame, str, list[str]]:
    """The table with the leak, its target, and the leaking columns."""
    df, target = load(name)
    rng = np.random.default_rng(int(hashlib.sha256(f"{name} {kind}".encode()).hexdigest()[:8], 16))
    if guess_task(df[target]).value == "regression":
        made = NUMBERS[kind](df[target].to_numpy(dtype=float), rng)
    else:
        order = df[target].value_counts().index
        y = order.get_indexer(df[target])
        made = CLASSES[kind](y, rng)
    columns = pd.DataFrame(made)
    if noisy:
        columns[columns.columns[0]] = with_noise(columns[columns.columns[0]], rng)
    columns = columns[rng.permutation(columns.columns)]
    return pd.concat([df.drop(columns=target), columns, df[[target]]], axis=1), target, list(columns)


def suspected(df: pd.DataFrame, target: str) -> list[tuple[str, str]]:
    """Columns that a question is asked about, with its code."""
    found = tdsp.find_leaks(df, target).suspects
    return [(s.column, s.code) for s in found if s.code not in ASKED_ABOUT_ELSEWHERE]


def half_of(case: str) -> str:
    """development or validation, by the hash of the case's name."""
    return "validation" if hashlib.sha256(case.encode()).digest()[0] % 2 else "development"


def cases() -> Iterator[tuple[str, str, str, bool]]:
    """Name, table, kind and noise of each planted leak; tables take turns."""
    numeric = {name: guess_task(load(name)[0][load(name)[1]]).value for name in NAMES}
    for kinds, wanted in ((CLASSES, False), (NUMBERS, True)):
        for i, kind in enumerate(kinds):
            fits = [
                n
                for n in NAMES
                if (numeric[n] == "regression") == wanted
                and not (kind in ONLY_BINARY and not wanted and numeric[n] != "binary")
            ]
            for step in range(TABLES_A_KIND):
                table = fits[(i + step * max(1, len(fits) // TABLES_A_KIND)) % len(fits)]
                for noisy in (False, True):
                    yield f"{kind} in {table}{' with noise' if noisy else ''}", table, kind, noisy


def clean_variants() -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Each table whole, and with rows drawn with replacement and four fifths of its columns."""
    for name in NAMES:
        df, target = load(name)
        for i in range(VARIANTS):
            rng = np.random.default_rng(i)
            features = [column for column in df if column != target]
            kept = sorted(rng.choice(len(features), max(3, round(0.8 * len(features))), replace=False))
            rows = rng.choice(len(df), round(0.8 * len(df)), replace=False)
            drawn = df.iloc[rows][[*(features[j] for j in kept), target]].reset_index(drop=True) if i else df
            yield f"{name}, variant {i}", drawn, target


def interval(hits: int, n: int) -> str:
    """Share with its interval after Clopper and Pearson (1934)."""
    low, high = share_interval(hits, n)
    return f"{hits} of {n}, {100 * hits / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def judge_planted(table: str, kind: str, noisy: bool) -> tuple[bool, str]:
    """Whether the planted leak is named, or left out of the features; what was named."""
    df, target, columns = planted(table, kind, noisy)
    found = suspected(df, target)
    out = set(find_exclusions(df, without=[target]))
    return bool({name for name, _ in found} & set(columns)) or set(columns) <= out, str(found)


def judge_clean(df: pd.DataFrame, target: str) -> tuple[bool, str]:
    """Whether a clean table raises an alarm; what was named."""
    found = suspected(df, target)
    return bool(found), str(found)


def main(halves: list[str]) -> None:
    """Print what is missed and each false alarm as they come, the sums after every twenty cases and at the end."""
    began = time.perf_counter()
    jobs = [(case, "with noise" if how[2] else "without noise", partial(judge_planted, *how)) for case, *how in cases()]
    jobs += [(case, "alarms", partial(judge_clean, df, target)) for case, df, target in clean_variants()]
    jobs = [job for job in jobs if half_of(job[0]) in halves]
    results: dict[tuple[str, str], list[bool]] = {}
    for i in np.random.default_rng(0).permutation(len(jobs)):
        case, what, judge = jobs[i]
        half = half_of(case)
        hit, found = judge()
        results.setdefault((half, what), []).append(hit)
        if hit == (what == "alarms"):
            print(f"{'false alarm' if hit else 'missed'} ({half}): {case}: {found}", flush=True)
        if sum(map(len, results.values())) % 20 == 0:
            print_sums(results, began)
    print_sums(results, began)


def print_sums(results: dict[tuple[str, str], list[bool]], began: float) -> None:
    """Print counts and intervals."""
    for (half, what), hits in sorted(results.items()):
        words = "false alarms on clean variants" if what == "alarms" else f"planted leaks {what} found"
        print(f"{half}: {words} {interval(sum(hits), len(hits))}", flush=True)
    print(f"{len(NAMES)} tables, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:] or ["development", "validation"])
