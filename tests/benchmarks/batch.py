"""A batch of ten million rows: rows a second, peak memory, and ten kills that leave no trace in the output.

    python -m tests.benchmarks.batch outputs/runs/FLIGHTS_RUN 10000000

The rows are those of the run's own table, repeated, with a key of their own.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from tdsp.core.files import sha256_file

KILLS = 10


def make_table(run: Path, rows: int, target: Path) -> None:
    """Write a Parquet file of so many rows."""
    parts = [str(run / f"data/{name}.parquet") for name in ("train", "test")]
    source = f"SELECT * EXCLUDE (row_id) FROM read_parquet({parts})"
    copies = f"SELECT row_number() OVER () AS key, t.* FROM range(100) CROSS JOIN ({source}) t LIMIT {rows}"
    with duckdb.connect() as connection:
        connection.sql("SET threads=1; SET memory_limit='1GB'")
        connection.sql(f"COPY ({copies}) TO '{target}' (FORMAT parquet, ROW_GROUP_SIZE 65536)")


def predict(run: Path, data: Path, out: Path, *, kill_after: float = 0) -> tuple[float, float, int]:
    """Seconds, peak MiB and exit code of one call of the verb."""
    command = [sys.executable, "-m", "tdsp", "predict", str(run), str(data), "-o", str(out)]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while kill_after and process.poll() is None and time.monotonic() - started < kill_after:
        time.sleep(0.05)
    if kill_after and process.poll() is None:
        process.send_signal(signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0) if process.returncode is None else (0, 0, None)
    return time.monotonic() - started, usage.ru_maxrss / 1024 if usage else 0, os.waitstatus_to_exitcode(status)


def main(run: Path, rows: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        data, whole, killed = (Path(scratch) / name for name in ("new.parquet", "whole.parquet", "killed.parquet"))
        make_table(run, rows, data)
        seconds, peak, code = predict(run, data, whole)
        print(
            f"{rows:,} rows in {seconds:.0f} s: {rows / seconds:,.0f} rows a second, peak {peak:.0f} MiB, exit {code}"
        )
        for number in range(KILLS):
            took, peak, code = predict(run, data, killed, kill_after=5 + (0.2 + number % 4 / 4) * seconds / KILLS)
            done = len(list((Path(scratch) / ".killed.parquet.parts").glob("*.json"))) - 1
            print(
                f"kill {number + 1}: exit {code} after {took:.0f} s, {done} parts done, output there: {killed.exists()}"
            )
        took, peak, code = predict(run, data, killed)
        same = sha256_file(whole) == sha256_file(killed)
        print(f"the rest in {took:.0f} s, peak {peak:.0f} MiB, exit {code}; output identical: {same}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
