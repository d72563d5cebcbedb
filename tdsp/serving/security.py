"""Between a client and the service: token, host names, limits of size and time, and the form of an error."""

import asyncio
import contextlib
import hmac
import ipaddress
import itertools
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tdsp.core.errors import ParameterError
from tdsp.serving.requests import BadRequest, FieldProblem

if TYPE_CHECKING:
    from starlette.requests import Request
    from uvicorn.protocols.http.h11_impl import H11Protocol

MIN_TOKEN_LENGTH = 16  # characters
OPEN_PATHS = frozenset({"/health", "/ping", "/ready"})  # for a load balancer, without a token
COUNTED_PATHS = OPEN_PATHS | {"/", "/invocations", "/metrics"}  # any other is "other": a client invents no label
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
CLIENT_LEFT = 499  # the status that is counted where a client has left before a response


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of size and time of a request."""

    body_bytes: int = 16_000_000
    pending_bytes: int = 128_000_000  # of the bodies of all requests under way together
    rows: int = 100_000
    receive_seconds: float = 10.0  # from the first byte of a request, or the connection, to the last byte
    answer_seconds: float = 30.0
    poll_seconds: float = 2.0  # between two looks at the registry
    connections: int = 2000


# who may ask --------------------------------------------------------------------------------------------------------
def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_token(host: str, token_env: str, environment: Mapping[str, str]) -> str:
    """The token of a service; empty on loopback where none is named. Raises ParameterError."""
    if not token_env:
        if is_loopback(host):
            return ""
        raise ParameterError(
            f"--host {host} can be reached from other machines: put a token of at least "
            f"{MIN_TOKEN_LENGTH} characters into an environment variable and name it: --token-env TDSP_TOKEN"
        )
    token = environment.get(token_env, "").strip()
    if len(token) < MIN_TOKEN_LENGTH:
        found = f"has {len(token)} characters" if token else "is not set"
        raise ParameterError(f"--token-env {token_env}: it {found}, at least {MIN_TOKEN_LENGTH} are needed.")
    if not token.isascii():
        raise ParameterError(f"--token-env {token_env}: clients can send ASCII characters only. Choose another token.")
    return token


# around every request -----------------------------------------------------------------------------------------------
_REQUEST_ID = re.compile(rb"[\w.:-]{1,100}")


def error_body(message: str, status: int, fields: Sequence[FieldProblem] = ()) -> bytes:
    """An error in MLflow's form, with one entry for each field that does not fit."""
    code = {500: "INTERNAL_ERROR", 401: "UNAUTHENTICATED"}.get(status) or HTTPStatus(status).name
    listed = {"fields": [asdict(field) for field in fields]} if fields else {}
    return json.dumps({"error_code": code, "message": message, **listed}).encode()


class TokenCheck:
    """The token of a service: Bearer's, or the password of Basic, which browsers ask people for."""

    def __init__(self, token: str) -> None:
        from fastapi.security import HTTPBasic, HTTPBearer

        self._token, self._bearer, self._basic = (
            token.encode(),
            HTTPBearer(auto_error=False),
            HTTPBasic(auto_error=False),
        )

    async def accepts(self, scope: Scope) -> bool:
        """Whether the Authorization header of a request has the token."""
        from starlette.exceptions import HTTPException
        from starlette.requests import HTTPConnection

        connection, given = HTTPConnection(scope), ""
        with contextlib.suppress(HTTPException):  # Basic that is no base64
            if bearer := await self._bearer(connection):
                given = bearer.credentials
            elif basic := await self._basic(connection):
                given = basic.password
        return hmac.compare_digest(given.encode(), self._token)


class BodyMemory:
    """Counts the bytes of bodies that are held at a time, of all requests together."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    def take(self, scope: Scope, size: int) -> None:
        """Add bytes of a request. Raises BadRequest where all together would be too many."""
        if self.held + size > self.limit:
            raise BadRequest("Too many large requests are under way. Send it again in a moment.", status=503)
        self.held += size
        scope["body_bytes"] = scope.get("body_bytes", 0) + size

    def release(self, scope: Scope) -> None:
        """Forget the bytes of a request."""
        self.held -= scope.pop("body_bytes", 0)


class SecurityMiddleware:
    """The outer layer: token, time limit, request id, metrics. Pure ASGI, since it is on every request."""

    def __init__(
        self, app: ASGIApp, limits: RequestLimits, token: str, observe: Callable[[str, int, float], None]
    ) -> None:
        self.app, self.limits, self.observe = app, limits, observe
        self.token = TokenCheck(token) if token else None
        self.memory = BodyMemory(limits.pending_bytes)
        self.prefix, self.numbers = secrets.token_hex(6), itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request, or pass it on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status = time.perf_counter(), CLIENT_LEFT
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"{self.prefix}-{next(self.numbers)}".encode()
        scope["request_id"], scope["body_memory"] = request_id.decode(), self.memory

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(b"x-request-id", request_id), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            if self.token and scope["path"] not in OPEN_PATHS and not await self.token.accepts(scope):
                return await _refuse(respond, 401, "Send the token: `Authorization: Bearer …`.")
            async with asyncio.timeout(self.limits.answer_seconds):
                await self.app(scope, receive, respond)
        except TimeoutError:
            if status == CLIENT_LEFT:
                await _refuse(respond, 504, f"No response within {self.limits.answer_seconds:g} seconds.")
        finally:
            self.memory.release(scope)
            path = scope["path"] if scope["path"] in COUNTED_PATHS else "other"
            self.observe(path, status, time.perf_counter() - began)
        return None


async def _refuse(send: Send, status: int, message: str) -> None:
    headers = [(b"content-type", b"application/json")]
    headers += [(b"www-authenticate", b'Bearer, Basic realm="tdsp", charset="UTF-8"')] if status == 401 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": error_body(message, status)})


def only_as_localhost(app: ASGIApp, host: str) -> ASGIApp:
    """The application behind a check of the Host header: a page elsewhere cannot reach it through a browser here."""
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return TrustedHostMiddleware(app, [*LOOPBACK_NAMES, host], www_redirect=False)


async def read_body(request: "Request", limit: int) -> bytes:
    """The body of a request. Raises BadRequest where it is too long; what a client still sends is then thrown away."""
    announced = request.headers.get("content-length", "0")
    too_long = BadRequest(f"The body is longer than {limit:,} bytes; send fewer rows at a time.", status=413)
    if announced.isdigit() and int(announced) > limit and "expect" in request.headers:
        raise too_long  # the client waits for a word before it sends
    memory: BodyMemory = request.scope["body_memory"]
    body: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        size += len(message["body"])
        if size > limit:
            body.clear()
            memory.release(request.scope)
        else:
            memory.take(request.scope, len(message["body"]))
            body.append(message["body"])
        if not message.get("more_body"):
            break
    if size > limit:
        raise too_long
    return b"".join(body)


def prompt_protocol(seconds: float) -> "type[H11Protocol]":
    """uvicorn's HTTP protocol that gives a client some seconds to send a whole request, and then hangs up.

    uvicorn's own settings (0.54) limit the time between two requests only, not that of a head or a body under way.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class PromptProtocol(H11Protocol):
        """A connection that a slow client cannot hold."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]
            self._timer = self.loop.call_later(seconds, self._hang_up)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
                self._stop()
            elif self._timer is None and (self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]):
                self._timer = self.loop.call_later(seconds, self._hang_up)

        def _stop(self) -> None:
            if self._timer:
                self._timer.cancel()
                self._timer = None

        def _hang_up(self) -> None:
            if not self.transport.is_closing():
                if self.cycle is None or not self.cycle.response_started:
                    body = error_body(f"The request was not complete after {seconds:g} seconds.", 408)
                    head = "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                self.transport.close()

    return PromptProtocol
