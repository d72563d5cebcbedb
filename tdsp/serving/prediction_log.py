"""The log of a service: every predicted row with its prediction, in Parquet files for monitoring."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tdsp.core.errors import DataError
from tdsp.core.files import atomic_replace
from tdsp.core.formatting import format_bytes, join_names
from tdsp.packaging.loader import input_columns
from tdsp.serving.predictor import ServedModel, logger
from tdsp.serving.requests import RequestRows

if TYPE_CHECKING:
    import pyarrow as pa

# the log ------------------------------------------------------------------------------------------------------------
MAX_QUEUED_ROWS = 200_000
FLUSH_SECONDS = 3.0
PRUNE_SECONDS = 600.0  # between two looks at what is too old or too much
LEFT_OUT = b"tdsp.left_out"  # in the metadata of a part: the sensitive columns that were sent and not written
_ARROW = {"float": "float64", "boolean": "bool", "string": "string", "timestamp": "timestamp[us]"}


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """The rows of one request and their predictions."""

    served: ServedModel
    rows: RequestRows
    predicted: np.ndarray
    request_id: str
    seconds: float  # since 1970


@dataclass(frozen=True, slots=True)
class LogLimits:
    """The newest parts of a model that a log keeps, by days and bytes; and whether sensitive columns are in it."""

    days: float = 90.0
    bytes: int = 5_000_000_000
    sensitive: bool = False

    def sentence(self, served: ServedModel) -> str:
        """The limits in words, with the columns of a model that are left out."""
        kept = f"the last {self.days:g} days, at most {format_bytes(self.bytes)}; older parts are removed"
        names = {spec["name"] for spec in served.schema["columns"]} & (served.sensitive or set())
        if served.sensitive is None and not self.sensitive:
            return f"{kept}. Which columns are sensitive is not known of this bundle: all are logged."
        if not names:
            return f"{kept}. No column is sensitive."
        return f"{kept}. {'With' if self.sensitive else 'Without'} the sensitive {join_names(sorted(names))}."


@dataclass(slots=True)
class PredictionLog:
    """Append-only Parquet parts, FOLDER/MODEL/VERSION/part-….parquet, written by a thread of their own.

    `add` never waits: rows beyond `max_rows` that are not yet written are dropped and counted. `observe` sees what is
    written, in that thread. The oldest parts of a model are removed where `limits` says so.
    """

    folder: Path
    limits: LogLimits = field(default_factory=LogLimits)
    observe: Callable[[ServedModel, Sequence[LoggedRequest]], None] = lambda _served, _entries: None
    seconds: float = FLUSH_SECONDS
    max_rows: int = MAX_QUEUED_ROWS
    written: int = 0  # rows
    dropped: int = 0
    removed: int = 0  # parts that were too old or too much
    _pruned: dict[str, float] = field(default_factory=dict)  # model -> when its parts were last looked at
    _queue: deque[LoggedRequest] = field(default_factory=deque)
    _queued: int = 0
    _parts: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Write every few seconds from now on."""
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def add(self, served: ServedModel, rows: RequestRows, predicted: np.ndarray, request_id: str) -> None:
        """Keep the rows of a request and their predictions."""
        with self._lock:
            if self._queued + rows.count > self.max_rows:
                self.dropped += rows.count
                return
            self._queued += rows.count
            self._queue.append(LoggedRequest(served, rows, predicted, request_id, time.time()))

    def close(self) -> None:
        """Write what is left and stop."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self.flush()

    def flush(self) -> None:
        """Write everything that waits, a part for each model."""
        with self._lock:
            taken, self._queue, self._queued = self._queue, deque(), 0
        by_model: dict[str, list[LoggedRequest]] = {}
        for entry in taken:
            by_model.setdefault(entry.served.sha256, []).append(entry)
        for entries in by_model.values():
            rows = sum(entry.rows.count for entry in entries)
            try:
                self.observe(entries[0].served, entries)
            except Exception:  # a statistic is worth no prediction
                logger.exception("%d predictions are in no statistic", rows)
            try:
                self._write(entries)
                self.written += rows
            except Exception:  # a full disk or a revoked right must not end the log
                self.dropped += rows
                logger.exception("%d predictions could not be logged in %s", rows, self.folder)

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            self.flush()

    def _write(self, entries: Sequence[LoggedRequest]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        served = entries[0].served
        self._parts += 1
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        place = self.folder / served.name / served.version / f"part-{stamp}-{self._parts}.parquet"
        with atomic_replace(place) as temporary:
            pq.write_table(log_table(served, entries, with_sensitive=self.limits.sensitive), temporary)
        if time.monotonic() - self._pruned.get(served.name, -PRUNE_SECONDS) >= PRUNE_SECONDS:
            self._pruned[served.name] = time.monotonic()
            self.removed += prune_parts(self.folder / served.name, self.limits)
        pa.default_memory_pool().release_unused()  # it would keep the largest part's memory for ever


def prune_parts(folder: Path, limits: LogLimits) -> int:
    """Remove the oldest parts of a model beyond the limits; the newest one stays. Return how many were removed.

    The age is that in a part's name, which a copy keeps; a file of another name is not touched.
    """
    from tdsp.data.served_log import part_files

    oldest = (datetime.now(UTC) - timedelta(days=limits.days)).strftime("part-%Y%m%dT%H%M%S")
    total, removed = 0, 0
    for i, part in enumerate(reversed(part_files(folder))):
        total += part.stat().st_size
        if i and (part.name < oldest or total > limits.bytes):
            part.unlink(missing_ok=True)
            removed += 1
    return removed


def require_logged(folder: Path, names: Sequence[str]) -> None:
    """Raise DataError where the newest part of a log leaves out one of these columns: it cannot be predicted again."""
    import pyarrow.parquet as pq

    from tdsp.data.served_log import part_files

    parts = part_files(folder) if folder.is_dir() else []
    try:
        found = json.loads((pq.read_schema(parts[-1]).metadata or {}).get(LEFT_OUT, b"[]")) if parts else []
    except (OSError, ValueError):  # a damaged part is named where it is read
        return
    if hidden := [name for name in names if name in found]:
        raise DataError(
            f"{folder} leaves out {join_names(hidden)}, which is sensitive and which the model needs. "
            "Serve with --log-sensitive, or monitor a table that has it."
        )


def log_table(served: ServedModel, entries: Sequence[LoggedRequest], *, with_sensitive: bool = False) -> "pa.Table":
    """The logged rows: key, time, request, the schema's columns but for the sensitive ones, then `predicted.…`."""
    import pyarrow as pa

    counts = [entry.rows.count for entry in entries]
    requests = np.array([entry.request_id for entry in entries], dtype=object)
    times = np.repeat([round(1e6 * entry.seconds) for entry in entries], counts)
    columns = {
        "key": pa.array([key for entry in entries for key in _keys(entry.rows, entry.request_id)], pa.string()),
        "time": pa.array(times, pa.timestamp("us", "UTC")),
        "request": pa.array(np.repeat(requests, counts), pa.string()),
    }
    floats = iter(np.concatenate([entry.rows.floats for entry in entries], axis=1))
    hidden = frozenset() if with_sensitive else served.sensitive or frozenset()
    for spec in input_columns(served.schema):
        name = spec["name"]
        if spec["type"] == "float":
            cells = next(floats)
        if name in hidden:
            continue
        if spec["type"] != "float":
            cells = [cell for entry in entries for cell in entry.rows.raw_columns[name]]
        columns[f"sent.{name}"] = pa.array(cells, _ARROW[spec["type"]], from_pandas=True)
    predicted = np.concatenate([entry.predicted for entry in entries])
    for i, name in enumerate(served.columns):
        columns[f"predicted.{name}"] = pa.array(predicted[:, i])
    left_out = [spec["name"] for spec in served.schema["columns"] if spec["name"] in hidden]
    return pa.table(columns).replace_schema_metadata({LEFT_OUT: json.dumps(left_out)})


def _keys(rows: RequestRows, request: str) -> list[str]:
    """The sender's key of each row, or the request's id with the number of the row."""
    given = rows.keys if rows.keys is not None else [None] * rows.count
    return [f"{request}-{i}" if key is None else key for i, key in enumerate(given)]
