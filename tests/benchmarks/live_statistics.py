"""The cost of a service's statistics to its requests: two services of one model in turn, one without statistics.

    python -m tests.benchmarks.live_statistics [--pairs 3000] [--rows 1]

Both run at the same time and are asked alternately, so that other work on the machine falls on both. The one with
statistics has its metrics read every second as well, fifteen times as often as Prometheus does.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from tests.support.serving import START, Running, running
from tests.support.stations import SCHEMA, hours, write_model

WITHOUT = """
from tdsp.serving.statistics import LiveStatistics
LiveStatistics.add = lambda *_: None
LiveStatistics.collect = lambda _: iter(())
"""


def milliseconds(connection: http.client.HTTPConnection, body: bytes) -> float:
    """The time of one request on an open connection."""
    began = time.perf_counter()
    connection.request("POST", "/invocations", body, {"content-type": "application/json"})
    connection.getresponse().read()
    return 1000 * (time.perf_counter() - began)


def read_metrics(service: Running, stop: threading.Event, taken: list[float]) -> None:
    """Read the metrics every second, as an impatient Prometheus does."""
    while not stop.wait(1.0):
        began = time.perf_counter()
        service.get("/metrics")
        taken.append(1000 * (time.perf_counter() - began))


def measure(pairs: int, rows: int, folder: Path) -> tuple[np.ndarray, list[float]]:
    """Milliseconds of each pair, without and with, (pairs, 2), and of each reading of the metrics."""
    model = write_model(folder, days=200, performance=False) / "model"
    names = [one["name"] for one in SCHEMA["columns"]]
    body = json.dumps({"dataframe_records": hours(-(-rows // 24))[:rows][names].to_dict("records")}).encode()
    code = WITHOUT + START.replace("spec, port, outputs, key, limits", "spec, outputs, key, limits, port")
    plain = [sys.executable, "-c", code, str(model), str(folder / "a"), "", "{}"]
    found, readings, stop = np.zeros((pairs, 2)), list[float](), threading.Event()
    with running(model, folder / "a", command=plain) as without, running(model, folder / "b") as with_them:
        reader = threading.Thread(target=read_metrics, args=(with_them, stop, readings))
        reader.start()
        connections = [http.client.HTTPConnection("127.0.0.1", one.port) for one in (without, with_them)]
        for i in range(pairs):
            for side in (0, 1) if i % 2 else (1, 0):
                found[i, side] = milliseconds(connections[side], body)
        stop.set()
        reader.join()
    return found[pairs // 10 :], readings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--rows", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        times, scrapes = measure(given.pairs, given.rows, Path(place))
    for name, column in zip(("without", "with"), times.T, strict=True):
        p50, p95, p99 = np.percentile(column, [50, 95, 99])
        print(f"{name:8} p50 {p50:.3f} ms, p95 {p95:.3f} ms, p99 {p99:.3f} ms")
    difference = times[:, 1] - times[:, 0]
    draws = np.random.default_rng(0).choice(difference, (1000, len(difference)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    print(
        f"paired difference, median {np.median(difference):+.4f} ms (95 % {low:+.4f} to {high:+.4f}), "
        f"{len(times)} pairs"
    )
    if scrapes:
        print(
            f"reading the metrics {len(scrapes)} times: median {statistics.median(scrapes):.1f} ms, "
            f"most {max(scrapes):.1f} ms"
        )
