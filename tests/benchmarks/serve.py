"""Latency, throughput and start-up of `tdsp serve` beside MLflow's own server and an empty FastAPI endpoint.

All three serve on 127.0.0.1 at the same time and are asked in turn, so that other work on the machine falls on all.
Bounded: about a minute, a few ten thousand requests.

    python -m tests.benchmarks.serve outputs/runs/RUN/model [--seconds 4] [--clients 16]
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd

BIN = Path(sys.executable).parent
EMPTY = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/ping")
async def ping(): return {}
@app.post("/invocations")
async def empty(): return {}
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(command: list[str], port: int, environment: dict[str, str] | None = None):
    """The seconds until a started server answers; it is ended by its process id."""
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | (environment or {}), start_new_session=True
        )
        try:
            while time.perf_counter() - began < 120:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.02)
                if process.poll() is not None:
                    output.seek(0)
                    raise SystemExit(f"{command[:3]} ended:\n{output.read().decode()[-2000:]}")
            yield time.perf_counter() - began
        finally:
            os.killpg(process.pid, 15)  # MLflow starts children
            process.wait(30)


def request_bytes(rows: pd.DataFrame, port: int) -> bytes:
    """One POST of /invocations as it goes over the wire."""
    split = {"columns": list(rows), "data": rows.astype(object).where(rows.notna(), None).to_numpy().tolist()}
    body = json.dumps({"dataframe_split": split}, default=str).encode()
    head = f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    """Milliseconds of one request on an open connection. Raises RuntimeError for any status but 200."""
    began = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError((head + body)[:500])
    return 1e3 * (time.perf_counter() - began)


async def load(port: int, requests: list[bytes], seconds: float, clients: int) -> tuple[list[float], float]:
    """Milliseconds of every request that some clients made one after another, and requests a second of all."""
    found: list[float] = []
    end = time.perf_counter() + seconds

    async def client(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        number = first
        while time.perf_counter() < end:
            found.append(await ask(reader, writer, requests[number % len(requests)]))
            number += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(7 * i) for i in range(clients)))
    return found, len(found) / (time.perf_counter() - began)


def rows_of(model: Path) -> pd.DataFrame:
    """Rows that the model takes: its golden rows."""
    columns = json.loads((model / "schema.json").read_bytes())["columns"]
    golden = pd.read_parquet(model / "golden.parquet")[[spec["name"] for spec in columns]]
    return golden.dropna().reset_index(drop=True) if len(golden.dropna()) > 50 else golden


def measure(model: Path, seconds: float, clients: int) -> dict:
    """Figures of the three servers by name."""
    frame = rows_of(model)
    thousand = pd.concat([frame] * (1000 // len(frame) + 1)).head(1000)
    ports = {name: free_port() for name in ("tdsp", "mlflow", "empty")}
    mlflow = [str(BIN / "mlflow"), "models", "serve", "-m", str(model), "--env-manager", "local", "-p"]
    commands = {
        "tdsp": [str(BIN / "tdsp"), "serve", str(model), "--out", tempfile.mkdtemp(), "--port", str(ports["tdsp"])],
        "mlflow": [*mlflow, str(ports["mlflow"])],
        "empty": [sys.executable, "-c", EMPTY, str(ports["empty"])],
    }
    result: dict = {name: {} for name in ports}
    with ExitStack() as stack:
        path = {"PATH": f"{BIN}:{os.environ['PATH']}"}  # MLflow looks its own uvicorn up there
        for name, command in commands.items():
            result[name]["start_seconds"] = stack.enter_context(server(command, ports[name], path))
        ones = {n: [request_bytes(frame.iloc[[i]], p) for i in range(min(len(frame), 50))] for n, p in ports.items()}
        many = {n: [request_bytes(thousand, p)] for n, p in ports.items()}
        for rows, requests in ((1, ones), (1000, many)):
            times: dict[str, list[float]] = {name: [] for name in ("tdsp", "mlflow")}
            for _ in range(3):
                for name in times:
                    asyncio.run(load(ports[name], requests[name], 0.3, 1))  # warm
                    times[name] += asyncio.run(load(ports[name], requests[name], seconds / 2, 1))[0]
            for name, found in times.items():
                cuts = statistics.quantiles(found, n=100)
                result[name] |= {f"p50_{rows}_ms": cuts[49], f"p99_{rows}_ms": cuts[98], f"requests_{rows}": len(found)}
        rates: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(3):
            for name in ports:
                rates[name].append(asyncio.run(load(ports[name], ones[name], seconds / 2, clients))[1])
        for name, found in rates.items():
            result[name]["requests_a_second"] = statistics.median(found)
    return result


def main() -> None:
    """Print the figures and the three ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    found = measure(arguments.model.resolve(), arguments.seconds, arguments.clients)
    print(pd.DataFrame(found).round(3).to_string())
    ours, theirs, empty = found["tdsp"], found["mlflow"], found["empty"]
    print(
        f"\none row, p50: {theirs['p50_1_ms'] / ours['p50_1_ms']:.1f} times less latency than MLflow's server (goal 10)"
    )
    print(f"1,000 rows, p50: {theirs['p50_1000_ms'] / ours['p50_1000_ms']:.1f} times less")
    print(f"start-up: {theirs['start_seconds'] / ours['start_seconds']:.1f} times sooner (goal 5)")
    share = ours["requests_a_second"] / empty["requests_a_second"]
    print(f"throughput, {arguments.clients} clients: {share:.2f} of an empty FastAPI endpoint (goal 0.50)")


if __name__ == "__main__":
    main()
