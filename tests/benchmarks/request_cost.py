"""The cost of a request against its size: CPU seconds of hostile bodies as they grow, and the exponent of the growth.

    python -m tests.benchmarks.request_cost

Each kind of body is read at four sizes, the least CPU time of three each; the exponent is the slope of the logarithms.
One means that twice the body costs twice the time.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from tdsp.serving.app import require_few_rows
from tdsp.serving.requests import BadRequest, Reader

SCHEMA = {
    "task": "regression",
    "target": "y",
    "columns": [{"name": f"measure_{i}", "type": "float"} for i in range(28)]
    + [{"name": "ward", "type": "string"}, {"name": "day", "type": "timestamp"}],
}
READER = Reader(SCHEMA)
ROW = {
    spec["name"]: {"float": 1.5, "string": "north", "timestamp": "2023-05-01"}[spec["type"]]
    for spec in SCHEMA["columns"]
}
ROWS = 100_000  # that the service takes at once
BODIES: dict[str, tuple[str, int, Callable[[int], str]]] = {
    "good rows": ("json", 2000, lambda n: json.dumps({"dataframe_records": [ROW] * n})),
    "texts for numbers": ("json", 2000, lambda n: json.dumps({"dataframe_records": [ROW | {"measure_0": "1,5"}] * n})),
    "doubled column names": (
        "json", 8000,
        lambda n: json.dumps({"dataframe_split": {"columns": ["a", *map(str, range(n)), "a"], "data": []}}),
    ),
    "unknown columns": ("json", 4000, lambda n: json.dumps({"instances": [{f"measure_x{i}": 1 for i in range(n)}]})),
    "unknown columns, CSV": (
        "csv", 4000, lambda n: ",".join(f"measure_x{i}" for i in range(n)) + "\n" + ",".join("1" * n) + "\n",
    ),
    "empty rows": ("json", 200_000, lambda n: '{"instances": [' + "[]," * n + "[]]}"),
    "one long text": ("json", 500_000, lambda n: json.dumps({"instances": [ROW | {"ward": "x" * n}]})),
    "long numbers": ("json", 500_000, lambda n: json.dumps({"instances": [ROW | {"measure_0": "1" * n}]})),
    "nested lists": ("json", 400, lambda n: '{"instances": [' + "[" * n + "]" * n + "]}"),
}  # fmt: skip


def seconds_of(kind: str, body: bytes) -> float:
    """The shortest of three times to read or refuse a body."""
    found = []
    for _ in range(3):
        begun = time.process_time()
        with suppress(BadRequest):
            require_few_rows(body, {"json": "application/json", "csv": "text/csv"}[kind], ROWS)
            (READER.read_json if kind == "json" else READER.read_csv)(body)
        found.append(time.process_time() - begun)
    return min(found)


if __name__ == "__main__":
    print(f"{'body':24}{'bytes':>12}{'seconds':>10}{'exponent':>10}")
    for name, (kind, size, make) in BODIES.items():
        bodies = [make(size * factor).encode() for factor in (1, 2, 4, 8)]
        taken = [seconds_of(kind, body) for body in bodies]
        slope = np.polyfit(np.log([len(body) for body in bodies]), np.log(taken), 1)[0]
        print(f"{name:24}{len(bodies[-1]):12,}{taken[-1]:10.3f}{slope:10.2f}")
