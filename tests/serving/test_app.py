"""The service, in a process of its own: real clients, hostile ones, a browser, promotions, a signal to stop."""

import asyncio
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from tdsp.cli import app
from tdsp.core.errors import BundleError, ParameterError
from tdsp.packaging.bundle import load_model
from tdsp.registry.registry import promote
from tdsp.serving import app as service_module
from tdsp.serving.app import Service, make_app
from tdsp.serving.prediction_log import PredictionLog
from tdsp.serving.predictor import MicroBatcher, load_served
from tdsp.serving.security import RequestLimits, is_loopback, require_token
from tests.packaging.test_onnx import table
from tests.support.load_serve import run_load
from tests.support.serving import Running, free_port, logged_predictions, register, running, write_model

ROOT = Path(__file__).parents[2]
TDSP = str(Path(sys.executable).parent / "tdsp")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle to read."""
    return write_model(tmp_path_factory.mktemp("bundle") / "model", rows=600)


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """The outputs of three accepted runs; a test makes a copy."""
    outputs = tmp_path_factory.mktemp("registered") / "outputs"
    outputs.mkdir()
    shutil.copy(empty_database, outputs / "mlflow.db")
    register(outputs, [{"rows": 600}, {"rows": 500}, {"rows": 400}])
    return outputs


@contextmanager
def client_of(
    model: Path, outputs: Path, key: str = "", limits: RequestLimits | None = None
) -> Iterator[tuple[Service, TestClient]]:
    """A service in this process, and a client of it."""
    served = load_served(str(model), key=key)
    service = Service(str(model), served, key=key, outputs=outputs, limits=limits or RequestLimits())
    with TestClient(make_app(service), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield service, client


def test_large_bodies_are_read_and_answered_off_the_event_loop(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is parsed or written, other requests go on; a form is read and drawn in a thread, too."""
    loops, workers = [], []

    def watched(name: str) -> None:
        original = getattr(service_module, name)

        def noting(*arguments: Any, **options: Any) -> Any:
            try:
                asyncio.get_running_loop()
                loops.append(name)
            except RuntimeError:
                workers.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(service_module, name, noting)

    for name in ("require_few_rows", "_written", "page", "_filled_in"):
        watched(name)
    with client_of(model, tmp_path) as (service, client):
        row = service.served.example
        assert client.post("/invocations", json={"dataframe_records": [row] * 2000}).status_code == 200
        assert client.get("/").status_code == 200
        assert client.post("/", data={f"column.{name}": "1" for name in row}).status_code in (200, 400)
        assert client.post("/", content=b"a=" + b"x" * 1_100_000).status_code == 413
    assert (set(workers), loops) == ({"require_few_rows", "_written", "page", "_filled_in"}, [])


def test_bodies_under_way_have_a_total(model: Path, tmp_path: Path) -> None:
    """A body beyond it gets 503; one that is over, refused or broken off gives its share back."""
    with client_of(model, tmp_path, limits=RequestLimits(body_bytes=60_000, pending_bytes=100_000)) as (
        service,
        client,
    ):
        memory = client.app.memory
        body = json.dumps({"dataframe_records": [service.served.example]}).encode()
        for content in (body, b"x" * 50_000, b"x" * 70_000):
            client.post("/invocations", content=content, headers={"content-type": "application/json"})
            assert memory.held == 0
        memory.held = 80_000  # of others
        padded = body + b" " * 30_000
        answer = client.post("/invocations", content=padded, headers={"content-type": "application/json"})
        assert (answer.status_code, memory.held) == (503, 80_000)
        assert "Send it again" in answer.json()["message"]
        assert client.post("/", content=b"a=" + b"x" * 30_000).status_code == 503
        memory.held = 0
        assert (
            client.post("/invocations", content=padded, headers={"content-type": "application/json"}).status_code == 200
        )


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests that only ask."""
    limits = {"body_bytes": 2_000_000, "rows": 5000, "receive_seconds": 2, "answer_seconds": 20}
    with running(model, tmp_path_factory.mktemp("outputs"), key="id", **limits) as found:
        yield found


def rows_of(n: int = 5) -> list[dict[str, Any]]:
    """Rows as JSON has them."""
    frame = table("binary")[0].head(n)
    return json.loads(frame.to_json(orient="records", date_format="iso"))


# clients -------------------------------------------------------------------------------------------------------------
def test_mlflows_own_client_gets_the_models_predictions(service: Running, model: Path) -> None:
    """ScoringServerClient, unmodified: ping, version, a data frame there, predictions back."""
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    frame = table("binary")[0].dropna().head(40)
    client = ScoringServerClient("127.0.0.1", service.port)
    client.wait_server_ready(timeout=5)
    assert re.fullmatch(r"\d+\.\d+\.\d+", client.get_version())
    answered = client.invoke(frame).get_predictions()
    np.testing.assert_allclose(answered, load_model(model).predict(frame), rtol=0, atol=1e-9)


def test_the_predictions_are_those_of_mlflows_server(service: Running, model: Path) -> None:
    """The same bodies, given to MLflow's scoring code with the same bundle: the same JSON; CSV gives it too."""
    from mlflow.pyfunc import load_model as load_pyfunc
    from mlflow.pyfunc.scoring_server import invocations

    pyfunc = load_pyfunc(str(model))
    frame = table("binary")[0].dropna().head(7)
    records, split = (json.loads(frame.to_json(orient=kind, date_format="iso")) for kind in ("records", "split"))
    for body in ({"dataframe_split": split}, {"dataframe_records": records}):
        theirs = invocations(json.dumps(body), "application/json", pyfunc, pyfunc.metadata.get_input_schema())
        status, ours = service.post(body)
        assert (status, list(ours)) == (theirs.status, ["predictions"])
        expected = pd.DataFrame(json.loads(theirs.response)["predictions"])
        pd.testing.assert_frame_equal(pd.DataFrame(ours["predictions"]), expected, rtol=0, atol=1e-9)
    assert service.post(frame.to_csv(index=False).encode(), content_type="text/csv") == (200, ours)


def test_the_lines_of_the_readme_work_as_they_stand(service: Running, tmp_path: Path) -> None:
    """Each curl line of the README, only the port replaced, is answered as the README says."""
    table("binary")[0].head(3).to_csv(tmp_path / "new.csv", index=False)
    lines = [
        line.partition("  #")[0].strip()
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("curl ")
    ]
    assert len(lines) >= 3
    for line in lines:
        command = line.replace("localhost:8000", f"localhost:{service.port}")
        done = subprocess.run(
            ["bash", "-c", f"set -eo pipefail; {command}"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        answer = json.loads(done.stdout)
        assert "predictions" in answer or answer["name"] == "delays"


def test_the_description_has_an_example_that_is_answered(service: Running) -> None:
    """OpenAPI names the model's columns and types; each example in it gives a prediction."""
    document = json.loads(service.get("/openapi.json")[1])
    content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    assert content["schema"]["anyOf"][0] == {"$ref": "#/components/schemas/Records"}
    columns = document["components"]["schemas"]["Row"]["properties"]
    assert columns["dose"]["anyOf"] == [{"type": "number"}, {"type": "null"}]
    assert columns["admitted"]["anyOf"] == [{"type": "string", "format": "date-time"}, {"type": "null"}]
    for example in content["examples"].values():
        status, answer = service.post(example["value"])
        assert (status, set(answer)) == (200, {"predictions"})


def test_health_ready_and_metrics_say_what_is_going_on(service: Running) -> None:
    """Which model, how many rows; Prometheus' own parser reads the metrics."""
    from prometheus_client.parser import text_string_to_metric_families

    assert service.get("/health")[0] == service.get("/ping")[0] == 200
    ready = json.loads(service.get("/ready")[1])
    assert (ready["name"], ready["engine"], ready["verdict"]) == ("delays", "onnx", "unknown")
    before = service.metric("tdsp_predictions_total")
    service.post({"instances": rows_of(3)})
    assert service.metric("tdsp_predictions_total") == before + 3
    names = {family.name for family in text_string_to_metric_families(service.get("/metrics")[1])}
    assert {
        "tdsp_requests",
        "tdsp_request_seconds",
        "tdsp_predictions",
        "tdsp_batch_rows",
        "tdsp_log_rows_dropped",
    } <= names


def test_an_unknown_level_is_answered_with_a_warning(service: Running) -> None:
    """200, a prediction, and a word."""
    status, answer = service.post({"instances": [rows_of(1)[0] | {"ward": "west"}]})
    assert (status, answer["warnings"]) == (200, ["ward: 1 with a level the model has never seen"])


def test_a_pipeline_without_onnx_predicts_alike(model: Path, service: Running, tmp_path: Path) -> None:
    """Where a bundle has no model.onnx the pipeline itself serves, within the tolerance of the other."""
    plain = write_model(tmp_path / "model", rows=600, onnx=False)
    assert not (plain / "model.onnx").exists()
    with client_of(plain, tmp_path) as (_, client):
        assert client.get("/ready").json()["engine"] == "pipeline"
        found = client.post("/invocations", json={"instances": rows_of(300)}).json()["predictions"]
    expected = service.post({"instances": rows_of(300)})[1]["predictions"]
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected), rtol=0, atol=1e-5)


# hostile requests ----------------------------------------------------------------------------------------------------
ROW = rows_of(1)[0]
JSON = {"content-type": "application/json"}


def with_cell(name: str, text: str) -> bytes:
    """A body whose one row has this JSON text in a column."""
    return json.dumps({"instances": [ROW | {name: "@@"}]}).replace('"@@"', text).encode()


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not json": b"dose=1",
    "half": b'{"instances": [',
    "list": b"[]",
    "text": b'"x"',
    "number": b"1",
    "null": b"null",
    "bytes": bytes(range(256)),
    "utf-16": json.dumps({"instances": [ROW]}).encode("utf-16"),
    "bom": b"\xef\xbb\xbf{}",
    "zeros": b"\0" * 1000,
    "bomb of lists": b"[" * 500_000,
    "bomb of objects": b'{"a":' * 100_000,
    "deep cell": with_cell("dose", "[" * 500 + "]" * 500),
    "nan": with_cell("dose", "NaN"),
    "infinity": with_cell("dose", "Infinity"),
    "minus infinity": with_cell("dose", "-Infinity"),
    "beyond": with_cell("dose", "1e999"),
    "huge": with_cell("dose", "9" * 400),
    "huger": with_cell("dose", "9" * 5000),
    "text for number": with_cell("dose", '"one"'),
    "truth for number": with_cell("dose", "true"),
    "object": with_cell("dose", "{}"),
    "list cell": with_cell("dose", "[1]"),
    "number for text": with_cell("ward", "1"),
    "surrogate": with_cell("ward", '"\\ud800"'),
    "number for truth": with_cell("urgent", "1"),
    "no date": with_cell("admitted", '"soon"'),
    "year 0": with_cell("admitted", '"0000-01-01"'),
    "epoch": with_cell("admitted", "1382178600"),
    "no format": b"{}",
    "two formats": b'{"instances": [], "inputs": []}',
    "params": b'{"instances": [{}], "params": {"x": 1}}',
    "no column": b'{"instances": [{}]}',
    "no rows": b'{"dataframe_records": []}',
    "rows as text": b'{"instances": "x"}',
    "ragged": b'{"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}',
    "doubled": b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}',
    "names as numbers": b'{"dataframe_split": {"columns": [1], "data": [[1]]}}',
    "unequal": b'{"inputs": {"dose": [1], "weight": [1, 2]}}',
    "too many": json.dumps({"instances": [ROW] * 6000}).encode(),
    "sql": b"'; DROP TABLE rows; --",
    "template": b"{{7*7}}",
    "pickle": b"\x80\x04\x95\x00\x00cos\nsystem\n.",
    "xml": b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused_with_a_word(service: Running, name: str) -> None:
    """400, or 413 for too many rows; JSON with a message; nothing of the inside."""
    status, answer = service.post(BODIES[name])
    assert status == (413 if name in ("too many", "bomb of lists") else 400)
    assert answer["error_code"] in ("BAD_REQUEST", "REQUEST_ENTITY_TOO_LARGE", "CONTENT_TOO_LARGE")
    assert 5 < len(answer["message"]) < 5000
    assert "Traceback" not in json.dumps(answer)


def raw(service: Running, *parts: bytes, pause: float = 0.0) -> bytes:
    """The response to bytes on the wire, sent one after another until there is one."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=pause or 20) as wire:
        found = b""
        for part in parts:
            try:
                wire.sendall(part)
                while pause and (chunk := wire.recv(65536)):
                    found += chunk
                if pause:
                    return found
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return found
        while chunk := wire.recv(65536):
            found += chunk
        return found


HOST = b"Host: localhost\r\nConnection: close\r\n"
POST = b"POST /invocations HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
WIRE: dict[str, tuple[bytes, bytes]] = {
    "path up": (b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", b"404"),
    "path encoded": (b"GET /%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\n" + HOST + b"\r\n", b"404"),
    "path of a file": (b"GET /pipeline.joblib HTTP/1.1\r\n" + HOST + b"\r\n", b"404"),
    "method": (b"DELETE /invocations HTTP/1.1\r\n" + HOST + b"\r\n", b"405"),
    "get": (b"GET /invocations HTTP/1.1\r\n" + HOST + b"\r\n", b"405"),
    "foreign host": (b"GET /ready HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", b"400"),
    "no type": (b"POST /invocations HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}", b"415"),
    "pickle type": (
        b"POST /invocations HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-pickle\r\nContent-Length: 2\r\n\r\n{}",
        b"415",
    ),
    "latin": (
        b"POST /invocations HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: text/csv; charset=latin-1\r\nContent-Length: 2\r\n\r\n{}",
        b"415",
    ),
    "no http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n", b"400"),
    "long header": (b"GET /ready HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"400"),
    "bad length": (POST + b"Content-Length: -5\r\n\r\n{}", b"400"),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"400"),
    "bad chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n", b"400"),
    "announced 100 MB": (POST + b"Expect: 100-continue\r\nContent-Length: 100000000\r\n\r\n", b"413"),
}


@pytest.mark.parametrize("name", WIRE)
def test_hostile_bytes_on_the_wire_are_refused(service: Running, name: str) -> None:
    """Paths, methods, hosts, types and broken HTTP: a 4xx at once, and nothing of any file."""
    sent, status = WIRE[name]
    found = raw(service, sent)
    assert found.split(b" ")[1:2] == [status]
    assert b"root:" not in found


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_100_mb_is_refused_before_it_is_kept(service: Running, chunked: bool) -> None:
    """413 whether its length is announced or not; the memory of the service does not grow by it."""
    import psutil

    process = psutil.Process(service.process.pid)
    service.post({"instances": [ROW]})
    before = process.memory_info().rss
    block = b'{"instances": "' + b"x" * 999_985
    framed = b"%x\r\n%s\r\n" % (len(block), block) if chunked else block
    head = b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 100000000\r\n\r\n"
    found = raw(service, POST + head, *([framed] * 100), *([b"0\r\n\r\n"] if chunked else []))
    assert found.startswith((b"HTTP/1.1 413", b"HTTP/1.1 408"))
    assert process.memory_info().rss - before < 20e6


@pytest.mark.parametrize("start", [b"", b"POST /invocations HT", POST + b"Content-Length: 500\r\n\r\n{"])
def test_a_client_that_dawdles_is_hung_up_on(service: Running, start: bytes) -> None:
    """No bytes, half a head, half a body, then one byte now and then: 408 after the time that is allowed."""
    began = time.monotonic()
    found = raw(service, start, *([b"x" if start else b""] * 20), pause=0.4)
    assert 1.5 < time.monotonic() - began < 8
    assert found.startswith(b"HTTP/1.1 408")


def test_a_hundred_dawdlers_keep_nobody_waiting(service: Running) -> None:
    """While a hundred connections send nothing, others are answered."""
    wires = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(100)]
    try:
        assert service.post({"instances": [ROW]})[0] == 200
    finally:
        for wire in wires:
            wire.close()


def test_a_long_list_of_faults_is_no_long_work(service: Running) -> None:
    """5,000 rows of wrong cells are refused in well under a second of work, and the service goes on."""
    status, answer = service.post({"instances": [{name: [] for name in ROW}] * 5000})
    assert status == 400
    assert len(answer["fields"]) == len(ROW)
    assert service.post({"instances": [ROW]})[0] == 200


# who may ask ---------------------------------------------------------------------------------------------------------
def test_other_machines_need_a_token() -> None:
    """Off loopback no service starts without one; it comes from a variable and has a length."""
    assert (
        is_loopback("127.0.0.1")
        and is_loopback("::1")
        and not is_loopback("0.0.0.0")
        and not is_loopback("example.org")
    )
    assert require_token("127.0.0.1", "", {}) == ""
    assert require_token("0.0.0.0", "T", {"T": "x" * 16}) == "x" * 16
    with pytest.raises(ParameterError, match=r"--host 0\.0\.0\.0 can be reached from other machines.*--token-env"):
        require_token("0.0.0.0", "", {})
    with pytest.raises(ParameterError, match="--token-env T: it is not set, at least 16"):
        require_token("127.0.0.1", "T", {})
    with pytest.raises(ParameterError, match="it has 5 characters, at least 16"):
        require_token("127.0.0.1", "T", {"T": "short"})
    with pytest.raises(ParameterError, match="ASCII characters only"):  # no client could send it
        require_token("127.0.0.1", "T", {"T": "schlüssel" * 3})


def test_a_service_with_a_token_refuses_requests_without_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bearer, or Basic for a browser; health is open for a load balancer; the token is in no output."""
    token = "a-token-of-some-length"
    monkeypatch.setenv("SECRET", token)
    command = [TDSP, "serve", str(model), "--out", str(tmp_path), "--token-env", "SECRET", "--port"]
    with running(model, tmp_path, command=command) as found:
        for path in ("/", "/openapi.json", "/metrics", "/invocations", "/example"):
            for header in (
                "",
                "Bearer wrong",
                f"Bearer {token}x",
                "Basic !!!",
                "Basic " + base64.b64encode(b"a:b").decode(),
                token,
            ):
                assert found.get(path, authorization=header)[0] == 401
        assert [found.get(path)[0] for path in ("/health", "/ready", "/ping")] == [200] * 3
        basic = "Basic " + base64.b64encode(f":{token}".encode()).decode()
        assert found.get("/", authorization=basic)[0] == 200
        assert found.post({"instances": [ROW]}, authorization=f"Bearer {token}")[0] == 200
        assert found.stop() == 0
        found.errors.seek(0)
        assert token not in found.errors.read().decode()


# the log -------------------------------------------------------------------------------------------------------------
def test_every_answered_row_is_logged_with_its_key(model: Path, tmp_path: Path) -> None:
    """Key, time, cells and prediction of each row, written when it stops at the latest; no trial of the form."""
    with client_of(model, tmp_path, key="id") as (_, client):
        sent = [row | {"id": f"case {i}"} for i, row in enumerate(rows_of(50))]
        predictions = client.post("/invocations", json={"instances": sent}).json()["predictions"]
        client.post("/invocations", json={"instances": rows_of(2)}, headers={"x-request-id": "my-request"})
        assert client.post("/invocations", json={"instances": [{}]}).status_code == 400
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert client.post("/", content=b"column.dose=5", headers=form).status_code == 200
    logged = logged_predictions(tmp_path)
    assert logged["key"].tolist() == [f"case {i}" for i in range(50)] + ["my-request-0", "my-request-1"]
    assert logged["predicted.probability"].tolist()[:50] == [answer["probability"] for answer in predictions]
    frame = table("binary")[0].head(50)
    for name in frame:
        assert logged[f"sent.{name}"].isna().tolist()[:50] == frame[name].isna().tolist()
    np.testing.assert_array_equal(logged["sent.dose"][:50], frame["dose"])
    assert (pd.Timestamp.now("UTC") - logged["time"]).max() < pd.Timedelta(minutes=5)


def test_the_log_drops_and_counts_what_it_cannot_keep(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full queue never waits, and a folder that cannot be written ends nothing: both are counted."""
    served = load_served(str(model))
    rows = served.reader.read_json(json.dumps({"instances": rows_of(10)}).encode())
    log = PredictionLog(tmp_path / "log", max_rows=25)
    for _ in range(4):
        log.add(served, rows, served.predict(rows.tensors), "r")
    assert log.dropped == 20
    log.flush()
    assert (log.written, log.dropped) == (20, 20)
    (tmp_path / "file").write_text("")
    blocked = PredictionLog(tmp_path / "file" / "log")
    blocked.add(served, rows, served.predict(rows.tensors), "r")
    blocked.flush()
    assert (blocked.written, blocked.dropped) == (0, 10)
    assert "could not be logged" in caplog.text


# batches -------------------------------------------------------------------------------------------------------------
def test_requests_that_wait_together_are_one_batch(model: Path) -> None:
    """Forty requests in one turn are one batch, each gets its own rows; a model that fails fails only its batch."""
    served, sizes = load_served(str(model)), []

    async def ask_all(predict: Callable[[Any], np.ndarray]) -> list[Any]:
        from dataclasses import replace

        batcher = MicroBatcher(sizes.append)
        rows = [served.reader.read({name: [cell] for name, cell in row.items()}) for row in rows_of(40)]
        one = replace(served, predict=predict)
        found = await asyncio.gather(*(batcher.predict(one, row) for row in rows), return_exceptions=True)
        again = await batcher.predict(served, rows[0])
        batcher.close()
        return [*found, again]

    predictions = asyncio.run(ask_all(served.predict))
    whole = served.predict(served.reader.read_json(json.dumps({"instances": rows_of(40)}).encode()).tensors)
    assert sizes == [40, 1]
    np.testing.assert_allclose(np.concatenate(predictions[:40]), whole, rtol=0, atol=1e-12)
    failed = asyncio.run(ask_all(lambda _: 1 / 0))
    assert all(isinstance(error, ZeroDivisionError) for error in failed[:40])
    np.testing.assert_array_equal(failed[40], predictions[40])


def test_who_has_left_costs_the_model_nothing(model: Path) -> None:
    """Of three requests that wait, the one whose client gave up is not asked."""
    served, sizes = load_served(str(model)), []

    async def ask_three() -> np.ndarray:
        batcher = MicroBatcher(sizes.append)
        rows = served.reader.read_json(json.dumps({"instances": rows_of(3)}).encode())
        first, left, last = (batcher.predict(served, rows) for _ in range(3))
        left.cancel()
        found = np.concatenate(await asyncio.gather(first, last))
        batcher.close()
        return found

    assert len(asyncio.run(ask_three())) == 6
    assert sizes == [6]


def test_a_model_that_fails_gives_an_error_as_json(model: Path, tmp_path: Path) -> None:
    """In MLflow's form of an error, not as a page of text; the service goes on."""
    from dataclasses import replace

    with client_of(model, tmp_path) as (service, client):
        sound = service.served
        service.served = replace(sound, predict=lambda _: 1 / 0)
        failed = client.post("/invocations", json={"instances": rows_of(2)})
        service.served = sound
        fine = client.post("/invocations", json={"instances": rows_of(2)})
    assert (failed.status_code, failed.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert "the log of the service has the reason" in failed.json()["message"]
    assert fine.status_code == 200


# promotion, tampering, stopping --------------------------------------------------------------------------------------
def test_a_promotion_is_followed_and_a_broken_one_is_not(three_versions: Path, tmp_path: Path) -> None:
    """The new champion answers within the poll; when its files were changed, the old one goes on and says why."""
    outputs = Path(shutil.copytree(three_versions, tmp_path / "outputs"))
    broken = outputs / "models/delays/3/model/model.onnx"
    broken.write_bytes(broken.read_bytes()[:-1] + b"x")
    with running("delays@champion", outputs, poll_seconds=0.2) as found:
        first = json.loads(found.get("/ready")[1])["version"]
        before = found.post({"instances": [ROW]})[1]
        promote("delays@2", outputs=outputs)
        second = wait_for(lambda: (v := json.loads(found.get("/ready")[1])["version"]) != first and v)
        assert found.post({"instances": [ROW]})[1] != before
        promote("delays@3", outputs=outputs)
        problem = wait_for(lambda: json.loads(found.get("/ready")[1]).get("problem"))
        assert "model.onnx was changed" in problem
        assert json.loads(found.get("/ready")[1])["version"] == second
        promote("delays@1", outputs=outputs)
        wait_for(lambda: json.loads(found.get("/ready")[1])["version"] == first)
        assert found.post({"instances": [ROW]})[1] == before
        assert (found.metric("tdsp_reloads_total"), found.stop()) == (3.0, 0)


def test_nothing_is_lost_in_a_short_load(three_versions: Path) -> None:
    """Four clients and promotions, without a fuzzer: no failure, no 5xx, every row in the log, whichever model."""
    found = run_load(6 / 60, clients=4, move_every=1.5, fuzz_seconds=0, registered=three_versions)
    missed = [goal for goal, reached in found["goals"].items() if not reached]
    assert set(missed) <= {"memory grew by 5 % at most"}, found


@pytest.mark.slow
def test_nothing_is_lost_under_load_while_models_change_and_a_fuzzer_works() -> None:
    """Half a minute of `python -m tests.support.load_serve --minutes 5`: no failure, no 5xx, every row in the log.

    Whether memory grows takes minutes to see; the script says it.
    """
    found = run_load(0.5, clients=8, move_every=4, fuzz_seconds=40)
    missed = [goal for goal, reached in found["goals"].items() if not reached]
    assert set(missed) <= {"memory grew by 5 % at most"}, found
    assert found["fuzzed requests"] > 0


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The first truth of a condition. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise TimeoutError("it did not come true")


def test_a_bundle_with_one_changed_byte_is_refused_before_anything_is_unpickled(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file in turn, by the function and by the command; joblib and ONNX Runtime are never reached."""
    import joblib

    from tdsp.serving import predictor

    monkeypatch.setattr(joblib, "load", lambda *_: pytest.fail("unpickled"))
    monkeypatch.setattr(predictor, "open_session", lambda *_: pytest.fail("opened"))
    names = [path.relative_to(model) for path in sorted(model.rglob("*")) if path.is_file()]
    assert len(names) >= 11
    for name in names:
        copy = Path(shutil.copytree(model, tmp_path / "model"))
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(BundleError, match=re.escape(str(name)) + "|bundle.json"):
            load_served(str(copy))
        if name.name == "pipeline.joblib":
            assert app.call(["serve", str(copy), "--port", str(free_port()), "--out", str(tmp_path)]) == 2
        shutil.rmtree(copy)


def test_a_graph_that_misses_the_golden_predictions_does_not_serve(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a machine where ONNX Runtime answers otherwise, the pipeline does, and the log says so."""
    from tdsp.packaging.onnx import export
    from tdsp.serving import predictor

    one, other = (write_model(tmp_path / name, rows=rows) for name, rows in (("a", 600), ("b", 400)))
    session = export.open_session((other / "model.onnx").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "open_session", lambda _: session)
        found = load_served(str(one))
    assert found.engine == "pipeline"
    assert "misses the golden predictions" in caplog.text


def test_a_port_that_is_taken_is_a_plain_message(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the address, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.call(["serve", str(model), "--port", str(port), "--out", str(tmp_path)]) == 2
    assert (
        f"127.0.0.1:{port} cannot be served at: Address already in use. Give another --port" in capsys.readouterr().err
    )


def test_what_is_under_way_is_answered_before_the_end(model: Path, tmp_path: Path) -> None:
    """A signal in the middle of many requests: each that was taken is answered and logged, and the exit code is 0."""
    with running(model, tmp_path) as found:
        answered: list[int] = []

        def ask() -> None:
            for _ in range(200):
                try:
                    status, answer = found.post({"instances": rows_of(20)})
                except OSError:
                    return  # it listens no more
                assert status == 200
                answered.append(len(answer["predictions"]))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        assert found.stop() == 0
        for thread in threads:
            thread.join()
    assert sum(answered) > 0
    assert len(found.logged()) >= sum(answered)


# the form ------------------------------------------------------------------------------------------------------------
def test_a_person_tries_the_model_in_a_browser(service: Running, browser: Any, axe: str) -> None:
    """Usual values are filled in; the answer comes without a script, without any other request, and is accessible."""
    for width, scheme in ((1280, "light"), (390, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        requests, errors = [], []
        page.on("request", lambda r, seen=requests: seen.append(r.url))
        page.on("console", lambda m, seen=errors: seen.append(m.text) if m.type == "error" else None)
        page.goto(service.url)
        assert page.title() == "<b>Delays</b> & more"
        page.get_by_label("ward").select_option("<b>south</b>")
        page.get_by_label("dose").fill("12.5")
        page.get_by_role("button", name="Predict").click()
        shown = float(page.get_by_role("status").locator("td").inner_text())
        row = json.loads(service.get("/example")[1])["dataframe_records"][0] | {"ward": "<b>south</b>", "dose": 12.5}
        assert shown == pytest.approx(service.post({"instances": [row]})[1]["predictions"][0]["probability"], abs=1e-5)
        assert page.get_by_label("ward").input_value() == "<b>south</b>"
        assert (set(requests), errors) == ({f"{service.url}/"}, [])
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        page.evaluate(axe)
        assert page.evaluate("axe.run().then(found => found.violations.map(v => v.id))") == []
        if where := os.environ.get("TDSP_SHOTS"):
            page.screenshot(path=f"{where}/form-{width}.png", full_page=True)
        context.close()


def test_a_wrong_value_is_reported_beside_its_field(service: Running, browser: Any) -> None:
    """The typed text stays, escaped; the field says what is wrong; the status is 400."""
    page = browser.new_page()
    page.goto(service.url)
    page.get_by_label("dose").fill("<script>1</script>")
    with page.expect_response(f"{service.url}/") as response:
        page.get_by_role("button", name="Predict").click()
    assert response.value.status == 400
    assert "expected a number" in page.locator(".fault").inner_text()
    assert page.get_by_label("dose").input_value() == "<script>1</script>"
    assert page.get_by_label("dose").get_attribute("aria-invalid") == "true"
    page.close()


def test_the_command_prints_its_address(model: Path, tmp_path: Path) -> None:
    """`tdsp serve`: name, version and engine, the address, how to stop it, and that no record is beside the model."""
    import signal

    with running(model, tmp_path, command=[TDSP, "serve", str(model), "--out", str(tmp_path), "--port"]) as found:
        found.process.send_signal(signal.SIGINT)
        assert found.process.wait(20) == 0
        found.errors.seek(0)
        output = found.errors.read().decode()
    assert re.fullmatch(
        rf"delays [0-9a-f]{{12}} \(onnx\) at http://127.0.0.1:{found.port}/  Ctrl-C stops it\.\n"
        r"The verdict on this model: unknown\n"
        rf"Predictions are logged in {re.escape(str(tmp_path))}/predictions/delays: the last 90 days, .*logged\.\n"
        r"No record of a run is beside the model: nothing shows who made it\. --require-signature would\.\n",
        output,
    )
