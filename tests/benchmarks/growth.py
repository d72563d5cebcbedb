"""Seconds and memory of the third stage's search and final fit from a thousand to a million training rows.

    python -m tests.benchmarks.growth [most rows]

Each size runs in a process of its own with the parameters' defaults: at most 50,000 rows are compared, all are fitted.
CPU seconds are printed, which other work on the machine disturbs least; the exponent is that of a line through their
logarithms.
"""

import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd

FAMILIES = ["linear", "lightgbm", "tree", "extra_trees", "mlp", "hist_gb", "ensemble"]


def made_table(n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return twelve numbers, a text of ten levels and a binary target with interactions."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 12))).rename(columns="x{}".format)
    level = rng.integers(0, 10, n)
    signal = X["x0"] + X["x1"] * X["x2"] + np.sin(2 * X["x3"]) + 0.3 * level
    X["level"] = pd.Series([f"level {k}" for k in range(10)], dtype=object).iloc[level].to_numpy()
    return X, (signal + rng.logistic(size=n) > 1.5).astype(int).to_numpy()


def one(n: int) -> None:
    """Search and fit on this many rows; print CPU seconds of both, wall seconds and peak MiB."""
    from tdsp.modeling.fitting import fit_final
    from tdsp.modeling.folds import make_folds
    from tdsp.modeling.search import search
    from tdsp.modeling.selection import best_of_families
    from tdsp.stats.metrics import METRICS

    X, y = made_table(n)
    began, cpu = time.monotonic(), time.process_time()
    cv = make_folds(y, task="binary", max_rows=50_000, random_state=1)
    options = {"task": "binary", "cv": cv, "metric": METRICS["roc_auc"], "classes": ("no", "yes"), "random_state": 1}
    found = search(FAMILIES, X, y, trials=16, **options)
    searched = time.process_time() - cpu
    best = max(best_of_families(found, METRICS["roc_auc"]), key=lambda c: c.mean + c.selection_optimism)
    fit_final(best, X, y, task="binary", random_state=1)
    scale = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    print(searched, time.process_time() - cpu - searched, time.monotonic() - began, peak, best.name)


def main(most: int) -> None:
    """Print a row a size, and the exponents."""
    rows = []
    for n in (10**k for k in range(3, 7) if 10**k <= most):
        done = subprocess.run([sys.executable, __file__, "--one", str(n)], capture_output=True, text=True, check=True)
        searched, fitted, wall, peak, name = done.stdout.split(maxsplit=4)
        rows.append([n, float(searched), float(fitted), float(peak)])
        print(f"{n:9,} rows: search {float(searched):6.1f} CPU s, final fit {float(fitted):6.1f} CPU s, "
              f"{float(wall):6.1f} s, {float(peak):6.0f} MiB, {name.strip()}", flush=True)  # fmt: skip
    sizes, searched, fitted, peak = np.log(np.array(rows)).T
    for what, values in (("search", searched), ("all", np.log(np.exp(searched) + np.exp(fitted))), ("memory", peak)):
        print(f"{what}: rows to the power of {np.polyfit(sizes, values, 1)[0]:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 10**6)
