"""Seconds of `tdsp run` beside one plain script that makes the same calls and renders the same pages.

`make bench` runs both in turn, three times each, and prints medians and their ratio. Other work on the machine falls on
both; a ratio from a busy machine is still no measurement, so leave it alone meanwhile.

    python -m tests.benchmarks.overhead [breast_cancer flights …]
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOALS = {"breast_cancer": 3.0, "flights": 1.6}
ROUNDS = 3


def plain_script(project: str, executed: Path, folder: Path) -> None:
    """Make the calls of the five notebooks in this one process, then render the pages."""
    from tdsp.core.project import STAGES
    from tdsp.reporting.pages import render_run

    for stage in STAGES:
        cells = json.loads((ROOT / "notebooks" / f"{stage}.ipynb").read_text())["cells"]
        namespace = {"__name__": "__main__"}
        for cell in (cell for cell in cells if cell["cell_type"] == "code"):
            exec(compile("".join(cell["source"]), stage, "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", []):
                namespace |= {"project": project, "run_dir": str(folder)}
        shutil.copy(executed / f"{stage}.ipynb", folder)  # the pages show what the cells displayed
    render_run(folder)


def seconds_of(*command: str) -> float:
    """Wall time of a whole process. Raises CalledProcessError when it fails."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def compare(project: str) -> None:
    """Print the seconds of both, and the ratio of their medians."""
    with tempfile.TemporaryDirectory() as scratch:
        tool = [str(Path(sys.executable).parent / "tdsp"), "run", f"parameters/{project}.yaml", "--out", scratch]
        seconds_of(*tool)  # fills the lake, and gives the executed notebooks
        executed = next(Path(scratch, "runs").iterdir())
        runs, scripts = [], []
        for i in range(ROUNDS):
            runs.append(seconds_of(*tool))
            folder = Path(scratch, "runs", f"plain-{i}")
            scripts.append(seconds_of(sys.executable, __file__, "--plain", project, str(executed), str(folder)))
    ratio = statistics.median(runs) / statistics.median(scripts)
    shown = ["  ".join(f"{s:6.1f}" for s in times) for times in (runs, scripts)]
    print(f"{project}: tdsp run {shown[0]} s, plain script {shown[1]} s")
    print(f"{project}: ratio of medians {ratio:.2f}, goal at most {GOALS.get(project, 3.0)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        plain_script(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        for name in sys.argv[1:] or GOALS:
            compare(name)
