"""A message to a webhook when the state of a model changes: at most one a change, tried again until it arrives."""

import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from tdsp.core.errors import ParameterError
from tdsp.core.files import canonical_json, file_lock, write_atomic
from tdsp.core.formatting import count_of, shorten
from tdsp.core.record import utc_now

VARIABLE = "TDSP_ALERT_WEBHOOK"
TRIES = 3
PAUSES = (1.0, 3.0)  # seconds before the second and the third try
TRY_SECONDS = 8.0  # with the pauses 28 seconds at most
RETRIED = frozenset({408, 425, 429})  # statuses below 500 that may be gone in a moment


@dataclass(frozen=True, slots=True)
class Delivery:
    """The fate of the message about a state."""

    result: Literal["not configured", "unchanged", "delivered", "failed"]
    text: str = ""  # for the terminal; the address is never in it


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """alerts.json: the state that was delivered last, and the one that could not be."""

    state: str = "ok"  # where nothing was ever delivered: the state that needs no message
    delivered_at: str = ""
    report: str = ""  # folder of its report
    failed_state: str = ""
    failed_at: str = ""
    reason: str = ""


def require_webhook(address: str) -> str:
    """Return the address; empty where there is none. Raises ParameterError, which does not show it: it is a secret."""
    try:
        parts = urlsplit(address)
        fine = bool(parts.hostname) and address.isascii() and address.isprintable() and " " not in address
        loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
        _ = parts.port
    except ValueError:
        fine = False
    if not address or (fine and (parts.scheme == "https" or (parts.scheme == "http" and loopback))):
        return address
    raise ParameterError(
        f"The address for alerts ({VARIABLE} or --alert-url) is no https:// address. It is a secret and not "
        "shown here; plain http:// is for this machine alone."
    )


def alert_text(model: str, result: Mapping[str, Any], before: str, report: str) -> str:
    """Return the message in Slack's notation, in which &, < and > from data are escaped: they cannot call anybody."""
    text = (
        f"{shorten(model, 80)}: {result['state']} (was {before}). {shorten(result['sentence'], 600)} "
        f"Report: monitoring/{model}/{report}/index.html"
    )
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def deliver_state(report: Path, result: Mapping[str, Any], webhook: str) -> Delivery:
    """Send a message where the state is another one than was delivered last, and write alerts.json beside the reports.

    It takes at most half a minute and raises nothing: what failed is returned, and tried again at the next call. A kill
    between the delivery and the writing makes the next call repeat the message.
    """
    if not webhook:
        return Delivery("not configured")
    place = report.parent / "alerts.json"
    try:
        with file_lock(report.parent / ".alerts"):  # two calls at once send one message
            return _deliver_locked(place, report.name, result, webhook)
    except OSError as error:  # a full disk, a folder that may not be written
        return Delivery("failed", f"{place.name} cannot be written ({error.strerror}): the message may come again.")


def _deliver_locked(place: Path, report: str, result: Mapping[str, Any], webhook: str) -> Delivery:
    known, state = read_deliveries(place), str(result["state"])
    if known.state == state:
        if known.failed_state:  # it has come back by itself
            write_atomic(place, canonical_json(asdict(known) | {"failed_state": "", "failed_at": "", "reason": ""}))
        return Delivery("unchanged")
    problem, tries = _send(webhook, alert_text(place.parent.name, result, known.state, report))
    if problem:
        failed = {"failed_state": state, "failed_at": utc_now(), "reason": problem}
        write_atomic(place, canonical_json(asdict(known) | failed))
        text = f"The alert could not be delivered in {count_of(tries, 'try', 'tries')}: {problem}."
        return Delivery("failed", f"{text} The next call tries again.")
    write_atomic(place, canonical_json(DeliveryRecord(state, utc_now(), report)))
    return Delivery("delivered", f"The alert was delivered: {known.state} became {state}.")


def read_deliveries(place: Path) -> DeliveryRecord:
    """Return what was delivered last; where the file is damaged, as if nothing was: better twice than never."""
    try:
        found = json.loads(place.read_bytes())
        return DeliveryRecord(**{name: str(found.get(name, "")) for name in asdict(DeliveryRecord())})
    except (OSError, ValueError, AttributeError):
        return DeliveryRecord()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A secret address and a message are for one host: no redirect is followed."""

    def redirect_request(
        self,
        req: urllib.request.Request,  # noqa: ARG002
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        """No request at all: the status of the redirect is the answer."""
        return


def _send(webhook: str, text: str) -> tuple[str, int]:
    """The reason why the message did not arrive, empty where it did; and the number of tries."""
    problem = ""
    for tries in range(1, TRIES + 1):
        problem, again = _try_within(webhook, text, TRY_SECONDS)
        if not problem or not again:
            return problem, tries
        if tries < TRIES:
            time.sleep(PAUSES[tries - 1])
    return problem, TRIES


def _try_within(webhook: str, text: str, seconds: float) -> tuple[str, bool]:
    """One try in a thread of its own: a name server or a server that sends a byte now and then cannot hold the call."""
    found = [(f"no response within {seconds:g} seconds", True)]

    def work() -> None:
        found[0] = _try_once(webhook, text, seconds)

    thread = threading.Thread(target=work, name="alert", daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0]


def _try_once(webhook: str, text: str, seconds: float) -> tuple[str, bool]:
    """The reason of a failure, which never quotes the address, and whether another try may help."""
    body = json.dumps({"text": text}).encode()
    head = {"Content-Type": "application/json", "User-Agent": "tdsp"}
    direct = [urllib.request.ProxyHandler({})] if webhook.startswith("http:") else []  # this machine needs no proxy
    opener = urllib.request.build_opener(_NoRedirect, *direct)  # certificates are verified, as is urllib's default
    try:
        with opener.open(urllib.request.Request(webhook, body, head), timeout=seconds):
            return "", False
    except HTTPError as error:
        error.close()
        if 300 <= error.code < 400:
            return f"status {error.code}, a redirect, which is not followed", False
        return f"status {error.code}", error.code >= 500 or error.code in RETRIED
    except TimeoutError:
        return f"no response within {seconds:g} seconds", True
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return "the certificate of the server is not trusted", False
        if isinstance(reason, TimeoutError):
            return f"no response within {seconds:g} seconds", True
        return str(getattr(reason, "strerror", None) or type(reason).__name__), True
