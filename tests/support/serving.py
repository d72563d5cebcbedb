"""A service in a process of its own, and models for it: what the tests of the service and its load script share."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from tdsp.core.record import create_run, new_record
from tdsp.modeling.fitting import fit_final
from tdsp.monitoring.reference import build_reference
from tdsp.packaging.bundle import choose_golden, write_bundle
from tdsp.packaging.loader import as_features, predict_frame
from tdsp.packaging.onnx.export import onnx_form
from tdsp.registry.registry import promote
from tests.packaging.test_onnx import table

START = """
import sys, json
from pathlib import Path
from tdsp.serving.app import serve
from tdsp.serving.security import RequestLimits
spec, port, outputs, key, limits = sys.argv[1:]
serve(spec, port=int(port), outputs=Path(outputs), key=key, limits=RequestLimits(**json.loads(limits)))
"""


def schema_of(frame: pd.DataFrame, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the levels of its texts, as training describes them."""
    columns = [
        {**spec, "nullable": True, "levels": sorted(frame[spec["name"]].dropna().unique())} if spec["type"] == "string"
        else {**spec, "nullable": True, "levels": None} for spec in schema["columns"]
    ]  # fmt: skip
    return schema | {"target": "late", "columns": columns}


def write_model(
    folder: Path,
    *,
    candidate: str = "lightgbm",
    task: str = "binary",
    rows: int = 1500,
    onnx: bool = True,
    sensitive: list[str] | None = None,
) -> Path:
    """A bundle of a table with every kind of column."""
    frame, schema, y = table(task)
    frame, schema, y = frame[:rows], schema_of(frame, schema), y[:rows]
    pipeline = fit_final(candidate, as_features(frame, schema), y, task=task, random_state=0)
    return write_bundle(
        folder,
        name="delays",
        pipeline=pipeline,
        schema=schema,
        golden_frame=choose_golden(frame.assign(late=y), schema, 200),
        reference=build_reference(frame, schema, predict_frame(pipeline, frame, schema), random_state=0).record,
        card={"title": "<b>Delays</b> & more"},
        onnx=onnx_form(pipeline, schema, frame) if onnx else None,
        sensitive=sensitive,
    ).folder


def register(outputs: Path, models: list[dict[str, Any]]) -> None:
    """Accepted runs of these models; the first one is delays@champion."""
    for number, settings in enumerate(models, 1):
        run_id = f"delays-2026110{number}T080000Z-000{number}"
        record = replace(new_record(run_id, "delays", fixed=True), verdict="accepted", status="succeeded")
        run = create_run(outputs / "runs" / run_id, record)
        run.add_artifact(write_model(run.folder / "model", **settings), kind="bundle")
        promote(run.folder, outputs=outputs)
    promote("delays@1", outputs=outputs)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def logged_predictions(outputs: Path) -> pd.DataFrame:
    """Every logged prediction, in the order of the parts."""
    parts = sorted(outputs.glob("predictions/**/*.parquet"))
    return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True) if parts else pd.DataFrame()


@dataclass(slots=True)
class Running:
    """A service that answers."""

    port: int
    process: subprocess.Popen
    outputs: Path
    errors: Any  # the file that its stderr goes to

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of a GET."""
        return self.ask(path, None, **headers)

    def post(self, document: Any, path: str = "/invocations", **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON answer of a POST of a document, or of bytes as they are."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        status, text = self.ask(path, body, **{"content-type": "application/json"} | headers)
        return status, json.loads(text)

    def ask(self, path: str, body: bytes | None, **headers: str) -> tuple[int, str]:
        """Status and text of any request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, body, named), timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def logged(self) -> pd.DataFrame:
        """Every logged prediction, in the order of the parts."""
        return logged_predictions(self.outputs)

    def stop(self, seconds: float = 30) -> int:
        """Ask it to stop as a supervisor does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def running(
    spec: str | Path, outputs: Path, *, key: str = "", command: list[str] | None = None, **limits: Any
) -> Iterator[Running]:
    """A service in a process of its own, ended by its process id; `limits` are fields of `RequestLimits`."""
    port = free_port()
    ours = [sys.executable, "-c", START, str(spec), str(port), str(outputs), key, json.dumps(limits)]
    with tempfile.TemporaryFile() as errors:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen(
            [*(command or ours), *([str(port)] if command else [])], stdout=errors, stderr=errors, env=environment
        )
        found = Running(port, process, outputs, errors)
        try:
            for _ in range(600):
                if process.poll() is not None:
                    break
                try:
                    found.get("/health")
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                raise TimeoutError("the service does not answer")
            if process.poll() is not None:
                errors.seek(0)
                raise RuntimeError(errors.read().decode())
            yield found
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
