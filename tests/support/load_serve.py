"""A service under load while it is fuzzed and its champion changes: what must not happen is counted.

Sixteen clients ask one row after another, schemathesis fuzzes what the service describes of itself, and promotions and
rollbacks go on meanwhile. All of it on 127.0.0.1, bounded in time. Exit code 1 where anything was lost.

    python -m tests.support.load_serve --minutes 5
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from tdsp.registry.registry import promote, rollback
from tests.packaging.test_onnx import table
from tests.support.serving import Running, register, running

FUZZ_SECONDS = 60.0


@dataclass(slots=True)
class Seen:
    """Events and measurements during the load."""

    answered: list[str] = field(default_factory=list)  # keys of rows that were answered with 200
    failed: list[str] = field(default_factory=list)  # anything else
    versions: set[str] = field(default_factory=set)
    memory: list[float] = field(default_factory=list)  # MB, one a second
    moves: int = 0
    fuzz: str = "not asked for"
    fuzzed: int = 0


async def _client(number: int, port: int, bodies: list[bytes], end: float, seen: Seen) -> None:
    """Ask one row after another; a connection that breaks is a failure."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.monotonic() < end:
        key, body = f"load-{number}-{count}", bodies[count % len(bodies)]
        count += 1
        head = f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            content = await reader.readexactly(length)
        except (OSError, EOFError, TimeoutError) as error:
            seen.failed.append(f"{key}: {error!r}")
            return
        if answer.startswith(b"HTTP/1.1 200") and b"predictions" in content:
            seen.answered.append(f"{key}-0")
        else:
            seen.failed.append(f"{key}: {answer[:40]!r} {content[:200]!r}")
    writer.close()


def _bodies() -> list[bytes]:
    """Rows of every kind, gaps included."""
    rows = json.loads(table("binary")[0].head(200).to_json(orient="records", date_format="iso"))
    return [json.dumps({"dataframe_records": [row]}).encode() for row in rows]


def _watch(service: Running, stop: threading.Event, seen: Seen) -> None:
    """Note memory and version every second."""
    process = psutil.Process(service.process.pid)
    while not stop.wait(1):
        seen.memory.append(process.memory_info().rss / 1e6)
        seen.versions.add(json.loads(service.get("/ready")[1])["version"])


def _move(outputs: Path, stop: threading.Event, every: float, seen: Seen) -> None:
    """Promote the other version, roll back, and so on."""
    while not stop.wait(every):
        if seen.moves % 2:
            rollback("delays", outputs=outputs)
        else:
            promote("delays@2", outputs=outputs)
        seen.moves += 1


def _fuzz(service: Running, seconds: float, seen: Seen) -> None:
    """Let schemathesis look for an answer of 500 and above."""
    tool = str(Path(sys.executable).parent / "schemathesis")
    options = [
        "--phases",
        "examples,coverage,fuzzing",
        "--checks",
        "not_a_server_error",
        "--suppress-health-check",
        "all",
    ]
    options += ["--max-time", str(round(seconds)), "-n", "100000"]
    before = service.metric("tdsp_requests_total") - len(seen.answered)
    with tempfile.TemporaryDirectory() as scratch:
        command = [tool, "run", f"{service.url}/openapi.json", *options]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=seconds + 120, check=False)
    seen.fuzzed = int(service.metric("tdsp_requests_total") - len(seen.answered) - before)
    seen.fuzz = "no server error" if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-1000:]


def run_load(
    minutes: float,
    *,
    clients: int = 16,
    move_every: float = 8,
    fuzz_seconds: float = FUZZ_SECONDS,
    registered: Path | None = None,  # outputs with two versions of a model; None: made here
) -> dict[str, Any]:
    """Counts of the load, and `goals`: each with whether it was reached."""
    seen, stop = Seen(), threading.Event()
    with tempfile.TemporaryDirectory() as scratch:
        outputs = Path(scratch) / "outputs"
        if registered:
            shutil.copytree(registered, outputs)
        else:
            register(outputs, [{"rows": 1500}, {"rows": 1200}])
        with running("delays@champion", outputs, poll_seconds=0.5) as service:
            beside = [
                threading.Thread(target=_watch, args=(service, stop, seen)),
                threading.Thread(target=_move, args=(outputs, stop, move_every, seen)),
            ]
            if fuzz_seconds:
                beside.append(threading.Thread(target=_fuzz, args=(service, fuzz_seconds, seen)))
            for thread in beside:
                thread.start()
            asyncio.run(_all_clients(service.port, clients, 60 * minutes, seen))
            stop.set()
            for thread in beside:
                thread.join()
            lines = service.get("/metrics")[1].splitlines()
            server_errors = sum(float(line.split()[-1]) for line in lines if 'status="5' in line and "_total{" in line)
            dropped, reloads = service.metric("tdsp_log_rows_dropped"), service.metric("tdsp_reloads_total")
            code = service.stop()
            logged = service.logged()["key"]
    kept = logged[logged.str.startswith("load-")]
    warm = statistics.median(seen.memory[len(seen.memory) // 5 :][:5])
    growth = statistics.median(seen.memory[-5:]) / warm - 1
    lost = set(seen.answered) - set(kept)
    return {
        "requests answered": len(seen.answered),
        "requests failed": seen.failed[:5],
        "fuzzed requests": seen.fuzzed,
        "fuzzer": seen.fuzz,
        "server errors": server_errors,
        "promotions and rollbacks": seen.moves,
        "models taken in": reloads,
        "rows lost from the log": len(lost),
        "memory in MB, ten times on the way": [round(mb) for mb in seen.memory[:: max(1, len(seen.memory) // 10)]],
        "growth of memory in percent": round(100 * growth, 2),
        "goals": {
            "no request failed": not seen.failed and len(seen.answered) > 0,
            "no server error": server_errors == 0 and (seen.fuzz == "no server error" or not fuzz_seconds),
            "both versions answered": len(seen.versions) == 2 and reloads >= 2,
            "no line of the log lost or doubled": not lost and kept.is_unique and dropped == 0,
            "memory grew by 5 % at most": growth <= 0.05,
            "stopped in order": code == 0,
        },
    }


async def _all_clients(port: int, clients: int, seconds: float, seen: Seen) -> None:
    end, bodies = time.monotonic() + seconds, _bodies()
    await asyncio.gather(*(_client(number, port, bodies, end, seen) for number in range(clients)))


def main() -> None:
    """Print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    found = run_load(arguments.minutes, clients=arguments.clients, fuzz_seconds=0.8 * 60 * arguments.minutes)
    goals = found.pop("goals")
    for name, value in found.items():
        print(f"{name}: {value}")
    print(pd.Series(goals).map({True: "yes", False: "NO"}).to_string())
    sys.exit(0 if all(goals.values()) else 1)


if __name__ == "__main__":
    main()
