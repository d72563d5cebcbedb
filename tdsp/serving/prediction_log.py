"""The log of a service: every predicted row with its prediction, in Parquet files for monitoring."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tdsp.core.files import atomic_replace
from tdsp.packaging.loader import input_columns
from tdsp.serving.predictor import ServedModel, logger
from tdsp.serving.requests import RequestRows

if TYPE_CHECKING:
    import pyarrow as pa

# the log ------------------------------------------------------------------------------------------------------------
MAX_QUEUED_ROWS = 200_000
FLUSH_SECONDS = 3.0
_ARROW = {"float": "float64", "boolean": "bool", "string": "string", "timestamp": "timestamp[us]"}


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """The rows of one request and their predictions."""

    served: ServedModel
    rows: RequestRows
    predicted: np.ndarray
    request_id: str
    seconds: float  # since 1970


@dataclass(slots=True)
class PredictionLog:
    """Append-only Parquet parts, FOLDER/MODEL/VERSION/part-….parquet, written by a thread of their own.

    `add` never waits: rows beyond `max_rows` that are not yet written are dropped and counted.
    """

    folder: Path
    seconds: float = FLUSH_SECONDS
    max_rows: int = MAX_QUEUED_ROWS
    written: int = 0  # rows
    dropped: int = 0
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
            pq.write_table(log_table(served, entries), temporary)
        pa.default_memory_pool().release_unused()  # it would keep the largest part's memory for ever


def log_table(served: ServedModel, entries: Sequence[LoggedRequest]) -> "pa.Table":
    """The logged rows: key, time, request, the schema's columns, then `predicted.…`."""
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
    for spec in input_columns(served.schema):
        name = spec["name"]
        if spec["type"] == "float":
            cells = next(floats)
        else:
            cells = [cell for entry in entries for cell in entry.rows.raw_columns[name]]
        columns[f"sent.{name}"] = pa.array(cells, _ARROW[spec["type"]], from_pandas=True)
    predicted = np.concatenate([entry.predicted for entry in entries])
    for i, name in enumerate(served.columns):
        columns[f"predicted.{name}"] = pa.array(predicted[:, i])
    return pa.table(columns)


def _keys(rows: RequestRows, request: str) -> list[str]:
    """The sender's key of each row, or the request's id with the number of the row."""
    given = rows.keys if rows.keys is not None else [None] * rows.count
    return [f"{request}-{i}" if key is None else key for i, key in enumerate(given)]
