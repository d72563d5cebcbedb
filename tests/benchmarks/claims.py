"""Reads every sentence about verdict, gates and steps of twenty runs' pages, and every number, against their records.

    python -m tests.benchmarks.claims [--only NAME …] [--keep FOLDER]

Prints a row a run (claims that hold, that do not, sentences that no pattern knows) and the total; ends with 1 where a
claim does not hold. Each run is a small made table; twenty take about ten minutes on a free machine. `--read FOLDER`
reads the runs that an earlier `--keep FOLDER` left.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tdsp.cli.app import call
from tests.support.claims import claims_of, number_claims_of

SMALL = {"search_trials": "3", "candidates": "[dummy, linear, tree]", "n_resamples": "200", "importance_repeats": "1"}


def numbers(n: int, noise: float, *, seed: int = 1) -> pd.DataFrame:
    """Three columns and a score: the first two carry it, with noise of this size."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n, 3)), columns=["wind", "hour", "load"])
    table["kind"] = rng.choice(["a", "b", "c"], n)
    return table.assign(y=table["wind"] + 0.5 * table["hour"] + rng.normal(0, noise, n) if noise else table["wind"])


def classes(n: int, noise: float, *, share: float = 0.4, k: int = 2, seed: int = 1) -> pd.DataFrame:
    """The same with classes: the `share` of the highest is yes, or k classes of equal size."""
    table = numbers(n, noise, seed=seed)
    cuts = [1 - share] if k == 2 else np.linspace(0, 1, k + 1)[1:-1]
    names = ["no", "yes"] if k == 2 else [f"class {i}" for i in range(k)]
    return table.assign(y=np.array(names)[np.searchsorted(table["y"].quantile(cuts), table["y"])])


def by_time(table: pd.DataFrame, per_day: int = 20) -> pd.DataFrame:
    """The rows with a day each."""
    return table.assign(
        day=pd.date_range("2024-01-01", periods=len(table) // per_day + 1)[np.arange(len(table)) // per_day]
    )


def by_group(table: pd.DataFrame, size: int = 8) -> pd.DataFrame:
    """The rows with the patient each belongs to."""
    return table.assign(patient=[f"p{i // size:04d}" for i in range(len(table))])


@dataclass(frozen=True, slots=True)
class Case:
    """A table and what is stated about it."""

    make: Callable[[], pd.DataFrame]
    settings: dict[str, str] = field(default_factory=dict)


ASKED = {"question": "Will it happen?"}
AUC, R2 = {"metric": "roc_auc"}, {"metric": "r2"}
CASES = {
    "no-threshold": Case(lambda: classes(500, 1.0)),
    "no-question": Case(lambda: classes(500, 0.5), AUC | {"threshold": "0.6"}),
    "accepted": Case(lambda: classes(800, 0.5), ASKED | AUC | {"threshold": "0.7"}),
    "rejected": Case(lambda: classes(800, 1.0), ASKED | AUC | {"threshold": "0.99"}),
    "undecided": Case(lambda: classes(400, 1.0), ASKED | AUC | {"threshold": "0.85"}),
    "near": Case(lambda: classes(400, 1.0), ASKED | AUC | {"threshold": "0.8701"}),
    "tiny": Case(lambda: classes(60, 0.5), ASKED | AUC | {"threshold": "0.6"}),
    "perfect": Case(lambda: classes(400, 0.0), ASKED | AUC | {"threshold": "0.9"}),
    "hopeless": Case(lambda: classes(400, 50.0), ASKED | AUC | {"threshold": "0.6"}),
    "imbalanced": Case(lambda: classes(1500, 0.6, share=0.03), ASKED | AUC | {"threshold": "0.7"}),
    "precision": Case(
        lambda: classes(900, 0.6, share=0.1), ASKED | {"metric": "average_precision", "threshold": "0.3"}
    ),
    "log-loss": Case(lambda: classes(600, 0.8), ASKED | {"metric": "log_loss", "threshold": "0.6"}),
    "multiclass": Case(lambda: classes(600, 0.4, k=3), ASKED | {"metric": "balanced_accuracy", "threshold": "0.5"}),
    "multiclass-loss": Case(lambda: classes(600, 0.8, k=4)),
    "regression": Case(lambda: numbers(500, 0.5), ASKED | R2 | {"threshold": "0.5"}),
    "regression-rejected": Case(lambda: numbers(500, 1.5), ASKED | {"metric": "mae", "threshold": "0.5"}),
    "regression-hopeless": Case(lambda: numbers(300, 60.0), ASKED | R2 | {"threshold": "0.5"}),
    "by-time": Case(lambda: by_time(classes(900, 0.8)), ASKED | AUC | {"threshold": "0.7"}),
    "by-group": Case(lambda: by_group(numbers(640, 0.8)), ASKED | R2 | {"threshold": "0.4"}),
    "sensitive": Case(lambda: classes(900, 0.7), ASKED | AUC | {"threshold": "0.7", "sensitive": "[kind]"}),
}


def run_case(case: Case, root: Path, name: str) -> Path:
    """The run folder of a case, run in the project `root`, which is the folder of the process."""
    source = root / f"{name.replace('-', '_')}.csv"
    case.make().to_csv(source, index=False)
    call(["init", str(source), "--target", "y"])
    settings = [word for pair in (SMALL | case.settings).items() for word in ("--set", "=".join(pair))]
    call(["run", str(root / "parameters" / f"{source.stem}.yaml"), *settings])
    return max((root / "outputs" / "runs").iterdir())


def run_in(root: Path, name: str) -> Path:
    """The run folder of a case in a project of its own."""
    here = Path.cwd()
    try:
        root.mkdir(parents=True, exist_ok=True)
        os.chdir(root)
        return run_case(CASES[name], root, name)
    finally:
        os.chdir(here)


def latest_run(root: Path) -> Path | None:
    """The latest run that is kept and has come to its end; None where there is none."""
    found = sorted((root / "outputs" / "runs").glob("*/run.json"))
    ended = [path.parent for path in found if json.loads(path.read_text(encoding="utf-8"))["verdict"]]
    return ended[-1] if ended else None


def main() -> int:
    """Run the cases and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=CASES, default=[*CASES])
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--read", type=Path, default=None)
    given = parser.parse_args()
    total, runs = Counter[bool | None](), 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.only:
            root = (given.read or given.keep or Path(scratch)).resolve() / name
            folder = latest_run(root) if given.read else run_in(root, name)
            if folder is None:
                continue
            claims = [*claims_of(folder), *number_claims_of(folder)]
            counts = Counter(claim.holds for claim in claims)
            runs, total = runs + 1, total + counts
            print(f"{name:22} holds {counts[True]:4}  untrue {counts[False]:3}  unknown {counts[None]:3}", flush=True)
            for claim in claims:
                if not claim.holds:
                    print(f"    {'untrue' if claim.holds is False else 'unknown'}: {claim.page}: {claim.text}")
    print(f"{f'all {runs} runs':22} holds {total[True]:4}  untrue {total[False]:3}  unknown {total[None]:3}")
    return int(total[False] > 0)


if __name__ == "__main__":
    sys.exit(main())
