"""Twelve runs in two processes beside the same twelve one after another: seconds, and whether results are identical.

python -m tests.benchmarks.jobs
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLES = [f"parameters/{name}.yaml" for name in ("breast_cancer", "wine", "diabetes")]


def run_all(jobs: int) -> tuple[float, dict[str, tuple[str, str]]]:
    """Seconds of the batch; verdict and manifest of the bundle of each member, by file and value."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(Path(sys.executable).parent / "tdsp"), "run", *SAMPLES, "--grid", "random_state=1,2,3,4"]
        command += ["--jobs", str(jobs), "--out", scratch, "--json"]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        if done.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return seconds, {
            f"{member['file']} {member['settings']}": (
                member["record"]["verdict"],
                Path(member["folder"], "model", "bundle.json").read_text(),
            )
            for member in json.loads(done.stdout)
        }


if __name__ == "__main__":
    alone, first = run_all(1)
    paired, second = run_all(2)
    same = sum(first[name] == second[name] for name in first)
    print(f"{len(first)} runs: one after another {alone:.0f} s, in two processes {paired:.0f} s, {alone / paired:.2f}x")
    print(f"the same verdict and the same bundle, byte for byte: {same} of {len(first)}")
