"""A project whose model is trained in seconds, and which therefore can be trained again and again."""

import json
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd

from tdsp.config.parameters import Parameters, parameters_cell
from tdsp.core.project import STAGES
from tdsp.core.record import Run, create_run, new_record
from tdsp.registry.registry import Version, promote
from tdsp.stages.context import open_table
from tests.support.stations import hours, pack_model

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
DONE = "run.finish(Headline('Done', 'ok', 'It is done.')%s)"
YAML = """\
title: Stations
question: Does it rain?
sources: {stations: stations.parquet}
target: rain
positive_class: "yes"
metric: roc_auc
threshold: 0.6
split: time
time_column: time
"""


def write_loop_project(root: Path, frame: pd.DataFrame, cycle: str = "") -> Path:
    """Write a table, its parameter file, the settings of its loop, and five short notebooks; return the file."""
    (root / "parameters").mkdir(parents=True)
    (root / "notebooks").mkdir()
    for stage in STAGES:
        work = ["from tests.support.loops import pack_from_table", "pack_from_table(run, p)"] if stage[0] == "4" else []
        last = DONE % (", verdict='accepted'" if stage == STAGES[-1] else "")
        sources = [
            "from tdsp import open_run\nfrom tdsp.core.results import Headline",
            parameters_cell(NOTEBOOKS / f"{stage}.ipynb"),
            f"run, p = open_run({stage!r}, globals())",
            "\n".join([*work, last]),
        ]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        notebook.cells[1].metadata.tags = ["parameters"]
        notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "python3"}
        nbformat.write(notebook, root / "notebooks" / f"{stage}.ipynb")
    (root / "notebooks" / "monitoring.ipynb").write_bytes((NOTEBOOKS / "monitoring.ipynb").read_bytes())
    frame.to_parquet(root / "stations.parquet", index=False)
    file = root / "parameters" / "stations.yaml"
    file.write_text(YAML)
    file.with_name("stations.cycle.yaml").write_text(cycle)
    return file


def pack_from_table(run: Run, p: Parameters) -> None:
    """Do the work of four stages: read the table, hold out its last fifth, fit, package."""
    frame = open_table(run, p).frame.sort_values("time").reset_index(drop=True)
    frame = frame[frame["rain"].notna()]
    cut = int(0.8 * len(frame))
    run.write_table("train", frame.iloc[:cut])
    pack_model(run, frame.iloc[:cut], frame.iloc[cut:])


def changing_hours(days: int, *, change: str = "") -> pd.DataFrame:
    """Rows by the hour from 2025 on; from a day on it rains exactly when it would not have."""
    frame = hours(days).drop(columns="key")
    flipped = frame["rain"].map({"yes": "no", "no": "yes"})
    return frame.assign(rain=frame["rain"].where(frame["time"] < (change or "2100"), flipped))


def promote_first(root: Path, frame: pd.DataFrame) -> Version:
    """Register a model of these rows as the champion, without a kernel."""
    run_id = "stations-20250801T000000Z-aaaa"
    run = create_run(root / "outputs" / "runs" / run_id, new_record(run_id, "stations", fixed=True))
    cut = int(0.8 * len(frame))
    run.write_table("train", frame.iloc[:cut])
    pack_model(run, frame.iloc[:cut], frame.iloc[cut:])
    run.update(lambda record: replace(record, status="succeeded", verdict="accepted"))
    return promote(run.folder, outputs=root / "outputs")


def decisions_of(root: Path) -> list[dict[str, object]]:
    """Return the lines of the project's decisions.jsonl."""
    path = root / "outputs" / "monitoring" / "stations" / "decisions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
