"""The service behind `tdsp serve`: MLflow's protocol, a form for people, health, metrics, reload without a pause."""

# GET  /             a form to try the model          POST /invocations  rows as JSON or CSV, MLflow's formats
# GET  /health       the process is up                GET  /ready        a model is loaded; which one
# GET  /metrics      for Prometheus                   GET  /example      a body that can be sent as it is
# GET  /openapi.json all of this, with an example of the model's schema

import asyncio
import contextlib
import ctypes
import functools
import gc
import importlib.metadata
import json
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tdsp.core.errors import ParameterError
from tdsp.core.files import Json, sha256_file
from tdsp.core.project import find_root
from tdsp.registry.registry import find_model, origin_of
from tdsp.serving.form import field_texts, page, row_of
from tdsp.serving.openapi import describe
from tdsp.serving.prediction_log import LoggedRequest, LogLimits, PredictionLog
from tdsp.serving.predictor import MicroBatcher, ServedModel, load_served
from tdsp.serving.requests import READERS, BadRequest, FieldProblem, RequestRows
from tdsp.serving.security import (
    RequestLimits,
    SecurityMiddleware,
    error_body,
    only_as_localhost,
    prompt_protocol,
    read_body,
)
from tdsp.serving.statistics import LiveStatistics, ServedRows

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger("tdsp.serve")


# the state ----------------------------------------------------------------------------------------------------------
class Metrics:
    """Counters for Prometheus, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        self.requests = Counter("tdsp_requests", "Requests with a response", ["path", "status"], registry=self.registry)
        seconds = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)
        self.seconds = Histogram(
            "tdsp_request_seconds", "Seconds from request to response", buckets=seconds, registry=self.registry
        )
        self.rows = Counter("tdsp_predictions", "Rows predicted", ["version"], registry=self.registry)
        self.batch = Histogram(
            "tdsp_batch_rows", "Rows of a batch", buckets=(1, 2, 4, 8, 16, 64, 1024, 100_000), registry=self.registry
        )
        self.reloads = Counter("tdsp_reloads", "Models taken in while serving", ["result"], registry=self.registry)
        self.model = Gauge(
            "tdsp_model", "1 for the model in use", ["name", "version", "engine"], registry=self.registry
        )
        self.logged = Gauge("tdsp_log_rows_written", "Predictions written to the log", registry=self.registry)
        self.dropped = Gauge("tdsp_log_rows_dropped", "Predictions that the log could not keep", registry=self.registry)

        self.count = functools.cache(lambda path, status: self.requests.labels(path, status))
        self.predicted = functools.cache(lambda version: self.rows.labels(version))

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count a request that is over."""
        self.count(path, status).inc()
        self.seconds.observe(seconds)

    def show_model(self, served: ServedModel) -> None:
        """Name the model in use from now on."""
        self.model.clear()
        self.model.labels(served.name, served.version, served.engine).set(1)


class Service:
    """The model in use, and what happens around it."""

    def __init__(
        self,
        spec: str,
        served: ServedModel,
        *,
        key: str,
        outputs: Path,
        limits: RequestLimits,
        verify_key: Path | None = None,
        log_limits: LogLimits | None = None,
    ) -> None:
        self.spec, self.served, self.key, self.outputs, self.limits = spec, served, key, outputs, limits
        self.verify_key = verify_key
        self.metrics, self.problem = Metrics(), ""
        self.batcher = MicroBatcher(self.metrics.batch.observe)
        self.statistics = LiveStatistics(served)
        self.metrics.registry.register(self.statistics)
        self.log = PredictionLog(outputs / "predictions", log_limits or LogLimits(), self._observe)
        self._loader = ThreadPoolExecutor(1, "load")  # one: each thread that opens a model keeps memory of its own
        self.metrics.logged.set_function(lambda: self.log.written)
        self.metrics.dropped.set_function(lambda: self.log.dropped)
        self.metrics.show_model(served)

    def _observe(self, served: ServedModel, entries: Sequence[LoggedRequest]) -> None:
        self.statistics.add(served, [ServedRows(one.rows, one.predicted) for one in entries])

    @asynccontextmanager
    async def running(self, _: "FastAPI") -> AsyncIterator[None]:
        """Log and follow the registry while the service runs; write the last predictions when it ends."""
        self.log.start()
        follower = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            follower.cancel()
            self.batcher.close()
            self._loader.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(self.log.close)

    async def _follow(self) -> None:
        """Take in what was promoted; requests under way keep the model they began with."""
        while not self.spec.endswith(".whl"):
            await asyncio.sleep(self.limits.poll_seconds)
            await self.reload()

    async def reload(self) -> None:
        """Open the model that the name means now, where it is another one; on an error the old one goes on."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._loader, self._newer)
        except Exception as error:  # of any kind: the old model stays, and the next look may find a better one
            if str(error) != self.problem:
                self.problem = str(error)
                self.metrics.reloads.labels("refused").inc()
                logger.warning("%s is kept: %s", self.served.version, error)
            return
        self.problem = ""
        if found is not None:
            self.served = found
            self.metrics.show_model(found)
            self.metrics.reloads.labels("taken").inc()
            logger.warning("%s %s is in use from now on.", found.name, found.version)

    def _newer(self) -> ServedModel | None:
        """The model behind the name, where it is not the one in use."""
        folder = find_model(self.spec, self.outputs)
        if sha256_file(folder / "bundle.json") == self.served.sha256:
            return None
        return load_served(self.spec, key=self.key, outputs=self.outputs, verify_key=self.verify_key)

    async def predict(self, served: ServedModel, rows: RequestRows, request_id: str) -> np.ndarray:
        """The predictions of some rows, logged. Raises BadRequest for too many."""
        if rows.count > self.limits.rows:
            raise BadRequest(f"{rows.count:,} rows; at most {self.limits.rows:,} are predicted at once.", status=413)
        predicted = await self.batcher.predict(served, rows)
        self.metrics.predicted(served.version).inc(rows.count)
        if request_id:
            self.log.add(served, rows, predicted, request_id)
        return predicted


# the application ----------------------------------------------------------------------------------------------------
PARSE_IN_THREAD_BYTES = (
    20_000  # bytes of a body from which on it is read in a thread: a smaller one takes 2 milliseconds
)
WRITE_IN_THREAD_ROWS = 200  # rows from which on a response is written in one
FORM_BYTES = 1_000_000  # of a form that was filled in


def make_app(service: Service, token: str = "", host: str = "localhost") -> ASGIApp:
    """The ASGI application; without a token it is reachable under the names of this machine's loopback address only."""
    from fastapi import FastAPI

    app = FastAPI(title="tdsp serve", lifespan=service.running, docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_faults(app)
    _add_facts(app, service)
    _add_form(app, service)

    @functools.lru_cache(1)
    def document(_sha256: str) -> dict[str, Json]:
        return describe(app.routes, service.served)

    app.openapi = lambda: document(service.served.sha256)  # type: ignore[method-assign]
    front = _with_predictions(app, service)
    front = front if token else only_as_localhost(front, host)
    return SecurityMiddleware(front, service.limits, token, service.metrics.observe)


def _json(content: Mapping[str, Json]) -> Response:
    return Response(json.dumps(content), media_type="application/json")


def _error(message: str, status: int, fields: Sequence[FieldProblem] = ()) -> Response:
    return Response(error_body(message, status, fields), status, media_type="application/json")


def _fault_response(error: Exception) -> Response:
    """The response where there is no prediction."""
    if isinstance(error, BadRequest):
        return _error(str(error), error.status, error.fields)
    if isinstance(error, ConnectionResetError):
        return Response(status_code=400)  # nobody reads it
    return _error("The model could not predict; the log of the service has the reason.", 500)


def _add_faults(app: "FastAPI") -> None:
    """Errors as JSON in MLflow's form."""

    @app.exception_handler(BadRequest)
    @app.exception_handler(ConnectionResetError)
    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> Response:
        return _fault_response(error)

    @app.exception_handler(HTTPException)
    async def explain(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path[:80]}: {error.detail}. /openapi.json lists what there is."
        response = _error(message, error.status_code)
        response.headers.update(error.headers or {})
        return response


def require_few_rows(body: bytes, kind: str, rows: int) -> None:
    """Raise BadRequest for a body that must hold many more rows: before it is parsed, when it costs no memory yet."""
    signs = (b"\n", b"\r") if kind == "text/csv" else (b"[", b"{")
    if sum(body.count(sign) for sign in signs) > 10 * rows + 100_000:  # cells may hold such signs, too
        raise BadRequest(f"At most {rows:,} rows are predicted at once.", status=413)


async def _read_rows(request: Request, served: ServedModel, limits: RequestLimits) -> RequestRows:
    """The rows of a request to /invocations. Raises BadRequest."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    read = READERS.get(kind.strip().lower())
    charset = parameters.lower().replace('"', "").replace(" ", "")
    if read is None or charset not in ("", "charset=utf-8"):
        raise BadRequest(f"Send {' or '.join(READERS)} in UTF-8, not {kind[:60]!r}.", status=415)
    body = await read_body(request, limits.body_bytes)

    def parse() -> RequestRows:
        require_few_rows(body, kind.strip().lower(), limits.rows)
        return read(served.reader, body)

    return parse() if len(body) < PARSE_IN_THREAD_BYTES else await asyncio.to_thread(parse)


def _written(served: ServedModel, predicted: np.ndarray, warnings: Sequence[str]) -> Response:
    """The predictions in MLflow's form."""
    content = {"predictions": [dict(zip(served.columns, row, strict=True)) for row in predicted.tolist()]}
    return _json(content | ({"warnings": warnings} if warnings else {}))


def _with_predictions(app: "FastAPI", service: Service) -> ASGIApp:
    """MLflow's protocol before all else: FastAPI's layers would cost as much as the model."""

    async def invocations(request: Request) -> Response:
        served = service.served
        try:
            rows = await _read_rows(request, served, service.limits)
            predicted = await service.predict(served, rows, request.scope["request_id"])
        except Exception as error:
            if not isinstance(error, (BadRequest, ConnectionResetError)):
                logger.exception("%s could not predict %s", served.version, request.scope["request_id"])
            if isinstance(error, BadRequest):
                service.statistics.reject(served, error.fields)
            return _fault_response(error)
        if rows.count < WRITE_IN_THREAD_ROWS:
            return _written(served, predicted, rows.warnings)
        return await asyncio.to_thread(_written, served, predicted, rows.warnings)

    async def asgi_front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/invocations" and scope["method"] == "POST":
            await (await invocations(Request(scope, receive)))(scope, receive, send)
        else:
            await app(scope, receive, send)

    app.add_route("/invocations", invocations, methods=["POST"], include_in_schema=False)  # 405 for other methods
    return asgi_front


def _add_facts(app: "FastAPI", service: Service) -> None:
    """Health, model, example and metrics."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    @app.get("/health", summary="The process is up")
    @app.get("/ping", include_in_schema=False)
    async def health() -> Response:
        return Response("\n", media_type="application/json")

    @app.get("/ready", summary="The model in use")
    async def ready() -> Response:
        served = service.served
        problem = {"problem": service.problem} if service.problem else {}
        about = {"name": served.name, "version": served.version, "engine": served.engine, "verdict": served.verdict}
        return _json(about | problem)

    @app.get("/example", summary="A body for /invocations that this model takes")
    async def example() -> Response:
        return _json({"dataframe_records": [service.served.example]})

    @app.get("/version", include_in_schema=False)
    async def version() -> Response:
        return Response(importlib.metadata.version("mlflow"), media_type="application/json")  # whose protocol it is

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        text = await asyncio.to_thread(generate_latest, service.metrics.registry)  # a window is judged in between
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _filled_in(served: ServedModel, body: bytes) -> tuple[dict[str, str], RequestRows | BadRequest]:
    """The texts of a form, and its row or the reason why it is none. Raises BadRequest for what is no form."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10_000)
    except ValueError:
        raise BadRequest("The body is no form.") from None
    texts = {name: fields.get(f"column.{name}", [""])[0] for name in served.reader.names}
    try:
        return texts, served.reader.read(row_of(texts, served.schema))
    except BadRequest as error:
        return texts, error


def _add_form(app: "FastAPI", service: Service) -> None:
    """A page where a person can try the model."""

    @app.get("/", include_in_schema=False)
    async def form() -> Response:
        return await asyncio.to_thread(page, service.served, field_texts(service.served.example))

    @app.post("/", include_in_schema=False)
    async def try_it(request: Request) -> Response:
        served, body = service.served, await read_body(request, min(FORM_BYTES, service.limits.body_bytes))
        texts, rows = await asyncio.to_thread(_filled_in, served, body)
        if isinstance(rows, BadRequest):
            return await asyncio.to_thread(page, served, texts, error=rows)
        predicted = await service.predict(served, rows, request_id="")  # a person who tries is no traffic
        found = {"prediction": predicted[0].tolist(), "warnings": rows.warnings}
        return await asyncio.to_thread(page, served, texts, **found)


# the process --------------------------------------------------------------------------------------------------------
def bind(host: str, port: int) -> socket.socket:
    """A socket that waits for clients. Raises ParameterError where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise ParameterError(
            f"{host}:{port} cannot be served at: {error.strerror}. Give another --port or --host."
        ) from error
    return found


def _share_memory() -> None:
    """Let glibc's threads share two heaps: each has one of its own otherwise, and what it frees stays with it."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX


def serve(
    spec: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str = "",
    key: str = "",
    outputs: Path | None = None,
    limits: RequestLimits | None = None,
    verify_key: Path | None = None,
    log_limits: LogLimits | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are completed first.

    Raises BundleError, RunError or ParameterError before the first request.
    """
    import uvicorn

    limits, outputs = limits or RequestLimits(), outputs or find_root() / "outputs"
    listening = bind(host, port)
    if "@" not in spec and not spec.endswith(".whl"):
        spec = str(find_model(spec, outputs))  # `latest` is what it was at the start: no run goes live by ending
    served = load_served(spec, key=key, outputs=outputs, verify_key=verify_key)
    kept = log_limits or LogLimits()
    service = Service(spec, served, key=key, outputs=outputs, limits=limits, verify_key=verify_key, log_limits=kept)
    app = make_app(service, token, host)
    config = uvicorn.Config(
        app,
        http=prompt_protocol(limits.receive_seconds),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(limits.answer_seconds),
        limit_concurrency=limits.connections,
    )
    _share_memory()
    gc.collect()
    gc.freeze()  # the libraries stay: collections look at requests only, and are short
    place = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    report(f"{served.name} {served.version} ({served.engine}) at {place}  Ctrl-C stops it.")
    report(f"The verdict on this model: {served.verdict}")
    report(f"Predictions are logged in {outputs / 'predictions' / served.name}: {kept.sentence(served)}")
    if not origin_of(find_model(spec, outputs))[1] and not verify_key:
        report("No record of a run is beside the model: nothing shows who made it. --require-signature would.")
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn repeats a signal at its end: no error
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
