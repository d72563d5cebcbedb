"""Two figures of the loop: wrong promotions when one looks at every turn, and flights from August to January.

python -m tests.benchmarks.cycle promotions   wrong and right promotions, and a 95 % interval at every look beside them
python -m tests.benchmarks.cycle [FOLDER]     the loop end to end on flights; FOLDER keeps its outputs [a temporary one]
"""

import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats as distributions

from tdsp.monitoring.decisions import in_clipped_bets, is_ruined
from tests.support.streams import ROOT, bike, electricity, flights

LIVES, LOOKS, UNITS = 400, 12, 30  # comparisons; looks at each; new days between two looks


# wrong promotions ---------------------------------------------------------------------------------------------------
def promoted(gain: np.ndarray, reach: np.ndarray, looks: int = LOOKS) -> tuple[int, int]:
    """Return at which look, from 1, the bet and a 95 % interval promote; 0 for never."""
    first = [0, 0]
    for look in range(1, looks + 1):
        n = look * len(gain) // looks
        is_better_by_bet = is_ruined(0.0, *in_clipped_bets(pd.Series(gain[:n]), pd.Series(reach[:n])))
        error = gain[:n].std(ddof=1) / np.sqrt(n) * distributions.t.ppf(0.975, n - 1)
        for i, is_better in enumerate((is_better_by_bet, gain[:n].mean() > error)):
            first[i] = first[i] or look * int(is_better)
        if all(first):
            break
    return first[0], first[1]


def real_gains(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return daily differences of two real models of a stream, and the largest possible ones, in order of time."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    from tdsp.monitoring.decisions import largest_difference
    from tdsp.monitoring.performance import loss_scale, row_loss, unit_losses

    stream = {"flights": flights, "electricity": electricity, "bike": bike}[name]()
    features = stream.features.apply(lambda one: one.astype("category") if one.dtype.kind not in "biuf" else one)
    kind = LGBMRegressor if stream.task == "regression" else LGBMClassifier
    half, n = stream.reference // 2, stream.reference
    predicted = []
    for rows in (slice(0, half), slice(0, n)):
        model = kind(n_estimators=100, verbose=-1, n_jobs=1, random_state=0).fit(features[rows], stream.y[rows])
        later = features[n:]
        predicted.append(model.predict(later) if stream.task == "regression" else model.predict_proba(later)[:, 1])
    y_true = stream.y[n:]
    scale = loss_scale(stream.task, y_true, predicted[0])
    gain = row_loss(stream.task, y_true, predicted[0], scale) - row_loss(stream.task, y_true, predicted[1], scale)
    reach = largest_difference(stream.task, predicted[0], predicted[1], scale)
    times = None if stream.time is None else stream.time[n:].reset_index(drop=True)
    unit = "" if times is not None else "48"  # half hours
    return unit_losses(gain, times, unit).to_numpy(), unit_losses(reach, times, unit).to_numpy()


def draw_life(rng: np.random.Generator, n_units: int, block: int, units: int = LOOKS * UNITS) -> np.ndarray:
    """Return positions of units, in blocks of neighbors."""
    starts = rng.integers(0, n_units - block + 1, -(-units // block))
    return (starts[:, None] + np.arange(block)).ravel()[:units]


def measure_promotions() -> None:
    """Print wrong promotions of models that are no better, and right ones of models that are."""
    print(f"{LIVES} comparisons, {LOOKS} looks, {UNITS} new days between two looks")
    print("| differences | mean by day | promoted: bet | 95 % interval at each look | median look of the bet |")
    print("|---|---|---|---|---|")
    rng = np.random.default_rng(2013)
    for name in ("independent", "flights", "electricity", "bike"):
        if name == "independent":
            gain, reach = rng.normal(0, 0.01, 20_000), np.full(20_000, 0.08)
        else:
            gain, reach = real_gains(name)
        for shift in (0.0, 0.25, 0.5):  # of a day's standard deviation
            moved = gain - gain.mean() + shift * gain.std()
            found = []
            for _ in range(LIVES):
                rows = draw_life(rng, len(gain), 1 if name == "independent" else 7)
                found.append(promoted(moved[rows], reach[rows]))
            looks = np.array(found)
            share = (looks > 0).mean(axis=0)
            median = f"{np.median(looks[looks[:, 0] > 0, 0]):.0f}" if share[0] else "-"
            print(f"| {name} | {shift} SD | {share[0]:.1%} | {share[1]:.1%} | {median} |", flush=True)


# the loop on flights ------------------------------------------------------------------------------------------------
SETTINGS = "candidates: [lightgbm]\nsearch_trials: 2\ncv_rows: 20000\nn_resamples: 200\nimportance_rows: 1000\n"
CYCLE = "every: month\nlabels_late: 30\nretrain_every: 3\ncool_down: 1\nmin_labels: 1000\n"
TURNS = ("2013-10-01", "2013-11-01", "2013-12-01", "2014-01-01", "2014-02-01")


def write_flights(root: Path) -> Path:
    """Write a project with the flights' files and small search settings; return the parameter file."""
    folder = root / "parameters"
    shutil.copytree(ROOT / "parameters", folder, ignore=shutil.ignore_patterns("[!f]*"))
    file = folder / "flights.yaml"
    file.write_text(file.read_text() + SETTINGS)
    file.with_name("flights.cycle.yaml").write_text(CYCLE)
    sql = (folder / "flights.sql").read_text()
    (folder / "august.sql").write_text(f"SELECT * FROM (\n{sql}\n) WHERE departure < TIMESTAMP '2013-09-01'\n")
    return file


def measure_flights(root: Path) -> None:
    """Print a row a turn: state, decision, champion, comparison."""
    from tdsp.registry import registry
    from tdsp.runner.cycle import run_cycle
    from tdsp.runner.pipeline import run_file

    file, outputs = write_flights(root), root / "outputs"
    begin = time.monotonic()
    first = run_file(file, settings={"sql": "august.sql"}, out=outputs)
    registry.promote(first.folder, reason="first model", outputs=outputs)
    print(f"first model: {first.record.verdict} after {time.monotonic() - begin:.0f} s", flush=True)
    print("| window | state | decision | trigger | champion after | difference (bounds) | seconds | what was written |")
    print("|---|---|---|---|---|---|---|---|")
    for until in TURNS:
        begin = time.monotonic()
        made = run_cycle(file, until=until, out=outputs).decision
        board = registry.read_board("flights", outputs)
        assert made is not None and board is not None  # a turn of its own ends in a decision
        c = made.comparison
        apart = f"{c['difference']:.4f} ({c['low']:.4f} to {c['high']:.4f}), {c['units']} bets" if c else ""
        seconds, now = time.monotonic() - begin, f"flights@{board.aliases['champion']}"
        choice = f"{made.decision} ({made.reason})"
        cells = [made.window, made.state, choice, made.trigger, now, apart, f"{seconds:.0f}", made.text]
        print("| " + " | ".join(cells) + " |", flush=True)
    keep = ("window", "champion", "state", "decision", "trigger", "reason", "text", "challenger", "comparison")
    lines = (outputs / "monitoring" / "flights" / "decisions.jsonl").read_text().splitlines()
    same = json.dumps([{name: json.loads(line)[name] for name in keep} for line in lines], sort_keys=True)
    print(f"decisions without times and ids: sha256 {hashlib.sha256(same.encode()).hexdigest()[:16]}")


def main(arguments: list[str]) -> None:
    """Measure what is named."""
    if arguments[:1] == ["promotions"]:
        measure_promotions()
    elif arguments:
        measure_flights(Path(arguments[0]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure_flights(Path(folder) / "flights")


if __name__ == "__main__":
    main(sys.argv[1:])
