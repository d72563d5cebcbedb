"""Cost of the pages of a run: seconds to render in this process, weight, figures with titles and alt texts.

`python -m tests.benchmarks.pages outputs/runs/RUN`
"""

import json
import sys
import time
from pathlib import Path

from tdsp.reporting.pages import render_run


def seconds_of(folder: Path) -> tuple[float, float]:
    """Seconds on the clock and on the processor for all pages, documents and the comparison."""
    clock, processor = time.perf_counter(), time.process_time()
    render_run(folder)
    return time.perf_counter() - clock, time.process_time() - processor


def main(folder: Path) -> None:
    """Print what was measured."""
    first, again = seconds_of(folder), seconds_of(folder)
    print(f"first rendering, imports included: {first[0]:.2f} s ({first[1]:.2f} s of processor)")
    print(f"again: {again[0]:.2f} s ({again[1]:.2f} s of processor)")
    for path in sorted(folder.rglob("*.html")):
        print(f"{path.stat().st_size / 1000:7.0f} KB  {path.relative_to(folder)}")
    figures = [a for a in json.loads((folder / "run.json").read_text())["artifacts"] if a["kind"] == "figure"]
    for figure in figures:
        print(f"{len(figure['title']):3d} characters: {figure['title']}\n    {figure['alt']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
