"""Seconds on one core and memory of judging 1,000,000 rows of 20 columns; called by `tests.benchmarks.monitoring cost`.

Each way runs in a process of its own, on the same two tables: numbers with few and many values, words, and gaps.
Seconds are those of the processor, which other work on the machine hardly changes; memory is what comes on top of both
tables, as the system counts it.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from tdsp.core.schema import Schema
from tdsp.data.schema import infer_schema
from tdsp.monitoring.drift import chance_effects, column_profile, grid_of, window_effects
from tdsp.monitoring.reference import build_reference, open_reference
from tdsp.monitoring.relations import fit_relations, window_folds
from tdsp.monitoring.windows import Window, cut_windows

ROWS, COLUMNS = 1_000_000, 20
MAX_SECONDS, MAX_MB, MAX_RELATION_SECONDS = 1.0, 300, 2.0


def table(rows: int, random_state: int) -> pd.DataFrame:
    """Twelve numbers, of which four have few values, and eight columns of words; five of all have gaps."""
    rng = np.random.default_rng(random_state)
    common = rng.normal(size=rows)
    numbers = {f"number_{i}": common + rng.normal(size=rows) for i in range(4)}
    numbers |= {f"amount_{i}": np.round(np.exp(rng.normal(size=rows)), 2) for i in range(4)}
    numbers |= {f"count_{i}": rng.poisson(3 + 2 * i, rows).astype(float) for i in range(4)}
    words = {f"word_{i}": pd.Series(np.array([f"level {j}" for j in range(3 * 4**i)]), dtype="str").take(
        rng.integers(0, 3 * 4**i, rows)).reset_index(drop=True) for i in range(5)}  # fmt: skip
    words |= {f"word_{i}": words["word_2"].copy() for i in range(5, 8)}
    frame = pd.DataFrame(numbers | words)
    for name in list(frame)[::4]:
        frame[name] = frame[name].mask(rng.random(rows) < 0.05)
    return frame


def _resident(what: str) -> float:
    """MB that the system counts for this process: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def _measured(work: Callable[[], object]) -> dict[str, float]:
    """Seconds, processor seconds and MB beyond what is held before."""
    ctypes.CDLL(None).malloc_trim(0)  # what the tables left behind is not there to be used again
    Path("/proc/self/clear_refs").write_text("5")
    before, began, cpu = _resident("VmRSS"), time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu,
            "mb": _resident("VmHWM") - before}  # fmt: skip


def _schema(frame: pd.DataFrame) -> Schema:
    return infer_schema(frame, target="", task="binary", classes=["0", "1"], positive_class="1")


def drift_pass(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, float]:
    """The effects of all columns in units of chance, with a stored profile."""
    kinds = {spec["name"]: spec["type"] for spec in _schema(old.head(10_000))["columns"]}
    profiles = {name: column_profile(old[name], kind, ordered=True) for name, kind in kinds.items()}

    def work() -> np.ndarray:
        effects = window_effects(new, profiles, {name: grid_of(one) for name, one in profiles.items()})
        return effects / chance_effects(profiles, len(new), len(old))

    return _measured(work)


def scipy_loop(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, float]:
    """A test of Kolmogorov and Smirnov for each number and of independence for each word."""
    from scipy import stats

    def work() -> None:
        for name in new:
            if pd.api.types.is_numeric_dtype(new[name]):
                stats.ks_2samp(old[name].dropna(), new[name].dropna())
            else:
                counts = pd.concat([old[name].value_counts(), new[name].value_counts()], axis=1).fillna(0)
                stats.chi2_contingency(counts.to_numpy().T)

    return _measured(work)


def build(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, float]:
    """The reference itself: profiles, effects of its own windows, relations."""
    schema = _schema(old)
    return _measured(lambda: build_reference(old, schema, old[[]], ordered=True, random_state=1))


def judge(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, float]:
    """One window judged in full, relations among it, by a reference that was built from a part of the table."""
    built = build_reference(old.head(100_000), _schema(old), old.head(100_000)[[]], ordered=True, random_state=1)
    reference = open_reference(built.record, built.models)
    assert reference is not None
    return _measured(lambda: reference.judge(Window("all", np.arange(len(new))), new))


def relations(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, float]:
    """The cross-column check, a column: five fits on 20,000 rows and all residuals of the reference."""
    part = old.head(20_000)
    kinds = {spec["name"]: spec["type"] for spec in _schema(part)["columns"]}
    profiles = {name: column_profile(part[name], kind) for name, kind in kinds.items()}
    numbers = [name for name in profiles if "levels" not in profiles[name]]
    folds = window_folds(len(part), cut_windows(len(part), "1000"), apart=True)
    found = _measured(lambda: fit_relations(part, profiles, folds, random_state=1))
    return {key: value / (len(numbers) if key != "mb" else 1) for key, value in found.items()}


WAYS = {"drift pass": drift_pass, "scipy loop": scipy_loop, "relations, a column": relations,
        "whole judgment": judge, "reference": build}  # fmt: skip


def measure(way: str) -> None:
    """One way in this process; prints its figures as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    old, new = table(ROWS, 1), table(ROWS, 2)
    print(json.dumps(WAYS[way](old, new)))


def cost(*ways: str) -> None:
    """Print seconds and memory of each way, and whether the goals hold."""
    found: dict[str, dict[str, float]] = {}
    for way in ways or WAYS:
        command = [sys.executable, "-m", "tests.benchmarks.monitoring_cost", way]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        one = found[way] = json.loads(done.stdout.splitlines()[-1])
        print(f"{way:20} {one['cpu']:7.2f} s of one core ({one['seconds']:.2f} s by the clock), {one['mb']:6.0f} MB",
              flush=True)  # fmt: skip
    if "drift pass" in found:
        one = found["drift pass"]
        print(f"drift pass under {MAX_SECONDS:g} s and {MAX_MB} MB: {one['cpu'] < MAX_SECONDS and one['mb'] < MAX_MB}")


if __name__ == "__main__":
    measure(sys.argv[1])
