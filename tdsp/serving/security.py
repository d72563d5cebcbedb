"""Between a client and the service: who may ask, how much, how long, and what an error looks like."""

import asyncio
import base64
import binascii
import functools
import hmac
import ipaddress
import itertools
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tdsp.core.errors import ParameterError
from tdsp.serving.requests import BadRequest

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MIN_TOKEN_LENGTH = 16  # characters
OPEN_PATHS = frozenset({"/health", "/ping", "/ready"})  # what a load balancer asks, without a token
COUNTED_PATHS = OPEN_PATHS | {"/", "/invocations", "/metrics"}  # any other is "other": a client invents no label
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may cost."""

    body_bytes: int = 16_000_000
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
    """The token of a service; empty on loopback where none is asked for. Raises ParameterError."""
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
    return token


def _given_token(header: bytes) -> bytes:
    """The token of an Authorization header: Bearer's, or the password of Basic, which browsers ask people for."""
    scheme, _, value = header.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2] if scheme.lower() == b"basic" else b""
    except binascii.Error:
        return b""


# around every request -----------------------------------------------------------------------------------------------
_REQUEST_ID = re.compile(rb"[\w.:-]{1,100}")


def error_body(message: str, status: int, fields: Any = ()) -> bytes:
    """An error as MLflow tells it, with one entry for each field that does not fit."""
    code = {500: "INTERNAL_ERROR", 401: "UNAUTHENTICATED"}.get(status) or HTTPStatus(status).name
    return json.dumps({"error_code": code, "message": message, **({"fields": fields} if fields else {})}).encode()


@functools.lru_cache(1024)
def _names_this_machine(host: bytes) -> bool:
    """Whether a Host header, with or without a port, is a name of the loopback address; none at all is."""
    name = re.sub(r":\d+$", "", host.decode("latin-1").lower())
    return name in {*LOOPBACK_NAMES, ""} or is_loopback(name.strip("[]"))


class SecurityMiddleware:
    """The outer layer: who may ask, how long it may take, what was asked. Pure ASGI, since it is on every request."""

    def __init__(self, app: Any, limits: RequestLimits, token: str, observe: Callable[[str, int, float], None]) -> None:
        self.app, self.limits, self.token, self.observe = app, limits, token.encode(), observe
        self.prefix, self.numbers = secrets.token_hex(6), itertools.count(1)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status = time.perf_counter(), 499  # the client left before an answer
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else f"{self.prefix}-{next(self.numbers)}".encode()
        scope["request_id"] = request_id.decode()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            if refusal := self._refusal(scope["path"], headers):
                return await self._refuse(answer, *refusal)
            async with asyncio.timeout(self.limits.answer_seconds):
                await self.app(scope, receive, answer)
        except TimeoutError:
            if status == 499:
                await self._refuse(answer, 504, f"No answer within {self.limits.answer_seconds:g} seconds.")
        finally:
            path = scope["path"] if scope["path"] in COUNTED_PATHS else "other"
            self.observe(path, status, time.perf_counter() - began)
        return None

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Why this request goes no further: no token, or a name that this machine's own service does not have."""
        if self.token:
            told = _given_token(headers.get(b"authorization", b""))
            if path in OPEN_PATHS or hmac.compare_digest(told, self.token):
                return None
            return 401, "Send the token: `Authorization: Bearer …`."
        host = headers.get(b"host", b"")
        if _names_this_machine(host):
            return None
        return (
            403,
            f"This service answers as localhost only, not as {host[:60].decode('latin-1')!r}.",
        )  # a page elsewhere cannot ask it

    async def _refuse(self, send: Send, status: int, message: str) -> None:
        headers = [(b"content-type", b"application/json")]
        headers += [(b"www-authenticate", b'Bearer, Basic realm="tdsp", charset="UTF-8"')] if status == 401 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": error_body(message, status)})


async def read_body(request: Any, limit: int) -> bytes:
    """The body of a request. Raises BadRequest where it is too long; what a client still sends is then thrown away."""
    told = request.headers.get("content-length", "0")
    too_long = BadRequest(f"The body is longer than {limit:,} bytes; send fewer rows at a time.", status=413)
    if told.isdigit() and int(told) > limit and "expect" in request.headers:
        raise too_long  # the client waits for a word before it sends
    body: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        size += len(message["body"])
        if size > limit:
            body.clear()
        else:
            body.append(message["body"])
        if not message.get("more_body"):
            break
    if size > limit:
        raise too_long
    return b"".join(body)


def prompt_protocol(seconds: float) -> type:
    """uvicorn's HTTP protocol that gives a client some seconds to send a whole request, and then hangs up."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class PromptProtocol(H11Protocol):
        """A connection whose client may not dawdle."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(seconds, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
                self._stop()
            elif self._timer is None and (self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]):
                self._timer = self.loop.call_later(seconds, self._late)

        def _stop(self) -> None:
            if self._timer:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            if not self.transport.is_closing():
                if self.cycle is None or not self.cycle.response_started:
                    body = error_body(f"The request was not complete after {seconds:g} seconds.", 408)
                    head = "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                self.transport.close()

    return PromptProtocol
