"""The model of a service: opened from its verified bundle, predicting in small batches."""

import asyncio
import io
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tdsp.core.files import sha256_bytes
from tdsp.core.record import read_record
from tdsp.core.schema import ColumnSpec, Schema
from tdsp.packaging import bundle, loader
from tdsp.packaging.loader import feature_names, predict_features, prediction_columns, verified_bytes
from tdsp.packaging.onnx.export import TOLERANCE, open_session, tensors_of
from tdsp.packaging.onnx.graph import input_names
from tdsp.packaging.signing import verify_signature
from tdsp.registry.registry import find_model, verdict_on
from tdsp.serving.requests import Reader, RequestRows

if TYPE_CHECKING:
    from tdsp.monitoring.reference import ReferenceRecord

logger = logging.getLogger("tdsp.serve")


Tensors = dict[str, np.ndarray]


PredictFunction = Callable[[Tensors], np.ndarray]  # (n, number of prediction columns)


# a model ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ServedModel:
    """A checked bundle that is ready to predict."""

    sha256: str  # of bundle.json
    name: str
    title: str
    verdict: str  # on this model: accepted or what else
    engine: str  # one of: onnx, pipeline
    schema: Schema
    columns: list[str]  # of a prediction
    example: dict[str, str | float | bool | None]  # a row that the model takes
    reader: Reader
    predict: PredictFunction
    reference: "ReferenceRecord" = field(default_factory=dict)  # type: ignore[assignment]  # of the bundle; empty: it has none
    sensitive: frozenset[str] | None = None  # columns named so at training; None: the bundle does not say

    @property
    def version(self) -> str:
        """Twelve characters that name these exact bytes."""
        return self.sha256[:12]


def load_served(
    spec: str, *, key: str = "", outputs: Path | None = None, verify_key: Path | None = None
) -> ServedModel:
    """The model behind a folder, a wheel or a registered name; nothing is unpickled before all hashes were checked.

    Raises BundleError or RunError.
    """
    folder = find_model(spec, outputs)
    manifest = bundle.check(folder, verify_signature(folder, verify_key) if verify_key else "")
    schema: Schema = json.loads(verified_bytes(folder, manifest, "schema.json"))
    reference: ReferenceRecord = {}
    if "reference.json" in manifest["files"]:
        reference = json.loads(verified_bytes(folder, manifest, "reference.json"))
    engine, predict = _open(folder, manifest, schema)
    return ServedModel(
        sha256=sha256_bytes(loader.canonical(manifest)),
        name=str(manifest.get("name", folder.name)),
        title=str(manifest.get("title") or manifest.get("name", "")),
        verdict=verdict_on(folder),
        engine=engine,
        schema=schema,
        columns=prediction_columns(schema),
        example={spec["name"]: _typical_value(spec, reference) for spec in loader.input_columns(schema)},
        reader=Reader(schema, key),
        predict=predict,
        reference=reference,
        sensitive=sensitive_columns(folder, manifest),
    )


def sensitive_columns(folder: Path, manifest: bundle.Manifest) -> frozenset[str] | None:
    """Return the columns that were named as sensitive, by the bundle or the record of its run; None: neither says."""
    if "sensitive" in manifest:
        return frozenset(manifest["sensitive"])
    if (folder.parent / "run.json").exists():
        entry = read_record(folder.parent).parameters.get("sensitive")
        return frozenset(map(str, entry.value)) if entry and isinstance(entry.value, list) else None
    return None


def _typical_value(spec: ColumnSpec, reference: Mapping[str, Any]) -> str | float | bool | None:
    """A typical value of a column: its median or its most frequent level; no real row is shown."""
    seen = reference.get("columns", {}).get(spec["name"], {})
    marks, levels = seen.get("quantiles") or [], seen.get("levels") or dict.fromkeys(spec.get("levels") or [], 1)
    if spec["type"] == "boolean":
        return max(levels, key=lambda level: levels[level], default="False") == "True"
    if spec["type"] == "string":
        return max(levels, key=lambda level: levels[level], default=None)
    if not marks:
        return spec.get("max")
    middle = float(marks[len(marks) // 2])
    return (
        datetime.fromtimestamp(middle, UTC).replace(tzinfo=None).isoformat() if spec["type"] == "timestamp" else middle
    )


def _open(folder: Path, manifest: bundle.Manifest, schema: Schema) -> tuple[str, PredictFunction]:
    """ONNX Runtime where the bundle has a graph that gives the golden predictions here, else the pipeline."""
    if "model.onnx" in manifest["files"]:
        session = open_session(verified_bytes(folder, manifest, "model.onnx"))

        def graph(tensors: Tensors) -> np.ndarray:
            return np.asarray(session.run(None, tensors)[0])

        if (gap := golden_gap(graph, folder, manifest, schema)) <= TOLERANCE:
            return "onnx", graph
        logger.warning("model.onnx misses the golden predictions by %.1e on this machine: the pipeline is used.", gap)
    pipeline = bundle.load_model(folder, sha256_bytes(loader.canonical(manifest))).inner.pipeline

    def fitted(tensors: Tensors) -> np.ndarray:
        if not len(next(iter(tensors.values()))):
            return np.empty((0, len(loader.prediction_columns(schema))))
        return predict_features(pipeline, frame_of(tensors, schema), schema)

    if (gap := golden_gap(fitted, folder, manifest, schema)) > 1e-9:
        logger.warning("The golden predictions come back with a difference of %.1e on this machine.", gap)
    return "pipeline", fitted


def golden_gap(predict: PredictFunction, folder: Path, manifest: bundle.Manifest, schema: Schema) -> float:
    """Largest difference to the golden predictions, numbers relative to their size; infinite where one is NaN."""
    golden = pd.read_parquet(io.BytesIO(verified_bytes(folder, manifest, "golden.parquet")))
    expected = golden.iloc[:, len(loader.input_columns(schema)) :].to_numpy(dtype="float64")
    found = predict(tensors_of(loader.as_features(golden, schema), schema))
    size = np.maximum(1.0, np.abs(expected)) if schema["task"] == "regression" else 1.0
    return float(np.nan_to_num(np.abs(found - expected) / size, nan=np.inf).max(initial=0.0))


def frame_of(tensors: Tensors, schema: Schema) -> pd.DataFrame:
    """The features as the pipeline takes them."""
    parts = {n: tensors[kind][:, i] for kind, names in input_names(schema).items() for i, n in enumerate(names)}
    return pd.DataFrame({n: pd.Series(parts[n], dtype=parts[n].dtype, copy=False) for n in feature_names(schema)})


# batches ------------------------------------------------------------------------------------------------------------
MAX_BATCH_ROWS = 4096
MAX_INLINE_ROWS = 64  # that a graph predicts in less time than a thread takes to start


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """Rows that wait for the model, and the future of their predictions."""

    served: ServedModel
    tensors: Tensors
    count: int  # rows
    future: asyncio.Future[np.ndarray]


class MicroBatcher:
    """Joins requests that arrive while the model is busy; an idle model predicts at once.

    Requests of one turn of the event loop, or of the time of the last batch, are predicted together.
    """

    def __init__(self, observe: Callable[[int], None] = lambda _: None) -> None:
        self._waiting: deque[PendingRequest] = deque()
        self._busy, self._observe = False, observe
        self._thread = ThreadPoolExecutor(1, "predict")

    def predict(self, served: ServedModel, rows: RequestRows) -> asyncio.Future[np.ndarray]:
        """The predictions of these rows, once a batch has been through the model."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[np.ndarray] = loop.create_future()
        self._waiting.append(PendingRequest(served, rows.tensors, rows.count, future))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
        return future

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _next_batch(self) -> list[PendingRequest]:
        """The first requests in line for one model, as far as one batch goes."""
        taken: list[PendingRequest] = []
        total = 0
        while self._waiting and self._waiting[0].served is (taken or self._waiting)[0].served:
            if taken and total + self._waiting[0].count > MAX_BATCH_ROWS:
                break
            taken.append(self._waiting.popleft())
            total += taken[-1].count
        return taken

    def _next(self) -> None:
        """Predict the next batch of what waits; requests whose client has left are dropped."""
        self._waiting = deque(request for request in self._waiting if not request.future.done())
        if not self._waiting:
            self._busy = False
            return
        taken = self._next_batch()
        served, tensors, total = taken[0].served, taken[0].tensors, sum(request.count for request in taken)
        self._observe(total)
        if len(taken) > 1:
            tensors = {name: np.concatenate([request.tensors[name] for request in taken]) for name in tensors}
        loop = asyncio.get_running_loop()
        if served.engine == "onnx" and total <= MAX_INLINE_ROWS:
            work: asyncio.Future[np.ndarray] = loop.create_future()
            try:
                work.set_result(served.predict(tensors))
            except Exception as error:  # belongs to the requests, not to the loop
                work.set_exception(error)
            self._share(taken, work)
        else:
            work = loop.run_in_executor(self._thread, served.predict, tensors)
            work.add_done_callback(lambda done: self._share(taken, done))

    def _share(self, taken: Sequence[PendingRequest], work: asyncio.Future[np.ndarray]) -> None:
        """Give each request its rows, then go on."""
        error, start = work.exception(), 0
        for request in taken:
            if not request.future.done():  # a client that has left cancelled it
                if error:
                    request.future.set_exception(error)
                else:
                    request.future.set_result(work.result()[start : start + request.count])
            start += request.count
        asyncio.get_running_loop().call_soon(self._next)
