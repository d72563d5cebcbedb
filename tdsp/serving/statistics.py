"""The statistics of the last rows of a service against the reference of its model, for Prometheus."""

# The rows come from the thread of the prediction log, so a request never waits for them; they are judged when
# Prometheus looks, at most every few seconds. The memory is that of one window; columns and outputs bound the series.

import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tdsp.core.formatting import shorten
from tdsp.serving.predictor import ServedModel, logger
from tdsp.serving.requests import FieldProblem, RequestRows

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from tdsp.monitoring.reference import Reference, ReferenceRecord, WindowJudgment

MAX_COLUMNS = 50  # that have series of their own: those that the model relies on most
MAX_OUTPUTS = 20
MAX_WINDOW_ROWS = 10_000
JUDGE_SECONDS = 5.0  # between two judgments, however often the metrics are read
QUANTILES = (0.1, 0.5, 0.9)
UNSEEN = "\0unseen"  # takes the place of every level that training did not see: a client cannot fill the memory


@dataclass(frozen=True, slots=True)
class ServedRows:
    """The rows of one request and their predictions."""

    rows: RequestRows
    predicted: np.ndarray  # (n, number of outputs)


@dataclass(slots=True)
class RunningWindow:
    """The last rows that one model has predicted."""

    served: ServedModel
    columns: dict[str, str]  # name in the schema -> label
    outputs: dict[str, str]
    size: str  # of the reference's own windows; empty: it has none that rows can be judged by
    rows: int  # of a full window
    status: str
    cells: dict[str, np.ndarray] = field(default_factory=dict)  # column or output -> last cells
    unseen: Counter[str] = field(default_factory=Counter)  # column -> rows since the model is in use


class LiveStatistics:
    """A collector for prometheus_client's registry; `add` is for the thread of the log, `collect` for any other."""

    def __init__(self, served: ServedModel) -> None:
        self._lock, self._judged_at = threading.Lock(), -math.inf
        self._window = open_window(served)
        self._families: list[Metric] = []
        self._rejected: Counter[str] = Counter()

    def reject(self, served: ServedModel, fields: Iterable[FieldProblem]) -> None:
        """Count a request that was refused, by the columns that do not fit; a column of no schema is `other`."""
        known = self._window.columns if served is self._window.served else {}
        self._rejected.update({known.get(problem.column, "other") for problem in fields} or {"other"})

    def add(self, served: ServedModel, requests: Sequence[ServedRows]) -> None:
        """Take the rows of requests into the window; those of a model that has just been taken in begin a new one."""
        with self._lock:
            if served.sha256 != self._window.served.sha256:
                self._window, self._judged_at = open_window(served), -math.inf
            _append(self._window, requests)

    def collect(self) -> Iterator["Metric"]:
        """The series, judged anew where the last judgment is some seconds old."""
        with self._lock:
            if time.monotonic() - self._judged_at >= JUDGE_SECONDS:
                try:
                    self._families = list(_families(self._window, self._rejected))
                except Exception:  # statistics must not take the other metrics with them
                    logger.exception("the running window could not be judged")
                    self._families = []
                self._judged_at = time.monotonic()
            yield from self._families


def open_window(served: ServedModel) -> RunningWindow:
    """Return the empty window of a model; it has the size of the windows that its reference was cut into."""
    record = served.reference
    importance = record.get("importance", {})
    names = sorted((spec["name"] for spec in served.schema["columns"]), key=lambda name: -importance.get(name, 0.0))
    size, rows, status = window_size(record)
    shown, outputs = names[:MAX_COLUMNS], served.columns[:MAX_OUTPUTS]
    labels = labels_of([*shown, *outputs])  # together: both have a series of drift
    columns, predicted = ({name: labels[name] for name in own} for own in (shown, outputs))
    return RunningWindow(served, columns, predicted, size, rows, status)


def window_size(record: "ReferenceRecord") -> tuple[str, int, str]:
    """Return the reference's size of a window, its rows, and a word for the reference."""
    known = record.get("windows", {})
    typical = {size: int(np.median(own["rows"])) for size, own in known.items() if len(own["rows"])}
    fitting = {size: rows for size, rows in typical.items() if rows <= MAX_WINDOW_ROWS}
    if fitting:
        numbers = [size for size in fitting if size.isdigit()] or list(fitting)
        size = max(numbers, key=fitting.__getitem__)
        return size, fitting[size], "ok"
    status = "too few windows" if record.get("columns") else "no reference"
    return "", 1000, "windows too large" if typical else status


def labels_of(names: Iterable[str]) -> dict[str, str]:
    """Return each name with its label: UTF-8, at most 80 signs, no two alike, which Prometheus would refuse."""
    labels: dict[str, str] = {}
    for name in dict.fromkeys(names):
        label = plain = shorten(name.encode(errors="replace").decode(), 80)
        number = 2
        while label in labels.values():
            label, number = f"{plain[:70]} #{number}", number + 1
        labels[name] = label
    return labels


def _append(window: RunningWindow, requests: Sequence[ServedRows]) -> None:
    floats = iter(np.concatenate([one.rows.floats for one in requests], axis=1))
    predicted = np.concatenate([one.predicted for one in requests])
    found: dict[str, np.ndarray] = {}
    for spec in window.served.schema["columns"]:
        name, kind = spec["name"], spec["type"]
        cells = next(floats) if kind == "float" else None
        if name not in window.columns:
            continue
        if cells is None:
            raw = [cell for one in requests for cell in one.rows.raw_columns[name]]
            cells = np.empty(len(raw), dtype=object)
            cells[:] = _known(window, name, spec.get("levels"), raw) if kind == "string" else raw
        found[name] = cells
    found |= {name: predicted[:, i] for i, name in enumerate(window.served.columns) if name in window.outputs}
    for name, cells in found.items():
        before = window.cells.get(name, cells[:0])
        window.cells[name] = np.concatenate([before, cells])[-window.rows :]


def _known(
    window: RunningWindow, name: str, levels: Sequence[str] | None, cells: Sequence[str | None]
) -> list[str | None]:
    """The cells as the objects that the schema holds already; levels that training did not see are counted."""
    if levels is None:  # too many to be listed: those that the profile names
        profile = window.served.reference.get("columns", {}).get(name, {})
        own = {level: level for level in profile.get("levels", {})}
        return [None if cell is None else own.get(cell, UNSEEN) for cell in cells]
    own = {level: level for level in levels}
    kept = [None if cell is None else own.get(cell, UNSEEN) for cell in cells]
    if new := kept.count(UNSEEN):
        window.unseen[name] += new
    return kept


# judging ------------------------------------------------------------------------------------------------------------
def judge_window(window: RunningWindow) -> "WindowJudgment | None":
    """Return the judgment of the window's columns and outputs; None where it is not half full or cannot be judged."""
    from tdsp.monitoring.reference import judged_profiles
    from tdsp.monitoring.windows import MIN_ROWS, Window

    n = len(next(iter(window.cells.values()), ()))
    reference = drift_reference(window.served.reference, window.size) if window.size else None
    if reference is None or n < max(MIN_ROWS, window.rows / 2):
        return None
    kinds = {spec["name"]: spec["type"] for spec in window.served.schema["columns"]}
    absent = np.full(n, np.nan)
    frame = pd.DataFrame(
        {name: _series(window.cells.get(name, absent), kinds.get(name, "float"))
         for name in judged_profiles(window.served.reference)}
    )  # fmt: skip
    return reference.judge(Window("running", np.arange(n)), frame)


def drift_reference(record: "ReferenceRecord", size: str) -> "Reference | None":
    """Return the judge of drift alone: the models of the relations between columns would cost seconds a look."""
    from tdsp.monitoring.reference import open_reference

    if size not in record["windows"]:
        return None
    own = record["windows"][size]
    without = own | {"relations": [[] for _ in own["rows"]]}
    return open_reference(record | {"relations": [], "windows": {size: without}}, b"", size)


def _series(cells: np.ndarray, kind: str) -> pd.Series:
    if kind == "timestamp":
        return pd.Series(pd.to_datetime(pd.Series(cells), errors="coerce", utc=True))
    return pd.Series(cells)


def _families(window: RunningWindow, rejected: Mapping[str, int]) -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    record, judgment = window.served.reference, judge_window(window)

    def gauge(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> "Metric":
        found = GaugeMetricFamily(f"tdsp_{name}", text, labels=labels)
        for own, value in values:
            found.add_metric([str(one) for one in own], float(value))
        return found

    columns, outputs = window.columns, window.outputs
    left_out = len(window.served.schema["columns"]) - len(columns)
    state = (window.status, window.size)
    yield gauge("reference_info", "What the bundle's reference can judge; 1", ["status", "window"], [(state, 1)])
    n = len(next(iter(window.cells.values()), ()))
    yield gauge("window_rows", "Rows in the running window", [], [((), n)])
    yield gauge("window_full_rows", "Rows of a full running window", [], [((), window.rows)])
    yield gauge("window_columns_left_out", "Columns beyond the limit, without series", [], [((), left_out)])
    gaps = {name: pd.isna(window.cells[name]).mean() for name in columns if n}
    known = {name: one["missing"] for name, one in record.get("columns", {}).items() if name in columns}
    shares = [((columns[name], of), value) for of, values in (("window", gaps), ("reference", known))
              for name, value in values.items()]  # fmt: skip
    yield gauge("missing_share", "Share of rows without a value, 0 to 1", ["column", "of"], shares)
    means = [((label,), np.mean(window.cells[name])) for name, label in outputs.items() if n]
    yield gauge("prediction_mean", "Mean prediction of the running window", ["output"], means)
    yield gauge("prediction_quantile", "Quantile of the predictions", ["output", "quantile", "of"],
                _quantiles(window, record))  # fmt: skip
    if judgment:
        from tdsp.monitoring.faults import largest_effects

        sizes = largest_effects(judgment)
        drift = [((label,), sizes[name]) for name, label in (columns | outputs).items() if name in sizes]
        yield gauge("drift_level", "Largest effect; 1: passed by 5 % of the reference's windows", ["column"], drift)
        yield gauge("window_p", "Rank of the window among the reference's own, 0 to 1", [], [((), judgment.p)])
    for name, text, counts in (
        (
            "unseen_levels",
            "Cells with a level that training did not see",
            {columns[k]: v for k, v in window.unseen.items()},
        ),
        ("rejected_fields", "Requests refused, by column that did not fit", rejected),
    ):
        counter = CounterMetricFamily(f"tdsp_{name}", text, labels=["column"])
        for label, count in dict(counts).items():
            counter.add_metric([label], count)
        yield counter


def _quantiles(window: RunningWindow, record: "ReferenceRecord") -> Iterator[tuple[Sequence[str], float]]:
    for name, label in window.outputs.items():
        marks = record.get("predictions", {}).get(name, {}).get("quantiles") or []
        for of, values in (("window", window.cells.get(name, ())), ("reference", marks)):
            if len(values):
                for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True):
                    yield (label, f"{q:g}", of), float(value)
