"""Messages about a change of state, against a real HTTP server that answers, fails, hangs and leads astray."""

import datetime
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tdsp.core.errors import ParameterError
from tdsp.runner import alerts
from tdsp.runner.alerts import deliver_state, read_deliveries, require_webhook

SECRET = "T0/B0/s3cr3t-t0ken"


class Hook(ThreadingHTTPServer):
    """A webhook: `plan` holds the statuses to come (0: hang; then 200), `got` what arrived."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[int] = []
        self.got: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """Its secret address."""
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    """Answers by the plan of its server."""

    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = self.server.plan.pop(0) if self.server.plan else 200
        self.server.paths.append(self.path)
        if status == 0:
            self.server.released.wait(20)
            return
        if status == 200:
            self.server.got.append(body)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", f"http://localhost:{self.server.server_port}/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests quiet."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A server on loopback, and pauses that a test can wait for."""
    monkeypatch.setattr(alerts, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(alerts, "TRY_SECONDS", 2.0)
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def report(root: Path, stamp: str = "20261129T100000000") -> Path:
    """The folder of a report."""
    folder = root / "monitoring" / "delays" / stamp
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def result_of(state: str, sentence: str = "wind moved.") -> dict[str, str]:
    """The part of monitor.json that a message needs."""
    return {"state": state, "sentence": sentence}


def test_one_message_for_each_change_of_state(tmp_path: Path, hook: Hook):
    """Alarm, alarm again, back to ok and ok again are two messages; a first ok is none."""
    place, states = report(tmp_path), ("ok", "alarm", "alarm", "ok", "ok")
    results = [deliver_state(place, result_of(state), hook.url).result for state in states]
    assert results == ["unchanged", "delivered", "unchanged", "delivered", "unchanged"]
    texts = [body["text"] for body in hook.got]
    assert [set(body) for body in hook.got] == [{"text"}] * 2
    assert texts[0].startswith("delays: alarm (was ok). wind moved. Report: monitoring/delays/20261129T100000000/")
    assert texts[1].startswith("delays: ok (was alarm).")
    assert read_deliveries(place.parent / "alerts.json").state == "ok"


def test_a_server_that_fails_twice_gets_the_message_at_the_third_try(tmp_path: Path, hook: Hook):
    """One message arrives, and it is written down."""
    hook.plan = [500, 503]
    assert deliver_state(report(tmp_path), result_of("alarm"), hook.url).result == "delivered"
    assert len(hook.got) == 1 and len(hook.paths) == 3


def test_what_could_not_be_delivered_is_reported_and_tried_at_the_next_call(tmp_path: Path, hook: Hook):
    """Three failures end the call; the next one delivers, also where the state has changed once more."""
    hook.plan = [500] * 3
    place = report(tmp_path)
    found = deliver_state(place, result_of("watch"), hook.url)
    assert found.result == "failed" and "in 3 tries: status 500. The next call tries again" in found.text
    kept = read_deliveries(place.parent / "alerts.json")
    assert (kept.state, kept.failed_state, kept.reason) == ("ok", "watch", "status 500")
    assert deliver_state(place, result_of("alarm"), hook.url).result == "delivered"
    assert [body["text"].split(".")[0] for body in hook.got] == ["delays: alarm (was ok)"]


def test_a_server_that_hangs_is_left(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch):
    """Each try has its time; the whole is bounded by tries and pauses."""
    monkeypatch.setattr(alerts, "TRY_SECONDS", 0.2)
    hook.plan = [0, 0, 0]
    began = time.monotonic()
    found = deliver_state(report(tmp_path), result_of("alarm"), hook.url)
    assert found.result == "failed" and "no response within 0.2 seconds" in found.text
    assert time.monotonic() - began < 3


def test_the_whole_delivery_takes_at_most_half_a_minute():
    """The stated limit follows from the constants."""
    assert alerts.TRIES * alerts.TRY_SECONDS + sum(alerts.PAUSES) <= 30 and len(alerts.PAUSES) == alerts.TRIES - 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(tmp_path: Path, hook: Hook, status: int):
    """The message and its secret address go to no other host, and no second try is made."""
    hook.plan = [status]
    found = deliver_state(report(tmp_path), result_of("alarm"), hook.url)
    assert found.result == "failed" and f"status {status}, a redirect" in found.text
    assert len(hook.paths) == 1 and not hook.got


def test_a_refusal_is_not_tried_again(tmp_path: Path, hook: Hook):
    """404 for an address that was revoked."""
    hook.plan = [404]
    assert "in 1 try: status 404" in deliver_state(report(tmp_path), result_of("alarm"), hook.url).text


def test_texts_from_data_cannot_call_anybody(tmp_path: Path, hook: Hook):
    """Slack's mentions and links begin with a sign that is escaped; the text is one line of bounded length."""
    sentence = "<!channel> & <https://evil.example|here>\n" + "x" * 5000
    deliver_state(report(tmp_path), result_of("alarm", sentence), hook.url)
    text = hook.got[0]["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://" in text and "<" not in text and len(text) < 1000 and "\n" not in text


def test_a_damaged_record_sends_the_message_again(tmp_path: Path, hook: Hook):
    """Half a file is as good as none: once more is better than never."""
    place = report(tmp_path)
    (place.parent / "alerts.json").write_text('{"state": "al')
    assert deliver_state(place, result_of("alarm"), hook.url).result == "delivered"


def test_two_calls_at_once_send_one_message(tmp_path: Path, hook: Hook):
    """The second one waits, and sees what the first has written."""
    place, found = report(tmp_path), []
    calls = [
        threading.Thread(target=lambda: found.append(deliver_state(place, result_of("alarm"), hook.url).result))
        for _ in range(4)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert sorted(found) == ["delivered", "unchanged", "unchanged", "unchanged"] and len(hook.got) == 1


def test_the_address_is_in_no_file_and_no_text(tmp_path: Path, hook: Hook):
    """Delivered, refused and unreachable."""
    hook.plan = [200, 404]
    texts = [deliver_state(report(tmp_path), result_of(state), hook.url).text for state in ("alarm", "ok")]
    texts += [deliver_state(report(tmp_path), result_of("ok"), f"http://127.0.0.1:1/{SECRET}").text]
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert all(texts) and "s3cr3t" not in "".join(texts) + written.decode() and "Connection refused" in texts[-1]


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "server.pem").write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, *form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, hook: Hook):
    """Verification is on: the message is not sent, and no second try is made."""
    hook.socket = self_signed(tmp_path).wrap_socket(hook.socket, server_side=True)
    address = f"https://localhost:{hook.server_port}/{SECRET}"
    found = deliver_state(report(tmp_path), result_of("alarm"), address)
    assert found.result == "failed" and "in 1 try: the certificate of the server is not trusted" in found.text
    assert not hook.got


@pytest.mark.parametrize(
    "address",
    [
        "hooks.example/x",
        "http://hooks.example/s3cr3t",
        "ftp://a/b",
        "https://",
        "https://a b/c",
        "https://[x",
        "file:///x",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_shown(address: str):
    """Before anything is judged."""
    with pytest.raises(ParameterError, match="is no https:// address") as raised:
        require_webhook(address)
    assert "example" not in str(raised.value) and "s3cr3t" not in str(raised.value)


def test_addresses_that_can_be_used():
    """HTTPS everywhere, plain HTTP on this machine, and none at all."""
    for address in ("", "https://hooks.slack.com/services/T/B/x", "http://127.0.0.1:8080/x", "http://localhost/x"):
        assert require_webhook(address) == address
