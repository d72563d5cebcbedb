"""Contract, data report and split over the flights repeated to 1, 10 and 50 million rows: seconds and peak memory.

    python -m tests.benchmarks.trust [MILLIONS …]

Each step runs in a process of its own over the same Parquet file; the exponent is the slope of log seconds on log rows.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
STEPS = ("contract", "report", "split")


def repeated(rows: int, folder: Path) -> Path:
    """The modeling table of the flights, repeated, with a number of its own for each row."""
    from tdsp.config.parameters import load_parameters
    from tdsp.stages.context import modeling_table

    values = load_parameters(ROOT / "parameters" / "flights.yaml", root=ROOT).values
    table = modeling_table(values, root=ROOT, folder=ROOT / "parameters", lake=folder)
    source, path = pq.read_table(table.path), folder / f"{rows}.parquet"
    schema = source.schema.append(pa.field("flight_id", pa.int64()))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, source.num_rows):
            part = source.slice(0, min(source.num_rows, rows - start))
            ids = pa.array(range(start, start + part.num_rows), pa.int64())
            writer.write_table(part.append_column("flight_id", ids), row_group_size=122_880)
    return path


def step(name: str, path: Path) -> None:
    """One step in this process; prints seconds and peak memory in MiB."""
    from tdsp.data.splits import write_parts
    from tdsp.data.validation import check_contract, infer_contract
    from tdsp.exploration.profile import profile_table

    began = time.perf_counter()
    if name == "contract":
        assert check_contract(path, infer_contract(path, target="late"), now=datetime.now(UTC)) == []
    elif name == "report":
        assert profile_table(path, ids=["flight_id"]).rows
    else:
        parts = write_parts(path, kind="key", split_column="flight_id", target="late", folder=path.parent)
        assert abs(parts["test"] / sum(parts.values()) - 0.2) < 0.01
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent held when it forked
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


def main(millions: list[float]) -> None:
    """A line for each size and step, then the exponents."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in STEPS}
    with tempfile.TemporaryDirectory() as scratch:
        for size in millions:
            path = repeated(int(1e6 * size), Path(scratch))
            for name in STEPS:
                done = subprocess.run(
                    [sys.executable, __file__, name, str(path)], capture_output=True, text=True, check=True
                )
                result = json.loads(done.stdout.splitlines()[-1])
                found[name].append((size, result["seconds"]))
                cost = f"{result['seconds']:7.1f} s, peak {result['peak_mib']:6.0f} MiB"
                print(f"{size:5.1f} million rows  {name:9} {cost}", flush=True)
            path.unlink()
    for name, pairs in found.items():
        if len(pairs) > 1:
            (a, first), (b, last) = pairs[0], pairs[-1]
            print(f"{name}: exponent {math.log(last / first) / math.log(b / a):.2f} from {a:g} to {b:g} million rows")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in STEPS:
        step(sys.argv[1], Path(sys.argv[2]))
    else:
        main([float(size) for size in sys.argv[1:]] or [1, 10, 50])
